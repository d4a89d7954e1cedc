//! A credential that is good no longer ends what it let in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use stencil_mqtt::Disconnect;
use support::{Mode, Server, connect_v5_with, revoke, text};

/// With a will, QoS 1.
const FLAGS: u8 = 2 | 4 | 0x08;

#[tokio::test]
async fn all_its_connections_end_at_once_and_no_other() {
    let server = Server::start(Mode::Commit).await;
    let mut events = server.handle.events();
    let mut first = server.v5("gone/ends", "first").await;
    let mut second = server.v5("gone/ends", "second").await;
    let mut other = server.v5("stays/other", "first").await;
    assert_eq!(server.handle.disconnect_namespace("nobody"), 0);
    revoke("ends");
    assert_eq!(server.handle.disconnect_namespace("gone"), 2);
    for client in [&mut first, &mut second] {
        let why = client.disconnected(0x87).await;
        assert!(why.contains("revoked"), "{why}");
    }
    assert_eq!(
        Server::gone(&mut events, "second").await,
        Disconnect::NotAuthorized
    );
    let id = other.publish("t", b"x").await;
    other.puback(id).await;
}

#[tokio::test]
async fn nothing_of_it_is_taken_even_if_nobody_ends_it() {
    let server = Server::start(Mode::Commit).await;
    let will = [vec![0], text("state"), text("gone")].concat();
    let mut client = server.socket().await;
    client
        .send(&connect_v5_with("a/untaken", "c", FLAGS, 60, &[], &will))
        .await;
    client.connack().await;
    client.v5 = true;
    revoke("untaken");
    client.publish("t", b"x").await;
    client.disconnected(0x87).await;
    client.closed().await;
    assert!(server.sink.kept().is_empty(), "{:?}", server.sink.kept());
}

#[tokio::test]
async fn what_found_no_room_before_is_dropped() {
    let server = Server::start(Mode::Full).await;
    let mut client = server.v5("full/held", "c").await;
    client.publish("t", b"x").await;
    while server.handle.metrics().sink_full == 0 {
        tokio::task::yield_now().await;
    }
    revoke("held");
    server.sink.set(Mode::Commit);
    server.handle.disconnect_namespace("full");
    client.disconnected(0x87).await;
    client.closed().await;
    assert!(server.sink.kept().is_empty(), "{:?}", server.sink.kept());
}
