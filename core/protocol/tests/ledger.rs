//! The ledger against a model that keeps each number on its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod samples;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stencil_protocol::batch::{DropReason, Dropped, PreviousBoot};
use stencil_protocol::id::{Boot, DeviceId, Seq};
use stencil_protocol::ledger::{Arrival, BootLedger};
use stencil_protocol::ranges::RangeSet;
use stencil_protocol::report::LossReport;

#[derive(Clone, Debug)]
enum Event {
    Store(u64),
    Drop(Dropped),
    Announce(u64),
    Close(u64, u64),
    Erase,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1u64..60).prop_map(Event::Store),
        2 => (1u64..60, 1u32..10, samples::reason())
            .prop_map(|(f, count, reason)| Event::Drop(Dropped { first: Seq(f), count, reason })),
        1 => (0u64..80).prop_map(Event::Announce),
        1 => (0u64..80, 0u64..80).prop_map(|(a, b)| Event::Close(a.min(b), a.max(b))),
    ]
}

fn event_or_erasure() -> impl Strategy<Value = Event> {
    prop_oneof![20 => event(), 1 => Just(Event::Erase)]
}

#[derive(Default)]
struct Model {
    stored: BTreeSet<u64>,
    dropped: BTreeMap<u64, DropReason>,
    duplicate: u64,
    last: u64,
}

impl Model {
    fn give_up(&mut self, numbers: std::ops::RangeInclusive<u64>, reason: DropReason) {
        self.last = self.last.max(*numbers.end());
        for number in numbers {
            if !self.stored.contains(&number) {
                self.dropped.entry(number).or_insert(reason);
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Store(n) if self.dropped.get(&n) == Some(&DropReason::Erased) => {}
            Event::Store(n) => {
                self.last = self.last.max(n);
                self.dropped.remove(&n);
                if !self.stored.insert(n) {
                    self.duplicate += 1;
                }
            }
            Event::Drop(d) => self.give_up(d.first.0..=d.last().0, d.reason),
            Event::Announce(n) => self.last = self.last.max(n),
            Event::Close(acked, last) => self.give_up(acked + 1..=last, DropReason::Reboot),
            Event::Erase => {
                self.stored.clear();
                self.duplicate = 0;
                let all = 1..=self.last;
                self.dropped = all.map(|number| (number, DropReason::Erased)).collect();
            }
        }
    }
}

fn numbers(set: &RangeSet) -> BTreeSet<u64> {
    set.iter().flatten().collect()
}

fn ledger(events: &[Event]) -> BootLedger {
    let mut ledger = BootLedger::default();
    for event in events {
        match *event {
            Event::Store(n) => {
                let known = ledger.stored.contains(n);
                let arrival = ledger.store(Seq(n));
                assert_eq!(arrival == Arrival::Duplicate, known);
            }
            Event::Drop(dropped) => ledger.drop(dropped),
            Event::Announce(n) => ledger.announce(Seq(n)),
            Event::Close(acked, last) => {
                ledger.close(&PreviousBoot {
                    boot: Boot(1),
                    last: Seq(last),
                    acked: Seq(acked),
                });
            }
            Event::Erase => {
                let last = ledger.last_given;
                ledger.erase();
                assert_eq!(ledger.is_erased(), last.0 > 0);
            }
        }
    }
    ledger
}

proptest! {
    #[test]
    fn is_the_model(events in proptest::collection::vec(event_or_erasure(), 0..60)) {
        let mut model = Model::default();
        events.iter().for_each(|event| model.apply(event));
        let ledger = ledger(&events);
        prop_assert_eq!(numbers(&ledger.stored), model.stored.clone());
        prop_assert_eq!(ledger.duplicate, model.duplicate);
        prop_assert_eq!(ledger.last_given.0, model.last);
        let dropped: BTreeMap<u64, DropReason> = ledger
            .dropped
            .iter()
            .flat_map(|(&reason, set)| set.iter().flatten().map(move |n| (n, reason)))
            .collect();
        prop_assert_eq!(&dropped, &model.dropped);
        let gaps: BTreeSet<u64> = (1..=model.last)
            .filter(|n| !model.stored.contains(n) && !model.dropped.contains_key(n))
            .collect();
        prop_assert_eq!(numbers(&ledger.gaps()), gaps);
        // given = stored + dropped + gaps
        let sum = ledger.stored.len()
            + ledger.dropped_by_reason().values().sum::<u64>()
            + ledger.gaps().len();
        prop_assert_eq!(sum, model.last);

        let bytes = minicbor::to_vec(&ledger).unwrap();
        prop_assert_eq!(&minicbor::decode::<BootLedger>(&bytes).unwrap(), &ledger);
        let json = serde_json::to_string(&ledger).unwrap();
        prop_assert_eq!(serde_json::from_str::<BootLedger>(&json).unwrap(), ledger);
    }

    /// What is stored in the end does not depend on the order of arrival.
    #[test]
    fn stored_always_wins(
        (events, shuffled) in proptest::collection::vec(event(), 0..40)
            .prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle()))
    ) {
        let (one, other) = (ledger(&events), ledger(&shuffled));
        prop_assert_eq!(&one.stored, &other.stored);
        prop_assert_eq!(one.gaps(), other.gaps());
    }
}

#[test]
fn a_boot_that_ended_badly() {
    let mut ledger = BootLedger::default();
    for n in 1..=5 {
        ledger.store(Seq(n));
    }
    // 10 were given, 4 acknowledged; 5 had arrived nonetheless, 7 still comes.
    ledger.close(&PreviousBoot {
        boot: Boot(1),
        last: Seq(10),
        acked: Seq(4),
    });
    assert_eq!(ledger.dropped_by_reason(), [(DropReason::Reboot, 5)].into());
    assert_eq!(ledger.store(Seq(7)), Arrival::New);
    assert_eq!(ledger.dropped_by_reason(), [(DropReason::Reboot, 4)].into());
    assert!(ledger.gaps().is_empty());
    assert_eq!(
        serde_json::to_value(&ledger).unwrap(),
        serde_json::json!({
            "stored": [[1, 5], [7, 7]],
            "dropped": {"reboot": [[6, 6], [8, 10]]},
            "duplicate": 0,
            "last_given": 10,
        })
    );
}

#[test]
fn what_was_erased_stays_explained_and_never_comes_back() {
    let mut ledger = BootLedger::default();
    ledger.store(Seq(1));
    ledger.store(Seq(1));
    ledger.announce(Seq(4));
    ledger.erase();
    assert!(ledger.is_erased() && ledger.gaps().is_empty());
    assert_eq!(ledger.store(Seq(1)), Arrival::Erased);
    // Given before, and on its way still: measured before the erasure, too.
    assert_eq!(ledger.store(Seq(4)), Arrival::Erased);
    assert_eq!(ledger.store(Seq(5)), Arrival::New);
    assert!(!ledger.is_erased() && ledger.gaps().is_empty());
    assert_eq!(
        serde_json::to_value(&ledger).unwrap(),
        serde_json::json!({
            "stored": [[5, 5]],
            "dropped": {"erased": [[1, 4]]},
            "duplicate": 0,
            "last_given": 5,
        })
    );
    let mut nothing = BootLedger::default();
    nothing.erase();
    assert_eq!(nothing, BootLedger::default());
}

#[test]
fn nobody_else_may_say_that_a_number_was_erased() {
    let erased = Dropped {
        first: Seq(1),
        count: u32::MAX,
        reason: DropReason::Erased,
    };
    assert!(erased.check().is_err());
    let report = LossReport {
        device: DeviceId::parse("freezer-1").unwrap(),
        boot: Boot(1),
        dropped: vec![erased],
    };
    let bytes = report.encode().unwrap();
    let read = LossReport::decode(&bytes).unwrap_err();
    assert!(read.to_string().contains("known are 0 to 5"), "{read}");
}

#[test]
fn a_strangers_claims_cost_little() {
    let mut ledger = BootLedger::default();
    let reason = DropReason::BufferFull;
    ledger.drop(Dropped {
        first: Seq(1),
        count: u32::MAX,
        reason,
    });
    ledger.announce(Seq::MAX);
    ledger.close(&PreviousBoot {
        boot: Boot(1),
        last: Seq(u64::MAX),
        acked: Seq(u64::MAX),
    });
    assert_eq!(ledger.spans(), 1);
    assert_eq!(ledger.gaps().spans(), 1);
}
