//! What a revoked device sends is accounted for and not taken, from its place in the log on.

use stencil_protocol::batch::DropReason;
use stencil_protocol::id::{Boot, DeviceId};
use stencil_protocol::report::LossReport;

use super::harness::{Entry, Harness, Item, batch, device, gateway, publish_batch};
use crate::Role;

fn freezer() -> DeviceId {
    device("freezer-1")
}

/// A batch of two numbers.
fn sent(first: u64) -> Entry {
    let at_us = i64::try_from(first).unwrap();
    let items = [
        Item::Number("t", at_us, 1.0),
        Item::Number("t", at_us + 1, 2.0),
    ];
    publish_batch(&freezer(), batch(1, first, first + 1, None, &items))
}

/// Two batches, then it is revoked; two more, and then it is taken again.
fn log() -> Vec<Entry> {
    vec![
        sent(1),
        sent(3),
        Entry::Admit(freezer(), true),
        sent(5),
        sent(7),
        sent(5),
        Entry::Admit(freezer(), false),
        sent(9),
    ]
}

#[test]
fn its_numbers_are_dropped_for_that_reason_and_the_first_is_set_aside() {
    let mut harness = Harness::new(&log());
    let disk = harness.finish();
    assert_eq!(disk.points.len(), 6);
    assert_eq!(
        disk.dropped(&freezer(), 1, DropReason::Revoked),
        [5, 6, 7, 8]
    );
    let ledger = &disk.ledgers[&(freezer(), Boot(1))];
    assert!(ledger.gaps().is_empty(), "{ledger:?}");
    assert_eq!(disk.quarantined.len(), 1, "{:?}", disk.quarantined);
    assert_eq!(disk.quarantined[0].reason, "device freezer-1 was revoked");
}

#[test]
fn a_kill_anywhere_changes_nothing_of_that() {
    let log = log();
    let mut whole = Harness::new(&log);
    let whole = whole.finish().clone();
    for committed in 0..=log.len() {
        for applied in committed..=log.len() {
            let mut harness = Harness::new(&log);
            harness.apply(committed);
            harness.commit();
            harness.apply(applied - committed);
            harness.kill();
            let disk = harness.finish();
            assert_eq!(disk.ledgers, whole.ledgers, "{committed}, {applied}");
            assert_eq!(disk.points.len(), whole.points.len());
            assert_eq!(disk.quarantined.len(), 1, "{committed}, {applied}");
        }
    }
}

#[test]
fn others_and_what_its_gateway_says_of_it_are_taken() {
    let other = device("freezer-2");
    let items = [Item::Number("t", 1, 1.0)];
    let loss = LossReport {
        device: freezer(),
        boot: Boot(1),
        dropped: vec![stencil_protocol::batch::Dropped {
            first: stencil_protocol::id::Seq(5),
            count: 1,
            reason: DropReason::SpoolFull,
        }],
    };
    let log = [
        sent(1),
        Entry::Admit(freezer(), true),
        publish_batch(&other, batch(1, 1, 1, None, &items)),
        Entry::Publish {
            from: gateway(),
            topic: "stencil/v1/d/freezer-1/loss".to_owned(),
            payload: loss.encode().unwrap(),
        },
    ];
    let mut harness = Harness::new(&log);
    let disk = harness.finish();
    assert_eq!(disk.points.len(), 3);
    assert_eq!(disk.dropped(&freezer(), 1, DropReason::SpoolFull), [5]);
    assert!(disk.quarantined.is_empty(), "{:?}", disk.quarantined);
}

#[test]
fn a_device_that_was_erased_is_not_made_again_by_what_is_refused() {
    let kiosk = device("kiosk");
    let telemetry = Entry::Publish {
        from: Role::Token(kiosk.clone()),
        topic: "v1/devices/me/telemetry".to_owned(),
        payload: br#"{"t": 1}"#.to_vec(),
    };
    let log = [
        sent(1),
        Entry::Admit(freezer(), true),
        Entry::Admit(kiosk.clone(), true),
        Entry::Erase(freezer()),
        sent(3),
        telemetry,
    ];
    let mut harness = Harness::new(&log);
    let disk = harness.finish();
    assert!(disk.ledgers.is_empty() && disk.points.is_empty() && disk.twins.is_empty());
    let of: Vec<_> = disk
        .quarantined
        .iter()
        .filter_map(|it| it.device.clone())
        .collect();
    assert_eq!(of, [freezer(), kiosk]);
}
