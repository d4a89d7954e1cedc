//! A hub with something to show.

use serde_json::{Value, json};

use crate::support::mqtt::Mqtt;
use crate::support::{Hub, batch, http, wait_for};

/// Telemetry of a foreign device has ThingsBoard's topic.
const TELEMETRY: &str = "v1/devices/me/telemetry";
/// Between two measurements, in milliseconds.
const STEP_MS: i64 = 5_000;
/// Measurements of the past.
const STEPS: i64 = 240;

/// A foreign device of a hub, and the moment of its newest measurement.
pub(crate) struct Freezer {
    mqtt: Mqtt,
    name: &'static str,
    now_ms: i64,
}

impl Freezer {
    /// Connects, and tells of the last twenty minutes: the temperature is 4, and was 9 for two
    /// minutes twice.
    pub(crate) fn with_a_past(hub: &Hub, name: &'static str) -> Self {
        let mqtt = hub.foreign(name);
        let now_ms = hub_now_ms() - 60_000;
        let mut freezer = Self { mqtt, name, now_ms };
        let begin_ms = now_ms - STEPS * STEP_MS;
        let values = (0..=STEPS).map(|step| {
            let warm = (60..84).contains(&step) || (160..184).contains(&step);
            let value = if warm { 9.0 } else { 4.0 } + ripple(step);
            json!({ "ts": begin_ms + step * STEP_MS, "values": { "temperature": value } })
        });
        for part in values.collect::<Vec<_>>().chunks(60) {
            freezer.tell(&Value::from(part));
        }
        hub.wait_for_latest(name, "temperature", &json!(4.0 + ripple(STEPS)));
        freezer
    }

    /// Measures so much, so many seconds after the last time.
    pub(crate) fn measures(&mut self, value: f64, after_s: i64) {
        self.now_ms += after_s * 1_000;
        let at_ms = self.now_ms;
        self.tell(&json!({ "ts": at_ms, "values": { "temperature": value } }));
    }

    /// Sends what no hub understands.
    pub(crate) fn babbles(&mut self) {
        self.mqtt.deliver(TELEMETRY, b"temperature=warm");
    }

    fn tell(&mut self, payload: &Value) {
        self.mqtt.deliver(TELEMETRY, payload.to_string().as_bytes());
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

/// A little up and down, the same each time.
fn ripple(step: i64) -> f64 {
    f64::from(i32::try_from(step * 7 % 11).unwrap()) / 20.0
}

/// The clock of this machine is the hub's too.
fn hub_now_ms() -> i64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A rule that raises an alarm and writes a notice.
pub(crate) const RULE: &str = r#"id: freezer-warm
version: 1
title: A freezer is warm
on: { telemetry: { devices: "freezer-*", name: temperature } }
when: { above: 8.0, for: 2s, clear: 6.0 }
alarm: { severity: major, title: "{{ event.device }} is at {{ event.value }}" }
steps:
  - id: notice
    use: content.upsert
    with: { collection: notices, key: "{{ event.device }}", set: { title: "{{ event.device }} is warm", value: "{{ event.value }}" } }
  - id: page
    use: content.publish
    with: { collection: notices, key: "{{ event.device }}" }
"#;

/// One of everything that pages show: devices with a past and a gateway's numbered ones, a rule in
/// two versions, runs, an active alarm and one that is over, content, a gap, a quarantined payload.
pub(crate) fn furnish(hub: &Hub) -> Freezer {
    let mut freezer = Freezer::with_a_past(hub, "freezer-1");
    Freezer::with_a_past(hub, "freezer-2");
    for rule in [
        RULE.to_owned(),
        RULE.replace("version: 1", "version: 2")
            .replace("for: 2s", "for: 4s"),
    ] {
        put(hub, "freezer-warm", &rule);
    }
    for (value, after_s) in [(9.5, 5), (9.7, 5), (4.0, 20), (10.5, 5), (10.75, 5)] {
        freezer.measures(value, after_s);
    }
    freezer.babbles();
    numbered(hub);
    wait_for("two runs that are done", || {
        (hub.items("/api/v1/runs?state=done").len() == 2).then_some(())
    });
    wait_for("the payload in quarantine", || {
        (!hub.items("/api/v1/quarantine").is_empty()).then_some(())
    });
    freezer
}

/// Three devices behind a gateway, one of which has a gap.
fn numbered(hub: &Hub) {
    let mut gateway = hub.as_gateway("acme", "gw-1");
    for device in ["lock-1", "lock-2", "lock-3"] {
        let topic = format!("stencil/v1/d/{device}/batch");
        gateway.deliver(&topic, &batch::numbered(1, 1, 20));
        let first = if device == "lock-2" { 25 } else { 21 };
        gateway.deliver(&topic, &batch::numbered(1, first, 20));
        hub.wait_for_ledger(device, 1, |ledger| {
            ledger["last_given"].as_u64() >= Some(first + 19)
        });
    }
}

/// Keeps a version of a workflow and puts it in force.
pub(crate) fn put(hub: &Hub, id: &str, yaml: &str) {
    let path = format!("/api/v1/workflows/{id}");
    let body = Some(("application/yaml", yaml));
    let answer = http::request(hub.port("http"), "PUT", &path, Some(&hub.token), body);
    assert_eq!(answer.status, 201, "{answer:?}");
}
