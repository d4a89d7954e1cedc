//! A sealed chunk: points of one series, by time, as compressed columns.
//!
//! A CBOR array of
//!
//! | field | form |
//! |---|---|
//! | version | 2 or 3 |
//! | points | how many |
//! | the times | version 2: first, step and times as in [`super::stamps`] |
//! | | version 3: places, pco of u32: which of the times kept for several series are its own; null: all of them |
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
//! Version 1 had `times` alone, without first and step, and no `ranks`; it is read.

use minicbor::{Decoder, Encoder};
use stencil_protocol::sample::{MAX_TEXT, OwnedValue};

use super::column::{compress, decompress};
use super::value::written;
use super::{MAX_POINTS, stamps};
use crate::{Error, SeriesPoint};

const WHAT: &str = "series chunk";
/// With times of its own.
const OWN: u8 = 2;
/// With times that are kept for several series.
const COMMON: u8 = 3;
/// Fields of a chunk by its version.
const FIELDS: [(u8, u64); 3] = [(1, 8), (OWN, 11), (COMMON, 9)];
const NUMBER: u8 = 0;
const INTEGER: u8 = 1;
const BOOL: u8 = 2;
const TEXT: u8 = 3;

/// Encodes `points`, which are at most [`MAX_POINTS`], strictly by time.
pub(crate) fn encode(points: &[SeriesPoint]) -> Result<Vec<u8>, Error> {
    check(points)?;
    let times: Vec<i64> = points.iter().map(|point| point.time_us).collect();
    let times = stamps::Column::of(&times)?;
    let mut out = Vec::with_capacity(64 + times.len() + points.len());
    let mut encoder = Encoder::new(&mut out);
    start(&mut encoder, OWN, points.len());
    written(times.write(&mut encoder));
    values(&mut encoder, points)?;
    Ok(out)
}

/// Encodes `points`, which are at most [`MAX_POINTS`], strictly by time, and have their times
/// among `common`.
pub(crate) fn encode_in(points: &[SeriesPoint], common: &[i64]) -> Result<Vec<u8>, Error> {
    check(points)?;
    let times: Vec<i64> = points.iter().map(|point| point.time_us).collect();
    let places = if times == common {
        Vec::new()
    } else {
        let places = stamps::places(&times, common)
            .ok_or_else(|| Error::invalid("chunk", "a time that is not among those in common"))?;
        compress(&places)?
    };
    let mut out = Vec::with_capacity(64 + places.len() + points.len());
    let mut encoder = Encoder::new(&mut out);
    start(&mut encoder, COMMON, points.len());
    column(&mut encoder, &places);
    values(&mut encoder, points)?;
    Ok(out)
}

fn check(points: &[SeriesPoint]) -> Result<(), Error> {
    if points.is_empty() || points.len() > MAX_POINTS {
        return Err(Error::invalid(
            "chunk",
            format!("{} points; 1 to {MAX_POINTS} fit", points.len()),
        ));
    }
    Ok(())
}

fn start(encoder: &mut Encoder<&mut Vec<u8>>, version: u8, points: usize) {
    let fields = FIELDS.iter().find(|known| known.0 == version);
    written(
        encoder
            .array(fields.map_or(0, |known| known.1))
            .and_then(|e| e.u8(version)?.u64(points as u64)),
    );
}

fn column(encoder: &mut Encoder<&mut Vec<u8>>, column: &[u8]) {
    written(if column.is_empty() {
        encoder.null()
    } else {
        encoder.bytes(column)
    });
}

/// Appends all that follows the times.
fn values(encoder: &mut Encoder<&mut Vec<u8>>, points: &[SeriesPoint]) -> Result<(), Error> {
    let mut columns = Columns::default();
    for point in points {
        columns.push(&point.value);
    }
    let uniform = columns.kinds.windows(2).all(|pair| pair[0] == pair[1]);
    let kinds = if uniform {
        Vec::new()
    } else {
        compress(&columns.kinds)?
    };
    let (numbers, ranks) = numbers(&columns.numbers)?;
    let integers = compress(&columns.integers)?;
    let bools = compress(&columns.bools)?;
    for bytes in [&kinds, &numbers, &ranks, &integers, &bools] {
        column(encoder, bytes);
    }
    written(encoder.array(columns.texts.len() as u64));
    for text in columns.texts {
        written(encoder.str(text));
    }
    Ok(())
}

/// Decodes a chunk. `common` are the times kept for several series that it refers to, if it does.
pub(crate) fn decode(bytes: &[u8], common: Option<&[i64]>) -> Result<Vec<SeriesPoint>, Error> {
    let corrupt = |error: minicbor::decode::Error| Error::corrupt(WHAT, error);
    let mut decoder = Decoder::new(bytes);
    let fields = decoder.array().map_err(corrupt)?;
    let version = decoder.u8().map_err(corrupt)?;
    if !FIELDS
        .iter()
        .any(|known| fields == Some(known.1) && version == known.0)
    {
        return Err(Error::corrupt(WHAT, format!("unknown version {version}")));
    }
    let count = decoder.u64().map_err(corrupt)?;
    let count = usize::try_from(count)
        .ok()
        .filter(|count| (1..=MAX_POINTS).contains(count))
        .ok_or_else(|| Error::corrupt(WHAT, format!("{count} points")))?;
    let times = match version {
        1 => stamps::read_plain(&mut decoder, count, WHAT)?,
        OWN => stamps::read(&mut decoder, count, WHAT)?,
        _ => {
            let common = common
                .ok_or_else(|| Error::corrupt(WHAT, "the times that it refers to are missing"))?;
            picked(common, bytes_or_null(&mut decoder)?, count)?
        }
    };
    let kinds: Vec<u8> = decompress(bytes_or_null(&mut decoder)?, count, WHAT)?;
    let mut numbers = decompress::<f64>(bytes_or_null(&mut decoder)?, count, WHAT)?;
    if version > 1
        && let Some(ranks) = bytes_or_null(&mut decoder)?
    {
        let ranks: Vec<u32> = decompress(Some(ranks), count, WHAT)?;
        let value = |rank: u32| numbers.get(usize::try_from(rank).ok()?).copied();
        let values: Option<Vec<f64>> = ranks.into_iter().map(value).collect();
        numbers = values.ok_or_else(|| Error::corrupt(WHAT, "a rank of no number"))?;
    }
    let mut numbers = numbers.into_iter();
    let mut integers = decompress::<i64>(bytes_or_null(&mut decoder)?, count, WHAT)?.into_iter();
    let mut bools = decompress::<u8>(bytes_or_null(&mut decoder)?, count, WHAT)?.into_iter();
    let texts = decoder.array().map_err(corrupt)?.unwrap_or_default();
    let only = match (numbers.len(), integers.len(), bools.len(), texts) {
        (1.., 0, 0, 0) => Some(NUMBER),
        (0, 1.., 0, 0) => Some(INTEGER),
        (0, 0, 1.., 0) => Some(BOOL),
        (0, 0, 0, 1..) => Some(TEXT),
        _ => None,
    };
    let short = || Error::corrupt(WHAT, "a column is too short");
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
                    return Err(Error::corrupt(WHAT, "a text is too long"));
                }
                OwnedValue::Text(text.to_owned())
            }
            other => {
                return Err(Error::corrupt(WHAT, format!("unknown kind {other}")));
            }
        };
        points.push(SeriesPoint { time_us, value });
    }
    Ok(points)
}

fn bytes_or_null<'a>(decoder: &mut Decoder<'a>) -> Result<Option<&'a [u8]>, Error> {
    let corrupt = |error: minicbor::decode::Error| Error::corrupt(WHAT, error);
    if decoder.datatype().map_err(corrupt)? == minicbor::data::Type::Null {
        decoder.null().map_err(corrupt)?;
        Ok(None)
    } else {
        decoder.bytes().map(Some).map_err(corrupt)
    }
}

/// Those of the times in common that are at these places, or all of them; `count` either way.
fn picked(common: &[i64], places: Option<&[u8]>, count: usize) -> Result<Vec<i64>, Error> {
    let times = match places {
        None => common.to_vec(),
        Some(places) => {
            let places: Vec<u32> = decompress(Some(places), count, WHAT)?;
            if !places.is_sorted_by(|a, b| a < b) {
                return Err(Error::corrupt(WHAT, "places that do not ascend"));
            }
            let at = |place: u32| common.get(usize::try_from(place).ok()?).copied();
            let times: Option<Vec<i64>> = places.into_iter().map(at).collect();
            times.ok_or_else(|| Error::corrupt(WHAT, "a place of no time"))?
        }
    };
    if times.len() != count {
        return Err(Error::corrupt(
            WHAT,
            format!("{count} points, but {} times in common", times.len()),
        ));
    }
    Ok(times)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::series::value::tests::any_bits;

    fn points() -> impl Strategy<Value = Vec<SeriesPoint>> {
        prop::collection::btree_map(any::<i64>(), any_bits(), 1..200).prop_map(|points| {
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
            let decoded = decode(&encode(&points).unwrap(), None).unwrap();
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
            prop_assert!(decode(&bytes[..cut.index(bytes.len())], None).is_err());
            let at = flip.index(bytes.len());
            bytes[at] ^= bits;
            if let Ok(points) = decode(&bytes, None) {
                prop_assert!(points.len() <= MAX_POINTS);
            }
        }
    }

    /// Points, and times among which theirs are: the same, or some more.
    fn in_common() -> impl Strategy<Value = (Vec<SeriesPoint>, Vec<i64>)> {
        let more = prop::collection::vec(any::<i64>(), 0..50);
        (prop_oneof![points(), measured()], more).prop_map(|(points, more)| {
            let mut times: Vec<i64> = points.iter().map(|point| point.time_us).collect();
            times.extend(more);
            times.sort_unstable();
            times.dedup();
            (points, times)
        })
    }

    proptest! {
        #[test]
        fn points_come_back_from_times_in_common((points, times) in in_common()) {
            let bytes = encode_in(&points, &times).unwrap();
            let decoded = decode(&bytes, Some(&times)).unwrap();
            prop_assert_eq!(bits(&decoded), bits(&points));
            let error = decode(&bytes, None).unwrap_err().to_string();
            prop_assert!(error.contains("missing"), "{}", error);
            // Times of another chunk.
            if let Ok(points) = decode(&bytes, Some(&times[1..])) {
                prop_assert!(points.iter().all(|point| times.contains(&point.time_us)));
            }
        }

        #[test]
        fn damage_to_a_chunk_of_times_in_common_is_no_panic(
            (points, times) in in_common(),
            cut in any::<prop::sample::Index>(),
            flip in any::<prop::sample::Index>(),
            bits in 1_u8..,
        ) {
            let mut bytes = encode_in(&points, &times).unwrap();
            prop_assert!(decode(&bytes[..cut.index(bytes.len())], Some(&times)).is_err());
            let at = flip.index(bytes.len());
            bytes[at] ^= bits;
            if let Ok(points) = decode(&bytes, Some(&times)) {
                prop_assert!(points.len() <= MAX_POINTS);
                prop_assert!(points.is_sorted_by(|a, b| a.time_us < b.time_us));
            }
        }
    }

    #[test]
    fn a_chunk_whose_times_are_kept_elsewhere_costs_its_values_alone() {
        let points = of_a_fleet();
        let times: Vec<i64> = points.iter().map(|point| point.time_us).collect();
        let (own, common) = (
            encode(&points).unwrap().len(),
            encode_in(&points, &times).unwrap().len(),
        );
        let kept = stamps::encode(&times).unwrap().len();
        assert!(common + kept <= own + 32, "{common} + {kept} for {own}");
        assert!(4 * common < 3 * own, "{common} of {own}");
        // Of two points in a hundred that drop out, it is to say which.
        let gaps = |(n, _): &(usize, SeriesPoint)| n % 50 != 7;
        let some: Vec<_> = points.into_iter().enumerate().filter(gaps).collect();
        let some: Vec<_> = some.into_iter().map(|(_, point)| point).collect();
        let with_gaps = encode_in(&some, &times).unwrap();
        assert!(with_gaps.len() < common + 100, "{}", with_gaps.len());
        assert_eq!(decode(&with_gaps, Some(&times)).unwrap(), some);
    }

    #[test]
    fn places_that_cannot_be_are_an_error() {
        let points = of_a_fleet()[..3].to_vec();
        let times: Vec<i64> = points.iter().map(|point| point.time_us).collect();
        let chunk = |places: &[u32]| {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes);
            start(&mut encoder, COMMON, 3);
            column(&mut encoder, &compress(places).unwrap());
            values(&mut encoder, &points).unwrap();
            bytes
        };
        assert_eq!(decode(&chunk(&[0, 1, 2]), Some(&times)).unwrap(), points);
        for (places, why) in [
            ([0, 1, 3], "no time"),
            ([0, 2, 1], "ascend"),
            ([0, 1, 1], "ascend"),
        ] {
            let error = decode(&chunk(&places), Some(&times)).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        let error = decode(&chunk(&[0, 1]), Some(&times)).unwrap_err();
        assert!(error.to_string().contains("2 times"), "{error}");
        assert!(encode_in(&points, &times[1..]).is_err());
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
        assert_eq!(decode(&bytes, None).unwrap(), points);
    }

    /// A chunk that version 0.1 sealed: some days of `simulators/data`'s recording.
    #[test]
    fn chunks_of_version_1_are_read() {
        let bytes = include_bytes!("../../tests/fixtures/chunk-v1.cbor");
        let points = decode(bytes, None).unwrap();
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
        let error = decode(&bytes, None).unwrap_err().to_string();
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
            decode(&encode(&many[1..]).unwrap(), None).unwrap().len(),
            MAX_POINTS
        );
    }
}
