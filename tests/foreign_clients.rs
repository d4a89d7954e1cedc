//! Clients that others wrote, with the hub as they would find it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;

use serde_json::json;
use support::{Hub, python, succeed, text};

/// Telemetry of a foreign device has ThingsBoard's topic.
const TELEMETRY: &str = "v1/devices/me/telemetry";

#[test]
fn mosquitto_pub_on_the_plain_listener() {
    let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
    let token = hub.device_token("meter-1");
    let port = hub.port("mqtt_plain").to_string();
    for version in ["mqttv311", "mqttv5"] {
        let value = if version == "mqttv5" { 22.5 } else { 21.5 };
        succeed(
            Command::new("mosquitto_pub")
                .args(["-h", "127.0.0.1", "-p", &port, "-V", version, "-q", "1"])
                .args(["-u", &token, "-t", TELEMETRY])
                .args(["-m", &json!({ "temperature": value }).to_string()]),
        );
        let latest = hub.wait_for_latest("meter-1", "temperature", &json!(value));
        assert_eq!(latest["link"]["post_quantum"], json!(false), "{latest}");
    }
    let account = hub.ask(&["reconcile"]);
    assert_eq!(account["unnumbered"], json!(["meter-1"]), "{account}");
}

#[test]
fn mosquitto_pub_with_a_wrong_token_is_refused() {
    let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
    let port = hub.port("mqtt_plain").to_string();
    let output = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port, "-q", "1"])
        .args(["-u", "not-a-token", "-t", TELEMETRY, "-m", "{}"])
        .output()
        .unwrap();
    assert!(!output.status.success(), "{}", text(&output));
    assert!(hub.log().contains("refused"), "{}", hub.log());
    assert!(
        !hub.log().contains("not-a-token"),
        "a secret was logged: {}",
        hub.log()
    );
}

#[test]
fn the_plain_listener_stays_on_loopback() {
    let hub = Hub::start(&[]);
    let output = support::stencil()
        .args(["hub", "--mqtt-plain", "0.0.0.0:0", "--http", "127.0.0.1:0"])
        .args(["--mqtt", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(hub.dir.path().join("other"))
        .output()
        .unwrap();
    let said = text(&output);
    assert!(
        !output.status.success() && said.contains("loopback"),
        "{said}"
    );
}

#[test]
fn paho_over_tls_is_refused_by_strict_and_let_in_by_prefer() {
    let hub = Hub::start(&["--mqtt-prefer", "127.0.0.1:0"]);
    let token = hub.device_token("meter-2");
    let roots = hub.dir.path().join("hub/authority/classical-root.pem");
    let publish = |listener: &str, value: f64| {
        Command::new(python())
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/foreign/paho_publish.py"
            ))
            .arg(hub.port(listener).to_string())
            .arg(&roots)
            .arg(&token)
            .arg(json!([{ "ts": 1_700_000_000_000_i64, "values": { "power": value } }]).to_string())
            .output()
            .unwrap()
    };

    let refused = publish("mqtt_strict", 1.0);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    let line = hub.wait_for_log(&["refused", "X25519MLKEM768"]);
    assert!(
        line.contains("offered"),
        "the line does not say what the client offered: {line}"
    );

    let taken = publish("mqtt_prefer", 2.0);
    assert!(taken.status.success(), "{}", text(&taken));
    let latest = hub.wait_for_latest("meter-2", "power", &json!(2.0));
    assert_eq!(latest["time_us"], json!(1_700_000_000_000_000_i64));
    assert_eq!(latest["link"]["post_quantum"], json!(false), "{latest}");
    assert!(latest["link"]["group"].is_string(), "{latest}");
}

#[test]
fn our_own_pub_over_strict_tls_is_post_quantum() {
    let hub = Hub::start(&[]);
    let token = hub.device_token("meter-3");
    succeed(
        hub.command(&[
            "pub",
            "-h",
            "localhost",
            "-m",
            r#"{"level": 7}"#,
            "-u",
            &token,
        ])
        .args(["-p", &hub.port("mqtt_strict").to_string(), "--cafile"])
        .arg(hub.dir.path().join("hub/authority/root.pem")),
    );
    let latest = hub.wait_for_latest("meter-3", "level", &json!(7));
    assert_eq!(latest["link"]["group"], json!("X25519MLKEM768"), "{latest}");
    assert_eq!(latest["link"]["post_quantum"], json!(true), "{latest}");
}
