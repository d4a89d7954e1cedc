//! A disk without room: said, felt by who sends, seen by who asks; nothing that was acknowledged
//! is lost, and all goes on when there is room again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use serde_json::json;
use stencil_crypto::Psk;
use stencil_protocol::frame::Kind;
use support::mqtt::Mqtt;
use support::{Device, Gateway, Hub, LIMIT, http};

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

/// A hub on a full disk.
struct FullHub {
    hub: Hub,
    meter: Mqtt,
    /// The number that the meter published last; it is not acknowledged.
    held: usize,
    /// Of a second device, which has said nothing yet.
    token: String,
}

fn full_hub() -> Option<FullHub> {
    let impatient = [("STENCIL_HUB_MQTT__DRAIN_TIMEOUT_MS", "2000")];
    let hub = Hub::on_small_disk(24 * 1024, &["--mqtt-plain", "127.0.0.1:0"], &impatient)?;
    let token = hub.device_token("other");
    let mut meter = hub.foreign("meter");
    meter.deliver(TELEMETRY, reading(1).as_bytes());
    hub.wait_for_latest("meter", "n", &json!(1));
    hub.disk().fill_but(1024);
    let held = publish_until_held_back(&mut meter, 2);
    // It says what is wrong.
    let line = hub.wait_for_log(&["ERROR", "the disk has no room"]);
    let words = ["hub/log", "No space left"];
    assert!(words.iter().all(|word| line.contains(word)), "{line}");
    Some(FullHub {
        hub,
        meter,
        held,
        token,
    })
}

/// A second device publishes until it is held back; gives the number that it published last.
fn held_back_too(hub: &Hub, token: &str) -> (Mqtt, usize) {
    let mut other = Mqtt::plain(hub.port("mqtt_plain")).connect("other", Some(token));
    let last = publish_until_held_back(&mut other, 1);
    (other, last)
}

#[test]
fn the_hub_holds_clients_back_and_goes_on_when_there_is_room() {
    let Some(FullHub {
        hub,
        mut meter,
        held,
        token,
    }) = full_hub()
    else {
        return;
    };
    let problems = hub.wait_until_ready(false);
    let words = ["ingest log", "No space left"];
    assert!(
        words.iter().all(|word| problems.contains(word)),
        "{problems}"
    );
    // Another client is held back as well, not cut off.
    let (mut other, last) = held_back_too(&hub, &token);
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
    hub.wait_for_latest("other", "n", &json!(last));
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
    let Some(FullHub {
        mut hub,
        meter,
        held,
        token,
    }) = full_hub()
    else {
        return;
    };
    drop(meter);
    hub.kill();
    // It starts on the full disk, where all that it has stored can be read.
    hub.start_again(None);
    assert!(hub.points("meter", "n") >= 1);
    let (mut other, last) = held_back_too(&hub, &token);
    hub.disk().make_room();
    assert!(other.acknowledged(LIMIT).expect("with room").is_success());
    hub.wait_for_latest("other", "n", &json!(last));
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
fn a_hub_told_to_stop_on_a_full_disk_ends_and_has_all_that_it_acknowledged() {
    let Some(FullHub {
        mut hub,
        mut meter,
        held,
        ..
    }) = full_hub()
    else {
        return;
    };
    let status = hub.stop();
    assert!(status.code().is_some(), "it ends by itself: {status}");
    let told = hub.log().matches("a commit failed").count();
    assert!(told < 6, "the log tells the same {told} times");
    // Not by the way: what was held back is not acknowledged now.
    assert_eq!(meter.acknowledged(LIMIT), None);
    hub.disk().make_room();
    hub.start_again(None);
    let mut meter = hub.foreign("meter");
    meter.deliver(TELEMETRY, reading(held + 1).as_bytes());
    hub.wait_for_latest("meter", "n", &json!(held + 1));
    let stored = hub.points("meter", "n");
    assert!(stored == held || stored == held + 1, "{stored} of {held}");
    hub.is_sound();
}

/// Sends batches from `first` on until one is not acknowledged in time; gives the number that
/// was sent last.
fn send_until_held_back(device: &mut Device, first: u64) -> u64 {
    let mut last = first - 1;
    loop {
        let record = device.sealed_batch(1, last + 1, BATCH);
        device.send(Kind::Record, &record);
        last += BATCH as u64;
        match device.acknowledged(PATIENCE) {
            Some(through) => assert_eq!(through, (1, last)),
            None => return last,
        }
    }
}

/// A gateway with a full spool whose hub is away, a device's key, the device, and the number
/// that it sent last.
fn full_gateway(hub: &mut Hub) -> Option<(Gateway, Psk, Device, u64)> {
    let mut gateway = Gateway::add(hub, "gw-1");
    if !gateway.on_small_disk(2 * 1024) {
        return None;
    }
    // Without the hub the spool keeps everything.
    hub.kill();
    gateway.start();
    let psk = gateway.add_device("freezer-1");
    let mut device = gateway.link("freezer-1", &psk);
    device.deliver(1, 1, BATCH);
    gateway.disk().fill_but(64);
    let sent = send_until_held_back(&mut device, BATCH as u64 + 1);
    let line = gateway.wait_for_log(&["ERROR", "the disk has no room"]);
    let words = ["data/spool", "No space left"];
    assert!(words.iter().all(|word| line.contains(word)), "{line}");
    gateway.wait_until_it_says(&["spool: stalled", "No space left"]);
    Some((gateway, psk, device, sent))
}

fn all_is_stored(mut hub: Hub, mut gateway: Gateway, last_numbers: &[(&str, u64)]) {
    hub.start_again(None);
    for (name, last) in last_numbers {
        let all = json!([[1, last]]);
        let ledger = hub.wait_for_ledger(name, 1, |ledger| ledger["stored"] == all);
        assert_eq!(ledger["last_given"], *last, "{ledger}");
    }
    assert_eq!(hub.ask(&["reconcile"])["held"], true);
    gateway.wait_until_it_says(&["ok"]);
    gateway.is_sound();
    assert!(gateway.stop().success());
}

#[test]
fn the_gateway_holds_devices_back_and_goes_on_when_there_is_room() {
    let mut hub = Hub::start(&[]);
    let Some((gateway, _, mut device, sent)) = full_gateway(&mut hub) else {
        return;
    };
    // A device that comes now is linked, and held back.
    let psk = gateway.add_device("freezer-2");
    let mut other = gateway.link("freezer-2", &psk);
    let record = other.sealed_batch(1, 1, 1);
    other.send(Kind::Record, &record);
    assert_eq!(other.acknowledged(PATIENCE), None);

    gateway.disk().make_room();
    assert_eq!(
        device.acknowledged(LIMIT),
        Some((1, sent)),
        "held back, not lost"
    );
    assert_eq!(other.acknowledged(LIMIT), Some((1, 1)));
    device.deliver(1, sent + 1, BATCH);
    gateway.wait_for_log(&["the disk has room again"]);
    let last = sent + BATCH as u64;
    all_is_stored(hub, gateway, &[("freezer-1", last), ("freezer-2", 1)]);
}

#[test]
fn a_gateway_killed_on_a_full_disk_has_all_that_it_acknowledged() {
    let mut hub = Hub::start(&[]);
    let Some((mut gateway, psk, device, sent)) = full_gateway(&mut hub) else {
        return;
    };
    drop(device);
    gateway.kill();
    gateway.start();
    // The device has what was not acknowledged, and sends it again.
    let mut device = gateway.link("freezer-1", &psk);
    let sent = send_until_held_back(&mut device, sent - BATCH as u64 + 1);
    gateway.disk().make_room();
    assert_eq!(device.acknowledged(LIMIT), Some((1, sent)));
    all_is_stored(hub, gateway, &[("freezer-1", sent)]);
}

/// A gateway on a disk of its own that has kept some numbers of a device, and whose hub is away.
fn gateway_on_a_disk(hub: &mut Hub) -> Option<(Gateway, Psk, Device)> {
    let mut gateway = Gateway::add(hub, "gw-1");
    if !gateway.on_small_disk(8 * 1024) {
        return None;
    }
    gateway.change(|settings| settings["spool"]["segment_bytes"] = 70_000.into());
    hub.kill();
    gateway.start();
    let psk = gateway.add_device("freezer-1");
    let mut device = gateway.link("freezer-1", &psk);
    device.deliver(1, 1, BATCH);
    Some((gateway, psk, device))
}

#[test]
fn a_gateway_whose_disk_becomes_read_only_holds_devices_back_and_goes_on() {
    let mut hub = Hub::start(&[]);
    let Some((gateway, _, mut device)) = gateway_on_a_disk(&mut hub) else {
        return;
    };
    gateway.disk().cover(&gateway.spool());
    let sent = send_until_held_back(&mut device, BATCH as u64 + 1);
    let line = gateway.wait_for_log(&["ERROR", "the disk cannot be written to"]);
    let words = ["data/spool", "Read-only"];
    assert!(words.iter().all(|word| line.contains(word)), "{line}");
    gateway.wait_until_it_says(&["spool: stalled", "Read-only"]);

    gateway.disk().uncover(&gateway.spool());
    assert_eq!(
        device.acknowledged(LIMIT),
        Some((1, sent)),
        "held back, not lost"
    );
    device.deliver(1, sent + 1, BATCH);
    all_is_stored(hub, gateway, &[("freezer-1", sent + BATCH as u64)]);
}

#[test]
fn a_gateway_that_finds_its_disk_read_only_waits_and_says_so() {
    let mut hub = Hub::start(&[]);
    let Some((mut gateway, psk, device)) = gateway_on_a_disk(&mut hub) else {
        return;
    };
    drop(device);
    gateway.kill();
    gateway.disk().set_read_only(true);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    gateway.change(|settings| settings["http"]["listen"] = address.to_string().into());
    let mut remount = gateway.disk().remount(false);
    let watching = std::thread::spawn(move || {
        let said = support::wait_for("/readyz", || {
            let port = address.port();
            let answer = http::try_request(port, "GET", "/readyz", None, None, None).ok()?;
            answer.body.contains("Read-only").then_some(answer)
        });
        assert!(remount.status().unwrap().success());
        said
    });
    // It says where it listens when it can keep something.
    gateway.start();
    let said = watching.join().unwrap();
    let words = ["spool: ", "data cannot be written to"];
    assert!(
        words.iter().all(|word| said.body.contains(word)),
        "{said:?}"
    );
    assert_eq!(said.status, 503);
    gateway.wait_for_log(&["ERROR", "cannot be written to", "Read-only"]);
    gateway.wait_for_log(&["the disk can be written to again"]);
    let mut device = gateway.link("freezer-1", &psk);
    let next = BATCH as u64 + 1;
    device.deliver(1, next, BATCH);
    all_is_stored(hub, gateway, &[("freezer-1", 2 * BATCH as u64)]);
}
