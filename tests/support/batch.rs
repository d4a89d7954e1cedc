//! Batches as a device writes them.

use stencil_protocol::batch::{Header, MAX_LINK_BYTES, Writer};
use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::sample::{Sample, Value};

/// Samples with these names, numbered from `first` on; each value is its number, and its time
/// that many milliseconds after a fixed one.
pub(crate) fn named(boot: u32, first: u64, names: &[&str]) -> Vec<u8> {
    let last = Seq(first + names.len() as u64 - 1);
    let header = Header {
        boot: Boot(boot),
        first: Seq(first),
        last_given: last,
        previous: None,
        dropped: Default::default(),
    };
    let mut bytes = vec![0; MAX_LINK_BYTES];
    let mut writer = Writer::new(&mut bytes, &header).unwrap();
    for (number, name) in (first..).zip(names) {
        let value = Value::Number(number as f64);
        let time_us = 1_700_000_000_000_000 + i64::try_from(number).unwrap() * 1_000;
        writer
            .push(&Sample {
                name,
                value,
                unit: None,
                time_us,
            })
            .unwrap();
    }
    let length = writer.finish().unwrap();
    bytes.truncate(length);
    bytes
}

/// `count` samples of the series `n`.
pub(crate) fn numbered(boot: u32, first: u64, count: usize) -> Vec<u8> {
    named(boot, first, &vec!["n"; count])
}

/// The bytes with the one place where `from` stands overwritten.
pub(crate) fn patched(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "the rest must stay where it is");
    let places: Vec<usize> = (0..=bytes.len() - from.len())
        .filter(|at| bytes[*at..].starts_with(from))
        .collect();
    assert_eq!(places.len(), 1, "{from:02x?} stands at {places:?}");
    bytes[places[0]..places[0] + to.len()].copy_from_slice(to);
    bytes
}
