//! ThingsBoard's telemetry in JSON: `{"key": value}`,
//! `{"ts": ms, "values": {"key": value}}`, or a list of either. A value is a
//! number, true, false or a text; keys become sample names.

use serde_json::{Map, Value as Json};

use super::{Error, MAX_BYTES, MAX_REJECTED, MAX_SAMPLES, Parsed, Rejected};
use crate::sample::{self, OwnedSample, OwnedValue};

/// Takes what is readable out of a payload; what has no time of its own gets
/// `received_us`, microseconds since the Unix epoch.
pub fn parse(payload: &[u8], received_us: i64) -> Result<Parsed, Error> {
    if payload.len() > MAX_BYTES {
        return Err(Error::TooLong {
            bytes: payload.len(),
        });
    }
    // serde_json itself refuses more than 128 levels.
    let json = serde_json::from_slice(payload).map_err(|e| syntax(&e))?;
    let mut taking = Taking::default();
    match &json {
        Json::Object(object) => taking.object(object, "$", received_us),
        Json::Array(list) => {
            for (index, entry) in list.iter().enumerate() {
                let path = format!("$[{index}]");
                match entry {
                    Json::Object(object) => taking.object(object, &path, received_us),
                    other => taking.reject(path, format!("{}, not an object", name(other))),
                }
            }
        }
        other => return Err(Error::Shape { found: name(other) }),
    }
    Ok(taking.finish())
}

fn syntax(e: &serde_json::Error) -> Error {
    // serde_json ends its text with the place; ours says it once.
    let text = e.to_string();
    let what = text
        .split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned();
    Error::Json {
        what,
        line: e.line(),
        column: e.column(),
    }
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
    fn object(&mut self, object: &Map<String, Json>, path: &str, received_us: i64) {
        let (Some(ts), Some(values)) = (object.get("ts"), object.get("values")) else {
            return self.values(object, path, received_us);
        };
        let Some(time_us) = ts.as_i64().and_then(|ms| ms.checked_mul(1000)) else {
            let reason = "not a time in whole milliseconds since 1970".to_owned();
            return self.reject(format!("{path}.ts"), reason);
        };
        match values {
            Json::Object(values) => self.values(values, &format!("{path}.values"), time_us),
            other => {
                self.reject(
                    format!("{path}.values"),
                    format!("{}, not an object", name(other)),
                );
            }
        }
    }

    fn values(&mut self, values: &Map<String, Json>, path: &str, time_us: i64) {
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

fn take(key: &str, json: &Json, time_us: i64) -> Result<OwnedSample, String> {
    let value = match json {
        Json::Bool(b) => OwnedValue::Bool(*b),
        Json::String(text) => OwnedValue::Text(text.clone()),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => OwnedValue::Integer(integer),
            (None, Some(float)) => OwnedValue::Number(float),
            (None, None) => return Err("a number that does not fit".to_owned()),
        },
        other => {
            return Err(format!(
                "{}, not a number, true, false or a text",
                name(other)
            ));
        }
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

fn name(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
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
