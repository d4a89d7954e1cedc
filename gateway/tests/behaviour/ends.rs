//! A gateway that ends, with numbers of field devices in its memory or in a spool that loses its end:
//! the hub learns at the next start which are missing.

use std::{collections::BTreeSet, path::PathBuf};

use stencil_gateway::Options;
use stencil_protocol::{
    batch::{Batch, DropReason},
    id::{Boot, DeviceId},
    ledger::BootLedger,
    link::Up,
};
use tokio::sync::watch;

use crate::{
    device::{Device, batch},
    field::{self, batches, books, device, device_once, mapping},
    full_disk::{Full, PENDING_BYTES, SAMPLES, SEGMENT_BYTES, WAITING, fill_first_file, full},
    hub::{Hub, Kept, ledger},
    kill::Process,
    place::{Gateway, Place, metric, until},
};

fn press() -> DeviceId {
    DeviceId::parse("press-1").unwrap()
}

/// All boots of a device that were told of.
fn boots(kept: &[Kept], device: &DeviceId) -> Vec<(Boot, BootLedger)> {
    let boot = |kept: &Kept| Batch::decode(&kept.payload).unwrap().header().boot;
    let boots: BTreeSet<Boot> = batches(kept, device).map(boot).collect();
    let book = |boot| (boot, ledger(kept, device, boot));
    boots.into_iter().map(book).collect()
}

/// Returns when of the first boot that was told of so many numbers are known to be lost with the
/// gateway's memory, and all are accounted for.
async fn until_lost(hub: &Hub, at_least: u64) {
    hub.until(|kept| {
        let Some(books) = books(kept, &press()) else {
            return false;
        };
        let lost = books.dropped.get(&DropReason::Reboot);
        lost.is_some_and(|lost| lost.len() >= at_least) && books.gaps().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_full_disk_at_a_stop_is_named_at_the_next_start() {
    let place = Place::new();
    let mut hub = Hub::new(&place.authority);
    let Full { gateway, next, .. } = full(&place, &hub).await;
    let press = mapping(&place, "press-1", device().await, 100);
    gateway.running.replace_mapping(&press).await.unwrap();
    gateway
        .until("field_samples_dropped_total", |dropped| dropped > 500)
        .await;
    let dropped = gateway.metric("field_samples_dropped_total").await;
    gateway.stop().await;
    std::fs::remove_file(next).unwrap();
    let gateway = place.gateway(&hub).await;
    hub.start().await;
    until_lost(&hub, dropped + 1_024).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_full_disk_at_a_kill_is_named_at_the_next_start() {
    let place = Place::new();
    let mut hub = Hub::new(&place.authority);
    let mut options = place.options(&hub);
    options.spool.segment_bytes = SEGMENT_BYTES;
    options.spool.max_pending_bytes = usize::try_from(PENDING_BYTES).unwrap();
    options.link.max_unacknowledged = 1_000;
    let (answers, answering) = watch::channel(false);
    let port = device_once(answering).await;
    options.field.mapping = Some(mapping(&place, "press-1", port, 100));
    let mut gateway = Process::start(&options, "").await;
    let (id, psk) = place.device("freezer-07");
    let mut device = Device::link(gateway.link, &id, &psk).await;
    let (safe, next, ..) = fill_first_file(&place, &mut device).await;
    for n in 0..WAITING {
        let next = batch(1, 1_000 + safe + n * SAMPLES, SAMPLES);
        device.try_say(&Up::Batch(&next)).await.unwrap();
    }
    until(gateway.http, "spool_healthy", |healthy| healthy == 0).await;
    answers.send_replace(true);
    until(gateway.http, "field_samples_dropped_total", |n| n > 500).await;
    gateway.kill();
    std::fs::remove_file(next).unwrap();
    options.field.mapping = None;
    let gateway = Process::start(&options, "").await;
    hub.start().await;
    // All but what was read since it was noted last.
    until_lost(&hub, 1_000).await;
    drop(gateway);
}

/// A gateway that was killed with readings in its spool that the hub has not got: the last file of the
/// spool, and the options to start it again.
async fn killed_with_a_spool(place: &Place, hub: &Hub) -> (PathBuf, Options) {
    let mut options = place.options(hub);
    options.field.mapping = Some(mapping(place, "press-1", device().await, 3));
    let mut gateway = Process::start(&options, "").await;
    until(gateway.http, "samples_spooled_total", |n| n > 30).await;
    // How far the numbers had come then is noted by the time some more are there.
    let spooled = metric(gateway.http, "samples_spooled_total").await;
    until(gateway.http, "samples_spooled_total", |n| n > spooled + 30).await;
    gateway.kill();
    let last = place.folder().join(format!("data/spool/{:020}.log", 0));
    (last, options)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_at_a_damaged_end_of_the_spool_is_named() {
    let place = Place::new();
    let mut hub = Hub::new(&place.authority);
    let (last, options) = killed_with_a_spool(&place, &hub).await;
    let mut bytes = std::fs::read(&last).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    std::fs::write(&last, bytes).unwrap();
    let gateway = Process::start(&options, "").await;
    hub.start().await;
    hub.until(|kept| {
        let Some(books) = books(kept, &press()) else {
            return false;
        };
        let damaged = books.dropped.get(&DropReason::SpoolDamaged);
        damaged.is_some_and(|damaged| damaged.len() > 10) && books.gaps().is_empty()
    })
    .await;
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_a_spool_that_is_empty_after_a_kill_are_missed() {
    let place = Place::new();
    let mut hub = Hub::new(&place.authority);
    let (last, options) = killed_with_a_spool(&place, &hub).await;
    std::fs::OpenOptions::new()
        .write(true)
        .open(&last)
        .unwrap()
        .set_len(32)
        .unwrap();
    let gateway = Process::start(&options, "").await;
    hub.start().await;
    hub.until(|kept| {
        let mut boots = boots(kept, &press()).into_iter();
        // Also when the device has spoken again, in another boot.
        boots.len() == 2 && boots.any(|(_, books)| books.gaps().len() > 30)
    })
    .await;
    drop(gateway);
}

/// A hub that was restored from an older backup has forgotten what it had got.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_boot_ended_is_told_again_though_the_hub_had_got_all() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let mut options = place.options(&hub);
    options.field.mapping = Some(mapping(&place, "press-1", device().await, 3));
    let gateway = Gateway::start(options.clone()).await;
    hub.until(|kept| batches(kept, &press()).count() > 2).await;
    gateway.stop().await;
    // The device is silent from now on.
    let (_silent, never) = watch::channel(false);
    let port = device_once(never).await;
    mapping(&place, "press-1", port, 3);
    let gateway = Gateway::start(options).await;
    let press = press();
    let kept = hub
        .until(|kept| {
            let last = batches(kept, &press).last().unwrap();
            Batch::decode(&last.payload).unwrap().is_empty()
        })
        .await;
    let all = books(&kept, &press).unwrap();
    let told = batches(&kept, &press).last().unwrap();
    let told = Batch::decode(&told.payload).unwrap().header().clone();
    assert_eq!(Some(told.boot), field::boot(&kept, &press));
    assert_eq!(Some(told.last_given.0), all.stored.last());
    assert!(told.dropped.is_empty(), "all of it was on disk");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_and_kills_on_a_good_disk_leave_no_gap() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let mut options = place.options(&hub);
    options.field.mapping = Some(mapping(&place, "press-1", device().await, 3));
    let more = async |starts: usize| {
        hub.until(|kept| {
            let boots = boots(kept, &press());
            boots.len() == starts && boots.iter().all(|(_, books)| books.stored.len() > 3)
        })
        .await
    };
    for starts in 1..=3 {
        let gateway = Gateway::start(options.clone()).await;
        let kept = more(starts).await;
        for (_, books) in boots(&kept, &press()) {
            assert!(books.dropped.is_empty(), "stopped in order: {books:?}");
        }
        gateway.stop().await;
    }
    for starts in 4..=6 {
        let mut gateway = Process::start(&options, "").await;
        more(starts).await;
        gateway.kill();
    }
    let gateway = Gateway::start(options).await;
    hub.until(|kept| {
        let boots = boots(kept, &press());
        boots.len() == 7 && boots.iter().all(|(_, books)| books.gaps().is_empty())
    })
    .await;
    gateway.stop().await;
}
