//! A connected client: what it sends is kept, acknowledged and routed; what is
//! for it is sent.

use std::sync::Arc;
use std::time::Instant;

use stencil_strangers::{Who, shown};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::commits::Ended;
use crate::connect::{Connected, LastWill};
use crate::engine::{Delivery, Inbound, Subscribe, Undeliverable};
use crate::hub::Membership;
use crate::intake::Taken;
use crate::message::Message;
use crate::namespace::TOPIC_SHOWN;
use crate::pending::Pending;
use crate::reason::{Code, Fault};
use crate::wire::{Read, Wire, WriteError};
use crate::{Disconnect, Endpoint, Event, Policy, Qos, Sink, Version, topic};

/// How much is gathered for a subscriber before it is written.
const WRITE_BYTES: usize = 64 * 1024;
/// How many refused packets of one namespace are logged before they are
/// counted; the metrics count them all.
const REFUSALS_LOGGED: u32 = 10;
/// How many packets an empty inbox may keep room for.
const INBOX: usize = 64;

pub(crate) struct Connection<'e, P: Policy, S: Sink<P::Principal>, IO> {
    pub(crate) endpoint: &'e Endpoint<P, S>,
    pub(crate) wire: Wire<IO>,
    pub(crate) membership: Membership<P::Principal>,
    pub(crate) version: Version,
    wants_session: bool,
    will: Option<LastWill>,
    keep_alive: Option<std::time::Duration>,
    pub(crate) committed: watch::Receiver<u64>,
    /// What was committed when that was last looked at.
    pub(crate) seen: u64,
    /// What waits for its commit.
    pub(crate) pending: Pending,
    /// What the sink had no room for.
    pub(crate) stalled: Option<Taken>,
    /// When to try that again at the latest.
    pub(crate) retry_at: tokio::time::Instant,
    /// When the last bytes came, or the client was last held back.
    heard: Instant,
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
            seen: 0,
            pending: Pending::default(),
            stalled: None,
            retry_at: tokio::time::Instant::now(),
            heard: Instant::now(),
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
        // Once for the connection: to wait for it anew with each packet takes a lock that all share.
        let mut shutdown = std::pin::pin!(shutdown.wait_for(|stop| *stop));
        loop {
            if let Some(ending) = self.take(&mut inbox, read) {
                return ending;
            }
            let more = match self.step().await {
                Ok(more) => more,
                Err(ending) => return ending,
            };
            let open = self.may_read();
            // What waits for its commit, and what the sink may have room for after the next one.
            let next = self.stalled.is_some().then(|| self.seen.saturating_add(1));
            let due = self.pending.next().into_iter().chain(next).min();
            let commits = &*self.endpoint.commits;
            let wake = tokio::select! {
                () = std::future::ready(()), if more => Wake::Work,
                () = self.membership.outbox.changed() => Wake::Work,
                reached = commits.reached(due.unwrap_or_default()), if due.is_some() => {
                    match reached {
                        Ok(()) => Wake::Retry,
                        Err(Ended) => Wake::CommitsEnded,
                    }
                }
                () = tokio::time::sleep_until(self.retry_at), if self.stalled.is_some() => {
                    Wake::Retry
                }
                () = &mut alive, if self.keep_alive.is_some() => Wake::KeepAlive,
                _ = &mut shutdown => Wake::Shutdown,
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
        let ended = self.membership.outbox.ended();
        // Whoever takes its place may have ended its credential with that: the session lives on.
        if ended != Some(Disconnect::TakenOver) {
            self.stays()?;
        }
        match ended {
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

    /// Whether the client's credential is still good.
    pub(crate) fn stays(&self) -> Result<(), Ending> {
        let principal = &self.membership.source.principal;
        if self.endpoint.policy.may_stay(principal) {
            return Ok(());
        }
        Err(Ending::told(
            Disconnect::NotAuthorized,
            Code::NOT_AUTHORIZED,
            "the credential of this connection was revoked",
        ))
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
            const CAUSE: &str = "connection closed: the client broke a rule";
            if self.may_log(CAUSE) {
                tracing::info!(
                    client_id = self.membership.source.client_id,
                    peer = %self.membership.source.peer,
                    fault = %shown(&fault.what, TOPIC_SHOWN),
                    "{CAUSE}"
                );
            }
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
                    if self.may_log("SUBSCRIBE refused") {
                        tracing::info!(
                            client_id = membership.source.client_id,
                            filter = %shown(&entry.filter, TOPIC_SHOWN),
                            code = code.0,
                            "SUBSCRIBE refused"
                        );
                    }
                }
            }
        }
    }

    /// Whether to write a line of this cause about this client.
    pub(crate) fn may_log(&self, cause: &'static str) -> bool {
        let who = Who::Named(Arc::clone(&self.membership.namespace.name));
        let lines = &self.endpoint.hub.clients;
        lines.may_write_up_to(REFUSALS_LOGGED, who, cause)
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

pub(crate) fn sink_failed(why: &str) -> Ending {
    tracing::error!(why, "connection closed: the sink failed");
    Ending::told(
        Disconnect::SinkFailed,
        Code::BUSY,
        "messages can't be kept now",
    )
}
