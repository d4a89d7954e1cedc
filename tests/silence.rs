//! A device that says nothing for too long raises an alarm, and ends it when it is heard of again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::{Hub, succeed, wait_for};

const TELEMETRY: &str = "v1/devices/me/telemetry";

const WORKFLOW: &str = "id: meter-quiet\nversion: 1\n\
    on: { telemetry: { devices: \"meter-*\" } }\nwhen: { absent: 1s }\n\
    alarm: { severity: critical, title: \"{{ event.device }} is silent\" }\n";

fn alarms(hub: &Hub, are_right: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    wait_for("the alarms", || {
        let alarms = hub.items("/api/v1/alarms");
        are_right(&alarms).then_some(alarms)
    })
}

#[test]
fn a_silence_is_an_alarm_until_the_next_reading_also_through_a_kill() {
    let mut hub = Hub::start_with(
        &["--mqtt-plain", "127.0.0.1:0"],
        &[
            ("STENCIL_HUB_PIPELINE__TICK_MS", "100"),
            ("STENCIL_HUB_PIPELINE__SETTLE_MS", "100"),
        ],
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("meter-quiet.yaml");
    std::fs::write(&file, WORKFLOW).unwrap();
    succeed(hub.command(&["workflow", "apply"]).arg(&file));
    let token = hub.device_token("meter-1");
    let say = |hub: &Hub, power: f64| {
        let port = hub.port("mqtt_plain");
        let mut meter = support::mqtt::Mqtt::plain(port).connect("meter-1", Some(&token));
        meter.deliver(TELEMETRY, json!({ "power": power }).to_string().as_bytes());
    };

    say(&hub, 1.0);
    let raised = alarms(&hub, |alarms| alarms.len() == 1);
    assert_eq!(raised[0]["title"], "meter-1 is silent");
    assert_eq!(raised[0]["severity"], "critical");
    let latest = hub.wait_for_latest("meter-1", "power", &json!(1.0));
    let (raised_us, heard_us) = (&raised[0]["raised_us"], &latest["time_us"]);
    assert_eq!(
        raised_us.as_i64().unwrap(),
        heard_us.as_i64().unwrap() + 1_000_000,
        "a second after it was last heard of, whenever a tick came"
    );

    hub.start_again(None);
    assert_eq!(hub.items("/api/v1/alarms"), raised, "it is the same one");

    say(&hub, 2.0);
    let cleared = alarms(&hub, |alarms| {
        !alarms.last().unwrap()["cleared_us"].is_null()
    });
    let first = cleared.last().unwrap();
    assert_eq!(first["id"], raised[0]["id"]);
    assert_eq!(first["cleared_why"], "a reading came");
    // Then it is silent again, which is another alarm.
    let again = alarms(&hub, |alarms| alarms.len() == 2);
    assert_ne!(again[0]["id"], again[1]["id"]);

    let metrics = hub.get("/metrics").body;
    let ticks = metrics
        .lines()
        .find_map(|line| line.strip_prefix("stencil_hub_ticks_total "))
        .unwrap();
    assert!(ticks.parse::<u64>().unwrap() > 0, "{metrics}");
    hub.is_sound();
}
