use stencil_protocol::{batch::Batch, sample::OwnedValue};

use super::*;

const NOW_US: i64 = 1_800_000_000_000_000;

fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

fn sample(value: i64, time_us: i64) -> OwnedSample {
    OwnedSample {
        name: "n".to_owned(),
        value: OwnedValue::Integer(value),
        unit: None,
        time_us,
    }
}

fn push(numbers: &mut Numbers, name: &str, value: i64) {
    numbers.push(&device(name), Line::ModbusTcp, sample(value, NOW_US), || 77);
}

/// Numbers and values of a batch.
fn held(ready: &Ready) -> Vec<(u64, i64)> {
    let batch = Batch::decode(&ready.batch).unwrap();
    let sample =
        |(seq, sample): (Seq, Result<stencil_protocol::sample::Sample<'_>, _>)| match sample
            .unwrap()
            .value
        {
            stencil_protocol::sample::Value::Integer(n) => (seq.0, n),
            other => panic!("{other:?}"),
        };
    batch.samples().map(sample).collect()
}

#[test]
fn numbers_begin_with_one_and_have_no_gap() {
    let mut numbers = Numbers::new(100, 10_000);
    push(&mut numbers, "a", 5);
    push(&mut numbers, "a", 6);
    let ready = numbers.next(None, Some(NOW_US)).unwrap();
    assert_eq!(held(&ready), [(1, 5), (2, 6)]);
    assert_eq!(Batch::decode(&ready.batch).unwrap().header().boot, Boot(77));
    // The spool had no room: the same again.
    push(&mut numbers, "a", 7);
    let ready = numbers.next(None, Some(NOW_US)).unwrap();
    assert_eq!(held(&ready), [(1, 5), (2, 6), (3, 7)]);
    numbers.done(&ready);
    assert!(numbers.next(None, Some(NOW_US)).is_none());
    assert_eq!(numbers.waiting(), 0);
    push(&mut numbers, "a", 8);
    let ready = numbers.next(None, Some(NOW_US)).unwrap();
    assert_eq!(held(&ready), [(4, 8)]);
}

#[test]
fn each_device_has_numbers_of_its_own_and_its_turn() {
    let mut numbers = Numbers::new(100, 10_000);
    push(&mut numbers, "b", 1);
    push(&mut numbers, "a", 2);
    let first = numbers.next(None, Some(NOW_US)).unwrap();
    assert_eq!(first.device, device("a"));
    let second = numbers.next(Some(&first.device), Some(NOW_US)).unwrap();
    assert_eq!((second.device.as_str(), held(&second)), ("b", vec![(1, 1)]));
    assert!(numbers.next(Some(&second.device), Some(NOW_US)).is_none());
}

#[test]
fn the_oldest_is_dropped_and_reported_until_the_report_is_spooled() {
    let mut numbers = Numbers::new(3, 10_000);
    for value in 1..=5 {
        push(&mut numbers, "a", value);
    }
    assert_eq!((numbers.dropped(), numbers.waiting()), (2, 3));
    let ready = numbers.next(None, Some(NOW_US)).unwrap();
    assert_eq!(held(&ready), [(3, 3), (4, 4), (5, 5)]);
    let dropped = |ready: &Ready| {
        let batch = Batch::decode(&ready.batch).unwrap();
        let runs = batch.header().dropped.iter();
        runs.map(|run| (run.first.0, run.count, run.reason))
            .collect::<Vec<_>>()
    };
    assert_eq!(dropped(&ready), [(1, 2, DropReason::BufferFull)]);
    // Not spooled, and one more dropped.
    push(&mut numbers, "a", 6);
    let ready = numbers.next(None, Some(NOW_US)).unwrap();
    assert_eq!(dropped(&ready), [(1, 3, DropReason::BufferFull)]);
    numbers.done(&ready);
    push(&mut numbers, "a", 7);
    let ready = numbers.next(None, Some(NOW_US)).unwrap();
    assert_eq!((dropped(&ready), held(&ready)), (vec![], vec![(7, 7)]));
}

#[test]
fn what_fits_into_no_batch_goes_into_the_next() {
    let mut numbers = Numbers::new(10_000, 10_000);
    for value in 0..1_000 {
        push(&mut numbers, "a", value);
    }
    let mut seen = Vec::new();
    while let Some(ready) = numbers.next(None, Some(NOW_US)) {
        assert!(ready.batch.len() <= MAX_BYTES);
        seen.extend(held(&ready));
        numbers.done(&ready);
    }
    let all: Vec<(u64, i64)> = (1..=1_000).zip(0..).collect();
    assert_eq!(seen, all);
}

#[test]
fn what_was_read_before_the_clock_was_set_waits_for_it_and_is_dated_back() {
    let mut numbers = Numbers::new(10, 10_000);
    numbers.push(&device("a"), Line::ModbusTcp, sample(1, 5_000_000), || 1);
    assert!(numbers.next(None, None).is_none());
    assert_eq!(numbers.waiting(), 1);
    let ready = numbers.next(None, Some(NOW_US)).unwrap();
    let batch = Batch::decode(&ready.batch).unwrap();
    let (_, sample) = batch.samples().next().unwrap();
    let ago_us = NOW_US - sample.unwrap().time_us;
    assert!((0..60_000_000).contains(&ago_us), "{ago_us}");
}

#[test]
fn all_together_are_bounded_and_who_has_most_loses_one() {
    let mut numbers = Numbers::new(100, 5);
    for value in 1..=5 {
        push(&mut numbers, "a", value);
    }
    push(&mut numbers, "b", 6);
    assert_eq!((numbers.waiting(), numbers.dropped()), (5, 1));
    let a = numbers.next(None, Some(NOW_US)).unwrap();
    assert_eq!(held(&a), [(2, 2), (3, 3), (4, 4), (5, 5)]);
    let b = numbers.next(Some(&a.device), Some(NOW_US)).unwrap();
    assert_eq!(held(&b), [(1, 6)]);
    // One device alone gives up its own.
    let mut numbers = Numbers::new(100, 2);
    for value in 1..=3 {
        push(&mut numbers, "a", value);
    }
    assert_eq!(
        held(&numbers.next(None, Some(NOW_US)).unwrap()),
        [(2, 2), (3, 3)]
    );
}
