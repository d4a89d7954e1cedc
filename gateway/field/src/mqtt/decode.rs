//! What a payload says of a point.

use std::{str, sync::Arc};

use serde_json::Value;
use stencil_protocol::sample::{MAX_TEXT, OwnedValue};

use super::time;
use crate::{
    Fault,
    mapping::{Form, Message},
};

/// The most characters of a payload that are shown.
const MAX_SHOWN: usize = 48;

/// A payload, understood as far as its points need it.
pub(crate) struct Payload<'a> {
    topic: &'a Arc<str>,
    bytes: &'a [u8],
    /// Parsed when the first point asks for it; nothing if it is no JSON.
    json: Option<Option<Value>>,
}

impl<'a> Payload<'a> {
    pub(crate) fn new(topic: &'a Arc<str>, bytes: &'a [u8]) -> Self {
        Self {
            topic,
            bytes,
            json: None,
        }
    }

    fn json(&mut self) -> Option<&Value> {
        let bytes = self.bytes;
        // Its depth is bounded by the parser, its size by the listener.
        let json = self
            .json
            .get_or_insert_with(|| serde_json::from_slice(bytes).ok());
        json.as_ref()
    }

    fn fault(&self, got: String, wanted: impl Into<String>) -> Fault {
        Fault::Payload {
            topic: Arc::clone(self.topic),
            got,
            wanted: wanted.into(),
        }
    }
}

/// A value, with its time where the payload tells one; none where the message does not hold it,
/// and need not.
pub(crate) type Decoded = Result<Option<(OwnedValue, Option<i64>)>, Fault>;

/// Reads the value of a point from a message that came at `now_us`.
pub(crate) fn decode(message: &Message, payload: &mut Payload<'_>, now_us: i64) -> Decoded {
    let Some(pointer) = &message.pointer else {
        return plain(message.form, payload).map(|value| Some((value, None)));
    };
    let bytes = payload.bytes;
    let Some(json) = payload.json() else {
        return Err(payload.fault(of_bytes(bytes), "which is no JSON"));
    };
    let value = match json.pointer(pointer) {
        Some(value) if !(value.is_null() && message.is_optional) => value.clone(),
        Some(_) => return Ok(None),
        None if message.is_optional => return Ok(None),
        None => {
            let got = of_json(json);
            return Err(payload.fault(got, format!("in which there is no {pointer}")));
        }
    };
    let at_us = match &message.time {
        None => None,
        Some(pointer) => {
            let written = json.pointer(pointer).cloned().unwrap_or_default();
            let Some(at_us) = time::read(&written, now_us) else {
                let got = format!("{} as {pointer}", of_json(&written));
                return Err(payload.fault(got, format!("the mapping wants {}", time::RIGHT)));
            };
            Some(at_us)
        }
    };
    let wrong = |wanted: &str| {
        let got = format!("{} as {pointer}", of_json(&value));
        payload.fault(got, format!("the mapping wants {wanted}"))
    };
    let read = match (message.form, &value) {
        (Form::Number, Value::Number(number)) => number.as_f64().and_then(finite),
        (Form::Integer, Value::Number(number)) => number.as_i64().map(OwnedValue::Integer),
        (Form::Bool, Value::Bool(value)) => Some(OwnedValue::Bool(*value)),
        (Form::Bool, Value::Number(number)) => of_text(Form::Bool, &number.to_string()),
        (form, Value::String(text)) => of_text(form, text),
        _ => None,
    };
    match read {
        Some(value) => Ok(Some((value, at_us))),
        None => Err(wrong(wanted(message.form))),
    }
}

/// The whole payload as a value.
fn plain(form: Form, payload: &Payload<'_>) -> Result<OwnedValue, Fault> {
    let text = str::from_utf8(payload.bytes).ok();
    let read = text.and_then(|text| match form {
        Form::Text => of_text(form, text),
        _ => of_text(form, text.trim()),
    });
    read.ok_or_else(|| {
        let wanted = format!("the mapping wants {}", wanted(form));
        payload.fault(of_bytes(payload.bytes), wanted)
    })
}

fn of_text(form: Form, text: &str) -> Option<OwnedValue> {
    match form {
        Form::Number => number(text)
            .and_then(|text| text.parse().ok())
            .and_then(finite),
        Form::Integer => number(text)
            .and_then(|text| text.parse().ok())
            .map(OwnedValue::Integer),
        Form::Bool => {
            let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
            if is(&["true", "on", "online", "1"]) {
                Some(OwnedValue::Bool(true))
            } else if is(&["false", "off", "offline", "0"]) {
                Some(OwnedValue::Bool(false))
            } else {
                None
            }
        }
        Form::Text => {
            let fits = text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
            fits.then(|| OwnedValue::Text(text.to_owned()))
        }
    }
}

/// Text that is a decimal number, and not a word such as `nan`, which the parser takes, too.
fn number(text: &str) -> Option<&str> {
    let is_decimal = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    (text.len() <= 40 && text.bytes().all(is_decimal)).then_some(text)
}

fn finite(number: f64) -> Option<OwnedValue> {
    number.is_finite().then_some(OwnedValue::Number(number))
}

fn wanted(form: Form) -> &'static str {
    match form {
        Form::Number => "a number",
        Form::Integer => "a whole number of 64 bits with sign",
        Form::Bool => "true or false, on or off, online or offline, 1 or 0",
        Form::Text => "a text of at most 256 bytes without control characters",
    }
}

/// What came, for people. What is text is not shown: faults stand in logs and at the hub, and who
/// sends something else than the mapping wants may send a password.
fn of_bytes(bytes: &[u8]) -> String {
    match str::from_utf8(bytes).map(str::trim) {
        Ok("") => "nothing".to_owned(),
        Ok(text) if number(text).is_some() => text.to_owned(),
        Ok(_) => format!("a text of {} bytes", bytes.len()),
        Err(_) => format!("{} bytes that are no text", bytes.len()),
    }
}

/// As [`of_bytes`], of JSON: of an object what it has is named, without what that holds.
fn of_json(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if number(text).is_some() => quoted(text),
        Value::String(text) => format!("a text of {} bytes", text.len()),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(entries) if entries.is_empty() => "an empty object".to_owned(),
        Value::Object(entries) => {
            let names: Vec<&str> = entries.keys().map(String::as_str).collect();
            format!("an object with {}", quoted(&names.join(", ")))
        }
    }
}

/// A text for people: shortened, without control characters.
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(MAX_SHOWN).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{more}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(form: Form, pointer: Option<&str>) -> Message {
        Message {
            topic: "t".into(),
            pointer: pointer.map(Into::into),
            form,
            time: None,
            is_optional: false,
        }
    }

    fn read(message: &Message, payload: &[u8]) -> Decoded {
        let topic: Arc<str> = "t".into();
        decode(
            message,
            &mut Payload::new(&topic, payload),
            1_800_000_000_000_000,
        )
    }

    fn value(form: Form, pointer: Option<&str>, payload: &str) -> Result<OwnedValue, String> {
        let read = read(&message(form, pointer), payload.as_bytes());
        read.map(|read| read.unwrap().0)
            .map_err(|fault| fault.to_string())
    }

    #[test]
    fn values_are_read_from_text_and_from_json() {
        use OwnedValue::{Bool, Integer, Number, Text};
        for (form, pointer, payload, is) in [
            (Form::Number, None, "21.5", Number(21.5)),
            (Form::Number, None, " -3e2\n", Number(-300.0)),
            (
                Form::Integer,
                None,
                "9007199254740993",
                Integer(9_007_199_254_740_993),
            ),
            (Form::Bool, None, "ON", Bool(true)),
            (Form::Bool, None, "0", Bool(false)),
            (Form::Text, None, "open", Text("open".to_owned())),
            (
                Form::Number,
                Some("/a/0/b"),
                r#"{"a":[{"b":21}]}"#,
                Number(21.0),
            ),
            (Form::Number, Some(""), "7", Number(7.0)),
            (Form::Number, Some("/a"), r#"{"a":"7.25"}"#, Number(7.25)),
            (
                Form::Integer,
                Some("/a"),
                r#"{"a":9007199254740993}"#,
                Integer(9_007_199_254_740_993),
            ),
            (Form::Bool, Some("/a"), r#"{"a":false}"#, Bool(false)),
            (Form::Bool, Some("/a"), r#"{"a":"online"}"#, Bool(true)),
            (Form::Bool, Some("/a"), r#"{"a":1}"#, Bool(true)),
            (Form::Text, Some("/a"), r#"{"a":"x"}"#, Text("x".to_owned())),
            (Form::Number, Some("/a~1b"), r#"{"a/b":1}"#, Number(1.0)),
        ] {
            assert_eq!(value(form, pointer, payload), Ok(is), "{payload}");
        }
    }

    #[test]
    fn what_is_wrong_names_topic_what_came_and_what_would_be_right() {
        for (form, pointer, payload, says) in [
            (
                Form::Number,
                None,
                "warm",
                "t gave a text of 4 bytes, the mapping wants a number",
            ),
            (Form::Number, None, "nan", "wants a number"),
            (Form::Number, None, "1e999", "wants a number"),
            (Form::Number, None, "", "t gave nothing"),
            (Form::Integer, None, "21.5", "a whole number"),
            (Form::Bool, None, "2", "on or off"),
            (
                Form::Number,
                Some("/a"),
                "{",
                "t gave a text of 1 bytes, which is no JSON",
            ),
            (Form::Number, Some("/a"), "{}", "in which there is no /a"),
            (
                Form::Number,
                Some("/a"),
                r#"{"a":null}"#,
                "null as /a, the mapping wants a number",
            ),
            (Form::Number, Some("/a"), r#"{"a":true}"#, "wants a number"),
            (
                Form::Number,
                Some("/a"),
                r#"{"a":{"b":1}}"#,
                "wants a number",
            ),
            (
                Form::Integer,
                Some("/a"),
                r#"{"a":18446744073709551615}"#,
                "64 bits with sign",
            ),
            (Form::Text, Some("/a"), r#"{"a":7}"#, "wants a text"),
            (
                Form::Text,
                Some("/a"),
                r#"{"a":"\u0000"}"#,
                "without control characters",
            ),
            (
                Form::Bool,
                Some("/a"),
                r#"{"a":"maybe"}"#,
                "online or offline",
            ),
        ] {
            let fault = value(form, pointer, payload).unwrap_err();
            assert!(fault.contains(says), "{payload}: {fault}");
        }
        let long = "x".repeat(1_000);
        assert!(value(Form::Number, None, &long).unwrap_err().len() < 150);
        let fault = read(&message(Form::Number, None), &[0xff, 0]).unwrap_err();
        assert!(
            fault.to_string().contains("2 bytes that are no text"),
            "{fault}"
        );
        // Deep JSON is refused by the parser and does not exhaust the stack.
        let deep = "[".repeat(100_000);
        assert!(
            value(Form::Number, Some(""), &deep)
                .unwrap_err()
                .contains("no JSON")
        );
    }

    #[test]
    fn what_is_wrong_says_nothing_that_could_be_a_secret() {
        let timed = Message {
            time: Some("/t".into()),
            ..message(Form::Number, Some("/a"))
        };
        for payload in [
            "hunter2",
            r#"{"a":"hunter2"}"#,
            r#"{"a":{"Password1":"hunter2"}}"#,
            r#"{"a":["hunter2"]}"#,
            r#"{"Password1":"hunter2","SSID1":"hunter2"}"#,
            r#"{"a":1,"t":"hunter2"}"#,
            r#"{"a":"hunter2"#,
        ] {
            for message in [
                message(Form::Number, None),
                message(Form::Bool, Some("/a")),
                timed.clone(),
            ] {
                if let Err(fault) = read(&message, payload.as_bytes()) {
                    let told = format!("{fault} {fault:?}");
                    assert!(!told.contains("hunter2"), "{told}");
                }
            }
        }
        // But what helps to find the pointer.
        let fault = value(
            Form::Number,
            Some("/a"),
            r#"{"StatusNET":{"x":1},"SSID1":"hunter2"}"#,
        );
        let fault = fault.unwrap_err();
        assert!(
            fault.contains("SSID1, StatusNET") || fault.contains("StatusNET, SSID1"),
            "{fault}"
        );
    }

    #[test]
    fn a_time_of_its_own_counts_and_a_wrong_one_is_told() {
        let timed = Message {
            time: Some("/t".into()),
            ..message(Form::Number, Some("/a"))
        };
        let good = read(&timed, br#"{"a":1,"t":1760000000}"#).unwrap().unwrap();
        assert_eq!(good.1, Some(1_760_000_000_000_000));
        for payload in [r#"{"a":1}"#, r#"{"a":1,"t":"2026-05-01T12:00:00"}"#] {
            let fault = read(&timed, payload.as_bytes()).unwrap_err().to_string();
            assert!(fault.contains("with its offset"), "{fault}");
        }
    }

    #[test]
    fn what_is_optional_may_be_missing_but_not_wrong() {
        let optional = Message {
            is_optional: true,
            ..message(Form::Number, Some("/a"))
        };
        assert_eq!(read(&optional, b"{}"), Ok(None));
        assert_eq!(read(&optional, br#"{"a":null}"#), Ok(None));
        assert!(read(&optional, br#"{"a":"x"}"#).is_err());
        assert!(read(&optional, b"x").is_err());
    }

    proptest! {
        #[test]
        fn any_payload_gives_a_value_or_a_fault(
            payload in proptest::collection::vec(any::<u8>(), 0..64),
            text in "[-0-9.eE{}\":a,\\[\\]]{0,24}",
        ) {
            for form in [Form::Number, Form::Integer, Form::Bool, Form::Text] {
                for pointer in [None, Some(""), Some("/a")] {
                    for payload in [&payload, text.as_bytes()] {
                        match read(&message(form, pointer), payload) {
                            Ok(Some((OwnedValue::Number(number), _))) => prop_assert!(number.is_finite()),
                            Ok(_) => {}
                            Err(fault) => prop_assert!(fault.to_string().len() < 400),
                        }
                    }
                }
            }
        }
    }
}
