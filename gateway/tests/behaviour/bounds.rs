//! The spool's bound: the oldest is dropped, and every dropped number is reported.

use stencil_protocol::{batch::DropReason, id::Boot, link::Up};

use crate::{
    device::{Device, batch},
    hub::{Hub, ledger},
    place::{Gateway, Place, spool_bytes},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_spool_cannot_hold_is_reported_by_number() {
    let place = Place::new();
    let mut hub = Hub::new(&place.authority);
    let mut options = place.options(&hub);
    options.spool.segment_bytes = 80_000;
    options.spool.max_bytes = 240_000;
    let gateway = Gateway::start(options.clone()).await;
    let (id, psk) = place.device("freezer-07");
    let (other, other_psk) = place.device("freezer-08");
    let mut device = Device::link(gateway.link, &id, &psk).await;
    let mut second = Device::link(gateway.link, &other, &other_psk).await;
    for n in 0..1_500 {
        device.deliver(1, 1 + n * 50, 50).await;
        if n % 10 == 0 {
            second.deliver(7, 1 + n / 10, 1).await;
        }
    }
    assert!(spool_bytes(&place.folder()) <= 240_000 + 1_000);
    assert!(gateway.metric("samples_lost_total").await > 10_000);
    // Also over a restart nothing of it is forgotten.
    gateway.stop().await;
    let gateway = Gateway::start(options).await;

    hub.start().await;
    let given = 1_500 * 50;
    let all = |ledger: &stencil_protocol::ledger::BootLedger| {
        let dropped = ledger
            .dropped
            .get(&DropReason::SpoolFull)
            .map_or(0, |lost| lost.len());
        (ledger.stored.len(), dropped)
    };
    let kept = hub
        .until(|kept| {
            let (stored, dropped) = all(&ledger(kept, &id, Boot(1)));
            let (second_stored, second_dropped) = all(&ledger(kept, &other, Boot(7)));
            stored + dropped == given && second_stored + second_dropped == 150
        })
        .await;
    for (device, boot) in [(&id, Boot(1)), (&other, Boot(7))] {
        let ledger = ledger(&kept, device, boot);
        assert!(ledger.gaps().is_empty(), "{device}");
        assert_eq!(ledger.duplicate, 0);
        let (stored, dropped) = all(&ledger);
        assert!(stored > 0 && dropped > 0);
        assert!(
            ledger
                .stored
                .intersect(&ledger.dropped[&DropReason::SpoolFull])
                .is_empty()
        );
    }
    gateway
        .until("spool_waiting_bytes", |bytes| bytes == 0)
        .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_sends_without_waiting_is_held_back_not_dropped() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let mut options = place.options(&hub);
    options.link.max_unacknowledged = 2;
    let gateway = Gateway::start(options).await;
    let (id, psk) = place.device("freezer-07");
    let mut device = Device::link(gateway.link, &id, &psk).await;
    for n in 0..300 {
        device.say(&Up::Batch(&batch(1, 1 + n * 10, 10))).await;
    }
    let kept = hub
        .until(|kept| ledger(kept, &id, Boot(1)).stored.len() == 3_000)
        .await;
    assert_eq!(ledger(&kept, &id, Boot(1)).duplicate, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_hub_will_never_take_is_reported_and_holds_up_nothing() {
    let place = Place::new();
    let mut hub = Hub::new(&place.authority);
    hub.options.max_packet_bytes = 600;
    hub.start().await;
    let gateway = place.gateway(&hub).await;
    let (id, psk) = place.device("freezer-07");
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.deliver(1, 1, 70).await;
    device.deliver(1, 71, 5).await;
    let kept = hub
        .until(|kept| {
            let ledger = ledger(kept, &id, Boot(1));
            ledger.stored.len() == 5 && ledger.gaps().is_empty()
        })
        .await;
    let ledger = ledger(&kept, &id, Boot(1));
    assert_eq!(ledger.dropped[&DropReason::Quarantined].len(), 70);
    assert_eq!(gateway.metric("publishes_refused_total").await, 1);
    assert_eq!(gateway.metric("samples_lost_total").await, 70);
    gateway.stop().await;
}
