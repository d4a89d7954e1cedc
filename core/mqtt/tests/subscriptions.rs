//! What subscribers get: QoS, options, retained messages, flow control, bounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use stencil_mqtt::{Error, Event, Options, Qos};
use support::{Mode, Server, connect_v5, packet, publish, publish_0, text};

#[tokio::test]
async fn the_lower_qos_counts() {
    let server = Server::start(Mode::Commit).await;
    let mut events = server.handle.events();
    let mut zero = server.v3("a/x", "zero").await;
    assert_eq!(zero.subscribe("+/t", 0).await, 0);
    let mut two = server.v3("a/x", "two").await;
    // QoS 2 is asked for, 1 is granted.
    assert_eq!(two.subscribe("s/t", 2).await, 1);
    let granted = Server::event(&mut events, |event| match event {
        Event::Subscribed {
            filter,
            qos,
            source,
            ..
        } if source.client_id == "two" => Some((filter.to_string(), qos)),
        _ => None,
    })
    .await;
    assert_eq!(granted, ("s/t".to_owned(), Qos::AtLeastOnce));
    let mut publisher = server.v5("a/x", "publisher").await;
    let id = publisher.publish("s/t", b"one").await;
    publisher.puback(id).await;
    publisher.send(&publish_0(true, "s/t", b"zero")).await;
    for payload in ["one", "zero"] {
        let message = zero.message().await;
        assert_eq!((message.payload, message.qos), (payload.into(), 0));
    }
    let message = two.message().await;
    assert_eq!((&message.payload[..], message.qos), (&b"one"[..], 1));
    assert_eq!(two.message().await.qos, 0);
}

#[tokio::test]
async fn overlapping_subscriptions_deliver_once() {
    let server = Server::start(Mode::Commit).await;
    let mut client = server.v5("a/x", "client").await;
    // With Subscription Identifiers 1 and 2.
    for (identifier, filter, qos) in [(1u8, "t/#", 0u8), (2, "t/+", 1)] {
        let mut body = vec![0, identifier, 2, 0x0b, identifier];
        body.extend(text(filter));
        body.push(qos);
        client.send(&packet(0x82, &body)).await;
        assert_eq!(client.packet().await.1.last(), Some(&qos));
    }
    assert_eq!(
        server
            .handle
            .publish("a", "t/x", "x", Qos::AtLeastOnce, false),
        Ok(1)
    );
    let message = client.message().await;
    assert_eq!(message.qos, 1);
    assert_eq!(message.properties, [0x0b, 1, 0x0b, 2]);
    client.quiet().await;
}

#[tokio::test]
async fn no_local_and_unsubscribe() {
    let server = Server::start(Mode::Commit).await;
    let mut client = server.v5("a/x", "client").await;
    client.subscribe("t", 1 | 4).await;
    let id = client.publish("t", b"own").await;
    client.puback(id).await;
    client.quiet().await;
    server
        .handle
        .publish("a", "t", "other", Qos::AtMostOnce, false)
        .unwrap();
    assert_eq!(client.message().await.payload, b"other");
    let mut body = vec![0, 9, 0];
    body.extend(text("t"));
    body.extend(text("never"));
    client.send(&packet(0xa2, &body)).await;
    assert_eq!(client.packet().await, (0xb0, vec![0, 9, 0, 0, 0x11]));
    assert_eq!(
        server.handle.publish("a", "t", "x", Qos::AtMostOnce, false),
        Ok(0)
    );
}

#[tokio::test]
async fn retained_messages() {
    let server = Server::start(Mode::Commit).await;
    let mut publisher = server.v5("a/x", "publisher").await;
    let mut early = server.v5("a/x", "early").await;
    early.subscribe("r/+", 1).await;
    let mut as_published = server.v5("a/x", "as published").await;
    as_published.subscribe("r/+", 1 | 8).await;
    // User property and Message Expiry Interval 100.
    let properties = [0x26, 0, 1, b'k', 0, 1, b'v', 0x02, 0, 0, 0, 100];
    publisher
        .send(&publish(true, 0x33, "r/1", Some(1), &properties, b"kept"))
        .await;
    publisher.puback(1).await;
    assert!(!early.message().await.retain);
    let message = as_published.message().await;
    assert!(message.retain);
    assert_eq!(message.properties[..7], properties[..7]);

    let mut late = server.v5("a/x", "late").await;
    late.subscribe("r/#", 1).await;
    let message = late.message().await;
    assert_eq!((&message.payload[..], message.retain), (&b"kept"[..], true));
    assert_eq!(message.properties[..7], properties[..7]);
    assert_eq!(message.properties[7..11], [0x02, 0, 0, 0]);
    assert!((90..=100).contains(&message.properties[11]));
    // Retain Handling: again, only if new, never.
    late.subscribe("r/#", 1).await;
    late.message().await;
    late.subscribe("r/#", 1 | 0x10).await;
    late.subscribe("r/1", 1 | 0x20).await;
    late.quiet().await;
    late.subscribe("+/1", 1 | 0x10).await;
    late.message().await;
    // An empty payload deletes.
    publisher
        .send(&publish(true, 0x33, "r/1", Some(2), &[], b""))
        .await;
    publisher.puback(2).await;
    let mut last = server.v3("a/x", "last").await;
    last.subscribe("r/#", 1).await;
    last.quiet().await;
}

#[tokio::test]
async fn retained_messages_are_bounded() {
    let options = Options {
        max_retained: 2,
        ..Options::default()
    };
    let server = Server::with(Mode::Commit, options, None).await;
    let retain = |namespace: &str, topic: &str| {
        server
            .handle
            .publish(namespace, topic, "x", Qos::AtMostOnce, true)
    };
    assert_eq!(retain("a", "1"), Ok(0));
    assert_eq!(retain("a", "2"), Ok(0));
    assert_eq!(retain("a", "3"), Err(Error::RetainedFull));
    assert_eq!(retain("b", "3"), Ok(0));
    let mut client = server.v3("a/x", "client").await;
    client.publish("t", b"").await;
    client.puback(1).await;
    client
        .send(&publish(false, 0x33, "3", Some(2), &[], b"x"))
        .await;
    // It is in the sink, so it is acknowledged.
    client.puback(2).await;
    client.subscribe("#", 0).await;
    client.message().await;
    client.message().await;
    client.quiet().await;
    assert_eq!(server.handle.metrics().retained_refused, 2);
    assert_eq!(retain("a", "1/+"), retain("a", "1/+"));
    assert!(matches!(retain("a", "1/+"), Err(Error::Topic(_))));
}

#[tokio::test]
async fn a_subscriber_sets_the_pace() {
    let options = Options {
        outbound_queue: 5,
        ..Options::default()
    };
    let server = Server::with(Mode::Commit, options, None).await;
    let mut client = server.socket().await;
    // Receive Maximum 2.
    client
        .send(&connect_v5("a/x", "client", &[0x21, 0, 2]))
        .await;
    client.connack().await;
    client.v5 = true;
    client.subscribe("t", 1).await;
    let send = |payload: String| {
        server
            .handle
            .publish("a", "t", payload, Qos::AtLeastOnce, false)
            .unwrap()
    };
    let mut ids = Vec::new();
    for n in 0..2 {
        assert_eq!(send(n.to_string()), 1);
        let (first, body) = client.packet().await;
        assert_eq!(first, 0x32);
        ids.push(body[3..5].to_vec());
    }
    for n in 2..7 {
        assert_eq!(send(n.to_string()), 1);
    }
    // Two are on the way, five wait; there is no room for another one.
    assert_eq!(send("lost".to_owned()), 0);
    assert_eq!(server.handle.metrics().queue_full, 1);
    client.quiet().await;
    client.send(&packet(0x40, &ids[0])).await;
    let (_, body) = client.packet().await;
    assert_eq!(body.last(), Some(&b'2'));
    client.quiet().await;
    client.send(&packet(0x40, &ids[1])).await;
    client.send(&packet(0x40, &body[3..5])).await;
    for n in 3..7 {
        assert_eq!(client.message().await.payload, n.to_string().as_bytes());
    }
    assert_eq!(send("again".to_owned()), 1);
    assert_eq!(client.message().await.payload, b"again");
    // An acknowledgement of nothing is against the protocol.
    client.send(&packet(0x40, &[0x77, 0x77])).await;
    client.disconnected(0x82).await;
}

#[tokio::test]
async fn a_message_too_large_for_a_subscriber_is_left_out() {
    let server = Server::start(Mode::Commit).await;
    let mut client = server.socket().await;
    // Maximum Packet Size 50.
    client
        .send(&connect_v5("a/x", "client", &[0x27, 0, 0, 0, 50]))
        .await;
    client.connack().await;
    client.v5 = true;
    client.subscribe("t", 1).await;
    for payload in ["x".repeat(100), "small".to_owned()] {
        server
            .handle
            .publish("a", "t", payload, Qos::AtLeastOnce, false)
            .unwrap();
    }
    assert_eq!(client.message().await.payload, b"small");
    assert_eq!(server.handle.metrics().undeliverable, 1);
    let large = vec![0; 300 * 1024];
    assert!(matches!(
        server
            .handle
            .publish("a", "t", large, Qos::AtLeastOnce, false),
        Err(Error::TooLarge { .. })
    ));
}

#[tokio::test]
async fn subscriptions_are_checked_and_bounded() {
    let options = Options {
        max_subscriptions: 2,
        max_namespace_subscriptions: 3,
        max_topic_levels: 4,
        ..Options::default()
    };
    let server = Server::with(Mode::Commit, options, None).await;
    let mut client = server.v5("a/x", "client").await;
    assert_eq!(client.subscribe("a#", 0).await, 0x8f);
    assert_eq!(client.subscribe("", 0).await, 0x8f);
    assert_eq!(client.subscribe("a/b/c/d/e", 0).await, 0x8f);
    assert_eq!(client.subscribe("$share/g/t", 0).await, 0x9e);
    assert_eq!(client.subscribe("1", 0).await, 0);
    assert_eq!(client.subscribe("2", 0).await, 0);
    assert_eq!(client.subscribe("3", 0).await, 0x97);
    assert_eq!(client.subscribe("2", 1).await, 1);
    let mut second = server.v5("a/x", "second").await;
    assert_eq!(second.subscribe("1", 0).await, 0);
    assert_eq!(second.subscribe("2", 0).await, 0x97);
    let mut other = server.v5("b/x", "other").await;
    assert_eq!(other.subscribe("1", 0).await, 0);
    // Room again when one has gone.
    let mut events = server.handle.events();
    drop(client);
    Server::gone(&mut events, "client").await;
    assert_eq!(second.subscribe("2", 0).await, 0);
}

#[tokio::test]
async fn topic_aliases_of_a_client() {
    let server = Server::start(Mode::Commit).await;
    let mut client = server.v5("a/x", "client").await;
    client
        .send(&publish(
            true,
            0x32,
            "long/topic",
            Some(1),
            &[0x23, 0, 3],
            b"1",
        ))
        .await;
    client.puback(1).await;
    client
        .send(&publish(true, 0x32, "", Some(2), &[0x23, 0, 3], b"2"))
        .await;
    client.puback(2).await;
    let topics: Vec<String> = server.sink.kept().into_iter().map(|k| k.topic).collect();
    assert_eq!(topics, ["long/topic", "long/topic"]);
    client
        .send(&publish(true, 0x32, "", Some(3), &[0x23, 0, 17], b"3"))
        .await;
    client.disconnected(0x94).await;
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_is_cut_off() {
    let options = Options {
        write_timeout: std::time::Duration::from_millis(100),
        outbound_queue: 10_000,
        outbound_queue_bytes: 64 * 1024 * 1024,
        ..Options::default()
    };
    let server = Server::with(Mode::Commit, options, None).await;
    let mut events = server.handle.events();
    let mut client = server.v3("a/x", "client").await;
    client.subscribe("t", 0).await;
    let mut other = server.v3("a/x", "other").await;
    for _ in 0..500 {
        let payload = vec![0; 100 * 1024];
        server
            .handle
            .publish("a", "t", payload, Qos::AtMostOnce, false)
            .unwrap();
    }
    other.quiet().await;
    assert_eq!(
        Server::gone(&mut events, "client").await,
        stencil_mqtt::Disconnect::WriteTimeout
    );
    other.quiet().await;
}
