//! Retained memory on NOR flash: a log of states over a ring of erase blocks.
//!
//! Each store appends one entry; when the block is full the next one is erased and
//! goes on. The newest whole entry counts. Power may go at any byte: an entry that was
//! not written to its end has no valid checksum, a block is erased only while the
//! newest entry lies in another, and a block that was only partly erased is erased
//! again before it is used.
//!
//! ```text
//! entry = sequence u32 LE ‖ length u16 LE ‖ !length u16 LE ‖ CRC-32C of these 8 bytes
//!   ‖ state of `length` bytes, with its own checksum ‖ 0xff to a word
//! ```
//!
//! **Wear.** A state without commands takes about 60 bytes: with eight blocks of 4 KiB,
//! each is erased every 540 stores, so flash of 100,000 cycles lasts for 54 million, at
//! a sample a second 20 months; more blocks, or a sample every ten seconds, in proportion.

use embedded_storage::nor_flash::NorFlash;

use crate::retained::{Checksum, MAX_STATE_BYTES, Retained, State, crc32c};

const HEAD_BYTES: usize = 12;
const MAX_ENTRY_BYTES: usize = HEAD_BYTES + MAX_STATE_BYTES;
/// Flash is looked through in steps of this many bytes.
const STEP_BYTES: usize = 64;

/// Retained memory in the blocks from `from` to `to` of a flash.
///
/// `F` is read, written and erased in multiples of its sizes; words of at most 64 bytes,
/// blocks of at least `MAX_STATE_BYTES` and a header.
#[derive(Debug)]
pub struct Pages<F> {
    flash: F,
    from: u32,
    to: u32,
    /// Where the next entry goes, if it fits in its block.
    next: Option<u32>,
    /// The block, from 0, that `next` lies in or that was filled last.
    block: u32,
    sequence: u32,
    failed: bool,
}

/// The region is not one for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("retained memory needs two whole erase blocks or more, each for a whole state")]
pub struct UnfitRegion;

/// An entry that was found.
struct Found {
    at: u32,
    sequence: u32,
    length: usize,
}

impl<F: NorFlash> Pages<F> {
    const BLOCK: u32 = {
        assert!(F::ERASE_SIZE <= 1 << 20 && F::WRITE_SIZE <= STEP_BYTES);
        assert!(
            STEP_BYTES.is_multiple_of(F::WRITE_SIZE) && STEP_BYTES.is_multiple_of(F::READ_SIZE)
        );
        #[allow(clippy::cast_possible_truncation, reason = "checked above")]
        let block = F::ERASE_SIZE as u32;
        block
    };

    /// The log between `from` and `to`, which bound whole blocks.
    ///
    /// # Errors
    /// [`UnfitRegion`].
    pub fn new(flash: F, from: u32, to: u32) -> Result<Self, UnfitRegion> {
        let fits = to as usize <= flash.capacity()
            && from.is_multiple_of(Self::BLOCK)
            && to.is_multiple_of(Self::BLOCK)
            && to.saturating_sub(from) >= 2 * Self::BLOCK
            && F::ERASE_SIZE >= MAX_ENTRY_BYTES;
        fits.then_some(Self {
            flash,
            from,
            to,
            next: None,
            block: 0,
            sequence: 0,
            failed: false,
        })
        .ok_or(UnfitRegion)
    }

    /// Whether the last store could not be written anywhere: numbers that were given
    /// since may be given again after a reset, unless the board does something about it.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// The flash, for what else lies on it.
    pub fn flash(&mut self) -> &mut F {
        &mut self.flash
    }

    fn blocks(&self) -> u32 {
        (self.to - self.from) / Self::BLOCK
    }

    fn start(&self, block: u32) -> u32 {
        self.from + block * Self::BLOCK
    }

    /// The newest whole state of a block, and where its written part ends: nothing when
    /// something lies there that is no entry.
    fn walk(&mut self, block: u32) -> (Option<Found>, Option<u32>) {
        let end = self.start(block) + Self::BLOCK;
        let mut at = self.start(block);
        let mut newest: Option<Found> = None;
        while let Some(head) = self.head(at, end) {
            let Some((sequence, length)) = parse(&head) else {
                let blank = head.iter().all(|byte| *byte == 0xff) && self.is_blank(at, end);
                return (newest, blank.then_some(at));
            };
            let after = at + entry_bytes::<F>(length);
            if after > end {
                return (newest, None);
            }
            if newest
                .as_ref()
                .is_none_or(|newest| sequence >= newest.sequence)
                && self.body(at, length, None)
            {
                newest = Some(Found {
                    at,
                    sequence,
                    length,
                });
            }
            at = after;
        }
        (newest, None)
    }

    fn head(&mut self, at: u32, end: u32) -> Option<[u8; HEAD_BYTES]> {
        let mut step = [0; STEP_BYTES];
        let room = (end - at) as usize;
        let length = STEP_BYTES.min(room);
        if length < HEAD_BYTES || self.flash.read(at, &mut step[..length]).is_err() {
            return None;
        }
        step.first_chunk().copied()
    }

    /// Copies the encoded state of an entry to `out`, or only looks at its checksum.
    fn body(
        &mut self,
        at: u32,
        length: usize,
        mut out: Option<&mut [u8; MAX_STATE_BYTES]>,
    ) -> bool {
        let mut step = [0; STEP_BYTES];
        let mut skip = HEAD_BYTES;
        let (mut from, mut used) = (at, 0);
        let mut whole = Checksum::default();
        while used < length {
            let more = (skip + length - used)
                .next_multiple_of(F::READ_SIZE)
                .min(STEP_BYTES);
            if self.flash.read(from, &mut step[..more]).is_err() {
                return false;
            }
            let part = &step[skip..more.min(skip + length - used)];
            whole.add(part);
            if let Some(out) = &mut out {
                out[used..used + part.len()].copy_from_slice(part);
            }
            used += part.len();
            from += bytes(more);
            skip = 0;
        }
        whole.is_right()
    }

    #[inline(never)]
    fn state(&mut self, found: &Found) -> Option<State> {
        let mut body = [0; MAX_STATE_BYTES];
        self.body(found.at, found.length, Some(&mut body));
        State::decode(&body[..found.length]).ok()
    }

    fn is_blank(&mut self, from: u32, end: u32) -> bool {
        let mut step = [0; STEP_BYTES];
        let mut at = from;
        while at < end {
            let length = STEP_BYTES.min((end - at) as usize);
            if self.flash.read(at, &mut step[..length]).is_err()
                || step[..length].iter().any(|byte| *byte != 0xff)
            {
                return false;
            }
            at += bytes(STEP_BYTES);
        }
        true
    }

    fn append(&mut self, entry: &[u8]) -> bool {
        let length = bytes(entry.len());
        if let Some(at) = self.next {
            let end = self.start(self.block) + Self::BLOCK;
            if at.checked_add(length).is_some_and(|after| after <= end) && self.write(at, entry) {
                return true;
            }
        }
        // A block that cannot be erased or written is passed over; each is tried once, but
        // for the one that holds the newest entry.
        let newest = self.block;
        for step in 1..self.blocks() {
            let block = (newest + step) % self.blocks();
            let start = self.start(block);
            if self.flash.erase(start, start + Self::BLOCK).is_ok() && self.write(start, entry) {
                self.block = block;
                return true;
            }
        }
        self.next = None;
        false
    }

    /// Writes an entry and reads it back.
    fn write(&mut self, at: u32, entry: &[u8]) -> bool {
        self.next = None;
        if self.flash.write(at, entry).is_err() {
            return false;
        }
        let mut step = [0; STEP_BYTES];
        let mut from = at;
        for part in entry.chunks(STEP_BYTES) {
            let length = part.len().next_multiple_of(F::READ_SIZE);
            if self.flash.read(from, &mut step[..length]).is_err() || step[..part.len()] != *part {
                return false;
            }
            from += bytes(part.len());
        }
        self.next = Some(from);
        true
    }
}

impl<F: NorFlash> Retained for Pages<F> {
    fn load(&mut self) -> Option<State> {
        let mut newest: Option<(Found, u32)> = None;
        self.next = None;
        for block in 0..self.blocks() {
            let (found, end) = self.walk(block);
            if let Some(found) = found
                && newest
                    .as_ref()
                    .is_none_or(|(newest, _)| found.sequence > newest.sequence)
            {
                self.next = end;
                newest = Some((found, block));
            }
        }
        let (found, block) = newest?;
        self.block = block;
        self.sequence = found.sequence;
        self.state(&found)
    }

    #[inline(never)]
    fn store(&mut self, state: &State) {
        let mut entry = [0xff; MAX_ENTRY_BYTES + STEP_BYTES];
        let (head, body) = entry.split_at_mut(HEAD_BYTES);
        // The largest state fits, by MAX_STATE_BYTES.
        let Ok(length) = state.encode(&mut body[..MAX_STATE_BYTES]) else {
            self.failed = true;
            return;
        };
        // In 136 years at a store a second.
        self.sequence = self.sequence.saturating_add(1);
        let field = u16::try_from(length).unwrap_or(u16::MAX);
        head[..4].copy_from_slice(&self.sequence.to_le_bytes());
        head[4..6].copy_from_slice(&field.to_le_bytes());
        head[6..8].copy_from_slice(&(!field).to_le_bytes());
        let checksum = crc32c(&head[..8]);
        head[8..].copy_from_slice(&checksum.to_le_bytes());
        let whole = entry_bytes::<F>(length) as usize;
        self.failed = !self.append(&entry[..whole]);
    }
}

fn parse(head: &[u8; HEAD_BYTES]) -> Option<(u32, usize)> {
    let [a, b, c, d, low, high, not_low, not_high, rest @ ..] = *head;
    let length = u16::from_le_bytes([low, high]);
    let whole = u16::from_le_bytes([not_low, not_high]) == !length
        && u32::from_le_bytes(rest) == crc32c(&head[..8])
        && usize::from(length) <= MAX_STATE_BYTES;
    whole.then_some((u32::from_le_bytes([a, b, c, d]), usize::from(length)))
}

/// A length as a distance in flash; steps and entries are far shorter than 4 GiB.
fn bytes(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// What an entry takes, in whole words.
fn entry_bytes<F: NorFlash>(length: usize) -> u32 {
    let word = F::WRITE_SIZE.max(F::READ_SIZE);
    bytes((HEAD_BYTES + length).next_multiple_of(word))
}
