//! Roll-outs on the whole system, small: hub, gateways and devices with the real application and boot
//! loader. A bad image stops at its first devices; a good one reaches all that are on while hub,
//! gateway and the devices' power go, and the others when they are on; devices refuse what they must
//! not take.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::{stencil, text};

#[test]
fn a_small_one_holds() {
    let dir = tempfile::tempdir().unwrap();
    let output = stencil()
        .args(["sim", "rollout", "--devices", "20", "--gateways", "2"])
        .args(["--limit-s", "300", "--output", "json", "--data-dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let logs = ["hub.log", "gw-0.log", "gw-1.log"]
        .map(|log| std::fs::read_to_string(dir.path().join(log)).unwrap_or_default())
        .concat();
    assert!(output.status.success(), "{}\n{logs}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expect = |part: &str, expected: Value| {
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(report[part][name], *value, "{part}.{name}: {report:#}");
        }
    };
    assert_eq!(report["held"], true, "{report:#}");
    expect(
        "bad",
        json!({
            "status": "paused", "canary": 1, "reached": 1, "fell_back": 1, "failed": 1, "running": 0,
        }),
    );
    expect(
        "good",
        json!({
            "on": 18, "done": 18, "running": 18, "done_too_early": 0, "failed": 0, "waiting": 2,
        }),
    );
    expect(
        "late",
        json!({ "status": "finished", "done": 20, "running": 20 }),
    );
    let said = |who: &str| -> Vec<String> {
        let refusals = report["refused"][who].as_array().unwrap().iter();
        let said = refusals.map(|it| it["said"].as_str().unwrap().to_owned());
        said.collect()
    };
    let [stranger, older] = &said("by_hub")[..] else {
        panic!("{report:#}")
    };
    assert!(stranger.contains("signature"), "{stranger}");
    assert!(older.contains("it has to be higher"), "{older}");
    assert_eq!(
        said("by_devices"),
        [
            "refused: the image is not newer than what was confirmed",
            "refused: the image is for another class of devices",
            "refused: signature: it does not verify with the device's key",
        ]
    );
    assert_eq!(
        (&report["hub_kills"], &report["gateway_kills"]),
        (&2.into(), &1.into()),
        "{report:#}"
    );
    // Each device's power goes up to two times while it installs the good image.
    let cuts = report["power_cuts"]["downloads"].as_u64().unwrap();
    assert!((1..=42).contains(&cuts), "{report:#}");
    assert!(!logs.contains("panicked"), "{logs}");
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine"), "").unwrap();
    let output = stencil()
        .args(["sim", "rollout", "--data-dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is not empty"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
