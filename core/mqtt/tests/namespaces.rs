//! Nothing crosses a namespace, and nobody does what the policy forbids.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use stencil_mqtt::Qos;
use support::{Mode, Server, connect_v5, publish, publish_0};

#[tokio::test]
async fn another_namespace_receives_nothing() {
    let server = Server::start(Mode::Commit).await;
    let mut a = server.v3("a/x", "client").await;
    let mut b = server.v3("b/x", "client").await;
    for client in [&mut a, &mut b] {
        client.subscribe("#", 1).await;
        client.subscribe("a/+", 1).await;
        client.subscribe("$SYS/#", 1).await;
    }
    let mut publisher = server.v3("a/y", "publisher").await;
    let id = publisher.publish("a/t", b"secret").await;
    publisher.puback(id).await;
    // Retained, and straight from the application.
    publisher
        .send(&publish(false, 0x33, "a/r", Some(9), &[], b"retained"))
        .await;
    publisher.puback(9).await;
    assert_eq!(
        server
            .handle
            .publish("a", "a/h", "handle", Qos::AtMostOnce, false),
        Ok(1)
    );
    let listeners = ["a", "b", "c"].map(|space| server.handle.listeners(space, "a/h"));
    assert_eq!(
        listeners,
        [1, 1, 0],
        "a subscriber counts once, and nobody is nobody"
    );
    assert_eq!(server.handle.listeners("a", "$other"), 0);
    for payload in ["secret", "retained", "handle"] {
        assert_eq!(a.message().await.payload, payload.as_bytes());
    }
    b.quiet().await;
    let mut late = server.v3("b/z", "late").await;
    late.subscribe("#", 1).await;
    late.quiet().await;
    assert_eq!(
        server
            .handle
            .publish("c", "a/h", "nobody", Qos::AtMostOnce, false),
        Ok(0)
    );
    // The other way too.
    server
        .handle
        .publish("b", "a/h", "for b", Qos::AtMostOnce, false)
        .unwrap();
    assert_eq!(b.message().await.payload, b"for b");
    a.quiet().await;
}

#[tokio::test]
async fn forbidden_topics_in_v5() {
    let server = Server::start(Mode::Hold).await;
    let mut client = server.v5("a/x", "client").await;
    assert_eq!(client.subscribe("forbidden/#", 1).await, 0x87);
    // In order with those that wait for their commit.
    let good = client.publish("t", b"x").await;
    client.publish("forbidden/t", b"x").await;
    client.publish("t/#", b"x").await;
    client
        .send(&publish_0(true, "forbidden/t", b"dropped"))
        .await;
    server.sink.wait_for(1).await;
    client.quiet().await;
    server.sink.commit_all();
    client.puback(good).await;
    for code in [0x87, 0x90] {
        let (first, body) = client.packet().await;
        assert_eq!((first, body[2]), (0x40, code));
        assert!(body.len() > 5, "it says why: {body:02x?}");
    }
    client.quiet().await;
    assert_eq!(server.sink.kept().len(), 1);
    let metrics = server.handle.metrics();
    assert_eq!(metrics.publishes_refused, 3);
    assert_eq!(metrics.subscriptions_refused, 1);
}

#[tokio::test]
async fn forbidden_topics_in_3_1_1() {
    let server = Server::start(Mode::Commit).await;
    let mut client = server.v3("a/x", "client").await;
    assert_eq!(client.subscribe("forbidden/#", 1).await, 0x80);
    client.quiet().await;
    // It can't be told, and a PUBACK would be a lie.
    client.publish("forbidden/t", b"x").await;
    client.closed().await;
    assert!(server.sink.kept().is_empty());
}

#[tokio::test]
async fn a_client_that_wants_few_words_gets_few() {
    let server = Server::start(Mode::Commit).await;
    // No problem information; a maximum packet size of 45.
    for properties in [&[0x17, 0][..], &[0x27, 0, 0, 0, 45]] {
        let mut client = server.socket().await;
        client.send(&connect_v5("a/x", "client", properties)).await;
        client.connack().await;
        client.v5 = true;
        client.publish("forbidden/t", b"x").await;
        let (_, body) = client.packet().await;
        assert!(body.len() <= 4, "{properties:02x?}: {body:02x?}");
        assert_eq!(body[2], 0x87);
    }
}

#[tokio::test]
async fn a_panic_in_the_policy_stays_with_its_connection() {
    let server = Server::start(Mode::Commit).await;
    let mut events = server.handle.events();
    let mut other = server.v5("a/x", "other").await;
    let mut client = server.v5("a/x", "client").await;
    client.subscribe("#", 0).await;
    client.publish("panic", b"x").await;
    client.closed().await;
    Server::gone(&mut events, "client").await;
    other.quiet().await;
    assert_eq!(
        server.handle.publish("a", "t", "x", Qos::AtMostOnce, false),
        Ok(0)
    );
    let mut client = server.v5("a/x", "client").await;
    client.quiet().await;
    let metrics = server.handle.metrics();
    assert_eq!((metrics.panicked, metrics.connections), (1, 2));
}
