//! A roll-out on the whole system, small: a bad image stops at its first devices, a good one
//! reaches all that are on while the hub is killed, and the others when they are on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::{stencil, text};

#[test]
fn a_small_one_holds() {
    let dir = tempfile::tempdir().unwrap();
    let output = stencil()
        .args(["sim", "rollout", "--devices", "20", "--gateways", "2"])
        .args(["--limit-s", "120", "--output", "json", "--data-dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let log = std::fs::read_to_string(dir.path().join("hub.log")).unwrap_or_default();
    assert!(output.status.success(), "{}\n{log}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["held"], true, "{report}");
    let (bad, good, late) = (&report["bad"], &report["good"], &report["late"]);
    assert_eq!(
        (&bad["status"], &bad["running"]),
        (&"paused".into(), &0.into()),
        "{report}"
    );
    assert_eq!(
        (&bad["canary"], &bad["installed"]),
        (&1.into(), &1.into()),
        "{report}"
    );
    assert_eq!(
        (&good["on"], &good["running"]),
        (&18.into(), &18.into()),
        "{report}"
    );
    assert_eq!(
        (&good["waiting"], &good["hub_kills"]),
        (&2.into(), &2.into()),
        "{report}"
    );
    assert_eq!(
        (&late["status"], &late["running"]),
        (&"finished".into(), &20.into()),
        "{report}"
    );
    assert!(!log.contains("panicked"), "{log}");
}
