//! A limit, and how far back a number must come before the condition ends.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::{Error, Finite};

/// What is asked of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Greater than this; equal is not above.
    #[n(0)]
    Above(#[n(0)] Finite),
    /// Less than this; equal is not below.
    #[n(1)]
    Below(#[n(0)] Finite),
}

impl Limit {
    /// Whether `value` is beyond the limit.
    pub fn holds(self, value: Finite) -> bool {
        match self {
            Self::Above(limit) => value > limit,
            Self::Below(limit) => value < limit,
        }
    }

    /// The number.
    pub const fn get(self) -> Finite {
        match self {
            Self::Above(limit) | Self::Below(limit) => limit,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above(limit) => write!(f, "above {limit}"),
            Self::Below(limit) => write!(f, "below {limit}"),
        }
    }
}

/// A limit with hysteresis: the condition begins beyond the limit, and goes on
/// until the number is no longer beyond `clear`. Without `clear` the two are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct Level {
    #[n(0)]
    limit: Limit,
    #[n(1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    clear: Option<Finite>,
}

impl Level {
    /// A limit, and where the condition ends once it has begun.
    ///
    /// # Errors
    /// [`Error::Clear`] when `clear` lies beyond the limit: there the condition
    /// would end before it begins.
    pub fn new(limit: Limit, clear: Option<Finite>) -> Result<Self, Error> {
        match clear {
            Some(clear) if limit.holds(clear) => Err(Error::Clear { limit, clear }),
            _ => Ok(Self { limit, clear }),
        }
    }

    /// Where the condition begins.
    pub const fn limit(&self) -> Limit {
        self.limit
    }

    /// Where it ends, if that is elsewhere.
    pub const fn clear(&self) -> Option<Finite> {
        self.clear
    }

    /// Whether the condition holds at `value`, having held just before or not.
    pub fn holds(&self, before: bool, value: Finite) -> bool {
        match (before, self.clear, self.limit) {
            (true, Some(clear), Limit::Above(_)) => value > clear,
            (true, Some(clear), Limit::Below(_)) => value < clear,
            _ => self.limit.holds(value),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.clear, self.limit) {
            (None, limit) => write!(f, "{limit}"),
            (Some(clear), Limit::Above(_)) => write!(f, "{} until at most {clear}", self.limit),
            (Some(clear), Limit::Below(_)) => write!(f, "{} until at least {clear}", self.limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finite(value: f64) -> Finite {
        Finite::new(value).unwrap()
    }

    #[test]
    fn equal_is_neither_above_nor_below() {
        assert!(Limit::Above(finite(1.0)).holds(finite(1.5)));
        assert!(!Limit::Above(finite(1.0)).holds(finite(1.0)));
        assert!(Limit::Below(finite(1.0)).holds(finite(0.5)));
        assert!(!Limit::Below(finite(1.0)).holds(finite(1.0)));
    }

    #[test]
    fn once_begun_it_holds_until_the_other_limit() {
        let above = Level::new(Limit::Above(finite(5.0)), Some(finite(4.0))).unwrap();
        let below = Level::new(Limit::Below(finite(4.0)), Some(finite(5.0))).unwrap();
        for (value, before, is_above, is_below) in [
            (5.5, false, true, false),
            (4.5, false, false, false),
            (4.5, true, true, true),
            (4.0, true, false, true),
            (5.0, true, true, false),
            (3.5, false, false, true),
        ] {
            assert_eq!(
                above.holds(before, finite(value)),
                is_above,
                "{value} {before}"
            );
            assert_eq!(
                below.holds(before, finite(value)),
                is_below,
                "{value} {before}"
            );
        }
    }

    #[test]
    fn a_condition_cannot_end_before_it_begins() {
        assert!(Level::new(Limit::Above(finite(5.0)), Some(finite(5.0))).is_ok());
        let error = Level::new(Limit::Above(finite(5.0)), Some(finite(6.0))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a condition that begins above 5 cannot end at 6"
        );
        assert!(Level::new(Limit::Below(finite(5.0)), Some(finite(4.0))).is_err());
    }
}
