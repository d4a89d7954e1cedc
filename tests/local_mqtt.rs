//! MQTT devices on the local network, from their message to the hub: clients that others wrote
//! (mosquitto, paho-mqtt), a gateway and a hub in processes of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use support::{Gateway, Hub, MqttDevice, stencil, succeed, text, wait_for};

const MAPPING: &str = r#"version: 1
connections:
  lan: { mqtt: { ignore: ["bridge/#"] } }
devices:
  plug-1:
    connection: lan
    topics: ["tele/plug-1/#", "plug-1/#"]
    points:
      power: { topic: tele/plug-1/SENSOR, pointer: /ENERGY/Power, unit: W, deadband: 0.5, valid: [0, 4000] }
      total: { topic: tele/plug-1/SENSOR, pointer: /ENERGY/Total, scale: 0.001, unit: kW.h, time: /Time, optional: true }
      on: { topic: tele/plug-1/POWER, type: bool, deadband: 0 }
  meter-1:
    connection: lan
    client: meter-1
    topics: ["meter-1/#"]
    points:
      level: { topic: meter-1/level, unit: "%" }
      count: { topic: meter-1/count, type: integer }
"#;

/// A gateway that listens as it is told, with two clients.
struct Site {
    hub: Hub,
    gateway: Gateway,
    plug: String,
    meter: String,
}

impl Site {
    fn new(security: &[&str]) -> Self {
        let hub = Hub::start(&[]);
        let gateway = Gateway::add(&hub, "gw-1");
        gateway.set_mapping(MAPPING);
        gateway.listen_for_mqtt(security);
        let (plug, meter) = (gateway.add_client("plug-1"), gateway.add_client("meter-1"));
        Self {
            hub,
            gateway,
            plug,
            meter,
        }
    }

    fn started(security: &[&str]) -> Self {
        let mut site = Self::new(security);
        site.gateway.start();
        site
    }

    fn port(&self) -> u16 {
        self.gateway.mqtt_port(0)
    }

    fn mosquitto(&self, client: &str, password: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("mosquitto_pub");
        command
            .args(["-h", "127.0.0.1", "-p", &self.port().to_string()])
            .args(["-u", client, "-P", password])
            .args(arguments);
        command
    }

    fn latest(&self, device: &str, name: &str) -> Option<Value> {
        let answer = self.hub.get(&format!("/api/v1/devices/{device}/latest"));
        let latest: Value = serde_json::from_str(&answer.body).ok()?;
        let items = latest["items"].as_array()?;
        items.iter().find(|item| item["name"] == name).cloned()
    }

    fn values(&self, device: &str, name: &str) -> Vec<f64> {
        let path = format!("/api/v1/devices/{device}/series/{name}?limit=1000");
        let points = self.hub.items(&path);
        points
            .iter()
            .map(|it| it["value"].as_f64().unwrap())
            .collect()
    }

    fn wait_for_whole_books(&self) {
        wait_for("the books to be whole", || {
            let output = self
                .hub
                .command(&["reconcile", "--output", "json"])
                .output();
            output.unwrap().status.success().then_some(())
        });
    }

    fn is_sound(&self) {
        self.gateway.is_sound();
        self.hub.is_sound();
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

/// Of two values at one time a series keeps one: what comes at once has a time each.
#[test]
fn of_what_comes_at_once_nothing_is_missing() {
    let mut site = Site::started(&["plain"]);
    let mut lines = site
        .mosquitto(
            "meter-1",
            &site.meter,
            &["-q", "1", "-t", "meter-1/level", "-l"],
        )
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let all: String = (0..200).map(|level| format!("{level}\n")).collect();
    lines
        .stdin
        .take()
        .unwrap()
        .write_all(all.as_bytes())
        .unwrap();
    assert!(lines.wait().unwrap().success());
    site.hub.wait_for_latest("meter-1", "level", &json!(199.0));
    let expected: Vec<f64> = (0..200).map(f64::from).collect();
    assert_eq!(site.values("meter-1", "level"), expected);
    assert!(site.gateway.stop().success());
    site.wait_for_whole_books();
    site.is_sound();
}

fn refused(output: &Output) -> bool {
    !output.status.success()
}

#[test]
fn values_get_to_the_hub_with_unit_time_and_line() {
    let begun_us = now_us();
    let mut site = Site::started(&["plain"]);
    // It is told at the start, and shown, that this listener is plain.
    site.gateway
        .wait_for_log(&["WARN", "MQTT devices may connect", "passwords among it"]);
    let metric = "mqtt_listeners{security=\"plain\"}";
    assert_eq!(site.gateway.metric(metric), 1);

    let sensor = r#"{"Time":"2026-05-01T12:00:00+02:00","ENERGY":{"Power":21.5,"Total":1500}}"#;
    for version in ["mqttv311", "mqttv5"] {
        succeed(&mut site.mosquitto(
            "plug-1",
            &site.plug,
            &[
                "-V",
                version,
                "-q",
                "1",
                "-t",
                "tele/plug-1/SENSOR",
                "-m",
                sensor,
            ],
        ));
    }
    succeed(&mut site.mosquitto(
        "plug-1",
        &site.plug,
        &["-t", "tele/plug-1/POWER", "-m", "ON"],
    ));
    let power = site.hub.wait_for_latest("plug-1", "power", &json!(21.5));
    assert_eq!(power["unit"], "W", "{power}");
    assert!(
        (begun_us..=now_us()).contains(&power["time_us"].as_i64().unwrap()),
        "{power}"
    );
    assert_eq!(power["link"]["suite"], "mqtt-plain", "{power}");
    assert_eq!(power["link"]["post_quantum"], json!(false), "{power}");
    // Its own time counts, and the same reading twice is one.
    let total = site.hub.wait_for_latest("plug-1", "total", &json!(1.5));
    assert_eq!(
        total["time_us"],
        json!(1_777_629_600_000_000_i64),
        "{total}"
    );
    site.hub.wait_for_latest("plug-1", "on", &json!(true));
    site.hub
        .wait_for_latest("plug-1", "field.status", &json!("ok"));
    assert_eq!(site.values("plug-1", "total"), [1.5]);

    // By paho, of both versions, with a will that its topics cover; what no point is in is passed
    // over.
    let mut meter = MqttDevice::plain(site.port(), "meter-1", &site.meter, "3.1.1");
    meter.say("meter-1/level", "80.25");
    meter.say("meter-1/other", "{}");
    meter.say("bridge/state", "online");
    site.hub.wait_for_latest("meter-1", "level", &json!(80.25));
    meter.drop_connection();
    meter.say("meter-1/count", "9007199254740993");
    site.hub
        .wait_for_latest("meter-1", "count", &json!(9_007_199_254_740_993_i64));
    drop(meter);
    let mut meter = MqttDevice::plain(site.port(), "meter-1", &site.meter, "5");
    meter.say("meter-1/level", "81");
    site.hub.wait_for_latest("meter-1", "level", &json!(81.0));
    assert!(site.gateway.metric("field_messages_passed_over_total") >= 2);

    // While the hub is away all is acknowledged all the same, and brought later.
    site.hub.kill();
    for level in [82, 83, 84] {
        meter.say("meter-1/level", &level.to_string());
    }
    site.hub.start_again(None);
    site.hub.wait_for_latest("meter-1", "level", &json!(84.0));
    assert_eq!(
        site.values("meter-1", "level"),
        [80.25, 81.0, 82.0, 83.0, 84.0]
    );
    assert!(site.gateway.stop().success());
    site.wait_for_whole_books();
    site.is_sound();
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_what_was_not_is_sent_again() {
    let mut site = Site::new(&["plain"]);
    let mut meter: Option<MqttDevice> = None;
    let mut level = 0;
    let mut at_least = Vec::new();
    for crash in [
        "field.before_spool:2",
        "log.after_write:3",
        "mqtt.before_puback:1",
        "mqtt.before_puback:3",
    ] {
        site.gateway.start_with(&[("STENCIL_CRASH", crash)]);
        let port = site.port();
        let device = match &mut meter {
            Some(device) => {
                device.connect_to(port);
                device
            }
            None => meter.insert(MqttDevice::plain(port, "meter-1", &site.meter, "3.1.1")),
        };
        // One after the other, until the gateway is killed at one of them.
        let mut waiting = None;
        for _ in 0..20 {
            level += 1;
            let id = device.publish("meter-1/level", &level.to_string(), 1);
            at_least.push(f64::from(level));
            if !device.is_acknowledged(id, 3.0) {
                waiting = Some(id);
                break;
            }
        }
        let waiting = waiting.expect("the gateway was killed before a PUBACK");
        site.gateway.start();
        device.connect_to(site.port());
        assert!(
            device.is_acknowledged(waiting, 30.0),
            "{crash}: it was not sent again"
        );
        site.hub
            .wait_for_latest("meter-1", "level", &json!(f64::from(level)));
        site.gateway.kill();
    }
    // Each at least once: what was on disk and not acknowledged came twice, and nothing is missing.
    let mut values = site.values("meter-1", "level");
    let all = values.len();
    values.dedup();
    assert_eq!(values, at_least);
    assert!(
        all > values.len(),
        "none came twice, though it was not acknowledged"
    );
    site.wait_for_whole_books();
    site.is_sound();
}

#[test]
fn strangers_and_those_who_overreach_are_kept_out() {
    let mut site = Site::started(&["plain"]);
    let publish = |site: &Site, client: &str, password: &str, more: &[&str]| {
        let arguments = [&["-q", "1", "-t", "meter-1/level", "-m", "7"], more].concat();
        site.mosquitto(client, password, &arguments)
            .output()
            .unwrap()
    };
    // A name without a password, a wrong one, another client's, an unknown name.
    for (client, password) in [
        ("meter-1", ""),
        ("meter-1", "wrong"),
        ("meter-1", site.plug.as_str()),
        ("nobody", site.meter.as_str()),
        ("../meter-1", site.meter.as_str()),
    ] {
        let output = publish(&site, client, password, &[]);
        assert!(refused(&output), "{client}: {}", text(&output));
    }
    let anonymous = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &site.port().to_string()])
        .args(["-q", "1", "-t", "meter-1/level", "-m", "7"])
        .output()
        .unwrap();
    assert!(refused(&anonymous), "{}", text(&anonymous));
    // One client in another's name: 3.1.1 can't be told and is cut off; 5 is told.
    let mut old = MqttDevice::plain(site.port(), "plug-1", &site.plug, "3.1.1");
    let id = old.publish("meter-1/level", "7", 1);
    assert!(
        !old.is_acknowledged(id, 2.0),
        "it was taken in another's name"
    );
    drop(old);
    let output = publish(&site, "plug-1", &site.plug, &["-V", "mqttv5"]);
    assert!(
        text(&output).to_lowercase().contains("not authorized"),
        "{}",
        text(&output)
    );
    site.gateway
        .wait_for_log(&["PUBLISH refused", "not allowed for this client"]);
    // Nobody may listen to others.
    let mut plug = MqttDevice::plain(site.port(), "plug-1", &site.plug, "5");
    assert!(plug.is_connected(20.0).0);
    for filter in ["#", "meter-1/level", "tele/plug-1/SENSOR"] {
        assert_eq!(plug.subscribe(filter), json!([0x87]), "{filter}");
    }
    let listener = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &site.port().to_string()])
        .args(["-u", "plug-1", "-P", &site.plug, "-t", "#", "-W", "2", "-E"])
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&listener.stderr).contains("All subscription requests were denied"),
        "{}",
        text(&listener)
    );
    // Too large a packet ends that connection, and no other.
    let large = "7".repeat(70_000);
    let output = site
        .mosquitto(
            "meter-1",
            &site.meter,
            &["-q", "1", "-t", "meter-1/level", "-m", &large],
        )
        .output()
        .unwrap();
    assert!(refused(&output), "{}", text(&output));
    // A will on a topic of somebody else is refused with the connection.
    let will = ["--will-topic", "tele/plug-1/SENSOR", "--will-payload", "{}"];
    let output = publish(&site, "meter-1", &site.meter, &will);
    assert!(refused(&output), "{}", text(&output));
    plug.say("tele/plug-1/SENSOR", r#"{"ENERGY":{"Power":5}}"#);
    site.hub.wait_for_latest("plug-1", "power", &json!(5.0));
    assert!(
        site.latest("meter-1", "level").is_none(),
        "something was taken"
    );
    assert!(site.gateway.metric("mqtt_clients_refused_total") >= 6);

    // Who guesses waits, and the device itself does not.
    for _ in 0..6 {
        publish(&site, "meter-1", "guess", &[]);
    }
    site.gateway
        .wait_for_log(&["client refused", "too many wrong passwords"]);
    plug.say("tele/plug-1/POWER", "on");

    // Whoever is removed is cut off.
    let clients = site.gateway.folder().join("mqtt-clients");
    let clients = clients.to_str().unwrap();
    let listed = succeed(stencil().args(["gateway", "list-clients", "--clients", clients]));
    assert_eq!(listed, "meter-1\nplug-1\n");
    assert!(plug.is_connected(10.0).0);
    succeed(stencil().args(["gateway", "remove-client", "plug-1", "--clients", clients]));
    site.gateway.wait_for_log(&["an MQTT client was removed"]);
    let id = plug.publish("tele/plug-1/POWER", "off", 1);
    assert!(!plug.is_acknowledged(id, 2.0), "it was let in all the same");
    let log = std::fs::read_to_string(site.gateway.folder().join("gateway.log")).unwrap();
    for secret in [&site.plug, &site.meter] {
        assert!(!log.contains(secret.as_str()), "a password was logged");
    }
    assert!(site.gateway.stop().success());
    site.is_sound();
}

#[test]
fn nonsense_is_a_fault_of_its_point_and_holds_nothing_else_up() {
    let site = Site::started(&["plain"]);
    let mut plug = MqttDevice::plain(site.port(), "plug-1", &site.plug, "5");
    let fault = |says: &str| {
        wait_for(&format!("power.fault to say {says}"), || {
            let fault = site.latest("plug-1", "power.fault")?;
            fault["value"].as_str()?.contains(says).then_some(())
        });
    };
    for (payload, says) in [
        (r#"{"ENERGY":{"Power":"warm"}}"#, "tele/plug-1/SENSOR gave"),
        (r#"{"ENERGY":{"Power":9000}}"#, "outside of what is valid"),
        ("not json", "which is no JSON"),
        (r#"{"ENERGY":{}}"#, "in which there is no /ENERGY/Power"),
        ("", "which is no JSON"),
    ] {
        // Acknowledged: it is heard, though it is nonsense, and would be so again.
        plug.say("tele/plug-1/SENSOR", payload);
        fault(says);
        plug.say("tele/plug-1/POWER", "on");
    }
    let faults = site.gateway.metric("field_faults_total");
    assert!(faults >= 5, "{faults}");
    // What is no JSON is a fault of both points that are in it.
    site.gateway
        .wait_for_metric("field_points_faulty", |faulty| faulty == 2);
    site.gateway
        .wait_for_log(&["a point has no good value", "tele/plug-1/SENSOR"]);
    // Retained: nobody knows of when it is, unless it says so itself.
    let id = plug.publish_retained(
        "tele/plug-1/SENSOR",
        r#"{"Time":1777630000,"ENERGY":{"Power":8,"Total":2000}}"#,
    );
    assert!(plug.is_acknowledged(id, 20.0));
    fault("marked as retained");
    site.hub.wait_for_latest("plug-1", "total", &json!(2.0));
    plug.say("tele/plug-1/SENSOR", r#"{"ENERGY":{"Power":8}}"#);
    site.hub.wait_for_latest("plug-1", "power", &json!(8.0));
    fault("ok");
    assert_eq!(site.values("plug-1", "power"), [8.0]);
    site.is_sound();
}

#[test]
fn a_classical_client_is_refused_by_strict_and_let_in_by_prefer() {
    let site = Site::started(&["prefer", "strict"]);
    site.gateway
        .wait_for_log(&["WARN", "prefer", "X25519MLKEM768"]);
    let root = site.gateway.folder().join("data/mqtt/classical-root.pem");
    let strict = site.gateway.mqtt_port(1);
    let mut refused = MqttDevice::tls(strict, "plug-1", &site.plug, &root);
    assert!(!refused.is_connected(3.0).0);
    site.gateway
        .wait_for_log(&["TLS handshake refused", "X25519MLKEM768"]);
    drop(refused);
    let mut plug = MqttDevice::tls(site.port(), "plug-1", &site.plug, &root);
    plug.say("tele/plug-1/POWER", "on");
    let on = site.hub.wait_for_latest("plug-1", "on", &json!(true));
    assert_eq!(on["link"]["suite"], "mqtt-classical", "{on}");
    // The file for support says how each is protected.
    let out = site.gateway.folder().join("diag.tar");
    succeed(
        stencil()
            .args(["gateway", "diag", "--config"])
            .arg(site.gateway.folder().join("gateway.toml"))
            .arg("--out")
            .arg(&out),
    );
    let listing = Command::new("tar")
        .arg("-xOf")
        .arg(&out)
        .arg("stencil-gateway/mqtt.txt")
        .output();
    let listing = text(&listing.unwrap());
    for says in ["prefer", "quantum computer", "strict", "plug-1", "meter-1"] {
        assert!(listing.contains(says), "{says}: {listing}");
    }
    site.is_sound();
}

#[test]
fn check_says_what_each_line_gives_and_scan_writes_a_mapping_that_works() {
    let site = Site::new(&["plain"]);
    // A port that is free now, as these commands tell none.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    site.gateway.change(|settings| {
        settings["mqtt"]["listeners"][0]["listen"] = address.to_string().into();
    });
    let config = site.gateway.folder().join("gateway.toml");
    let mapping = site.gateway.folder().join("mapping.yaml");
    let mut plug = MqttDevice::plain(address.port(), "plug-1", &site.plug, "3.1.1");
    let mut check = stencil();
    check
        .args(["gateway", "check", "--seconds", "20", "--config"])
        .arg(&config)
        .arg(&mapping);
    let checking = check
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    assert!(plug.is_connected(20.0).0, "no client is let in");
    let id = plug.publish(
        "tele/plug-1/SENSOR",
        r#"{"ENERGY":{"Power":"x","Total":1},"Time":1777630000}"#,
        1,
    );
    plug.publish("tele/plug-1/POWER", "on", 0);
    let output = checking.wait_with_output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for says in [
        "warning: there is no TLS",
        "tele/plug-1/SENSOR /ENERGY/Power",
        "the mapping wants a number",
        "0.001",
        "true",
        "nothing came for",
    ] {
        assert!(said.contains(says), "{says}: {said}");
    }
    // It was not acknowledged, so that the gateway gets it.
    assert!(!plug.is_acknowledged(id, 0.1));
    // Without the settings it is told what is missing.
    let output = stencil()
        .args(["gateway", "check"])
        .arg(&mapping)
        .output()
        .unwrap();
    assert!(text(&output).contains("by --config"), "{}", text(&output));

    let mut scan = stencil();
    scan.args(["gateway", "scan", "mqtt", "--seconds", "8", "--config"])
        .arg(&config);
    let scanning = scan
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let output = scanning.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let skeleton = String::from_utf8(output.stdout).unwrap();
    assert!(skeleton.contains("tele/plug-1/SENSOR"), "{skeleton}");
    std::fs::write(&mapping, &skeleton).unwrap();
    let mut site = site;
    site.gateway.start();
    assert!(plug.is_acknowledged(id, 30.0), "it was not sent again");
    site.hub
        .wait_for_latest("plug-1", "ENERGY/Total", &json!(1.0));
    site.is_sound();
}

#[test]
fn a_mapping_of_mqtt_devices_without_a_listener_says_so() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.set_mapping(MAPPING);
    gateway.start();
    let says = json!("this gateway does not listen for MQTT devices");
    hub.wait_for_latest("meter-1", "field.status", &says);
    gateway.wait_for_log(&["field device is silent", "[[mqtt.listeners]]"]);
}
