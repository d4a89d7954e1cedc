//! A restart changes nothing but the connections.

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
