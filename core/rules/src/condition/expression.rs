//! A condition in the Common Expression Language.

use std::fmt;

use serde::Serialize;

use super::{held, hold};
use crate::Error;

/// The longest expression, in bytes.
pub const MAX_EXPRESSION: usize = 1_024;

/// An expression over one sample that is true, and stays true for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expression {
    source: String,
    hold_us: i64,
}

impl Expression {
    /// An expression that must be true for `hold_us` µs.
    ///
    /// # Errors
    /// [`Error::Expression`] and [`Error::Hold`].
    pub fn new(source: &str, hold_us: i64) -> Result<Self, Error> {
        if source.is_empty() || source.len() > MAX_EXPRESSION {
            return Err(Error::Expression {
                at: 1,
                what: format!("it has {} bytes", source.len()),
                right: format!("write 1 to {MAX_EXPRESSION} bytes"),
            });
        }
        let hold_us = hold(hold_us)?;
        Ok(Self {
            source: source.to_owned(),
            hold_us,
        })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How long it must be true, in µs of event time.
    pub const fn hold_us(&self) -> i64 {
        self.hold_us
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.source, held(self.hold_us))
    }
}
