//! What a stranger sends never panics and disturbs nobody else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::sample::Index;
use support::{
    Client, Mode, Server, connect_v3, connect_v5, connect_v5_with, packet, publish, text,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn v5_is_told_what_was_wrong() {
    let server = Server::start(Mode::Commit).await;
    let subscribe = |filter: &str, options: u8, properties: &[u8]| {
        let mut body = vec![0, 1, properties.len() as u8];
        body.extend_from_slice(properties);
        body.extend(text(filter));
        body.push(options);
        packet(0x82, &body)
    };
    for (what, bytes, code) in [
        ("packet type 0", packet(0x00, &[]), 0x81),
        ("QoS 3", packet(0x36, &text("t")), 0x81),
        (
            "DUP with QoS 0",
            publish(true, 0x38, "t", None, &[], b""),
            0x81,
        ),
        (
            "packet id 0",
            publish(true, 0x32, "t", Some(0), &[], b""),
            0x81,
        ),
        ("QoS 2", publish(true, 0x34, "t", Some(1), &[], b""), 0x9b),
        (
            "no topic and no alias",
            publish(true, 0x32, "", Some(1), &[], b""),
            0x94,
        ),
        (
            "a subscription identifier from a client",
            publish(true, 0x32, "t", Some(1), &[0x0b, 1], b""),
            0x82,
        ),
        (
            "a property twice",
            publish(true, 0x32, "t", Some(1), &[0x01, 0, 0x01, 0], b""),
            0x82,
        ),
        (
            "a property of another packet",
            publish(true, 0x32, "t", Some(1), &[0x24, 1], b""),
            0x82,
        ),
        (
            "topic that is no UTF-8",
            packet(0x30, &[0, 2, 0xff, 0xfe, 0, b'x']),
            0x81,
        ),
        ("SUBSCRIBE flags", packet(0x80, &[0, 1, 0]), 0x81),
        ("SUBSCRIBE without filters", packet(0x82, &[0, 1, 0]), 0x82),
        ("subscription options", subscribe("t", 0xc0, &[]), 0x81),
        (
            "two subscription identifiers",
            subscribe("t", 0, &[0x0b, 1, 0x0b, 2]),
            0x82,
        ),
        ("PINGREQ with a body", packet(0xc0, &[0]), 0x81),
        ("a second CONNECT", connect_v5("a/x", "again", &[]), 0x82),
        ("CONNACK from a client", packet(0x20, &[0, 0, 0]), 0x82),
        ("AUTH out of place", packet(0xf0, &[0x18, 0]), 0x82),
        ("PUBREC of nothing", packet(0x50, &[0, 9]), 0x82),
        (
            "a session expiry that came too late",
            packet(0xe0, &[0, 5, 0x11, 0, 0, 0, 9]),
            0x82,
        ),
        (
            "a remaining length of five bytes",
            vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x01],
            0x81,
        ),
        (
            "a packet over the bound",
            vec![0x30, 0x80, 0x80, 0x40],
            0x95,
        ),
    ] {
        let mut client = server.v5("a/x", "client").await;
        client.send(&bytes).await;
        let (first, body) = client.packet().await;
        assert_eq!((first, body.first()), (0xe0, Some(&code)), "{what}");
        client.closed().await;
    }
    assert!(server.sink.kept().is_empty());
    assert_eq!(server.handle.metrics().protocol_errors, 22);
}

#[tokio::test]
async fn what_came_before_a_mistake_counts() {
    let server = Server::start(Mode::Commit).await;
    let mut client = server.v3("a/x", "client").await;
    let mut bytes = publish(false, 0x32, "t", Some(1), &[], b"good");
    bytes.extend([0x00, 0x00]);
    client.send(&bytes).await;
    server.sink.wait_for(1).await;
    client.puback(1).await;
    client.closed().await;
}

#[tokio::test]
async fn too_many_in_flight() {
    let options = stencil_mqtt::Options {
        receive_maximum: 2,
        drain_timeout: std::time::Duration::from_millis(50),
        ..stencil_mqtt::Options::default()
    };
    let server = Server::with(Mode::Hold, options, None).await;
    let mut client = server.v5("a/x", "client").await;
    for _ in 0..3 {
        client.publish("t", b"x").await;
    }
    client.disconnected(0x93).await;
    // A 3.1.1 client was never told of the bound.
    let mut client = server.v3("a/x", "three").await;
    for count in 3..=5 {
        client.publish("t", b"x").await;
        server.sink.wait_for(count).await;
    }
    server.sink.commit_all();
    for id in 1..=3 {
        client.puback(id).await;
    }
}

#[tokio::test]
async fn a_connect_that_cannot_be_decoded() {
    let server = Server::start(Mode::Commit).await;
    let mut flags = connect_v5("a/x", "c", &[]);
    flags[9] |= 1;
    for (what, bytes) in [
        ("the reserved flag", flags),
        ("a property of PUBLISH", connect_v5("a/x", "c", &[0x01, 0])),
        ("Receive Maximum 0", connect_v5("a/x", "c", &[0x21, 0, 0])),
        (
            "a will flag without a will",
            connect_v5_with("a/x", "c", 4, 60, &[], &[]),
        ),
        (
            "larger than a stranger's may be",
            connect_v3(&"x".repeat(20_000), "c", 2, 60),
        ),
        ("no CONNECT at all", packet(0xc0, &[])),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ] {
        let mut client = server.socket().await;
        client.send(&bytes).await;
        match support::soon(client.try_packet()).await {
            None => {}
            Some((first, body)) => {
                assert_eq!(first, 0x20, "{what}");
                assert!(body[1] >= 0x80, "{what}: {body:02x?}");
                client.closed().await;
            }
        }
    }
}

/// Packets that are right, as a start for wrong ones.
fn good() -> Vec<Vec<u8>> {
    let mut subscribe = vec![0, 7, 2, 0x0b, 5];
    subscribe.extend(text("a/+/#"));
    subscribe.push(0x25);
    let mut subscribe_3 = vec![0, 7];
    subscribe_3.extend(text("a/#"));
    subscribe_3.push(1);
    let mut unsubscribe = vec![0, 8, 0];
    unsubscribe.extend(text("a/#"));
    let properties = [
        0x01, 1, 0x02, 0, 0, 0, 9, 0x03, 0, 1, b'c', 0x08, 0, 1, b'r', 0x09, 0, 1, 0, 0x23, 0, 1,
        0x26, 0, 1, b'k', 0, 1, b'v',
    ];
    vec![
        publish(true, 0x33, "a/b", Some(1), &properties, b"payload"),
        publish(false, 0x32, "a/b", Some(1), &[], b"payload"),
        publish(true, 0x30, "a/b", None, &[], b""),
        publish(true, 0x34, "a/b", Some(2), &[], b"x"),
        packet(0x82, &subscribe),
        packet(0x82, &subscribe_3),
        packet(0xa2, &unsubscribe),
        packet(0x40, &[0, 1]),
        packet(0x40, &[0, 1, 0x10, 0]),
        packet(0x50, &[0, 1]),
        packet(0x62, &[0, 1]),
        packet(0x70, &[0, 1]),
        packet(0xc0, &[]),
        packet(0xe0, &[0, 0]),
        packet(0xf0, &[0x19, 4, 0x15, 0, 1, b'm']),
        connect_v5("a/x", "again", &[]),
    ]
}

fn connects() -> Vec<Vec<u8>> {
    let mut will = vec![10, 0x02, 0, 0, 0, 1, 0x18, 0, 0, 0, 1];
    will.extend(text("a/will"));
    will.extend(text("gone"));
    let properties = [
        0x11, 0, 0, 0, 9, 0x21, 0, 9, 0x27, 0, 0, 4, 0, 0x22, 0, 0, 0x19, 1, 0x17, 0, 0x26, 0, 1,
        b'k', 0, 1, b'v',
    ];
    vec![
        connect_v3("a/x", "c", 2, 60),
        connect_v5("a/x", "c", &[]),
        connect_v5_with("a/x", "c", 2 | 4 | 8, 60, &properties, &will),
    ]
}

#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        any::<Index>().prop_map(Change::Remove),
        any::<Index>().prop_map(Change::Cut),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match change {
            Change::Set(at, byte) => bytes[at.index(length)] = *byte,
            Change::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Change::Insert(at, byte) => bytes.insert(at.index(length), *byte),
            Change::Remove(at) => {
                bytes.remove(at.index(length));
            }
            Change::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}

/// A framed packet whose length fits, with a wrong inside.
fn refitted(bytes: &[u8]) -> Vec<u8> {
    match bytes {
        [first, _, body @ ..] => packet(*first, body),
        other => other.to_vec(),
    }
}

/// What one stranger sends.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let wrong = (
        prop::sample::select(good()),
        prop::collection::vec(change(), 0..4),
        any::<bool>(),
    )
        .prop_map(|(bytes, changes, refit)| match refit {
            true => refitted(&changed(bytes, &changes)),
            false => changed(bytes, &changes),
        });
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    let framed = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..60))
        .prop_map(|(first, body)| packet(first, &body));
    let rest = prop::collection::vec(
        prop_oneof![4 => wrong, 1 => noise.clone(), 2 => framed],
        0..6,
    )
    .prop_map(|parts| parts.concat());
    let connect = prop::sample::select(connects());
    let wrong_connect = (
        prop::sample::select(connects()),
        prop::collection::vec(change(), 1..4),
    )
        .prop_map(|(bytes, changes)| refitted(&changed(bytes, &changes)));
    prop_oneof![
        1 => noise,
        5 => (connect, rest.clone()).prop_map(|(connect, rest)| [connect, rest].concat()),
        4 => (wrong_connect, rest).prop_map(|(connect, rest)| [connect, rest].concat()),
    ]
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

#[test]
fn no_bytes_disturb_the_endpoint() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (server, mut bystander) = runtime.block_on(async {
        let server = Server::start(Mode::Commit).await;
        let bystander = server.v5("b/x", "bystander").await;
        (server, bystander)
    });
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        before(info);
    }));
    let bystander = std::cell::RefCell::new(&mut bystander);
    let config = ProptestConfig {
        cases: 600,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(bytes in stream(), cut in any::<Index>())| {
        runtime.block_on(stranger(&server, &bytes, cut));
        runtime.block_on(undisturbed(&mut bystander.borrow_mut()));
        prop_assert_eq!(PANICS.load(Ordering::SeqCst), 0);
    });
    let metrics = server.handle.metrics();
    assert_eq!(metrics.panicked, 0);
    // The strangers were real: some were let in, some broke rules.
    assert!(metrics.protocol_errors > 100, "{metrics:?}");
    assert!(metrics.publishes_in > 600, "{metrics:?}");
}

/// Sends in two pieces and reads to the end.
async fn stranger(server: &Server, bytes: &[u8], cut: Index) {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
    let _ = socket.write_all(first).await;
    let _ = socket.write_all(second).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let _ = support::soon(socket.read_to_end(&mut answer)).await;
}

async fn undisturbed(bystander: &mut Client<TcpStream>) {
    bystander
        .send(&publish(true, 0x32, "t", Some(1), &[], b"still here"))
        .await;
    bystander.puback(1).await;
}
