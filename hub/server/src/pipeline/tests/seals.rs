//! What devices behind a gateway that seals say is kept as it came, and of no other gateway.

use stencil_edge::{Judged, Place};
use stencil_proof::Record;
use stencil_protocol::id::DeviceId;
use stencil_protocol::topic::Topic;

use super::harness::{Entry, Harness, Item, batch, device, gateway, publish_batch};
use crate::Role;

fn freezer() -> DeviceId {
    device("freezer-1")
}

fn payload(first: u64) -> Vec<u8> {
    let at_us = i64::try_from(first).unwrap();
    let items = [
        Item::Number("t", at_us, 1.0),
        Item::Number("t", at_us + 1, 2.0),
    ];
    batch(1, first, first + 1, None, &items)
}

fn sent(first: u64) -> Entry {
    publish_batch(&freezer(), payload(first))
}

fn says(record: &Record) -> Entry {
    let Role::Gateway(id) = gateway() else {
        panic!("a gateway");
    };
    Entry::Publish {
        from: gateway(),
        topic: format!("stencil/v1/g/{id}/seals"),
        payload: record.encode(),
    }
}

#[test]
fn from_where_it_says_so_to_where_it_ends_whatever_is_killed() {
    let begins = Record::Begins {
        epoch: 1,
        certificate: vec![1],
    };
    let log = [
        sent(1),
        says(&begins),
        sent(3),
        // Nothing new in it.
        sent(1),
        sent(3),
        sent(5),
        says(&Record::Ends { epoch: 1 }),
        sent(7),
    ];
    for killed_after in 0..log.len() {
        let mut harness = Harness::new(&log);
        harness.apply(killed_after);
        harness.commit();
        harness.kill();
        let disk = harness.finish();
        let kept: Vec<&[u8]> = disk.batches.iter().map(|kept| &kept.body[..]).collect();
        assert_eq!(kept, [payload(3), payload(5)], "{killed_after}");
        assert_eq!((disk.batches[1].first.0, disk.batches[1].last.0), (5, 6));
        assert_eq!((disk.batches[1].from_us, disk.batches[1].to_us), (5, 6));
    }
}

#[test]
fn what_is_judged_is_kept_as_the_device_sent_it_and_copied_nowhere() {
    let begins = Record::Begins {
        epoch: 1,
        certificate: vec![1],
    };
    let judged = |first: u64| {
        let payload = payload(first);
        let judged = Judged {
            place: Place {
                epoch: 1,
                number: first,
            },
            received_us: 7,
            batch: &payload,
        };
        Entry::Publish {
            from: gateway(),
            topic: Topic::Judged(freezer()).to_string(),
            payload: judged.encode(),
        }
    };
    // One of each form of a record.
    let mut harness = Harness::new(&[says(&begins), judged(1), judged(3), sent(5)]);
    harness.finish();
    let kept: Vec<&[u8]> = harness
        .disk
        .batches
        .iter()
        .map(|kept| &kept.body[..])
        .collect();
    assert_eq!(kept, [payload(1), payload(3), payload(5)]);
    assert!(kept.iter().all(|body| harness.is_of_the_log(body)));
    assert!(!harness.is_of_the_log(&payload(1)));
    let times: Vec<_> = harness
        .disk
        .batches
        .iter()
        .map(|kept| (kept.from_us, kept.to_us))
        .collect();
    assert_eq!(times, [(1, 2), (3, 4), (5, 6)]);
}
