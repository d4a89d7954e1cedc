//! Payloads that are wrong in part or in whole: what is right is stored, what is not is set
//! aside with a reason, and the loss ledger knows.

use serde_json::{Value, json};

use crate::support::{Hub, batch, wait_for};

const TELEMETRY: &str = "v1/devices/me/telemetry";

/// The entries of the quarantine about a device, once there are so many: path and reason.
fn quarantined(hub: &Hub, device: &str, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} quarantined parts of {device}"), || {
        let mut items = hub.items("/api/v1/quarantine");
        items.retain(|item| item["device"] == device);
        (items.len() == count).then_some(items)
    })
}

fn about<'a>(items: &'a [Value], path: &str) -> &'a Value {
    items
        .iter()
        .find(|item| item["path"] == path)
        .unwrap_or_else(|| panic!("{path}: {items:#?}"))
}

fn says(item: &Value, words: &str) -> bool {
    item["reason"]
        .as_str()
        .is_some_and(|reason| reason.contains(words))
}

#[test]
fn json_that_is_wrong_in_part() {
    let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
    let mut meter = hub.foreign("meter");
    let long = "x".repeat(65);
    let payload = json!([
        { "ts": 1_700_000_000_000_i64, "values": { "power": 5.5, "nested": { "a": 1 }, "none": null } },
        { "ts": "yesterday", "values": { "power": 6.5 } },
        7,
        { "ts": 1_700_000_001_000_i64, "values": { "power": 7.5, long.as_str(): 1, "": 2 } },
    ])
    .to_string();
    // It is acknowledged: the hub has it, and publishing it again would not make it better.
    meter.deliver(TELEMETRY, payload.as_bytes());
    hub.wait_for_latest("meter", "power", &json!(7.5));
    assert_eq!(hub.points("meter", "power"), 2, "the rest is stored");
    let series = hub.items("/api/v1/devices/meter/series");
    assert_eq!(series.len(), 1, "nothing else is: {series:?}");

    let items = quarantined(&hub, "meter", 6);
    assert!(
        says(about(&items, "$[0].values.nested"), "an object"),
        "{items:#?}"
    );
    assert!(
        says(about(&items, "$[0].values.none"), "null"),
        "{items:#?}"
    );
    assert!(says(about(&items, "$[1].ts"), "milliseconds"), "{items:#?}");
    assert!(says(about(&items, "$[2]"), "not an object"), "{items:#?}");
    assert!(says(about(&items, "$[3].values."), "empty"), "{items:#?}");
    let too_long = items
        .iter()
        .find(|item| says(item, "at most 64 bytes"))
        .expect("too long");
    assert_eq!(too_long["topic"], TELEMETRY);
    assert_eq!(
        too_long["payload"],
        json!(hex::encode(&payload)),
        "the bytes are kept"
    );
}

#[test]
fn json_that_is_none() {
    let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
    let mut meter = hub.foreign("meter");
    let deep = [b"{\"a\":".repeat(5_000), b"1".to_vec(), b"}".repeat(5_000)].concat();
    let payloads: [&[u8]; 6] = [
        b"",
        b"{\"power\": 1",
        b"7",
        b"\"text\"",
        b"{\"power\": \"\xff\xfe\"}",
        &deep,
    ];
    for payload in payloads {
        meter.deliver(TELEMETRY, payload);
    }
    meter.deliver(TELEMETRY, br#"{"power": 1}"#);
    hub.wait_for_latest("meter", "power", &json!(1));
    let items = quarantined(&hub, "meter", payloads.len());
    // The newest first. However deep it goes on, its first name holds no value.
    let (nested, none) = items.split_first().unwrap();
    assert!(says(nested, "an object, not a number"), "{nested}");
    assert_eq!(nested["path"], json!("$.a"), "{nested}");
    for item in none {
        assert!(says(item, "telemetry: "), "{item}");
        assert_eq!(item["path"], Value::Null, "{item}");
    }
    // Where it breaks is told.
    assert!(items.iter().any(|item| says(item, "line 1")), "{items:#?}");
    // Of the payload a bounded part is kept.
    let kept = items[0]["payload"].as_str().unwrap();
    assert_eq!(kept, hex::encode(&deep[..4096]));
    hub.is_sound();
}

#[test]
fn a_batch_that_is_wrong_in_part() {
    let hub = Hub::start(&[]);
    let mut gateway = hub.as_gateway("acme", "gw-1");
    let topic = "stencil/v1/d/freezer-1/batch";
    // One name with a control character, one value (4.0 in four bytes) that is no number.
    let mut payload = batch::named(1, 1, &["first", "second", "third", "fourth", "fifth"]);
    payload = batch::patched(payload, b"second", b"sec\x07nd");
    payload = batch::patched(
        payload,
        &[0xfa, 0x40, 0x80, 0, 0],
        &[0xfa, 0x7f, 0xc0, 0, 0],
    );
    gateway.deliver(topic, &payload);
    let ledger = hub.wait_for_ledger("freezer-1", 1, |ledger| ledger["last_given"] == 5);
    assert_eq!(
        ledger["stored"],
        json!([[1, 1], [3, 3], [5, 5]]),
        "{ledger}"
    );
    assert_eq!(
        ledger["dropped"]["malformed"],
        json!([[2, 2], [4, 4]]),
        "{ledger}"
    );
    for (name, value) in [("first", 1.0), ("third", 3.0), ("fifth", 5.0)] {
        hub.wait_for_latest("freezer-1", name, &json!(value));
    }
    let items = quarantined(&hub, "freezer-1", 2);
    assert!(
        says(about(&items, "sample 2"), "control characters"),
        "{items:#?}"
    );
    assert!(says(about(&items, "sample 4"), "finite"), "{items:#?}");
    assert_eq!(items[0]["payload"], json!(hex::encode(&payload)));
    assert_eq!(items[0]["topic"], topic);

    // The gateway may send it again: nothing is stored or set aside twice.
    gateway.deliver(topic, &payload);
    let ledger = hub.wait_for_ledger("freezer-1", 1, |ledger| ledger["duplicate"] == 3);
    assert_eq!(
        ledger["dropped"]["malformed"],
        json!([[2, 2], [4, 4]]),
        "{ledger}"
    );
    assert_eq!(hub.items("/api/v1/quarantine").len(), 2);

    // Every number has an account, so reconciliation holds.
    let account = hub.ask(&["reconcile"]);
    assert_eq!(account["held"], true, "{account}");
    assert_eq!(account["dropped"]["malformed"], 2, "{account}");
}

#[test]
fn a_batch_that_breaks_off() {
    let hub = Hub::start(&[]);
    let mut gateway = hub.as_gateway("acme", "gw-1");
    let topic = "stencil/v1/d/freezer-1/batch";
    let mut payload = batch::named(1, 1, &["first", "second", "third", "fourth"]);
    payload.truncate(
        payload
            .windows(5)
            .position(|window| window == b"third")
            .unwrap()
            + 2,
    );
    gateway.deliver(topic, &payload);
    // How many numbers there were was said before it broke.
    let ledger = hub.wait_for_ledger("freezer-1", 1, |ledger| ledger["last_given"] == 4);
    assert_eq!(ledger["stored"], json!([[1, 2]]), "{ledger}");
    assert_eq!(ledger["dropped"]["malformed"], json!([[3, 4]]), "{ledger}");
    let items = quarantined(&hub, "freezer-1", 2);
    assert!(
        says(about(&items, "sample 3"), "broken from here on"),
        "{items:#?}"
    );

    // What is not even a header has no numbers: it is set aside whole, and the next batch,
    // which says how far the device has counted, shows the gap.
    gateway.deliver(topic, b"\x00 not a batch");
    gateway.deliver(topic, &batch::numbered(1, 8, 2));
    hub.wait_for_ledger("freezer-1", 1, |ledger| ledger["last_given"] == 9);
    let items = quarantined(&hub, "freezer-1", 3);
    assert!(says(&items[0], "batch: "), "{items:#?}");
    let reconciled = hub
        .command(&["reconcile", "--output", "json"])
        .output()
        .unwrap();
    assert_eq!(reconciled.status.code(), Some(1));
    let account: Value = serde_json::from_slice(&reconciled.stdout).unwrap();
    let faults = &account["faults"];
    assert_eq!(faults[0]["device"], "freezer-1", "{account}");
    assert_eq!(faults[0]["missing"], json!([[5, 7]]), "{account}");
    hub.is_sound();
}

#[test]
fn reports_of_others_and_reports_that_are_none() {
    let hub = Hub::start(&[]);
    let mut gateway = hub.as_gateway("acme", "gw-1");
    for report in ["status", "loss", "link"] {
        gateway.deliver(&format!("stencil/v1/d/freezer-1/{report}"), b"\xa1\x00");
    }
    gateway.deliver("stencil/v1/d/freezer-1/batch", &batch::numbered(1, 1, 1));
    let items = quarantined(&hub, "freezer-1", 3);
    for report in ["command status: ", "loss report: ", "link event: "] {
        assert!(
            items.iter().any(|item| says(item, report)),
            "{report}: {items:#?}"
        );
    }
    hub.wait_for_latest("freezer-1", "n", &json!(1.0));
    hub.is_sound();
}
