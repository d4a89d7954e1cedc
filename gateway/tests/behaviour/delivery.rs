//! A batch from the device to the hub, and what is freed when.

use std::time::{Duration, Instant};

use stencil_crypto::Suite;
use stencil_protocol::{id::Boot, link::Up, report::Link};

use crate::{
    device::{Device, Told, batch},
    field::{device, mapping},
    hub::{Hub, batches, ledger, link_events},
    place::{Gateway, Place, get, spool_bytes},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_passes_byte_for_byte_and_frees_the_spool() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("freezer-07");
    let gateway = place.gateway(&hub).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;

    let sent = batch(3, 1, 20);
    device.say(&Up::Batch(&sent)).await;
    assert!(matches!(device.told().await, Some(Told::Ack(Boot(3), through)) if through.0 == 20));
    let kept = hub.until(|kept| !batches(kept, &id).is_empty()).await;
    let kept_batch = batches(&kept, &id)[0];
    assert_eq!(kept_batch.payload, sent);
    let suite = ("link-suite".to_owned(), Suite::DEFAULT.name().to_owned());
    assert_eq!(kept_batch.user_properties, [suite]);

    let events = link_events(&kept, &id);
    assert_eq!(
        events[0].event,
        Link::Connected {
            suite: Suite::DEFAULT.id()
        }
    );
    assert_eq!(events[0].gateway.as_str(), "gw-1");

    gateway
        .until("spool_waiting_bytes", |bytes| bytes == 0)
        .await;
    assert_eq!(gateway.metric("publishes_acknowledged_total").await, 2);
    assert_eq!(get(gateway.http, "/readyz").await, (200, "ok\n".to_owned()));

    // A batch that only reports is acknowledged, too: up to the number before its first.
    let empty = {
        let mut bytes = [0; 64];
        let header = stencil_protocol::batch::Header {
            boot: Boot(3),
            first: stencil_protocol::id::Seq(21),
            last_given: stencil_protocol::id::Seq(20),
            previous: None,
            dropped: heapless::Vec::new(),
        };
        let writer = stencil_protocol::batch::Writer::new(&mut bytes, &header).unwrap();
        let length = writer.finish().unwrap();
        bytes[..length].to_vec()
    };
    device.say(&Up::Batch(&empty)).await;
    assert!(matches!(device.told().await, Some(Told::Ack(Boot(3), through)) if through.0 == 20));

    drop(device);
    hub.until(|kept| link_events(kept, &id).len() == 2).await;
    assert_eq!(link_events(&hub.kept(), &id)[1].event, Link::Disconnected);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_freed_before_the_hub_has_acknowledged() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    hub.hold();
    let (id, psk) = place.device("freezer-07");
    let gateway = place.gateway(&hub).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.deliver(1, 1, 10).await;
    hub.until(|kept| !batches(kept, &id).is_empty()).await;
    assert_eq!(gateway.metric("publishes_acknowledged_total").await, 0);
    assert!(gateway.metric("spool_waiting_bytes").await > 0);
    gateway.stop().await;

    // Never acknowledged, so published again by the next life of the gateway.
    hub.release();
    let gateway = place.gateway(&hub).await;
    hub.until(|kept| batches(kept, &id).len() == 2).await;
    gateway
        .until("spool_waiting_bytes", |bytes| bytes == 0)
        .await;
    gateway.stop().await;

    // Acknowledged, so not published again by the one after.
    let gateway = place.gateway(&hub).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.deliver(1, 11, 1).await;
    let kept = hub.until(|kept| batches(kept, &id).len() == 3).await;
    assert_eq!(ledger(&kept, &id, Boot(1)).duplicate, 10);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_served_while_the_hub_is_away() {
    let place = Place::new();
    let mut hub = Hub::new(&place.authority);
    let (id, psk) = place.device("freezer-07");
    let mut options = place.options(&hub);
    options.spool.segment_bytes = 1 << 20;
    let gateway = crate::place::Gateway::start(options).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    for n in 0..200 {
        device.deliver(1, 1 + n * 10, 10).await;
    }
    let (status, why) = get(gateway.http, "/readyz").await;
    assert_eq!(status, 503);
    assert!(why.starts_with("uplink: not connected to the hub"), "{why}");
    assert_eq!(get(gateway.http, "/livez").await.0, 200);

    hub.start().await;
    let kept = hub.until(|kept| batches(kept, &id).len() >= 200).await;
    let firsts: Vec<u64> = batches(&kept, &id)
        .iter()
        .map(|kept| {
            stencil_protocol::batch::Batch::decode(&kept.payload)
                .unwrap()
                .header()
                .first
                .0
        })
        .collect();
    assert!(firsts.is_sorted(), "in order");

    // Away again in the middle of the stream, without a goodbye, and with an unsynced end.
    for round in 0..3_u64 {
        hub.hold();
        for n in 0..50 {
            device.deliver(1, 2001 + (round * 50 + n) * 10, 10).await;
        }
        hub.crash().await;
        hub.release();
        hub.start().await;
    }
    let given = 2000 + 3 * 50 * 10;
    let kept = hub
        .until(|kept| ledger(kept, &id, Boot(1)).stored.len() == given)
        .await;
    let ledger = ledger(&kept, &id, Boot(1));
    assert!(ledger.gaps().is_empty());
    gateway
        .until("spool_waiting_bytes", |bytes| bytes == 0)
        .await;
    let folder = place.folder();
    gateway.stop().await;
    assert!(spool_bytes(&folder) < 1 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spool_is_freed_file_by_file() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("freezer-07");
    let mut options = place.options(&hub);
    options.spool.segment_bytes = 70_000;
    let gateway = crate::place::Gateway::start(options).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    for n in 0..400 {
        device.deliver(1, 1 + n * 100, 100).await;
    }
    gateway
        .until("spool_waiting_bytes", |bytes| bytes == 0)
        .await;
    gateway.until("spool_bytes", |bytes| bytes < 70_000).await;
    assert!(gateway.metric("samples_spooled_total").await == 40_000);
    gateway.stop().await;
}

/// Two copies of one gateway: the hub lets in whoever came last. Each connection gets something
/// through, and that alone does not make the next pause a short one.
#[tokio::test(flavor = "multi_thread")]
async fn two_copies_of_one_gateway_take_turns_ever_more_slowly() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let copy = |data: &str, port: u16| {
        let mut options = place.options(&hub);
        options.hub.max_backoff_ms = 10_000;
        options.data_dir = place.folder().join(data);
        options.field.mapping = Some(mapping(&place, data, port, 1));
        options
    };
    let begun = Instant::now();
    let one = Gateway::start(copy("one", device().await)).await;
    let other = Gateway::start(copy("other", device().await)).await;
    one.until("uplink_connects_total", |times| times >= 6).await;
    // Five pauses, each at least half of 0.2, 0.4, 0.8, 1.6 and 3.2 seconds.
    assert!(begun.elapsed() >= Duration::from_millis(3_100));
    one.stop().await;
    other.stop().await;
}
