//! One measurement: what was measured, its value, its unit and when.

use crate::cbor::{self, Reader, Scalar, Writer};

/// The longest name in bytes.
pub const MAX_NAME: usize = 64;
/// The longest text value in bytes.
pub const MAX_TEXT: usize = 256;
/// The longest unit in bytes.
pub const MAX_UNIT: usize = 16;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A finite number.
    Number(f64),
    /// A count or a code.
    Integer(i64),
    /// Yes or no.
    Bool(bool),
    /// A text of at most [`MAX_TEXT`] bytes.
    Text(&'a str),
}

/// One measurement with its event time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// What was measured, `temperature`: 1 to [`MAX_NAME`] bytes, no control characters.
    pub name: &'a str,
    /// The value.
    pub value: Value<'a>,
    /// The unit, `degC`: at most [`MAX_UNIT`] bytes.
    pub unit: Option<&'a str>,
    /// When it was measured: microseconds since the Unix epoch.
    pub time_us: i64,
}

/// Why a sample is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name is empty.
    #[error("a sample's name may not be empty")]
    NameEmpty,
    /// The name is longer than [`MAX_NAME`].
    #[error("a sample's name may have at most {MAX_NAME} bytes, this has {bytes}")]
    NameTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The name or unit has a control character.
    #[error("a sample's {part} may not have control characters")]
    Control {
        /// `name` or `unit`.
        part: &'static str,
    },
    /// The text is longer than [`MAX_TEXT`].
    #[error("a text value may have at most {MAX_TEXT} bytes, this has {bytes}")]
    TextTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The unit is longer than [`MAX_UNIT`].
    #[error("a unit may have at most {MAX_UNIT} bytes, this has {bytes}")]
    UnitTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The number is infinite or not a number.
    #[error("a number has to be finite")]
    NotFinite,
    /// The integer does not fit into 64 bits with sign.
    #[error("an integer has to fit into 64 bits with sign")]
    IntegerRange,
    /// The value is null, bytes, a list or a map.
    #[error("a value is a number, an integer, true, false or a text")]
    Kind,
    /// The event time does not fit.
    #[error("the event time does not fit into 64 bits of microseconds")]
    Time,
    /// The sample refers to a name that the batch has not defined before it.
    #[error("the sample refers to name {index}, which the batch does not define before it")]
    UnknownName {
        /// The reference.
        index: u64,
    },
    /// The fields are not those of a sample.
    #[error("a sample is a list of name, time, value and unit")]
    Shape,
    /// The bytes are broken from here on.
    #[error("the batch is broken from here on: {0}")]
    Broken(cbor::Error),
}

impl Value<'_> {
    /// The value as a number: integers are rounded, truth is 1 or 0, a text is none.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a reading beyond 2^53 is rounded"
    )]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::Number(n) => Some(n),
            Value::Integer(n) => Some(n as f64),
            Value::Bool(b) => Some(f64::from(u8::from(b))),
            Value::Text(_) => None,
        }
    }

    /// Checks the limits.
    pub fn check(&self) -> Result<(), Error> {
        match *self {
            Value::Number(n) if !n.is_finite() => Err(Error::NotFinite),
            Value::Text(text) if text.len() > MAX_TEXT => {
                Err(Error::TextTooLong { bytes: text.len() })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) -> Result<(), cbor::Error> {
        match *self {
            Value::Number(n) => match single(n) {
                Some(short) => w.f32(short)?,
                None => w.f64(n)?,
            },
            Value::Integer(n) => w.i64(n)?,
            Value::Bool(b) => w.bool(b)?,
            Value::Text(text) => w.str(text)?,
        };
        Ok(())
    }

    /// `Err` of the outer result: the bytes are broken; of the inner: this value is.
    pub(crate) fn read<'a>(r: &mut Reader<'a>) -> Result<Result<Value<'a>, Error>, cbor::Error> {
        let value = match r.scalar()? {
            Scalar::Bool(b) => Value::Bool(b),
            Scalar::Integer(n) => Value::Integer(n),
            Scalar::Number(n) => Value::Number(n),
            Scalar::Text(text) => Value::Text(text),
            Scalar::Huge => return Ok(Err(Error::IntegerRange)),
            Scalar::Other => return Ok(Err(Error::Kind)),
        };
        Ok(value.check().map(|()| value))
    }
}

impl Sample<'_> {
    /// Checks the limits.
    pub fn check(&self) -> Result<(), Error> {
        check_name(self.name)?;
        if let Some(unit) = self.unit {
            check_unit(unit)?;
        }
        self.value.check()
    }
}

/// Checks a sample's name.
pub fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        Err(Error::NameEmpty)
    } else if name.len() > MAX_NAME {
        Err(Error::NameTooLong { bytes: name.len() })
    } else if name.chars().any(char::is_control) {
        Err(Error::Control { part: "name" })
    } else {
        Ok(())
    }
}

fn check_unit(unit: &str) -> Result<(), Error> {
    if unit.len() > MAX_UNIT {
        Err(Error::UnitTooLong { bytes: unit.len() })
    } else if unit.chars().any(char::is_control) {
        Err(Error::Control { part: "unit" })
    } else {
        Ok(())
    }
}

/// The number in single precision if that loses nothing: four bytes fewer.
#[expect(clippy::cast_possible_truncation, reason = "the way back is compared")]
fn single(n: f64) -> Option<f32> {
    let short = n as f32;
    (f64::from(short).to_bits() == n.to_bits()).then_some(short)
}

#[cfg(feature = "alloc")]
pub use owned::{OwnedSample, OwnedValue};

#[cfg(feature = "alloc")]
mod owned {
    use super::{Sample, Value};
    use alloc::borrow::ToOwned;
    use alloc::string::String;

    /// A [`Value`] that holds its text. In JSON it is the bare value.
    #[derive(Clone, Debug, PartialEq)]
    #[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
    #[cfg_attr(feature = "std", serde(untagged))]
    pub enum OwnedValue {
        /// Yes or no.
        Bool(bool),
        /// A count or a code.
        Integer(i64),
        /// A finite number.
        Number(f64),
        /// A text.
        Text(String),
    }

    /// A [`Sample`] that holds its texts.
    #[derive(Clone, Debug, PartialEq)]
    #[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
    pub struct OwnedSample {
        /// What was measured.
        pub name: String,
        /// The value.
        pub value: OwnedValue,
        /// The unit.
        #[cfg_attr(
            feature = "std",
            serde(default, skip_serializing_if = "Option::is_none")
        )]
        pub unit: Option<String>,
        /// When: microseconds since the Unix epoch.
        pub time_us: i64,
    }

    impl OwnedValue {
        /// The borrowed form.
        pub fn as_ref(&self) -> Value<'_> {
            match self {
                OwnedValue::Bool(b) => Value::Bool(*b),
                OwnedValue::Integer(n) => Value::Integer(*n),
                OwnedValue::Number(n) => Value::Number(*n),
                OwnedValue::Text(text) => Value::Text(text),
            }
        }
    }

    impl OwnedSample {
        /// The borrowed form.
        pub fn as_ref(&self) -> Sample<'_> {
            Sample {
                name: &self.name,
                value: self.value.as_ref(),
                unit: self.unit.as_deref(),
                time_us: self.time_us,
            }
        }
    }

    impl From<Value<'_>> for OwnedValue {
        fn from(value: Value<'_>) -> Self {
            match value {
                Value::Bool(b) => OwnedValue::Bool(b),
                Value::Integer(n) => OwnedValue::Integer(n),
                Value::Number(n) => OwnedValue::Number(n),
                Value::Text(text) => OwnedValue::Text(text.to_owned()),
            }
        }
    }

    impl From<Sample<'_>> for OwnedSample {
        fn from(sample: Sample<'_>) -> Self {
            OwnedSample {
                name: sample.name.to_owned(),
                value: sample.value.into(),
                unit: sample.unit.map(ToOwned::to_owned),
                time_us: sample.time_us,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> Sample<'_> {
        Sample {
            name,
            value: Value::Bool(true),
            unit: None,
            time_us: 0,
        }
    }

    #[test]
    fn limits_at_their_edges() {
        let text = "x".repeat(257);
        assert_eq!(sample(&text[..64]).check(), Ok(()));
        assert_eq!(
            sample(&text[..65]).check(),
            Err(Error::NameTooLong { bytes: 65 })
        );
        assert_eq!(sample("").check(), Err(Error::NameEmpty));
        assert_eq!(sample("a\nb").check(), Err(Error::Control { part: "name" }));
        assert_eq!(Value::Text(&text[..256]).check(), Ok(()));
        assert_eq!(
            Value::Text(&text).check(),
            Err(Error::TextTooLong { bytes: 257 })
        );
        assert_eq!(Value::Number(f64::NAN).check(), Err(Error::NotFinite));
        let with_unit = |unit| Sample {
            unit: Some(unit),
            ..sample("t")
        };
        assert_eq!(with_unit(&text[..16]).check(), Ok(()));
        assert_eq!(
            with_unit(&text[..17]).check(),
            Err(Error::UnitTooLong { bytes: 17 })
        );
    }

    #[cfg(feature = "std")]
    #[test]
    fn json_is_the_bare_value() {
        for (value, json) in [
            (OwnedValue::Bool(true), "true"),
            (OwnedValue::Integer(-3), "-3"),
            (OwnedValue::Number(2.5), "2.5"),
            (OwnedValue::Number(2.0), "2.0"),
            (OwnedValue::Text("a".into()), "\"a\""),
        ] {
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
            assert_eq!(serde_json::from_str::<OwnedValue>(json).unwrap(), value);
        }
    }
}
