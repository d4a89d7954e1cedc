//! A disk without room: said, felt by who sends, seen by who asks; nothing that was acknowledged
//! is lost, and all goes on when there is room again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use serde_json::json;
use support::mqtt::Mqtt;
use support::{Gateway, Hub, LIMIT, http};

const TELEMETRY: &str = "v1/devices/me/telemetry";
/// An acknowledgement that does not come within this time is one that is withheld.
const PATIENCE: Duration = Duration::from_secs(2);

/// Samples that fit into one batch of a device's link.
const BATCH: usize = 50;

/// A reading of this number, of some kilobytes, so that a disk fills.
fn reading(n: usize) -> String {
    let text = "x".repeat(250);
    let ballast: serde_json::Map<_, _> = (0..16)
        .map(|i| (format!("ballast-{i}"), json!(format!("{n} {text}"))))
        .collect();
    let mut values = json!(ballast);
    values["n"] = json!(n);
    json!({ "ts": 1_700_000_000_000_usize + n, "values": values }).to_string()
}

/// Publishes numbers from `first` on until one is not acknowledged in time; gives that one.
fn publish_until_held_back(client: &mut Mqtt, first: usize) -> usize {
    for n in first.. {
        let id = client.publish(TELEMETRY, reading(n).as_bytes()).unwrap();
        match client.acknowledged(PATIENCE) {
            Some(ack) => assert!(ack.id == id && ack.is_success(), "{ack:?} for number {n}"),
            None => return n,
        }
    }
    unreachable!()
}

fn full_hub() -> Option<(Hub, Mqtt, usize)> {
    let hub = Hub::on_small_disk(24 * 1024, &["--mqtt-plain", "127.0.0.1:0"], &[])?;
    let mut meter = hub.foreign("meter");
    meter.deliver(TELEMETRY, reading(1).as_bytes());
    hub.wait_for_latest("meter", "n", &json!(1));
    hub.disk().fill_but(1024);
    let held = publish_until_held_back(&mut meter, 2);
    Some((hub, meter, held))
}

#[test]
fn the_hub_holds_clients_back_and_goes_on_when_there_is_room() {
    let Some((hub, mut meter, held)) = full_hub() else {
        return;
    };
    // It says what is wrong: to who reads logs, and to who asks.
    let line = hub.wait_for_log(&["ERROR", "the disk has no room"]);
    assert!(
        line.contains("hub/log") && line.contains("No space left"),
        "{line}"
    );
    let problems = hub.wait_until_ready(false);
    assert!(
        problems.contains("ingest log") && problems.contains("No space left"),
        "{problems}"
    );
    // Another client is held back as well, not cut off.
    let mut other = hub.foreign("other");
    other.publish(TELEMETRY, br#"{"n": 1}"#).unwrap();
    assert_eq!(other.acknowledged(PATIENCE), None);
    // Reading goes on.
    assert_eq!(http::get(hub.port("http"), "/livez", None).status, 200);
    assert_eq!(hub.items("/api/v1/devices")[0]["id"], "meter");
    assert!(hub.points("meter", "n") >= 1);

    hub.disk().make_room();
    let late = meter
        .acknowledged(LIMIT)
        .expect("the acknowledgement that was held back");
    assert!(late.is_success(), "{late:?}");
    assert!(
        other
            .acknowledged(LIMIT)
            .expect("the other client's too")
            .is_success()
    );
    meter.deliver(TELEMETRY, reading(held + 1).as_bytes());
    hub.wait_until_ready(true);
    hub.wait_for_latest("meter", "n", &json!(held + 1));
    hub.wait_for_latest("other", "n", &json!(1));
    assert_eq!(
        hub.points("meter", "n"),
        held + 1,
        "every one that was acknowledged is stored"
    );
    hub.wait_for_log(&["the disk has room again"]);
    hub.is_sound();
}

#[test]
fn a_hub_killed_on_a_full_disk_has_all_that_it_acknowledged() {
    let Some((mut hub, meter, held)) = full_hub() else {
        return;
    };
    hub.wait_for_log(&["ERROR", "the disk has no room"]);
    drop(meter);
    hub.kill();
    hub.disk().make_room();
    hub.start_again(None);
    let mut meter = hub.foreign("meter");
    meter.deliver(TELEMETRY, reading(held + 1).as_bytes());
    hub.wait_for_latest("meter", "n", &json!(held + 1));
    // What was not acknowledged may be there or not.
    let stored = hub.points("meter", "n");
    assert!(stored == held || stored == held + 1, "{stored} of {held}");
    let series = hub.get("/api/v1/devices/meter/series/n?limit=10000").json();
    let known: Vec<_> = series["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["value"])
        .collect();
    for n in 1..held {
        assert!(
            known.contains(&&json!(n)),
            "number {n} was acknowledged and is not there"
        );
    }
    hub.is_sound();
}

#[test]
fn the_gateway_holds_devices_back_and_goes_on_when_there_is_room() {
    let mut hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    if !gateway.on_small_disk(2 * 1024) {
        return;
    }
    // Without the hub the spool keeps everything.
    hub.kill();
    gateway.start();
    let psk = gateway.add_device("freezer-1");
    let other_psk = gateway.add_device("freezer-2");
    let mut device = gateway.link("freezer-1", &psk);
    device.deliver(1, 1, BATCH);
    gateway.disk().fill_but(64);
    let mut sent = BATCH as u64;
    loop {
        let record = device.sealed_batch(1, sent + 1, BATCH);
        device.send(stencil_protocol::frame::Kind::Record, &record);
        sent += BATCH as u64;
        match device.acknowledged(PATIENCE) {
            Some(through) => assert_eq!(through, (1, sent)),
            None => break,
        }
    }
    let line = gateway.wait_for_log(&["ERROR", "the disk has no room"]);
    assert!(
        line.contains("data/spool") && line.contains("No space left"),
        "{line}"
    );
    gateway.wait_until_it_says(&["spool: stalled", "No space left"]);
    // A device that comes now is linked, and held back.
    let mut other = gateway.link("freezer-2", &other_psk);
    let record = other.sealed_batch(1, 1, 1);
    other.send(stencil_protocol::frame::Kind::Record, &record);
    assert_eq!(other.acknowledged(PATIENCE), None);

    gateway.disk().make_room();
    assert_eq!(
        device.acknowledged(LIMIT),
        Some((1, sent)),
        "what was held back is taken"
    );
    assert_eq!(other.acknowledged(LIMIT), Some((1, 1)));
    device.deliver(1, sent + 1, BATCH);
    sent += BATCH as u64;
    gateway.wait_for_log(&["the disk has room again"]);

    hub.start_again(None);
    for (name, last) in [("freezer-1", sent), ("freezer-2", 1)] {
        let ledger = hub.wait_for_ledger(name, 1, |ledger| ledger["stored"] == json!([[1, last]]));
        assert_eq!(ledger["last_given"], last, "{ledger}");
    }
    assert_eq!(hub.ask(&["reconcile"])["held"], true);
    gateway.wait_until_it_says(&["ok"]);
    gateway.is_sound();
    assert!(gateway.stop().success());
}
