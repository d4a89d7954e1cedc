//! What an operator does by mistake, or after an accident, at the command line.

use serde_json::{Value, json};

use crate::settings::refused;
use crate::support::{Gateway, Hub, stencil, succeed};

#[test]
fn who_lost_all_tokens_gets_another_beside_the_running_hub() {
    let hub = Hub::start(&[]);
    let add = |tenant: &str| {
        let mut command = stencil();
        command
            .args(["hub", "add-token", "--tenant", tenant, "--data-dir"])
            .arg(hub.data());
        command
    };
    let token = succeed(&mut add("acme"));
    let listed: Value = serde_json::from_str(&succeed(
        hub.command(&["token", "list", "--output", "json"])
            .env("STENCIL_TOKEN", token.trim()),
    ))
    .unwrap();
    let named = |name| {
        listed
            .as_array()
            .unwrap()
            .iter()
            .any(|token| token["name"] == name && token["role"] == "admin")
    };
    assert!(named("first") && named("recovery"), "{listed}");
    let said = refused(&mut add("amce"));
    assert!(said.contains("no tenant amce"), "{said}");
}

#[test]
fn a_gateways_folder_is_never_written_twice() {
    let hub = Hub::start(&[]);
    let out = hub.add_gateway("acme", "gw-1");
    let add = |name: &str, address: &str| {
        let mut command = stencil();
        command
            .args(["hub", "add-gateway", "--tenant", "acme", name, "--out"])
            .arg(&out)
            .args(["--hub", address, "--data-dir"])
            .arg(hub.data());
        command
    };
    let certificate = std::fs::read(out.join("gw-1.pem")).unwrap();
    for name in ["gw-1", "gw-2"] {
        let said = refused(&mut add(name, "127.0.0.1:8883"));
        assert!(
            said.contains("holds a gateway already") && said.contains("--out"),
            "{said}"
        );
    }
    assert_eq!(std::fs::read(out.join("gw-1.pem")).unwrap(), certificate);
    let said = refused(&mut add("gw-1", "mqtts://hub.example"));
    assert!(said.contains("host:port"), "{said}");
}

#[test]
fn a_gateways_folder_works_after_it_was_moved() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.move_to(&hub.dir.path().join("elsewhere"));
    let psk = gateway.add_device("freezer-1");
    gateway.start();
    gateway.link("freezer-1", &psk).deliver(1, 1, 2);
    hub.wait_for_ledger("freezer-1", 1, |ledger| ledger["last_given"] == 2);
}

#[test]
fn what_a_device_says_reaches_no_terminal_as_it_is() {
    let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
    let mut meter = hub.foreign("meter");
    let hostile = json!({ "note": "\u{1b}[2Jgone\nfreezer-01  fine", "\u{1b}]0;x\u{7}": null });
    meter.deliver("v1/devices/me/telemetry", hostile.to_string().as_bytes());
    hub.wait_for_latest("meter", "note", &hostile["note"]);
    let latest = succeed(&mut hub.command(&["device", "latest", "meter"]));
    assert!(
        latest.contains("\\u{1b}[2Jgone\\u{a}freezer-01") && !latest.contains('\u{1b}'),
        "{latest:?}"
    );
    let set_aside = succeed(&mut hub.command(&["quarantine", "list"]));
    assert!(
        set_aside.contains("meter") && set_aside.contains("null"),
        "{set_aside:?}"
    );
    assert_eq!(set_aside.lines().count(), 2, "{set_aside:?}");
    assert!(!set_aside.contains('\u{1b}'), "{set_aside:?}");
    let items = hub.ask(&["quarantine", "list", "--limit", "1"]);
    assert!(items[0]["payload"].is_string(), "{items}");
}
