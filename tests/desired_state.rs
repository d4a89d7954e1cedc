//! A gateway gets another state from the hub, over real links between real processes: applied,
//! refused, rolled back; and killed at each point on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Gateway, Hub, wait_for};

/// Long enough for a gateway on a machine that does much else, short enough to wait for.
const PROBATION_S: &str = "8";

/// Nothing has to answer there.
const MAPPING: &str = "\
version: 1
connections: { hall: { modbus-tcp: '127.0.0.1:9' } }
devices:
  press-1:
    connection: hall
    unit: 1
    points:
      temperature: { holding: 0, type: i16, every: 1s }
";

fn file(hub: &Hub, text: &str) -> PathBuf {
    let file = hub.dir.path().join("settings.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

/// Asks for these settings of the gateway; what the command says, and whether it succeeded.
fn set(hub: &Hub, settings: &str, wait: &str) -> (bool, String) {
    let mut command = hub.command(&["gateways", "set", "gw-1", "--settings"]);
    command.arg(file(hub, settings));
    if !wait.is_empty() {
        command.args(["--wait", wait]);
    }
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn shown(hub: &Hub) -> Value {
    hub.ask(&["gateways", "show", "gw-1"])
}

fn verdict(hub: &Hub, revision: u64) -> Value {
    wait_for(&format!("the verdict on revision {revision}"), || {
        let last = shown(hub)["last"].clone();
        (last["revision"] == revision && last["verdict"] != "trying").then_some(last)
    })
}

fn delivers(hub: &Hub, gateway: &Gateway, psk: &stencil_crypto::Psk, boot: u32) {
    let mut device = gateway.link("freezer-07", psk);
    device.deliver(boot, 1, 3);
    hub.wait_for_ledger("freezer-07", boot, |it| it["stored"] == json!([[1, 3]]));
}

#[test]
fn a_state_is_applied_refused_or_rolled_back_and_the_reason_is_shown() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    let psk = gateway.add_device("freezer-07");

    // It may be said before the gateway has ever connected.
    let (done, said) = set(&hub, "spool: { max_age_s: 86400 }\n", "");
    assert!(done, "{said}");
    assert!(said.contains("runs as its own files say"), "{said}");
    gateway.start_with(&[("STENCIL_GATEWAY_DESIRED__PROBATION_S", PROBATION_S)]);
    let address = gateway.address();
    assert_eq!(verdict(&hub, 1)["verdict"], "applied");
    delivers(&hub, &gateway, &psk, 1);

    // Refused at the hub: no gateway is told.
    let (done, said) = set(&hub, "spool:\n  max_bytes: 1\nhub:\n  root: /x\n", "");
    assert!(!done);
    assert_eq!(said.matches("cannot be set from afar").count(), 1, "{said}");
    for words in [
        "422",
        "settings, line 2, column 14",
        "settings, line 4, column 3",
        "cannot be set from afar",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(shown(&hub)["desired_revision"], 1);

    // A name that nobody has is no new gateway.
    let mut command = hub.command(&["gateways", "set", "gw-11", "--settings"]);
    let output = command.arg(file(&hub, "")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        said.contains("404") && said.contains("did you mean `gw-1`?"),
        "{said}"
    );
    assert_eq!(hub.ask(&["gateways", "list"]).as_array().unwrap().len(), 1);

    // It would cut the gateway off, which only the gateway can find out.
    let (done, said) = set(&hub, "hub: { address: '127.0.0.1:9' }\n", "60s");
    assert!(!done, "{said}");
    assert!(said.contains("rolled back"), "{said}");
    assert!(
        said.contains("the hub was not reached at 127.0.0.1:9 within 8 s"),
        "{said}"
    );
    let state = shown(&hub);
    assert_eq!(
        (&state["applied_revision"], &state["connected"]),
        (&json!(1), &json!(true)),
        "{state}"
    );
    delivers(&hub, &gateway, &psk, 2);

    // The settings are not tried again by the way.
    let mut command = hub.command(&["gateways", "set", "gw-1", "--mapping"]);
    let mapping = hub.dir.path().join("mapping.yaml");
    std::fs::write(&mapping, MAPPING).unwrap();
    let output = command.arg(&mapping).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        said.contains("was rolled back, and the settings in it"),
        "{said}"
    );

    // What is good is applied at the same address, and is there after a restart.
    let (done, said) = set(&hub, "link: { idle_timeout_ms: 77000 }\n", "60s");
    assert!(done, "{said}");
    assert_eq!(gateway.address(), address);
    delivers(&hub, &gateway, &psk, 3);
    gateway.kill();
    gateway.start();
    wait_for("the gateway to say what it runs with", || {
        let state = shown(&hub);
        (state["connected"] == true && state["applied_revision"] == 3).then_some(())
    });

    // A group says it for all that are in it.
    let mut command = hub.command(&["gateways", "set", "--group", "cold", "--mapping"]);
    let mapping = hub.dir.path().join("mapping.yaml");
    std::fs::write(&mapping, MAPPING).unwrap();
    assert!(command.arg(&mapping).status().unwrap().success());
    hub.ask(&["gateways", "group", "gw-1", "cold"]);
    assert_eq!(verdict(&hub, 4)["verdict"], "applied");
    let desired = hub.ask(&["gateways", "desired", "gw-1"]);
    let sections = desired["effective"]["sections"].as_array().unwrap();
    assert_eq!(sections[1]["group"], "cold", "{desired}");
    // Nonsense is refused by the hub; what a protocol says, by the gateway, which reads it.
    std::fs::write(&mapping, "version: 1\ndevices: []\n").unwrap();
    let mut command = hub.command(&["gateways", "set", "--group", "cold", "--mapping"]);
    let output = command.arg(&mapping).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains("mapping, line 2"), "{said}");
    std::fs::write(&mapping, MAPPING.replace("i16", "i17")).unwrap();
    let mut command = hub.command(&["gateways", "set", "--group", "cold", "--mapping"]);
    assert!(command.arg(&mapping).status().unwrap().success());
    let refused = verdict(&hub, 5);
    assert_eq!(refused["verdict"], "refused", "{refused}");
    assert_eq!(refused["why"][0]["section"], "mapping", "{refused}");
    // Nor may a mapping have the id of a device with a key of its own.
    std::fs::write(&mapping, MAPPING.replace("press-1", "freezer-07")).unwrap();
    let mut command = hub.command(&["gateways", "set", "--group", "cold", "--mapping"]);
    assert!(command.arg(&mapping).status().unwrap().success());
    let refused = verdict(&hub, 6);
    assert_eq!(refused["verdict"], "refused", "{refused}");
    let why = refused["why"][0]["what"].as_str().unwrap();
    assert!(
        why.contains("`freezer-07` has a key of its own"),
        "{refused}"
    );
    delivers(&hub, &gateway, &psk, 4);
    gateway.is_sound();
}

/// Wherever the process is killed on the way, it ends with the new state, or with the one before and
/// the reason, and it reaches the hub.
#[test]
fn a_kill_at_any_point_leaves_the_state_before_or_the_new_one() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    let psk = gateway.add_device("freezer-07");
    let probation = ("STENCIL_GATEWAY_DESIRED__PROBATION_S", PROBATION_S);
    gateway.start_with(&[probation]);
    assert!(set(&hub, "spool: { max_age_s: 86400 }\n", "60s").0);
    let mut revision = 1;
    // The point, and how often the process is killed there; two deaths while it is tried are
    // reason enough to give it up.
    for (point, good, times) in [
        ("gateway.desired_before_trial", true, 1),
        ("gateway.desired_trial", true, 1),
        ("gateway.desired_between", true, 1),
        ("gateway.desired_before_settled", true, 1),
        ("gateway.desired_settled", true, 1),
        ("gateway.desired_before_settled", true, 2),
        ("gateway.desired_before_rolled_back", false, 1),
        ("gateway.desired_rolled_back", false, 1),
    ] {
        gateway.kill();
        let crash = format!("{point}:1");
        gateway.start_with(&[probation, ("STENCIL_CRASH", &crash)]);
        revision += 1;
        let settings = match good {
            true => format!("spool: {{ max_age_s: {} }}\n", 86_400 + revision),
            false => format!("hub: {{ address: '127.0.0.1:{revision}' }}\n"),
        };
        assert!(set(&hub, &settings, "").0);
        for time in 1..=times {
            let what = format!("the kill at {point}");
            wait_for(&what, || {
                let soon = std::time::Duration::from_millis(10);
                gateway.ended_within(soon).then_some(())
            });
            let again: &[_] = match time < times {
                true => &[probation, ("STENCIL_CRASH", &crash)],
                false => &[probation],
            };
            gateway.start_with(again);
        }
        let last = verdict(&hub, revision);
        let applied = good && times == 1;
        let expected = if applied { "applied" } else { "rolled_back" };
        assert_eq!(last["verdict"], expected, "{point}: {last}");
        if good && !applied {
            let why = last["why"][0]["what"].as_str().unwrap();
            assert!(why.contains("ended 2 times while it was tried"), "{why}");
        }
        delivers(&hub, &gateway, &psk, u32::try_from(revision).unwrap());
        gateway.is_sound();
    }
}

#[test]
fn a_hub_that_is_killed_tells_it_again() {
    let mut hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    assert!(set(&hub, "spool: { max_age_s: 86400 }\n", "").0);
    hub.kill();
    gateway.start();
    hub.start_again(None);
    assert_eq!(verdict(&hub, 1)["verdict"], "applied");
    // Longer than one piece, so that it comes in several. How much is logged interrupts nothing.
    let connects = gateway.metric("uplink_connects_total");
    let comment = format!("# {}\n", "x".repeat(60_000));
    let text = format!("{comment}spool: {{ max_age_s: 86400 }}\nlog: {{ level: debug }}\n");
    assert!(set(&hub, &text, "60s").0);
    gateway.wait_for_log(&["DEBUG", "how much is logged is set"]);
    assert_eq!(gateway.metric("uplink_connects_total"), connects);
}

/// How fast what waited is brought is set from afar while it is brought, and nothing starts anew.
#[test]
fn what_waited_comes_sooner_when_the_hub_says_so() {
    const WAITING: u64 = 400;
    let mut hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    let psk = gateway.add_device("freezer-07");
    gateway.change(|settings| {
        settings["hub"]["in_order_bytes"] = 0.into();
        settings["hub"]["back_fill_bytes_per_s"] = 1_024.into();
    });
    gateway.start();
    gateway.wait_for_metric("uplink_connected", |connected| connected == 1);
    hub.kill();
    gateway.wait_for_metric("uplink_connected", |connected| connected == 0);
    let mut device = gateway.link("freezer-07", &psk);
    for n in 0..WAITING {
        device.deliver(1, 1 + n * 10, 10);
    }
    let waiting = gateway.metric("spool_waiting_bytes");
    assert!(waiting > 60_000, "a minute at that rate: {waiting}");
    hub.start_again(None);
    gateway.wait_for_metric("uplink_connected", |connected| connected == 1);
    let connects = gateway.metric("uplink_connects_total");
    // It is under way, and far from its end.
    gateway.wait_for_metric("publishes_back_filled_total", |count| count > 0);
    let (done, said) = set(&hub, "hub: { back_fill_bytes_per_s: 1073741824 }\n", "60s");
    assert!(done, "{said}");
    let all = json!([[1, WAITING * 10]]);
    hub.wait_for_ledger("freezer-07", 1, |it| it["stored"] == all);
    assert_eq!(gateway.metric("uplink_connects_total"), connects);
    device.deliver(1, WAITING * 10 + 1, 1);
    // Beyond its bounds it is refused, as all settings are.
    let (done, said) = set(&hub, "hub: { back_fill_bytes_per_s: 0 }\n", "");
    assert!(!done && said.contains("1024 to"), "{said}");
    gateway.is_sound();
}
