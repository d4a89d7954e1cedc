//! A sealed chunk: points of one series, by time, as compressed columns.
//!
//! A CBOR array of
//!
//! | field | form |
//! |---|---|
//! | version | 2 |
//! | points | how many |
//! | first, step | of the evenly spaced times that the times are held against; null, null: against none |
//! | times | pco of i64: how far each is from its even time, or the time itself |
//! | kinds | pco of u8, one a point; null if all points are of one kind |
//! | numbers | pco of f64; null if there is none |
//! | ranks | pco of u32, one a number: its place among `numbers`, which then are all different and ascend; null: `numbers` are the values |
//! | integers, bools | pco of i64, u8; null if there is none |
//! | texts | array of text |
//!
//! Each column holds the values of its kind in the order of the points. pco finds
//! the delta order and the common divisor of the times by itself, so evenly
//! spaced times cost next to nothing. A device that measures by a timer stamps each
//! measurement a little late, and the next is not later for that: such times are
//! nearer to evenly spaced ones than their distances are to each other. A sensor has
//! steps that are no round number, so that its values look like any floats; but it
//! gives few different ones, and their ranks are small numbers. Each is done where it
//! is shorter.
//!
//! Version 1 had `times` alone and no `ranks`; it is read.

use minicbor::{Decoder, Encoder};
use pco::ChunkConfig;
use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress_into};
use stencil_protocol::sample::{MAX_TEXT, OwnedValue};

use super::value::written;
use crate::{Error, SeriesPoint};

/// The most points in a chunk: a bound for whoever decodes one.
pub(crate) const MAX_POINTS: usize = 8_192;

/// As small as pco's default of 8 on 2,048 readings, in half the time.
const COMPRESSION_LEVEL: usize = 4;

const VERSION: u8 = 2;
/// Fields of a chunk by its version.
const FIELDS: [(u8, u64); 2] = [(1, 8), (VERSION, 11)];
const NUMBER: u8 = 0;
const INTEGER: u8 = 1;
const BOOL: u8 = 2;
const TEXT: u8 = 3;

/// Encodes `points`, which are at most [`MAX_POINTS`], strictly by time.
pub(crate) fn encode(points: &[SeriesPoint]) -> Result<Vec<u8>, Error> {
    if points.is_empty() || points.len() > MAX_POINTS {
        return Err(Error::invalid(
            "chunk",
            format!("{} points; 1 to {MAX_POINTS} fit", points.len()),
        ));
    }
    let mut columns = Columns::default();
    for point in points {
        columns.push(&point.value);
    }
    let times: Vec<i64> = points.iter().map(|point| point.time_us).collect();
    let uniform = columns.kinds.windows(2).all(|pair| pair[0] == pair[1]);

    let line = Line::of(&times);
    let (line, times) = shorter(
        (None, compress(&times)?),
        (Some(line), compress(&line.offsets(&times))?),
    );
    let kinds = if uniform {
        Vec::new()
    } else {
        compress(&columns.kinds)?
    };
    let (numbers, ranks) = numbers(&columns.numbers)?;
    let integers = compress(&columns.integers)?;
    let bools = compress(&columns.bools)?;

    let mut out = Vec::with_capacity(64 + times.len() + numbers.len() + integers.len());
    let mut encoder = Encoder::new(&mut out);
    written(
        encoder
            .array(11)
            .and_then(|e| e.u8(VERSION)?.u64(points.len() as u64)),
    );
    written(match line {
        Some(line) => encoder.i64(line.first).and_then(|e| e.i64(line.step)),
        None => encoder.null().and_then(minicbor::Encoder::null),
    });
    for column in [&times, &kinds, &numbers, &ranks, &integers, &bools] {
        written(if column.is_empty() {
            encoder.null()
        } else {
            encoder.bytes(column)
        });
    }
    written(encoder.array(columns.texts.len() as u64));
    for text in columns.texts {
        written(encoder.str(text));
    }
    Ok(out)
}

/// Decodes a chunk.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<SeriesPoint>, Error> {
    let corrupt = |error: minicbor::decode::Error| Error::corrupt("series chunk", error);
    let mut decoder = Decoder::new(bytes);
    let fields = decoder.array().map_err(corrupt)?;
    let version = decoder.u8().map_err(corrupt)?;
    if !FIELDS
        .iter()
        .any(|known| fields == Some(known.1) && version == known.0)
    {
        return Err(Error::corrupt(
            "series chunk",
            format!("unknown version {version}"),
        ));
    }
    let count = decoder.u64().map_err(corrupt)?;
    let count = usize::try_from(count)
        .ok()
        .filter(|count| (1..=MAX_POINTS).contains(count))
        .ok_or_else(|| Error::corrupt("series chunk", format!("{count} points")))?;
    let mut line = None;
    if version > 1 {
        if decoder.datatype().map_err(corrupt)? == minicbor::data::Type::Null {
            decoder.null().map_err(corrupt)?;
            decoder.null().map_err(corrupt)?;
        } else {
            let first = decoder.i64().map_err(corrupt)?;
            let step = decoder.i64().map_err(corrupt)?;
            line = Some(Line { first, step });
        }
    }
    let mut column = || -> Result<Option<&[u8]>, Error> {
        if decoder.datatype().map_err(corrupt)? == minicbor::data::Type::Null {
            decoder.null().map_err(corrupt)?;
            Ok(None)
        } else {
            decoder.bytes().map(Some).map_err(corrupt)
        }
    };
    let mut times: Vec<i64> = decompress(column()?, count)?;
    if let Some(line) = line {
        times = line.times(&times);
    }
    let kinds: Vec<u8> = decompress(column()?, count)?;
    let mut numbers = decompress::<f64>(column()?, count)?;
    if version > 1
        && let Some(ranks) = column()?
    {
        let ranks: Vec<u32> = decompress(Some(ranks), count)?;
        let value = |rank: u32| numbers.get(usize::try_from(rank).ok()?).copied();
        let values: Option<Vec<f64>> = ranks.into_iter().map(value).collect();
        numbers = values.ok_or_else(|| Error::corrupt("series chunk", "a rank of no number"))?;
    }
    let mut numbers = numbers.into_iter();
    let mut integers = decompress::<i64>(column()?, count)?.into_iter();
    let mut bools = decompress::<u8>(column()?, count)?.into_iter();
    let texts = decoder.array().map_err(corrupt)?.unwrap_or_default();
    if times.len() != count {
        return Err(Error::corrupt("series chunk", "times are missing"));
    }
    let only = match (numbers.len(), integers.len(), bools.len(), texts) {
        (1.., 0, 0, 0) => Some(NUMBER),
        (0, 1.., 0, 0) => Some(INTEGER),
        (0, 0, 1.., 0) => Some(BOOL),
        (0, 0, 0, 1..) => Some(TEXT),
        _ => None,
    };
    let short = || Error::corrupt("series chunk", "a column is too short");
    let mut points = Vec::with_capacity(count);
    for (index, time_us) in times.into_iter().enumerate() {
        let kind = kinds.get(index).copied().or(only).ok_or_else(short)?;
        let value = match kind {
            NUMBER => OwnedValue::Number(numbers.next().ok_or_else(short)?),
            INTEGER => OwnedValue::Integer(integers.next().ok_or_else(short)?),
            BOOL => OwnedValue::Bool(bools.next().ok_or_else(short)? != 0),
            TEXT => {
                let text = decoder.str().map_err(corrupt)?;
                if text.len() > MAX_TEXT {
                    return Err(Error::corrupt("series chunk", "a text is too long"));
                }
                OwnedValue::Text(text.to_owned())
            }
            other => {
                return Err(Error::corrupt(
                    "series chunk",
                    format!("unknown kind {other}"),
                ));
            }
        };
        points.push(SeriesPoint { time_us, value });
    }
    Ok(points)
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

/// Numbers and ranks, compressed: the values themselves, or the different ones and their ranks.
fn numbers(values: &[f64]) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let plain = compress(values)?;
    let mut different = values.to_vec();
    // In the order of all bits, in which nothing but the same bits is equal.
    different.sort_unstable_by(f64::total_cmp);
    different.dedup_by(|a, b| a.to_bits() == b.to_bits());
    // Where nearly all differ, ranks say as much as the values.
    if different.len() > values.len() / 8 * 7 {
        return Ok((plain, Vec::new()));
    }
    let rank = |value: &f64| {
        let place = different.binary_search_by(|other| other.total_cmp(value));
        u32::try_from(place.unwrap_or_default()).unwrap_or_default()
    };
    let ranks: Vec<u32> = values.iter().map(rank).collect();
    let (different, ranks) = (compress(&different)?, compress(&ranks)?);
    if different.len() + ranks.len() < plain.len() {
        Ok((different, ranks))
    } else {
        Ok((plain, Vec::new()))
    }
}

/// The one whose column is shorter.
fn shorter<T>(one: (T, Vec<u8>), other: (T, Vec<u8>)) -> (T, Vec<u8>) {
    if other.1.len() < one.1.len() {
        other
    } else {
        one
    }
}

#[derive(Default)]
struct Columns<'a> {
    kinds: Vec<u8>,
    numbers: Vec<f64>,
    integers: Vec<i64>,
    bools: Vec<u8>,
    texts: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, value: &'a OwnedValue) {
        self.kinds.push(match value {
            OwnedValue::Number(n) => {
                self.numbers.push(*n);
                NUMBER
            }
            OwnedValue::Integer(n) => {
                self.integers.push(*n);
                INTEGER
            }
            OwnedValue::Bool(b) => {
                self.bools.push(u8::from(*b));
                BOOL
            }
            OwnedValue::Text(text) => {
                self.texts.push(text);
                TEXT
            }
        });
    }
}

/// An empty column is no bytes.
fn compress<T: Number>(column: &[T]) -> Result<Vec<u8>, Error> {
    if column.is_empty() {
        return Ok(Vec::new());
    }
    // Kinds and truth values are bytes, which pco wants to be asked for.
    let config = ChunkConfig::default()
        .with_compression_level(COMPRESSION_LEVEL)
        .with_enable_8_bit(true);
    simple_compress(column, &config)
        .map_err(|error| Error::Database(format!("compressing a chunk: {error}")))
}

/// At most `max` values, however many the bytes claim.
fn decompress<T: Number>(column: Option<&[u8]>, max: usize) -> Result<Vec<T>, Error> {
    let Some(column) = column else {
        return Ok(Vec::new());
    };
    let mut values = vec![T::default(); max];
    let progress = simple_decompress_into(column, &mut values)
        .map_err(|error| Error::corrupt("series chunk", error))?;
    values.truncate(progress.n_processed);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::series::value::tests::any_value;

    fn points() -> impl Strategy<Value = Vec<SeriesPoint>> {
        prop::collection::btree_map(any::<i64>(), any_value(), 1..200).prop_map(|points| {
            points
                .into_iter()
                .map(|(time_us, value)| SeriesPoint { time_us, value })
                .collect()
        })
    }

    /// Points by a timer, of few different numbers: what ranks and even times are for.
    fn measured() -> impl Strategy<Value = Vec<SeriesPoint>> {
        let few = prop::sample::select(vec![
            0.0,
            -0.0,
            f64::MIN,
            f64::MAX,
            f64::MIN_POSITIVE / 3.0,
            -18.503_723_144_531_25,
            175.0 / 65_535.0,
        ]);
        let late = (few, 0_i64..1_000);
        let step = 1_000_i64..i64::MAX / 1_000;
        (step, prop::collection::vec(late, 1..300)).prop_map(|(step, points)| {
            let at = |(n, (number, late)): (i64, (f64, i64))| SeriesPoint {
                time_us: (n - 150) * step + late,
                value: OwnedValue::Number(number),
            };
            (0..).zip(points).map(at).collect()
        })
    }

    /// The points, with numbers as their bits: -0.0 equals 0.0, but is another value.
    fn bits(points: &[SeriesPoint]) -> Vec<(i64, Result<u64, OwnedValue>)> {
        let of = |point: &SeriesPoint| match &point.value {
            OwnedValue::Number(n) => (point.time_us, Ok(n.to_bits())),
            other => (point.time_us, Err(other.clone())),
        };
        points.iter().map(of).collect()
    }

    proptest! {
        #[test]
        fn points_come_back_as_they_were(points in prop_oneof![points(), measured()]) {
            let decoded = decode(&encode(&points).unwrap()).unwrap();
            prop_assert_eq!(bits(&decoded), bits(&points));
        }

        #[test]
        fn damage_is_an_error_or_other_points_but_never_a_panic(
            points in prop_oneof![points(), measured()],
            cut in any::<prop::sample::Index>(),
            flip in any::<prop::sample::Index>(),
            bits in 1_u8..,
        ) {
            let mut bytes = encode(&points).unwrap();
            prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
            let at = flip.index(bytes.len());
            bytes[at] ^= bits;
            if let Ok(points) = decode(&bytes) {
                prop_assert!(points.len() <= MAX_POINTS);
            }
        }
    }

    #[test]
    fn a_steady_sensor_costs_two_bytes_a_point() {
        // A noisy reading of two decimals every ten seconds.
        let mut state = 1_u64;
        let points: Vec<SeriesPoint> = (0..2_048)
            .map(|n| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let noise = f64::from(u32::try_from(state >> 40).unwrap() % 100);
                let value = OwnedValue::Number((-1_850.0 + noise) / 100.0);
                SeriesPoint {
                    time_us: 1_700_000_000_000_000 + n * 10_000_000,
                    value,
                }
            })
            .collect();
        let bytes = encode(&points).unwrap();
        assert!(bytes.len() < 2 * points.len(), "{} bytes", bytes.len());
    }

    /// Readings of a chip with steps of 175/65535 °C, stamped up to a millisecond late.
    fn of_a_fleet() -> Vec<SeriesPoint> {
        let mut state = 7_u64;
        let mut draw = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            i64::try_from((state >> 33) % bound).unwrap()
        };
        (0..2_048)
            .map(|n| {
                let ticks = 17_000 + draw(38);
                let fixed = (ticks * 175 * 65_536 / 65_535 - 45 * 65_536) as f64;
                SeriesPoint {
                    time_us: 1_700_000_000_000_000 + n * 40_533_127 + draw(1_000),
                    value: OwnedValue::Number(fixed / 65_536.0),
                }
            })
            .collect()
    }

    #[test]
    fn a_sensor_with_odd_steps_and_a_late_stamp_costs_two_bytes_a_point() {
        let points = of_a_fleet();
        let bytes = encode(&points).unwrap();
        assert!(bytes.len() < 2 * points.len(), "{} bytes", bytes.len());
        assert_eq!(decode(&bytes).unwrap(), points);
    }

    /// A chunk that version 0.1 sealed: some days of `simulators/data`'s recording.
    #[test]
    fn chunks_of_version_1_are_read() {
        let bytes = include_bytes!("../../tests/fixtures/chunk-v1.cbor");
        let points = decode(bytes).unwrap();
        let times = points.iter().map(|point| point.time_us);
        let even = (0..1_482).map(|n| 1_388_429_100_000_000 + n * 300_000_000);
        assert!(times.eq(even));
        let first = &points[0].value;
        assert_eq!(first, &OwnedValue::Number(86.162_892_87));
        // The recording's numbers, mixed by the same rule.
        let mix = |mixed: u64, (_, number): (i64, Result<u64, OwnedValue>)| {
            mixed.wrapping_mul(31).wrapping_add(number.unwrap())
        };
        let mixed = bits(&points).into_iter().fold(0, mix);
        assert_eq!(mixed, 0xb3c4_cc5a_2857_9cc8);
    }

    #[test]
    fn a_rank_of_no_number_is_an_error() {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        encoder.array(11).unwrap().u8(2).unwrap().u64(2).unwrap();
        encoder.null().unwrap().null().unwrap();
        encoder.bytes(&compress(&[1_i64, 2]).unwrap()).unwrap();
        encoder.null().unwrap();
        encoder.bytes(&compress(&[1.5_f64]).unwrap()).unwrap();
        encoder.bytes(&compress(&[0_u32, 1]).unwrap()).unwrap();
        encoder.null().unwrap().null().unwrap().array(0).unwrap();
        let error = decode(&bytes).unwrap_err().to_string();
        assert!(error.contains("rank"), "{error}");
    }

    #[test]
    fn the_bounds_hold() {
        assert!(encode(&[]).is_err());
        let point = |time_us| SeriesPoint {
            time_us,
            value: OwnedValue::Bool(true),
        };
        let many: Vec<_> = (0..=i64::try_from(MAX_POINTS).unwrap())
            .map(point)
            .collect();
        assert!(encode(&many).is_err());
        assert_eq!(
            decode(&encode(&many[1..]).unwrap()).unwrap().len(),
            MAX_POINTS
        );
    }
}
