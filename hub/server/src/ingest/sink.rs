//! The endpoint's sink over the ingest log.

use std::sync::Arc;

use stencil_log::{Log, Position};
use stencil_mqtt::{Publish, Sink, SinkError, Source};
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_protocol::topic::Topic;
use tokio::sync::watch;

use super::record::{Messages, Publications};
use super::{Activation, Admission, Ask, Body, Erase, GatewayGone, Published, Record, Transport};
use crate::Principal;
use crate::access::Intake;
use crate::asking::Asking;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::policy::Peer;

/// MQTT 5 user property in which a gateway names the suite of the device's link.
pub(crate) const LINK_SUITE: &str = "link-suite";

/// What the topic of a gateway's receipts ends with.
const RECEIPTS: &str = "/receipts";

/// What the topic of a gateway's answers ends with.
const ANSWER: &str = "/answer";

/// What the publishes of one socket read may come to as records, in bytes, besides one packet of
/// the largest size: 64 KiB of the smallest publishes (8 bytes, their topic by an alias) with some
/// 400 bytes of circumstances each. They are logged all or none, so the log must have room for them.
pub(crate) const MAX_APPEND_BYTES: u64 = 4 * 1024 * 1024;

/// The messages of one record take no more bytes than this, nor than the largest packet, unless it
/// is only one.
const RECORD_BYTES: usize = 32 * 1024;

/// Longest suite name that is kept, in bytes; a longer one is no suite of ours.
const MAX_SUITE_BYTES: usize = 64;

/// Takes what peers publish into the ingest log. Bounded by the log: when it has no room, the
/// endpoint is told so and stops reading.
#[derive(Clone)]
pub(crate) struct Ingest {
    log: Log,
    clock: Clock,
    metrics: Arc<Metrics>,
    record_bytes: usize,
    asking: Asking,
    receipts: Intake,
}

impl Ingest {
    /// A sink over `log`, whose records have room for the largest packet and its circumstances.
    pub(crate) fn new(
        log: Log,
        clock: Clock,
        metrics: Arc<Metrics>,
        max_packet_bytes: u32,
    ) -> Self {
        let max_packet_bytes = usize::try_from(max_packet_bytes).unwrap_or(usize::MAX);
        Self {
            log,
            clock,
            asking: Asking::new(Arc::clone(&metrics)),
            receipts: Intake::default(),
            metrics,
            record_bytes: RECORD_BYTES.min(max_packet_bytes),
        }
    }

    /// Who waits for answers of gateways: these are handed over and not logged.
    pub(crate) fn asking(&self) -> &Asking {
        &self.asking
    }

    /// Who takes receipts of gateways: these are handed over and not logged, and come again until they are
    /// kept.
    pub(crate) fn receipts(&self) -> &Intake {
        &self.receipts
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

    /// Has a device refused, or taken again, from here on. Returns when that is sure to happen.
    ///
    /// # Errors
    /// What the log says; nothing has changed then.
    pub(crate) async fn admit(&self, admission: Admission) -> Result<Position, stencil_log::Error> {
        self.durably(Body::Admission(admission)).await
    }

    /// Asks something of a roll-out; returns when it is sure to be heard.
    ///
    /// # Errors
    /// What the log says; nothing is asked then.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Position, stencil_log::Error> {
        self.durably(Body::Rollout(ask)).await
    }

    /// Logs that a gateway is cut off (`None`: all are). Nobody waits for it.
    pub(crate) fn gateway_gone(
        &self,
        of: Option<(TenantId, GatewayId)>,
    ) -> Result<Position, stencil_log::Error> {
        let mut bytes = Vec::with_capacity(128);
        Record {
            received_us: self.clock.now_us(),
            body: Body::GatewayGone(GatewayGone { of }),
        }
        .encode_into(&mut bytes);
        self.log.append(&[&bytes])
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
        let principal = &from.principal.principal;
        let logged: Vec<&Publish<'_>> = batch
            .iter()
            .filter(|publish| !is_answer(publish.topic) && !is_receipts(publish.topic))
            .collect();
        let packed = Packed::new(
            principal,
            &from.transport,
            self.clock.now_us(),
            &logged,
            self.record_bytes,
        );
        let records: Vec<&[u8]> = packed.records().collect();
        match self.log.append(&records) {
            Ok(position) => {
                // After the log has taken the rest: what it refuses comes again as a whole.
                let answers = batch.iter().filter(|publish| is_answer(publish.topic));
                answers.for_each(|answer| self.asking.take(principal, answer));
                let receipts = batch.iter().filter(|publish| is_receipts(publish.topic));
                receipts.for_each(|publish| self.receipts.take(principal, publish));
                self.metrics.ingested(logged.len(), packed.bytes.len());
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

/// The publishes of one read as records.
#[derive(Debug)]
struct Packed {
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
}

impl Packed {
    fn new(
        from: &Principal,
        transport: &stencil_mqtt::Transport,
        received_us: i64,
        batch: &[&Publish<'_>],
        record_bytes: usize,
    ) -> Self {
        let bytes: usize = batch.iter().map(|publish| publish.payload.len() + 64).sum();
        let mut packed = Self {
            bytes: Vec::with_capacity(bytes + 128),
            ends: Vec::with_capacity(1),
        };
        let mut messages = Messages::with_capacity(bytes.min(record_bytes));
        for publish in batch {
            let message = published(publish);
            let held = messages.as_bytes().len();
            if held > 0 && held + message.topic.len() + message.payload.len() > record_bytes {
                packed.end(from, transport, received_us, &mut messages);
            }
            messages.push(&message);
        }
        if !messages.as_bytes().is_empty() {
            packed.end(from, transport, received_us, &mut messages);
        }
        packed
    }

    fn end(
        &mut self,
        from: &Principal,
        transport: &stencil_mqtt::Transport,
        received_us: i64,
        messages: &mut Messages,
    ) {
        let body = Body::Publications(Publications {
            from: from.clone(),
            transport: match transport {
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
            messages: messages.as_bytes(),
        });
        Record { received_us, body }.encode_into(&mut self.bytes);
        self.ends.push(self.bytes.len());
        messages.clear();
    }

    fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }
}

/// Whether the topic is that of a gateway's answers. The policy has looked that it is its own.
fn is_answer(topic: &str) -> bool {
    topic.ends_with(ANSWER) && matches!(Topic::parse(topic), Ok(Topic::GatewayAnswer(_)))
}

/// Whether the topic is that of a gateway's receipts; the policy has looked as well.
fn is_receipts(topic: &str) -> bool {
    topic.ends_with(RECEIPTS) && matches!(Topic::parse(topic), Ok(Topic::GatewayReceipts(_)))
}

fn published<'a>(publish: &Publish<'a>) -> Published<'a> {
    let link_suite = publish
        .user_properties
        .iter()
        .find(|(key, value)| *key == LINK_SUITE && value.len() <= MAX_SUITE_BYTES)
        .map(|(_, value)| *value);
    Published {
        link_suite,
        topic: publish.topic,
        payload: publish.payload,
    }
}

#[cfg(test)]
mod tests {
    use stencil_mqtt::Qos;
    use stencil_protocol::id::{GatewayId, TenantId};

    use super::*;
    use crate::Role;

    #[test]
    fn what_one_read_brought_becomes_few_records_that_hold_all_of_it_in_order() {
        let from = Principal {
            tenant: TenantId::parse("acme").unwrap(),
            role: Role::Gateway(GatewayId::parse("gw-1").unwrap()),
        };
        let payloads: Vec<Vec<u8>> = [10, RECORD_BYTES + 1, 20_000, 20_000, 0, 30]
            .iter()
            .zip(0..)
            .map(|(length, fill)| vec![fill; *length])
            .collect();
        let suite = [("other", "x"), (LINK_SUITE, "psk-x25519-mlkem768")];
        let batch: Vec<Publish<'_>> = payloads
            .iter()
            .enumerate()
            .map(|(at, payload)| Publish {
                topic: if at < 3 { "one" } else { "two" },
                payload,
                qos: Qos::AtLeastOnce,
                retain: false,
                content_type: None,
                user_properties: if at == 5 { suite.to_vec() } else { Vec::new() },
            })
            .collect();
        let transport = stencil_mqtt::Transport::Plain;
        let all: Vec<&Publish<'_>> = batch.iter().collect();
        let packed = Packed::new(&from, &transport, 7, &all, RECORD_BYTES);
        let mut found = Vec::new();
        let mut records = 0;
        for bytes in packed.records() {
            records += 1;
            let record = Record::decode(bytes).unwrap();
            assert_eq!(record.received_us, 7);
            let Body::Publications(many) = record.body else {
                panic!("{record:?}");
            };
            assert_eq!((&many.from, &many.transport), (&from, &Transport::Plain));
            let messages: Vec<_> = many.iter().map(Result::unwrap).collect();
            let bytes: usize = messages.iter().map(|it| it.payload.len()).sum();
            assert!(messages.len() == 1 || bytes <= RECORD_BYTES);
            found.extend(messages);
        }
        let wanted: Vec<_> = batch.iter().map(published).collect();
        assert_eq!(found, wanted);
        assert_eq!(wanted[5].link_suite, Some("psk-x25519-mlkem768"));
        assert_eq!(records, 4);
        assert!(
            Packed::new(&from, &transport, 7, &[], RECORD_BYTES)
                .records()
                .next()
                .is_none()
        );
    }
}
