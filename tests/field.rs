//! Field devices, from their registers to the hub: real Modbus devices (pymodbus), a gateway and a
//! hub in processes of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use support::modbus::{COILS, HOLDING, INPUT, f32_words};
use support::{Gateway, Hub, ModbusPeer, stencil, succeed, text, wait_for};

/// A mapping with a press, unit 1, and a meter, unit 2, on one connection.
fn mapping(peer: &ModbusPeer) -> String {
    format!(
        r#"version: 1
connections:
  hall: {{ {}, timeout: 2s, retries: 0, max-backoff: 1s }}
devices:
  press-1:
    connection: hall
    unit: 1
    every: 200ms
    points:
      temperature: {{ holding: 10, type: f32, order: cdab, unit: Cel, deadband: 0.2, valid: [-40, 150] }}
      running: {{ coil: 3, deadband: 0 }}
  meter-1:
    connection: hall
    unit: 2
    every: 200ms
    points:
      power: {{ input: 5, type: u16, scale: 0.1, unit: kW, deadband: 0 }}
"#,
        peer.connection()
    )
}

fn set_temperature(peer: &mut ModbusPeer, value: f32) {
    let [high, low] = f32_words(value);
    peer.set(1, HOLDING, 10, &[low, high]);
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

fn device(hub: &Hub, device: &str) -> Value {
    let answer = hub.get(&format!("/api/v1/devices/{device}"));
    serde_json::from_str(&answer.body).unwrap_or(Value::Null)
}

fn wait_until_linked(hub: &Hub, name: &str, linked: bool) -> Value {
    wait_for(&format!("{name}: connected = {linked}"), || {
        let device = device(hub, name);
        (device["connected"] == linked).then_some(device)
    })
}

/// Each number that was given is there, or dropped with a reason.
fn wait_for_whole_books(hub: &Hub) {
    wait_for("the books to be whole", || {
        let output = hub
            .command(&["reconcile", "--output", "json"])
            .output()
            .unwrap();
        output.status.success().then_some(())
    });
}

fn all_the_way(mut peer: ModbusPeer, line: &str) {
    let begun_us = now_us();
    let mut hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    set_temperature(&mut peer, 21.5);
    peer.set_bits(1, COILS, 3, &[true]);
    peer.set(2, INPUT, 5, &[217]);
    gateway.set_mapping(&mapping(&peer));
    gateway.start();

    let latest = hub.wait_for_latest("press-1", "temperature", &json!(21.5));
    assert_eq!(latest["unit"], "Cel", "{latest}");
    let time_us = latest["time_us"].as_i64().unwrap();
    assert!((begun_us..=now_us()).contains(&time_us), "{latest}");
    // The line is shown as what it is, however well the gateway speaks to the hub.
    assert_eq!(latest["link"]["post_quantum"], json!(false), "{latest}");
    assert_eq!(latest["link"]["suite"], json!(line), "{latest}");
    hub.wait_for_latest("press-1", "running", &json!(true));
    hub.wait_for_latest("press-1", "field.status", &json!("ok"));
    let latest = hub.wait_for_latest("meter-1", "power", &json!(21.7));
    assert_eq!(latest["unit"], "kW", "{latest}");
    let linked = wait_until_linked(&hub, "press-1", true);
    assert_eq!(linked["gateway"], "gw-1", "{linked}");

    // While the hub is away, what is read is kept, with its time.
    hub.kill();
    let away_us = now_us();
    for value in [30.0, 31.0, 32.0] {
        let spooled = gateway.metric("samples_spooled_total");
        set_temperature(&mut peer, value);
        gateway.wait_for_metric("samples_spooled_total", |now| now > spooled);
    }
    let back_us = now_us();
    hub.start_again(None);
    hub.wait_for_latest("press-1", "temperature", &json!(32.0));
    let points = hub.items("/api/v1/devices/press-1/series/temperature?limit=1000");
    for value in [30.0, 31.0, 32.0] {
        let point = points.iter().find(|point| point["value"] == value);
        let point = point.unwrap_or_else(|| panic!("{value} is missing: {points:?}"));
        let time_us = point["time_us"].as_i64().unwrap();
        assert!((away_us..=back_us).contains(&time_us), "{point}");
    }

    // One of them falls silent, the other goes on.
    peer.mode(1, "silent", 0);
    wait_until_linked(&hub, "press-1", false);
    wait_for("the reason of its silence", || {
        let latest = hub.get("/api/v1/devices/press-1/latest").body;
        latest.contains("no answer within").then_some(())
    });
    peer.set(2, INPUT, 5, &[218]);
    hub.wait_for_latest("meter-1", "power", &json!(21.8));
    peer.mode(1, "ok", 0);
    wait_until_linked(&hub, "press-1", true);
    hub.wait_for_latest("press-1", "field.status", &json!("ok"));

    assert!(gateway.stop().success());
    wait_for_whole_books(&hub);
    gateway.is_sound();
    hub.is_sound();
}

#[test]
fn a_value_gets_to_the_hub_over_tcp_with_unit_and_time() {
    all_the_way(ModbusPeer::tcp(), "modbus-tcp");
}

#[test]
fn a_value_gets_to_the_hub_over_a_serial_line_with_unit_and_time() {
    all_the_way(ModbusPeer::rtu(), "modbus-rtu");
}

#[test]
fn a_gateway_that_is_killed_begins_another_boot_and_leaves_no_gap() {
    let mut peer = ModbusPeer::tcp();
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.set_mapping(&mapping(&peer));
    for value in [1.0, 2.0, 3.0] {
        set_temperature(&mut peer, value);
        gateway.start();
        hub.wait_for_latest("press-1", "temperature", &json!(value));
        gateway.kill();
    }
    let boots = hub.items("/api/v1/devices/press-1/ledger");
    assert_eq!(boots.len(), 3, "{boots:?}");
    wait_for_whole_books(&hub);
}

#[test]
fn what_is_wrong_with_a_mapping_is_told_at_the_start_with_its_lines() {
    let hub = Hub::start(&[]);
    let gateway = Gateway::add(&hub, "gw-1");
    gateway.set_mapping(
        "version: 1\nconnections: { c: { modbus-tcp: \"127.0.0.1:1\" } }\ndevices:\n  d:\n    \
         connection: c\n    points:\n      a: { holding: 70000, type: u16 }\n      \
         b: { holding: 1, type: flaot }\n      c: { holding: 2, type: u16, unit: °C }\n",
    );
    let output = gateway.command().output().unwrap();
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    for says in [
        "mapping.yaml",
        "line 7,",
        "line 8,",
        "line 9,",
        "write `Cel`",
    ] {
        assert!(said.contains(says), "{says}: {said}");
    }
}

#[test]
fn a_mapping_is_read_again_at_sighup_and_a_wrong_one_changes_nothing() {
    let mut peer = ModbusPeer::tcp();
    set_temperature(&mut peer, 21.5);
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    let first = mapping(&peer);
    gateway.set_mapping(&first);
    gateway.start();
    hub.wait_for_latest("press-1", "temperature", &json!(21.5));

    gateway.write_mapping(&first.replace("order: cdab", "order: cabd"));
    gateway.hang_up();
    gateway.wait_for_log(&["the mapping stays as it was"]);
    set_temperature(&mut peer, 22.5);
    hub.wait_for_latest("press-1", "temperature", &json!(22.5));

    gateway.write_mapping(&first.replace("press-1:", "press-2:"));
    gateway.hang_up();
    hub.wait_for_latest("press-2", "temperature", &json!(22.5));
    wait_until_linked(&hub, "press-1", false);
    gateway.is_sound();
}

#[test]
fn a_command_to_a_field_device_fails_with_the_reason() {
    let peer = ModbusPeer::tcp();
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.set_mapping(&mapping(&peer));
    gateway.start();
    wait_until_linked(&hub, "press-1", true);
    let body = json!({ "name": "stop", "argument": 1, "expires_in_s": 600 }).to_string();
    let answer = support::http::try_request(
        hub.port("http"),
        "POST",
        "/api/v1/devices/press-1/commands",
        Some(&hub.token),
        Some("stop-1"),
        Some(("application/json", &body)),
    )
    .unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let command = wait_for("the command to fail", || {
        let answer = hub.get(&format!("/api/v1/commands/{id}"));
        let command: Value = serde_json::from_str(&answer.body).ok()?;
        (command["state"] == "failed").then_some(command)
    });
    assert!(
        command["detail"].as_str().unwrap().contains("only read"),
        "{command}"
    );
}

#[test]
fn check_says_what_each_line_gives_and_scan_writes_a_mapping_that_works() {
    let mut peer = ModbusPeer::tcp();
    set_temperature(&mut peer, 21.5);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mapping.yaml");
    std::fs::write(&file, mapping(&peer)).unwrap();
    let check = || {
        let mut command = stencil();
        command.args(["gateway", "check"]).arg(&file);
        command
    };
    let table = succeed(&mut check());
    for says in ["temperature", "21.5", "Cel", "holding 10 f32 cdab"] {
        assert!(table.contains(says), "{says}: {table}");
    }
    let answer: Value = serde_json::from_str(&succeed(check().args(["--output", "json"]))).unwrap();
    assert_eq!(
        (&answer["good"], &answer["wrong"]),
        (&json!(3), &json!(0)),
        "{answer}"
    );
    assert_eq!(answer["points"][0]["value"], json!(21.5), "{answer}");
    assert!(
        answer["points"][0]["took_us"].as_u64().unwrap() > 0,
        "{answer}"
    );

    // An address that is not there: the others are told, and the exit code tells of it.
    std::fs::write(&file, mapping(&peer).replace("coil: 3", "coil: 300")).unwrap();
    let output = check().args(["--output", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let wrong = &answer["points"][1];
    assert_eq!(
        wrong["fault"], "illegal data address (Modbus exception 2)",
        "{answer}"
    );
    assert!(
        wrong["right"].as_str().unwrap().contains("40001"),
        "{answer}"
    );
    assert_eq!(answer["points"][0]["value"], json!(21.5), "{answer}");

    // A mapping that is wrong is not tried.
    std::fs::write(&file, "version: 1\nconnections: []\n").unwrap();
    let output = check().output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("line 2, column 14: `connections` is a list"),
        "{said}"
    );

    let mut scan = stencil();
    scan.args(["gateway", "scan", "modbus-tcp", &peer.place()])
        .args([
            "--unit",
            "1-4",
            "--registers",
            "0-40",
            "--timeout-ms",
            "1000",
        ]);
    let skeleton = succeed(&mut scan);
    assert!(
        skeleton.contains("holding-10: { holding: 10, type: f32, order: cdab } # 21.5"),
        "{skeleton}"
    );
    std::fs::write(&file, &skeleton).unwrap();
    succeed(&mut check());
}

#[test]
fn a_scan_that_finds_nothing_says_so() {
    let mut peer = ModbusPeer::tcp();
    peer.listen(false);
    let scan = |unit: &str| {
        let mut scan = stencil();
        scan.args([
            "gateway",
            "scan",
            "modbus-tcp",
            &peer.place(),
            "--unit",
            unit,
        ])
        .args(["--timeout-ms", "100"]);
        scan.output().unwrap()
    };
    let output = scan("1");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("connection refused"), "{said}");
    let output = scan("5-1");
    assert!(text(&output).contains("such as 1-10"), "{}", text(&output));
    peer.listen(true);
    let mut scan = stencil();
    scan.args([
        "gateway",
        "scan",
        "modbus-tcp",
        &peer.place(),
        "--unit",
        "7-8",
    ])
    .args(["--timeout-ms", "100"]);
    let output = scan.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("no unit from 7 to 8"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_sensor_on_a_bus_that_is_not_there_says_what_is_missing() {
    let mapping = "version: 1\nconnections: { board: { i2c: /dev/i2c-no-such-bus } }\ndevices:\n  \
                   cabinet:\n    connection: board\n    driver: sht4x\n    points:\n      t: { value: \
                   temperature }\n";
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    let file = gateway.set_mapping(mapping);
    let output = stencil()
        .args(["gateway", "check"])
        .arg(&file)
        .output()
        .unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for says in ["/dev/i2c-no-such-bus", "there is no such file", "i2c-dev"] {
        assert!(said.contains(says), "{says}: {said}");
    }
    gateway.start();
    let says = "no connection to /dev/i2c-no-such-bus: there is no such file: enable the bus, and \
                load the module i2c-dev";
    hub.wait_for_latest("cabinet", "field.status", &json!(says));
    gateway.wait_for_log(&["field device is silent", "/dev/i2c-no-such-bus"]);
    gateway.is_sound();
}
