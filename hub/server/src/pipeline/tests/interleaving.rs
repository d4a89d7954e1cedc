//! Whatever comes twice, late, cut differently or out of order: the same is stored.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stencil_protocol::id::Boot;

use super::harness::{Entry, Harness, Item, batch, device, publish_batch, since_1970};
use crate::PipelineOptions;

const DEVICES: [&str; 2] = ["freezer-1", "freezer-2"];

/// A run of numbers that is sent together: device, boot, first number, count.
#[derive(Debug, Clone, Copy)]
struct Sent {
    device: usize,
    boot: u32,
    first: u64,
    count: u64,
}

/// Each number has its own time, so that its point tells which it is.
fn time_us(boot: u32, seq: u64) -> i64 {
    i64::from(boot) * 1_000_000 + i64::try_from(seq).unwrap() * 1_000
}

impl Sent {
    fn entry(self) -> Entry {
        let items: Vec<Item> = (self.first..self.first + self.count)
            .map(|seq| Item::Number("t", time_us(self.boot, seq), seq as f64))
            .collect();
        let last = self.first + self.count - 1;
        publish_batch(
            &device(DEVICES[self.device]),
            batch(self.boot, self.first, last, None, &items),
        )
    }

    fn numbers(self) -> impl Iterator<Item = (usize, u32, u64)> {
        (self.first..self.first + self.count).map(move |seq| (self.device, self.boot, seq))
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    (0..DEVICES.len(), 1..6_u32, 1..40_u64, 1..12_u64).prop_map(|(device, boot, first, count)| {
        Sent {
            device,
            boot,
            first,
            count,
        }
    })
}

/// What happens between two records.
#[derive(Debug, Clone, Copy)]
enum Between {
    Nothing,
    Commit,
    Kill,
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        Just(Between::Nothing),
        Just(Between::Commit),
        Just(Between::Kill)
    ]
}

proptest! {
    #[test]
    fn each_number_is_stored_once(
        sent in prop::collection::vec(sent(), 1..30),
        repeated in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        between in prop::collection::vec(between(), 1..80),
        max_boots in 1..4_usize,
    ) {
        let mut all = sent.clone();
        for index in repeated {
            let at = index.index(all.len());
            let again = sent[index.index(sent.len())];
            all.insert(at, again);
        }
        let log: Vec<Entry> = all.iter().map(|sent| sent.entry()).collect();
        let bounds = PipelineOptions { max_boots, ..since_1970() };
        let mut harness = Harness::with(&log, bounds, &[]);
        for step in &between {
            harness.apply(1);
            match step {
                Between::Nothing => {}
                Between::Commit => harness.commit(),
                Between::Kill => harness.kill(),
            }
        }
        let disk = harness.finish();

        let mut expected: BTreeMap<(usize, u32), Vec<u64>> = BTreeMap::new();
        let mut numbers: Vec<_> = all.iter().flat_map(|sent| sent.numbers()).collect();
        let arrived = numbers.len() as u64;
        numbers.sort_unstable();
        numbers.dedup();
        for (device, boot, seq) in &numbers {
            expected.entry((*device, *boot)).or_default().push(*seq);
        }

        // The ledgers know exactly what was sent, and how often.
        prop_assert_eq!(disk.ledgers.len(), expected.len());
        for ((at, boot), seqs) in &expected {
            let ledger = &disk.ledgers[&(device(DEVICES[*at]), Boot(*boot))];
            let stored: Vec<u64> = ledger.stored.iter().flatten().collect();
            prop_assert_eq!(&stored, seqs);
            prop_assert!(ledger.dropped.is_empty());
        }
        let duplicates: u64 = disk.ledgers.values().map(|ledger| ledger.duplicate).sum();
        prop_assert_eq!(duplicates, arrived - numbers.len() as u64);

        // There is one point for each number, and none else.
        let mut points: Vec<_> =
            disk.points.iter().map(|point| (point.device.clone(), point.time_us)).collect();
        points.sort_unstable();
        let mut wanted: Vec<_> = numbers
            .iter()
            .map(|(at, boot, seq)| (device(DEVICES[*at]), time_us(*boot, *seq)))
            .collect();
        wanted.sort_unstable();
        prop_assert_eq!(points, wanted);

        // The latest value is the newest by its own time, not the last that came.
        for (at, name) in DEVICES.iter().enumerate() {
            let newest = numbers.iter().filter(|number| number.0 == at);
            let newest = newest.map(|(_, boot, seq)| time_us(*boot, *seq)).max();
            let twin = disk.twins.get(&(device(name), "t".to_owned()));
            prop_assert_eq!(twin.map(|twin| twin.time_us), newest);
        }
    }

    #[test]
    fn nothing_that_comes_makes_it_panic(
        topics in prop::collection::vec(0..6_usize, 1..8),
        payload in prop::collection::vec(any::<u8>(), 0..200),
        flipped in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let good = batch(1, 1, 3, None, &[Item::Number("t", 1, 1.0), Item::Number("t", 2, 2.0)]);
        let mut damaged = good;
        let at = flipped.index(damaged.len());
        damaged[at] ^= with;
        let mut log = Vec::new();
        for topic in topics {
            let topic = [
                "stencil/v1/d/a/batch",
                "stencil/v1/d/a/status",
                "stencil/v1/d/a/loss",
                "stencil/v1/d/a/link",
                "v1/devices/me/telemetry",
                "elsewhere",
            ][topic];
            for payload in [&payload, &damaged] {
                let (topic, payload) = (topic.to_owned(), payload.clone());
                log.push(Entry::Publish { from: super::harness::gateway(), topic, payload });
            }
        }
        Harness::new(&log).finish();
    }
}
