//! A tail row: the points of one commit that are not in chunks yet.
//!
//! CBOR: an array of groups `[series, points, time, value, time, value, …]`, one a
//! series; after the first the times are differences to the one before. The row
//! is written once and read only when the heads are rebuilt, so it is kept simple
//! rather than small.

use minicbor::{Decoder, Encoder};

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
    for group in groups {
        let count = group.points.len() as u64;
        let mut encoder = Encoder::new(&mut out);
        written(
            encoder
                .array(2 + 2 * count)
                .and_then(|e| e.i64(group.series)?.u64(count)),
        );
        let mut before = 0_i64;
        for point in &group.points {
            written(Encoder::new(&mut out).i64(point.time_us.wrapping_sub(before)));
            value::encode(&mut out, &point.value);
            before = point.time_us;
        }
    }
    out
}

/// Decodes a tail row.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Group>, Error> {
    decode_groups(&mut Decoder::new(bytes)).map_err(|error| Error::corrupt("series tail", error))
}

fn decode_groups(decoder: &mut Decoder<'_>) -> Result<Vec<Group>, minicbor::decode::Error> {
    let groups = decoder.array()?.unwrap_or_default();
    let mut out = Vec::new();
    for _ in 0..groups {
        decoder.array()?;
        let series = decoder.i64()?;
        let count = decoder.u64()?;
        let mut points = Vec::new();
        let mut time_us = 0_i64;
        for _ in 0..count {
            time_us = time_us.wrapping_add(decoder.i64()?);
            points.push(SeriesPoint {
                time_us,
                value: value::decode(decoder)?,
            });
        }
        out.push(Group { series, points });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::series::value::tests::any_value;

    proptest! {
        #[test]
        fn groups_come_back_as_they_were(
            groups in prop::collection::vec(
                (any::<i64>(), prop::collection::btree_map(any::<i64>(), any_value(), 0..20)),
                0..5,
            ),
        ) {
            let groups: Vec<Group> = groups
                .into_iter()
                .map(|(series, points)| Group {
                    series,
                    points: points
                        .into_iter()
                        .map(|(time_us, value)| SeriesPoint { time_us, value })
                        .collect(),
                })
                .collect();
            let bytes = encode(groups.iter());
            prop_assert_eq!(decode(&bytes).unwrap(), groups);
            for end in 0..bytes.len() {
                prop_assert!(decode(&bytes[..end]).is_err());
            }
        }
    }
}
