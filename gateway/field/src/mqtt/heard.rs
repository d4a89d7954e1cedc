//! What was heard from MQTT clients for a while: to try a mapping, or to write a first one.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    sync::Arc,
};

use serde_json::Value;

use super::{
    Offer, decode,
    decode::{Payload, quoted as shown},
};
use crate::{
    Fault,
    check::Answer,
    mapping::{Connection, Link, Mapping, Target},
    opcua::{point_name, quoted},
};

/// The most topics that are kept.
const MAX_TOPICS: usize = 2_000;
/// The most bytes that are kept.
const MAX_BYTES: usize = 8 << 20;
/// The most values of one topic in a first mapping.
const MAX_VALUES: usize = 100;
/// How deep JSON is looked into.
const MAX_DEPTH: usize = 5;

/// The last message of each topic, by its client.
#[derive(Debug, Default)]
pub struct Heard {
    /// For how long was listened, in seconds.
    pub for_s: u64,
    last: BTreeMap<(Arc<str>, String), Offer>,
    bytes: usize,
    /// Whether there was more than is kept.
    pub is_cut: bool,
}

impl Heard {
    /// Keeps a message.
    pub fn keep(&mut self, client: &Arc<str>, offer: Offer) {
        let key = (Arc::clone(client), offer.topic.clone());
        let before = self.last.get(&key).map(|before| before.payload.len());
        let after = self.bytes - before.unwrap_or(0) + offer.payload.len();
        if after > MAX_BYTES || (before.is_none() && self.last.len() >= MAX_TOPICS) {
            self.is_cut = true;
            return;
        }
        self.bytes = after;
        self.last.insert(key, offer);
    }

    /// How many topics were heard.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.last.len()
    }

    /// Whether something was heard on each topic that a mapping has a point on.
    #[must_use]
    pub fn has_all(&self, mapping: &Mapping) -> bool {
        mapping.devices().all(|device| {
            let Link::Mqtt(client) = &device.link else {
                return true;
            };
            device.points.iter().all(|point| match &point.target {
                Target::Mqtt(message) => {
                    let key = (Arc::clone(&client.name), message.topic.to_string());
                    self.last.contains_key(&key)
                }
                _ => true,
            })
        })
    }

    /// What it says of each point of a connection, in their order.
    pub(crate) fn answers(&self, connection: &Connection) -> Vec<Answer> {
        let mut answers = Vec::new();
        for device in &connection.devices {
            let Link::Mqtt(client) = &device.link else {
                continue;
            };
            for point in &device.points {
                let Target::Mqtt(message) = &point.target else {
                    continue;
                };
                let key = (Arc::clone(&client.name), message.topic.to_string());
                let quiet = Fault::Quiet { s: self.for_s };
                let value = match self.last.get(&key) {
                    None => Err(quiet),
                    Some(offer)
                        if offer.is_retained
                            && !client.takes_retained
                            && message.time.is_none() =>
                    {
                        Err(Fault::Retained {
                            topic: Arc::clone(&message.topic),
                        })
                    }
                    Some(offer) => {
                        let mut payload = Payload::new(&message.topic, &offer.payload);
                        match decode(message, &mut payload, offer.at_us) {
                            Ok(Some((value, _))) => Ok(value),
                            Ok(None) => Err(quiet),
                            Err(fault) => Err(fault),
                        }
                    }
                };
                answers.push(Answer { value, took: None });
            }
        }
        answers
    }

    /// A first mapping of it: a device a client, and what each topic gave in a comment. It is one
    /// that [`mapping::parse`](crate::mapping::parse) takes, if something was heard that is a value.
    #[must_use]
    pub fn skeleton(&self) -> String {
        let mut out = String::from("version: 1\nconnections:\n  lan:\n    mqtt: {}\ndevices:\n");
        let mut of = None;
        let mut names = HashSet::new();
        for ((client, topic), offer) in &self.last {
            if of != Some(client) {
                names.clear();
                of = Some(client);
                let _ = write!(
                    out,
                    "  # What the client {client} published. A bridge speaks for many devices: write \
                     one for\n  # each, all with `client: {client}`.\n  {}:\n    connection: lan\n    \
                     client: {}\n    points:\n",
                    quoted(client),
                    quoted(client),
                );
            }
            let retained = if offer.is_retained {
                ", marked as retained"
            } else {
                ""
            };
            for value in values(topic, &offer.payload) {
                let mark = if value.form.is_some() { "" } else { "# " };
                let name = point_name(&value.path, &mut names);
                let _ = write!(
                    out,
                    "      {mark}{}: {{ topic: {}",
                    quoted(&name),
                    quoted(topic)
                );
                if let Some(pointer) = &value.pointer {
                    let _ = write!(out, ", pointer: {}", quoted(pointer));
                }
                match value.form {
                    Some("number") | None => {}
                    Some(form) => {
                        let _ = write!(out, ", type: {form}");
                    }
                }
                let _ = writeln!(out, " }} # gave {}{retained}", value.gives);
            }
        }
        if self.is_cut {
            let _ = writeln!(
                out,
                "# There was more: {MAX_TOPICS} topics are kept at most."
            );
        }
        out
    }
}

/// A value that a payload holds.
struct Found {
    path: Vec<String>,
    pointer: Option<String>,
    /// Its type in a mapping; none: it cannot be read.
    form: Option<&'static str>,
    gives: String,
}

fn values(topic: &str, payload: &[u8]) -> Vec<Found> {
    let last = topic.rsplit('/').find(|level| !level.is_empty());
    let path = vec![last.unwrap_or("value").to_owned()];
    match serde_json::from_slice::<Value>(payload) {
        Ok(json @ (Value::Object(_) | Value::Array(_))) => {
            let mut found = Vec::new();
            leaves(&json, &path, "", &mut found);
            found
        }
        _ => {
            let text = String::from_utf8_lossy(payload);
            let is_sendable = text.len() <= stencil_protocol::sample::MAX_TEXT
                && !text.chars().any(char::is_control);
            let is_word = |words: &[&str]| words.iter().any(|it| text.eq_ignore_ascii_case(it));
            let form = if text.trim().parse::<f64>().is_ok_and(f64::is_finite) {
                Some("number")
            } else if is_word(&["on", "off", "true", "false", "online", "offline"]) {
                Some("bool")
            } else {
                is_sendable.then_some("text")
            };
            vec![Found {
                path,
                pointer: None,
                form,
                gives: shown(&text),
            }]
        }
    }
}

fn leaves(value: &Value, path: &[String], pointer: &str, found: &mut Vec<Found>) {
    if found.len() >= MAX_VALUES || path.len() > MAX_DEPTH + 1 {
        return;
    }
    let form = match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                let path = [path, std::slice::from_ref(key)].concat();
                leaves(value, &path, &format!("{pointer}/{escaped}"), found);
            }
            return;
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                let path = [path, &[index.to_string()]].concat();
                leaves(value, &path, &format!("{pointer}/{index}"), found);
            }
            return;
        }
        Value::Number(_) => Some("number"),
        Value::Bool(_) => Some("bool"),
        Value::String(text) => {
            let is_sendable = text.len() <= stencil_protocol::sample::MAX_TEXT
                && !text.chars().any(char::is_control);
            is_sendable.then_some("text")
        }
        Value::Null => None,
    };
    if pointer.len() > 256 || pointer.chars().any(char::is_control) {
        return;
    }
    found.push(Found {
        // The topic's level is what is most alike among them.
        path: path.get(1..).unwrap_or_default().to_vec(),
        pointer: Some(pointer.to_owned()),
        form,
        gives: shown(&value.to_string()),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::parse;

    fn keep(heard: &mut Heard, client: &str, topic: &str, payload: &str) {
        let offer = Offer {
            topic: topic.to_owned(),
            payload: payload.into(),
            is_retained: false,
            at_us: 1_800_000_000_000_000,
        };
        heard.keep(&client.into(), offer);
    }

    #[test]
    fn a_first_mapping_reads_what_was_heard() {
        let mut heard = Heard::default();
        keep(
            &mut heard,
            "plug",
            "tele/plug/SENSOR",
            r#"{"Time":"x","ENERGY":{"Power":7,"a/b":[1,null]},"on":true}"#,
        );
        keep(&mut heard, "plug", "tele/plug/LWT", "Online");
        keep(&mut heard, "plug", "tele/plug/odd\"name", "{{");
        keep(&mut heard, "z2m", "z2m/door", "\u{1}");
        keep(&mut heard, "z2m", "z2m/temp", "21.5");
        let text = heard.skeleton();
        let mapping = parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert_eq!(mapping.points(), 7, "{text}");
        assert_eq!(heard.topics(), 5);
        let answers = heard.answers(&mapping.connections[0]);
        assert!(answers.iter().all(|answer| answer.value.is_ok()), "{text}");
        assert!(
            text.contains("# \"ENERGY/a~1b/1\"")
                || text.contains("pointer: \"/ENERGY/a~1b/1\" } # gave"),
            "{text}"
        );
        // What was not heard is told.
        let later = Heard {
            for_s: 60,
            ..Heard::default()
        };
        let answers = later.answers(&mapping.connections[0]);
        assert!(
            answers
                .iter()
                .all(|answer| answer.value == Err(Fault::Quiet { s: 60 }))
        );
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut heard = Heard::default();
        for n in 0..MAX_TOPICS + 10 {
            keep(&mut heard, "c", &n.to_string(), "1");
        }
        assert!(heard.is_cut);
        assert_eq!(heard.topics(), MAX_TOPICS);
        keep(&mut heard, "c", "0", &"x".repeat(MAX_BYTES + 1));
        assert_eq!(heard.bytes, MAX_TOPICS);
    }
}
