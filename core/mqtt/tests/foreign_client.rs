//! A client of others (rumqttc, MQTT 5) over TLS: it publishes, subscribes,
//! loses its connection, and takes what it is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/certificates.rs"]
mod certificates;
mod support;

use std::time::Duration;

use certificates::{Authority, HYBRID};
use rcgen::PKCS_ML_DSA_65;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{LastWill, Packet, PublishProperties};
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, PublishOptions, TlsConfiguration, Transport,
};
use stencil_mqtt::{Disconnect, Options, Qos};
use support::{Mode, Server};

fn options(server: &Server, authority: &Authority, client_id: &str) -> MqttOptions {
    let mut options = MqttOptions::new(client_id, ("localhost", server.address.port()));
    options.set_username("a/x");
    options.set_keep_alive(5);
    let config = authority.client(HYBRID, Some(authority.issue(client_id)));
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
    options
}

async fn next(events: &mut EventLoop) -> Packet {
    support::soon(async {
        loop {
            if let Event::Incoming(packet) = events.poll().await.unwrap() {
                return packet;
            }
        }
    })
    .await
}

#[tokio::test]
async fn publishes_and_subscribes() {
    let authority = Authority::new(&PKCS_ML_DSA_65);
    let server = Server::with(
        Mode::Hold,
        Options::default(),
        Some(authority.server(HYBRID)),
    )
    .await;
    let (client, mut events) = AsyncClient::builder(options(&server, &authority, "client"))
        .capacity(100)
        .build();
    let Packet::ConnAck(connack) = next(&mut events).await else {
        panic!("no CONNACK");
    };
    let told = connack.properties.unwrap();
    assert_eq!(told.max_qos, Some(1));
    assert_eq!(told.receive_max, Some(1024));
    assert_eq!(told.shared_subscription_available, Some(0));
    client.subscribe("t/#", QoS::AtLeastOnce).await.unwrap();
    let Packet::SubAck(_) = next(&mut events).await else {
        panic!("no SUBACK");
    };
    let properties = PublishProperties {
        content_type: Some("application/cbor".to_owned()),
        user_properties: vec![("link-suite".to_owned(), "hybrid".to_owned())],
        ..PublishProperties::default()
    };
    for n in 0..50u8 {
        let options = PublishOptions::at_least_once().properties(properties.clone());
        client.publish("t/1", vec![n], options).await.unwrap();
    }
    let polling = tokio::spawn(async move {
        let mut acknowledged = 0;
        let mut received = Vec::new();
        while acknowledged < 50 || received.len() < 50 {
            match next(&mut events).await {
                Packet::PubAck(_) => acknowledged += 1,
                Packet::Publish(publish) => received.push(publish),
                Packet::Disconnect(disconnect) => panic!("{disconnect:?}"),
                _ => {}
            }
        }
        received
    });
    server.sink.wait_for(50).await;
    assert_eq!(server.handle.metrics().acknowledged, 0);
    server.sink.commit_all();
    let received = support::soon(polling).await.unwrap();
    for (n, publish) in received.iter().enumerate() {
        assert_eq!(publish.payload[..], [u8::try_from(n).unwrap()]);
        let got = publish.properties.clone().unwrap();
        assert_eq!(got.content_type, properties.content_type);
        assert_eq!(got.user_properties, properties.user_properties);
    }
    let kept = server.sink.kept();
    assert_eq!(kept[49].content_type.as_deref(), Some("application/cbor"));
    assert_eq!(kept[49].user_properties[0].1, "hybrid");
}

#[tokio::test]
async fn keeps_alive_reconnects_and_says_goodbye() {
    let authority = Authority::new(&PKCS_ML_DSA_65);
    let server = Server::with(
        Mode::Commit,
        Options::default(),
        Some(authority.server(HYBRID)),
    )
    .await;
    let mut stencil = server.handle.events();
    let mut options = options(&server, &authority, "client");
    options.set_keep_alive(1);
    options.set_last_will(LastWill::new(
        "state",
        "gone",
        QoS::AtLeastOnce,
        false,
        None,
    ));
    let (client, mut events) = AsyncClient::builder(options).capacity(10).build();
    let Packet::ConnAck(_) = next(&mut events).await else {
        panic!("no CONNACK");
    };
    // Its pings keep it alive for longer than one and a half seconds.
    let later = tokio::time::Instant::now() + Duration::from_millis(2_200);
    let _ = tokio::time::timeout_at(later, async {
        loop {
            events.poll().await.unwrap();
        }
    })
    .await;
    assert!(server.handle.disconnect("a", "client"));
    assert_eq!(
        Server::gone(&mut stencil, "client").await,
        Disconnect::Administrative
    );
    server.sink.wait_for(1).await;
    assert_eq!(server.sink.kept()[0].payload, b"gone");
    while events.poll().await.is_ok() {}
    let Packet::ConnAck(connack) = next(&mut events).await else {
        panic!("no CONNACK");
    };
    assert!(!connack.session_present);
    client.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    let Packet::SubAck(_) = next(&mut events).await else {
        panic!("no SUBACK");
    };
    assert_eq!(
        server
            .handle
            .publish("a", "t", "welcome back", Qos::AtLeastOnce, false),
        Ok(1)
    );
    let Packet::Publish(publish) = next(&mut events).await else {
        panic!("no PUBLISH");
    };
    assert_eq!(&publish.payload[..], b"welcome back");
    client.disconnect().await.unwrap();
    while events.poll().await.is_ok() {}
    assert_eq!(
        Server::gone(&mut stencil, "client").await,
        Disconnect::Client
    );
    // No second will.
    assert_eq!(server.sink.kept().len(), 1);
}
