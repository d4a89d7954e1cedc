//! What a client publishes: judged, handed to the sink, and acknowledged and
//! routed when the sink has committed it.

use std::time::Instant;

use stencil_strangers::shown;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::{Connection, Ending, sink_failed};
use crate::engine::{Asked, Publish};
use crate::message::Message;
use crate::namespace::TOPIC_SHOWN;
use crate::pending::{Ack, Batch};
use crate::reason::{Code, Fault};
use crate::{Policy, Qos, Sink, SinkError, Version, topic};

/// The PUBLISH packets of one socket read.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) publishes: Vec<Publish>,
    acks: Vec<Ack>,
}

impl<P, S, IO> Connection<'_, P, S, IO>
where
    P: Policy,
    S: Sink<P::Principal>,
    IO: AsyncRead + AsyncWrite + Unpin,
{
    /// Sorts a PUBLISH: to be kept, to be refused, or a reason to end.
    pub(crate) fn publish(&mut self, publish: Publish, taken: &mut Taken) -> Result<(), Fault> {
        let hub = &*self.endpoint.hub;
        if publish.qos() == Asked::ExactlyOnce {
            return Err(Fault::new(
                Code::QOS_NOT_SUPPORTED,
                "PUBLISH: the maximum QoS is 1",
            ));
        }
        // Mostly the topic of the one before, which was let pass.
        let before = taken.publishes.last();
        let same = before.is_some_and(|before| before.topic() == publish.topic());
        let checked = match same {
            true => Ok(()),
            false => topic::check_name(publish.topic(), (&hub.options).into()),
        };
        let refused = match checked {
            Ok(()) if same => None,
            Err(error) => Some(Fault::new(
                Code::TOPIC_NAME_INVALID,
                format!("PUBLISH: the topic name is not valid: {error}"),
            )),
            Ok(()) => {
                let source = &self.membership.source;
                let may = self
                    .endpoint
                    .policy
                    .may_publish(&source.principal, publish.topic());
                (!may).then(|| {
                    Fault::new(
                        Code::NOT_AUTHORIZED,
                        "PUBLISH: the topic is not allowed for this client",
                    )
                })
            }
        };
        if let Some(fault) = refused {
            hub.counters.publishes_refused.one();
            if self.may_log("PUBLISH refused") {
                tracing::info!(
                    client_id = self.membership.source.client_id,
                    topic = %shown(publish.topic(), TOPIC_SHOWN),
                    %fault,
                    "PUBLISH refused"
                );
            }
            // 3.1.1 §3.3.5: it can't be told, and a PUBACK would be a lie.
            if self.version == Version::V3 {
                return Err(fault);
            }
            if let Some(id) = publish.id() {
                taken.acks.push(Ack {
                    id,
                    code: fault.code,
                });
            }
            return Ok(());
        }
        if let Some(id) = publish.id() {
            taken.acks.push(Ack {
                id,
                code: Code::SUCCESS,
            });
        }
        taken.publishes.push(publish);
        Ok(())
    }

    /// Hands the messages of one read to the sink.
    pub(crate) fn append(&mut self, taken: Taken) -> Result<(), Ending> {
        let hub = &*self.endpoint.hub;
        if taken.publishes.is_empty() {
            if !taken.acks.is_empty() {
                self.pending.push(Batch {
                    position: self.pending.last(),
                    acks: taken.acks,
                    messages: Vec::new(),
                });
            }
            return Ok(());
        }
        self.stays()?;
        let batch: Vec<crate::Publish<'_>> = taken
            .publishes
            .iter()
            .map(|publish| crate::Publish {
                topic: publish.topic(),
                payload: publish.payload(),
                qos: match publish.qos() {
                    Asked::Offered(qos) => qos,
                    Asked::ExactlyOnce => Qos::AtLeastOnce,
                },
                retain: publish.retain(),
                content_type: publish.content_type(),
                user_properties: publish.user_properties(),
            })
            .collect();
        let appended = self.endpoint.sink.append(&self.membership.source, &batch);
        let position = match appended {
            Ok(position) => position,
            Err(SinkError::Full) => {
                hub.counters.sink_full.one();
                tracing::debug!(
                    client_id = self.membership.source.client_id,
                    messages = batch.len(),
                    "the sink is full: the client is held back"
                );
                drop(batch);
                self.retry_at = tokio::time::Instant::now() + hub.options.sink_retry;
                self.stalled = Some(taken);
                return Ok(());
            }
            Err(SinkError::Failed(why)) => return Err(sink_failed(&why)),
        };
        hub.counters.publishes_in.add(batch.len());
        hub.counters
            .publish_bytes_in
            .add(batch.iter().map(|publish| publish.payload.len()).sum());
        let wanted = self.membership.namespace.has_subscriptions();
        let now = Instant::now();
        let messages = taken
            .publishes
            .iter()
            .filter(|publish| wanted || publish.retain())
            .map(|publish| publish.message(now))
            .collect();
        self.pending.push(Batch {
            position,
            acks: taken.acks,
            messages,
        });
        Ok(())
    }

    /// Puts the acknowledgements of all that is committed into the write
    /// buffer and returns the messages to route.
    pub(crate) fn acknowledge(&mut self) -> Vec<Message> {
        let committed = *self.committed.borrow_and_update();
        self.seen = committed;
        let mut due = Vec::new();
        while let Some(batch) = self.pending.due(committed) {
            if !batch.acks.is_empty() {
                stencil_crashpoint::reach("mqtt.before_puback");
            }
            for ack in &batch.acks {
                let what = match ack.code {
                    Code::SUCCESS => "",
                    Code::TOPIC_NAME_INVALID => "the topic name is not valid",
                    _ => "the topic is not allowed for this client",
                };
                self.wire
                    .engine
                    .acknowledge(ack.id, ack.code, what, &mut self.wire.out);
            }
            self.endpoint
                .hub
                .counters
                .acknowledged
                .add(batch.acks.len());
            due.extend(batch.messages);
        }
        due
    }

    /// Hands committed messages to their subscribers.
    pub(crate) fn route(&self, messages: Vec<Message>) {
        let hub = &*self.endpoint.hub;
        for message in messages {
            self.membership
                .namespace
                .route(message, Some(self.membership.session), &hub.counters);
        }
    }
}
