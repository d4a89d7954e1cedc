//! Numbers that can be compared: neither NaN nor infinite.

use std::cmp::Ordering;
use std::fmt;

use minicbor::decode::{self, Decode, Decoder};
use minicbor::encode::{self, Encode, Encoder, Write};
use serde::{Deserialize, Deserializer, Serialize};
use stencil_protocol::sample::{OwnedValue, Value};

/// A number that is neither NaN nor infinite, so that `above` and `below` are
/// decided for every value, and equality is what it seems.
#[derive(Clone, Copy, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Finite(f64);

impl Finite {
    /// Takes a number; `None` for NaN and the infinities.
    pub fn new(value: f64) -> Option<Self> {
        // Negative zero would compare equal and print differently.
        value.is_finite().then_some(Self(value + 0.0))
    }

    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// What a rule sees of a sample's value: numbers as they are, integers as
    /// the nearest double (exact up to 2⁵³), `true` as 1 and `false` as 0.
    /// Text cannot be compared: `None`.
    pub fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Number(number) => Self::new(*number),
            Value::Integer(integer) => Self::new(*integer as f64),
            Value::Bool(bit) => Self::new(f64::from(u8::from(*bit))),
            Value::Text(_) => None,
        }
    }

    /// [`Finite::of`] for the owned form of a value.
    pub fn of_owned(value: &OwnedValue) -> Option<Self> {
        match value {
            OwnedValue::Number(number) => Self::new(*number),
            OwnedValue::Integer(integer) => Self::new(*integer as f64),
            OwnedValue::Bool(bit) => Self::new(f64::from(u8::from(*bit))),
            OwnedValue::Text(_) => None,
        }
    }
}

impl Eq for Finite {}

impl PartialOrd for Finite {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Finite {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Debug for Finite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Finite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Finite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Self::new(value).ok_or_else(|| serde::de::Error::custom("a finite number is needed"))
    }
}

impl<C> Encode<C> for Finite {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.f64(self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Finite {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        Self::new(d.f64()?).ok_or_else(|| decode::Error::message("not a finite number").at(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_nan_nor_infinity_gets_in() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Finite::new(bad), None);
            let bytes = minicbor::to_vec(bad).unwrap();
            assert!(minicbor::decode::<Finite>(&bytes).is_err());
        }
        assert!(serde_json::from_str::<Finite>("1e999").is_err());
    }

    #[test]
    fn the_two_zeros_are_one() {
        let (plus, minus) = (Finite::new(0.0).unwrap(), Finite::new(-0.0).unwrap());
        assert_eq!(plus.cmp(&minus), Ordering::Equal);
        assert_eq!(minus.to_string(), "0");
    }

    #[test]
    fn what_a_rule_sees_of_a_value() {
        assert_eq!(Finite::of(&Value::Integer(-3)), Finite::new(-3.0));
        assert_eq!(Finite::of(&Value::Bool(true)), Finite::new(1.0));
        assert_eq!(Finite::of(&Value::Number(f64::NAN)), None);
        assert_eq!(Finite::of(&Value::Text("7")), None);
        assert_eq!(
            Finite::of_owned(&OwnedValue::Integer(i64::MAX)),
            Finite::new(i64::MAX as f64)
        );
    }
}
