//! A will is published when its client is gone without a word.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Mode, Server, connect_v5_with, text};

/// QoS 1, retained.
const FLAGS: u8 = 2 | 4 | 0x08 | 0x20;

fn will() -> Vec<u8> {
    // Content Type "t", Will Delay 5 s, which the end of the session cuts off.
    let mut will = vec![9, 0x03, 0, 1, b't', 0x18, 0, 0, 0, 5];
    will.extend(text("state"));
    will.extend(text("gone"));
    will
}

#[tokio::test]
async fn when_the_socket_is_lost() {
    let server = Server::start(Mode::Hold).await;
    let mut watcher = server.v5("a/x", "watcher").await;
    watcher.subscribe("state", 1).await;
    let mut client = server.socket().await;
    client
        .send(&connect_v5_with("a/x", "c", FLAGS, 60, &[], &will()))
        .await;
    client.connack().await;
    client.v5 = true;
    client.publish("state", b"here").await;
    server.sink.wait_for(1).await;
    drop(client);
    // Kept like any other message, behind those of the client.
    server.sink.wait_for(2).await;
    let kept = server.sink.kept();
    assert_eq!(kept[1].payload, b"gone");
    assert_eq!(kept[1].client_id, "c");
    assert_eq!(kept[1].content_type.as_deref(), Some("t"));
    assert!(kept[1].retain);
    watcher.quiet().await;
    server.sink.commit_all();
    assert_eq!(watcher.message().await.payload, b"here");
    let message = watcher.message().await;
    assert_eq!(message.payload, b"gone");
    assert_eq!(message.properties, [0x03, 0, 1, b't']);
    let mut late = server.v5("a/x", "late").await;
    late.subscribe("state", 0).await;
    assert!(late.message().await.retain);
}

#[tokio::test]
async fn not_after_a_goodbye_unless_asked_for() {
    let server = Server::start(Mode::Commit).await;
    let mut events = server.handle.events();
    for (bytes, count) in [(&[0xe0, 0][..], 0), (&[0xe0, 1, 4][..], 1)] {
        let mut client = server.socket().await;
        client
            .send(&connect_v5_with("a/x", "c", FLAGS, 60, &[], &will()))
            .await;
        client.connack().await;
        client.send(bytes).await;
        client.closed().await;
        Server::gone(&mut events, "c").await;
        assert_eq!(server.sink.kept().len(), count);
    }
}
