//! Entries of the content store: proofs and figures are fields.
//!
//! They are read as they stand there: a parser would make of a number with other digits the one that was
//! measured.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Error, Figure, Found, MAX_PROOFS, read};
use crate::document::{FORMAT, FORMAT_1, Unreadable, short};

pub(super) fn find(text: &str) -> Result<Vec<Found>, Error> {
    let Members(entry) = object(text)?;
    if entry.contains_key("format") {
        return Ok(vec![Found {
            name: String::new(),
            document: read(None, text.as_bytes())?,
            figures: Vec::new(),
            in_page: false,
        }]);
    }
    let fields = entry.get("fields").map(|fields| fields.get());
    let Some(fields) = fields.filter(|fields| fields.starts_with('{')) else {
        return Err(Error::None);
    };
    let Members(fields) = object(fields)?;
    let mut found = Vec::new();
    for (name, raw) in &fields {
        let Some(figure) = figure_of(name) else {
            continue;
        };
        let shown = fields.get(figure);
        let value: Value = parsed(raw.get())?;
        if !is_proof(&value) {
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
        let document = read(Some(name), raw.get().as_bytes())?;
        let mut figures = Vec::new();
        if let Some(shown) = shown {
            figures.push(match parsed::<Value>(shown.get())? {
                Value::String(text) => Figure::of(&text),
                _ => Figure::of(shown.get()),
            });
        }
        found.push(Found {
            name: name.clone(),
            document,
            figures,
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

fn object(text: &str) -> Result<Members<'_>, Error> {
    parsed(text)
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Unreadable {
        name: None,
        error: Unreadable::of(&error, text.as_bytes()),
    })
}

/// The members of an object, each once: of two with one name, readers show the first or the last.
struct Members<'a>(BTreeMap<String, &'a RawValue>);

struct Each;

impl<'de> Visitor<'de> for Each {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            if members.contains_key(&name) {
                let what = format!("{:?} stands in it twice", short(&name));
                return Err(A::Error::custom(what));
            }
            members.insert(name, value);
        }
        Ok(Members(members))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Each)
    }
}
