//! A condition in the Common Expression Language.

mod check;
mod evaluate;
mod kinds;
mod native;

use std::fmt;
use std::sync::Arc;

use cel::Program;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use self::native::Native;
use super::{held, hold};
use crate::{Error, Observation};

/// The longest expression, in bytes.
pub const MAX_EXPRESSION: usize = 1_024;

/// An expression over one sample that is true, and stays true for a time. See the
/// crate's page for what it may hold.
#[derive(Clone)]
pub struct Expression {
    hold_us: i64,
    compiled: Arc<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    source: Box<str>,
    /// For numbers, where the expression only compares.
    native: Option<Native>,
    program: Program,
}

impl Expression {
    /// An expression that must be true for `hold_us` µs. It is compiled here, once.
    ///
    /// # Errors
    /// [`Error::Expression`] and [`Error::Hold`].
    pub fn new(source: &str, hold_us: i64) -> Result<Self, Error> {
        let hold_us = hold(hold_us)?;
        let program = check::compile(source)?;
        let native = Native::of(program.expression());
        let source = source.into();
        Ok(Self {
            hold_us,
            compiled: Arc::new(Compiled {
                source,
                native,
                program,
            }),
        })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.compiled.source
    }

    /// How long it must be true, in µs of event time.
    pub const fn hold_us(&self) -> i64 {
        self.hold_us
    }

    /// Whether it only compares, so that no interpreter is needed for numbers.
    pub fn is_native(&self) -> bool {
        self.compiled.native.is_some()
    }

    /// Whether it is true for a sample; `None` if it cannot be evaluated.
    pub(crate) fn evaluate(&self, sample: &Observation<'_>) -> Option<bool> {
        match (&self.compiled.native, native::number(&sample.value)) {
            (Some(native), Some(value)) => Some(native.holds(value, sample)),
            _ => evaluate::run(&self.compiled.program, sample),
        }
    }
}

/// The same question if written the same.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source() && self.hold_us == other.hold_us
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expression")
            .field("source", &self.source())
            .field("hold_us", &self.hold_us)
            .field("native", &self.is_native())
            .finish()
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Expression", 2)?;
        fields.serialize_field("source", self.source())?;
        fields.serialize_field("hold_us", &self.hold_us)?;
        fields.end()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.source(), held(self.hold_us))
    }
}
