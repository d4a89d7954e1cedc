//! Payloads of devices that were made for other platforms. They number
//! nothing, so the hub tells duplicates by device, key and time.

pub mod thingsboard;

use crate::sample::OwnedSample;

/// The most bytes of a foreign payload.
pub const MAX_BYTES: usize = 64 * 1024;
/// The most samples out of one payload.
pub const MAX_SAMPLES: usize = 1000;
/// The most rejected values that are told one by one.
pub const MAX_REJECTED: usize = 100;

/// What a payload gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// What was readable, at most [`MAX_SAMPLES`].
    pub samples: Vec<OwnedSample>,
    /// What was not: at most [`MAX_REJECTED`], and one more that counts the rest.
    pub rejected: Vec<Rejected>,
}

/// One value that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Where it stands, as a JSON path: `$[2].values.door`.
    pub path: String,
    /// Why, and what would be right.
    pub reason: String,
}

/// Why nothing of a payload can be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More than [`MAX_BYTES`].
    #[error("the payload has {bytes} bytes, at most {MAX_BYTES} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is not JSON.
    #[error("the payload is not JSON: {what} at line {line}, column {column}")]
    Json {
        /// What is wrong.
        what: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// It is JSON, but neither an object nor a list.
    #[error(
        "the payload is {found}; right is {{\"key\": value}}, {{\"ts\": ms, \"values\": {{}}}} or a list of these"
    )]
    Shape {
        /// What it is.
        found: &'static str,
    },
}
