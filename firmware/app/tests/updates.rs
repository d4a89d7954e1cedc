//! A firmware image comes over the link, beside readings and commands, whatever happens meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod desk;
#[path = "../../boot/tests/support/mod.rs"]
mod packages;
mod peer;

use std::cell::RefCell;
use std::rc::Rc;

use desk::{Desk, Seen, config};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use packages::{Maker, Package, header, image, layout, maker, package, program};
use peer::Heard;
use stencil_boot::model::{Fault, Nor};
use stencil_boot::{Updater, start};
use stencil_protocol::command::{Command, State};
use stencil_protocol::id::{CommandId, DeviceId};
use stencil_protocol::link::Down;
use stencil_protocol::transfer::{Outcome, Phase};
use stencil_update::header::PRELUDE_BYTES;

const BLOCK: usize = 1_024;
const SLOT_BLOCKS: usize = 8;

type Flash = Nor<4, BLOCK>;

/// The flash of a device, which outlives its resets.
#[derive(Clone)]
struct Chip {
    flash: Rc<RefCell<Flash>>,
    /// Whose counter goes on while the flash works.
    slow: Rc<RefCell<Option<Rc<RefCell<Seen>>>>>,
}

/// What erasing a block takes, and writing and reading a byte. Reading stands for the
/// verification, too.
const ERASE_US: u64 = 20_000;
const WRITE_US: u64 = 10;
const READ_US: u64 = 60;
/// What a chunk takes: two blocks may be touched.
const CHUNK_US: u64 = 2 * ERASE_US + 1_024 * (WRITE_US + READ_US);

impl Chip {
    fn takes(&self, us: u64) {
        if let Some(seen) = &*self.slow.borrow() {
            seen.borrow_mut().clock_us += us;
        }
    }
}

impl ErrorType for Chip {
    type Error = Fault;
}
impl ReadNorFlash for Chip {
    const READ_SIZE: usize = Flash::READ_SIZE;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Fault> {
        self.takes(READ_US * bytes.len() as u64);
        self.flash.borrow_mut().read(offset, bytes)
    }
    fn capacity(&self) -> usize {
        self.flash.borrow().capacity()
    }
}
impl NorFlash for Chip {
    const WRITE_SIZE: usize = Flash::WRITE_SIZE;
    const ERASE_SIZE: usize = Flash::ERASE_SIZE;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        self.takes(ERASE_US);
        self.flash.borrow_mut().erase(from, to)
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.takes(WRITE_US * bytes.len() as u64);
        self.flash.borrow_mut().write(offset, bytes)
    }
}

fn boot_config() -> stencil_boot::Config {
    packages::config(layout(
        BLOCK.try_into().unwrap(),
        1,
        SLOT_BLOCKS.try_into().unwrap(),
    ))
}

struct Scene {
    desk: Desk<8_192, Updater<Chip>>,
    chip: Chip,
    /// The sequence number of each image that was started.
    started: Vec<u64>,
}

impl Scene {
    /// A device that runs `old`, whose gateway offers `offered`.
    fn new(old: &Package, offered: &[u8]) -> Self {
        let mut flash = Flash::new(2 + 2 * SLOT_BLOCKS, 7);
        program(&mut flash, boot_config().layout.slots[0], old);
        let chip = Chip {
            flash: Rc::new(RefCell::new(flash)),
            slow: Rc::default(),
        };
        let (updater, sequence) = loaded(&chip).unwrap();
        let mut desk = Desk::with_slots(config(), updater);
        let dark = chip.clone();
        desk.dark = Some(Box::new(move || !dark.flash.borrow().is_powered()));
        desk.peer.package = offered.to_vec();
        Self {
            desk,
            chip,
            started: vec![sequence],
        }
    }

    /// The loader, then the application. The power may go in the loader, too.
    fn restart(&mut self) {
        self.chip.flash.borrow_mut().power_on();
        let (updater, sequence) = loaded(&self.chip).unwrap();
        self.started.push(sequence);
        self.desk.reboot_with(updater);
    }

    /// Lets time pass; restarts when the device asks for it, or when the power went.
    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            let poll = self.desk.run_ms(10);
            if poll.reset || !self.chip.flash.borrow().is_powered() {
                self.restart();
            }
        }
    }

    /// Runs until the gateway has heard that this image runs and is confirmed.
    fn until_confirmed(&mut self, of: u64) {
        for _ in 0..600 {
            self.run_ms(100);
            if self.heard().iter().any(|heard| {
                matches!(heard, Heard::Running { sequence, confirmed, .. } if (*sequence, *confirmed) == (of, of))
            }) {
                return;
            }
        }
        panic!("it does not come to an end: {:?}", self.started);
    }

    fn heard(&self) -> &[Heard] {
        &self.desk.peer.heard
    }

    fn verdicts(&self) -> Vec<Outcome> {
        let of = |heard: &Heard| match heard {
            Heard::Verdict(verdict) => Some(verdict.outcome),
            _ => None,
        };
        self.heard().iter().filter_map(of).collect()
    }

    fn wants(&self) -> Vec<u32> {
        let of = |heard: &Heard| match heard {
            Heard::Want(want) => Some(want.offset),
            _ => None,
        };
        self.heard().iter().filter_map(of).collect()
    }

    /// Every number that was given is with the gateway, or reported as lost in a reset.
    fn settle(&mut self) {
        self.desk.app.set_measuring(false);
        self.run_ms(3_000);
        assert!(self.desk.app.progress().settled);
    }
}

fn loaded(chip: &Chip) -> Result<(Updater<Chip>, u64), stencil_boot::Error<Fault>> {
    let config = boot_config();
    let started = start(&mut chip.clone(), &config, |_, _| ())?;
    Ok((
        Updater::open(chip.clone(), config)?,
        started.header.sequence,
    ))
}

#[test]
fn an_image_is_received_started_confirmed_and_told_of_beside_commands() {
    let (old, new) = (package(1, 3_000), package(2, 5_000));
    let mut scene = Scene::new(&old, &new.bytes);
    let lock = Command {
        id: CommandId([1; 16]),
        device: DeviceId::parse(desk::DEVICE).unwrap(),
        name: "lock",
        argument: None,
        expires_us: i64::MAX,
    };
    scene.run_ms(200);
    scene.desk.peer.send(&Down::Command(lock.clone()));
    scene.until_confirmed(2);
    assert_eq!(scene.started, [1, 2]);
    // First of all: what runs.
    assert!(matches!(scene.heard()[0], Heard::Hello(_)));
    let first = &scene.heard()[1];
    let is_first = matches!(
        first,
        Heard::Running { sequence: 1, confirmed: 1, other, verdict: None } if other.phase == Phase::Empty
    );
    assert!(is_first, "{first:?}");
    assert_eq!(scene.verdicts(), [Outcome::READY]);
    // One want a chunk.
    let chunks = (PRELUDE_BYTES + 5_000).div_ceil(1_024);
    let expected: Vec<u32> = (0..chunks)
        .map(|at| (at * 1_024).try_into().unwrap())
        .collect();
    assert_eq!(scene.wants(), expected);
    // On trial first, then confirmed.
    let runs = scene.heard().iter().filter_map(|heard| match heard {
        Heard::Running {
            sequence: 2,
            confirmed,
            ..
        } => Some(*confirmed),
        _ => None,
    });
    assert_eq!(runs.collect::<Vec<_>>(), [1, 2]);
    let done = scene.heard().iter().any(
        |heard| matches!(heard, Heard::Status { id, state: State::Done, .. } if *id == lock.id),
    );
    assert!(done);

    // Nothing got lost in the reset.
    scene.settle();
    let seen = scene.desk.seen.borrow();
    let first_boot = seen.given[0].0;
    let mut of_first = seen.given.iter().filter(|it| it.0 == first_boot);
    let last = of_first.next_back().unwrap().1;
    assert!(seen.acknowledged.contains(&(first_boot, last)));
}

#[test]
fn no_reading_waits_longer_than_for_a_chunk() {
    let (old, new) = (package(1, 3_000), package(2, 5_000));
    let mut scene = Scene::new(&old, &[]);
    scene.desk.config.sample_interval_us = 600_000;
    scene.restart();
    scene.run_ms(1_000);
    scene.desk.seen.borrow_mut().measured_us.clear();
    *scene.chip.slow.borrow_mut() = Some(Rc::clone(&scene.desk.seen));
    scene.desk.peer.package = new.bytes.clone();
    scene.desk.peer.offer();
    while scene.verdicts().is_empty() {
        scene.run_ms(10);
    }
    assert_eq!(scene.verdicts(), [Outcome::READY]);
    scene.run_ms(1_000);
    let times = scene.desk.seen.borrow().measured_us.clone();
    // The verification of the whole takes most of an interval: it would show.
    let verification_us = READ_US * (5_000 + 1_456);
    assert!(verification_us > 2 * CHUNK_US);
    assert!(times.len() >= 3, "{times:?}");
    for (at, time) in times.iter().enumerate() {
        let due = times[0] / 600_000 * 600_000 + 600_000 * at as u64;
        assert!(*time < due + CHUNK_US + 10_000, "{at}: {times:?}");
    }
}

#[test]
fn the_power_goes_at_twenty_points_and_each_ends_with_the_new_image() {
    let (old, new) = (package(1, 3_000), package(2, 5_000));
    let mut scene = Scene::new(&old, &new.bytes);
    let before = scene.chip.flash.borrow().steps();
    scene.until_confirmed(2);
    let steps = scene.chip.flash.borrow().steps() - before;
    assert!(steps > 7_000, "{steps}");
    let mut dice = 0x9e37_79b9_u64;
    let mut cuts = 0;
    for point in 0..20 {
        let mut scene = Scene::new(&old, &new.bytes);
        // Twice in a row, the second time soon after.
        for bound in [steps / 20 * (point + 1), 600] {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            let low = if bound == 600 { 0 } else { bound - steps / 20 };
            scene
                .chip
                .flash
                .borrow_mut()
                .cut_after(low + dice % (bound - low));
            let until = scene.started.len() + 1;
            for _ in 0..400 {
                if scene.started.len() == until {
                    break;
                }
                scene.run_ms(10);
            }
            cuts += usize::from(scene.started.len() == until);
        }
        scene.chip.flash.borrow_mut().power_on();
        scene.until_confirmed(2);
        assert_eq!(scene.started.last(), Some(&2));
        assert!(!scene.verdicts().iter().any(|it| *it != Outcome::READY));
        scene.settle();
    }
    assert!(cuts >= 30, "the power went {cuts} times");
}

#[test]
fn a_transfer_goes_on_where_it_was_after_the_link_came_back() {
    let (old, new) = (package(1, 3_000), package(2, 5_000));
    let mut scene = Scene::new(&old, &new.bytes);
    while scene.wants().len() < 4 {
        scene.run_ms(10);
    }
    scene.desk.connect();
    scene.until_confirmed(2);
    let wants = scene.wants();
    // At most the one chunk that was on its way comes again.
    assert!(
        wants.windows(2).all(|pair| pair[1] - pair[0] <= 1_024),
        "{wants:?}"
    );
    assert!(wants.is_sorted());
}

#[test]
fn what_is_not_for_the_device_is_refused_with_its_verdict_and_costs_no_flash() {
    let old = package(5, 3_000);
    let image = image(6, 3_000);
    let mut foreign = header(6, &image);
    foreign.class = stencil_update::id::Id([9; 16]);
    let mut vendor = header(6, &image);
    vendor.vendor = stencil_update::id::Id([9; 16]);
    let long = packages::image(6, SLOT_BLOCKS * BLOCK);
    for (header, image, expected) in [
        (foreign, &image, Outcome::FOREIGN_CLASS),
        (vendor, &image, Outcome::FOREIGN_VENDOR),
        (header(4, &image), &image, Outcome::OLD),
        (header(5, &image), &image, Outcome::OLD),
        (header(6, &long), &long, Outcome::OVERSIZED),
    ] {
        let package = maker().package(&header, image);
        let mut scene = Scene::new(&old, &package.bytes);
        let steps = scene.chip.flash.borrow().steps();
        scene.run_ms(1_000);
        assert_eq!(scene.verdicts(), [expected]);
        assert_eq!(scene.wants(), [0; 0]);
        assert_eq!(
            scene.chip.flash.borrow().steps(),
            steps,
            "nothing was written"
        );
        // It says so again at each connection.
        scene.desk.connect();
        scene.run_ms(500);
        let again = scene.heard().iter().rev().find_map(|heard| match heard {
            Heard::Running { verdict, .. } => *verdict,
            _ => None,
        });
        assert_eq!(again.map(|it| it.outcome), Some(expected));
    }
    let mut garbage = package(6, 3_000).bytes;
    garbage[0] ^= 1;
    let mut scene = Scene::new(&old, &garbage);
    scene.run_ms(1_000);
    assert_eq!(scene.verdicts(), [Outcome::HEADER]);
}

#[test]
fn bad_signatures_changed_images_and_cut_ones_never_start() {
    let old = package(1, 3_000);
    let new = package(2, 5_000);
    let other = Maker::new([8; 32]).package(&new.header, &new.image);
    let mut changed = new.bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    for (bytes, expected, most) in [
        (&other.bytes, Outcome::SIGNATURE, 2),
        (&changed, Outcome::DIGEST, 7),
    ] {
        let mut scene = Scene::new(&old, bytes);
        scene.run_ms(3_000);
        assert_eq!(scene.verdicts(), [expected]);
        assert_eq!(scene.wants().len(), most);
        scene.restart();
        assert_eq!(scene.started, [1, 1]);
    }
    // What is cut short is wanted, and wanted again, and then waited for.
    let mut scene = Scene::new(&old, &new.bytes[..4_000]);
    scene.run_ms(10_000);
    assert_eq!(scene.verdicts(), []);
    let wants = scene.wants();
    assert_eq!(
        wants.iter().filter(|at| **at == 4_000).count(),
        usize::from(config().attempts)
    );
    scene.restart();
    assert_eq!(scene.started, [1, 1]);
    scene.desk.peer.package = new.bytes.clone();
    scene.until_confirmed(2);
}

#[test]
fn a_gateway_that_offers_what_it_likes_does_not_wear_out_the_flash() {
    let old = package(1, 3_000);
    let mut stranger = Maker::new([8; 32]);
    let mut scene = Scene::new(&old, &[]);
    scene.run_ms(500);
    for sequence in 2..40 {
        let image = image(sequence, 3_000);
        scene.desk.peer.package = stranger.package(&header(sequence, &image), &image).bytes;
        scene.desk.peer.offer();
        scene.run_ms(1_000);
    }
    let verdicts = scene.verdicts();
    assert_eq!(verdicts[..4], [Outcome::SIGNATURE; 4]);
    assert_eq!(verdicts[4..], [Outcome::RESTING; 34]);
    let most = *scene.chip.flash.borrow().erasures().iter().max().unwrap();
    assert!(most <= 6, "{most}");
    // An hour later one more, and it may be the right one.
    let new = package(2, 5_000);
    scene.desk.peer.package = new.bytes.clone();
    scene.desk.seen.borrow_mut().clock_us += stencil_firmware::update::BEGIN_AGAIN_US;
    scene.desk.wall_us += 3_600_000_000;
    scene.desk.connect();
    scene.until_confirmed(2);
}

#[test]
fn without_a_word_of_the_gateway_the_old_image_comes_back() {
    let (old, new) = (package(1, 3_000), package(2, 5_000));
    let mut scene = Scene::new(&old, &new.bytes);
    while scene.started.len() < 2 {
        scene.run_ms(10);
    }
    assert_eq!(scene.started, [1, 2]);
    // The new image is deaf.
    for _ in 0..3 {
        scene.desk.down_lost = true;
        scene.run_ms(3_000);
        scene.restart();
    }
    assert_eq!(scene.started, [1, 2, 2, 2, 1]);
    scene.desk.down_lost = false;
    scene.run_ms(2_000);
    // It is known to be bad, and is not taken again.
    assert_eq!(scene.verdicts().last(), Some(&Outcome::KNOWN_BAD));
    assert_eq!(scene.started.last(), Some(&1));
}
