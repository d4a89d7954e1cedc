//! From "the condition holds" to "the rule fires": the hold time.

use minicbor::{Decode, Encode};

use crate::{Cause, Change, Clearing, Finite, Firing};

/// Where a condition is on its way to firing and back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Phase {
    /// The condition did not hold when it was last judged (or never was).
    #[default]
    #[n(0)]
    Armed,
    /// It holds, not long enough yet.
    #[n(1)]
    Holding {
        #[n(0)]
        since_us: i64,
    },
    /// It holds, and the rule has fired.
    #[n(2)]
    Fired {
        /// The first release did not save it.
        #[n(0)]
        since_us: Option<i64>,
    },
}

/// A judgement on a condition, and what it rests on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verdict {
    pub(crate) holds: bool,
    pub(crate) at_us: i64,
    pub(crate) value: Option<Finite>,
    pub(crate) cause: Cause,
}

impl Phase {
    /// Whether the condition held when it was last judged.
    pub(crate) const fn holds(self) -> bool {
        !matches!(self, Self::Armed)
    }

    /// Whether the rule has fired in the run that goes on.
    pub(crate) const fn has_fired(self) -> bool {
        matches!(self, Self::Fired { .. })
    }

    pub(crate) fn apply(&mut self, hold_us: i64, verdict: Verdict) -> Option<Change> {
        let Verdict {
            holds,
            at_us,
            value,
            cause,
        } = verdict;
        if !holds {
            let Self::Fired { since_us } = std::mem::take(self) else {
                return None;
            };
            return Some(Change::Cleared(Clearing {
                since_us: since_us.unwrap_or(at_us),
                at_us,
                value,
                cause,
            }));
        }
        let since_us = match *self {
            Self::Fired { .. } => return None,
            Self::Holding { since_us } => since_us,
            Self::Armed => at_us,
        };
        if at_us.saturating_sub(since_us) < hold_us {
            *self = Self::Holding { since_us };
            return None;
        }
        *self = Self::Fired {
            since_us: Some(since_us),
        };
        Some(Change::Fired(Firing {
            since_us,
            at_us,
            value,
            cause,
        }))
    }
}
