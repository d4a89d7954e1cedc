//! Modbus against pymodbus, which others wrote: over TCP, and over a serial line (a pair of
//! pseudo-terminals).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;
mod hostile;
#[allow(dead_code, reason = "shared with the whole system's tests")]
#[path = "../../../../tests/support/modbus.rs"]
mod peer;
mod reading;
mod replaced;
mod tools;

use std::time::Duration;

use stencil_field::{Field, Said, mapping};
use stencil_protocol::sample::{OwnedSample, OwnedValue};
use tokio::sync::mpsc;

/// How long anything may take before a test gives up.
const LIMIT: Duration = Duration::from_secs(60);

/// A field that is read, and what it says.
struct Read {
    field: Field,
    said: mpsc::Receiver<Said>,
}

impl Read {
    fn start(yaml: &str) -> Self {
        let mapping = mapping::parse(yaml).unwrap_or_else(|errors| panic!("{errors}\n{yaml}"));
        let (field, said) = Field::start(mapping);
        Self { field, said }
    }

    async fn next(&mut self) -> Said {
        let next = tokio::time::timeout(LIMIT, self.said.recv()).await;
        next.unwrap_or_else(|_| panic!("nothing more is said; {:?}", self.field.status()))
            .unwrap()
    }

    /// Waits for a reading of this name that is as it should be.
    async fn wait(
        &mut self,
        device: &str,
        name: &str,
        is: impl Fn(&OwnedValue) -> bool,
    ) -> OwnedSample {
        let mut seen = Vec::new();
        let waited = tokio::time::timeout(LIMIT, async {
            loop {
                match self.said.recv().await.unwrap() {
                    Said::Sample {
                        device: of, sample, ..
                    } if of.as_str() == device && sample.name == name => {
                        if is(&sample.value) {
                            return sample;
                        }
                        seen.push(sample.value);
                    }
                    _ => {}
                }
            }
        });
        match waited.await {
            Ok(sample) => sample,
            Err(_) => panic!(
                "{device} never gave such a {name}; it gave {seen:?}; {:?}",
                self.field.status()
            ),
        }
    }

    /// What is shown is a moment old: waits until it shows whether the first device answers.
    async fn shown(&mut self, answers: bool) {
        let shown = tokio::time::timeout(LIMIT, async {
            while self.field.status().first().and_then(|it| it.answers) != Some(answers) {
                self.said.recv().await.unwrap();
            }
        });
        shown
            .await
            .unwrap_or_else(|_| panic!("{:?}", self.field.status()));
    }

    async fn text(&mut self, device: &str, name: &str, words: &str) -> String {
        let has =
            |value: &OwnedValue| matches!(value, OwnedValue::Text(text) if text.contains(words));
        match self.wait(device, name, has).await.value {
            OwnedValue::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }
}

/// A mapping with one device, unit 1.
fn one(connection: &str, settings: &str, points: &str) -> String {
    format!(
        "version: 1\nconnections:\n  c: {{ {connection}, {settings} }}\ndevices:\n  d:\n    \
         connection: c\n    unit: 1\n    every: 100ms\n    points:\n{points}"
    )
}

fn integer(value: i64) -> impl Fn(&OwnedValue) -> bool {
    move |given| *given == OwnedValue::Integer(value)
}
