//! What a credential has to be like (VC JSON Schema; JSON Schema 2020-12), in the part of JSON Schema
//! that checks shapes and ranges.
//!
//! Understood are `type`, `properties`, `required`, `additionalProperties`, `items`, `enum`, `const`,
//! `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `minLength`, `maxLength`,
//! `minItems`, `maxItems`, and `format` with `date-time`; and what only describes. A schema with
//! another keyword is refused: what it asks for would pass without being looked at. There are no references
//! and no patterns, so that to check takes time by the size of schema and credential alone.

use serde_json::{Map, Value};

use crate::text::shown;
use crate::{json, moment};

/// The longest schema that is read.
pub const MAX_BYTES: usize = 64 * 1024;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
const TYPES: [&str; 7] = [
    "null", "boolean", "object", "array", "number", "integer", "string",
];

/// What is wrong with a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schema at {at}: {wrong}")]
pub struct Error {
    /// Where, as a JSON pointer.
    pub at: String,
    /// What is wrong there.
    pub wrong: String,
}

/// Where something is not as its schema asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {wrong}", if .at.is_empty() { "it" } else { .at.as_str() })]
pub struct Violation {
    /// Where, as a JSON pointer; empty for the whole.
    pub at: String,
    /// What is wrong there.
    pub wrong: String,
}

/// A schema that is understood as a whole.
#[derive(Debug, Clone)]
pub struct Schema(Value);

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// It is no JSON, has a keyword that is not understood, or one whose value is none.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let map = json::parse_object(text, MAX_BYTES).map_err(|error| Error {
            at: "/".to_owned(),
            wrong: error.to_string(),
        })?;
        let value = Value::Object(map);
        understood(&value, "")?;
        Ok(Self(value))
    }

    /// It as JSON.
    #[must_use]
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// Checks what should follow it.
    ///
    /// # Errors
    /// The first place where it does not.
    pub fn check(&self, value: &Value) -> Result<(), Violation> {
        follows(&self.0, value, "")
    }
}

fn understood(schema: &Value, at: &str) -> Result<(), Error> {
    let wrong = |at: &str, wrong: String| Error {
        at: if at.is_empty() { "/" } else { at }.to_owned(),
        wrong,
    };
    let map = match schema {
        Value::Bool(_) => return Ok(()),
        Value::Object(map) => map,
        other => {
            return Err(wrong(
                at,
                format!("it is {}, where an object is expected", json::kind(other)),
            ));
        }
    };
    for (keyword, value) in map {
        let place = format!("{at}/{}", pointer(keyword));
        let says = |text: &str| Err(wrong(&place, text.to_owned()));
        match keyword.as_str() {
            "$schema" if value == DIALECT => {}
            "$schema" => return says("schemas of draft 2020-12 are understood"),
            "$id" | "$comment" | "title" | "description" if value.is_string() => {}
            "default" | "examples" | "deprecated" | "readOnly" | "writeOnly" => {}
            "enum" if value.as_array().is_some_and(|all| !all.is_empty()) => {}
            "const" => {}
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum"
                if value.is_number() => {}
            "minLength" | "maxLength" | "minItems" | "maxItems" if value.is_u64() => {}
            "format" if value == "date-time" => {}
            "format" => return says("the format date-time is understood"),
            "type" => {
                let named =
                    |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
                let right = match value {
                    Value::Array(all) => !all.is_empty() && all.iter().all(named),
                    one => named(one),
                };
                if !right {
                    return says("it is no type of JSON Schema, nor a list of them");
                }
            }
            "required" => {
                let names = value.as_array();
                if !names.is_some_and(|names| names.iter().all(Value::is_string)) {
                    return says("it is no list of names");
                }
            }
            "properties" => match value {
                Value::Object(properties) => {
                    for (name, schema) in properties {
                        understood(schema, &format!("{place}/{}", pointer(name)))?;
                    }
                }
                _ => return says("it is no object"),
            },
            "items" | "additionalProperties" => understood(value, &place)?,
            "$id" | "$comment" | "title" | "description" | "enum" | "minimum" | "maximum"
            | "exclusiveMinimum" | "exclusiveMaximum" | "minLength" | "maxLength" | "minItems"
            | "maxItems" => return says("its value is not one that the keyword takes"),
            _ => {
                return says(
                    "this keyword is not understood, so that what it asks for would not be checked",
                );
            }
        }
    }
    Ok(())
}

fn follows(schema: &Value, value: &Value, at: &str) -> Result<(), Violation> {
    let violation = |wrong: String| Violation {
        at: at.to_owned(),
        wrong,
    };
    let map = match schema {
        Value::Bool(false) => return Err(violation("is not allowed".to_owned())),
        Value::Object(map) => map,
        _ => return Ok(()),
    };
    if let Some(kinds) = map.get("type") {
        let fits = |kind: &Value| kind.as_str().is_some_and(|kind| is(value, kind));
        let right = match kinds {
            Value::Array(all) => all.iter().any(fits),
            one => fits(one),
        };
        if !right {
            return Err(violation(format!(
                "is {}, where {kinds} is expected",
                json::kind(value)
            )));
        }
    }
    if let Some(Value::Array(all)) = map.get("enum")
        && !all.iter().any(|one| same(one, value))
    {
        return Err(violation(format!(
            "is none of {}",
            shown(&Value::Array(all.clone()).to_string())
        )));
    }
    if let Some(constant) = map.get("const")
        && !same(constant, value)
    {
        return Err(violation(format!(
            "is not {}",
            shown(&constant.to_string())
        )));
    }
    match value {
        Value::Number(_) => number(map, value).map_err(violation),
        Value::String(text) => string(map, text).map_err(violation),
        Value::Array(items) => {
            length(map, "minItems", "maxItems", items.len(), "entries").map_err(violation)?;
            match map.get("items") {
                None => Ok(()),
                Some(schema) => items
                    .iter()
                    .enumerate()
                    .try_for_each(|(n, item)| follows(schema, item, &format!("{at}/{n}"))),
            }
        }
        Value::Object(members) => object(map, members, at),
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

fn object(
    schema: &Map<String, Value>,
    members: &Map<String, Value>,
    at: &str,
) -> Result<(), Violation> {
    if let Some(Value::Array(names)) = schema.get("required")
        && let Some(missing) = names
            .iter()
            .filter_map(Value::as_str)
            .find(|name| !members.contains_key(*name))
    {
        return Err(Violation {
            at: at.to_owned(),
            wrong: format!("has no “{}”", shown(missing)),
        });
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, member) in members {
        let place = format!("{at}/{}", pointer(name));
        match properties.and_then(|properties| properties.get(name)) {
            Some(schema) => follows(schema, member, &place)?,
            None => {
                if let Some(others) = schema.get("additionalProperties") {
                    follows(others, member, &place)?;
                }
            }
        }
    }
    Ok(())
}

fn number(schema: &Map<String, Value>, value: &Value) -> Result<(), String> {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let Some(value) = value.as_f64() else {
        return Ok(());
    };
    let bad = [
        (
            "minimum",
            bound("minimum").is_some_and(|least| value < least),
        ),
        ("maximum", bound("maximum").is_some_and(|most| value > most)),
        (
            "exclusiveMinimum",
            bound("exclusiveMinimum").is_some_and(|least| value <= least),
        ),
        (
            "exclusiveMaximum",
            bound("exclusiveMaximum").is_some_and(|most| value >= most),
        ),
    ];
    match bad.iter().find(|(_, bad)| *bad) {
        None => Ok(()),
        Some((name, _)) => Err(format!(
            "is {value}, where the {name} is {}",
            schema.get(*name).cloned().unwrap_or_default()
        )),
    }
}

fn string(schema: &Map<String, Value>, text: &str) -> Result<(), String> {
    let characters = text.chars().count();
    length(schema, "minLength", "maxLength", characters, "characters")?;
    if schema.contains_key("format") {
        moment::parse(text).map_err(|error| format!("is no date-time: {error}"))?;
    }
    Ok(())
}

fn length(
    schema: &Map<String, Value>,
    least: &str,
    most: &str,
    found: usize,
    of: &str,
) -> Result<(), String> {
    let bound = |name: &str| {
        schema
            .get(name)
            .and_then(Value::as_u64)
            .and_then(|bound| usize::try_from(bound).ok())
    };
    if let Some(least) = bound(least).filter(|least| found < *least) {
        return Err(format!(
            "has {found} {of}, where at least {least} are expected"
        ));
    }
    if let Some(most) = bound(most).filter(|most| found > *most) {
        return Err(format!(
            "has {found} {of}, where at most {most} are expected"
        ));
    }
    Ok(())
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        // 1.0 is a whole number, too.
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => false,
    }
}

/// Whether two values are the same: 1 and 1.0 are.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// A name in a JSON pointer (RFC 6901), cut short.
fn pointer(name: &str) -> String {
    shown(name).replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn certificate() -> Schema {
        let schema = json!({
            "$schema": DIALECT,
            "title": "Calibration certificate",
            "type": "object",
            "required": ["credentialSubject"],
            "properties": {
                "credentialSubject": {
                    "type": "object",
                    "required": ["id", "deviation", "on"],
                    "additionalProperties": false,
                    "properties": {
                        "id": { "type": "string", "minLength": 5 },
                        "deviation": { "type": "number", "minimum": 0, "exclusiveMaximum": 0.5 },
                        "on": { "type": "string", "format": "date-time" },
                        "points": { "type": "array", "maxItems": 2, "items": { "type": "integer" } },
                        "class": { "enum": ["A", "B", null] },
                        "v": { "const": 1 },
                    },
                },
            },
        });
        Schema::parse(schema.to_string().as_bytes()).expect("a schema")
    }

    fn subject(change: &str, value: Value) -> Value {
        let mut subject = json!({
            "id": "did:web:hub.example", "deviation": 0.05, "on": "2026-11-28T22:00:00Z",
        });
        subject[change] = value;
        json!({ "credentialSubject": subject, "issuer": "did:web:hub.example" })
    }

    #[test]
    fn what_follows_a_schema() {
        let schema = certificate();
        for (name, value) in [
            ("points", json!([1, 2.0])),
            ("class", json!(null)),
            ("class", json!("A")),
            ("v", json!(1.0)),
            ("deviation", json!(0)),
        ] {
            assert_eq!(schema.check(&subject(name, value)), Ok(()), "{name}");
        }
    }

    #[test]
    fn what_does_not_is_told_by_its_place() {
        let schema = certificate();
        for (name, value, wrong) in [
            ("id", json!("did"), "/credentialSubject/id has 3 characters"),
            (
                "id",
                json!(7),
                "/credentialSubject/id is a number, where \"string\"",
            ),
            ("deviation", json!(-1), "where the minimum is 0"),
            ("deviation", json!(0.5), "where the exclusiveMaximum is 0.5"),
            ("on", json!("today"), "is no date-time"),
            ("points", json!([1, 2, 3]), "at most 2"),
            (
                "points",
                json!([1, 2.5]),
                "/credentialSubject/points/1 is a number",
            ),
            ("class", json!("C"), "is none of [\"A\",\"B\",null]"),
            ("v", json!(2), "is not 1"),
            ("a/b", json!(2), "/credentialSubject/a~1b is not allowed"),
        ] {
            let error = schema.check(&subject(name, value)).expect_err(wrong);
            assert!(error.to_string().contains(wrong), "{error}");
        }
        let mut missing = subject("v", json!(1));
        missing["credentialSubject"]
            .as_object_mut()
            .expect("an object")
            .remove("on");
        let error = schema.check(&missing).expect_err("is missing").to_string();
        assert_eq!(error, "/credentialSubject has no “on”");
        let error = schema.check(&json!([])).expect_err("is none").to_string();
        assert!(error.starts_with("it is an array"), "{error}");
    }

    #[test]
    fn what_would_not_be_checked_is_refused() {
        for (schema, wrong) in [
            (
                json!({ "pattern": "^a" }),
                "/pattern: this keyword is not understood",
            ),
            (json!({ "$ref": "#" }), "/$ref: this keyword"),
            (
                json!({ "properties": { "a": { "anyOf": [] } } }),
                "/properties/a/anyOf: this keyword",
            ),
            (json!({ "type": "decimal" }), "/type: it is no type"),
            (json!({ "type": [] }), "/type: it is no type"),
            (json!({ "required": "a" }), "/required: it is no list"),
            (json!({ "minimum": "1" }), "/minimum: its value"),
            (json!({ "minLength": -1 }), "/minLength: its value"),
            (
                json!({ "format": "email" }),
                "/format: the format date-time",
            ),
            (json!({ "items": 7 }), "/items: it is a number"),
            (json!({ "properties": [] }), "/properties: it is no object"),
            (
                json!({ "$schema": "http://json-schema.org/draft-07/schema#" }),
                "/$schema: schemas of draft 2020-12",
            ),
            (json!([]), "an array, where an object"),
        ] {
            let error = Schema::parse(schema.to_string().as_bytes()).expect_err(wrong);
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }
}
