//! One byte link from its first frame to its end.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use stencil_crypto::{Psk, link::Resume};
use stencil_log::Position;
use stencil_protocol::{frame::Kind, id::DeviceId, report};
use stencil_strangers::{Place as Stranger, Who as From};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

use super::{
    Links,
    exchange::Due,
    handshake::{Handshake, Porter, Step as Shaken},
    live::Place,
    resumption::Entry,
    session::{Plain, REFUSED_NO_SESSION, Refusal, SealError, Secured, Who, device},
    transfer::Transfer,
    wire::{Reader, Writer, frames},
};
use crate::{
    clock,
    psk::{KeyRing, Known, Missing, Used},
    spool::stopped,
};

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
    /// Who is told of in the log as long as no device has shown its key.
    from: From,
    /// A place among the links over TCP; none on a serial line, which stays open whatever comes
    /// over it.
    stranger_place: Option<Stranger>,
    /// Over TCP, until the other side has shown a device's key.
    is_stranger: bool,
    pub(super) is_line: bool,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) current: Option<Linked>,
    handshake: Handshake,
    handshake_at: Option<Instant>,
    /// What is to be said when the spool has committed so far.
    pub(super) due: VecDeque<(Position, Due)>,
}

/// The session in use.
pub(super) struct Linked {
    pub(super) secured: Secured,
    pub(super) place: Place,
    /// The key that the device was told to show.
    pub(super) told_key: Option<u64>,
    /// How far it is with an image.
    pub(super) transfer: Transfer,
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
    #[error("it made way for a newer one before a device had shown its key")]
    MadeWay,
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
    Key,
    Time,
    Answer,
    Silent,
}

impl<S: AsyncRead + AsyncWrite + Send> Connection<S> {
    /// A link over `stream`; one with a `place` has to show a device's key in time.
    pub(crate) fn new(
        stream: S,
        links: Arc<Links>,
        from: From,
        place: Option<Stranger>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let write_timeout = Duration::from_millis(links.options.write_timeout_ms);
        let (reader, writer) = frames(stream, write_timeout, Arc::clone(&links.metrics));
        Self {
            reader,
            writer,
            from,
            is_line: place.is_none(),
            is_stranger: place.is_some(),
            stranger_place: place,
            stop,
            current: None,
            handshake: Handshake::new(&links.porter, links.options.fragment_bytes),
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
            End::MadeWay => {
                self.links.metrics.links_made_way.increment();
                let lines = &self.links.strangers;
                if lines.may_write(self.from.clone(), "made way for a newer link") {
                    tracing::info!(%end, "link ended");
                }
            }
            // Whoever reaches the port can have that.
            _ if device.is_none() => tracing::debug!(%end, "link ended"),
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
            let silent_at = match self.is_stranger {
                true => until_known,
                false => heard_at + links.idle_timeout(),
            };
            let due = self.due.front().map(|(position, _)| *position);
            let answer_us = self.handshake.due_us();
            let porter = &links.porter;
            let room = self.due.len() < links.options.max_unacknowledged;
            let step = tokio::select! {
                () = stopped(&mut self.stop) => return Err(End::Stopped),
                () = made_way(self.stranger_place.as_ref()), if self.is_stranger => {
                    return Err(End::MadeWay);
                }
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
                () = has_check(self.current.as_ref()) => Step::Key,
                _ = commands.tick() => Step::Commands,
                _ = time.tick() => Step::Time,
                () = reached_us(porter, answer_us) => Step::Answer,
                () = tokio::time::sleep_until(silent_at) => Step::Silent,
            };
            match step {
                Step::Frame(Kind::Record, record) => {
                    if self.open(&record).await? {
                        heard_at = tokio::time::Instant::now();
                    }
                }
                Step::Frame(kind, payload) => self.shake_hands(kind, &payload).await?,
                Step::Answer => self.send_answer().await?,
                Step::Committed(position) => self.acknowledge(position).await?,
                Step::Commands => {
                    self.send_commands().await?;
                    self.offer_image().await?;
                }
                Step::Key => self.check_key().await?,
                Step::Time => {
                    self.check_key().await?;
                    self.tell_time().await?;
                }
                Step::Silent if self.is_stranger => return Err(End::Stranger),
                // Who waits for the disk here is held back, not silent.
                Step::Silent if !self.due.is_empty() => {
                    heard_at = tokio::time::Instant::now();
                }
                Step::Silent if !self.is_line => return Err(End::Silent),
                Step::Silent => {
                    self.leave().await;
                    heard_at = tokio::time::Instant::now();
                }
            }
        }
    }

    /// Takes a frame of a handshake.
    async fn shake_hands(&mut self, kind: Kind, payload: &[u8]) -> Result<(), End> {
        let porter = &self.links.porter;
        let step = match kind {
            Kind::Open => match self.handshake.open(porter, payload) {
                Ok(challenge) => {
                    self.step(Stranger::begun);
                    Shaken::Send(Kind::Challenge, challenge)
                }
                Err(refusal) => return self.refuse(&refusal).await,
            },
            Kind::Fragment => self.handshake.fragment(porter, payload),
            Kind::Received => self.handshake.told(payload),
            Kind::Resume => return self.resume(payload).await,
            Kind::OldHello => return self.refuse(&Refusal::Old).await,
            Kind::Record | Kind::Refused | Kind::Challenge | Kind::Resumed => Shaken::Nonsense,
        };
        match step {
            Shaken::Done => self.send_answer().await?,
            Shaken::Send(kind, payload) => self.writer.send(kind, &payload).await?,
            Shaken::Nonsense => self.links.metrics.frames_bad.increment(),
            Shaken::Hello(hello) => {
                // Told before the work, so that the device sends nothing again meanwhile.
                if let Some(received) = self.handshake.received() {
                    self.writer.send(Kind::Received, &received).await?;
                }
                self.pause().await;
                match self.answer(&hello).await {
                    Ok(()) => {
                        // It holds a device's key: what is left is to hear so in a record.
                        self.step(Stranger::judged);
                        self.send_answer().await?;
                    }
                    Err(refusal) => self.refuse(&refusal).await?,
                }
            }
        }
        Ok(())
    }

    /// The link is held back for the rest of the pause: whoever floods it waits.
    async fn pause(&mut self) {
        if let Some(at) = self.handshake_at {
            tokio::time::sleep(HANDSHAKE_PAUSE.saturating_sub(at.elapsed())).await;
        }
        self.handshake_at = Some(Instant::now());
    }

    async fn answer(&mut self, hello: &[u8]) -> Result<(), Refusal> {
        let identity = self.handshake.who(&self.links.porter, hello)?;
        let handshake = &mut self.handshake;
        let tried = |who: Who, psk: &Psk| handshake.hello(who, psk, hello);
        with_a_key(&self.links.keys, identity, tried).await
    }

    /// Sends what is due of the answer.
    async fn send_answer(&mut self) -> Result<(), End> {
        while let Some(fragment) = self.handshake.next(&self.links.porter) {
            self.writer.send(Kind::Fragment, &fragment).await?;
        }
        Ok(())
    }

    async fn resume(&mut self, message: &[u8]) -> Result<(), End> {
        if let Some(answer) = self.handshake.resumed(message) {
            return Ok(self.writer.send(Kind::Resumed, &answer).await?);
        }
        match self.resumed(message).await {
            Ok(answer) => {
                // Not more than that: anybody may have recorded it.
                self.step(Stranger::begun);
                Ok(self.writer.send(Kind::Resumed, &answer).await?)
            }
            Err(refusal) => {
                self.pause().await;
                self.refuse(&refusal).await
            }
        }
    }

    async fn resumed(&mut self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let resume = Resume::parse(message).map_err(Refusal::Hello)?;
        let identity = device(resume.identity())?;
        // It is the hardware's, whatever its device is called.
        let Some(kept) = self.links.resumptions.kept(&identity, clock::now_us()) else {
            return Err(Refusal::NotKept(identity));
        };
        let Entry {
            resumption,
            fresh_us,
        } = kept;
        let who = identity.clone();
        let handshake = &mut self.handshake;
        let tried =
            |who: Who, psk: &Psk| handshake.resume(who, psk, message, &resumption, fresh_us);
        let (answer, shown) = with_a_key(&self.links.keys, identity, tried).await?;
        if shown != resumption {
            // The device is further than we heard: what came before is of no more use to it.
            let shown = Entry {
                resumption: shown,
                fresh_us,
            };
            self.links.resumptions.keep(&who, shown).await;
        }
        Ok(answer)
    }

    async fn refuse(&mut self, refusal: &Refusal) -> Result<(), End> {
        self.links.metrics.handshakes_refused.increment();
        let lines = &self.links.strangers;
        match refusal {
            // As after each restart with another folder: no fault of anybody's.
            Refusal::NotKept(_) => tracing::debug!(%refusal, "not resumed"),
            _ if lines.may_write(self.from.clone(), refusal.cause()) => {
                tracing::warn!(%refusal, "handshake refused");
            }
            _ => {}
        }
        Ok(self.writer.send(Kind::Refused, &[refusal.code()]).await?)
    }

    /// Opens a record; false when it is none of ours.
    async fn open(&mut self, record: &[u8]) -> Result<bool, End> {
        let mut plain: Plain = [0; _];
        let by_current = self
            .current
            .as_mut()
            .map(|linked| linked.secured.open(record, &mut plain));
        let mut promoted = false;
        let length = match by_current {
            Some(Ok(length)) => length,
            refused => {
                let by_candidate = self
                    .handshake
                    .session()
                    .map(|session| session.open(record, &mut plain));
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
                promoted = true;
                length
            }
        };
        self.take(&plain[..length], promoted).await?;
        Ok(true)
    }

    /// The device has shown that it holds the new session's keys: it is in use from now on.
    async fn promote(&mut self) -> Result<(), End> {
        let Some(candidate) = self.handshake.confirmed() else {
            return Ok(());
        };
        let secured = candidate.secured;
        // It may have been taken away since the handshake.
        let keys = &self.links.keys;
        if !keys.stands(&secured.device, &secured.used).await {
            return Err(End::Revoked);
        }
        self.links.metrics.handshakes_completed.increment();
        if candidate.fresh_us.is_some() {
            self.links.metrics.sessions_resumed.increment();
        }
        if let Some(place) = &self.stranger_place
            && !place.known()
        {
            return Err(End::MadeWay);
        }
        self.is_stranger = false;
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
        let used = secured.used.clone();
        let left = Entry {
            resumption: candidate.left,
            fresh_us: candidate.fresh_us.unwrap_or_else(clock::now_us),
        };
        self.links.resumptions.keep(&used.identity, left).await;
        let place = self.links.live.enter(device.clone());
        self.current = Some(Linked {
            secured,
            place,
            told_key: None,
            transfer: Transfer::default(),
        });
        // Before commands, which are of no use without it, and whatever the disk has to say.
        self.tell_time().await?;
        let connected = report::Link::Connected { suite: suite.id() };
        let entry = self.link_event(device, connected);
        self.spool(&entry).await?;
        self.key_used(&used).await?;
        // Between the check above and the entry into the table it may have been taken away.
        self.check_key().await?;
        self.send_commands().await
    }

    /// How far a stranger has come; nothing to a device that shakes hands anew.
    fn step(&self, step: impl FnOnce(&Stranger)) {
        if let Some(place) = self.stranger_place.as_ref().filter(|_| self.is_stranger) {
            step(place);
        }
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

/// Tries each key that the hardware of this identity may have, the newest first: while a new one is
/// on its way to the device, it may have either.
async fn with_a_key<T>(
    keys: &KeyRing,
    identity: DeviceId,
    mut tried: impl FnMut(Who, &Psk) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let Known { device, keys } = match keys.known(&identity).await {
        Ok(known) => known,
        Err(why) => {
            let device = identity;
            return Err(Refusal::Key { device, why });
        }
    };
    let mut refusal = None;
    for (generation, psk) in keys.iter().rev() {
        let who = Who {
            device: device.clone(),
            used: Used {
                identity: identity.clone(),
                generation: *generation,
            },
        };
        match tried(who, psk) {
            Ok(done) => return Ok(done),
            Err(why) => refusal = Some(why),
        }
    }
    // The one key that opens something is not the first that it had: what it had is over.
    if let (Some(Refusal::Proof { device, why }), [(Some(generation @ 2..), _)]) =
        (&refusal, keys.as_slice())
    {
        return Err(Refusal::Renewed {
            device: device.clone(),
            generation: *generation,
            why: *why,
        });
    }
    let why = Missing::Gone;
    Err(refusal.unwrap_or(Refusal::Key { device, why }))
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

/// Returns when a stranger's place is another's.
async fn made_way(place: Option<&Stranger>) {
    match place {
        Some(place) => place.gone().await,
        None => std::future::pending().await,
    }
}

async fn has_check(linked: Option<&Linked>) {
    match linked {
        Some(linked) => linked.place.check().await,
        None => std::future::pending().await,
    }
}

async fn has_commands(linked: Option<&Linked>) {
    match linked {
        Some(linked) => linked.place.commands().await,
        None => std::future::pending().await,
    }
}

/// Returns at a time of the porter's; never without one.
async fn reached_us(porter: &Porter, due_us: Option<u64>) {
    match due_us {
        Some(due_us) => {
            let left_us = due_us.saturating_sub(porter.now_us());
            tokio::time::sleep(Duration::from_micros(left_us)).await;
        }
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
