//! A PUBACK comes after the commit, never before, and in order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use stencil_mqtt::{Disconnect, Options, Qos};
use support::{Mode, Server, connect_v3, publish, publish_0};

#[tokio::test]
async fn no_puback_before_commit() {
    let server = Server::start(Mode::Hold).await;
    for v5 in [false, true] {
        let mut client = match v5 {
            true => server.v5("a/x", "client").await,
            false => server.v3("a/x", "client").await,
        };
        let before = server.sink.kept().len() as u64;
        let first = client.publish("t/1", b"one").await;
        server.sink.wait_for(before + 1).await;
        let second = client.publish("t/2", b"two").await;
        server.sink.wait_for(before + 2).await;
        // Both are with the sink, and nothing came back but the ping.
        client.quiet().await;
        server.sink.commit(before + 1);
        client.puback(first).await;
        client.quiet().await;
        server.sink.commit(before + 2);
        client.puback(second).await;
    }
    let kept = server.sink.kept();
    assert_eq!(kept[0].topic, "t/1");
    assert_eq!(kept[0].payload, b"one");
    assert_eq!(kept[0].qos, Qos::AtLeastOnce);
    assert_eq!(kept[0].tenant, "a");
    assert_eq!(kept[0].client_id, "client");
    assert_eq!(server.handle.metrics().acknowledged, 4);
}

#[tokio::test]
async fn one_append_a_read_and_acknowledgements_in_order() {
    let server = Server::start(Mode::Hold).await;
    let mut client = server.v3("a/x", "client").await;
    let mut bytes = Vec::new();
    for id in 1..=100 {
        bytes.extend(publish(false, 0x32, "t", Some(id), &[], b"payload"));
    }
    client.send(&bytes).await;
    server.sink.wait_for(100).await;
    // One write of less than a buffer arrives in few reads.
    assert!(
        server.sink.appends().len() < 10,
        "{:?}",
        server.sink.appends()
    );
    server.sink.commit_all();
    for id in 1..=100 {
        client.puback(id).await;
    }
}

#[tokio::test]
async fn what_was_published_right_before_a_disconnect_is_kept_and_routed() {
    let server = Server::start(Mode::Hold).await;
    let mut events = server.handle.events();
    let mut subscriber = server.v3("a/x", "subscriber").await;
    assert_eq!(subscriber.subscribe("t", 0).await, 0);
    let mut client = server.socket().await;
    let mut bytes = connect_v3("a/x", "client", 2, 60);
    bytes.extend(publish_0(false, "t", b"last words"));
    bytes.extend([0xe0, 0]);
    client.send(&bytes).await;
    drop(client);
    server.sink.wait_for(1).await;
    subscriber.quiet().await;
    server.sink.commit_all();
    assert_eq!(subscriber.message().await.payload, b"last words");
    assert_eq!(
        Server::gone(&mut events, "client").await,
        Disconnect::Client
    );
}

#[tokio::test]
async fn a_full_sink_holds_the_client_back_and_recovers() {
    let server = Server::start(Mode::Full).await;
    let mut client = server.v5("a/x", "client").await;
    let mut other = server.v5("a/x", "other").await;
    let first = client.publish("t", b"1").await;
    while server.handle.metrics().sink_full < 3 {
        tokio::task::yield_now().await;
    }
    // Not read any more: nothing behind the first message reaches the sink.
    let second = client.publish("t", b"2").await;
    other.quiet().await;
    server.sink.set(Mode::Hold);
    server.sink.wait_for(2).await;
    assert_eq!(server.sink.kept()[0].payload, b"1");
    assert_eq!(server.sink.kept()[1].payload, b"2");
    server.sink.commit_all();
    client.puback(first).await;
    client.puback(second).await;
}

#[tokio::test]
async fn a_failed_sink_ends_the_connection_without_an_acknowledgement() {
    let server = Server::start(Mode::Failed).await;
    let mut client = server.v5("a/x", "client").await;
    client.publish("t", b"1").await;
    assert_eq!(
        client.disconnected(0x89).await,
        "messages can't be kept now"
    );
}

#[tokio::test]
async fn reads_that_wait_for_their_commit_are_bounded() {
    let options = Options {
        max_pending_reads: 3,
        ..Options::default()
    };
    let server = Server::with(Mode::Hold, options, None).await;
    let mut client = server.v3("a/x", "client").await;
    for count in 1..=3 {
        client.publish("t", b"x").await;
        server.sink.wait_for(count).await;
    }
    // The connection is not read now, so even a ping goes unanswered, but it
    // isn't closed either.
    client.publish("t", b"x").await;
    client.send(&[0xc0, 0]).await;
    let mut other = server.v3("a/x", "other").await;
    other.quiet().await;
    assert_eq!(server.sink.kept().len(), 3);
    server.sink.commit(1);
    client.puback(1).await;
    server.sink.wait_for(4).await;
    assert_eq!(client.packet().await.0, 0xd0);
    server.sink.commit_all();
    for id in 2..=4 {
        client.puback(id).await;
    }
}

#[tokio::test]
async fn a_client_that_is_held_back_is_not_silent() {
    let options = Options {
        max_pending_reads: 1,
        ..Options::default()
    };
    let server = Server::with(Mode::Hold, options, None).await;
    let mut client = server.socket().await;
    client.send(&connect_v3("a/x", "client", 2, 1)).await;
    client.packet().await;
    client.publish("t", b"x").await;
    server.sink.wait_for(1).await;
    // Longer than one and a half times the keep-alive of a second.
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    server.sink.commit_all();
    client.puback(1).await;
    client.quiet().await;
}
