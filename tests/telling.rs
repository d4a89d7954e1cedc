//! A rule fires and people are told: by mail through a server that others wrote, and by a webhook
//! that the standard's own library verifies; unless somebody has asked for silence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stencil_crypto::authority::Authority;
use support::{Hub, LIMIT, python, succeed, wait_for};

const TELEMETRY: &str = "v1/devices/me/telemetry";

const WORKFLOW: &str = r#"
id: meter-high
version: 1
title: Meter too high
on: { telemetry: { devices: "meter-*", name: power } }
when: { above: 100.0 }
alarm: { severity: major, title: "{{ event.device }} draws {{ event.value }} kW" }
steps:
  - id: mail
    use: mail.send
    with:
      to: ops@example.org
      subject: "{{ event.device }} draws {{ event.value }} kW"
      text: "Since {{ event.since_us }}."
  - id: chat
    use: webhook.post
    with:
      url: "http://127.0.0.1:PORT/chat"
      secret: chat
      tells: true
      body: { device: "{{ event.device }}", mail: "{{ steps.mail.message_id }}" }
  - id: page
    use: content.upsert
    with: { collection: notices, key: "{{ event.device }}", set: { value: "{{ event.value }}" } }
"#;

/// A Python program that prints JSON lines until its input ends.
struct Foreign {
    child: Child,
    lines: Receiver<Value>,
    port: u64,
}

impl Foreign {
    fn start(script: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(python())
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if said
                    .send(serde_json::from_str(&line).expect("JSON"))
                    .is_err()
                {
                    return;
                }
            }
        });
        let mut foreign = Self {
            child,
            lines,
            port: 0,
        };
        foreign.port = foreign.line()["port"].as_u64().unwrap();
        foreign
    }

    /// The next line.
    fn line(&self) -> Value {
        self.lines.recv_timeout(LIMIT).expect("a line in time")
    }

    /// It ends, and has said nothing more.
    fn ends_silent(mut self) {
        drop(self.child.stdin.take());
        let more = self.lines.recv_timeout(LIMIT);
        assert_eq!(more, Err(RecvTimeoutError::Disconnected));
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate for `localhost`, with its root in `root.pem`.
fn certificate(dir: &Path) -> [String; 2] {
    let authority = Authority::create(dir.join("ca"), "test").unwrap();
    let issued = authority.issue_classical_server(&["localhost"]).unwrap();
    let (chain, key) = (dir.join("chain.pem"), dir.join("key.pem"));
    issued.write(&chain, &key).unwrap();
    std::fs::write(dir.join("root.pem"), authority.classical_root_pem()).unwrap();
    [chain, key].map(|path| path.to_str().unwrap().to_owned())
}

/// The steps of the workflow's runs that have ended, those that fired first first.
fn ended_runs(hub: &Hub, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} runs to end"), || {
        let mut runs = hub.items("/api/v1/runs");
        runs.sort_by_key(|run| run["at_us"].as_i64());
        let ended = runs.iter().filter(|run| !run["ended_us"].is_null()).count();
        (ended == count).then_some(runs)
    })
}

#[test]
fn by_mail_and_by_a_signed_webhook_once_and_not_while_it_is_silenced() {
    let dir = tempfile::tempdir().unwrap();
    let [chain, key] = certificate(dir.path());
    let smtp = "hub/connect/tests/foreign/smtp_server.py";
    let mailbox = Foreign::start(smtp, &["auth", &chain, &key]);
    let secret = format!("whsec_{}", STANDARD.encode([7; 32]));
    let chat = Foreign::start("tests/foreign/webhook_receiver.py", &[&secret]);
    let private = |name: &str, text: &str| {
        let file = dir.path().join(name);
        stencil_crypto::keyfile::write(&file, text.as_bytes()).unwrap();
        file
    };
    let settings = dir.path().join("hub.toml");
    let text = format!(
        "[connect.webhook]\nallow_loopback = true\n\n\
         [[connect.secrets]]\ntenant = \"acme\"\nname = \"chat\"\nfile = {:?}\n\n\
         [connect.mail.default]\nserver = \"localhost\"\nport = {}\ntls = \"starttls\"\n\
         from = \"Stencil Hub <hub@example.org>\"\nuser = \"hub\"\npassword_file = {:?}\n\
         roots = {:?}\n",
        private("chat.secret", &secret),
        mailbox.port,
        private("mail.password", "s3cret\n"),
        dir.path().join("root.pem"),
    );
    std::fs::write(&settings, text).unwrap();
    let settings = settings.to_str().unwrap();
    let mut hub = Hub::start(&["--config", settings, "--mqtt-plain", "127.0.0.1:0"]);
    let workflow = dir.path().join("meter-high.yaml");
    let text = WORKFLOW.replace("PORT", &chat.port.to_string());
    std::fs::write(&workflow, text).unwrap();
    succeed(hub.command(&["workflow", "apply"]).arg(&workflow));
    let mut meter = hub.foreign("meter-1");
    let mut draws = |power: f64| {
        meter.deliver(TELEMETRY, json!({ "power": power }).to_string().as_bytes());
    };

    draws(120.5);
    let mail = mailbox.line();
    assert_eq!(mail["subject"], "meter-1 draws 120.5 kW");
    assert_eq!(
        (&mail["rcpt_tos"], &mail["secure"], &mail["user"]),
        (&json!(["ops@example.org"]), &json!(true), &json!("hub")),
        "{mail}"
    );
    let said = chat.line();
    assert_eq!(said["verified"], true, "{said}");
    assert_eq!(
        said["said"],
        json!({ "device": "meter-1", "mail": mail["id"] })
    );
    let runs = ended_runs(&hub, 1);
    let steps = &runs[0]["steps"];
    assert_eq!(steps[0]["output"]["accepted"], 1, "{steps}");
    // How the mail server's link was secured is on record.
    assert!(
        steps[0]["output"]["link"]["group"].is_string(),
        "how it was secured: {steps}"
    );

    let alarms = hub.items("/api/v1/alarms");
    assert_eq!(alarms[0]["title"], "meter-1 draws 120.5 kW", "{alarms:?}");
    let id = alarms[0]["id"].as_str().unwrap();
    succeed(&mut hub.command(&["alarm", "silence", id, "--for", "1h"]));
    draws(1.0);
    draws(130.0);
    let runs = ended_runs(&hub, 2);
    let steps = runs[1]["steps"].as_array().unwrap();
    for step in &steps[..2] {
        let until_us = &step["output"]["passed_over"]["silenced_until_us"];
        assert!(until_us.is_i64() && step["attempts"] == 0, "{step}");
    }
    assert_eq!(steps[2]["attempts"], 1, "what acts is performed: {steps:?}");
    let active = hub.items("/api/v1/alarms?active=true");
    assert_eq!(active.len(), 1, "it is in sight all the same: {active:?}");

    // A start later nobody is told of it again.
    hub.start_again(None);
    assert_eq!(ended_runs(&hub, 2), runs);
    mailbox.ends_silent();
    chat.ends_silent();
    hub.is_sound();
}
