//! A backup that is taken under load and restored elsewhere, and all that is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod load;
mod refused;
mod room;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::{Hub, http, stencil, succeed, text, wait_for};

use self::load::Load;

const WORKFLOW: &str = "
id: warm
version: 1
on: { telemetry: { devices: \"*\", name: n } }
when: { above: 20 }
steps:
  - { id: notice, use: content.upsert, with: { collection: notices, key: \"{{ event.device }}\", set: { title: \"{{ event.device }} is warm\" } } }
  - { id: page, use: content.publish, with: { collection: notices, key: \"{{ event.device }}\" } }
";

/// A hub with a workflow, that takes MQTT without TLS.
fn hub() -> Hub {
    let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
    let file = hub.dir.path().join("warm.yaml");
    std::fs::write(&file, WORKFLOW).unwrap();
    succeed(hub.command(&["workflow", "apply"]).arg(&file));
    hub
}

fn backup(data: &Path, out: &Path) -> Command {
    let mut command = stencil();
    command.arg("backup").arg("--data-dir").arg(data);
    command.arg("--out").arg(out).args(["--output", "json"]);
    command
}

fn restore(from: &Path, data: &Path) -> Command {
    let mut command = stencil();
    command.arg("restore").arg("--from").arg(from);
    command.arg("--data-dir").arg(data);
    command.args(["--output", "json"]);
    command
}

/// Runs a command that must refuse with exit code 2, in these words.
fn refused(mut command: Command, words: &[&str]) {
    let output = command.output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
    assert!(output.stdout.is_empty(), "{said}");
    for words in words {
        assert!(said.contains(words), "{words:?}: {said}");
    }
}

/// Path and permissions of each file below a folder.
fn modes(folder: &Path) -> BTreeMap<PathBuf, u32> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let mode = path.metadata().unwrap().permissions().mode() & 0o777;
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), mode);
            }
        }
    }
    found
}

#[test]
fn nothing_is_missing_up_to_the_position_of_a_backup_taken_under_load() {
    let mut hub = hub();
    let mut load = Load::start(&hub, 4);
    load.wait_for_acknowledged(200);
    let page = wait_for("a page that the workflow has published", || {
        let page = http::get(hub.port("http"), "/p/acme/notices/load-0", None);
        (page.status == 200).then_some(page.body)
    });

    let before = load.acknowledged();
    let out = hub.dir.path().join("hub.backup");
    let taken: Value = serde_json::from_str(&succeed(&mut backup(&hub.data(), &out))).unwrap();
    assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let position = taken["position"].as_u64().unwrap();
    assert!(taken["applied"].as_u64().unwrap() <= position, "{taken}");
    // The hub has gone on meanwhile, and goes on.
    let goal = load.acknowledged().values().sum::<u64>() + 200;
    load.wait_for_acknowledged(goal);
    hub.kill();
    let sent = load.stop();

    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("hub");
    let made: Value = serde_json::from_str(&succeed(&mut restore(&out, &data))).unwrap();
    assert_eq!(made["position"], taken["position"]);
    // Whatever is a secret is one still: every file is as it was, and the store is its owner's.
    let was = modes(&hub.data());
    let is = modes(&data);
    for (path, mode) in &is {
        let own = path.extension().is_some_and(|kind| kind == "log")
            || path.ends_with("hub.sqlite")
            || path.ends_with("restored");
        let should = if own { 0o600 } else { was[path] };
        assert_eq!(*mode, should, "{path:?}");
    }
    let lacks: Vec<_> = was.keys().filter(|path| !is.contains_key(*path)).collect();
    let of_the_process = ["hub.sqlite-wal", "hub.sqlite-shm", "lock", "synced"];
    let opens_devices_keys = ["seal.key", "seal.pub"];
    assert!(
        lacks.iter().all(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            of_the_process.contains(&name)
                || opens_devices_keys.contains(&name)
                || name.ends_with(".log")
        }),
        "{lacks:?}"
    );

    let restored = Hub::over(dir, &hub.token, &["--mqtt-plain", "127.0.0.1:0"]);
    let metric = |name: &str| {
        let page = http::get(restored.port("http"), "/metrics", None).body;
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse::<u64>().ok())
    };
    wait_for("the restored hub to have applied its log", || {
        let end = metric("stencil_hub_log_end_bytes")?;
        let applied = metric("stencil_hub_pipeline_position_bytes")?;
        (applied >= end && end >= position).then_some(())
    });
    for (device, acknowledged) in &before {
        let path = format!("/api/v1/devices/{device}/ledger");
        let ledger = restored.items(&path)[0]["ledger"].clone();
        let last = ledger["last_given"].as_u64().unwrap();
        assert_eq!(ledger["stored"], json!([[1, last]]), "{device}");
        assert!(last >= *acknowledged, "{device}: {ledger}, {acknowledged}");
        assert!(last < sent[device], "{device}: the backup is older");
        let points = restored.points(device, "n") as u64;
        assert_eq!(points, last, "{device}");
    }
    assert_eq!(restored.ask(&["reconcile"])["held"], true);
    let again = http::get(restored.port("http"), "/p/acme/notices/load-0", None);
    assert_eq!(again.body, page);

    // Devices that still have what came later send it; what is known already is not counted twice.
    load.send_again(&restored);
    for (device, last) in &sent {
        restored.wait_for_ledger(device, 1, |ledger| ledger["stored"] == json!([[1, last]]));
    }
    assert_eq!(restored.ask(&["reconcile"])["held"], true);
    restored.is_sound();
}

#[test]
fn a_backup_of_a_hub_that_is_not_running_has_its_settings_too() {
    let mut hub = hub();
    let mut meter = hub.foreign("meter");
    meter.deliver("v1/devices/me/telemetry", br#"{"n": 21}"#);
    hub.wait_for_latest("meter", "n", &json!(21));
    drop(meter);
    assert!(hub.stop().success());
    let settings = hub.dir.path().join("hub.toml");
    std::fs::write(&settings, "# the settings\n").unwrap();
    let out = hub.dir.path().join("hub.backup");
    succeed(backup(&hub.data(), &out).arg("--config").arg(&settings));
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("hub");
    // An empty folder is as good as none.
    std::fs::create_dir(&data).unwrap();
    let made: Value = serde_json::from_str(&succeed(&mut restore(&out, &data))).unwrap();
    let kept = made["settings"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "# the settings\n");

    // A backup of what was restored is taken like any other.
    let again = dir.path().join("again.backup");
    let told: Value = serde_json::from_str(&succeed(&mut backup(&data, &again))).unwrap();
    assert_eq!(told["applied"], made["position"]);
    let second = tempfile::tempdir().unwrap();
    let made = succeed(&mut restore(&again, &second.path().join("hub")));
    let made: Value = serde_json::from_str(&made).unwrap();
    let kept = made["settings"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "# the settings\n");
    let restored = Hub::over(dir, &hub.token, &[]);
    // Also before anything new has come, it tells how far it has applied its log.
    let page = http::get(restored.port("http"), "/metrics", None).body;
    let name = "stencil_hub_pipeline_position_bytes ";
    let position = page.lines().find_map(|line| line.strip_prefix(name));
    let position: u64 = position.unwrap().parse().unwrap();
    assert!(position >= told["applied"].as_u64().unwrap(), "{position}");
    restored.wait_for_latest("meter", "n", &json!(21));
    restored.is_sound();
}
