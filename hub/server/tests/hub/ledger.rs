//! Each number that a device gave is accounted for, or shows as a gap.

use stencil_protocol::batch::{DropReason, Dropped};
use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::ledger::BootLedger;
use stencil_protocol::report::LossReport;

use crate::support::{Client, Sampled, TestHub, batch_bytes, device, tenant};

const TOPIC: &str = "stencil/v1/d/freezer-1/batch";

async fn ledger(test: &TestHub) -> BootLedger {
    test.hub().caught_up().await.unwrap();
    let page = test
        .hub()
        .store()
        .ledger
        .of_device(&tenant("acme"), &device("freezer-1"), None, 10)
        .await
        .unwrap();
    assert_eq!(page.items[0].boot, Boot(1));
    page.items[0].ledger.clone()
}

async fn send(client: &Client, first: u64, last_given: u64) {
    let payload = batch_bytes(1, first, last_given, None, &[Sampled("t", 1.0, 1)]);
    client.publish(TOPIC, payload).await.unwrap();
}

#[tokio::test]
async fn a_gap_shows_until_its_numbers_come_or_are_reported_lost() {
    let test = TestHub::start().await;
    let gateway = test.gateway("gw-1").await;
    send(&gateway, 1, 1).await;
    send(&gateway, 5, 6).await;
    let gaps: Vec<u64> = ledger(&test).await.gaps().iter().flatten().collect();
    assert_eq!(gaps, [2, 3, 4, 6]);

    send(&gateway, 6, 6).await;
    let report = LossReport {
        device: device("freezer-1"),
        boot: Boot(1),
        dropped: vec![Dropped {
            first: Seq(2),
            count: 2,
            reason: DropReason::SpoolAge,
        }],
    };
    let bytes = report.encode().unwrap();
    gateway
        .publish("stencil/v1/d/freezer-1/loss", bytes)
        .await
        .unwrap();
    let held = ledger(&test).await;
    assert_eq!(held.gaps().iter().flatten().collect::<Vec<_>>(), [4]);
    assert_eq!(
        held.dropped_by_reason().get(&DropReason::SpoolAge),
        Some(&2)
    );

    // What was given up and comes nonetheless is stored.
    send(&gateway, 2, 6).await;
    let held = ledger(&test).await;
    assert_eq!(
        held.dropped_by_reason().get(&DropReason::SpoolAge),
        Some(&1)
    );
    assert_eq!(held.stored.len(), 4);
}
