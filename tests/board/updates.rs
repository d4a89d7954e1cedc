//! New images, from the hub through the gateway to the board's slots and its boot loader.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::image::{Image, Maker};
use crate::support::{LIMIT, text, wait_for};
use crate::{Bench, DEVICE, layout, machine};

const NOISE: &str = "/dev/urandom";
/// The power goes so often.
const CUTS: usize = 20;
/// So many of those while the image is written into its slot; the others at the loader's turns.
const CUTS_IN_SLOT: usize = 17;
/// Where it goes is drawn from this.
const SEED: u64 = 0x5eed_0012;

/// Phases of a slot, as the loader's journal has them.
const READY: u8 = 3;
const TRIAL: u8 = 4;
const CONFIRMED: u8 = 5;
const BAD: u8 = 6;

#[test]
fn an_update_arrives_though_the_power_is_cut_at_twenty_points() {
    let mut bench = Bench::start(100, Path::new(NOISE));
    bench.wait_for_resets(1);
    let image = bench.maker.application(2);
    let rollout = bench.roll_out(&image);
    for point in points(image.package.len()) {
        bench.wait_for_flash(&format!("byte {point} of the package"), |flash| {
            written(flash) > point
        });
        bench.cut_power();
    }
    for (name, phase) in [
        ("ready", READY),
        ("on trial", TRIAL),
        ("confirmed", CONFIRMED),
    ] {
        bench.wait_for_flash(name, |flash| phase_of_b(flash) >= phase);
        bench.cut_power();
    }
    assert_eq!(bench.cuts, CUTS);
    let shown = bench.wait_for_rollout(&rollout, "done");
    assert_eq!(
        shown["plan"]["image"]["digest"],
        hex::encode(image.header.digest)
    );
    // What runs is what the loader chose, and it stays with it.
    bench.cut_power();
    wait_for("the loader's choice", || {
        let said = bench.machine.said();
        let last = said.lines().rfind(|line| line.starts_with("loader: "))?;
        last.starts_with("loader: slot B, version 1.2, sequence 2, confirmed")
            .then_some(())
    });
    all_are_accounted_for(&bench);
    bench.gateway.is_sound();
    bench.hub.is_sound();
}

#[test]
fn images_of_a_stranger_and_older_ones_are_refused_and_said_so() {
    let mut bench = Bench::start(100, Path::new(NOISE));
    bench.wait_for_resets(1);
    // The hub itself refuses what is not signed by its keys.
    let mut stranger = Maker::new();
    let foreign = stranger.application(3);
    let refused = bench.push(&foreign).unwrap_err();
    assert!(
        refused.contains("signature") || refused.contains("signed"),
        "{refused}"
    );
    // The board looks for itself: this one trusts the stranger alone.
    bench.switch_to(|flash, _| machine::install(flash, &mut stranger, 1, 60));
    let image = bench.maker.application(2);
    let rollout = bench.roll_out(&image);
    let shown = bench.wait_for_rollout(&rollout, "failed");
    let detail = bench.detail(&shown);
    assert!(detail.contains("signature"), "{detail}");
    // Older than what the hub has.
    let old = bench.maker.application(1);
    let refused = bench.push(&old).unwrap_err();
    assert!(refused.contains("it has to be higher"), "{refused}");
    // Older than what the board runs.
    bench.switch_to(|flash, maker| machine::install(flash, maker, 9, 60));
    wait_for("the newer image", || {
        let said = bench.machine.said();
        said.contains("slot A, version 1.9, sequence 9, confirmed")
            .then_some(())
    });
    bench.wait_for_resets(3);
    let old = bench.maker.application(3);
    let rollout = bench.roll_out(&old);
    bench.wait_for_rollout(&rollout, "skipped");
    let flash = std::fs::read(bench.machine.flash()).unwrap();
    assert_eq!(written(&flash), 0, "nothing of the older image was taken");
}

#[test]
fn an_image_that_does_not_reach_the_gateway_in_time_is_left_again() {
    let mut bench = Bench::start(100, Path::new(NOISE));
    bench.wait_for_resets(1);
    bench.switch_to(|flash, maker| machine::install(flash, maker, 1, 4));
    bench.wait_for_resets(2);
    let image = bench.maker.application(2);
    let rollout = bench.roll_out(&image);
    let address = bench.gateway.address();
    bench.wait_for_flash("the first trial", |flash| phase_of_b(flash) >= TRIAL);
    bench.gateway.kill();
    bench.wait_for_flash("the end of the trials", |flash| phase_of_b(flash) == BAD);
    bench.gateway.listen_at(address);
    bench.gateway.start();
    bench.wait_for_rollout(&rollout, "failed");
    let said = bench.machine.said();
    let last = said.lines().rfind(|line| line.starts_with("loader: "));
    assert!(
        last.is_some_and(|line| line.starts_with("loader: slot A, version 1.1, sequence 1, ")),
        "{said}"
    );
    all_are_accounted_for(&bench);
}

#[test]
fn an_image_that_never_talks_to_the_gateway_is_left_again() {
    let mut bench = Bench::start(100, Path::new(NOISE));
    bench.wait_for_resets(1);
    // A stack pointer, and for each vector a branch to itself.
    let mut silent = 0x2000_c000_u32.to_le_bytes().to_vec();
    for _ in 1..256 {
        silent.extend((layout::APPLICATION + 1_024 + 1).to_le_bytes());
    }
    silent.extend([0xfe, 0xe7, 0xfe, 0xe7]);
    let image = bench.maker.image(2, silent);
    let rollout = bench.roll_out(&image);
    let shown = bench.wait_for_rollout(&rollout, "failed");
    let said = bench.machine.said();
    for trial in 1..=layout::MAX_TRIALS {
        let line = format!("sequence 2, trial {trial} of {}", layout::MAX_TRIALS);
        assert!(said.contains(&line), "{said}");
    }
    let last = said.lines().rfind(|line| line.starts_with("loader: "));
    assert!(
        last.is_some_and(|line| line.starts_with("loader: slot A, version 1.1, sequence 1, ")),
        "{said}"
    );
    assert!(!bench.detail(&shown).is_empty(), "{shown}");
    all_are_accounted_for(&bench);
}

/// Bytes of a package at which the power goes: one in each of equal parts.
fn points(length: usize) -> Vec<usize> {
    let part = length / CUTS_IN_SLOT;
    let mut state = SEED;
    (0..CUTS_IN_SLOT)
        .map(|at| {
            // Steele, Lea and Flood's SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            at * part + usize::try_from((z ^ (z >> 31)) % part as u64).unwrap()
        })
        .collect()
}

/// How far slot B is written.
fn written(flash: &[u8]) -> usize {
    let start = layout::LAYOUT.slots[1] as usize;
    let slot = &flash[start..][..layout::LAYOUT.slot_bytes as usize];
    slot.iter()
        .rposition(|byte| *byte != 0xff)
        .map_or(0, |last| last + 1)
}

/// What the newest record of the loader's journal says of slot B.
fn phase_of_b(flash: &[u8]) -> u8 {
    let start = layout::LAYOUT.journal as usize;
    let journal = &flash[start..][..2 * layout::LAYOUT.journal_half as usize];
    let records = journal
        .chunks(64)
        .filter(|record| record[..4] == *b"SJ\x01\x00")
        // What is being written ends in its check, of which nothing is there yet.
        .filter(|record| record[56..64] != [0xff; 8]);
    let newest = records.max_by_key(|record| u32::from_le_bytes(record[4..8].try_into().unwrap()));
    newest.map_or(0, |record| record[36]) & 7
}

/// Each number of each boot that the hub knows of is stored, or said to be lost, and no boot is
/// missing between the first and the last.
fn all_are_accounted_for(bench: &Bench) {
    wait_for("the account of each number", || {
        let rows = bench
            .hub
            .items(&format!("/api/v1/devices/{DEVICE}/ledger?limit=100"));
        let mut boots: Vec<u64> = rows.iter().filter_map(|row| row["boot"].as_u64()).collect();
        boots.sort_unstable();
        let (first, last) = (*boots.first()?, *boots.last()?);
        let whole = last - first + 1 == boots.len() as u64 && boots.len() == rows.len();
        let accounted = rows.iter().all(|row| {
            let ledger = &row["ledger"];
            let dropped = ledger["dropped"].as_object().into_iter().flatten();
            let known =
                count(&ledger["stored"]) + dropped.map(|(_, runs)| count(runs)).sum::<u64>();
            known > 0 && ledger["last_given"] == known
        });
        (whole && accounted).then_some(())
    });
}

fn count(runs: &Value) -> u64 {
    let runs = runs.as_array().expect("runs").iter();
    runs.map(|run| run[1].as_u64().unwrap() - run[0].as_u64().unwrap() + 1)
        .sum()
}

impl Bench {
    /// Pushes an image to the hub; says what the hub has against it.
    fn push(&self, image: &Image) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let (payload, manifest) = (folder.path().join("image"), folder.path().join("manifest"));
        std::fs::write(&payload, &image.payload).unwrap();
        std::fs::write(&manifest, &image.manifest).unwrap();
        let mut command = self.hub.command(&["image", "push"]);
        command.arg(&payload).arg("--manifest").arg(&manifest);
        let output = command.output().unwrap();
        output
            .status
            .success()
            .then_some(())
            .ok_or_else(|| text(&output))
    }

    /// Has the board run an image; gives the roll-out's id.
    fn roll_out(&self, image: &Image) -> String {
        self.push(image).unwrap();
        let digest = hex::encode(image.header.digest);
        let begun = self
            .hub
            .ask(&["rollout", "create", &digest, "--devices", DEVICE]);
        begun["id"].as_str().unwrap().to_owned()
    }

    /// Waits until the device's part in a roll-out has come to this.
    fn wait_for_rollout(&self, id: &str, phase: &str) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self.hub.get(&format!("/api/v1/rollouts/{id}")).json();
            if shown["counts"][phase] == 1 {
                return shown;
            }
            assert!(begun.elapsed() < 3 * LIMIT, "{phase}: {shown}");
            nap(Duration::from_millis(100));
        }
    }

    /// Why the device failed.
    fn detail(&self, rollout: &Value) -> String {
        let id = rollout["id"].as_str().unwrap();
        let devices = self.hub.items(&format!("/api/v1/rollouts/{id}/devices"));
        devices[0]["detail"].as_str().unwrap_or_default().to_owned()
    }

    /// Has the board's flash written anew at the bench.
    fn switch_to(&mut self, write: impl FnOnce(&Path, &mut Maker)) {
        self.machine.switch_off();
        write(&self.machine.flash(), &mut self.maker);
        self.machine.switch_on();
    }

    /// Waits until the flash is so; looks often, to be there while it is written.
    fn wait_for_flash(&self, what: &str, so: impl Fn(&[u8]) -> bool) {
        let path = self.machine.flash();
        let begun = Instant::now();
        while !so(&std::fs::read(&path).unwrap()) {
            assert!(
                begun.elapsed() < LIMIT,
                "waited in vain for {what}: {}",
                self.machine.said()
            );
            nap(Duration::from_micros(300));
        }
    }

    fn cut_power(&mut self) {
        self.cuts += 1;
        self.machine.switch_off();
        self.machine.switch_on();
    }
}

#[allow(clippy::disallowed_methods, reason = "another process is watched")]
fn nap(time: Duration) {
    std::thread::sleep(time);
}
