//! A sealed chunk: points of one series, by time, as compressed columns.
//!
//! A CBOR array of
//!
//! | field | form |
//! |---|---|
//! | version | 1 |
//! | points | how many |
//! | times | pco of i64 |
//! | kinds | pco of u8, one a point; null if all points are of one kind |
//! | numbers, integers, bools | pco of f64, i64, u8; null if there is none |
//! | texts | array of text |
//!
//! Each column holds the values of its kind in the order of the points. pco finds
//! the delta order and the common divisor of the times by itself, so evenly
//! spaced times cost next to nothing.

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

const VERSION: u8 = 1;
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

    let times = compress(&times)?;
    let kinds = if uniform {
        Vec::new()
    } else {
        compress(&columns.kinds)?
    };
    let numbers = compress(&columns.numbers)?;
    let integers = compress(&columns.integers)?;
    let bools = compress(&columns.bools)?;

    let mut out = Vec::with_capacity(64 + times.len() + numbers.len() + integers.len());
    let mut encoder = Encoder::new(&mut out);
    written(
        encoder
            .array(8)
            .and_then(|e| e.u8(VERSION)?.u64(points.len() as u64)),
    );
    for column in [&times, &kinds, &numbers, &integers, &bools] {
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
    if fields != Some(8) || version != VERSION {
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
    let mut column = || -> Result<Option<&[u8]>, Error> {
        if decoder.datatype().map_err(corrupt)? == minicbor::data::Type::Null {
            decoder.null().map_err(corrupt)?;
            Ok(None)
        } else {
            decoder.bytes().map(Some).map_err(corrupt)
        }
    };
    let times: Vec<i64> = decompress(column()?, count)?;
    let kinds: Vec<u8> = decompress(column()?, count)?;
    let mut numbers = decompress::<f64>(column()?, count)?.into_iter();
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

    proptest! {
        #[test]
        fn points_come_back_as_they_were(points in points()) {
            prop_assert_eq!(decode(&encode(&points).unwrap()).unwrap(), points);
        }

        #[test]
        fn damage_is_an_error_or_other_points_but_never_a_panic(
            points in points(),
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
