//! How fast a value changes.

use std::fmt;

use serde::Serialize;

use super::{Level, held, hold, span};
use crate::Error;

/// The shortest time over which a rate is taken: one second, in µs.
pub const MIN_RATE_US: i64 = 1_000_000;

/// The longest time over which a rate is taken: 7 days, in µs.
pub const MAX_RATE_US: i64 = 7 * 24 * 3_600 * 1_000_000;

/// "The value changes by more than so much per second, taken over a time."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rate {
    over_us: i64,
    level: Level,
    hold_us: i64,
}

impl Rate {
    /// A limit on the change per second over `over_us` µs.
    ///
    /// # Errors
    /// [`Error::Over`] and [`Error::Hold`].
    pub fn new(over_us: i64, level: Level, hold_us: i64) -> Result<Self, Error> {
        if !(MIN_RATE_US..=MAX_RATE_US).contains(&over_us) {
            return Err(Error::Over {
                over_us,
                most_us: MAX_RATE_US,
            });
        }
        let hold_us = hold(hold_us)?;
        Ok(Self {
            over_us,
            level,
            hold_us,
        })
    }

    /// Over how long the change is taken, in µs of event time.
    pub const fn over_us(&self) -> i64 {
        self.over_us
    }

    /// What is asked of the change, per second.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// How long that must hold, in µs of event time.
    pub const fn hold_us(&self) -> i64 {
        self.hold_us
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (over, level) = (span(self.over_us), self.level);
        write!(
            f,
            "the change per second over {over} is {level}{}",
            held(self.hold_us)
        )
    }
}
