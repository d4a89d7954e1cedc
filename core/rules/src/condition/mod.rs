//! What a rule asks.

mod absence;
mod expression;
mod level;
mod rate;
mod threshold;
mod window;

use std::fmt;

use serde::Serialize;

pub use absence::{Absence, MAX_SILENCE_US, MIN_SILENCE_US};
pub use expression::{Expression, MAX_EXPRESSION};
pub use level::{Level, Limit};
pub use rate::{MAX_RATE_US, MIN_RATE_US, Rate};
pub use threshold::Threshold;
pub use window::{Aggregate, MAX_WINDOW_US, MIN_WINDOW_US, PANES, Window};

use crate::Error;

/// The longest hold time: 30 days, in µs.
pub const MAX_HOLD_US: i64 = 30 * 24 * 3_600 * 1_000_000;

/// What a rule asks of the samples of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// A limit on the value.
    Threshold(Threshold),
    /// No sample for a time.
    Absence(Absence),
    /// A limit on the change per second.
    Rate(Rate),
    /// A limit on what the samples of a window come to.
    Window(Window),
    /// An expression that is true.
    Expression(Expression),
}

impl Condition {
    /// Which kind it is, in a word.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Threshold(_) => "threshold",
            Self::Absence(_) => "absence",
            Self::Rate(_) => "rate",
            Self::Window(_) => "window",
            Self::Expression(_) => "expression",
        }
    }

    /// How long it must hold before the rule fires, in µs of event time.
    pub const fn hold_us(&self) -> i64 {
        match self {
            Self::Threshold(threshold) => threshold.hold_us(),
            Self::Absence(_) => 0,
            Self::Rate(rate) => rate.hold_us(),
            Self::Window(window) => window.hold_us(),
            Self::Expression(expression) => expression.hold_us(),
        }
    }
}

/// In plain words: "the value is above 5 until at most 4 for 3s".
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threshold(threshold) => threshold.fmt(f),
            Self::Absence(absence) => absence.fmt(f),
            Self::Rate(rate) => rate.fmt(f),
            Self::Window(window) => window.fmt(f),
            Self::Expression(expression) => expression.fmt(f),
        }
    }
}

fn hold(hold_us: i64) -> Result<i64, Error> {
    if (0..=MAX_HOLD_US).contains(&hold_us) {
        Ok(hold_us)
    } else {
        Err(Error::Hold { hold_us })
    }
}

fn held(hold_us: i64) -> String {
    match hold_us {
        0 => String::new(),
        _ => format!(" for {}", span(hold_us)),
    }
}

/// A time span in the largest unit that writes it whole.
fn span(us: i64) -> String {
    let units = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1_000, "ms"),
    ];
    let fits = units.iter().find(|(unit_us, _)| us % unit_us == 0);
    fits.map_or_else(
        || format!("{us}us"),
        |(unit_us, unit)| format!("{}{unit}", us / unit_us),
    )
}
