//! A value as a document has it: one text for each value, so that what is read is what is hashed.

use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use stencil_protocol::sample::OwnedValue;

use super::form::{NotSo, decimal};
use super::short;

/// A value with its type: `{ "number": "21.5" }`. A number is the shortest decimal text that gives its 64
/// bits back (IEEE 754), as JSON, the API and published pages have it, and no other text that does so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueForm {
    /// A number of 64 bits.
    Number(String),
    /// An integer.
    Integer(#[serde(with = "decimal")] i64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
}

impl ValueForm {
    /// Of a value.
    #[must_use]
    pub fn of(value: &OwnedValue) -> Self {
        match value {
            OwnedValue::Number(number) => Self::Number(written(*number)),
            OwnedValue::Integer(integer) => Self::Integer(*integer),
            OwnedValue::Bool(bit) => Self::Bool(*bit),
            OwnedValue::Text(text) => Self::Text(text.clone()),
        }
    }

    /// The value. Many texts round to the same bits and so lead to the same leaf: all but one of them are
    /// figures that nobody has measured.
    pub(super) fn value(&self) -> Result<OwnedValue, NotSo> {
        Ok(match self {
            Self::Number(text) => {
                let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
                let number =
                    number.ok_or_else(|| NotSo(format!("{:?} is no number", short(text))))?;
                let right = written(number);
                if *text != right {
                    return Err(NotSo(format!(
                        "the number {:?} is not as proofs have it: the measured one that is nearest to it is \
                         written {right:?}",
                        short(text)
                    )));
                }
                OwnedValue::Number(number)
            }
            Self::Integer(integer) => OwnedValue::Integer(*integer),
            Self::Bool(bit) => OwnedValue::Bool(*bit),
            Self::Text(text) => OwnedValue::Text(text.clone()),
        })
    }

    /// As people read it.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Number(text) | Self::Text(text) => text.clone(),
            Self::Integer(integer) => integer.to_string(),
            Self::Bool(bit) => bit.to_string(),
        }
    }
}

/// The text of a number. Not as `Display` has it: of two shortest texts that are equally close it takes
/// another one.
fn written(number: f64) -> String {
    serde_json::Number::from_f64(number)
        .map_or_else(|| number.to_string(), |number| number.to_string())
}

/// Of which type a value is.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Number,
    Integer,
    Bool,
    Text,
}

#[derive(Deserialize)]
struct Integer(#[serde(with = "decimal")] i64);

struct Held;

impl<'de> Visitor<'de> for Held {
    type Value = ValueForm;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its type, such as {\"number\":\"21.5\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ValueForm, A::Error> {
        const ONE: &str = "a value is one of `number`, `integer`, `bool` and `text`";
        let kind = map.next_key::<Kind>()?;
        let kind = kind.ok_or_else(|| A::Error::custom(format_args!("{ONE}, and it is none")))?;
        let value = match kind {
            Kind::Number => ValueForm::Number(map.next_value()?),
            Kind::Integer => ValueForm::Integer(map.next_value::<Integer>()?.0),
            Kind::Bool => ValueForm::Bool(map.next_value()?),
            Kind::Text => ValueForm::Text(map.next_value()?),
        };
        match map.next_key::<IgnoredAny>()? {
            None => Ok(value),
            Some(_) => Err(A::Error::custom(format_args!(
                "{ONE}, and nothing may stand beside it"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for ValueForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same reading reads the same, wherever it stands.
    #[test]
    fn numbers_are_written_as_the_api_and_pages_write_them() {
        // Of singles, as most devices send them: 12.248306274414062 lies between two shortest texts.
        let singles = (0..200_000_u32).map(|n| f32::from_bits(n.wrapping_mul(0x9e37_79b9)));
        let numbers = singles.map(f64::from).chain([
            12.248_306_274_414_062,
            2.0,
            -0.0,
            1e21,
            5e-324,
            f64::MAX,
        ]);
        for number in numbers.filter(|number| number.is_finite()) {
            let held = OwnedValue::Number(number);
            let form = ValueForm::of(&held);
            assert_eq!(form.shown(), serde_json::to_string(&held).unwrap());
            let OwnedValue::Number(back) = form.value().unwrap() else {
                panic!("{number}")
            };
            assert_eq!(back.to_bits(), number.to_bits());
        }
    }

    /// Proofs that were given are read as they were written: these texts do not change.
    #[test]
    fn a_number_has_one_text() {
        for (right, others) in [
            (
                "13.738327026367188",
                &[
                    "13.7383270263671880",
                    "13.73832702636718799999",
                    "13.738327026367187500",
                    "013.738327026367188",
                    "+13.738327026367188",
                    "1.3738327026367188e1",
                    "13738327026367188e-15",
                ][..],
            ),
            (
                "9.746246337890625",
                &["9.74624633789062549", "9.74624633789062501"],
            ),
            ("2.0", &["2", "2.", "2.00", "2e0"]),
            ("-0.0", &["-0", "-0.", "-.0"]),
            ("0.5", &[".5", "5e-1"]),
            ("1e+21", &["1e21", "1E+21", "1000000000000000000000"]),
            ("5e-324", &["4.9e-324", "5E-324", "3e-324"]),
        ] {
            ValueForm::Number(right.to_owned()).value().unwrap();
            for other in others {
                let NotSo(why) = ValueForm::Number((*other).to_owned()).value().unwrap_err();
                assert!(
                    why.contains(&format!("written {right:?}")),
                    "{other}: {why}"
                );
            }
        }
        for none in ["", "inf", "NaN", "1e999", "x", " 13.5"] {
            let NotSo(why) = ValueForm::Number(none.to_owned()).value().unwrap_err();
            assert!(why.contains("is no number"), "{why}");
        }
    }

    #[test]
    fn a_value_is_one() {
        let read =
            |text: &str| serde_json::from_str::<ValueForm>(text).map_err(|error| error.to_string());
        for good in [
            "{\"number\":\"21.5\"}",
            "{\"integer\":\"-7\"}",
            "{\"bool\":true}",
            "{\"text\":\"a\"}",
        ] {
            let value = read(good).unwrap();
            assert_eq!(serde_json::to_string(&value).unwrap(), good);
        }
        for (wrong, words) in [
            (
                "{\"number\":\"21.5\",\"integer\":\"21\"}",
                "nothing may stand beside it",
            ),
            (
                "{\"text\":\"a\",\"text\":\"b\"}",
                "nothing may stand beside it",
            ),
            (
                "{}",
                "one of `number`, `integer`, `bool` and `text`, and it is none",
            ),
            ("{\"float\":\"1\"}", "expected one of `number`"),
            ("{\"integer\":\"007\"}", "a whole number as text"),
            ("\"21.5\"", "such as {\"number\":\"21.5\"}"),
            ("21.5", "such as {\"number\":\"21.5\"}"),
        ] {
            let why = read(wrong).unwrap_err();
            assert!(why.contains(words), "{wrong}: {why}");
        }
    }
}
