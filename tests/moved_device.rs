//! A device that is unplugged from one gateway and put behind another; and two gateways that run
//! from copies of one folder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::{Value, json};
use stencil_crypto::{Psk, rng};
use support::{Device, Gateway, Hub, http, stencil, succeed, wait_for};

/// A lock, in a process of its own.
struct Lock(Child);

impl Lock {
    fn start(home: &Path, gateway: &Gateway) -> Self {
        let settings = json!({
            "state_dir": home.join("state"),
            "journal_dir": home.join("journal"),
            "psk_dir": home,
            "gateways": [gateway.address().to_string()],
            "freezers": 0,
            "locks": 1,
            "rooms": 0,
            "samples_per_s": 10.0,
            "doors": { "first_s": -1.0, "every_s": 0.0 },
            "faults": { "first_s": -1.0, "every_s": 0.0 },
        });
        let file = home.join("fleet.toml");
        std::fs::write(&file, toml::to_string(&settings).unwrap()).unwrap();
        let child = stencil()
            .args(["sim", "fleet", "--config"])
            .arg(&file)
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Lock {
    /// By SIGKILL.
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A fresh key, and a file by which its device is enrolled.
fn enrolled(hub: &Hub, device: &str, gateway: &str) -> Psk {
    let psk = Psk::generate(&mut rng::Os);
    let hex = psk.reveal().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    let file = hub.dir.path().join(format!("{device}.csv"));
    std::fs::write(
        &file,
        format!("device,gateway,psk\n{device},{gateway},{hex}\n"),
    )
    .unwrap();
    assert!(succeed(hub.command(&["device", "enrol"]).arg(&file)).contains("1 made"));
    psk
}

fn through(hub: &Hub) -> Value {
    let answer = hub.get("/api/v1/devices/lock-01").body;
    let device: Value = serde_json::from_str(&answer).unwrap_or(Value::Null);
    match device["connected"] == true {
        true => device["gateway"].clone(),
        false => Value::Null,
    }
}

#[test]
fn a_device_that_is_put_behind_another_gateway_goes_on_there() {
    let hub = Hub::start(&[]);
    let gateways = ["gw-1", "gw-2"].map(|name| {
        let mut gateway = Gateway::add(&hub, name);
        gateway.start();
        gateway
    });
    let home = hub.dir.path().join("device");
    std::fs::create_dir_all(&home).unwrap();
    let psk = enrolled(&hub, "lock-01", "gw-1");
    psk.save(home.join("lock-01.psk")).unwrap();
    let lock = Lock::start(&home, &gateways[0]);
    wait_for("the link at gw-1", || {
        (through(&hub) == "gw-1").then_some(())
    });

    // It is unplugged; that it is elsewhere is said by a slip at first.
    drop(lock);
    let slip = hub
        .command(&["device", "move", "lock-01", "--gateway", "gw-3"])
        .output()
        .unwrap();
    assert!(!slip.status.success());
    assert!(
        support::text(&slip).contains("did you mean gw-1?"),
        "{slip:?}"
    );
    let moved = hub.ask(&["device", "move", "lock-01", "--gateway", "gw-2"]);
    assert_eq!(moved["gateway"], "gw-2");
    // A command that is asked for meanwhile finds it there.
    let body = json!({ "name": "lock", "expires_in_s": 600 }).to_string();
    let queued = http::try_request(
        hub.port("http"),
        "POST",
        "/api/v1/devices/lock-01/commands",
        Some(&hub.token),
        Some("one"),
        Some(("application/json", &body)),
    );
    let id = queued.unwrap().json()["id"].as_str().unwrap().to_owned();
    let _lock = Lock::start(&home, &gateways[1]);
    wait_for("the link at gw-2", || {
        (through(&hub) == "gw-2").then_some(())
    });
    let end = wait_for("the end of the command", || {
        let answer = hub.get(&format!("/api/v1/commands/{id}")).body;
        let command: Value = serde_json::from_str(&answer).unwrap_or(Value::Null);
        let is_open = ["queued", "sent", "acknowledged"].contains(&command["state"].as_str()?);
        (!is_open).then_some(command)
    });
    assert_eq!(end["state"], "done", "{end}");
    // The gateway before has forgotten the key; the device's own is the same as before.
    wait_for("gw-1 to let it in no more", || {
        Device::try_link(gateways[0].address(), "lock-01", &psk)
            .is_err()
            .then_some(())
    });
    let found = hub.ask(&["device", "registration", "lock-01"]);
    assert_eq!(
        (&found["generation"], &found["delivered"]),
        (&json!(1), &json!(true)),
        "{found}"
    );
    hub.is_sound();
}

#[test]
fn two_gateways_that_run_from_copies_of_one_folder_are_told_of() {
    let hub = Hub::start(&[]);
    let mut real = Gateway::add(&hub, "gw-1");
    real.start();
    enrolled(&hub, "d-1", "gw-1");
    wait_for("the gateway's key", || {
        let gateways = hub.items("/api/v1/gateways");
        (gateways[0]["waiting"] == 0).then_some(())
    });
    let copy = hub.dir.path().join("stolen");
    succeed(Command::new("cp").arg("-r").arg(real.folder()).arg(&copy));
    let mut other = Gateway::over(&copy);
    other.start();
    let told = |action: &str| {
        let log = hub.items("/api/v1/audit");
        log.iter().any(|it| it["action"] == action)
    };
    wait_for("the contest", || told("gateways.contest").then_some(()));
    hub.wait_for_log(&["take a gateway's place", "gw-1"]);
    let gateways = hub.items("/api/v1/gateways");
    assert!(!gateways[0]["contested_us"].is_null(), "{gateways:?}");
    assert!(!told("gateways.rekey"), "it is the same key");
    other.kill();
    real.kill();

    // One that was set up anew by whoever has the certificate has another key.
    std::fs::remove_dir_all(copy.join("data")).unwrap();
    other.start();
    wait_for("another key", || told("gateways.rekey").then_some(()));
    hub.wait_for_log(&["another key than before", "gw-1"]);
    let gateways = hub.items("/api/v1/gateways");
    assert!(!gateways[0]["rekeyed_us"].is_null(), "{gateways:?}");
}
