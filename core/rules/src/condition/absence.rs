//! No sample for a time.

use std::fmt;

use serde::Serialize;

use super::span;
use crate::Error;

/// The shortest silence that can be asked for: one second, in µs.
pub const MIN_SILENCE_US: i64 = 1_000_000;

/// The longest silence that can be asked for: 30 days, in µs.
pub const MAX_SILENCE_US: i64 = 30 * 24 * 3_600 * 1_000_000;

/// "No sample for a time." A device is watched from its first sample on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Absence {
    silence_us: i64,
}

impl Absence {
    /// Silence of `silence_us` µs.
    ///
    /// # Errors
    /// [`Error::Silence`].
    pub fn new(silence_us: i64) -> Result<Self, Error> {
        if !(MIN_SILENCE_US..=MAX_SILENCE_US).contains(&silence_us) {
            return Err(Error::Silence { silence_us });
        }
        Ok(Self { silence_us })
    }

    /// How long a device may be silent, in µs.
    pub const fn silence_us(&self) -> i64 {
        self.silence_us
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no sample for {}", span(self.silence_us))
    }
}
