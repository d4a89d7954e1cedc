//! A damaged end of what was written: it starts, says what is gone, and goes on; the loss ledger
//! names the gap.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Value, json};
use support::{Gateway, Hub, batch, last_segment, mqtt};

const TOPIC: &str = "stencil/v1/d/freezer-1/batch";

/// Flips a byte so far before the file's end.
fn flip(file: &Path, before_end: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    let at = bytes.len() - before_end;
    bytes[at] ^= 0xff;
    std::fs::write(file, bytes).unwrap();
}

/// Cuts so many bytes off the file's end.
fn cut(file: &Path, bytes: u64) {
    let length = std::fs::metadata(file).unwrap().len();
    std::fs::File::options()
        .write(true)
        .open(file)
        .unwrap()
        .set_len(length - bytes)
        .unwrap();
}

/// What the reconciliation, which must not hold, says is missing.
fn missing(hub: &Hub) -> Value {
    let output = hub
        .command(&["reconcile", "--output", "json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", support::text(&output));
    let account: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(account["faults"][0]["device"], "freezer-1", "{account}");
    account["faults"][0]["missing"].clone()
}

/// Messages of two numbers each, the first of which says 1 and 2.
fn publishes(messages: RangeInclusive<u16>) -> Vec<u8> {
    let publishes = messages.map(|n| {
        let payload = batch::numbered(1, u64::from(n) * 2 - 1, 2);
        mqtt::publish(TOPIC, n, &payload)
    });
    publishes.collect::<Vec<_>>().concat()
}

#[test]
fn damage_in_the_last_record_of_the_ingest_log() {
    let mut hub = Hub::start(&[]);
    hub.start_again(Some("pipeline.before_commit:2"));
    let mut gateway = hub.as_gateway("acme", "gw-1");
    // What one read of the socket brings is one record: four messages, and later one more.
    gateway.send(&publishes(1..=4)).unwrap();
    hub.wait_for_ledger("freezer-1", 1, |ledger| ledger["stored"] == json!([[1, 8]]));
    gateway.send(&publishes(5..=5)).unwrap();
    hub.ended();
    let segment = last_segment(&hub.data().join("log"));
    let before = std::fs::metadata(&segment).unwrap().len();
    flip(&segment, 3);
    hub.start_again(None);
    let line = hub.wait_for_log(&["cut off"]);
    assert!(
        line.contains("hub/log") && line.contains("bytes="),
        "{line}"
    );
    assert!(std::fs::metadata(&segment).unwrap().len() < before);
    hub.wait_for_ledger("freezer-1", 1, |ledger| ledger["stored"] == json!([[1, 8]]));
    // It goes on, and the numbers that were cut off are named.
    let mut gateway = hub.as_gateway("acme", "gw-1");
    gateway.deliver(TOPIC, &batch::numbered(1, 11, 2));
    hub.wait_for_ledger("freezer-1", 1, |ledger| ledger["last_given"] == 12);
    assert_eq!(missing(&hub), json!([[9, 10]]));
    // Who still has them sends them again, and all is well.
    for first in (1..10).step_by(2) {
        gateway.deliver(TOPIC, &batch::numbered(1, first, 2));
    }
    hub.wait_for_ledger("freezer-1", 1, |ledger| {
        ledger["stored"] == json!([[1, 12]])
    });
    assert_eq!(hub.ask(&["reconcile"])["held"], true);
    hub.wait_until_ready(true);
    hub.is_sound();
}

#[test]
fn a_last_segment_that_is_cut_short_after_all_of_it_was_applied() {
    let mut hub = Hub::start(&[]);
    let mut gateway = hub.as_gateway("acme", "gw-1");
    for n in 0..5 {
        gateway.deliver(TOPIC, &batch::numbered(1, 1 + n * 2, 2));
    }
    hub.wait_for_ledger("freezer-1", 1, |ledger| {
        ledger["stored"] == json!([[1, 10]])
    });
    drop(gateway);
    assert!(hub.stop().success());
    cut(&last_segment(&hub.data().join("log")), 40);
    hub.start_again(None);
    let line = hub.wait_for_log(&["ERROR", "the log has lost what was on disk"]);
    assert!(line.contains("from=") && line.contains("to="), "{line}");
    let mut gateway = hub.as_gateway("acme", "gw-1");
    gateway.deliver(TOPIC, &batch::numbered(1, 11, 2));
    hub.wait_for_ledger("freezer-1", 1, |ledger| {
        ledger["stored"] == json!([[1, 12]])
    });
    assert_eq!(hub.ask(&["reconcile"])["held"], true);
    hub.is_sound();
}

#[test]
fn a_killed_hubs_last_segment_that_is_cut_short() {
    let mut hub = Hub::start(&[]);
    let mut gateway = hub.as_gateway("acme", "gw-1");
    for n in 0..5 {
        gateway.deliver(TOPIC, &batch::numbered(1, 1 + n * 2, 2));
    }
    hub.wait_for_ledger("freezer-1", 1, |ledger| {
        ledger["stored"] == json!([[1, 10]])
    });
    drop(gateway);
    hub.kill();
    // No note on what was on disk is left either.
    let log = hub.data().join("log");
    let _ = std::fs::remove_file(log.join("synced"));
    cut(&last_segment(&log), 40);
    hub.start_again(None);
    hub.wait_for_log(&["ERROR", "the log has lost what was on disk"]);
    let mut gateway = hub.as_gateway("acme", "gw-1");
    gateway.deliver(TOPIC, &batch::numbered(1, 11, 2));
    hub.wait_for_ledger("freezer-1", 1, |ledger| {
        ledger["stored"] == json!([[1, 12]])
    });
    assert_eq!(hub.ask(&["reconcile"])["held"], true);
    hub.is_sound();
}

/// A gateway that was killed with ten acknowledged numbers in its spool, and whose hub is away.
fn gateway_with_a_spool(hub: &mut Hub) -> Gateway {
    let mut gateway = Gateway::add(hub, "gw-1");
    hub.kill();
    gateway.start();
    let psk = gateway.add_device("freezer-1");
    let mut device = gateway.link("freezer-1", &psk);
    for n in 0..5 {
        device.deliver(1, 1 + n * 2, 2);
    }
    gateway.kill();
    // The note on how much was on disk, which is written now and then.
    let _ = std::fs::remove_file(gateway.spool().join("synced"));
    gateway
}

#[test]
fn damage_in_the_last_record_of_a_spool() {
    let mut hub = Hub::start(&[]);
    let mut gateway = gateway_with_a_spool(&mut hub);
    // The end holds the last batch, and perhaps the end of the link.
    let segment = last_segment(&gateway.spool());
    let batch = batch::numbered(1, 9, 2);
    let bytes = std::fs::read(&segment).unwrap();
    let at = bytes
        .windows(batch.len())
        .position(|window| window == batch)
        .expect("the batch");
    flip(&segment, bytes.len() - at);
    gateway.start();
    let line = gateway.wait_for_log(&["cut off"]);
    assert!(
        line.contains("data/spool") && line.contains("bytes="),
        "{line}"
    );
    hub.start_again(None);
    hub.wait_for_ledger("freezer-1", 1, |ledger| ledger["stored"] == json!([[1, 8]]));
    // The device goes on counting, so the hub learns what is missing.
    let psk = stencil_crypto::Psk::load(gateway.folder().join("psk/freezer-1.psk")).unwrap();
    let mut device = gateway.link("freezer-1", &psk);
    device.deliver(1, 11, 2);
    hub.wait_for_ledger("freezer-1", 1, |ledger| {
        ledger["dropped"] == json!({ "spool_damaged": [[9, 10]] })
    });
    assert_eq!(hub.ask(&["reconcile"])["held"], true);
    gateway.wait_for_log(&["ERROR", "samples=2", "damaged part of the spool"]);
    gateway.is_sound();
    hub.is_sound();
}

#[test]
fn damage_in_the_middle_of_a_spool_costs_only_what_is_damaged() {
    let mut hub = Hub::start(&[]);
    let mut gateway = gateway_with_a_spool(&mut hub);
    let segment = last_segment(&gateway.spool());
    let batch = batch::numbered(1, 3, 2);
    let bytes = std::fs::read(&segment).unwrap();
    let at = bytes
        .windows(batch.len())
        .position(|window| window == batch)
        .expect("the batch");
    flip(&segment, bytes.len() - at - 5);
    gateway.start();
    hub.start_again(None);
    gateway.wait_for_log(&["ERROR", "damaged"]);
    hub.wait_for_ledger("freezer-1", 1, |ledger| {
        ledger["stored"] == json!([[1, 2], [5, 10]])
            && ledger["dropped"] == json!({ "spool_damaged": [[3, 4]] })
    });
    assert_eq!(hub.ask(&["reconcile"])["held"], true);
    gateway.wait_for_metric("spool_damaged_bytes_total", |bytes| bytes > 0);
    gateway.wait_until_it_says(&["ok"]);
    gateway.is_sound();
}

#[test]
fn damage_at_the_end_of_a_spool_that_was_closed_well() {
    let mut hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    hub.kill();
    gateway.start();
    let psk = gateway.add_device("freezer-1");
    let mut device = gateway.link("freezer-1", &psk);
    device.deliver(1, 1, 2);
    assert!(gateway.stop().success());
    // The last record is the end of the link.
    flip(&last_segment(&gateway.spool()), 3);
    gateway.start();
    hub.start_again(None);
    hub.wait_for_ledger("freezer-1", 1, |ledger| ledger["stored"] == json!([[1, 2]]));
    let mut device = gateway.link("freezer-1", &psk);
    device.deliver(1, 3, 2);
    hub.wait_for_ledger("freezer-1", 1, |ledger| ledger["stored"] == json!([[1, 4]]));
    gateway.wait_for_log(&["ERROR", "damaged"]);
    assert_eq!(hub.ask(&["reconcile"])["held"], true);
    gateway.wait_until_it_says(&["ok"]);
    gateway.is_sound();
}

#[test]
fn a_file_of_a_spool_that_is_gone_is_reported_by_number() {
    let mut hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.change(|settings| {
        settings["spool"]["segment_bytes"] = 70_000.into();
        settings["hub"]["in_order_bytes"] = 0.into();
    });
    hub.kill();
    gateway.start();
    let psk = gateway.add_device("freezer-1");
    let mut device = gateway.link("freezer-1", &psk);
    let mut last = 0;
    while segments(&gateway.spool()).len() < 4 {
        device.deliver(1, last + 1, 50);
        last += 50;
    }
    gateway.kill();
    std::fs::remove_file(&segments(&gateway.spool())[1]).unwrap();
    gateway.start();
    hub.start_again(None);
    let ledger = hub.wait_for_ledger("freezer-1", 1, |ledger| {
        let stored = ledger["stored"].as_array().map_or(0, Vec::len);
        // The rest is brought bit by bit.
        stored == 2
            && ledger["stored"][1][1] == last
            && !ledger["dropped"]["spool_damaged"].is_null()
    });
    let gap = ledger["dropped"]["spool_damaged"][0].as_array().unwrap();
    assert_eq!(
        ledger["stored"][0][1].as_u64().unwrap() + 1,
        gap[0].as_u64().unwrap()
    );
    assert_eq!(
        ledger["stored"][1][0].as_u64().unwrap() - 1,
        gap[1].as_u64().unwrap()
    );
    assert_eq!(hub.ask(&["reconcile"])["held"], true);
    gateway.wait_until_it_says(&["ok"]);
    gateway.is_sound();
}

/// The files of a log, oldest first.
fn segments(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    files.sort();
    files
}
