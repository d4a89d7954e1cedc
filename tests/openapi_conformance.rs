//! What a hub answers is what docs/openapi.json says: schemathesis, which has never seen our code,
//! asks a real hub whatever the document allows and much that it does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::{Hub, http, python, text, wait_for};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const WORKFLOW: &str = r#"
id: freezer-warm
version: 1
on: { telemetry: { devices: "freezer-*", name: temperature } }
when: { above: -12.0 }
alarm: { severity: major, title: "{{ event.device }} is warm" }
steps:
  - { id: notice, use: content.upsert, with: { collection: notices, key: "{{ event.device }}", set: { title: warm } } }
  - { id: page, use: content.publish, with: { collection: notices, key: "{{ event.device }}" } }
"#;

/// The one check that is left out of `all`: a schema can't say all that makes a value right. That a
/// cursor is one that was handed out, that a definition is well formed, that one time is before
/// another, is said by the hub's answer alone.
const LEFT_OUT: &str = "positive_data_acceptance";

/// One pass of schemathesis over the hub; what it found is the error.
fn pass(hub: &Hub, config: Option<&str>, known: &[(&str, String)], arguments: &[&str]) {
    let mut command = Command::new(python());
    command.args(["-m", "schemathesis.cli"]);
    if let Some(config) = config {
        command.args(["--config-file", &format!("{ROOT}/tests/openapi/{config}")]);
    }
    let base = format!("http://127.0.0.1:{}", hub.port("http"));
    let output = command
        .current_dir(hub.dir.path())
        .envs(known.iter().map(|(name, value)| (name, value)))
        .args(["run", &format!("{ROOT}/docs/openapi.json"), "--url", &base])
        .args(["--header", &format!("Authorization: Bearer {}", hub.token)])
        .args([
            "--checks",
            "all",
            "--exclude-checks",
            LEFT_OUT,
            "--seed",
            "1",
        ])
        .args([
            "--generation-deterministic",
            "--request-timeout",
            "10",
            "--no-color",
        ])
        .args(["--no-shrink", "--continue-on-failure"])
        .args(arguments)
        .output()
        .expect("schemathesis starts");
    let said = text(&output).replace(&hub.token, "TOKEN");
    assert!(output.status.success(), "{said}");
    assert!(said.contains("Test cases:"), "{said}");
    // The token is as good as before: what was asked for was not 401 throughout.
    assert_eq!(hub.get("/api/v1/devices").status, 200);
    hub.is_sound();
}

#[test]
fn the_hub_answers_as_it_is_described() {
    let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
    let known = seeded(&hub);
    // Not the phase of linked calls: one call's answer names what the next is about, so that
    // DELETE /tokens would revoke the token that it asks with.
    let phases = ["--phases", "examples,coverage,fuzzing"];
    pass(
        &hub,
        None,
        &[],
        &[&phases[..], &["--max-examples", "4"]].concat(),
    );
    pass(
        &hub,
        Some("known.toml"),
        &known,
        &[
            "--phases",
            "fuzzing",
            "--max-examples",
            "6",
            "--mode",
            "positive",
        ],
    );
}

/// One of everything, and what it is called.
fn seeded(hub: &Hub) -> Vec<(&'static str, String)> {
    let file = hub.dir.path().join("freezer-warm.yaml");
    std::fs::write(&file, WORKFLOW).unwrap();
    hub.ask(&["workflow", "apply", file.to_str().unwrap()]);
    let mut freezer = hub.foreign("freezer-1");
    let telemetry = "v1/devices/me/telemetry";
    for value in [-18.0, -5.0] {
        let reading = json!({ "temperature": value, "door": true, "note": "a, \"b\"" });
        freezer.deliver(telemetry, reading.to_string().as_bytes());
    }
    freezer.deliver(telemetry, b"{\"broken\": [1, 2]}");
    // It is known once the pipeline has come so far.
    hub.wait_for_latest("freezer-1", "temperature", &json!(-5.0));
    let order = json!({ "name": "lock" }).to_string();
    let ordered = http::request(
        hub.port("http"),
        "POST",
        "/api/v1/devices/freezer-1/commands",
        Some(&hub.token),
        Some(("application/json", &order)),
    );
    assert_eq!(ordered.status, 202, "{ordered:?}");
    let first = |path: &str| -> Value { wait_for(path, || hub.items(path).into_iter().next()) };
    let run = wait_for("a run that is done", || {
        hub.items("/api/v1/runs?state=done").into_iter().next()
    });
    let named = |item: &Value| item["id"].as_str().unwrap().to_owned();
    vec![
        ("CONFORMANCE_ALARM", named(&first("/api/v1/alarms"))),
        ("CONFORMANCE_RUN", named(&run)),
        ("CONFORMANCE_COMMAND", named(&ordered.json())),
    ]
}
