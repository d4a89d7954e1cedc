//! Times of points: as a column of a chunk, or once for chunks of several series.
//!
//! A device measures all it measures at once: its series have the same times. A timer stamps each
//! of them a little late, by chance, which nothing compresses. So chunks of a device that are
//! sealed together refer to times that are kept once, each by the places of its points in them.
//!
//! Kept times are a CBOR array of
//!
//! | field | form |
//! |---|---|
//! | version | 1 |
//! | times | how many |
//! | first, step | of the evenly spaced times that they are held against; null, null: against none |
//! | times | pco of i64: how far each is from its even time, or the time itself |

use std::cmp::Ordering;
use std::convert::Infallible;

use minicbor::{Decoder, Encoder};

use super::MAX_POINTS;
use super::column::{compress, decompress, shorter};
use super::value::written;
use crate::Error;

const WHAT: &str = "series stamps";
const VERSION: u8 = 1;
const FIELDS: u64 = 5;

/// Encodes times, which are 1 to [`MAX_POINTS`] and ascend strictly.
pub(crate) fn encode(times: &[i64]) -> Result<Vec<u8>, Error> {
    if times.is_empty() || times.len() > MAX_POINTS {
        return Err(Error::invalid(
            "stamps",
            format!("{} times; 1 to {MAX_POINTS} fit", times.len()),
        ));
    }
    let column = Column::of(times)?;
    let mut out = Vec::with_capacity(32 + column.len());
    let mut encoder = Encoder::new(&mut out);
    written(
        encoder
            .array(FIELDS)
            .and_then(|e| e.u8(VERSION)?.u64(times.len() as u64)),
    );
    written(column.write(&mut encoder));
    Ok(out)
}

/// Decodes kept times: 1 to [`MAX_POINTS`] that ascend strictly.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<i64>, Error> {
    let corrupt = |error: minicbor::decode::Error| Error::corrupt(WHAT, error);
    let mut decoder = Decoder::new(bytes);
    let fields = decoder.array().map_err(corrupt)?;
    let version = decoder.u8().map_err(corrupt)?;
    if (fields, version) != (Some(FIELDS), VERSION) {
        return Err(Error::corrupt(WHAT, format!("unknown version {version}")));
    }
    let count = decoder.u64().map_err(corrupt)?;
    let count = usize::try_from(count)
        .ok()
        .filter(|count| (1..=MAX_POINTS).contains(count))
        .ok_or_else(|| Error::corrupt(WHAT, format!("{count} times")))?;
    let times = read(&mut decoder, count, WHAT)?;
    if !times.is_sorted_by(|a, b| a < b) {
        return Err(Error::corrupt(WHAT, "times that do not ascend"));
    }
    Ok(times)
}

/// A column of times, compressed.
pub(super) struct Column {
    line: Option<Line>,
    bytes: Vec<u8>,
}

impl Column {
    /// Against evenly spaced times or against none, as it is shorter.
    pub(super) fn of(times: &[i64]) -> Result<Self, Error> {
        let line = Line::of(times);
        let (line, bytes) = shorter(
            (None, compress(times)?),
            (Some(line), compress(&line.offsets(times))?),
        );
        Ok(Self { line, bytes })
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends first, step and times.
    pub(super) fn write(
        &self,
        encoder: &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<Infallible>> {
        match self.line {
            Some(line) => encoder.i64(line.first)?.i64(line.step)?,
            None => encoder.null()?.null()?,
        };
        encoder.bytes(&self.bytes).map(drop)
    }
}

/// Reads first, step and exactly `count` times.
pub(super) fn read(
    decoder: &mut Decoder<'_>,
    count: usize,
    what: &'static str,
) -> Result<Vec<i64>, Error> {
    let corrupt = |error: minicbor::decode::Error| Error::corrupt(what, error);
    let line = if decoder.datatype().map_err(corrupt)? == minicbor::data::Type::Null {
        decoder.null().map_err(corrupt)?;
        decoder.null().map_err(corrupt)?;
        None
    } else {
        let first = decoder.i64().map_err(corrupt)?;
        let step = decoder.i64().map_err(corrupt)?;
        Some(Line { first, step })
    };
    read_times(decoder, line, count, what)
}

/// Reads exactly `count` times as they are: what version 1 of a chunk has.
pub(super) fn read_plain(
    decoder: &mut Decoder<'_>,
    count: usize,
    what: &'static str,
) -> Result<Vec<i64>, Error> {
    read_times(decoder, None, count, what)
}

fn read_times(
    decoder: &mut Decoder<'_>,
    line: Option<Line>,
    count: usize,
    what: &'static str,
) -> Result<Vec<i64>, Error> {
    let bytes = decoder
        .bytes()
        .map_err(|error| Error::corrupt(what, error))?;
    let times: Vec<i64> = decompress(Some(bytes), count, what)?;
    if times.len() != count {
        return Err(Error::corrupt(what, "times are missing"));
    }
    Ok(match line {
        Some(line) => line.times(&times),
        None => times,
    })
}

/// Evenly spaced times.
#[derive(Clone, Copy)]
struct Line {
    first: i64,
    step: i64,
}

impl Line {
    /// From the first to the last, with the nearest whole step: a timer's is whole, and the last
    /// time's own lateness does not tilt the line.
    fn of(times: &[i64]) -> Self {
        let (first, last) = (times.first(), times.last());
        let (first, last) = (first.copied().unwrap_or(0), last.copied().unwrap_or(0));
        let steps = (times.len().max(2) - 1) as i128;
        let span = i128::from(last) - i128::from(first);
        Self {
            first,
            step: i64::try_from((span + steps / 2) / steps).unwrap_or(0),
        }
    }

    /// The line at each of `count` points. Wraps around, there and back the same.
    fn at(self, count: usize) -> impl Iterator<Item = i64> {
        let next = move |at: &i64| Some(at.wrapping_add(self.step));
        std::iter::successors(Some(self.first), next).take(count)
    }

    /// How far each time is from the line.
    fn offsets(self, times: &[i64]) -> Vec<i64> {
        let line = self.at(times.len());
        times
            .iter()
            .zip(line)
            .map(|(time, at)| time.wrapping_sub(at))
            .collect()
    }

    /// The times that are so far from the line.
    fn times(self, offsets: &[i64]) -> Vec<i64> {
        let line = self.at(offsets.len());
        offsets
            .iter()
            .zip(line)
            .map(|(offset, at)| offset.wrapping_add(at))
            .collect()
    }
}

/// Times that pieces of several series have in common.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Common {
    /// All times of its pieces; at most [`MAX_POINTS`].
    pub(crate) times: Vec<i64>,
    /// The pieces, by their places in the list asked about; at least two.
    pub(crate) pieces: Vec<usize>,
}

/// Which of these pieces of a device's series, each strictly by time, have times in common: a
/// piece that drops out here and there belongs to the others, one with a rhythm of its own does
/// not.
pub(crate) fn in_common(pieces: &[Vec<i64>]) -> Vec<Common> {
    let mut found: Vec<Common> = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let joined = found.iter_mut().find_map(|common| {
            let times = united(&common.times, piece)?;
            Some((common, times))
        });
        match joined {
            Some((common, times)) => {
                common.times = times;
                common.pieces.push(index);
            }
            None => found.push(Common {
                times: piece.clone(),
                pieces: vec![index],
            }),
        }
    }
    found.retain(|common| common.pieces.len() > 1);
    found
}

/// All times of two lists, if at least half of them are in both and they fit: otherwise it is no
/// gain to keep them together.
fn united(one: &[i64], other: &[i64]) -> Option<Vec<i64>> {
    if one == other {
        return Some(one.to_vec());
    }
    let apart = one.last() < other.first() || other.last() < one.first();
    if apart {
        return None;
    }
    let mut all = Vec::with_capacity(one.len().max(other.len()));
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let order = a.cmp(b);
        all.push(if order == Ordering::Greater { **b } else { **a });
        if order != Ordering::Greater {
            left.next();
        }
        if order != Ordering::Less {
            right.next();
        }
    }
    all.extend(left);
    all.extend(right);
    let both = one.len() + other.len() - all.len();
    (2 * both >= all.len() && all.len() <= MAX_POINTS).then_some(all)
}

/// The places of `times` in `all`; `None` if one is not there. Both ascend strictly.
pub(crate) fn places(times: &[i64], all: &[i64]) -> Option<Vec<u32>> {
    let mut rest = all.iter().zip(0_u32..);
    times
        .iter()
        .map(|time| rest.find(|(at, _)| *at == time).map(|(_, place)| place))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times() -> impl Strategy<Value = Vec<i64>> {
        let any = prop::collection::btree_set(any::<i64>(), 1..200);
        let near = prop::collection::btree_set(0_i64..400, 1..200);
        let edges = prop::collection::btree_set(
            prop_oneof![
                Just(i64::MIN),
                Just(i64::MIN + 1),
                Just(-1),
                Just(0),
                Just(i64::MAX)
            ],
            1..5,
        );
        prop_oneof![any, near, edges].prop_map(|times| times.into_iter().collect())
    }

    proptest! {
        #[test]
        fn times_come_back_as_they_were(times in times()) {
            prop_assert_eq!(decode(&encode(&times).unwrap()).unwrap(), times);
        }

        #[test]
        fn damage_is_an_error_or_other_times_but_never_a_panic(
            times in times(),
            cut in any::<prop::sample::Index>(),
            flip in any::<prop::sample::Index>(),
            bits in 1_u8..,
        ) {
            let mut bytes = encode(&times).unwrap();
            prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
            let at = flip.index(bytes.len());
            bytes[at] ^= bits;
            if let Ok(times) = decode(&bytes) {
                prop_assert!(times.len() <= MAX_POINTS);
                prop_assert!(times.is_sorted_by(|a, b| a < b));
            }
        }

        #[test]
        fn what_is_in_common_holds_every_time_of_its_pieces(
            pieces in prop::collection::vec(times(), 0..6),
        ) {
            let mut seen = Vec::new();
            for common in in_common(&pieces) {
                prop_assert!(common.pieces.len() > 1);
                prop_assert!(common.times.is_sorted_by(|a, b| a < b));
                for piece in common.pieces {
                    let places = places(&pieces[piece], &common.times).unwrap();
                    let back: Vec<i64> =
                        places.iter().map(|at| common.times[*at as usize]).collect();
                    prop_assert_eq!(&back, &pieces[piece]);
                    seen.push(piece);
                }
            }
            let listed = seen.len();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), listed, "a piece is in two");
        }
    }

    #[test]
    fn series_that_are_measured_at_once_have_times_in_common() {
        let every = |step: usize| -> Vec<i64> { (0..1_000).step_by(step).collect() };
        let mut with_gaps = every(1);
        with_gaps.retain(|time| time % 10 != 3);
        let late: Vec<i64> = every(1).iter().map(|time| time + 5_000).collect();
        // One that drops out belongs to the others, also if it comes first.
        for pieces in [
            [every(1), with_gaps.clone(), late.clone(), every(7)],
            [with_gaps, every(1), late, every(7)],
        ] {
            let found = in_common(&pieces);
            assert_eq!(
                found,
                [Common {
                    times: every(1),
                    pieces: vec![0, 1]
                }]
            );
        }
        // A time that only the second has is taken in.
        let pieces = [vec![1, 3, 5, 7], vec![1, 3, 4, 5, 7]];
        assert_eq!(in_common(&pieces)[0].times, [1, 3, 4, 5, 7]);
    }

    #[test]
    fn the_bounds_hold() {
        assert!(encode(&[]).is_err());
        let many: Vec<i64> = (0..=i64::try_from(MAX_POINTS).unwrap()).collect();
        assert!(encode(&many).is_err());
        assert_eq!(decode(&encode(&many[1..]).unwrap()).unwrap(), many[1..]);
        // Two that together are more than fit stay apart.
        let shifted = |by: i64| -> Vec<i64> { (by..by + 7_000).collect() };
        assert_eq!(in_common(&[shifted(0), shifted(1_192)]).len(), 1);
        assert!(in_common(&[shifted(0), shifted(1_193)]).is_empty());
    }

    #[test]
    fn times_that_do_not_ascend_are_an_error() {
        let bytes = encode(&[3, 3, 2]).unwrap();
        let error = decode(&bytes).unwrap_err().to_string();
        assert!(error.contains("ascend"), "{error}");
    }

    #[test]
    fn a_time_that_is_not_there_has_no_place() {
        assert_eq!(places(&[1, 3], &[1, 2, 3]), Some(vec![0, 2]));
        assert_eq!(places(&[1, 4], &[1, 2, 3]), None);
        assert_eq!(places(&[3, 1], &[1, 2, 3]), None);
    }
}
