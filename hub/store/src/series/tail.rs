//! A tail row: the points of one commit that are not in chunks yet.
//!
//! CBOR: an array of groups, one a series:
//!
//! - `[series, points, time, value, time, value, …]`; after the first the times are
//!   differences to the one before.
//! - `[series, null, value, value, …]`: at the times of the group before. A device
//!   measures all it measures at once.
//!
//! A number that is as well said in 32 bits is. The row is written once and read only
//! when the heads are rebuilt, so beyond that it is kept simple rather than small.

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use stencil_protocol::sample::OwnedValue;

use super::value::{self, written};
use crate::{Error, SeriesPoint};

/// Points of one series in a tail row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    /// The series' number.
    pub(crate) series: i64,
    /// Its points, strictly by time.
    pub(crate) points: Vec<SeriesPoint>,
}

/// Encodes the groups of a commit.
pub(crate) fn encode<'a>(groups: impl ExactSizeIterator<Item = &'a Group>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_024);
    written(Encoder::new(&mut out).array(groups.len() as u64));
    let mut last: &[SeriesPoint] = &[];
    for group in groups {
        let count = group.points.len() as u64;
        let mut encoder = Encoder::new(&mut out);
        if group.points.is_empty() || !same_times(last, &group.points) {
            written(
                encoder
                    .array(2 + 2 * count)
                    .and_then(|e| e.i64(group.series)?.u64(count)),
            );
            let mut before = 0_i64;
            for point in &group.points {
                written(Encoder::new(&mut out).i64(point.time_us.wrapping_sub(before)));
                encode_value(&mut out, &point.value);
                before = point.time_us;
            }
        } else {
            written(
                encoder
                    .array(2 + count)
                    .and_then(|e| e.i64(group.series)?.null()),
            );
            for point in &group.points {
                encode_value(&mut out, &point.value);
            }
        }
        last = &group.points;
    }
    out
}

fn same_times(some: &[SeriesPoint], others: &[SeriesPoint]) -> bool {
    let same = |(one, other): (&SeriesPoint, &SeriesPoint)| one.time_us == other.time_us;
    some.len() == others.len() && some.iter().zip(others).all(same)
}

fn encode_value(out: &mut Vec<u8>, value: &OwnedValue) {
    if let OwnedValue::Number(number) = value {
        #[expect(clippy::cast_possible_truncation, reason = "what is lost is looked at")]
        let short = *number as f32;
        // What a NaN says beside that is not kept by a conversion.
        if !number.is_nan() && f64::from(short).to_bits() == number.to_bits() {
            return written(Encoder::new(out).f32(short));
        }
    }
    value::encode(out, value);
}

/// Decodes a tail row.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Group>, Error> {
    decode_groups(&mut Decoder::new(bytes)).map_err(|error| Error::corrupt("series tail", error))
}

fn decode_groups(decoder: &mut Decoder<'_>) -> Result<Vec<Group>, minicbor::decode::Error> {
    let groups = decoder.array()?.unwrap_or_default();
    let mut out: Vec<Group> = Vec::new();
    for _ in 0..groups {
        let fields = decoder.array()?.unwrap_or_default();
        let series = decoder.i64()?;
        let mut points = Vec::new();
        if decoder.datatype()? == Type::Null {
            decoder.null()?;
            let before = out.last().map_or(&[][..], |group| &group.points);
            if before.len() as u64 != fields.saturating_sub(2) {
                return Err(minicbor::decode::Error::message(
                    "a group at the times of another of other length",
                ));
            }
            for at in before {
                points.push(SeriesPoint {
                    time_us: at.time_us,
                    value: value::decode(decoder)?,
                });
            }
        } else {
            let count = decoder.u64()?;
            let mut time_us = 0_i64;
            for _ in 0..count {
                time_us = time_us.wrapping_add(decoder.i64()?);
                points.push(SeriesPoint {
                    time_us,
                    value: value::decode(decoder)?,
                });
            }
        }
        out.push(Group { series, points });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::series::value::tests::any_bits;

    /// Groups of which some have the times of the one before.
    fn groups() -> impl Strategy<Value = Vec<Group>> {
        let own = prop::collection::btree_map(any::<i64>(), any_bits(), 0..20);
        let values = prop::collection::vec(any_bits(), 20);
        let group = (any::<i64>(), own, prop::option::of(values));
        prop::collection::vec(group, 0..5).prop_map(|groups| {
            let mut out: Vec<Group> = Vec::new();
            for (series, own, values) in groups {
                let point = |(time_us, value)| SeriesPoint { time_us, value };
                let points = match (out.last(), values) {
                    (Some(last), Some(values)) => {
                        let times = last.points.iter().map(|point| point.time_us);
                        times.zip(values).map(point).collect()
                    }
                    _ => own.into_iter().map(point).collect(),
                };
                out.push(Group { series, points });
            }
            out
        })
    }

    /// The groups, with numbers as their bits.
    fn bits(groups: &[Group]) -> Vec<(i64, i64, Result<u64, OwnedValue>)> {
        let point = |series: i64, point: &SeriesPoint| match &point.value {
            OwnedValue::Number(n) => (series, point.time_us, Ok(n.to_bits())),
            other => (series, point.time_us, Err(other.clone())),
        };
        let of = |group: &Group| -> Vec<_> {
            let points = group.points.iter();
            points.map(|it| point(group.series, it)).collect()
        };
        groups.iter().flat_map(of).collect()
    }

    proptest! {
        #[test]
        fn groups_come_back_as_they_were(groups in groups()) {
            let bytes = encode(groups.iter());
            let back = decode(&bytes).unwrap();
            prop_assert_eq!(bits(&back), bits(&groups));
            prop_assert_eq!(back.len(), groups.len());
            for end in 0..bytes.len() {
                prop_assert!(decode(&bytes[..end]).is_err());
            }
        }

        #[test]
        fn damage_is_an_error_or_other_points_but_never_a_panic(
            groups in groups(),
            flip in any::<prop::sample::Index>(),
            bits in 1_u8..,
        ) {
            let mut bytes = encode(groups.iter());
            let at = flip.index(bytes.len());
            bytes[at] ^= bits;
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn times_are_said_once_and_numbers_in_as_few_bytes_as_they_need() {
        let group = |series| Group {
            series,
            points: (0..20)
                .map(|n| SeriesPoint {
                    time_us: 1_700_000_000_000_000 + n * 60_000_000,
                    value: OwnedValue::Number(-18.503_723_144_531_25),
                })
                .collect(),
        };
        let one = encode([group(1)].iter()).len();
        let two = encode([group(1), group(2)].iter()).len();
        assert_eq!(two - one, 3 + 20 * 5);
        let long = OwnedValue::Number(0.1);
        let mut out = Vec::new();
        encode_value(&mut out, &long);
        assert_eq!(out.len(), 9);
    }

    /// A row that version 0.1 wrote: every group with its own times, every number in 64 bits.
    #[test]
    fn rows_of_version_0_1_are_read() {
        let bytes = hex::decode("8286010205fbc03280000000000004f58407010520").unwrap();
        let point = |time_us, value| SeriesPoint { time_us, value };
        let first = vec![
            point(5, OwnedValue::Number(-18.5)),
            point(9, OwnedValue::Bool(true)),
        ];
        let expected = [
            Group {
                series: 1,
                points: first,
            },
            Group {
                series: 7,
                points: vec![point(5, OwnedValue::Integer(-1))],
            },
        ];
        assert_eq!(decode(&bytes).unwrap(), expected);
    }

    #[test]
    fn a_group_at_the_times_of_none_is_an_error() {
        // The first one, and one of another length.
        for bytes in ["818301f6f5", "828401010af58401f6f5f4"] {
            let error = decode(&hex::decode(bytes).unwrap()).unwrap_err();
            assert!(
                error.to_string().contains("another of other length"),
                "{error}"
            );
        }
    }
}
