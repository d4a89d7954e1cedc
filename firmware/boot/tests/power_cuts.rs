//! The power goes at every byte of an update: a good image is started each time, never another,
//! and the update goes on where it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use stencil_boot::model::{Fault, Nor};
use stencil_boot::{Config, Error, Updater};
use support::{Package, boot, config, layout, package, program, send};

/// What a device does from each reset on, until the new image is confirmed. Returns how often it
/// started.
struct Life<'a, const W: usize, const E: usize> {
    flash: &'a mut Nor<W, E>,
    config: &'a Config,
    old: &'a Package,
    new: &'a Package,
    piece: usize,
    /// The furthest position of the download that the device has reported.
    sent: u32,
}

impl<const W: usize, const E: usize> Life<'_, W, E> {
    /// Lives until the new image is confirmed, or the power goes.
    fn go_on(&mut self) -> Result<(), Error<Fault>> {
        for _ in 0..10 {
            let (started, loaded) = boot(self.flash, self.config)?;
            if started.header == self.new.header {
                assert_eq!(loaded, self.new.image, "a wrong image was started");
                let mut updater = Updater::open(&mut *self.flash, *self.config)?;
                let running = updater.running()?;
                assert_eq!(running.header, self.new.header);
                if running.confirmed {
                    return Ok(());
                }
                updater.confirm()?;
            } else {
                assert_eq!(started.header, self.old.header);
                assert_eq!(loaded, self.old.image, "a wrong image was started");
                assert_eq!(started.trial, 0);
                let mut updater = Updater::open(&mut *self.flash, *self.config)?;
                let before = self.sent;
                let from = send(&mut updater, self.new, self.piece, &mut self.sent)?;
                let block = u32::try_from(E).unwrap();
                let whole = u32::try_from(self.new.bytes.len()).unwrap();
                // Where it was: at most one block back.
                assert!(
                    from >= before / block * block || before == whole,
                    "was at {before}, began at {from}"
                );
            }
        }
        panic!("the update does not come to an end");
    }
}

struct Scene<const W: usize, const E: usize> {
    flash: Nor<W, E>,
    config: Config,
    old: Package,
    new: Package,
    piece: usize,
}

impl<const W: usize, const E: usize> Scene<W, E> {
    fn new(length: usize, half_blocks: u32, piece: usize) -> Self {
        let (old, new) = (package(1, length - 7), package(2, length));
        let slot_blocks = new.bytes.len().div_ceil(E);
        let layout = layout(
            E.try_into().unwrap(),
            half_blocks,
            slot_blocks.try_into().unwrap(),
        );
        let blocks = 2 * half_blocks as usize + 2 * slot_blocks;
        let mut flash = Nor::<W, E>::new(blocks, 99);
        program(&mut flash, layout.slots[0], &old);
        // As after many updates: the other slot is full of something else.
        let other = layout.slots[1] as usize;
        flash.bytes_mut()[other..other + slot_blocks * E].fill(0x5a);
        Scene {
            flash,
            config: config(layout),
            old,
            new,
            piece,
        }
    }

    /// The steps of an update without a cut.
    fn steps(&self) -> u64 {
        let mut flash = self.flash.clone();
        self.life(&mut flash).go_on().unwrap();
        flash.steps()
    }

    fn life<'a>(&'a self, flash: &'a mut Nor<W, E>) -> Life<'a, W, E> {
        Life {
            flash,
            config: &self.config,
            old: &self.old,
            new: &self.new,
            piece: self.piece,
            sent: 0,
        }
    }

    /// Cuts at each of these steps of the device's life, one after the other, then lets it finish.
    fn survive(&self, cuts: &[u64]) {
        let mut flash = self.flash.clone();
        let mut sent = 0;
        for cut in cuts {
            flash.cut_after(*cut);
            let mut life = self.life(&mut flash);
            life.sent = sent;
            match life.go_on() {
                // The update was over before the cut.
                Ok(()) => {}
                Err(error) => assert!(
                    matches!(error, Error::Flash(Fault::NoPower)),
                    "cuts {cuts:?}: {error:?}"
                ),
            }
            sent = life.sent;
            flash.power_on();
        }
        let mut life = self.life(&mut flash);
        life.sent = sent;
        if let Err(error) = life.go_on() {
            panic!("cuts {cuts:?}: {error:?}");
        }
        // For good.
        let (started, loaded) = boot(&mut flash, &self.config).unwrap();
        assert_eq!((started.header, started.trial), (self.new.header, 0));
        assert_eq!(loaded, self.new.image);
    }
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn at_every_byte_of_a_small_image() {
    // Halves of eight records: the journal is compacted in the middle of the update.
    let scene = Scene::<4, 512>::new(600, 1, 96);
    let steps = scene.steps();
    assert!(steps > 3_000, "{steps}");
    std::thread::scope(|scope| {
        for first in 0..2 {
            let scene = &scene;
            scope.spawn(move || {
                for cut in (first..=steps).step_by(2) {
                    scene.survive(&[cut]);
                }
            });
        }
    });
}

#[test]
fn twice_in_a_row() {
    let scene = Scene::<1, 256>::new(333, 1, 100);
    let steps = scene.steps();
    let mut seed = 0x5eed;
    for _ in 0..300 {
        let cuts = [random(&mut seed) % steps, random(&mut seed) % steps];
        scene.survive(&cuts);
    }
}

#[test]
fn at_many_points_of_a_large_image() {
    let scene = Scene::<8, 4096>::new(120_001, 1, 512);
    let steps = scene.steps();
    let mut seed = 0x1a46e;
    for _ in 0..40 {
        let cuts: Vec<u64> = (0..4).map(|_| random(&mut seed) % steps).collect();
        scene.survive(&cuts);
    }
}
