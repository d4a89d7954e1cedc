//! Arguments of a call.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Error;

/// The arguments, by position.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<Value>);

impl Params {
    /// Takes `params` of a request.
    ///
    /// # Errors
    /// When they are neither absent nor a list.
    pub(crate) fn read(params: Option<Value>) -> Result<Self, Error> {
        match params {
            None | Some(Value::Null) => Ok(Self::default()),
            Some(Value::Array(values)) => Ok(Self(values)),
            Some(_) => Err(Error::params("non-array args")),
        }
    }

    /// Says no to more arguments than the method has.
    pub(crate) fn at_most(self, most: usize) -> Result<Self, Error> {
        if self.0.len() > most {
            return Err(Error::params(format!(
                "too many arguments, want at most {most}"
            )));
        }
        Ok(self)
    }

    /// An argument that must be there.
    pub(crate) fn want<T: DeserializeOwned>(&mut self, index: usize) -> Result<T, Error> {
        self.optional(index)?
            .ok_or_else(|| Error::params(format!("missing value for required argument {index}")))
    }

    /// An argument that may be absent or null.
    pub(crate) fn optional<T: DeserializeOwned>(
        &mut self,
        index: usize,
    ) -> Result<Option<T>, Error> {
        match self.0.get_mut(index).map(Value::take) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|error| Error::params(format!("invalid argument {index}: {error}"))),
        }
    }

    /// A number that may be JSON's or a hexadecimal quantity.
    pub(crate) fn number(&mut self, index: usize) -> Result<Option<u64>, Error> {
        let Some(value) = self.optional::<Value>(index)? else {
            return Ok(None);
        };
        let number = match &value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => text.parse().ok(),
            },
            _ => None,
        };
        number.map(Some).ok_or_else(|| {
            Error::params(format!(
                "invalid argument {index}: a number or a hexadecimal quantity is wanted"
            ))
        })
    }

    pub(crate) fn want_number(&mut self, index: usize) -> Result<u64, Error> {
        self.number(index)?
            .ok_or_else(|| Error::params(format!("missing value for required argument {index}")))
    }
}
