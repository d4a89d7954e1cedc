//! What rules tell: they fire, and what made them fire ends.

use serde::Serialize;

use crate::{Cause, Finite};

/// A change of a rule on one device. The two alternate, beginning with `Fired`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The condition has held for as long as was asked.
    Fired(Firing),
    /// It no longer holds, having fired.
    Cleared(Clearing),
}

impl Change {
    /// The event time of the change, µs.
    pub const fn at_us(&self) -> i64 {
        match self {
            Self::Fired(firing) => firing.at_us,
            Self::Cleared(clearing) => clearing.at_us,
        }
    }
}

/// A rule that fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Firing {
    /// Since when the condition has held, µs: the first sample (for a window: the
    /// end of the first window) of the run; for absence when the device was last heard.
    pub since_us: i64,
    /// When it fired, µs of event time.
    pub at_us: i64,
    /// What was compared: the value, the change per second, the aggregate; for an
    /// expression the value, if it is a number. Absence has none.
    pub value: Option<Finite>,
    /// What made it fire; with the device it names this firing.
    pub cause: Cause,
}

/// A rule whose condition no longer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Clearing {
    /// The `since_us` of the firing that it ends.
    pub since_us: i64,
    /// When it ended, µs of event time.
    pub at_us: i64,
    /// What was compared, as in [`Firing::value`]; for absence the value that came.
    pub value: Option<Finite>,
    /// What ended it.
    pub cause: Cause,
}
