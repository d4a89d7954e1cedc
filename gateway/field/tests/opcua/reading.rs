//! What a server gives: values, times, statuses, types.

use serde_json::json;
use stencil_protocol::{line::Line, sample::OwnedValue};

use crate::{Read, number, one, peer::OpcUaPeer};

const TEMP: &str = "      temp: { node: \"ns=2;s=temp\", unit: Cel }\n";

#[tokio::test]
async fn values_have_the_time_of_their_source() {
    let mut peer = OpcUaPeer::start();
    let at = 1_741_064_767_123_i64;
    peer.set_with("temp", 21.5, "Double", json!({ "source_ms": at }));
    peer.set("count", 7, "UInt16");
    peer.set("on", true, "Boolean");
    peer.set("name", "press", "String");
    peer.set_with(
        "old",
        1.5,
        "Float",
        json!({ "source_ms": null, "server_ms": at + 1 }),
    );
    peer.set_with(
        "none",
        2.5,
        "Float",
        json!({ "source_ms": null, "server_ms": null }),
    );
    let points = format!(
        "{TEMP}      count: {{ node: \"ns=2;s=count\", scale: 0.5 }}\n      on: {{ node: \
         \"ns=2;s=on\", type: bool }}\n      name: {{ node: \"ns=2;s=name\", type: text }}\n      \
         old: {{ node: \"ns=2;s=old\" }}\n      none: {{ node: \"ns=2;s=none\" }}\n"
    );
    let begun = stencil_field::port::now_us();
    let mut read = Read::start(&one(&peer.plain(), "", &points));
    assert_eq!(read.linked().await, Line::OpcUaNone);
    let mut given = std::collections::BTreeMap::new();
    while given.len() < 6 {
        let stencil_field::Said::Sample { sample, .. } = read.said.recv().await.unwrap() else {
            continue;
        };
        if !sample.name.starts_with("field.") && !sample.name.ends_with(".fault") {
            given.insert(sample.name.clone(), sample);
        }
    }
    assert_eq!(given["temp"].value, OwnedValue::Number(21.5));
    assert_eq!(given["temp"].unit.as_deref(), Some("Cel"));
    assert_eq!(given["temp"].time_us, at * 1_000);
    assert_eq!(given["count"].value, OwnedValue::Number(3.5));
    assert_eq!(given["on"].value, OwnedValue::Bool(true));
    assert_eq!(given["name"].value, OwnedValue::Text("press".into()));
    assert_eq!(given["old"].time_us, (at + 1) * 1_000);
    assert!(given["none"].time_us >= begun);
    // The same value at another time is another reading, and what changes comes by itself.
    peer.set_with("temp", 21.5, "Double", json!({ "source_ms": at + 1_000 }));
    let again = read.sample("temp").await;
    assert_eq!(
        (again.value, again.time_us),
        (OwnedValue::Number(21.5), (at + 1_000) * 1_000)
    );
    peer.set_with("temp", 22.0, "Double", json!({ "source_ms": at + 2_000 }));
    assert_eq!(read.sample("temp").await.time_us, (at + 2_000) * 1_000);
    assert_eq!(peer.count()["reads"], 0, "values are polled");
}

#[tokio::test]
async fn what_the_server_thinks_of_a_value_is_told() {
    let mut peer = OpcUaPeer::start();
    peer.set("temp", 20.0, "Double");
    let mut read = Read::start(&one(&peer.plain(), "", TEMP));
    read.wait("temp", number(20.0)).await;
    peer.set_with(
        "temp",
        20.5,
        "Double",
        json!({ "status": "BadSensorFailure" }),
    );
    read.text("temp.fault", "BadSensorFailure").await;
    peer.set("temp", 21.0, "Double");
    read.text("temp.fault", "ok").await;
    read.wait("temp", number(21.0)).await;
    peer.set_with(
        "temp",
        21.5,
        "Double",
        json!({ "status": "UncertainLastUsableValue" }),
    );
    read.text("temp.fault", "uncertain: UncertainLastUsableValue")
        .await;
    read.wait("temp", number(21.5)).await;
}

#[tokio::test]
async fn a_wrong_node_or_type_loses_no_other() {
    let mut peer = OpcUaPeer::start();
    peer.set("temp", 20.0, "Double");
    peer.set("list", json!([1, 2, 3]), "Int32");
    peer.set("text", "warm", "String");
    peer.set("long", "x".repeat(300), "String");
    let points = format!(
        "{TEMP}      gone: {{ node: \"ns=2;s=gone\" }}\n      list: {{ node: \"ns=2;s=list\" }}\n      \
         text: {{ node: \"ns=2;s=text\", type: number }}\n      long: {{ node: \"ns=2;s=long\" }}\n"
    );
    let mut read = Read::start(&one(&peer.plain(), "", &points));
    let mut faults = std::collections::BTreeMap::new();
    let mut is_read = false;
    while faults.len() < 4 || !is_read {
        let stencil_field::Said::Sample { sample, .. } = read.said.recv().await.unwrap() else {
            continue;
        };
        if sample.name.ends_with(".fault") {
            let OwnedValue::Text(why) = sample.value else {
                panic!()
            };
            if sample.name == "temp.fault" {
                assert_eq!(why, "ok");
                continue;
            }
            faults.insert(sample.name, why);
        } else {
            assert!(
                ["temp", "field.status"].contains(&&*sample.name),
                "{}",
                sample.name
            );
            is_read |= sample.name == "temp";
        }
    }
    for (name, says) in [
        ("gone.fault", "BadNodeIdUnknown"),
        ("list.fault", "gives an array"),
        ("text.fault", "gives a text, the mapping says a number"),
        ("long.fault", "300 bytes"),
    ] {
        assert!(faults[name].contains(says), "{faults:?}");
    }
}

#[tokio::test]
async fn small_changes_are_not_sent() {
    let points = "      temp: { node: \"ns=2;s=temp\", scale: 0.5, deadband: 1, queue: 3 }\n";
    for takes_filters in [true, false] {
        let mut peer = OpcUaPeer::start();
        peer.filters(takes_filters);
        peer.set("temp", 20.0, "Double");
        let mut read = Read::start(&one(&peer.plain(), "", points));
        read.wait("temp", number(10.0)).await;
        let created = peer.count()["created"].clone();
        // A change by 1 of what is scaled is one by 2 of what the server has.
        let deadband = if takes_filters {
            json!(2.0)
        } else {
            json!(null)
        };
        assert_eq!(created, json!([[100.0, 3, deadband]]));
        peer.set("temp", 21.0, "Double");
        peer.set("temp", 30.0, "Double");
        assert_eq!(read.sample("temp").await.value, OwnedValue::Number(15.0));
    }
}

#[tokio::test]
async fn a_value_that_stays_is_sent_after_a_silence() {
    let mut peer = OpcUaPeer::start();
    peer.set("temp", 20.0, "Double");
    let points = "      temp: { node: \"ns=2;s=temp\", deadband: 1, max-silence: 1s }\n";
    let mut read = Read::start(&one(&peer.plain(), "", points));
    let first = read.sample("temp").await;
    let second = read.sample("temp").await;
    assert_eq!(first.value, second.value);
    assert!(second.time_us - first.time_us >= 1_000_000);
    assert!(peer.count()["reads"].as_u64().unwrap() >= 1);
}
