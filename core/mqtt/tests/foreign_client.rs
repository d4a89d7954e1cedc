//! A client of others (rumqttc, MQTT 5) publishes, subscribes and reconnects.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;
