//! Answers that nobody reads to their end, and answers for which there is no room.

use std::fs::OpenOptions;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::support::{Hub, stencil, text};

/// Runs a command of which nobody reads the answer.
fn unread(command: &mut Command) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn();
    child.unwrap().wait_with_output().unwrap()
}

fn ends_quietly(command: &mut Command) {
    let output = unread(command);
    let said = text(&output);
    assert!(output.status.success(), "{command:?}: {said}");
    for word in ["panicked", "pipe", "stencil: "] {
        assert!(!said.contains(word), "{command:?}: {said}");
    }
}

#[test]
fn a_command_ends_quietly_when_nobody_reads_on() {
    let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
    let mut meter = hub.foreign("meter");
    meter.deliver("v1/devices/me/telemetry", br#"{"power": 1.5}"#);
    hub.wait_for_latest("meter", "power", &json!(1.5));
    let file = hub.dir.path().join("warm.yaml");
    let workflow = "id: warm\nversion: 1\non: { telemetry: { devices: \"*\", name: t } }\n\
                    when: { above: 1 }\nsteps:\n  - id: page\n    use: content.upsert\n    \
                    with: { collection: notices, key: warm, set: { a: \"b\" } }\n";
    std::fs::write(&file, workflow).unwrap();
    let file = file.to_str().unwrap();
    for asked in [
        &["series", "export", "meter", "power"][..],
        &["device", "list"],
        &["device", "latest", "meter", "--output", "json"],
        &["reconcile"],
        &["workflow", "check", file],
        &["rule", "test", file],
        &["token", "create", "--role", "viewer"],
        &["user", "add", "ann"],
    ] {
        ends_quietly(&mut hub.command(asked));
    }
    for asked in [
        &["openapi"][..],
        &["completions", "bash"],
        &["hub", "--dump-config"],
        &["gateway", "--dump-config"],
        &["sim", "fleet", "--dump-config"],
        &["help"],
    ] {
        ends_quietly(stencil().args(asked));
    }
    hub.is_sound();
}

#[test]
fn an_answer_that_could_not_be_written_is_told() {
    for asked in [
        &["openapi"][..],
        &["hub", "--dump-config"],
        &["completions", "zsh"],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = stencil();
        command.args(asked).stdout(full).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{asked:?}: {said}");
        assert!(said.contains("standard output can't be written"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
