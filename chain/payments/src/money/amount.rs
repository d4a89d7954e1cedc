//! A count of base units.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::U256;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Error, text};

/// How large an amount of an invoice may be. Sums of all that one invoice can hold stay far below
/// 2²⁵⁵, so that they can be added and subtracted without an overflow, whatever a token claims.
pub const MAX_AMOUNT_BITS: usize = 192;

/// Base units of an asset: wei of ether, a millionth of a USDC. In JSON a string of decimal digits
/// without leading zeros.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub U256);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(U256::ZERO);

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Whether it is within [`MAX_AMOUNT_BITS`].
    #[must_use]
    pub fn is_sane(self) -> bool {
        self.0.bit_len() <= MAX_AMOUNT_BITS
    }

    /// The sum, or `None` where it does not fit 256 bits.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` where it would be less than nothing.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The sum; at most the largest amount.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference; at least nothing.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl From<u64> for Amount {
    fn from(units: u64) -> Self {
        Self(U256::from(units))
    }
}

impl From<u128> for Amount {
    fn from(units: u128) -> Self {
        Self(U256::from(units))
    }
}

impl std::iter::Sum for Amount {
    /// The sum; at most the largest amount.
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Amount {
    type Err = Error;

    /// Decimal digits without sign, point, exponent or leading zeros.
    fn from_str(digits: &str) -> Result<Self, Error> {
        let has_zeros = digits.len() > 1 && digits.starts_with('0');
        if has_zeros || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let shown = digits.chars().filter(|c| !c.is_control()).take(40);
            return Err(Error::NotUnits(shown.collect()));
        }
        text::parse(digits, 0, "a count of base units").map(Self)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_a_string_of_digits_and_nothing_else() {
        let most = Amount(U256::MAX);
        let json = serde_json::to_string(&most).unwrap();
        assert_eq!(
            json,
            r#""115792089237316195423570985008687907853269984665640564039457584007913129639935""#
        );
        assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), most);
        for wrong in [
            "10000",
            r#""0x10""#,
            r#""1e3""#,
            r#""-1""#,
            r#""1.0""#,
            r#""""#,
            r#""007""#,
            r#"" 7""#,
            r#""115792089237316195423570985008687907853269984665640564039457584007913129639936""#,
        ] {
            assert!(serde_json::from_str::<Amount>(wrong).is_err(), "{wrong}");
        }
        for wrong in ["0002777778", "0x2a", "+1", "1.5", "1e3"] {
            let told = wrong.parse::<Amount>().unwrap_err().to_string();
            assert!(
                told.contains(wrong) && told.contains("such as 2500000"),
                "{told}"
            );
        }
    }
}
