//! Columns into typed values and back.

use std::str::FromStr;

use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Row};
use stencil_protocol::sample::OwnedValue;

use crate::series::value;
use crate::{Error, LinkInfo};

/// Reads typed columns of a row.
pub(super) trait Columns {
    fn int(&self, column: &str) -> Result<i64, Error>;
    fn maybe_int(&self, column: &str) -> Result<Option<i64>, Error>;
    fn maybe_double(&self, column: &str) -> Result<Option<f64>, Error>;
    fn text(&self, column: &str) -> Result<String, Error>;
    fn maybe_text(&self, column: &str) -> Result<Option<String>, Error>;
    fn bytes(&self, column: &str) -> Result<Vec<u8>, Error>;
    fn maybe_bytes(&self, column: &str) -> Result<Option<Vec<u8>>, Error>;

    /// A text that parses, e.g. an id.
    fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, column: &'static str) -> Result<T, Error> {
        parse(column, &self.text(column)?)
    }

    fn maybe_parsed<T: FromStr<Err: std::fmt::Display>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, Error> {
        self.maybe_text(column)?
            .map(|text| parse(column, &text))
            .transpose()
    }

    /// A number that is not negative, or fits a smaller type.
    fn number<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, Error> {
        narrow(column, self.int(column)?)
    }

    fn maybe_number<T: TryFrom<i64>>(&self, column: &'static str) -> Result<Option<T>, Error> {
        self.maybe_int(column)?
            .map(|number| narrow(column, number))
            .transpose()
    }

    fn flag(&self, column: &str) -> Result<bool, Error> {
        Ok(self.int(column)? != 0)
    }

    /// An id of fixed length.
    fn array<const N: usize>(&self, column: &'static str) -> Result<[u8; N], Error> {
        let bytes = self.bytes(column)?;
        <[u8; N]>::try_from(bytes.as_slice())
            .map_err(|_| Error::corrupt(column, format!("{} bytes, not {N}", bytes.len())))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, column: &'static str) -> Result<T, Error> {
        serde_json::from_str(&self.text(column)?).map_err(|error| Error::corrupt(column, error))
    }

    fn maybe_json<T: serde::de::DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, Error> {
        self.maybe_text(column)?
            .map(|text| serde_json::from_str(&text).map_err(|error| Error::corrupt(column, error)))
            .transpose()
    }

    fn value(&self, column: &str) -> Result<OwnedValue, Error> {
        value::from_bytes(&self.bytes(column)?)
    }
}

impl Columns for SqliteRow {
    fn int(&self, column: &str) -> Result<i64, Error> {
        get(self, column)
    }

    fn maybe_int(&self, column: &str) -> Result<Option<i64>, Error> {
        get(self, column)
    }

    fn maybe_double(&self, column: &str) -> Result<Option<f64>, Error> {
        get(self, column)
    }

    fn text(&self, column: &str) -> Result<String, Error> {
        get(self, column)
    }

    fn maybe_text(&self, column: &str) -> Result<Option<String>, Error> {
        get(self, column)
    }

    fn bytes(&self, column: &str) -> Result<Vec<u8>, Error> {
        get(self, column)
    }

    fn maybe_bytes(&self, column: &str) -> Result<Option<Vec<u8>>, Error> {
        get(self, column)
    }
}

fn get<'r, T, I>(row: &'r SqliteRow, column: I) -> Result<T, Error>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    I: ColumnIndex<SqliteRow>,
{
    Ok(row.try_get(column)?)
}

fn parse<T: FromStr<Err: std::fmt::Display>>(what: &'static str, text: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|error| Error::corrupt(what, format!("{text:?}: {error}")))
}

fn narrow<T: TryFrom<i64>>(what: &'static str, number: i64) -> Result<T, Error> {
    T::try_from(number).map_err(|_| Error::corrupt(what, format!("{number} is out of range")))
}

/// A number for a BIGINT column.
pub(super) fn bigint(what: &'static str, number: u64) -> Result<i64, Error> {
    i64::try_from(number)
        .map_err(|_| Error::invalid(what, format!("{number}; at most {} can be kept", i64::MAX)))
}

/// A link's properties for a TEXT column: they are read and written as one.
pub(super) fn link_text(link: &LinkInfo) -> String {
    serde_json::json!(link).to_string()
}
