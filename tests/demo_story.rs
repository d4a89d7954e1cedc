//! The demo to its end: a newcomer's one command plays the whole path, and checks it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::{stencil, text};

/// What has to be shown, in this order.
const STEPS: [&str; 10] = [
    "devices hand in everything",
    "every link is post-quantum",
    "the recording is stored value by value",
    "an open door starts a workflow, which ends",
    "the recording's two faults are found",
    "each page is published",
    "each webhook is acted on once",
    "each lock command is carried out once",
    "every number has an account",
    "a clean end",
];
/// What somebody pays for, after the first step.
const PAID: [&str; 8] = [
    "payment-opens-lock",
    "reorg-compensated",
    "x402-series",
    "x402-command-unacknowledged",
    "wallet-sign-in",
    "passport-sold",
    "page-proof",
    "offline-access",
];
const CHAOS_STEP: &str = "parts were killed meanwhile";

/// Plays it, and gives its report, which must hold.
fn play(flags: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("demo");
    let output = stencil()
        .args(["demo", "--once", "--output", "json", "--data-dir"])
        .arg(&data)
        .args(flags)
        .output()
        .unwrap();
    let logs = || {
        let mut said = text(&output);
        for entry in std::fs::read_dir(data.join("logs"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let wrong = log.lines().filter(|line| {
                ["ERROR", "panicked", "stencil: "]
                    .iter()
                    .any(|word| line.contains(word))
            });
            said.push_str(&format!("\n{}:\n", entry.path().display()));
            wrong
                .take(40)
                .for_each(|line| said.push_str(&format!("{line}\n")));
        }
        said
    };
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", logs()));
    assert!(
        output.status.success() && report["held"] == true,
        "{report:#}\n{}",
        logs()
    );
    assert!(!logs().contains("panicked"), "{}", logs());
    report
}

fn holds_together(report: &Value) {
    for step in report["steps"].as_array().unwrap() {
        assert_eq!(step["held"], true, "{step}");
        assert!(
            step["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty()),
            "{step}"
        );
    }
    let count = |name: &str| {
        report["counts"][name]
            .as_u64()
            .unwrap_or_else(|| panic!("{report}"))
    };
    assert_eq!(
        count("sent"),
        count("stored") + count("dropped"),
        "{report}"
    );
    // The recording alone has more than that.
    assert!(count("stored") > 22_000, "{report}");
    let (p50, p99) = (&report["latency_ms"]["p50"], &report["latency_ms"]["p99"]);
    let (p50, p99) = (p50.as_f64().unwrap(), p99.as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99, "{report}");
}

fn names(report: &Value) -> Vec<&str> {
    let steps = report["steps"].as_array().unwrap();
    steps
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect()
}

#[test]
fn the_story_is_played_and_every_number_has_an_account() {
    let report = play(&[]);
    let mut wanted = STEPS.to_vec();
    wanted.splice(1..1, PAID);
    assert_eq!(names(&report), wanted);
    holds_together(&report);
}

#[test]
fn with_chaos_nothing_is_lost_and_each_effect_happens_once() {
    let report = play(&["--chaos", "--seed", "7"]);
    let mut names = names(&report);
    let chaos = names
        .iter()
        .position(|name| *name == CHAOS_STEP)
        .expect("something was killed");
    names.remove(chaos);
    assert_eq!(names, STEPS);
    holds_together(&report);
    // What was killed between commit and acknowledgement comes twice, and is known again.
    assert!(report["counts"]["duplicate"].as_u64() > Some(0), "{report}");
}
