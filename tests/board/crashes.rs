//! A board that faults, hangs, or panics comes back and says why; nothing of what it measured
//! is lost unsaid.

use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use crate::gdb::{self, HANG, UNDEFINED};
use crate::support::wait_for;
use crate::{Bench, DEVICE};

#[test]
fn a_fault_and_a_hang_are_told_with_the_place_after_the_reset() {
    let bench = Bench::start(50, Path::new("/dev/urandom"));
    bench.wait_for_resets(1);
    let fault = gdb::strike(&bench.machine.stub(), UNDEFINED);
    let told = bench.wait_for_resets(2);
    let place = format!("fault at {fault:#010x}, called from ");
    assert!(told[1].starts_with(&place), "{told:?} instead of {place}");

    let hang = gdb::strike(&bench.machine.stub(), HANG);
    let told = bench.wait_for_resets(3);
    let place = format!("watchdog: no progress at {hang:#010x}, called from ");
    assert!(told[2].starts_with(&place), "{told:?} instead of {place}");

    accounted_for(&bench, 3);
}

#[test]
fn a_noise_source_that_dies_is_a_panic_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let noise = dir.path().join("noise");
    // Enough for the start and the first handshake, then the source is stuck: the board must not
    // make keys of it. A reset finds it healthy for a while.
    let mut samples = vec![0; 1_024 + 128];
    std::fs::File::open("/dev/urandom")
        .unwrap()
        .read_exact(&mut samples)
        .unwrap();
    samples.resize(1 << 16, 0);
    std::fs::write(&noise, samples).unwrap();

    let mut bench = Bench::start(50, &noise);
    assert_eq!(bench.wait_for_resets(1), ["power on"]);
    let address = bench.gateway.address();
    let told = wait_for("the report of a panic", || {
        // A new gateway process knows nothing of the link: the board makes another handshake.
        bench.gateway.kill();
        bench.gateway.listen_at(address);
        bench.gateway.start();
        wait_for("a handshake", || {
            let linked = bench.gateway.metric("handshakes_completed_total") > 0;
            (linked || panic_told(&bench).is_some()).then_some(())
        });
        panic_told(&bench)
    });
    assert!(told.contains("the noise source is stuck"), "{told}");
}

fn panic_told(bench: &Bench) -> Option<String> {
    let path = format!("/api/v1/devices/{DEVICE}/series/reset?limit=100");
    let page: Value = serde_json::from_str(&bench.hub.get(&path).body).ok()?;
    let points = page["items"].as_array()?;
    let texts = points.iter().filter_map(|point| point["value"].as_str());
    texts
        .map(str::to_owned)
        .find(|text| text.starts_with("panic"))
}

/// Each number of each boot is stored, or said to be lost by the reset.
fn accounted_for(bench: &Bench, boots: usize) {
    wait_for("the account of each number", || {
        let answer = bench.hub.get(&format!("/api/v1/devices/{DEVICE}/ledger"));
        let page: Value = serde_json::from_str(&answer.body).ok()?;
        let rows = page["items"].as_array()?;
        let ended = rows.iter().filter(|row| {
            let ledger = &row["ledger"];
            let dropped = ledger["dropped"].as_object().into_iter().flatten();
            let known =
                count(&ledger["stored"]) + dropped.map(|(_, runs)| count(runs)).sum::<u64>();
            // The boot that runs goes on; those that ended are told of in full.
            known > 0 && ledger["last_given"] == known
        });
        (rows.len() == boots && ended.count() == boots).then_some(())
    });
}

fn count(runs: &Value) -> u64 {
    let runs = runs.as_array().expect("runs").iter();
    runs.map(|run| run[1].as_u64().unwrap() - run[0].as_u64().unwrap() + 1)
        .sum()
}
