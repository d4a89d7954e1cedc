//! Columns of numbers, compressed by pco.

use pco::ChunkConfig;
use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress_into};

use crate::Error;

/// As small as pco's default of 8 on 2,048 readings, in half the time.
const COMPRESSION_LEVEL: usize = 4;

/// An empty column is no bytes.
pub(super) fn compress<T: Number>(column: &[T]) -> Result<Vec<u8>, Error> {
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
pub(super) fn decompress<T: Number>(
    column: Option<&[u8]>,
    max: usize,
    what: &'static str,
) -> Result<Vec<T>, Error> {
    let Some(column) = column else {
        return Ok(Vec::new());
    };
    let mut values = vec![T::default(); max];
    let progress =
        simple_decompress_into(column, &mut values).map_err(|error| Error::corrupt(what, error))?;
    values.truncate(progress.n_processed);
    Ok(values)
}

/// The one whose column is shorter.
pub(super) fn shorter<T>(one: (T, Vec<u8>), other: (T, Vec<u8>)) -> (T, Vec<u8>) {
    if other.1.len() < one.1.len() {
        other
    } else {
        one
    }
}
