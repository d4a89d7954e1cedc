//! A hub process that is killed at the worst moments loses nothing and stores nothing twice.

use std::path::Path;

use stencil_protocol::ledger::BootLedger;
use stencil_server::Service;
use stencil_store::{RunFilter, Store};

use crate::support::{
    Client, HubProcess, Sampled, batch, device, gateway, options, prepare, tenant,
};

const TOPIC: &str = "stencil/v1/d/freezer-1/batch";

async fn store(data_dir: &Path) -> Store {
    stencil_store::sqlite::open(stencil_server::Layout::new(data_dir).store())
        .await
        .unwrap()
        .store()
}

async fn ledger(store: &Store) -> BootLedger {
    let of = store
        .ledger
        .of_device(&tenant("acme"), &device("freezer-1"), None, 10)
        .await;
    of.unwrap().items[0].ledger.clone()
}

fn sample(seq: u64) -> Vec<u8> {
    let time_us = 1_700_000_000_000_000 + i64::try_from(seq).unwrap() * 1_000_000;
    batch(1, seq, &[Sampled("temperature", 5.0, time_us)])
}

/// Sends numbers one by one to hubs that die at `crash` each time, and what was not acknowledged
/// again; at least ten, and until one has died. Returns how many.
async fn send_through_crashes(data_dir: &Path, crash: &str) -> u64 {
    prepare(data_dir).await;
    let files =
        stencil_server::add_gateway(data_dir, &tenant("acme"), &gateway("gw-1"), data_dir).unwrap();
    let (mut next, mut deaths) = (1, 0);
    while next <= 10 || deaths == 0 {
        let hub = HubProcess::start(data_dir, crash);
        let client = Client::with_certificate("gw-1", hub.strict, &files).await;
        while client.publish(TOPIC, sample(next)).await.is_ok() {
            next += 1;
            assert!(next < 10_000, "the crash point was never reached");
        }
        hub.died();
        deaths += 1;
    }
    next - 1
}

/// Lets a hub come up, go on, and end well.
async fn settle(data_dir: &Path) {
    let running = Service::start(options(data_dir)).await.unwrap();
    running.hub().caught_up().await.unwrap();
    running.shutdown().await.unwrap();
}

async fn each_number_is_stored_once_through(crash: &str) {
    let dir = tempfile::tempdir().unwrap();
    let sent = send_through_crashes(dir.path(), crash).await;
    settle(dir.path()).await;
    let store = store(dir.path()).await;
    let ledger = ledger(&store).await;
    // The number that was sent when the last hub died may or may not have made it to the log.
    assert!(
        (sent..=sent + 1).contains(&ledger.stored.len()),
        "{sent} {ledger:?}"
    );
    assert!(ledger.gaps().is_empty());
    let freezer = device("freezer-1");
    let points = store
        .series
        .range(
            &tenant("acme"),
            &freezer,
            "temperature",
            0,
            i64::MAX,
            20_000,
        )
        .await;
    assert_eq!(points.unwrap().len() as u64, ledger.stored.len());
}

#[tokio::test]
async fn between_commit_and_puback() {
    each_number_is_stored_once_through("mqtt.before_puback:3").await;
}

#[tokio::test]
async fn before_the_pipeline_commits() {
    each_number_is_stored_once_through("pipeline.before_commit:2").await;
}

#[tokio::test]
async fn after_the_pipeline_has_committed() {
    each_number_is_stored_once_through("pipeline.after_commit:2").await;
}

#[tokio::test]
async fn a_resend_after_a_lost_puback_is_a_duplicate() {
    let dir = tempfile::tempdir().unwrap();
    send_through_crashes(dir.path(), "mqtt.before_puback:3").await;
    settle(dir.path()).await;
    let ledger = ledger(&store(dir.path()).await).await;
    assert!(
        ledger.duplicate > 0,
        "the number that was on disk but not acknowledged came again"
    );
}

#[tokio::test]
async fn a_rule_fires_once_through_kills() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path()).await;
    let running = Service::start(options(dir.path())).await.unwrap();
    let yaml = "id: warm\nversion: 1\n\
        on: { telemetry: { devices: \"freezer-*\", name: temperature } }\n\
        when: { above: 0, for: 5s }\n\
        steps:\n  - id: page\n    use: content.upsert\n    \
        with: { collection: notices, key: warm, set: { at: \"{{ event.seq }}\" } }\n";
    running
        .hub()
        .put_workflow(&tenant("acme"), yaml)
        .await
        .unwrap();
    running.shutdown().await.unwrap();
    let files =
        stencil_server::add_gateway(dir.path(), &tenant("acme"), &gateway("gw-1"), dir.path())
            .unwrap();
    let mut next = 1;
    for crash in [
        "pipeline.before_commit:2",
        "pipeline.after_commit:3",
        "mqtt.before_puback:2",
    ] {
        let hub = HubProcess::start(dir.path(), crash);
        let client = Client::with_certificate("gw-1", hub.strict, &files).await;
        while client.publish(TOPIC, sample(next)).await.is_ok() {
            next += 1;
        }
        hub.died();
    }
    let running = Service::start(options(dir.path())).await.unwrap();
    let client = Client::with_certificate("gw-1", running.addresses().strict, &files).await;
    for seq in next..next + 10 {
        client.publish(TOPIC, sample(seq)).await.unwrap();
    }
    running.hub().caught_up().await.unwrap();
    let acme = tenant("acme");
    let filter = RunFilter::default();
    let runs = running
        .hub()
        .store()
        .runs
        .list(&acme, &filter, None, 10)
        .await
        .unwrap();
    assert_eq!(runs.items.len(), 1, "{:?}", runs.items);
    assert_eq!(
        runs.items[0].event["seq"], 6,
        "five seconds after the first"
    );
    running.shutdown().await.unwrap();
}
