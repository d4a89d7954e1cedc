//! Connections that are lost, servers that go and come back, and such that are slow.

use serde_json::json;
use stencil_protocol::sample::OwnedValue;

use crate::{Read, number, one, peer::OpcUaPeer};

const TEMP: &str = "      temp: { node: \"ns=2;s=temp\", queue: 100 }\n";

#[tokio::test]
async fn what_happened_during_a_cut_comes_with_its_own_times() {
    let mut peer = OpcUaPeer::start();
    let at = 1_741_064_767_000_i64;
    let set = |peer: &mut OpcUaPeer, n: i32| {
        let options = json!({ "source_ms": at + i64::from(n) * 10 });
        peer.set_with("temp", f64::from(n), "Double", options);
    };
    set(&mut peer, 0);
    let mut read = Read::start(&one(&peer.plain(), "", TEMP));
    read.wait("temp", number(0.0)).await;
    for round in 0..3 {
        peer.cut();
        let first = round * 20 + 1;
        for n in first..first + 20 {
            set(&mut peer, n);
        }
        for n in first..first + 20 {
            let sample = read.sample("temp").await;
            assert_eq!(
                sample.value,
                OwnedValue::Number(f64::from(n)),
                "round {round}"
            );
            assert_eq!(sample.time_us, (at + i64::from(n) * 10) * 1_000);
        }
    }
    let count = peer.count();
    assert_eq!(
        count["created"].as_array().unwrap().len(),
        1,
        "it was subscribed to anew"
    );
    assert_eq!(count["subscriptions"], 1);
}

#[tokio::test]
async fn a_server_that_is_away_is_told_and_found_again() {
    let mut peer = OpcUaPeer::start();
    peer.set("temp", 1.0, "Double");
    let mut read = Read::start(&one(&peer.plain(), "", TEMP));
    read.wait("temp", number(1.0)).await;
    peer.listen(false);
    read.text("field.status", "no connection").await;
    peer.set("temp", 2.0, "Double");
    peer.listen(true);
    read.text("field.status", "ok").await;
    read.wait("temp", number(2.0)).await;
}

#[tokio::test]
async fn a_server_that_has_forgotten_everything_is_asked_anew() {
    let mut peer = OpcUaPeer::start();
    peer.set("temp", 1.0, "Double");
    let mut read = Read::start(&one(&peer.plain(), "", TEMP));
    read.wait("temp", number(1.0)).await;
    peer.restart();
    peer.set("temp", 2.0, "Double");
    read.wait("temp", number(2.0)).await;
    assert_eq!(peer.count()["subscriptions"], 1);
    peer.set("temp", 3.0, "Double");
    read.wait("temp", number(3.0)).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let mut peer = OpcUaPeer::start();
    peer.listen(false);
    let mut read = Read::start(&one(&peer.plain(), "", TEMP));
    read.text("field.status", "nothing listens there").await;
    peer.set("temp", 2.0, "Double");
    peer.listen(true);
    read.wait("temp", number(2.0)).await;
}

#[tokio::test]
async fn slow_answers_are_told() {
    let mut peer = OpcUaPeer::start();
    peer.set("temp", 1.0, "Double");
    peer.slow(1_500);
    let mut read = Read::start(&one(&peer.plain(), ", timeout: 500ms", TEMP));
    read.text("field.status", "does not answer").await;
    peer.slow(0);
    read.text("field.status", "ok").await;
    read.wait("temp", number(1.0)).await;
    // In the middle of it, too.
    peer.slow(5_000);
    read.text("field.status", "no").await;
    peer.slow(0);
    read.text("field.status", "ok").await;
    peer.set("temp", 2.0, "Double");
    read.wait("temp", number(2.0)).await;
}
