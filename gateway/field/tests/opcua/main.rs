//! OPC UA against asyncua, which others wrote.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod away;
#[path = "../../../../tests/support/opcua.rs"]
mod peer;
mod reading;
mod secured;
mod tools;

use std::time::Duration;

use stencil_field::{Field, Said, mapping};
use stencil_protocol::{
    line::Line,
    sample::{OwnedSample, OwnedValue},
};
use tokio::sync::mpsc;

/// How long anything may take before a test gives up.
const LIMIT: Duration = Duration::from_secs(120);

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

    /// Waits for the device to answer, and says over which line.
    async fn linked(&mut self) -> Line {
        let waited = tokio::time::timeout(LIMIT, async {
            loop {
                if let Said::Linked { line, .. } = self.said.recv().await.unwrap() {
                    return line;
                }
            }
        });
        waited
            .await
            .unwrap_or_else(|_| panic!("no answer; {:?}", self.field.status()))
    }

    /// The next reading of this name.
    async fn sample(&mut self, name: &str) -> OwnedSample {
        let waited = tokio::time::timeout(LIMIT, async {
            loop {
                match self.said.recv().await.unwrap() {
                    Said::Sample { sample, .. } if sample.name == name => return sample,
                    _ => {}
                }
            }
        });
        waited
            .await
            .unwrap_or_else(|_| panic!("no {name}; {:?}", self.field.status()))
    }

    /// Waits for a reading of this name that is as it should be.
    async fn wait(&mut self, name: &str, is: impl Fn(&OwnedValue) -> bool) -> OwnedSample {
        loop {
            let sample = self.sample(name).await;
            if is(&sample.value) {
                return sample;
            }
        }
    }

    /// Waits for a text with these words.
    async fn text(&mut self, name: &str, words: &str) -> String {
        let has =
            |value: &OwnedValue| matches!(value, OwnedValue::Text(text) if text.contains(words));
        match self.wait(name, has).await.value {
            OwnedValue::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }
}

/// A mapping with one device.
fn one(connection: &str, settings: &str, points: &str) -> String {
    format!(
        "version: 1\nconnections:\n  c: {{ {connection}, max-backoff: 1s{settings} }}\ndevices:\n  \
         d:\n    connection: c\n    every: 100ms\n    points:\n{points}"
    )
}

fn number(value: f64) -> impl Fn(&OwnedValue) -> bool {
    move |given| *given == OwnedValue::Number(value)
}
