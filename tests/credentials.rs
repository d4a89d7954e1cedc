//! Credentials: a workflow's step issues one for each cause, whenever the hub is killed, and none has a bit of a status
//! list that another has; the command shows, checks and revokes them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::mqtt::Mqtt;
use support::{Hub, succeed, wait_for};

const TELEMETRY: &str = "v1/devices/me/telemetry";
const ACME: &str = "did:web:hub.example:tenants:acme";
const CALIBRATED: &str = r#"
id: calibrated
version: 1
on: { telemetry: { devices: "meter-*", name: deviation } }
when: { above: 0.0 }
steps:
  - id: certificate
    use: credential.issue
    with:
      kind: CalibrationCertificate
      device: "{{ event.device }}"
      claims: { deviation: "{{ event.value }}" }
      valid: 365d
  - id: notice
    use: content.upsert
    with: { collection: certificates, key: "{{ event.device }}", set: { credential: "{{ steps.certificate.credential }}" } }
"#;

/// A workflow that issues a certificate for each deviation that is measured, on a hub with a name of its own: the
/// ports of a restart are others, and the DIDs shall stay.
fn hub() -> Hub {
    let name = [("STENCIL_HUB_HTTP__PUBLIC_URL", "https://hub.example")];
    let hub = Hub::start_with(&["--mqtt-plain", "127.0.0.1:0"], &name);
    let workflow = hub.dir.path().join("calibrated.yaml");
    std::fs::write(&workflow, CALIBRATED).unwrap();
    succeed(hub.command(&["workflow", "apply"]).arg(&workflow));
    hub
}

/// The credential that the workflow's last step has noted of a device.
fn noted(hub: &Hub, device: &str) -> Option<String> {
    let answer = hub.get(&format!("/api/v1/content/certificates/{device}"));
    (answer.status == 200).then_some(answer.body)
}

/// Each device has one credential, the one that its run has noted, with bits of status lists that no other has;
/// all of them hold.
fn is_whole(hub: &Hub, devices: &BTreeSet<String>) {
    let items = hub.items("/api/v1/credentials?limit=200");
    let subjects: BTreeSet<_> = items.iter().map(|it| it["subject"].to_string()).collect();
    let expected: BTreeSet<_> = devices
        .iter()
        .map(|device| Value::from(format!("{ACME}:devices:{device}")).to_string())
        .collect();
    assert_eq!(subjects, expected);
    assert_eq!(items.len(), devices.len(), "one each: {items:?}");
    let mut bits = BTreeSet::new();
    for item in &items {
        let id = item["id"].as_str().unwrap();
        let subject = item["subject"].as_str().unwrap();
        let device = subject.rsplit(':').next().unwrap();
        let noted = noted(hub, device).expect("its run came to its end");
        assert!(noted.contains(id), "{device}: {noted}");
        let shown = succeed(&mut hub.command(&["credential", "show", id, "--output", "json"]));
        let shown: Value = serde_json::from_str(&shown).expect("a credential");
        let statuses = shown["credentialStatus"].as_array().expect("two lists");
        assert_eq!(statuses.len(), 2);
        for status in statuses {
            let bit = (
                status["statusListCredential"].to_string(),
                status["statusListIndex"].to_string(),
            );
            assert!(bits.insert(bit.clone()), "given twice: {bit:?}");
        }
    }
}

/// Killed at each point on the way of an issue, the first one's with the tenant's keys included.
#[test]
fn a_step_issues_one_credential_wherever_it_is_cut_off() {
    let mut hub = hub();
    let mut devices = BTreeSet::new();
    for point in [
        "credential.issuer_kept:1",
        "credential.signed:1",
        "credential.kept:1",
        "workflow.after_effect:1",
        // The second step's: the first is not done again.
        "workflow.after_effect:2",
    ] {
        let device = format!("meter-{}", devices.len() + 1);
        let token = hub.device_token(&device);
        hub.start_again(Some(point));
        let mut meter = Mqtt::plain(hub.port("mqtt_plain")).connect(&device, Some(&token));
        // The hub may end before it has acknowledged it.
        let _ = meter.publish(TELEMETRY, br#"{"deviation": 0.05}"#);
        hub.ended();
        hub.start_again(None);
        wait_for("the last step", || noted(&hub, &device));
        devices.insert(device);
        is_whole(&hub, &devices);
    }
    // The keys are those of the first one still.
    let id = hub.items("/api/v1/credentials?limit=200");
    for item in id {
        let verdict = verify(&hub, &shown(&hub, &item), &["--issuer", ACME]);
        assert_eq!(verdict["verified"], true, "{verdict}");
    }
}

/// Killed again and again while many devices have theirs issued at once, wherever it happens to be.
#[test]
fn killed_while_many_are_issued_none_is_lost_or_doubled() {
    const DEVICES: usize = 24;
    let mut hub = hub();
    let mut devices = BTreeSet::new();
    let tokens: Vec<(String, String)> = (0..DEVICES)
        .map(|n| {
            let device = format!("meter-{n:02}");
            let token = hub.device_token(&device);
            (device, token)
        })
        .collect();
    for (at, batch) in tokens.chunks(DEVICES / 4).enumerate() {
        for (device, token) in batch {
            let mut meter = Mqtt::plain(hub.port("mqtt_plain")).connect(device, Some(token));
            // Acknowledged: from here on it is the hub's.
            meter.deliver(TELEMETRY, br#"{"deviation": 0.05}"#);
            devices.insert(device.clone());
        }
        // At once, or when some of the batch are there.
        let before = at * (DEVICES / 4);
        wait_for("some of them", || {
            let issued = hub.items("/api/v1/credentials?limit=200").len();
            (issued >= before + at).then_some(())
        });
        hub.kill();
        hub.start_again(None);
    }
    for device in &devices {
        wait_for("the last step", || noted(&hub, device));
    }
    is_whole(&hub, &devices);
}

/// A credential of the list, as its holder gets it.
fn shown(hub: &Hub, item: &Value) -> PathBuf {
    let id = item["id"].as_str().unwrap();
    let shown = succeed(&mut hub.command(&["credential", "show", id, "--output", "json"]));
    let file = hub.dir.path().join("certificate.json");
    std::fs::write(&file, shown).unwrap();
    file
}

fn verify(hub: &Hub, file: &Path, more: &[&str]) -> Value {
    let file = file.to_str().unwrap();
    let mut command = hub.command(&["credential", "verify", file, "--output", "json"]);
    // Whoever checks needs no token.
    let output = command.args(more).env_remove("STENCIL_TOKEN").output();
    let output = output.unwrap();
    let verdict: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.success(), verdict["verified"] == true);
    verdict
}

#[test]
fn the_command_shows_checks_and_revokes() {
    let mut hub = hub();
    for device in ["meter-1", "meter-2"] {
        let mut meter = hub.foreign(device);
        meter.deliver(TELEMETRY, br#"{"deviation": 0.05}"#);
        wait_for("the last step", || noted(&hub, device));
    }
    let items = hub.items("/api/v1/credentials");
    let id = items[0]["id"].as_str().unwrap();
    let file = shown(&hub, &items[0]);
    let whole = std::fs::read_to_string(&file).unwrap();
    let right = ["--issuer", ACME, "--kind", "CalibrationCertificate"];
    let verdict = verify(&hub, &file, &right);
    assert_eq!(verdict["verified"], true, "{verdict}");
    let said = &verdict["credentials"][0]["credential"]["credentialSubject"];
    assert_eq!(said["deviation"], 0.05);
    let verdict = verify(&hub, &file, &["--issuer", "did:web:other.example"]);
    assert_eq!(verdict["verified"], false, "{verdict}");
    std::fs::write(&file, whole.replace("0.05", "0.04")).unwrap();
    let verdict = verify(&hub, &file, &[]);
    assert!(
        verdict["error"].as_str().unwrap().contains("proof 1 of 2"),
        "{verdict}"
    );
    std::fs::write(&file, &whole).unwrap();

    let revoked = hub.ask(&["credential", "revoke", id]);
    assert_eq!(revoked["standing"], "revoked");
    assert_eq!(verify(&hub, &file, &[])["error"], "it is revoked");
    // It is so after a restart, by the same keys.
    hub.start_again(None);
    assert_eq!(verify(&hub, &file, &[])["error"], "it is revoked");
    let other = shown(&hub, &items[1]);
    assert_eq!(verify(&hub, &other, &[])["verified"], true);
    let audit = hub.get("/api/v1/audit").body;
    assert!(audit.contains("credentials.revoke"), "{audit}");
}
