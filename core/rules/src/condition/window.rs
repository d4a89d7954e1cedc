//! What the samples of a sliding window come to.

use std::fmt;

use serde::Serialize;

use super::{Level, held, hold, span};
use crate::Error;

/// How many panes a window is cut into: it slides by one pane at a time.
pub const PANES: i64 = 20;

/// The shortest window: one second, in µs.
pub const MIN_WINDOW_US: i64 = 1_000_000;

/// The longest window: 7 days, in µs.
pub const MAX_WINDOW_US: i64 = 7 * 24 * 3_600 * 1_000_000;

/// What is made of the samples of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// How many there are; texts count too.
    Count,
    /// The arithmetic mean.
    Mean,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The 95th percentile by nearest rank, from a sketch.
    P95,
}

impl Aggregate {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Count, Self::Mean, Self::Min, Self::Max, Self::P95];

    /// Its name in a definition.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::P95 => "p95",
        }
    }
}

/// "The mean (or count, …) of the last so many minutes is above (or below) a limit."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    of: Aggregate,
    over_us: i64,
    lateness_us: i64,
    level: Level,
    hold_us: i64,
}

impl Window {
    /// A limit on an aggregate over `over_us` µs of event time, judged when
    /// samples are no longer expected to be missing: `lateness_us` µs later.
    ///
    /// # Errors
    /// [`Error::Over`], [`Error::Lateness`] and [`Error::Hold`].
    pub fn new(
        of: Aggregate,
        over_us: i64,
        lateness_us: i64,
        level: Level,
        hold_us: i64,
    ) -> Result<Self, Error> {
        if !(MIN_WINDOW_US..=MAX_WINDOW_US).contains(&over_us) {
            return Err(Error::Over {
                over_us,
                most_us: MAX_WINDOW_US,
            });
        }
        if !(0..=over_us).contains(&lateness_us) {
            return Err(Error::Lateness {
                lateness_us,
                over_us,
            });
        }
        let hold_us = hold(hold_us)?;
        Ok(Self {
            of,
            over_us,
            lateness_us,
            level,
            hold_us,
        })
    }

    /// What is made of the samples.
    pub const fn of(&self) -> Aggregate {
        self.of
    }

    /// The length of the window, in µs of event time.
    pub const fn over_us(&self) -> i64 {
        self.over_us
    }

    /// How late a sample may be and still count, in µs of event time.
    pub const fn lateness_us(&self) -> i64 {
        self.lateness_us
    }

    /// What is asked of the aggregate.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// How long that must hold, in µs of event time.
    pub const fn hold_us(&self) -> i64 {
        self.hold_us
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (of, over, level) = (self.of.name(), span(self.over_us), self.level);
        write!(f, "the {of} over {over} is {level}{}", held(self.hold_us))
    }
}
