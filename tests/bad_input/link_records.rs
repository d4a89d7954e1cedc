//! Records of a device's link that are repeated, altered or another's, at a real gateway: they
//! cost only themselves.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::json;
use stencil_protocol::frame::Kind;

use crate::support::{Device, Gateway, Hub, LIMIT};

#[test]
fn repeated_and_altered_records_are_refused() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.start();
    let (psk, other_psk) = (
        gateway.add_device("freezer-1"),
        gateway.add_device("freezer-2"),
    );
    let mut device = gateway.link("freezer-1", &psk);
    let mut other = gateway.link("freezer-2", &other_psk);

    let recorded = device.sealed_batch(1, 1, 3);
    device.send(Kind::Record, &recorded);
    assert_eq!(device.acknowledged(LIMIT), Some((1, 3)));
    // Again, a hundred times.
    for _ in 0..100 {
        device.send(Kind::Record, &recorded);
    }
    gateway.wait_for_metric("records_bad_total", |count| count == 100);
    other.deliver(1, 1, 2);
    // Each bit of a record flipped, one at a time, in front of the record itself.
    let good = device.sealed_batch(1, 4, 1);
    for bit in 0..good.len() * 8 {
        let mut altered = good.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        device.send(Kind::Record, &altered);
    }
    let bad = 100 + good.len() as u64 * 8;
    gateway.wait_for_metric("records_bad_total", |count| count == bad);
    other.deliver(1, 3, 2);
    // Another device's record, and one of an earlier session of the same device.
    let of_other = other.sealed_batch(1, 90, 3);
    device.send(Kind::Record, &of_other);
    gateway.wait_for_metric("records_bad_total", |count| count == bad + 1);

    // The record that was altered in vain is still good, in its first copy.
    device.send(Kind::Record, &good);
    assert_eq!(device.acknowledged(LIMIT), Some((1, 4)));
    let mut again = gateway.link("freezer-1", &psk);
    again.deliver(1, 5, 1);
    again.send(Kind::Record, &recorded);
    gateway.wait_for_metric("records_bad_total", |count| count == bad + 2);
    again.deliver(1, 6, 1);

    // The hub saw each number once, and nothing of what was refused.
    for (name, last) in [("freezer-1", 6), ("freezer-2", 4)] {
        let ledger = hub.wait_for_ledger(name, 1, |ledger| ledger["last_given"] == last);
        assert_eq!(ledger["stored"], json!([[1, last]]), "{name}: {ledger}");
        assert_eq!(ledger["duplicate"], 0, "{name}: {ledger}");
    }
    let device = hub.get("/api/v1/devices/freezer-2").json();
    assert_eq!(device["connected"], true, "{device}");
    assert_eq!(hub.ask(&["reconcile"])["held"], true);
    gateway.is_sound();
    assert!(gateway.stop().success());
    hub.is_sound();
}

#[test]
fn a_device_with_a_wrong_key_is_refused_and_the_right_one_stays() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.start();
    let psk = gateway.add_device("freezer-1");
    let wrong = gateway.add_device("freezer-2");
    let mut device = gateway.link("freezer-1", &psk);
    device.deliver(1, 1, 1);
    let refused = Device::try_link(gateway.address(), "freezer-1", &wrong);
    assert!(refused.is_err(), "another device's key opened the link");
    gateway.wait_for_log(&["handshake refused", "freezer-1"]);
    device.deliver(1, 2, 1);
    hub.wait_for_ledger("freezer-1", 1, |ledger| ledger["stored"] == json!([[1, 2]]));
}

#[test]
fn noise_on_the_links_port_disturbs_nobody() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.start();
    let psk = gateway.add_device("freezer-1");
    let mut device = gateway.link("freezer-1", &psk);
    let noise: Vec<u8> = (0..40_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();
    let mut strangers = Vec::new();
    for (round, bytes) in [
        b"GET / HTTP/1.1\r\n\r\n\0".as_slice(),
        &[0; 5_000],
        &[0xff; 5_000],
        &noise,
        &[noise.as_slice(), &[0]].concat(),
    ]
    .into_iter()
    .enumerate()
    {
        let mut stranger = TcpStream::connect(gateway.address()).unwrap();
        // It may be shown the door before it has said all.
        let _ = stranger.write_all(bytes);
        strangers.push(stranger);
        device.deliver(1, 1 + 2 * round as u64, 2);
    }
    gateway.wait_for_metric("frames_bad_total", |count| count >= 4);
    assert_eq!(gateway.metric("links"), 1, "one device is linked");
    hub.wait_for_ledger("freezer-1", 1, |ledger| {
        ledger["stored"] == json!([[1, 10]])
    });
    gateway.is_sound();
}
