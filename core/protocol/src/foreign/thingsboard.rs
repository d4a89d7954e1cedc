//! ThingsBoard's telemetry in JSON: `{"key": value}`,
//! `{"ts": ms, "values": {"key": value}}`, or a list of either. A value is a
//! number, true, false or a text; keys become sample names.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{Error, MAX_BYTES, MAX_REJECTED, MAX_SAMPLES, Parsed, Rejected};
use crate::sample::{self, OwnedSample, OwnedValue};

/// An object whose values are read one by one: what is wrong with one, such as a number that is too
/// large, costs the others nothing.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Takes what is readable out of a payload; what has no time of its own gets
/// `received_us`, microseconds since the Unix epoch.
pub fn parse(payload: &[u8], received_us: i64) -> Result<Parsed, Error> {
    if payload.len() > MAX_BYTES {
        return Err(Error::TooLong {
            bytes: payload.len(),
        });
    }
    let json: &RawValue = serde_json::from_slice(payload).map_err(|e| syntax(&e))?;
    let mut taking = Taking::default();
    match name(json) {
        "an object" => {
            let object = serde_json::from_slice(payload).map_err(|e| syntax(&e))?;
            taking.object(&object, "$", received_us);
        }
        "a list" => {
            let list: Vec<&RawValue> = serde_json::from_slice(payload).map_err(|e| syntax(&e))?;
            for (index, entry) in list.into_iter().enumerate() {
                let path = format!("$[{index}]");
                if let Some(object) = taking.fields(entry, &path) {
                    taking.object(&object, &path, received_us);
                }
            }
        }
        found => return Err(Error::Shape { found }),
    }
    Ok(taking.finish())
}

fn syntax(e: &serde_json::Error) -> Error {
    Error::Json {
        what: what(e),
        line: e.line(),
        column: e.column(),
    }
}

/// serde_json ends its text with the place; ours says it once.
fn what(e: &serde_json::Error) -> String {
    let text = e.to_string();
    text.split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[derive(Default)]
struct Taking {
    parsed: Parsed,
    /// Rejected beyond what is told one by one.
    untold: usize,
    /// Values beyond what is taken.
    surplus: usize,
}

impl Taking {
    /// The fields of an object; what is none is rejected.
    fn fields<'a>(&mut self, json: &'a RawValue, path: &str) -> Option<Fields<'a>> {
        let reason = match name(json) {
            "an object" => match serde_json::from_str(json.get()) {
                Ok(fields) => return Some(fields),
                Err(error) => what(&error),
            },
            other => format!("{other}, not an object"),
        };
        self.reject(path.to_owned(), reason);
        None
    }

    fn object(&mut self, object: &Fields<'_>, path: &str, received_us: i64) {
        let (Some(ts), Some(values)) = (object.get("ts"), object.get("values")) else {
            return self.values(object, path, received_us);
        };
        let ms: Option<i64> = serde_json::from_str(ts.get()).ok();
        let Some(time_us) = ms.and_then(|ms| ms.checked_mul(1000)) else {
            let reason = "not a time in whole milliseconds since 1970".to_owned();
            return self.reject(format!("{path}.ts"), reason);
        };
        let path = format!("{path}.values");
        if let Some(values) = self.fields(values, &path) {
            self.values(&values, &path, time_us);
        }
    }

    fn values(&mut self, values: &Fields<'_>, path: &str, time_us: i64) {
        for (key, json) in values {
            if self.parsed.samples.len() >= MAX_SAMPLES {
                self.surplus += 1;
                continue;
            }
            match take(key, json, time_us) {
                Ok(sample) => self.parsed.samples.push(sample),
                Err(reason) => self.reject(format!("{path}.{}", shown(key)), reason),
            }
        }
    }

    fn reject(&mut self, path: String, reason: String) {
        if self.parsed.rejected.len() < MAX_REJECTED {
            self.parsed.rejected.push(Rejected { path, reason });
        } else {
            self.untold += 1;
        }
    }

    fn finish(mut self) -> Parsed {
        let mut note = |count: usize, reason: String| {
            if count > 0 {
                self.parsed.rejected.push(Rejected {
                    path: "$".to_owned(),
                    reason,
                });
            }
        };
        note(
            self.untold,
            format!("{} more values were rejected", self.untold),
        );
        note(
            self.surplus,
            format!(
                "{} values beyond the first {MAX_SAMPLES} were left out",
                self.surplus
            ),
        );
        self.parsed
    }
}

fn take(key: &str, json: &RawValue, time_us: i64) -> Result<OwnedSample, String> {
    let text = json.get();
    let value = match name(json) {
        "true or false" => OwnedValue::Bool(text == "true"),
        "a text" => serde_json::from_str(text)
            .map(OwnedValue::Text)
            .map_err(|error| what(&error))?,
        "a number" => match text.parse() {
            Ok(integer) => OwnedValue::Integer(integer),
            Err(_) => serde_json::from_str(text)
                .map(OwnedValue::Number)
                .map_err(|_| "a number that is too large".to_owned())?,
        },
        other => return Err(format!("{other}, not a number, true, false or a text")),
    };
    let sample = OwnedSample {
        name: key.to_owned(),
        value,
        unit: None,
        time_us,
    };
    sample
        .as_ref()
        .check()
        .map_err(|e: sample::Error| e.to_string())?;
    Ok(sample)
}

/// What it is, by its first character: it is known to be JSON.
fn name(json: &RawValue) -> &'static str {
    match json.get().trim_start().bytes().next() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "true or false",
        Some(b'"') => "a text",
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        _ => "a number",
    }
}

/// A key for people: a stranger's key may be long.
fn shown(key: &str) -> String {
    let mut chars = key.chars();
    let mut text: String = chars.by_ref().take(sample::MAX_NAME).collect();
    if chars.next().is_some() {
        text.push('…');
    }
    text
}
