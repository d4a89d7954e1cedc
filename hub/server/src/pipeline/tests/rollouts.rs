//! A roll-out's state follows the log: killed anywhere, committed anyhow, it comes out the same.

use proptest::prelude::*;
use stencil_protocol::id::GatewayId;
use stencil_protocol::image::{Told, What};
use stencil_rollout::{Digest, Image, Plan, Portion};
use stencil_store::{Candidate, DeviceImage};

use super::harness::{Disk, Entry, Harness, RECEIVED_US, device, gateway};
use crate::PipelineOptions;
use crate::ingest::Step;

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

fn name(n: usize) -> String {
    format!("freezer-{n}")
}

fn says(n: usize, what: What) -> Entry {
    let told = Told {
        device: device(&name(n)),
        at_us: 1,
        what,
    };
    Entry::Publish {
        from: gateway(),
        topic: format!("stencil/v1/d/{}/image", name(n)),
        payload: told.encode().unwrap(),
    }
}

fn runs(n: usize, digest: [u8; 32], trial: bool) -> Entry {
    let what = What::Runs {
        digest,
        sequence: u64::from(digest[0]),
        class: "freezer".to_owned(),
        trial,
        version: None,
    };
    says(n, what)
}

/// A plan for six devices that are known, of which four are on.
fn harness(log: &[Entry]) -> Harness {
    let image = Image {
        digest: Digest(NEW),
        sequence: 2,
        class: "freezer".to_owned(),
    };
    let plan = Plan {
        canary: Portion::Devices(2),
        waves: vec![60, 100],
        progress_timeout_s: 2,
        ..Plan::new(image, "freezer-*")
    };
    let through = GatewayId::parse("gw-1").ok();
    let candidates = (0..6).map(|n| Candidate {
        device: device(&name(n)),
        gateway: through.clone(),
        connected: n < 4,
        image: Some(DeviceImage {
            device: device(&name(n)),
            gateway: through.clone(),
            digest: OLD,
            sequence: 1,
            class: "freezer".to_owned(),
            version: None,
            trial: false,
            reported_us: 0,
        }),
    });
    let mut harness = Harness::with(log, PipelineOptions::default(), &[]);
    harness.rollout = Some((serde_json::json!(plan).to_string(), candidates.collect()));
    harness
}

fn started() -> Entry {
    Entry::Rollout(Step::Start(vec![GatewayId::parse("gw-1").unwrap()]))
}

fn entry() -> impl Strategy<Value = Entry> {
    let n = || 0..8_usize;
    prop_oneof![
        4 => (n(), any::<bool>(), prop::bool::weighted(0.2)).prop_map(|(n, new, trial)| {
            runs(n, if new { NEW } else { OLD }, trial)
        }),
        2 => (n(), 0..100_u32).prop_map(|(n, have)| {
            says(n, What::Has { digest: NEW, have, of: 100 })
        }),
        1 => n().prop_map(|n| says(n, What::Installs { digest: NEW })),
        1 => n().prop_map(|n| says(n, What::GaveUp { digest: NEW, reason: "no room".into() })),
        3 => (0..20_i64).prop_map(|s| Entry::Tick(RECEIVED_US + s * 500_000)),
        1 => Just(Entry::GatewaysGone),
        1 => prop::sample::select(vec![Step::Pause, Step::Resume, Step::Retry, Step::Abort])
            .prop_map(Entry::Rollout),
        // As after a kill between its being asked for and its being logged.
        1 => Just(started()),
        1 => n().prop_map(|n| Entry::Erase(device(&name(n)))),
        1 => (n(), any::<bool>()).prop_map(|(n, refused)| Entry::Admit(device(&name(n)), refused)),
    ]
}

fn outcome(disk: &Disk) -> String {
    format!(
        "{:?} {:?} {:?}",
        disk.rollout, disk.rollout_devices, disk.notices
    )
}

proptest! {
    #[test]
    fn killed_anywhere_it_comes_out_the_same(
        rest in prop::collection::vec(entry(), 1..60),
        steps in prop::collection::vec((1..6_usize, any::<bool>()), 1..60),
    ) {
        let log: Vec<Entry> = std::iter::once(started()).chain(rest).collect();
        let mut straight = harness(&log);
        straight.finish();
        let mut killed = harness(&log);
        for (records, kill) in steps {
            killed.apply(records);
            if kill {
                killed.kill();
            } else {
                killed.commit();
            }
        }
        killed.finish();
        prop_assert_eq!(outcome(&killed.disk), outcome(&straight.disk));
    }
}

#[test]
fn devices_run_it_one_after_the_other_and_ticks_are_needed_until_then() {
    let mut harness = harness(&[started()]);
    harness.apply(1);
    harness.commit();
    assert!(harness.waits());
    let offered = |harness: &Harness| -> Vec<usize> {
        let devices = &harness.disk.rollout_devices;
        let is_offered = |n: &usize| devices[&device(&name(*n))].phase == "offered";
        (0..6).filter(is_offered).collect()
    };
    let mut turns = Vec::new();
    loop {
        let turn = offered(&harness);
        if turn.is_empty() {
            break;
        }
        for n in &turn {
            harness.append(&runs(*n, NEW, false));
        }
        harness.apply(turn.len());
        harness.commit();
        turns.push(turn.len());
    }
    assert_eq!(
        turns,
        [2, 2],
        "the canary, the wave; then those that are off"
    );
    for n in 0..6 {
        harness.append(&runs(n, NEW, false));
    }
    harness.finish();
    // Those that were off have got it from somewhere else.
    let phases = harness
        .disk
        .rollout_devices
        .values()
        .map(|row| row.phase.as_str());
    let done = phases.clone().filter(|phase| *phase == "done").count();
    assert_eq!(
        (done, phases.filter(|phase| *phase == "skipped").count()),
        (4, 2)
    );
    assert!(harness.disk.rollout.as_ref().unwrap().is_over);
    assert!(!harness.waits());
}

#[test]
fn revoked_devices_are_left_out_whether_before_or_in_the_middle() {
    let revoke = |n| Entry::Admit(device(&name(n)), true);
    let mut harness = harness(&[revoke(0), revoke(5), started()]);
    harness.apply(3);
    harness.commit();
    let rows = |harness: &Harness, phase: &str| -> Vec<usize> {
        let devices = &harness.disk.rollout_devices;
        let is_so = |n: &usize| devices[&device(&name(*n))].phase == phase;
        (0..6).filter(is_so).collect()
    };
    assert_eq!(rows(&harness, "skipped"), [0, 5]);
    let detail = |harness: &Harness, n: usize| {
        let row = &harness.disk.rollout_devices[&device(&name(n))];
        row.detail.clone().unwrap_or_default()
    };
    assert_eq!(detail(&harness, 0), "it was revoked");
    assert_eq!(detail(&harness, 4), "it is off");
    let at_it = rows(&harness, "offered");
    harness.append(&revoke(at_it[0]));
    harness.apply(1);
    harness.kill();
    harness.apply(1);
    harness.commit();
    assert_eq!(detail(&harness, at_it[0]), "it was revoked");
    assert_eq!(rows(&harness, "offered").len(), 2, "another has its turn");
}
