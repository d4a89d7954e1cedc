//! A batch comes back as it went in; what is broken costs as little as it can.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod samples;

use proptest::prelude::*;
use samples::{owned_sample, reason};
use stencil_protocol::batch::{
    Batch, Dropped, Error, Full, Header, MAX_SAMPLES, PreviousBoot, Writer,
};
use stencil_protocol::cbor;
use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::sample::{self, OwnedSample, Sample, Value};

fn header(first: u64, last_given: u64) -> Header {
    Header {
        boot: Boot(2),
        first: Seq(first),
        last_given: Seq(last_given),
        previous: None,
        dropped: heapless::Vec::new(),
    }
}

fn write(header: &Header, samples: &[OwnedSample]) -> Vec<u8> {
    let mut buffer = vec![0; 64 * 1024];
    let mut writer = Writer::new(&mut buffer, header).unwrap();
    for sample in samples {
        writer.push(&sample.as_ref()).unwrap();
    }
    let length = writer.finish().unwrap();
    buffer.truncate(length);
    buffer
}

prop_compose! {
    fn any_header()(
        boot in 1u32..,
        first in 1u64..1 << 62,
        beyond in 0u64..1 << 61,
        previous in proptest::option::of((0u64..1 << 62, 0u64..1 << 62)),
        dropped in proptest::collection::vec((0u64..1 << 61, 1u32.., reason()), 0..=8),
    ) -> Header {
        let last_given = first + 1000 + beyond;
        let mut header = header(first, last_given);
        header.boot = Boot(boot);
        header.previous = previous.map(|(a, b)| PreviousBoot {
            boot: Boot(boot - 1), last: Seq(a.max(b)), acked: Seq(a.min(b)),
        });
        for (at, count, reason) in dropped {
            let count = u32::try_from(u64::from(count).min(last_given)).unwrap();
            let room = last_given - u64::from(count);
            let first = Seq(1 + at % (room + 1));
            header.dropped.push(Dropped { first, count, reason }).unwrap();
        }
        header
    }
}

proptest! {
    #[test]
    fn comes_back_as_it_went_in(
        header in any_header(),
        samples in proptest::collection::vec(owned_sample(), 0..60),
    ) {
        let bytes = write(&header, &samples);
        let batch = Batch::decode(&bytes).unwrap();
        prop_assert_eq!(batch.header(), &header);
        prop_assert_eq!(batch.len(), samples.len());
        let given = (header.first.0..).zip(&samples);
        for ((seq, read), (number, sample)) in batch.samples().zip(given) {
            prop_assert_eq!(seq, Seq(number));
            prop_assert_eq!(read, Ok(sample.as_ref()));
        }
    }

    #[test]
    fn any_bytes_give_a_batch_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(batch) = Batch::decode(&bytes) {
            prop_assert_eq!(batch.samples().count(), batch.len());
        }
    }

    /// Each number is accounted for, whatever happens behind the header.
    #[test]
    fn a_disturbed_batch_keeps_its_numbers(
        samples in proptest::collection::vec(owned_sample(), 1..20),
        cut in any::<prop::sample::Index>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let header = header(10, 100);
        let mut bytes = write(&header, &samples);
        // Behind the header and the number of samples, which the base time's
        // eight bytes and the list's three may put at 29 at most.
        let keep = 30.min(bytes.len());
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            if at >= keep {
                bytes[at] ^= byte;
            }
        }
        bytes.truncate(keep + cut.index(bytes.len() - keep + 1));
        let batch = Batch::decode(&bytes).unwrap();
        let seqs: Vec<_> = batch.samples().map(|(seq, _)| seq.0).collect();
        let expected: Vec<_> = (10..10 + samples.len() as u64).collect();
        prop_assert_eq!(seqs, expected);
    }

    /// A buffer that is too small gives a shorter batch, never a broken one.
    #[test]
    fn what_fits_is_whole(
        samples in proptest::collection::vec(owned_sample(), 1..30),
        room in 0usize..600,
    ) {
        let mut buffer = vec![0xee; room];
        let Ok(mut writer) = Writer::new(&mut buffer, &header(1, 100)) else {
            return Ok(());
        };
        let mut taken = Vec::new();
        for sample in &samples {
            match writer.push(&sample.as_ref()) {
                Ok(()) => taken.push(sample.as_ref()),
                Err(full) => prop_assert!(
                    matches!(full, Full::Bytes | Full::Sample(sample::Error::Time)), "{full}"
                ),
            }
        }
        prop_assert_eq!(writer.len(), taken.len());
        let length = writer.finish().unwrap();
        let batch = Batch::decode(&buffer[..length]).unwrap();
        let read: Vec<_> = batch.samples().map(|(_, sample)| sample.unwrap()).collect();
        prop_assert_eq!(read, taken);
    }
}

fn reading(name: &str) -> Sample<'_> {
    Sample {
        name,
        value: Value::Number(0.5),
        unit: Some("V"),
        time_us: 1_000,
    }
}

#[test]
fn a_name_is_sent_once() {
    let mut buffer = [0; 1024];
    let mut writer = Writer::new(&mut buffer, &header(1, 64)).unwrap();
    for index in 0..64 {
        writer
            .push(&Sample {
                time_us: index,
                ..reading("temperature")
            })
            .unwrap();
    }
    let length = writer.finish().unwrap();
    let bytes = &buffer[..length];
    assert_eq!(bytes.windows(11).filter(|w| w == b"temperature").count(), 1);
    let batch = Batch::decode(bytes).unwrap();
    assert!(batch.samples().all(|(_, s)| s.unwrap().unit == Some("V")));
}

#[test]
fn more_names_than_are_remembered() {
    let names: Vec<String> = (0..40).map(|n| format!("name-{}", n % 20)).collect();
    let samples: Vec<OwnedSample> = names.iter().map(|n| reading(n).into()).collect();
    let bytes = write(&header(1, 40), &samples);
    let batch = Batch::decode(&bytes).unwrap();
    let read: Vec<_> = batch
        .samples()
        .map(|(_, s)| s.unwrap().name.to_owned())
        .collect();
    assert_eq!(read, names);
}

#[test]
fn the_numbers_have_to_fit_together() {
    let mut buffer = [0; 256];
    let mut wrong = |header: &Header| Writer::new(&mut buffer, header).unwrap_err();
    assert!(matches!(wrong(&header(1, u64::MAX)), Error::Numbers(_)));
    let mut same_boot = header(1, 1);
    same_boot.previous = Some(PreviousBoot {
        boot: Boot(2),
        last: Seq(1),
        acked: Seq(1),
    });
    assert!(matches!(wrong(&same_boot), Error::Numbers(_)));
    let mut more_acked = header(1, 1);
    more_acked.previous = Some(PreviousBoot {
        boot: Boot(1),
        last: Seq(1),
        acked: Seq(2),
    });
    assert!(matches!(wrong(&more_acked), Error::Numbers(_)));

    let mut writer = Writer::new(&mut buffer, &header(5, 5)).unwrap();
    writer.push(&reading("a")).unwrap();
    assert_eq!(writer.push(&reading("a")), Err(Full::Number));
    let mut writer = Writer::new(&mut buffer, &header(0, 5)).unwrap();
    assert_eq!(writer.push(&reading("a")), Err(Full::Number));
}

#[test]
fn the_most_samples_and_one_more() {
    let mut buffer = vec![0; 64 * 1024];
    let mut writer = Writer::new(&mut buffer, &header(1, 1000)).unwrap();
    for _ in 0..MAX_SAMPLES {
        writer.push(&reading("a")).unwrap();
    }
    assert_eq!(writer.push(&reading("a")), Err(Full::Samples));
    let length = writer.finish().unwrap();
    assert_eq!(
        Batch::decode(&buffer[..length]).unwrap().samples().count(),
        MAX_SAMPLES
    );
}

/// `{0: 1, 1: 1, 2: 9, 5: 0, 6: <samples>}`, by hand.
fn with_samples(samples: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xa5, 0x00, 0x01, 0x01, 0x01, 0x02, 0x09, 0x05, 0x00, 0x06];
    bytes.extend_from_slice(samples);
    bytes
}

fn read(samples: &[u8]) -> Vec<Result<f64, sample::Error>> {
    let bytes = with_samples(samples);
    let batch = Batch::decode(&bytes).unwrap();
    batch
        .samples()
        .map(|(_, s)| s.map(|s| s.value.as_f64().unwrap()))
        .collect()
}

#[test]
fn a_bad_sample_costs_only_itself() {
    // ["a", 0, 1], then one that breaks something, then [0, 0, 1] that refers back.
    let around = |bad: &[u8]| {
        let mut samples = vec![0x83, 0x83, 0x61, b'a', 0x00, 0x01];
        samples.extend_from_slice(bad);
        samples.extend_from_slice(&[0x83, 0x00, 0x00, 0x01]);
        let read = read(&samples);
        assert_eq!((read[0], read[2]), (Ok(1.0), Ok(1.0)), "{bad:x?}");
        read[1].unwrap_err()
    };
    assert_eq!(around(&[0x83, 0x60, 0x00, 0x01]), sample::Error::NameEmpty);
    assert_eq!(
        around(&[0x83, 0x07, 0x00, 0x01]),
        sample::Error::UnknownName { index: 7 }
    );
    assert_eq!(around(&[0x83, 0x00, 0x00, 0xf6]), sample::Error::Kind);
    assert_eq!(around(&[0x83, 0x00, 0x00, 0x81, 0x01]), sample::Error::Kind);
    assert_eq!(
        around(&[0x83, 0x00, 0x00, 0xf9, 0x7e, 0x00]),
        sample::Error::NotFinite
    );
    assert_eq!(around(&[0x83, 0x00, 0xf5, 0x01]), sample::Error::Time);
    assert_eq!(around(&[0x82, 0x00, 0x00]), sample::Error::Shape);
    assert_eq!(around(&[0x01]), sample::Error::Shape);
    assert_eq!(around(&[0xa1, 0x00, 0x00]), sample::Error::Shape);
    let huge = [
        0x83, 0x00, 0x00, 0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ];
    assert_eq!(around(&huge), sample::Error::IntegerRange);
}

/// The bytes that devices in the field send: a change here needs a new version.
#[test]
fn the_wire_form_stays() {
    let mut header = header(7, 9);
    header.previous = Some(PreviousBoot {
        boot: Boot(1),
        last: Seq(300),
        acked: Seq(298),
    });
    let reason = stencil_protocol::batch::DropReason::BufferFull;
    header
        .dropped
        .push(Dropped {
            first: Seq(5),
            count: 2,
            reason,
        })
        .unwrap();
    let sample = |value, unit, time_us| OwnedSample {
        unit,
        time_us,
        ..Sample {
            name: "t",
            value,
            unit: None,
            time_us: 0,
        }
        .into()
    };
    let unit = Some("degC".to_owned());
    let bytes = write(
        &header,
        &[
            sample(Value::Number(-18.5), unit.clone(), 1_000_000),
            sample(Value::Number(0.1), unit, 2_000_000),
            sample(Value::Bool(true), None, 999_999),
        ],
    );
    let expected = [
        // {0: 2, 1: 7, 2: 9, 3: [1, 300, 298], 4: [[5, 2, 0]], 5: 1000000, 6: […3]}
        &[0xa7, 0x00, 0x02, 0x01, 0x07, 0x02, 0x09, 0x03, 0x83, 0x01][..],
        &[
            0x19, 0x01, 0x2c, 0x19, 0x01, 0x2a, 0x04, 0x81, 0x83, 0x05, 0x02, 0x00,
        ],
        &[0x05, 0x1a, 0x00, 0x0f, 0x42, 0x40, 0x06, 0x99, 0x00, 0x03],
        // ["t", 0, -18.5 in single precision, "degC"]
        &[
            0x84, 0x61, b't', 0x00, 0xfa, 0xc1, 0x94, 0x00, 0x00, 0x64, b'd', b'e', b'g', b'C',
        ],
        // [0, 1000000, 0.1]
        &[0x83, 0x00, 0x1a, 0x00, 0x0f, 0x42, 0x40],
        &[0xfb, 0x3f, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a],
        // ["t", -1, true]: without a unit it is another definition
        &[0x83, 0x61, b't', 0x20, 0xf5],
    ]
    .concat();
    assert_eq!(bytes, expected);
}

#[test]
fn a_bad_definition_is_still_one() {
    // ["", 0, 1] is index 0; ["a", 0, null] is index 1; [1, 0, 5] is fine.
    let read = read(&[
        0x83, 0x83, 0x60, 0x00, 0x01, 0x83, 0x61, b'a', 0x00, 0xf6, 0x83, 0x01, 0x00, 0x05,
    ]);
    assert_eq!(
        read,
        [
            Err(sample::Error::NameEmpty),
            Err(sample::Error::Kind),
            Ok(5.0)
        ]
    );
}

#[test]
fn what_breaks_takes_the_rest_with_it() {
    // Three announced; the second is cut.
    let read = read(&[0x83, 0x83, 0x61, b'a', 0x00, 0x01, 0x83, 0x00]);
    assert_eq!(read[0], Ok(1.0));
    assert!(matches!(
        read[1],
        Err(sample::Error::Broken(cbor::Error::End { .. }))
    ));
    assert_eq!(read[1], read[2]);
}

#[test]
fn later_versions_may_add_fields() {
    // {0: 1, 1: 1, 2: 9, 9: {1: [2]}, "x": 3, 5: 0, 6: [["a", 0, 1, "V", 7]], 7: 1}
    let bytes = [
        0xa8, 0x00, 0x01, 0x01, 0x01, 0x02, 0x09, 0x09, 0xa1, 0x01, 0x81, 0x02, 0x61, b'x', 0x03,
        0x05, 0x00, 0x06, 0x81, 0x85, 0x61, b'a', 0x00, 0x01, 0x61, b'V', 0x07, 0x07, 0x01,
    ];
    let batch = Batch::decode(&bytes).unwrap();
    let (_, sample) = batch.samples().next().unwrap();
    assert_eq!(sample.unwrap().unit, Some("V"));
}

#[test]
fn what_a_batch_lacks_is_named() {
    for (bytes, error) in [
        (&[0xa0][..], cbor::Error::Missing { field: "samples" }),
        (&[0xa1, 0x06, 0x80], cbor::Error::Missing { field: "boot" }),
        (&[0xa2, 0x00, 0x01, 0x00], cbor::Error::End { at: 4 }),
        (
            &[0xa2, 0x00, 0x01, 0x00, 0x01],
            cbor::Error::Twice { field: "boot" },
        ),
        (
            &[0x80],
            cbor::Error::Unexpected {
                at: 0,
                expected: "a batch: a map",
            },
        ),
        (
            &[0xbf, 0xff],
            cbor::Error::Unexpected {
                at: 0,
                expected: "a map of definite length",
            },
        ),
        (
            &[0xa1, 0x06, 0x99, 0x01, 0x01],
            cbor::Error::TooLong {
                field: "samples",
                max: MAX_SAMPLES,
            },
        ),
        (
            &[0xa1, 0x06, 0x81],
            cbor::Error::Unexpected {
                at: 2,
                expected: "the base time before",
            },
        ),
    ] {
        assert_eq!(
            Batch::decode(bytes).unwrap_err(),
            Error::Cbor(error),
            "{bytes:x?}"
        );
    }
    let long = vec![0; 64 * 1024 + 1];
    assert!(matches!(
        Batch::decode(&long),
        Err(Error::Cbor(cbor::Error::TooLong { field: "batch", .. }))
    ));
}
