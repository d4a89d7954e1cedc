//! A device that lost its memory begins anew, with a boot number of its own: which of two boots has
//! the higher number says nothing.

use std::iter;

use stencil_protocol::batch::DropReason;
use stencil_protocol::id::Boot;

use super::harness::{
    Disk, Entry, Harness, Item, batch, device, previous, publish_batch, since_1970,
};
use crate::PipelineOptions;

const NAME: &str = "freezer-1";

/// Ten batches of two samples, with what they say of the boot before.
fn boot(boot: u32, before: Option<(u32, u64, u64)>) -> impl Iterator<Item = Entry> {
    (0..10_u32).map(move |at| {
        let first = u64::from(at) * 2 + 1;
        let time_us = i64::from(boot) * 1_000 + i64::from(at) * 2;
        let items = [time_us, time_us + 1].map(|time_us| Item::Number("t", time_us, 1.0));
        let before = before.map(|(boot, last, acked)| previous(boot, last, acked));
        publish_batch(&device(NAME), batch(boot, first, first + 1, before, &items))
    })
}

fn stored(disk: &Disk, boot: u32) -> Vec<u64> {
    let ledger = &disk.ledgers[&(device(NAME), Boot(boot))];
    assert_eq!(ledger.duplicate, 0, "boot {boot}");
    ledger.stored.iter().flatten().collect()
}

#[test]
fn all_that_it_measures_afterwards_is_stored() {
    let log: Vec<Entry> = iter::empty()
        .chain(boot(900, None))
        .chain(boot(901, Some((900, 25, 20))))
        .chain(boot(902, Some((901, 20, 20))))
        // Its memory is lost.
        .chain(boot(7, None))
        .chain(boot(8, Some((7, 21, 20))))
        .collect();
    let bounds = PipelineOptions {
        max_boots: 2,
        ..since_1970()
    };
    let mut harness = Harness::with(&log, bounds, &[]);
    for _ in &log {
        harness.apply(1);
        harness.commit();
    }
    // The boots that it runs in are at hand, though others have higher numbers: each of the two
    // that began when some had been let go was asked for once.
    assert_eq!(harness.fetched, 2);
    let disk = harness.finish();
    let all: Vec<u64> = (1..=20).collect();
    for boot in [900, 901, 902, 7, 8] {
        assert_eq!(stored(disk, boot), all);
    }
    assert_eq!(disk.points.len(), 100);
    assert_eq!(disk.dropped(&device(NAME), 7, DropReason::Reboot), [21]);
    assert!(disk.quarantined.is_empty(), "{:?}", disk.quarantined);
}

#[test]
fn a_boot_before_may_have_a_higher_number() {
    let log: Vec<Entry> = boot(900, None)
        .chain(boot(7, Some((900, 22, 20))))
        .collect();
    let mut harness = Harness::new(&log);
    let disk = harness.finish();
    assert!(disk.quarantined.is_empty(), "{:?}", disk.quarantined);
    let lost = disk.dropped(&device(NAME), 900, DropReason::Reboot);
    assert_eq!(lost, [21, 22]);
    assert!(disk.ledgers[&(device(NAME), Boot(900))].gaps().is_empty());
}
