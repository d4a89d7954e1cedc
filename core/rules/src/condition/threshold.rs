//! A limit on the value itself.

use std::fmt;

use serde::Serialize;

use super::{Level, held, hold};
use crate::Error;

/// "The value is above (or below) a limit, and stays there for a time." See the
/// crate's page for what exactly that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Threshold {
    level: Level,
    hold_us: i64,
}

impl Threshold {
    /// A threshold that must hold for `hold_us` µs (0: fires at the first sample).
    ///
    /// # Errors
    /// [`Error::Hold`].
    pub fn new(level: Level, hold_us: i64) -> Result<Self, Error> {
        let hold_us = hold(hold_us)?;
        Ok(Self { level, hold_us })
    }

    /// What is asked of values.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// How long that must hold, in µs of event time.
    pub const fn hold_us(&self) -> i64 {
        self.hold_us
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value is {}{}", self.level, held(self.hold_us))
    }
}
