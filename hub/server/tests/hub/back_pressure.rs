//! What is full holds clients back, loses nothing, and recovers by itself.

use stencil_server::Service;

use crate::support::{Client, Sampled, TestHub, batch, device, tenant};

const MIB: u64 = 1024 * 1024;
const SAMPLES: u64 = 250;
const BATCHES: u64 = 700;

/// All batches of one device at once, as fast as the hub lets them in.
async fn flood(gateway: &Client, name: &str) {
    let topic = format!("stencil/v1/d/{name}/batch");
    let publishes = (0..BATCHES).map(|at| {
        let first = at * SAMPLES + 1;
        let samples: Vec<Sampled> = (first..first + SAMPLES)
            .map(|seq| Sampled("t", seq as f64 * 0.1, i64::try_from(seq).unwrap()))
            .collect();
        gateway.publish(&topic, batch(1, first, &samples))
    });
    for acknowledged in futures_util::future::join_all(publishes).await {
        acknowledged.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_holds_clients_back_and_takes_more_when_it_has_room() {
    let max_bytes = 5 * MIB;
    let test = TestHub::start_with(|options| {
        options.mqtt.max_packet_bytes = 16 * 1024;
        options.log.segment_bytes = 256 * 1024;
        options.log.keep_bytes = 0;
        options.log.max_bytes = max_bytes;
        // Slower than the clients, so that the log fills: four records, each of which is what one
        // read of a socket brought, fifty times a second.
        options.pipeline.commit_interval_ms = 20;
        options.pipeline.max_commit_records = 4;
    })
    .await;
    let names = ["a", "b", "c", "d"];
    let mut gateways = Vec::new();
    for name in names {
        gateways.push(test.gateway(&format!("gw-{name}")).await);
    }
    futures_util::future::join_all(
        gateways
            .iter()
            .zip(names)
            .map(|(gateway, name)| flood(gateway, name)),
    )
    .await;
    test.hub().caught_up().await.unwrap();
    assert!(
        test.hub().metrics().ingest_refusals() > 0,
        "the log was never full"
    );
    for name in names {
        let store = test.hub().store();
        let ledger = store
            .ledger
            .of_device(&tenant("acme"), &device(name), None, 1)
            .await
            .unwrap();
        let ledger = &ledger.items[0].ledger;
        assert_eq!(ledger.stored.len(), SAMPLES * BATCHES);
        assert!(ledger.gaps().is_empty());
    }
    let text = test.hub().metrics_text();
    let bytes = text
        .lines()
        .find_map(|line| line.strip_prefix("stencil_hub_log_bytes "));
    assert!(
        bytes.unwrap().parse::<u64>().unwrap() <= MIB,
        "it is trimmed: {bytes:?}"
    );
    assert!(test.hub().readiness().ready);
}

#[tokio::test]
async fn a_full_store_stalls_the_pipeline_and_reading_goes_on() {
    let test = TestHub::start_with(|options| {
        options.store.max_bytes = Some(MIB);
        options.pipeline.commit_interval_ms = 0;
    })
    .await;
    let gateway = test.gateway("gw-1").await;
    let topic = "stencil/v1/d/freezer-1/batch";
    // Fills the store with what it must keep; each is acknowledged, because the log has it.
    let mut next = 1;
    while test.hub().readiness().ready && next < 5_000 {
        gateway.publish(topic, vec![0xff; 4_000]).await.unwrap();
        let time_us = i64::try_from(next).unwrap() * 1_000;
        gateway
            .publish(topic, batch(1, next, &[Sampled("t", 1.0, time_us)]))
            .await
            .unwrap();
        next += 1;
    }
    let readiness = test.hub().readiness();
    assert!(!readiness.ready, "the store never filled up");
    let problem = readiness
        .checks
        .iter()
        .find_map(|check| check.problem.clone())
        .unwrap();
    assert!(problem.contains("no room"), "{problem}");
    // Reading still works.
    let (acme, freezer) = (tenant("acme"), device("freezer-1"));
    let store = test.hub().store();
    assert!(store.devices.get(&acme, &freezer).await.unwrap().is_some());

    // With room, a restart applies what was acknowledged.
    let mut options = test.hub().options().clone();
    options.store.max_bytes = None;
    test.running.shutdown().await.unwrap_err();
    let running = Service::start(options).await.unwrap();
    running.hub().caught_up().await.unwrap();
    let ledger = running
        .hub()
        .store()
        .ledger
        .of_device(&acme, &freezer, None, 1)
        .await
        .unwrap();
    assert_eq!(ledger.items[0].ledger.stored.len(), next - 1);
    running.shutdown().await.unwrap();
    drop(test.dir);
}
