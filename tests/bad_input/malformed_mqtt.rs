//! Bytes that are no MQTT, on every kind of listener, while another client goes on undisturbed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use serde_json::json;

use crate::support::mqtt::{Mqtt, connect, packet, publish, text};
use crate::support::{Hub, LIMIT, wait_for};

const TELEMETRY: &str = "v1/devices/me/telemetry";

/// A client that publishes all the while.
struct Bystander {
    acknowledged: Arc<AtomicU64>,
    enough: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Bystander {
    fn start(mut client: Mqtt) -> Self {
        let (acknowledged, enough) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (count, stop) = (Arc::clone(&acknowledged), Arc::clone(&enough));
        let thread = std::thread::spawn(move || {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                let values = json!({ "ts": 1_700_000_000_000_u64 + n, "values": { "n": n } });
                client.deliver(TELEMETRY, values.to_string().as_bytes());
                count.store(n, Ordering::Relaxed);
            }
            n
        });
        Self {
            acknowledged,
            enough,
            thread,
        }
    }

    /// It was acknowledged something that it published after this was called.
    fn goes_on(&self) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        wait_for("the bystander to be acknowledged", || {
            (self.acknowledged.load(Ordering::Relaxed) > before + 1).then_some(())
        });
    }

    /// How many it published; each was acknowledged, over one connection.
    fn end(self) -> u64 {
        self.enough.store(true, Ordering::Relaxed);
        self.thread.join().expect("the bystander was never cut off")
    }
}

/// What strangers say first.
fn openings() -> Vec<(String, Vec<u8>)> {
    let mut cases: Vec<(String, Vec<u8>)> = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n".to_vec()),
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 64]),
        ("half a CONNECT", connect("half", None)[..9].to_vec()),
        ("PUBLISH before CONNECT", publish(TELEMETRY, 1, b"{}")),
        (
            "another protocol's name",
            packet(0x10, &[text("MQTS"), vec![5, 2, 0, 60, 0, 0, 0]].concat()),
        ),
        (
            "a version of the future",
            packet(0x10, &[text("MQTT"), vec![9, 2, 0, 60, 0, 0, 0]].concat()),
        ),
        (
            "a reserved flag",
            packet(0x10, &[text("MQTT"), vec![5, 3, 0, 60, 0, 0, 0]].concat()),
        ),
        (
            "a user name that is not there",
            packet(
                0x10,
                &[text("MQTT"), vec![5, 0x82, 0, 60, 0, 0, 0]].concat(),
            ),
        ),
        (
            "a client id that is no text",
            packet(
                0x10,
                &[text("MQTT"), vec![5, 2, 0, 60, 0, 0, 2, 0xff, 0xfe]].concat(),
            ),
        ),
        (
            "a length of five bytes",
            vec![0x10, 0xff, 0xff, 0xff, 0xff, 0x01],
        ),
        (
            "256 MB to come",
            [vec![0x10, 0xff, 0xff, 0xff, 0x7f], vec![0; 4096]].concat(),
        ),
        ("nobody's token", connect("guess", Some("stencil_0000"))),
    ]
    .map(|(what, bytes)| (what.to_owned(), bytes))
    .into();
    cases.extend((1..=12).map(|seed| (format!("noise {seed}"), noise(seed))));
    cases
}

/// What a client that was let in says next.
fn mistakes() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("packet type 0", packet(0x00, &[])),
        ("QoS 3", packet(0x36, &text(TELEMETRY))),
        ("packet id 0", publish(TELEMETRY, 0, b"{}")),
        (
            "a topic that is no text",
            packet(0x30, &[0, 2, 0xff, 0xfe, 0]),
        ),
        (
            "a property of another packet",
            packet(0x32, &[text(TELEMETRY), vec![0, 1, 2, 0x24, 1]].concat()),
        ),
        (
            "properties beyond the end",
            packet(0x32, &[text(TELEMETRY), vec![0, 1, 0x7f, 1]].concat()),
        ),
        ("a topic beyond the end", packet(0x30, &[0xff, 0xff, b'v'])),
        ("a second CONNECT", connect("again", None)),
        ("a CONNACK", packet(0x20, &[0, 0, 0])),
        ("SUBSCRIBE to nothing", packet(0x82, &[0, 1, 0])),
        ("PINGREQ with a body", packet(0xc0, &[7])),
        (
            "a length of five bytes",
            vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x01],
        ),
        ("a packet over the bound", vec![0x32, 0xff, 0xff, 0x7f, 0]),
    ]
}

/// 4 KiB that follow from a seed.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(step).take(4096).collect()
}

fn nobody_is_disturbed(hub: &Hub, bystander: Bystander, open: impl Fn() -> Mqtt, token: &str) {
    for (what, bytes) in openings() {
        let mut stranger = open();
        // It may be shown the door before it has said all.
        let _ = stranger.send(&bytes);
        stranger.close_write();
        stranger.closed(&what);
        bystander.goes_on();
    }
    for (what, bytes) in mistakes() {
        let mut client = open().connect("clumsy", Some(token));
        client.send(&bytes).unwrap();
        let told = client.packet(LIMIT);
        assert!(
            matches!(&told, Some((0xe0, body)) if body.first() >= Some(&0x80)),
            "{what}: told {told:02x?}, not by a DISCONNECT why"
        );
        client.closed(what);
        bystander.goes_on();
    }
    let published = bystander.end();
    hub.wait_for_latest("steady", "n", &json!(published));
    assert_eq!(
        hub.points("steady", "n"),
        usize::try_from(published.min(10_000)).unwrap()
    );
    assert_eq!(
        hub.get("/api/v1/devices/clumsy").status,
        404,
        "nothing of it was taken"
    );
    hub.wait_until_ready(true);
    hub.is_sound();
}

#[test]
fn on_the_plain_listener() {
    let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
    let bystander = Bystander::start(hub.foreign("steady"));
    let token = hub.device_token("clumsy");
    let port = hub.port("mqtt_plain");
    nobody_is_disturbed(&hub, bystander, || Mqtt::plain(port), &token);
}

#[test]
fn on_the_strict_listener_within_tls() {
    let hub = Hub::start(&[]);
    let root = hub.data().join("authority/root.pem");
    let port = hub.port("mqtt_strict");
    let steady = hub.device_token("steady");
    let bystander = Bystander::start(Mqtt::tls(port, &root, None).connect("steady", Some(&steady)));
    let token = hub.device_token("clumsy");
    nobody_is_disturbed(&hub, bystander, || Mqtt::tls(port, &root, None), &token);
}

#[test]
fn on_the_strict_listener_instead_of_tls() {
    let hub = Hub::start(&[]);
    let root = hub.data().join("authority/root.pem");
    let port = hub.port("mqtt_strict");
    let steady = hub.device_token("steady");
    let bystander = Bystander::start(Mqtt::tls(port, &root, None).connect("steady", Some(&steady)));
    let mut cases = openings();
    cases.push((
        "a good CONNECT without TLS".to_owned(),
        connect("steady", Some(&steady)),
    ));
    // A TLS record that announces a ClientHello and brings noise.
    cases.push((
        "a false ClientHello".to_owned(),
        [vec![0x16, 3, 1, 2, 0, 1, 0, 1, 252], noise(99)].concat(),
    ));
    for (what, bytes) in cases {
        let mut stranger = Mqtt::plain(port);
        let _ = stranger.send(&bytes);
        stranger.close_write();
        stranger.closed(&what);
        bystander.goes_on();
    }
    let published = bystander.end();
    hub.wait_for_latest("steady", "n", &json!(published));
    assert!(
        !hub.log().contains(&steady),
        "a secret was logged: {}",
        hub.log()
    );
    hub.is_sound();
}

#[test]
fn who_says_nothing_is_shown_the_door() {
    let hub = Hub::start_with(
        &["--mqtt-plain", "127.0.0.1:0"],
        &[("STENCIL_HUB_MQTT__CONNECT_TIMEOUT_MS", "500")],
    );
    let token = hub.device_token("patient");
    let mut let_in = Mqtt::plain(hub.port("mqtt_plain")).connect("patient", Some(&token));
    for port in ["mqtt_plain", "mqtt_strict"] {
        Mqtt::plain(hub.port(port)).closed(port);
        let mut slow = Mqtt::plain(hub.port(port));
        let _ = slow.send(&[0x10]);
        slow.closed(port);
    }
    let_in.deliver(TELEMETRY, br#"{"n": 1}"#);
}
