//! One byte link from its first frame to its end.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use stencil_log::Position;
use stencil_protocol::{
    batch::Batch,
    command::{self, Command, State, Status},
    frame::Kind,
    id::{Boot, CommandId, Seq},
    link::{Down, Up},
    report::{self, LinkEvent},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, watch},
};

use super::{
    Links,
    live::Place,
    session::{Plain, REFUSED_NO_SESSION, SealError, Secured},
    wire::{Reader, Writer, frames},
};
use crate::spool::{self, Entry, now_us, stopped};

/// The least time between two handshakes on one link: each costs a KEM.
const HANDSHAKE_PAUSE: Duration = Duration::from_millis(100);
/// How often unanswered commands are looked at.
const COMMANDS_INTERVAL: Duration = Duration::from_secs(1);

/// How long the report of a link's end may wait for room in the spool.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// A link.
pub(crate) struct Connection<S> {
    links: Arc<Links>,
    reader: Reader<S>,
    writer: Writer<S>,
    /// Held until the other side has shown a device's key; none on a serial line, which stays
    /// open whatever comes over it.
    stranger: Option<OwnedSemaphorePermit>,
    is_line: bool,
    stop: watch::Receiver<bool>,
    current: Option<Linked>,
    candidate: Option<Secured>,
    handshake_at: Option<Instant>,
    /// What is to be said when the spool has committed so far.
    due: VecDeque<(Position, Due)>,
}

/// The session in use.
struct Linked {
    secured: Secured,
    place: Place,
}

enum Due {
    Batch { boot: Boot, through: Seq },
    Status { id: CommandId, state: State },
}

/// Why a link ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the gateway stops")]
    Stopped,
    #[error("the other side has closed it")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no device has shown its key in time")]
    Stranger,
    #[error("it was silent for too long")]
    Silent,
    #[error("a newer link of the device has come")]
    Superseded,
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("the spool: {0}")]
    Spool(#[from] stencil_log::Error),
}

enum Step {
    Frame(Kind, Vec<u8>),
    Committed(Position),
    Commands,
    Time,
    Silent,
}

impl<S: AsyncRead + AsyncWrite + Send> Connection<S> {
    /// A link over `stream`; one with a `stranger`'s permit has to show a device's key in time.
    pub(crate) fn new(
        stream: S,
        links: Arc<Links>,
        stranger: Option<OwnedSemaphorePermit>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let write_timeout = Duration::from_millis(links.options.write_timeout_ms);
        let (reader, writer) = frames(stream, write_timeout, Arc::clone(&links.metrics));
        Self {
            reader,
            writer,
            is_line: stranger.is_none(),
            stranger,
            stop,
            current: None,
            candidate: None,
            handshake_at: None,
            due: VecDeque::new(),
            links,
        }
    }

    /// Serves the link to its end.
    pub(crate) async fn run(mut self) {
        let end = match self.serve().await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let device = self
            .current
            .as_ref()
            .map(|linked| linked.secured.device.to_string());
        match &end {
            End::Seal(_) | End::Spool(_) => tracing::error!(device, %end, "link ended"),
            _ => tracing::info!(device, %end, "link ended"),
        }
        self.leave().await;
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        let links = Arc::clone(&self.links);
        let mut committed = links.spool.committed();
        let mut time = ticker(Duration::from_millis(links.options.time_interval_ms));
        let mut commands = ticker(COMMANDS_INTERVAL);
        let handshake = Duration::from_millis(links.options.handshake_timeout_ms);
        let until_known = tokio::time::Instant::now() + handshake;
        let mut heard_at = tokio::time::Instant::now();
        loop {
            let silent_at = match self.stranger {
                Some(_) => until_known,
                None => heard_at + links.idle_timeout(),
            };
            let due = self.due.front().map(|(position, _)| *position);
            let room = self.due.len() < links.options.max_unacknowledged;
            let step = tokio::select! {
                () = stopped(&mut self.stop) => return Err(End::Stopped),
                () = superseded(self.current.as_ref()) => {
                    if !self.is_line {
                        return Err(End::Superseded);
                    }
                    self.current = None;
                    continue;
                }
                position = reached(&mut committed, due) => Step::Committed(position?),
                frame = self.reader.next(), if room => {
                    let (kind, payload) = frame?.ok_or(End::Closed)?;
                    Step::Frame(kind, payload)
                }
                () = has_commands(self.current.as_ref()) => Step::Commands,
                _ = commands.tick() => Step::Commands,
                _ = time.tick() => Step::Time,
                () = tokio::time::sleep_until(silent_at) => Step::Silent,
            };
            match step {
                Step::Frame(Kind::Hello, hello) => self.shake_hands(&hello).await?,
                Step::Frame(Kind::Record, record) => {
                    if self.open(&record).await? {
                        heard_at = tokio::time::Instant::now();
                    }
                }
                Step::Frame(Kind::Answer | Kind::Refused, _) => {
                    links.metrics.frames_bad.increment();
                }
                Step::Committed(position) => self.acknowledge(position).await?,
                Step::Commands => self.send_commands().await?,
                Step::Time => self.tell(&Down::Time { now_us: now_us() }).await?,
                Step::Silent if self.stranger.is_some() => return Err(End::Stranger),
                Step::Silent if !self.is_line => return Err(End::Silent),
                Step::Silent => {
                    self.leave().await;
                    heard_at = tokio::time::Instant::now();
                }
            }
        }
    }

    async fn shake_hands(&mut self, hello: &[u8]) -> Result<(), End> {
        // The link is held back for the rest of the pause: whoever floods it waits.
        if let Some(at) = self.handshake_at {
            tokio::time::sleep(HANDSHAKE_PAUSE.saturating_sub(at.elapsed())).await;
        }
        self.handshake_at = Some(Instant::now());
        match Secured::answer(hello, &self.links.keys).await {
            Ok((mut secured, answer)) => {
                self.writer.send(Kind::Answer, &answer).await?;
                let time = secured.seal(&Down::Time { now_us: now_us() })?;
                self.writer.send(Kind::Record, &time).await?;
                self.candidate = Some(secured);
            }
            Err(refusal) => {
                self.links.metrics.handshakes_refused.increment();
                tracing::warn!(%refusal, "handshake refused");
                self.writer.send(Kind::Refused, &[refusal.code()]).await?;
            }
        }
        Ok(())
    }

    /// Opens a record; false when it is none of ours.
    async fn open(&mut self, record: &[u8]) -> Result<bool, End> {
        let mut plain: Plain = [0; _];
        let by_current = self
            .current
            .as_mut()
            .map(|linked| linked.secured.open(record, &mut plain));
        let length = match by_current {
            Some(Ok(length)) => length,
            refused => {
                let by_candidate = self
                    .candidate
                    .as_mut()
                    .map(|secured| secured.open(record, &mut plain));
                let Some(Ok(length)) = by_candidate else {
                    self.links.metrics.records_bad.increment();
                    if refused.is_none() && by_candidate.is_none() {
                        // As after a restart of ours, when the line stayed open.
                        self.writer
                            .send(Kind::Refused, &[REFUSED_NO_SESSION])
                            .await?;
                    }
                    return Ok(false);
                };
                self.promote().await?;
                length
            }
        };
        self.take(&plain[..length]).await?;
        Ok(true)
    }

    /// The device has shown that it holds the new session's keys: it is in use from now on.
    async fn promote(&mut self) -> Result<(), End> {
        let Some(secured) = self.candidate.take() else {
            return Ok(());
        };
        self.links.metrics.handshakes_completed.increment();
        self.stranger = None;
        if self
            .current
            .as_ref()
            .is_some_and(|linked| linked.secured.device != secured.device)
        {
            // Another device was put on the line.
            self.leave().await;
        }
        // What the session before was owed, the new one will be asked for again.
        self.due.clear();
        let (device, suite) = (secured.device.clone(), secured.session.suite());
        tracing::info!(%device, suite = suite.name(), "device linked");
        let place = self.links.live.enter(device.clone());
        self.current = Some(Linked { secured, place });
        let connected = report::Link::Connected { suite: suite.id() };
        self.report(device, connected).await?;
        self.send_commands().await
    }

    async fn take(&mut self, plain: &[u8]) -> Result<(), End> {
        let Some(linked) = &self.current else {
            return Ok(());
        };
        let device = linked.secured.device.clone();
        let suite = Some(linked.secured.session.suite().id());
        let metrics = &self.links.metrics;
        match Up::decode(plain) {
            Ok(Up::Batch(payload)) => match Batch::decode(payload) {
                Ok(batch) => {
                    let header = batch.header();
                    let through = header.first.0.saturating_add(batch.len() as u64).max(1) - 1;
                    let ack = Due::Batch {
                        boot: header.boot,
                        through: Seq(through),
                    };
                    metrics.samples_spooled.add(batch.len() as u64);
                    metrics.batches_spooled.increment();
                    let kind = spool::Kind::Batch;
                    self.put(
                        Entry {
                            kind,
                            device,
                            suite,
                            payload,
                        },
                        ack,
                    )
                    .await?;
                }
                Err(error) => {
                    metrics.batches_malformed.increment();
                    tracing::warn!(%device, %error, "a batch cannot be read; not acknowledged");
                }
            },
            Ok(Up::Status(status)) => {
                metrics.statuses_spooled.increment();
                let mut payload = [0; command::MAX_STATUS_BYTES];
                let length = status.encode(&mut payload).map_err(SealError::from)?;
                let entry = Entry {
                    kind: spool::Kind::Status,
                    device,
                    suite,
                    payload: &payload[..length],
                };
                self.put(
                    entry,
                    Due::Status {
                        id: status.id,
                        state: status.state,
                    },
                )
                .await?;
            }
            Ok(Up::Ping) => {}
            Err(error) => {
                metrics.records_bad.increment();
                tracing::warn!(%device, %error, "a record holds no message");
            }
        }
        Ok(())
    }

    /// Spools a message. While there is no room the link isn't read: the device is held back.
    async fn put(&mut self, entry: Entry<'_>, due: Due) -> Result<(), End> {
        let position = tokio::select! {
            position = self.links.spool.put(&entry) => position?,
            () = stopped(&mut self.stop) => return Err(End::Stopped),
        };
        self.due.push_back((position, due));
        Ok(())
    }

    /// Tells the device what is on disk now.
    async fn acknowledge(&mut self, committed: Position) -> Result<(), End> {
        stencil_crashpoint::reach("gateway.before_ack");
        while let Some((_, due)) = self
            .due
            .pop_front_if(|(position, _)| *position <= committed)
        {
            match due {
                Due::Batch { boot, through } => self.tell(&Down::Ack { boot, through }).await?,
                Due::Status { id, state } => {
                    if let Some(linked) = &self.current {
                        self.links.commands.answered(&linked.secured.device, id);
                    }
                    self.tell(&Down::StatusAck { id, state }).await?;
                }
            }
        }
        Ok(())
    }

    async fn send_commands(&mut self) -> Result<(), End> {
        let Some(linked) = &self.current else {
            return Ok(());
        };
        let (device, link) = (&linked.secured.device, linked.place.number());
        for bytes in self.links.commands.due(device, link, Instant::now()) {
            match Command::decode(&bytes) {
                Ok(command) => {
                    self.links.metrics.commands_sent.increment();
                    self.tell(&Down::Command(command)).await?;
                }
                Err(error) => tracing::error!(%error, "a command that is held cannot be read"),
            }
        }
        Ok(())
    }

    /// Seals and sends a message, if there is a session.
    async fn tell(&mut self, message: &Down<'_>) -> Result<(), End> {
        let Some(linked) = &mut self.current else {
            return Ok(());
        };
        let record = linked.secured.seal(message)?;
        Ok(self.writer.send(Kind::Record, &record).await?)
    }

    /// Ends the session in use; the hub is told, unless the device has a newer link.
    async fn leave(&mut self) {
        self.due.clear();
        let Some(linked) = self.current.take() else {
            return;
        };
        if linked.place.is_current() {
            let device = linked.secured.device.clone();
            // The place is held until then, so that a new link's event comes after this one.
            let report = self.report(device, report::Link::Disconnected);
            match tokio::time::timeout(REPORT_TIMEOUT, report).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the end of a link was not reported"),
                Err(_) => tracing::warn!("the end of a link was not reported: the spool is full"),
            }
        }
    }

    async fn report(
        &self,
        device: stencil_protocol::id::DeviceId,
        event: report::Link,
    ) -> Result<(), End> {
        let gateway = self.links.gateway.clone();
        let event = LinkEvent {
            device: device.clone(),
            gateway,
            at_us: now_us(),
            event,
        };
        let payload = event.encode();
        let entry = Entry {
            kind: spool::Kind::Link,
            device,
            suite: None,
            payload: &payload,
        };
        self.links.spool.put(&entry).await?;
        Ok(())
    }
}

/// A status by which the gateway itself answers for a device.
pub(crate) fn gateway_status(
    device: &stencil_protocol::id::DeviceId,
    status: &Status<'_>,
) -> Option<Vec<u8>> {
    let mut payload = [0; command::MAX_STATUS_BYTES];
    let length = status.encode(&mut payload).ok()?;
    let entry = Entry {
        kind: spool::Kind::Status,
        device: device.clone(),
        suite: None,
        payload: &payload[..length],
    };
    Some(entry.to_bytes())
}

fn ticker(interval: Duration) -> tokio::time::Interval {
    let mut ticker = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticker
}

async fn superseded(linked: Option<&Linked>) {
    match linked {
        Some(linked) => linked.place.superseded().await,
        None => std::future::pending().await,
    }
}

async fn has_commands(linked: Option<&Linked>) {
    match linked {
        Some(linked) => linked.place.commands().await,
        None => std::future::pending().await,
    }
}

/// Returns what is committed when `due` is; never without one.
async fn reached(
    committed: &mut watch::Receiver<Position>,
    due: Option<Position>,
) -> Result<Position, End> {
    match due {
        Some(due) => match committed.wait_for(|committed| *committed >= due).await {
            Ok(committed) => Ok(*committed),
            Err(_) => Err(End::Spool(stencil_log::Error::Closed)),
        },
        None => std::future::pending().await,
    }
}
