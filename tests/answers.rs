//! What commands answer to people, and to programs by `--output json`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::{Hub, text};

fn said(hub: &Hub, words: &[&str]) -> String {
    let output = hub.command(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn answered(hub: &Hub, words: &[&str]) -> Value {
    let words = [words, &["--output", "json"]].concat();
    serde_json::from_str(&said(hub, &words)).unwrap()
}

#[test]
fn people_are_answered_in_lines_and_programs_in_json() {
    let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
    let mut meter = hub.foreign("meter");
    meter.deliver(
        "v1/devices/me/telemetry",
        br#"{"ts": 1386018900000, "values": {"power": 1.5}}"#,
    );
    hub.wait_for_latest("meter", "power", &json!(1.5));
    meter.deliver(
        "v1/devices/me/telemetry",
        br#"{"ts": 1386018960000, "values": {"power": 2.5}}"#,
    );
    hub.wait_for_latest("meter", "power", &json!(2.5));

    let series = ["device", "series", "meter", "power", "--limit", "1"];
    let told = said(&hub, &series);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "power of meter");
    assert_eq!(lines[1], "time (UTC)           value");
    assert_eq!(lines[2], "2013-12-02 21:15:00  1.5");
    let more = hub.command(&series).output().unwrap();
    let more = String::from_utf8(more.stderr).unwrap();
    assert!(more.contains("--from-us 1386018900000001"), "{more}");
    let points = answered(&hub, &series[..4]);
    assert_eq!(points["items"][1]["value"], 2.5);

    let policy = ["access", "policy"];
    let told = said(&hub, &policy);
    assert!(told.contains("staleness  86400 s\n"), "{told}");
    assert_eq!(answered(&hub, &policy)["staleness_s"], 86_400);

    let issue = [
        "credential",
        "issue",
        "CalibrationCertificate",
        "--device",
        "meter",
        "--claim",
        "deviation=0.05",
    ];
    let issued = answered(&hub, &issue);
    let show = ["credential", "show", issued["id"].as_str().unwrap()];
    let told = said(&hub, &show);
    for line in ["standing  good\n", "deviation  0.05\n"] {
        assert!(told.contains(line), "{told}");
    }
    // As it is given to others.
    let shown = answered(&hub, &show);
    assert_eq!(shown["credentialSubject"]["deviation"], 0.05);
    let file = hub.dir.path().join("certificate.json");
    std::fs::write(&file, shown.to_string()).unwrap();
    let told = said(&hub, &["credential", "verify", file.to_str().unwrap()]);
    assert!(told.starts_with("right: said by"), "{told}");
    hub.is_sound();
}
