//! What an engine may cost, and what it counts.

use crate::Change;

/// What an engine may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most rules; more are refused ([`Error::TooManyRules`](crate::Error::TooManyRules)).
    /// Default 100,000.
    pub max_rules: usize,
    /// The most states (rule × device); samples of further devices are not
    /// watched, and counted ([`Metrics::unwatched`]). Default 1,000,000.
    pub max_states: usize,
    /// The most pairs of device and name whose rules are remembered; with more,
    /// all are forgotten and looked up again as they come. Default 1,000,000.
    pub max_subjects: usize,
    /// Samples further ahead of their reception than this are ignored and
    /// counted, in µs: one reading of a clock that runs years ahead would
    /// otherwise silence a rule for years. Default 10 minutes.
    pub max_ahead_us: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            max_rules: 100_000,
            max_states: 1_000_000,
            max_subjects: 1_000_000,
            max_ahead_us: 600 * 1_000_000,
        }
    }
}

/// What an engine did and did not look at, counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Samples too late to be judged by a rule.
    pub late: u64,
    /// Samples too far ahead of their reception.
    pub ahead: u64,
    /// Samples of devices beyond [`Bounds::max_states`].
    pub unwatched: u64,
    /// Expressions that could not be evaluated on a sample, and so were false.
    pub errors: u64,
    /// Rules that fired.
    pub fired: u64,
    /// Rules that cleared.
    pub cleared: u64,
}

impl Metrics {
    pub(crate) fn count(&mut self, change: Change) {
        match change {
            Change::Fired(_) => self.fired += 1,
            Change::Cleared(_) => self.cleared += 1,
        }
    }
}
