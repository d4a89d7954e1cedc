//! A disk without room: the next file of the spool is a device that is always full.

use std::{path::PathBuf, time::Duration};

use stencil_gateway::Options;
use stencil_protocol::{
    batch::{DropReason, Header, Writer},
    id::{Boot, Seq},
    link::Up,
};

use crate::{
    device::{Device, Told, batch},
    hub::{Hub, ledger},
    place::{Gateway, Place},
};

pub(crate) const SEGMENT_BYTES: u64 = 80_000;
pub(crate) const PENDING_BYTES: u64 = 80_000;

/// Samples of a batch, and how many are sent, none of them acknowledged when the disk is full.
pub(crate) const SAMPLES: u64 = 70;
pub(crate) const WAITING: u64 = 200;

/// A gateway whose spool takes nothing more, neither on disk nor in memory.
pub(crate) struct Full {
    pub(crate) gateway: Gateway,
    device: Device,
    /// How many numbers were acknowledged.
    safe: u64,
    /// What stands in the way.
    pub(crate) next: PathBuf,
}

pub(crate) async fn full(place: &Place, hub: &Hub) -> Full {
    full_with(place, hub, |_| {}).await
}

/// One with other options.
pub(crate) async fn full_with(place: &Place, hub: &Hub, change: impl FnOnce(&mut Options)) -> Full {
    let mut options = place.options(hub);
    change(&mut options);
    options.spool.segment_bytes = SEGMENT_BYTES;
    options.spool.max_pending_bytes = usize::try_from(PENDING_BYTES).unwrap();
    options.link.max_unacknowledged = 1_000;
    let gateway = Gateway::start(options).await;
    let (id, psk) = place.device("freezer-07");
    let mut device = Device::link(gateway.link, &id, &psk).await;
    let (id, psk) = place.device("a");
    let mut small = Device::link(gateway.link, &id, &psk).await;

    let (safe, next, base, record) = fill_first_file(place, &mut device).await;
    for n in 0..WAITING {
        let next = batch(1, 1_000 + safe + n * SAMPLES, SAMPLES);
        device.try_say(&Up::Batch(&next)).await.unwrap();
    }
    gateway.until("spool_healthy", |healthy| healthy == 0).await;
    let full = base + PENDING_BYTES;
    gateway
        .until("spool_bytes", |bytes| bytes > full - record)
        .await;
    // The rest of the memory, by the smallest messages that there are.
    for _ in 0..record / 30 {
        small.try_say(&Up::Batch(&nothing())).await.unwrap();
    }
    gateway
        .until("spool_bytes", |bytes| bytes > full - 45)
        .await;
    Full {
        gateway,
        device,
        safe,
        next,
    }
}

/// Delivers batches until the first file of the spool has room for no other. Returns how many
/// numbers are safe, what stands in the way, where it is, and how long a record is.
pub(crate) async fn fill_first_file(
    place: &Place,
    device: &mut Device,
) -> (u64, PathBuf, u64, u64) {
    // Where the next file begins follows from how long a batch is: all numbers have two bytes.
    let mut safe = 0;
    let records_bytes = || {
        let first = place.folder().join(format!("data/spool/{:020}.log", 0));
        std::fs::metadata(first).unwrap().len() - 32
    };
    let mut lengths = Vec::new();
    for _ in 0..2 {
        device.deliver(1, 1_000 + safe, SAMPLES).await;
        safe += SAMPLES;
        lengths.push(records_bytes());
    }
    let record = lengths[1] - lengths[0];
    let fit = (SEGMENT_BYTES - lengths[1]) / record;
    let base = lengths[1] + fit * record;
    let next = place.folder().join(format!("data/spool/{base:020}.log"));
    std::os::unix::fs::symlink("/dev/full", &next).unwrap();
    for _ in 0..fit {
        device.deliver(1, 1_000 + safe, SAMPLES).await;
        safe += SAMPLES;
    }
    (safe, next, base, record)
}

/// A batch that tells nothing.
fn nothing() -> Vec<u8> {
    let header = Header {
        boot: Boot(1),
        first: Seq(1),
        last_given: Seq(0),
        previous: None,
        dropped: heapless::Vec::new(),
    };
    let mut bytes = [0; 32];
    let length = Writer::new(&mut bytes, &header).unwrap().finish().unwrap();
    bytes[..length].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_up_no_stop() {
    let place = Place::new();
    let hub = Hub::new(&place.authority);
    let Full { gateway, .. } = full(&place, &hub).await;
    // A link is to be reported, and there is no room for that either.
    let (id, psk) = place.device("freezer-08");
    let _other = Device::link(gateway.link, &id, &psk).await;
    gateway
        .until("handshakes_completed_total", |n| n == 3)
        .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_hub_refuses_is_reported_when_there_is_room_again() {
    let place = Place::new();
    let mut hub = Hub::new(&place.authority);
    let full = full(&place, &hub).await;
    hub.options.max_packet_bytes = 600;
    hub.start().await;
    let failed = full.gateway.metric("uplink_failures_total").await;
    full.gateway
        .until("uplink_failures_total", |n| n > failed + 3)
        .await;
    std::fs::remove_file(full.next).unwrap();
    let given = full.safe + WAITING * SAMPLES;
    hub.until(|kept| {
        let ledger = ledger(kept, &full.device.id, Boot(1));
        let refused = ledger.dropped.get(&DropReason::Quarantined);
        refused.is_some_and(|refused| refused.len() == given)
    })
    .await;
    full.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_waits_for_the_disk_is_not_silent() {
    let place = Place::new();
    let hub = Hub::new(&place.authority);
    let idle = Duration::from_millis(1_500);
    let mut options = place.options(&hub);
    options.spool.segment_bytes = SEGMENT_BYTES;
    options.link.idle_timeout_ms = 1_500;
    options.link.max_unacknowledged = 4;
    let gateway = Gateway::start(options).await;
    let (id, psk) = place.device("freezer-07");
    let mut device = Device::link(gateway.link, &id, &psk).await;
    let (safe, next, ..) = fill_first_file(&place, &mut device).await;
    // More than is taken of it while none is on the disk.
    for n in 0..8 {
        let next = batch(1, 1_000 + safe + n * SAMPLES, SAMPLES);
        device.say(&Up::Batch(&next)).await;
    }
    gateway.until("spool_healthy", |healthy| healthy == 0).await;
    tokio::time::sleep(idle * 3).await;
    std::fs::remove_file(next).unwrap();
    let last = Seq(1_000 + safe + 8 * SAMPLES - 1);
    loop {
        match device.told().await {
            Some(Told::Ack(Boot(1), through)) if through == last => break,
            Some(_) => {}
            None => panic!("the link was ended though it was the gateway that did not read"),
        }
    }
    gateway.stop().await;
}
