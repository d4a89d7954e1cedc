//! What kind of value a part of an expression can have.

use std::fmt;
use std::ops::BitOr;

/// A set of kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NONE: Self = Self(0);
    pub(super) const BOOL: Self = Self(1);
    pub(super) const INT: Self = Self(1 << 1);
    pub(super) const UINT: Self = Self(1 << 2);
    pub(super) const DOUBLE: Self = Self(1 << 3);
    pub(super) const STRING: Self = Self(1 << 4);
    pub(super) const BYTES: Self = Self(1 << 5);
    pub(super) const NULL: Self = Self(1 << 6);
    pub(super) const LIST: Self = Self(1 << 7);
    pub(super) const ANY: Self = Self(u8::MAX);
    pub(super) const NUMBER: Self = Self(Self::INT.0 | Self::UINT.0 | Self::DOUBLE.0);

    const NAMES: [(Self, &str); 8] = [
        (Self::BOOL, "bool"),
        (Self::INT, "int"),
        (Self::UINT, "uint"),
        (Self::DOUBLE, "double"),
        (Self::STRING, "string"),
        (Self::BYTES, "bytes"),
        (Self::NULL, "null"),
        (Self::LIST, "list"),
    ];

    /// The kinds that both have.
    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The kinds that either has.
    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        !self.and(other).is_empty()
    }

    /// Whether a value of one can be equal to (or less than) one of the other: numbers
    /// of all kinds compare with each other.
    pub(super) const fn compares(self, other: Self) -> bool {
        self.meets(other) || (self.meets(Self::NUMBER) && other.meets(Self::NUMBER))
    }
}

impl BitOr for Kinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

/// "double, bool or string".
impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Self::NAMES
            .iter()
            .filter(|(kind, _)| self.meets(*kind))
            .map(|(_, name)| *name)
            .collect();
        match names.split_last() {
            None => f.write_str("nothing"),
            Some((one, [])) => f.write_str(one),
            Some((last, others)) => write!(f, "{} or {last}", others.join(", ")),
        }
    }
}
