//! Devices that a factory makes.

use std::path::Path;

use serde_json::Value;

use super::{Hub, stencil, succeed};

/// Makes as many devices for a hub, below `out`, and who runs the hub makes them known: names and
/// claim codes.
pub(crate) fn born(hub: &Hub, out: &Path, count: u32) -> Vec<(String, String)> {
    let made = succeed(
        stencil()
            .args(["device", "birth", "--prefix", "sn-", "--output", "json"])
            .args(["--count", &count.to_string()])
            .arg("--hub-key")
            .arg(hub.data().join("keys/seal.pub"))
            .arg("--out")
            .arg(out),
    );
    let operator = succeed(
        stencil()
            .args(["hub", "add-operator", "--data-dir"])
            .arg(hub.data()),
    );
    let mut upload = hub.command(&["device", "births"]);
    upload
        .arg(out.join("births.csv"))
        .env("STENCIL_TOKEN", operator.trim());
    let told = succeed(&mut upload);
    assert!(told.contains(&format!("{count} made")), "{told}");
    let made: Value = serde_json::from_str(&made).unwrap();
    let text = |device: &Value, name: &str| device[name].as_str().unwrap().to_owned();
    let devices = made["devices"].as_array().unwrap().iter();
    devices
        .map(|device| (text(device, "identity"), text(device, "claim_code")))
        .collect()
}
