//! The endpoint's sink over the ingest log.

use std::sync::Arc;

use stencil_log::{Log, Position};
use stencil_mqtt::{Publish, Sink, SinkError, Source};
use tokio::sync::watch;

use super::{Activation, Body, Erase, Publication, Record, Transport};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::policy::Peer;

/// MQTT 5 user property in which a gateway names the suite of the device's link.
pub(crate) const LINK_SUITE: &str = "link-suite";

/// What the publishes of one socket read may come to as records, in bytes, besides one packet of
/// the largest size: 64 KiB of the smallest publishes (8 bytes, their topic by an alias) with some
/// 400 bytes of circumstances each. They are logged all or none, so the log must have room for them.
pub(crate) const MAX_APPEND_BYTES: u64 = 4 * 1024 * 1024;

/// Longest suite name that is kept, in bytes; a longer one is no suite of ours.
const MAX_SUITE_BYTES: usize = 64;

/// Takes what peers publish into the ingest log. Bounded by the log: when it has no room, the
/// endpoint is told so and stops reading.
#[derive(Clone)]
pub(crate) struct Ingest {
    log: Log,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Ingest {
    /// A sink over `log`.
    pub(crate) fn new(log: Log, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            log,
            clock,
            metrics,
        }
    }

    /// Puts a workflow version in force: everything logged after this is judged by it. Returns
    /// when that is durable.
    ///
    /// # Errors
    /// What the log says; the version is then not in force.
    pub(crate) async fn activate(
        &self,
        activation: Activation<'_>,
    ) -> Result<Position, stencil_log::Error> {
        self.durably(Body::Activation(activation)).await
    }

    /// Has somebody's data erased: all that is logged before this. Returns when that is sure to
    /// happen, which is not when it has happened.
    ///
    /// # Errors
    /// What the log says; nothing is erased then.
    pub(crate) async fn erase(&self, erase: Erase) -> Result<Position, stencil_log::Error> {
        self.durably(Body::Erase(erase)).await
    }

    /// Logs what is not published by a peer; returns its end when it is durable.
    async fn durably(&self, body: Body<'_>) -> Result<Position, stencil_log::Error> {
        let mut bytes = Vec::with_capacity(128);
        Record {
            received_us: self.clock.now_us(),
            body,
        }
        .encode_into(&mut bytes);
        let position = self.log.append(&[&bytes])?;
        self.log.wait(position).await?;
        Ok(position)
    }

    /// Logs how late it is. Nobody waits for it: a log that takes nothing now takes the next one,
    /// which says as much.
    pub(crate) fn tick(&self) -> Result<Position, stencil_log::Error> {
        let mut bytes = Vec::with_capacity(16);
        Record {
            received_us: self.clock.now_us(),
            body: Body::Tick,
        }
        .encode_into(&mut bytes);
        self.log.append(&[&bytes])
    }
}

impl Sink<Peer> for Ingest {
    fn append(&self, from: &Source<Peer>, batch: &[Publish<'_>]) -> Result<u64, SinkError> {
        let received_us = self.clock.now_us();
        let mut bytes = Vec::with_capacity(batch.iter().map(|p| p.payload.len() + 256).sum());
        let mut ends = Vec::with_capacity(batch.len());
        for publish in batch {
            Record {
                received_us,
                body: Body::Publication(publication(from, publish)),
            }
            .encode_into(&mut bytes);
            ends.push(bytes.len());
        }
        let mut records = Vec::with_capacity(ends.len());
        let mut start = 0;
        for end in ends {
            records.push(&bytes[start..end]);
            start = end;
        }
        match self.log.append(&records) {
            Ok(position) => {
                self.metrics.ingested(records.len(), bytes.len());
                Ok(position.0)
            }
            Err(stencil_log::Error::Full(_)) => {
                self.metrics.ingest_refused();
                Err(SinkError::Full)
            }
            Err(error) => Err(SinkError::Failed(error.to_string())),
        }
    }

    fn committed(&self) -> watch::Receiver<u64> {
        self.log.committed_offsets()
    }
}

fn publication<'a>(from: &'a Source<Peer>, publish: &Publish<'a>) -> Publication<'a> {
    let link_suite = publish
        .user_properties
        .iter()
        .find(|(key, value)| *key == LINK_SUITE && value.len() <= MAX_SUITE_BYTES)
        .map(|(_, value)| *value);
    Publication {
        from: from.principal.principal.clone(),
        transport: match &from.transport {
            stencil_mqtt::Transport::Plain => Transport::Plain,
            stencil_mqtt::Transport::Tls {
                group,
                post_quantum,
                ..
            } => Transport::Tls {
                group,
                post_quantum: *post_quantum,
            },
        },
        link_suite,
        topic: publish.topic,
        payload: publish.payload,
    }
}
