//! CONNECT and CONNACK: who is let in, what they are told, and what happens
//! to those who are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use stencil_mqtt::{Disconnect, Event, Options, RefusedCode, Version};
use support::{Mode, Server, connect_v3, connect_v5, connect_v5_with, packet, text};

#[tokio::test]
async fn a_v5_client_is_told_what_is_offered() {
    let server = Server::start(Mode::Commit).await;
    let mut events = server.handle.events();
    let mut client = server.socket().await;
    // Session Expiry Interval 3600, keep-alive 0.
    client
        .send(&connect_v5_with(
            "a/x",
            "client",
            0,
            0,
            &[0x11, 0, 0, 0x0e, 0x10],
            &[],
        ))
        .await;
    let properties = client.connack().await;
    for property in [
        &[0x21, 0x04, 0x00][..], // Receive Maximum 1024
        &[0x24, 1],              // Maximum QoS
        &[0x27, 0, 4, 0, 0],     // Maximum Packet Size 256 KiB
        &[0x28, 1],              // Wildcard Subscription Available
        &[0x29, 1],              // Subscription Identifiers Available
        &[0x2a, 0],              // Shared Subscription Available
        &[0x13, 0x02, 0x58],     // Server Keep Alive 600
        &[0x11, 0, 0, 0, 0],     // Session Expiry Interval
        &[0x22, 0, 16],          // Topic Alias Maximum
    ] {
        assert!(
            properties.windows(property.len()).any(|w| w == property),
            "{property:02x?} is missing in {properties:02x?}"
        );
    }
    let version = Server::event(&mut events, |event| match event {
        Event::Connected {
            source,
            version,
            namespace,
        } => {
            assert_eq!(source.client_id, "client");
            assert_eq!(&*namespace, "a");
            assert!(support::is_plain(&source.transport));
            Some(version)
        }
        _ => None,
    })
    .await;
    assert_eq!(version, Version::V5);
}

#[tokio::test]
async fn a_session_of_before_is_never_present() {
    let server = Server::start(Mode::Commit).await;
    for _ in 0..2 {
        let mut client = server.socket().await;
        // Clean Session 0.
        client.send(&connect_v3("a/x", "client", 0, 60)).await;
        assert_eq!(client.packet().await, (0x20, vec![0, 0]));
        client.subscribe("t", 1).await;
    }
}

#[tokio::test]
async fn an_empty_client_id_is_made_up_or_refused() {
    let server = Server::start(Mode::Commit).await;
    let mut client = server.socket().await;
    client.send(&connect_v5("a/x", "", &[])).await;
    let properties = client.connack().await;
    let prefix = [&[0x12, 0, 37][..], b"auto-"].concat();
    assert!(
        properties.windows(8).any(|w| w == prefix),
        "{properties:02x?}"
    );
    let mut client = server.socket().await;
    client.send(&connect_v3("a/x", "", 2, 60)).await;
    assert_eq!(client.packet().await, (0x20, vec![0, 0]));
    let mut client = server.socket().await;
    client.send(&connect_v3("a/x", "", 0, 60)).await;
    assert_eq!(client.packet().await, (0x20, vec![0, 2]));
    client.closed().await;
}

#[tokio::test]
async fn the_policy_refuses() {
    let server = Server::start(Mode::Commit).await;
    let mut events = server.handle.events();
    for (user, v3, v5, code) in [
        ("stranger", 4, 0x86, RefusedCode::Credentials),
        ("a/banned", 5, 0x8a, RefusedCode::Banned),
    ] {
        let mut client = server.socket().await;
        client.send(&connect_v3(user, "client", 2, 60)).await;
        assert_eq!(client.packet().await, (0x20, vec![0, v3]));
        client.closed().await;
        let mut client = server.socket().await;
        client.send(&connect_v5(user, "client", &[])).await;
        let (first, body) = client.packet().await;
        assert_eq!((first, &body[..2]), (0x20, &[0, v5][..]));
        // The reason in full is the server's own business.
        assert!(!String::from_utf8_lossy(&body).contains("list"));
        client.closed().await;
        for _ in 0..2 {
            let told = Server::event(&mut events, |event| match event {
                Event::Refused {
                    code,
                    why,
                    client_id,
                    ..
                } => {
                    assert_eq!(client_id, "client");
                    assert!(!why.is_empty());
                    Some(code)
                }
                _ => None,
            })
            .await;
            assert_eq!(told, code);
        }
    }
    assert_eq!(server.handle.metrics().refused, 4);
}

#[tokio::test]
async fn other_protocol_versions_are_told_so() {
    let server = Server::start(Mode::Commit).await;
    let mut old = text("MQIsdp");
    old.extend([3, 2, 0, 60]);
    old.extend(text("client"));
    let mut newer = text("MQTT");
    newer.extend([6, 2, 0, 60, 0]);
    newer.extend(text("client"));
    for body in [old, newer] {
        let mut client = server.socket().await;
        client.send(&packet(0x10, &body)).await;
        assert_eq!(client.packet().await, (0x20, vec![0, 1]));
        client.closed().await;
    }
}

#[tokio::test]
async fn what_cannot_be_offered_is_refused_with_its_code() {
    let options = Options {
        max_client_id_bytes: 10,
        ..Options::default()
    };
    let server = Server::with(Mode::Commit, options, None).await;
    let will = |topic: &str| {
        let mut will = vec![0];
        will.extend(text(topic));
        will.extend(text("gone"));
        will
    };
    for (what, connect, code) in [
        (
            "extended authentication",
            connect_v5("a/x", "c", &[0x15, 0, 1, b'K']),
            0x8c,
        ),
        (
            "a will with QoS 2",
            connect_v5_with("a/x", "c", 2 | 4 | 0x10, 60, &[], &will("t")),
            0x9b,
        ),
        (
            "a will on a topic that is not allowed",
            connect_v5_with("a/x", "c", 2 | 4, 60, &[], &will("forbidden/t")),
            0x87,
        ),
        (
            "a will with a wildcard",
            connect_v5_with("a/x", "c", 2 | 4, 60, &[], &will("t/#")),
            0x90,
        ),
        (
            "a long client id",
            connect_v5("a/x", "eleven bytes", &[]),
            0x85,
        ),
    ] {
        let mut client = server.socket().await;
        client.send(&connect).await;
        let (first, body) = client.packet().await;
        assert_eq!((first, &body[..2]), (0x20, &[0, code][..]), "{what}");
        client.closed().await;
    }
}

#[tokio::test]
async fn a_topic_alias_maximum_of_zero_is_fine() {
    let server = Server::start(Mode::Commit).await;
    let mut client = server.socket().await;
    // User property, Topic Alias Maximum 0, Receive Maximum 10.
    let properties = [0x26, 0, 1, b'k', 0, 1, b'v', 0x22, 0, 0, 0x21, 0, 10];
    client.send(&connect_v5("a/x", "client", &properties)).await;
    client.connack().await;
    client.v5 = true;
    client.quiet().await;
}

#[tokio::test]
async fn connecting_has_a_time_out() {
    let options = Options {
        connect_timeout: Duration::from_millis(50),
        ..Options::default()
    };
    let server = Server::with(Mode::Commit, options, None).await;
    let mut silent = server.socket().await;
    silent.closed().await;
    let mut half = server.socket().await;
    half.send(&connect_v3("a/x", "client", 2, 60)[..5]).await;
    half.closed().await;
    let mut slow = server.socket().await;
    slow.send(&connect_v3("slow/x", "client", 2, 60)).await;
    slow.closed().await;
    assert_eq!(server.handle.metrics().connect_timeouts, 3);
}

#[tokio::test]
async fn connections_are_bounded() {
    let options = Options {
        max_connections: 3,
        max_connecting: 1,
        ..Options::default()
    };
    let server = Server::with(Mode::Commit, options, None).await;
    let mut clients = vec![server.v3("a/x", "1").await, server.v3("a/x", "2").await];
    // One that says nothing takes the only place for newcomers, until one comes.
    let mut silent = server.socket().await;
    while server.handle.metrics().connecting == 0 {
        tokio::task::yield_now().await;
    }
    clients.push(server.v3("a/x", "3").await);
    silent.closed().await;
    assert_eq!(server.handle.metrics().made_way, 1);
    // Those who are known do not make way.
    server.socket().await.closed().await;
    assert_eq!(server.handle.metrics().over_capacity, 1);
    for client in &mut clients {
        client.quiet().await;
    }
    drop(clients);
    while server.handle.metrics().connections > 0 {
        tokio::task::yield_now().await;
    }
    server.v3("a/x", "4").await.quiet().await;
}

#[tokio::test]
async fn clients_of_one_namespace_are_bounded_and_leave_room_for_others() {
    let options = Options {
        max_namespace_clients: 2,
        ..Options::default()
    };
    let server = Server::with(Mode::Commit, options, None).await;
    let mut events = server.handle.events();
    let _first = server.v3("a/x", "1").await;
    let mut second = server.v3("a/x", "2").await;
    let mut client = server.socket().await;
    client.send(&connect_v3("a/x", "3", 2, 60)).await;
    assert_eq!(client.packet().await, (0x20, vec![0, 3]));
    client.closed().await;
    let mut client = server.socket().await;
    client.send(&connect_v5("a/x", "3", &[])).await;
    let (first, body) = client.packet().await;
    assert_eq!((first, &body[..2]), (0x20, &[0, 0x97][..]));
    client.closed().await;
    let code = Server::event(&mut events, |event| match event {
        Event::Refused { code, .. } => Some(code),
        _ => None,
    })
    .await;
    assert_eq!(code, RefusedCode::Quota);
    // Others, and those who come again, are let in.
    let _other = server.v3("b/x", "3").await;
    let _again = server.v3("a/x", "2").await;
    second.closed().await;
    drop(second);
    while server.handle.metrics().connections > 3 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn packets_may_follow_a_connect_at_once() {
    let server = Server::start(Mode::Commit).await;
    let mut client = server.socket().await;
    let mut bytes = connect_v3("a/x", "client", 2, 60);
    bytes.extend(support::publish(false, 0x32, "t", Some(7), &[], b"x"));
    bytes.extend([0xc0, 0]);
    client.send(&bytes).await;
    assert_eq!(client.packet().await, (0x20, vec![0, 0]));
    let mut answers = vec![client.packet().await, client.packet().await];
    answers.sort();
    assert_eq!(answers, [(0x40, vec![0, 7]), (0xd0, vec![])]);
    // Not taken when the client isn't let in.
    let mut stranger = server.socket().await;
    let mut bytes = connect_v3("stranger", "client", 2, 60);
    bytes.extend(support::publish(false, 0x32, "t", Some(7), &[], b"x"));
    stranger.send(&bytes).await;
    assert_eq!(stranger.packet().await, (0x20, vec![0, 4]));
    stranger.closed().await;
    assert_eq!(server.sink.kept().len(), 1);
}

#[tokio::test]
async fn a_newer_connection_takes_over() {
    let server = Server::start(Mode::Commit).await;
    let mut events = server.handle.events();
    let mut old = server.v5("a/x", "client").await;
    old.subscribe("t", 1).await;
    // The same id in another namespace is another client.
    let mut other = server.v5("b/x", "client").await;
    let mut new = server.v5("a/x", "client").await;
    old.disconnected(0x8e).await;
    let reason = Server::gone(&mut events, "client").await;
    assert_eq!(reason, Disconnect::TakenOver);
    other.quiet().await;
    new.quiet().await;
    // The session didn't move, so neither did the subscription.
    assert_eq!(
        server
            .handle
            .publish("a", "t", "x", stencil_mqtt::Qos::AtLeastOnce, false),
        Ok(0)
    );
    new.subscribe("t", 1).await;
    assert_eq!(
        server
            .handle
            .publish("a", "t", "x", stencil_mqtt::Qos::AtLeastOnce, false),
        Ok(1)
    );
    assert_eq!(new.message().await.payload, b"x");
    let mut old = server.v3("a/x", "three").await;
    let mut new = server.v3("a/x", "three").await;
    old.closed().await;
    new.quiet().await;
    assert_eq!(server.handle.metrics().takeovers, 2);
}

#[tokio::test]
async fn silence_ends_a_connection() {
    let server = Server::start(Mode::Commit).await;
    let mut events = server.handle.events();
    let mut client = server.socket().await;
    client
        .send(&connect_v5_with("a/x", "client", 2, 1, &[], &[]))
        .await;
    client.connack().await;
    client.disconnected(0x8d).await;
    assert_eq!(
        Server::gone(&mut events, "client").await,
        Disconnect::KeepAlive
    );
}

#[tokio::test]
async fn the_application_can_end_a_connection() {
    let server = Server::start(Mode::Commit).await;
    let mut client = server.v5("a/x", "client").await;
    assert!(!server.handle.disconnect("a", "nobody"));
    assert!(!server.handle.disconnect("b", "client"));
    assert!(server.handle.disconnect("a", "client"));
    client.disconnected(0x98).await;
}

#[tokio::test]
async fn a_shutdown_acknowledges_first() {
    let server = Server::start(Mode::Hold).await;
    let mut idle = server.v3("a/x", "idle").await;
    let mut client = server.v5("a/x", "client").await;
    let id = client.publish("t", b"x").await;
    server.sink.wait_for(1).await;
    server.stop.send(true).unwrap();
    idle.closed().await;
    server.sink.commit_all();
    client.puback(id).await;
    client.disconnected(0x8b).await;
    support::soon(server.serving).await.unwrap();
}
