//! A threshold with a hold time.

use serde::Serialize;

use crate::{Error, Finite};

/// The longest name of a sample, in bytes.
pub const MAX_NAME: usize = 64;

/// The longest hold time: 30 days, in µs.
pub const MAX_HOLD_US: i64 = 30 * 24 * 3_600 * 1_000_000;

/// What is asked of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Greater than this; equal is not above.
    Above(Finite),
    /// Less than this; equal is not below.
    Below(Finite),
}

impl Condition {
    /// Whether `value` meets the condition.
    pub fn holds(self, value: Finite) -> bool {
        match self {
            Self::Above(limit) => value > limit,
            Self::Below(limit) => value < limit,
        }
    }
}

/// "The sample of this name is above (or below) a limit, and stays there for
/// a time." See the crate's page for what exactly that means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Threshold {
    name: String,
    condition: Condition,
    hold_us: i64,
}

impl Threshold {
    /// A threshold on samples called `name` that must hold for `hold_us` µs
    /// (0: fires at the first sample).
    ///
    /// # Errors
    /// [`Error::Name`] and [`Error::Hold`] when a limit is broken.
    pub fn new(name: &str, condition: Condition, hold_us: i64) -> Result<Self, Error> {
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(Error::Name {
                name: name.chars().take(MAX_NAME).collect(),
            });
        }
        if !(0..=MAX_HOLD_US).contains(&hold_us) {
            return Err(Error::Hold { hold_us });
        }
        Ok(Self {
            name: name.to_owned(),
            condition,
            hold_us,
        })
    }

    /// The name of the samples that it looks at.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is asked of their values.
    pub const fn condition(&self) -> Condition {
        self.condition
    }

    /// How long that must hold, in µs of event time.
    pub const fn hold_us(&self) -> i64 {
        self.hold_us
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
        assert!(Condition::Above(finite(1.0)).holds(finite(1.5)));
        assert!(!Condition::Above(finite(1.0)).holds(finite(1.0)));
        assert!(Condition::Below(finite(1.0)).holds(finite(0.5)));
        assert!(!Condition::Below(finite(1.0)).holds(finite(1.0)));
    }

    #[test]
    fn names_and_holds_have_limits() {
        let above = Condition::Above(finite(0.0));
        assert!(Threshold::new(&"x".repeat(MAX_NAME), above, MAX_HOLD_US).is_ok());
        for name in ["", "a\nb", &"x".repeat(MAX_NAME + 1)] {
            assert!(
                matches!(Threshold::new(name, above, 0), Err(Error::Name { .. })),
                "{name:?}"
            );
        }
        for hold_us in [-1, MAX_HOLD_US + 1] {
            assert_eq!(
                Threshold::new("t", above, hold_us),
                Err(Error::Hold { hold_us })
            );
        }
    }
}
