//! One byte link from its first frame to its end.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use stencil_log::Position;
use stencil_protocol::{frame::Kind, link::Down, report};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, watch},
};

use super::{
    Links,
    exchange::Due,
    live::Place,
    session::{Plain, REFUSED_NO_SESSION, SealError, Secured},
    wire::{Reader, Writer, frames},
};
use crate::{clock, spool::stopped};

/// The least time between two handshakes on one link: each costs a KEM.
const HANDSHAKE_PAUSE: Duration = Duration::from_millis(100);
/// How often unanswered commands are looked at.
const COMMANDS_INTERVAL: Duration = Duration::from_secs(1);

/// How long the report of a link's end may wait for room in the spool.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);
const REPORT_RETRY: Duration = Duration::from_millis(50);

/// A link.
pub(crate) struct Connection<S> {
    pub(super) links: Arc<Links>,
    reader: Reader<S>,
    pub(super) writer: Writer<S>,
    /// Held until the other side has shown a device's key; none on a serial line, which stays
    /// open whatever comes over it.
    stranger: Option<OwnedSemaphorePermit>,
    pub(super) is_line: bool,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) current: Option<Linked>,
    candidate: Option<Secured>,
    handshake_at: Option<Instant>,
    /// What is to be said when the spool has committed so far.
    pub(super) due: VecDeque<(Position, Due)>,
}

/// The session in use.
pub(super) struct Linked {
    pub(super) secured: Secured,
    pub(super) place: Place,
}

/// Why a link ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
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
    #[error("the device's key has been taken away")]
    Revoked,
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
                Step::Time => self.check_key_and_tell_time().await?,
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
                if let Some(now_us) = clock::set_now_us() {
                    let time = secured.seal(&Down::Time { now_us })?;
                    self.writer.send(Kind::Record, &time).await?;
                }
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
        let entry = self.link_event(device, connected);
        self.spool(&entry).await?;
        self.send_commands().await
    }

    /// Ends the session in use; the hub is told, unless the device has a newer link.
    async fn leave(&mut self) {
        self.due.clear();
        let Some(linked) = self.current.take() else {
            return;
        };
        let device = linked.secured.device.clone();
        let entry = self.link_event(device, report::Link::Disconnected);
        let until = Instant::now() + REPORT_TIMEOUT;
        loop {
            // Before a newer link enters, or not at all: the hub keeps what it hears last.
            match linked.place.if_current(|| self.links.spool.try_put(&entry)) {
                None | Some(Ok(_)) => return,
                Some(Err(error)) if error.is_retryable() && Instant::now() < until => {
                    tokio::time::sleep(REPORT_RETRY).await;
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "the end of a link was not reported");
                    return;
                }
            }
        }
    }
}

fn ticker(interval: Duration) -> tokio::time::Interval {
    let mut ticker = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticker
}

pub(super) async fn superseded(linked: Option<&Linked>) {
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
