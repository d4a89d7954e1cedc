//! A batch is acknowledged, stored and readable; the same again is only counted.

use stencil_protocol::id::Boot;
use stencil_protocol::sample::OwnedValue;

use crate::support::{Sampled, TestHub, batch, device, tenant};

const SUITE: &str = "X25519MLKEM768-CHACHA20-POLY1305-SHA256";

#[tokio::test]
async fn a_batch_becomes_points_a_latest_value_and_a_ledger() {
    let test = TestHub::start().await;
    let gateway = test.gateway("gw-1").await;
    let now_us = test.hub().now_us();
    let samples = [
        Sampled("temperature", -18.5, now_us - 2_000_000),
        Sampled("temperature", -18.0, now_us),
    ];
    let payload = batch(1, 1, &samples);
    gateway
        .publish_with(
            "stencil/v1/d/freezer-1/batch",
            payload,
            &[("link-suite", SUITE)],
        )
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();

    let (store, acme, freezer) = (test.hub().store(), tenant("acme"), device("freezer-1"));
    let points = store
        .series
        .range(&acme, &freezer, "temperature", 0, i64::MAX, 10)
        .await
        .unwrap();
    assert_eq!(points.len(), 2);
    assert_eq!(points[1].value, OwnedValue::Number(-18.0));

    let latest = store.devices.latest(&acme, &freezer).await.unwrap();
    assert_eq!((latest.len(), latest[0].time_us), (1, now_us));
    let link = latest[0].link.as_ref().unwrap();
    assert_eq!(link.group.as_deref(), Some("X25519MLKEM768"));
    assert_eq!(link.suite.as_deref(), Some(SUITE));
    assert!(link.post_quantum, "both hops are");

    let known = store.devices.get(&acme, &freezer).await.unwrap().unwrap();
    assert!(known.numbered);
    assert_eq!(known.gateway.unwrap().as_str(), "gw-1");

    let ledger = store
        .ledger
        .of_device(&acme, &freezer, None, 10)
        .await
        .unwrap();
    assert_eq!(ledger.items[0].boot, Boot(1));
    assert_eq!(ledger.items[0].ledger.stored.len(), 2);
    assert!(ledger.items[0].ledger.gaps().is_empty());
    test.running.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_repeated_batch_is_counted_and_changes_nothing() {
    let test = TestHub::start().await;
    let gateway = test.gateway("gw-1").await;
    let payload = batch(
        1,
        1,
        &[Sampled("t", 1.0, 1_000_000), Sampled("t", 2.0, 2_000_000)],
    );
    for _ in 0..3 {
        gateway
            .publish("stencil/v1/d/freezer-1/batch", payload.clone())
            .await
            .unwrap();
    }
    test.hub().caught_up().await.unwrap();
    let (store, acme, freezer) = (test.hub().store(), tenant("acme"), device("freezer-1"));
    let ledger = store
        .ledger
        .of_device(&acme, &freezer, None, 10)
        .await
        .unwrap();
    assert_eq!(ledger.items[0].ledger.duplicate, 4);
    assert_eq!(ledger.items[0].ledger.stored.len(), 2);
    let points = store
        .series
        .range(&acme, &freezer, "t", 0, i64::MAX, 10)
        .await
        .unwrap();
    assert_eq!(points.len(), 2);
    assert_eq!(test.hub().metrics().samples_duplicate(), 4);
    let text = test.hub().metrics_text();
    assert!(
        text.contains("stencil_hub_samples_stored_total 2\n"),
        "{text}"
    );
    assert!(
        text.contains("stencil_hub_mqtt_acknowledged_publishes_total 3\n"),
        "{text}"
    );
    // It is read without a token.
    for name in ["acme", "freezer", "gw-1", "stencil/v1"] {
        assert!(!text.contains(name), "{name} is in {text}");
    }
}

#[tokio::test]
async fn late_values_never_hide_newer_ones() {
    let test = TestHub::start().await;
    let gateway = test.gateway("gw-1").await;
    let topic = "stencil/v1/d/freezer-1/batch";
    gateway
        .publish(topic, batch(1, 2, &[Sampled("t", 2.0, 2_000_000)]))
        .await
        .unwrap();
    gateway
        .publish(topic, batch(1, 1, &[Sampled("t", 1.0, 1_000_000)]))
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();
    let (store, acme, freezer) = (test.hub().store(), tenant("acme"), device("freezer-1"));
    let latest = store.devices.latest(&acme, &freezer).await.unwrap();
    assert_eq!(latest[0].value, OwnedValue::Number(2.0));
    let points = store
        .series
        .range(&acme, &freezer, "t", 0, i64::MAX, 10)
        .await
        .unwrap();
    let times: Vec<i64> = points.iter().map(|point| point.time_us).collect();
    assert_eq!(times, [1_000_000, 2_000_000]);
}
