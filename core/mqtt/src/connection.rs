//! A connected client: what it sends is kept, acknowledged and routed; what is
//! for it is sent.

use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::connect::{Connected, LastWill};
use crate::engine::{Asked, Delivery, Inbound, Publish, Subscribe, Undeliverable};
use crate::hub::Membership;
use crate::message::Message;
use crate::pending::{Ack, Batch, Pending};
use crate::reason::{Code, Fault};
use crate::wire::{Read, Wire, WriteError};
use crate::{Disconnect, Endpoint, Event, Policy, Qos, Sink, SinkError, Version, topic};

/// How much is gathered for a subscriber before it is written.
const WRITE_BYTES: usize = 64 * 1024;
/// How many refused packets of one connection are logged; the metrics count
/// them all.
const REFUSALS_LOGGED: u32 = 10;
/// How many packets an empty inbox may keep room for.
const INBOX: usize = 64;

pub(crate) struct Connection<'e, P: Policy, S: Sink<P::Principal>, IO> {
    pub(crate) endpoint: &'e Endpoint<P, S>,
    pub(crate) wire: Wire<IO>,
    pub(crate) membership: Membership<P::Principal>,
    version: Version,
    wants_session: bool,
    will: Option<LastWill>,
    keep_alive: Option<std::time::Duration>,
    committed: watch::Receiver<u64>,
    /// What waits for its commit.
    pub(crate) pending: Pending,
    /// What the sink had no room for.
    pub(crate) stalled: Option<Taken>,
    /// When to try that again at the latest.
    retry_at: tokio::time::Instant,
    /// When the last bytes came, or the client was last held back.
    heard: Instant,
    /// How many refusals may still be logged.
    refusals_to_log: u32,
}

/// The PUBLISH packets of one socket read.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    publishes: Vec<Publish>,
    acks: Vec<Ack>,
}

/// How a connection ends.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) reason: Disconnect,
    /// What a v5 client is told.
    pub(crate) told: Option<Fault>,
}

impl Ending {
    fn silent(reason: Disconnect) -> Self {
        Self { reason, told: None }
    }

    fn told(reason: Disconnect, code: Code, what: &str) -> Self {
        Self {
            reason,
            told: Some(Fault::new(code, what)),
        }
    }
}

impl From<Fault> for Ending {
    fn from(fault: Fault) -> Self {
        Self {
            reason: fault.reason(),
            told: Some(fault),
        }
    }
}

enum Wake {
    Work,
    CommitsEnded,
    Retry,
    KeepAlive,
    Shutdown,
    Read(Read),
}

impl<'e, P, S, IO> Connection<'e, P, S, IO>
where
    P: Policy,
    S: Sink<P::Principal>,
    IO: AsyncRead + AsyncWrite + Unpin,
{
    pub(crate) fn new(
        endpoint: &'e Endpoint<P, S>,
        wire: Wire<IO>,
        connected: Connected<P::Principal>,
    ) -> Self {
        Self {
            endpoint,
            wire,
            membership: connected.membership,
            version: connected.version,
            wants_session: connected.wants_session,
            will: connected.will,
            keep_alive: connected.keep_alive,
            committed: endpoint.sink.committed(),
            pending: Pending::default(),
            stalled: None,
            retry_at: tokio::time::Instant::now(),
            heard: Instant::now(),
            refusals_to_log: REFUSALS_LOGGED,
        }
    }

    /// Serves the client until one side ends it, and then ends it.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let ending = self.serve(&mut shutdown).await;
        tracing::debug!(
            client_id = self.membership.source.client_id,
            reason = ending.reason.as_str(),
            "connection ends"
        );
        self.finish(ending).await;
    }

    async fn serve(&mut self, shutdown: &mut watch::Receiver<bool>) -> Ending {
        let hub = &*self.endpoint.hub;
        let mut inbox = Vec::new();
        let mut read = self.wire.resume(&mut inbox, &hub.options);
        let alive = tokio::time::sleep(self.keep_alive.unwrap_or_default());
        let mut alive = std::pin::pin!(alive);
        loop {
            if let Some(ending) = self.take(&mut inbox, read) {
                return ending;
            }
            let more = match self.step().await {
                Ok(more) => more,
                Err(ending) => return ending,
            };
            let open = self.may_read();
            let waiting = !self.pending.is_empty() || self.stalled.is_some();
            let wake = tokio::select! {
                () = std::future::ready(()), if more => Wake::Work,
                () = self.membership.outbox.changed() => Wake::Work,
                changed = self.committed.changed(), if waiting => match changed {
                    Ok(()) => Wake::Retry,
                    Err(_) => Wake::CommitsEnded,
                },
                () = tokio::time::sleep_until(self.retry_at), if self.stalled.is_some() => {
                    Wake::Retry
                }
                () = &mut alive, if self.keep_alive.is_some() => Wake::KeepAlive,
                _ = shutdown.wait_for(|stop| *stop) => Wake::Shutdown,
                read = self.wire.read(&mut inbox, &hub.counters), if open => Wake::Read(read),
            };
            read = Read::Packets;
            match wake {
                Wake::Work => {}
                Wake::Read(what) => {
                    self.heard = Instant::now();
                    read = what;
                }
                Wake::Retry => {
                    if !open {
                        self.heard = Instant::now();
                    }
                    if let Some(taken) = self.stalled.take()
                        && let Err(ending) = self.append(taken)
                    {
                        return ending;
                    }
                }
                Wake::CommitsEnded => return sink_failed("it commits no more"),
                Wake::KeepAlive => {
                    if !open {
                        // A client that is held back is not silent.
                        self.heard = Instant::now();
                    }
                    let due = self.heard + self.keep_alive.unwrap_or_default();
                    if due <= Instant::now() {
                        return Ending::told(
                            Disconnect::KeepAlive,
                            Code::KEEP_ALIVE,
                            "nothing came for one and a half times the keep-alive",
                        );
                    }
                    alive.as_mut().reset(due.into());
                }
                Wake::Shutdown => {
                    return Ending::told(
                        Disconnect::ShuttingDown,
                        Code::SHUTTING_DOWN,
                        "the server shuts down",
                    );
                }
            }
        }
    }

    /// Sends what is due; returns whether there is more to send.
    async fn step(&mut self) -> Result<bool, Ending> {
        let due = self.acknowledge();
        // Not behind the write: a publisher that doesn't read must not keep
        // its messages from others.
        self.route(due);
        let more = self.deliver();
        match self.wire.flush(&self.endpoint.hub.counters).await {
            Ok(()) => {}
            Err(WriteError::Broken) => return Err(Ending::silent(Disconnect::Lost)),
            Err(WriteError::Timeout) => {
                tracing::warn!(
                    client_id = self.membership.source.client_id,
                    "connection closed: the client doesn't read"
                );
                return Err(Ending::silent(Disconnect::WriteTimeout));
            }
        }
        match self.membership.outbox.ended() {
            Some(Disconnect::TakenOver) => Err(Ending::told(
                Disconnect::TakenOver,
                Code::TAKEN_OVER,
                "another connection uses this client id now",
            )),
            Some(reason) => Err(Ending::told(
                reason,
                Code::ADMINISTRATIVE,
                "closed by the server's application",
            )),
            None => Ok(more),
        }
    }

    fn may_read(&self) -> bool {
        let options = &self.endpoint.hub.options;
        self.stalled.is_none()
            && self.pending.len() < options.max_pending_reads.max(1)
            && (self.pending.is_empty() || self.pending.bytes() < options.max_pending_bytes)
    }

    /// Handles what one read brought.
    fn take(&mut self, inbox: &mut Vec<Inbound>, read: Read) -> Option<Ending> {
        let mut taken = Taken::default();
        let mut ending = None;
        for inbound in inbox.drain(..) {
            if let Err(end) = self.packet(inbound, &mut taken) {
                ending = Some(end);
                break;
            }
        }
        inbox.shrink_to(INBOX);
        if let Err(end) = self.append(taken) {
            return Some(end);
        }
        let ending = ending.or(match read {
            Read::Packets => None,
            Read::Fault(fault) => Some(fault.into()),
            Read::End => Some(Ending::silent(Disconnect::Lost)),
        })?;
        if let Some(fault) = &ending.told {
            tracing::info!(
                client_id = self.membership.source.client_id,
                peer = %self.membership.source.peer,
                %fault,
                "connection closed: the client broke a rule"
            );
            self.endpoint.hub.counters.protocol_errors.one();
        }
        Some(ending)
    }

    fn packet(&mut self, inbound: Inbound, taken: &mut Taken) -> Result<(), Ending> {
        match inbound {
            Inbound::Publish(publish) => Ok(self.publish(publish, taken)?),
            Inbound::Subscribe(subscribe) => {
                self.subscribe(&subscribe);
                Ok(())
            }
            Inbound::Unsubscribe { id, filters } => {
                let existed: Vec<bool> = filters
                    .iter()
                    .map(|filter| {
                        self.membership
                            .namespace
                            .unsubscribe(self.membership.session, filter)
                    })
                    .collect();
                self.wire
                    .engine
                    .unsubscribed(id, &existed, &mut self.wire.out);
                Ok(())
            }
            Inbound::Release { id } => {
                self.wire.engine.released(id, &mut self.wire.out);
                Ok(())
            }
            // §3.14.2.2.2. Else the session ends at once, as the CONNACK said.
            Inbound::Disconnect {
                session_expiry_s: 1..,
                ..
            } if !self.wants_session => Err(Fault::protocol(
                "DISCONNECT: a session expiry where the CONNECT had none",
            )
            .into()),
            Inbound::Disconnect { with_will, .. } => Err(Ending::silent(match with_will {
                true => Disconnect::ClientWithWill,
                false => Disconnect::Client,
            })),
            Inbound::Connect(_) => Err(Fault::protocol("a second CONNECT").into()),
            Inbound::Acknowledged | Inbound::Nothing => Ok(()),
        }
    }

    /// Sorts a PUBLISH: to be kept, to be refused, or a reason to end.
    fn publish(&mut self, publish: Publish, taken: &mut Taken) -> Result<(), Fault> {
        let hub = &*self.endpoint.hub;
        if publish.qos() == Asked::ExactlyOnce {
            return Err(Fault::new(
                Code::QOS_NOT_SUPPORTED,
                "PUBLISH: the maximum QoS is 1",
            ));
        }
        let refused = match topic::check_name(publish.topic(), (&hub.options).into()) {
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
            if self.refusals_to_log > 0 {
                self.refusals_to_log -= 1;
                tracing::info!(
                    client_id = self.membership.source.client_id,
                    topic = publish.topic(),
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

    fn subscribe(&mut self, subscribe: &Subscribe) {
        let hub = &*self.endpoint.hub;
        let membership = &self.membership;
        let results: Vec<Result<Qos, Code>> = subscribe
            .entries
            .iter()
            .map(|entry| {
                topic::check_filter(&entry.filter, (&hub.options).into()).map_err(|error| {
                    match error {
                        topic::Error::Shared => Code::SHARED_NOT_SUPPORTED,
                        _ => Code::TOPIC_FILTER_INVALID,
                    }
                })?;
                let principal = &membership.source.principal;
                if !self.endpoint.policy.may_subscribe(principal, &entry.filter) {
                    return Err(Code::NOT_AUTHORIZED);
                }
                membership.namespace.subscribe(
                    membership.session,
                    entry,
                    subscribe.identifier,
                    &hub.options,
                    &hub.counters,
                )?;
                Ok(entry.qos)
            })
            .collect();
        self.wire
            .engine
            .subscribed(subscribe.id, &results, &mut self.wire.out);
        for (entry, result) in subscribe.entries.iter().zip(&results) {
            match result {
                Ok(qos) => hub.tell(Event::Subscribed {
                    namespace: membership.namespace.name.clone(),
                    source: membership.source.clone(),
                    filter: entry.filter.as_str().into(),
                    qos: *qos,
                }),
                Err(code) => {
                    hub.counters.subscriptions_refused.one();
                    if self.refusals_to_log > 0 {
                        self.refusals_to_log -= 1;
                        tracing::info!(
                            client_id = membership.source.client_id,
                            filter = entry.filter,
                            code = code.0,
                            "SUBSCRIBE refused"
                        );
                    }
                }
            }
        }
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

    /// Moves messages from the queue to the write buffer, as far as the client
    /// takes them; returns whether there may be more that it would take.
    fn deliver(&mut self) -> bool {
        let hub = &*self.endpoint.hub;
        let engine = &mut self.wire.engine;
        let now = Instant::now();
        while self.wire.out.len() < WRITE_BYTES {
            let Some(waiting) = self.membership.outbox.take(|qos| {
                qos == Qos::AtMostOnce || engine.may_send(hub.options.outbound_in_flight)
            }) else {
                return false;
            };
            let delivery = Delivery {
                message: &waiting.message,
                qos: waiting.qos,
                retain: waiting.retain,
                identifiers: &waiting.identifiers,
            };
            match engine.deliver(&delivery, now, &mut self.wire.out) {
                Ok(()) => {
                    hub.counters.publishes_out.one();
                    hub.counters
                        .publish_bytes_out
                        .add(waiting.message.payload.len());
                }
                Err(Undeliverable::Closing) => return false,
                Err(Undeliverable::Expired | Undeliverable::TooLarge) => {
                    hub.counters.undeliverable.one();
                }
            }
        }
        true
    }

    /// The will, unless the client said goodbye.
    pub(crate) fn take_will(&mut self, reason: Disconnect) -> Option<Message> {
        let will = self.will.take()?;
        (reason != Disconnect::Client).then(|| will.into_message(Instant::now()))
    }

    /// Waits until the sink has committed something more.
    pub(crate) async fn committed(&mut self) -> Result<(), watch::error::RecvError> {
        self.committed.changed().await
    }
}

fn sink_failed(why: &str) -> Ending {
    tracing::error!(why, "connection closed: the sink failed");
    Ending::told(
        Disconnect::SinkFailed,
        Code::BUSY,
        "messages can't be kept now",
    )
}
