//! Entries of the content store: proofs and figures are fields.

use serde_json::Value;

use super::{Error, Figure, Found, MAX_PROOFS, read};
use crate::document::{FORMAT, FORMAT_1, Unreadable, short};

pub(super) fn find(text: &str) -> Result<Vec<Found>, Error> {
    let value: Value = serde_json::from_str(text).map_err(|error| Error::Unreadable {
        name: None,
        error: Unreadable::Json(short(&error.to_string())),
    })?;
    if value.get("format").is_some() {
        return Ok(vec![Found {
            name: String::new(),
            document: read(None, text.as_bytes())?,
            figures: Vec::new(),
            in_page: false,
        }]);
    }
    let Some(fields) = value.get("fields").and_then(Value::as_object) else {
        return Err(Error::None);
    };
    let mut found = Vec::new();
    for (name, value) in fields {
        let Some(figure) = figure_of(name) else {
            continue;
        };
        let shown = fields.get(figure);
        if !is_proof(value) {
            // An entry says by the field's name that there is one.
            if shown.is_some() {
                if value.get("format").is_some_and(|format| format == FORMAT_1) {
                    return Err(Error::Unreadable {
                        name: Some(name.clone()),
                        error: Unreadable::Unsalted,
                    });
                }
                return Err(Error::NoProof {
                    field: figure.to_owned(),
                    proof: name.clone(),
                    is: if value.is_null() {
                        "null".to_owned()
                    } else {
                        format!("no document of format {FORMAT:?}")
                    },
                });
            }
            continue;
        }
        if found.len() == MAX_PROOFS {
            return Err(Error::TooMany);
        }
        let document = read(Some(name), value.to_string().as_bytes())?;
        let figures = shown.into_iter().map(|value| match value {
            Value::String(text) => Figure::of(text),
            other => Figure::of(&other.to_string()),
        });
        found.push(Found {
            name: name.clone(),
            document,
            figures: figures.collect(),
            in_page: true,
        });
    }
    if found.is_empty() {
        return Err(Error::None);
    }
    Ok(found)
}

/// The field whose figure a field proves, by its name.
#[must_use]
pub fn figure_of(name: &str) -> Option<&str> {
    match name {
        "proof" => Some("value"),
        name => name.strip_suffix("_proof").filter(|name| !name.is_empty()),
    }
}

/// Whether a field's value is a proof.
#[must_use]
pub fn is_proof(value: &Value) -> bool {
    value.get("format").and_then(Value::as_str) == Some(FORMAT)
}
