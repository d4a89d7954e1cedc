//! An outage on the whole system, small: a gateway that is killed again and again keeps what its
//! devices measured in a day without a hub, and brings it beside what is new.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::{stencil, text};

fn outage(arguments: &[&str]) -> (std::process::Output, String) {
    let dir = tempfile::tempdir().unwrap();
    let output = stencil()
        .args(["sim", "outage", "--limit-s", "240", "--output", "json"])
        .args(arguments)
        .arg("--data-dir")
        .arg(dir.path())
        .output()
        .unwrap();
    let log = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    let logs = log("gateway.log") + &log("hub.log");
    assert!(!logs.contains("panicked"), "{logs}");
    (output, logs)
}

#[test]
fn a_small_one_holds() {
    let arguments = ["--devices", "8", "--hours", "24", "--kills", "4"];
    let (output, logs) = outage(&arguments);
    assert!(output.status.success(), "{}\n{logs}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |what: &str| report[what].as_u64().unwrap();
    assert_eq!(report["held"], true, "{report}");
    assert_eq!((of("gaps"), of("altered"), of("kills")), (0, 0, 4));
    // A value a minute, and what was measured while the hub was back.
    let of_the_days = 8 * 24 * 60;
    assert!(of("samples") > of_the_days, "{report}");
    assert_eq!(of("stored"), of("samples"), "nothing had to be dropped");
    assert_eq!(report["start_up_ms"].as_array().unwrap().len(), 5);
    assert!(
        report["live_delay_ms"]["values"].as_u64().unwrap() > 0,
        "{report}"
    );
    assert!(
        of("spool_max_bytes") > 100_000,
        "it was on the disk: {report}"
    );
}

#[test]
fn what_the_disk_cannot_hold_is_dropped_with_a_reason() {
    let arguments = [
        "--devices",
        "8",
        "--hours",
        "720",
        "--kills",
        "2",
        "--disk-mib",
        "2",
    ];
    let (output, logs) = outage(&arguments);
    assert!(output.status.success(), "{}\n{logs}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |what: &str| report[what].as_u64().unwrap();
    let dropped = report["dropped"]["spool_full"].as_u64().unwrap_or(0);
    assert!(dropped > 0, "{report}");
    assert_eq!(of("samples"), of("stored") + dropped, "{report}");
    assert!(of("spool_max_bytes") <= of("disk_bound_bytes"), "{report}");
}
