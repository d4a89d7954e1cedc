//! MQTT devices: within strict TLS, and while the disk is full.

use std::time::Duration;

use rumqttc::{
    AsyncClient, Broker, Event, Incoming, MqttOptions, PublishOptions, TlsConfiguration, Transport,
};
use stencil_crypto::tls::{self, Policy, Roots};
use stencil_field::mapping;
use stencil_gateway::{Options, mqtt};
use stencil_protocol::{
    batch::Batch, id::DeviceId, ledger::BootLedger, line::Line, sample::Value, topic::Topic,
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    full_disk::{Full, full_with},
    hub::{Hub, Kept, ledger},
    place::{Gateway, Place},
    soon,
};

const MAPPING: &str = "version: 1\nconnections: { lan: { mqtt: {} } }\ndevices:\n  plug-1:\n    \
                       connection: lan\n    points:\n      power: { topic: plug-1/power, unit: W }\n";

/// Listens for plug-1, so protected; gives its password.
fn listen(place: &Place, options: &mut Options, security: mqtt::options::Security) -> String {
    assert!(mapping::parse(MAPPING).is_ok());
    let file = place.folder().join("mapping.yaml");
    std::fs::write(&file, MAPPING).unwrap();
    options.field.mapping = Some(file);
    options.mqtt.listeners = vec![mqtt::options::Listener {
        listen: "127.0.0.1:0".parse().unwrap(),
        security,
    }];
    let password = mqtt::add_client(&options.mqtt.clients, &id()).unwrap();
    password.as_str().to_owned()
}

fn id() -> DeviceId {
    DeviceId::parse("plug-1").unwrap()
}

/// A device that is connected, and how many PUBACKs it got.
struct Plug {
    client: AsyncClient,
    acknowledged: watch::Receiver<u32>,
    driver: JoinHandle<()>,
}

impl Plug {
    async fn connect(gateway: &Gateway, password: &str, transport: Option<Transport>) -> Self {
        let port = gateway.running.addresses().mqtt[0].port();
        let mut options = MqttOptions::new("plug-1", Broker::tcp("localhost", port));
        options.set_credentials("plug-1", password.to_owned());
        options.set_keep_alive(60);
        if let Some(transport) = transport {
            options.set_transport(transport);
        }
        let (client, mut events) = AsyncClient::builder(options).capacity(1_000).build();
        let (tell, acknowledged) = watch::channel(0);
        let connack = soon(async {
            loop {
                if let Event::Incoming(packet) = events.poll().await.unwrap() {
                    return packet;
                }
            }
        });
        assert!(matches!(connack.await, Incoming::ConnAck(_)));
        let driver = tokio::spawn(async move {
            while let Ok(event) = events.poll().await {
                if let Event::Incoming(Incoming::PubAck(_)) = event {
                    tell.send_modify(|count| *count += 1);
                }
            }
        });
        Self {
            client,
            acknowledged,
            driver,
        }
    }

    async fn say(&self, power: u32) {
        let options = PublishOptions::at_least_once();
        let said = self
            .client
            .publish("plug-1/power", power.to_string(), options);
        said.await.unwrap();
    }

    async fn acknowledged(&mut self, count: u32) {
        soon(self.acknowledged.wait_for(|now| *now >= count))
            .await
            .unwrap();
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn batches(kept: &[Kept]) -> impl Iterator<Item = &Kept> {
    kept.iter().filter(|kept| kept.topic == Topic::Batch(id()))
}

/// The values of its point, in their order.
fn values(kept: &[Kept]) -> Vec<f64> {
    let mut values = Vec::new();
    for kept in batches(kept) {
        let batch = Batch::decode(&kept.payload).unwrap();
        for (_, sample) in batch.samples() {
            let sample = sample.unwrap();
            if let ("power", Value::Number(value)) = (sample.name, sample.value) {
                values.push(value);
            }
        }
    }
    values
}

fn books(kept: &[Kept]) -> BootLedger {
    let first = batches(kept).next().unwrap();
    let boot = Batch::decode(&first.payload).unwrap().header().boot;
    ledger(kept, &id(), boot)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_word_keep_no_mqtt_device_out() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let mut options = place.options(&hub);
    let password = listen(&place, &mut options, mqtt::options::Security::Plain);
    let gateway = Gateway::start(options).await;
    let address = gateway.running.addresses().mqtt[0];
    let mut silent = Vec::new();
    for _ in 0..160 {
        silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    // More than their time: they are not waited for.
    let begun = tokio::time::Instant::now();
    let mut plug = Plug::connect(&gateway, &password, None).await;
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    plug.say(7).await;
    plug.acknowledged(1).await;
    let shed = gateway.metric("mqtt_connections_made_way_total").await;
    assert!(shed >= 128, "{shed}");
    assert_eq!(gateway.metric("mqtt_connections_over_bound_total").await, 0);
    drop(silent);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_listener_is_known_by_its_root_and_the_line_is_post_quantum() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let mut options = place.options(&hub);
    let password = listen(&place, &mut options, mqtt::options::Security::Strict);
    let gateway = Gateway::start(options).await;
    let roots = Roots::load(place.folder().join("data/mqtt/root.pem")).unwrap();
    let config = tls::client(Policy::Strict, &roots, None).unwrap();
    let transport = Transport::tls_with_config(TlsConfiguration::Rustls(config));
    let mut plug = Plug::connect(&gateway, &password, Some(transport)).await;
    for power in 1..=3 {
        plug.say(power).await;
        plug.acknowledged(power).await;
    }
    hub.until(|kept| values(kept) == [1.0, 2.0, 3.0]).await;
    hub.until(|kept| {
        for batch in batches(kept) {
            let named = ("link-suite".to_owned(), Line::Mqtt.name().to_owned());
            assert_eq!(batch.user_properties, [named]);
        }
        assert!(books(kept).gaps().is_empty());
        true
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_and_nothing_dropped_while_the_disk_is_full() {
    let place = Place::new();
    let mut hub = Hub::new(&place.authority);
    let mut password = String::new();
    let full = full_with(&place, &hub, |options| {
        password = listen(&place, options, mqtt::options::Security::Plain);
        options.mqtt.max_waiting = 40;
    });
    let Full { gateway, next, .. } = full.await;
    let mut plug = Plug::connect(&gateway, &password, None).await;
    let given = 300;
    for power in 1..=given {
        plug.say(power).await;
    }
    // It takes what may wait, and then reads no more.
    gateway.until("mqtt_held_back_total", |held| held > 3).await;
    let waiting = gateway.metric("mqtt_values_waiting").await;
    assert!((1..=60).contains(&waiting), "{waiting}");
    let none = tokio::time::timeout(
        Duration::from_secs(1),
        plug.acknowledged.wait_for(|now| *now > 0),
    );
    assert!(none.await.is_err(), "something was acknowledged");
    std::fs::remove_file(next).unwrap();
    plug.acknowledged(given).await;
    hub.start().await;
    hub.until(|kept| values(kept).len() == given as usize).await;
    hub.until(|kept| {
        let expected: Vec<f64> = (1..=given).map(f64::from).collect();
        assert_eq!(values(kept), expected);
        let books = books(kept);
        assert!(
            books.gaps().is_empty() && books.dropped.is_empty(),
            "{books:?}"
        );
        true
    })
    .await;
    gateway.stop().await;
}
