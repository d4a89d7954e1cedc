//! A device whose retained memory is lost, with a history at the hub: all that it measures
//! afterwards is stored, and none of it is taken for what it measured before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use support::{Gateway, Hub, stencil, succeed, wait_for};

const DEVICE: &str = "machine-01";
/// How many values the device measures in each of its lives.
const VALUES: usize = 200;

/// The device measures a minute of a value each, from that hour on, and hands in everything.
fn live(gateway: &Gateway, home: &Path, hour: usize) {
    let mut recording = "timestamp,value\n".to_owned();
    for minute in 0..VALUES {
        let (hour, minute) = (hour + minute / 60, minute % 60);
        writeln!(recording, "2024-05-01 {hour:02}:{minute:02}:00,{minute}.5").unwrap();
    }
    std::fs::write(home.join("recording.csv"), recording).unwrap();
    let settings = json!({
        "state_dir": home.join("state"),
        "journal_dir": home.join("journal"),
        "psk_dir": gateway.folder().join("psk"),
        "gateway": gateway.address().to_string(),
        "device": DEVICE,
        "recording": home.join("recording.csv"),
        "stay": false,
    });
    let file = home.join("replay.toml");
    std::fs::write(&file, toml::to_string(&settings).unwrap()).unwrap();
    succeed(stencil().args(["sim", "replay", "--config"]).arg(&file));
}

/// The device's ledgers, as soon as so many boots have stored all of their numbers.
fn ledgers(hub: &Hub, boots: usize) -> Vec<Value> {
    let path = format!("/api/v1/devices/{DEVICE}/ledger");
    wait_for(&format!("{boots} boots in the ledger"), || {
        let answer = hub.get(&path);
        let page: Value = serde_json::from_str(&answer.body).ok()?;
        let rows = page["items"].as_array()?;
        let whole = rows
            .iter()
            .filter(|row| row["ledger"]["stored"] == json!([[1, VALUES]]))
            .count();
        (whole == boots).then(|| rows.clone())
    })
}

#[test]
fn what_it_measures_afterwards_is_stored() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.start();
    gateway.add_device(DEVICE);
    let home = hub.dir.path().join("device");
    std::fs::create_dir_all(&home).unwrap();

    live(&gateway, &home, 0);
    ledgers(&hub, 1);
    std::fs::remove_dir_all(home.join("state")).unwrap();
    live(&gateway, &home, 12);

    let rows = ledgers(&hub, 2);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(
        rows.iter().all(|row| row["ledger"]["duplicate"] == 0),
        "{rows:?}"
    );
    assert_eq!(hub.points(DEVICE, "temperature"), 2 * VALUES);
    assert_eq!(hub.items("/api/v1/quarantine"), [] as [Value; 0]);
    // It is nothing but what the device says itself.
    let journal = home.join("journal");
    let account = hub.ask(&["reconcile", "--journal", journal.to_str().unwrap()]);
    assert_eq!(account["held"], true, "{account}");
    assert_eq!(account["sent"], 2 * VALUES, "{account}");
}
