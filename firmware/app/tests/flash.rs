//! Retained memory on NOR flash whose power may go at any byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use stencil_firmware::retained::MAX_STATE_BYTES;
use stencil_firmware::{Pages, Retained, State};
use stencil_protocol::id::{Boot, Seq};

const BLOCK: usize = 8_192;
const FROM: u32 = 8_192;
const TO: u32 = 3 * 8_192 + 8_192;

/// Bits go from 1 to 0 only, but by erasing a block; what is written byte by byte ends
/// when the power does.
#[derive(Clone)]
struct Chip {
    bytes: Vec<u8>,
    /// Bytes that are still changed before the power goes.
    power: usize,
    /// Blocks that take nothing any more.
    worn: Vec<usize>,
    erased: usize,
}

#[derive(Debug)]
struct Gone;
impl NorFlashError for Gone {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl Chip {
    fn new() -> Self {
        Self {
            bytes: vec![0x5a; TO as usize + BLOCK],
            power: usize::MAX,
            worn: Vec::new(),
            erased: 0,
        }
    }

    fn change(&mut self, at: usize, make: impl Fn(u8) -> u8) -> Result<(), Gone> {
        assert!(
            (FROM as usize..TO as usize).contains(&at),
            "outside of its region"
        );
        self.power = self.power.checked_sub(1).ok_or(Gone)?;
        if !self.worn.contains(&(at / BLOCK)) {
            self.bytes[at] = make(self.bytes[at]);
        }
        Ok(())
    }
}

impl ErrorType for Chip {
    type Error = Gone;
}
impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 4;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Gone> {
        assert!(offset.is_multiple_of(4) && bytes.len().is_multiple_of(4));
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}
impl NorFlash for Chip {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = BLOCK;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Gone> {
        assert!(from.is_multiple_of(BLOCK as u32) && to.is_multiple_of(BLOCK as u32));
        self.erased += 1;
        (from as usize..to as usize).try_for_each(|at| self.change(at, |_| 0xff))
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Gone> {
        assert!(offset.is_multiple_of(8) && bytes.len().is_multiple_of(8));
        (offset as usize..)
            .zip(bytes)
            .try_for_each(|(at, byte)| self.change(at, |old| old & byte))
    }
}

fn state(last: u64) -> State {
    State {
        last_given: Seq(last),
        ..State::new(Boot(7))
    }
}

fn pages(chip: Chip) -> Pages<Chip> {
    Pages::new(chip, FROM, TO).unwrap()
}

#[test]
fn the_newest_state_survives_any_number_of_stores_and_starts() {
    let mut chip = Chip::new();
    assert_eq!(pages(chip.clone()).load(), None, "foreign bytes are none");
    for life in 0..40 {
        let mut log = pages(chip.clone());
        let expected = (life > 0).then(|| state(life * 20));
        assert_eq!(log.load(), expected);
        for last in life * 20 + 1..=life * 20 + 20 {
            log.store(&state(last));
            assert!(!log.has_failed());
        }
        chip = log.flash().clone();
    }
    let per_block = BLOCK / 64;
    assert!(
        chip.erased <= 800 / per_block + 2,
        "{} erasures",
        chip.erased
    );
    assert!(chip.bytes[..FROM as usize].iter().all(|byte| *byte == 0x5a));
}

#[test]
fn a_cut_at_any_byte_leaves_the_state_before_or_the_new_one() {
    // A log that is about to go over into the next block, so that each kind of write is cut.
    let mut log = pages(Chip::new());
    let mut last = 0;
    while log.flash().erased < 4 {
        last += 1;
        log.store(&state(last));
    }
    // `last` has just erased a block: go back to before it.
    let mut log = pages(Chip::new());
    for last in 1..last - 1 {
        log.store(&state(last));
    }
    let before = log.flash().clone();
    // How many bytes three stores change: the end of a block, the erasure of the next, its start.
    let mut log = pages(before.clone());
    log.load();
    (last - 1..=last + 1).for_each(|last| log.store(&state(last)));
    let changed = usize::MAX - log.flash().power;
    assert!(
        changed > BLOCK,
        "{changed} bytes: no erasure was among them"
    );
    // Each byte of the entries and of the erasure's ends, and some of its middle.
    let cuts = (0..=changed).filter(|cut| *cut < 200 || *cut > changed - 300 || cut % 251 == 0);
    for cut in cuts {
        let mut log = pages(Chip {
            power: cut,
            ..before.clone()
        });
        assert_eq!(log.load(), Some(state(last - 2)));
        let mut stored = last - 2;
        for last in last - 1..=last + 1 {
            log.store(&state(last));
            if log.has_failed() {
                break;
            }
            stored = last;
        }
        // The power comes back.
        log = pages(Chip {
            power: usize::MAX,
            ..log.flash().clone()
        });
        let found = log.load().expect("a state").last_given.0;
        assert!(
            found == stored || found == stored + 1,
            "cut at {cut}: {found} instead of {stored} or the one that was cut"
        );
        log.store(&state(found + 1));
        assert!(!log.has_failed(), "cut at {cut}");
        let mut log = pages(log.flash().clone());
        assert_eq!(log.load(), Some(state(found + 1)), "cut at {cut}");
    }
}

#[test]
fn a_worn_block_is_passed_over_and_a_worn_chip_is_told() {
    let mut chip = Chip::new();
    chip.worn = vec![2];
    let mut log = pages(chip);
    for last in 1..=1_000 {
        log.store(&state(last));
        assert!(!log.has_failed());
    }
    assert_eq!(pages(log.flash().clone()).load(), Some(state(1_000)));
    log.flash().worn = vec![1, 2, 3];
    for last in 1_001..=1_400 {
        log.store(&state(last));
    }
    assert!(log.has_failed());
}

#[test]
fn a_region_that_is_too_small_is_refused() {
    assert!(Pages::new(Chip::new(), FROM, FROM + BLOCK as u32).is_err());
    assert!(Pages::new(Chip::new(), FROM + 4, TO + 4).is_err());
    assert!(Pages::new(Chip::new(), FROM, 10 * TO).is_err());
    const { assert!(BLOCK > MAX_STATE_BYTES) };
}
