//! A restart changes nothing but the connections.

use stencil_server::Service;

use crate::support::{Sampled, TestHub, batch, device, tenant};

const TOPIC: &str = "stencil/v1/d/freezer-1/batch";

#[tokio::test]
async fn state_goes_on_where_it_was() {
    let test = TestHub::start().await;
    let gateway = test.gateway("gw-1").await;
    gateway
        .publish(TOPIC, batch(1, 1, &[Sampled("t", 1.0, 5_000_000)]))
        .await
        .unwrap();
    drop(gateway);

    let test = test.restart().await;
    let gateway = test.gateway("gw-1").await;
    // The old one again, an older value, and a new one.
    gateway
        .publish(TOPIC, batch(1, 1, &[Sampled("t", 1.0, 5_000_000)]))
        .await
        .unwrap();
    gateway
        .publish(TOPIC, batch(1, 2, &[Sampled("t", 2.0, 4_000_000)]))
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();
    let (store, acme, freezer) = (test.hub().store(), tenant("acme"), device("freezer-1"));
    let ledger = store
        .ledger
        .of_device(&acme, &freezer, None, 10)
        .await
        .unwrap();
    assert_eq!(ledger.items.len(), 1);
    assert_eq!(ledger.items[0].ledger.duplicate, 1);
    assert_eq!(ledger.items[0].ledger.stored.len(), 2);
    let latest = store.devices.latest(&acme, &freezer).await.unwrap();
    assert_eq!(latest[0].time_us, 5_000_000);
    assert!(test.hub().readiness().ready, "{:?}", test.hub().readiness());
}

#[tokio::test]
async fn a_log_that_has_lost_its_end_goes_on_behind_what_the_store_has_seen() {
    let test = TestHub::start().await;
    let gateway = test.gateway("gw-1").await;
    for seq in 1..=5 {
        let reading = batch(1, seq, &[Sampled("t", 1.0, 5_000_000)]);
        gateway.publish(TOPIC, reading).await.unwrap();
    }
    test.hub().caught_up().await.unwrap();
    drop(gateway);
    let options = test.hub().options().clone();
    test.running.shutdown().await.unwrap();
    // The end of the segment is gone, and with it every note on how long the log was.
    let log = options.data_dir.join("log");
    std::fs::remove_file(log.join("synced")).unwrap();
    let segment = log.join(format!("{:020}.log", 0));
    let bytes = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &bytes[..bytes.len() / 2]).unwrap();

    let running = Service::start(options).await.unwrap();
    let test = TestHub {
        dir: test.dir,
        running,
    };
    let gateway = test.gateway("gw-1").await;
    let reading = batch(1, 6, &[Sampled("t", 1.0, 6_000_000)]);
    gateway.publish(TOPIC, reading).await.unwrap();
    test.hub().caught_up().await.unwrap();
    let (store, acme, freezer) = (test.hub().store(), tenant("acme"), device("freezer-1"));
    let ledger = store
        .ledger
        .of_device(&acme, &freezer, None, 10)
        .await
        .unwrap();
    assert_eq!(ledger.items[0].ledger.stored.len(), 6);
}
