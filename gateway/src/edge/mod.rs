//! Rules that are judged here: what the hub places at this gateway, with commands that need no hub.
//!
//! ```text
//! link, field → Edge::put_batch: numbered in the stream, spooled
//!   → follow: reads the spool behind the disk → Desk: judges → a change is written into the spool
//!   → read again from there → the command goes to its device
//! ```
//!
//! A command leaves after what is written about it is on disk, and what is written is the hub's to
//! read. So there is one place that says what was done, the spool, and a kill at any moment loses
//! nothing: what was judged after the last save is judged again, finds the same, and sees that it
//! was told already.
//!
//! While there are no rules nothing is read and nothing is written.

mod desk;
mod follow;
pub(crate) mod options;
mod refusals;
mod saved;
mod writer;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use stencil_edge::{Place, Placed, Placing, Record, Verdict, What};
use stencil_log::{Position, regular};
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use tokio::sync::{Notify, watch};

pub use desk::{Desk, Do, Now};
pub use writer::Writer;

pub(crate) use follow::{Following, follow};

use crate::{
    Error, clock,
    spool::{self, Entry, Spool, stopped},
};
use refusals::Refusals;
use saved::Saved;

/// The most records in which the state of the judge is told: a megabyte.
const MAX_HERE: usize = 16;
/// How long a full spool is left alone when nothing is committed in the meantime.
const RETRY: Duration = Duration::from_millis(100);

/// What is judged here. All that puts batches into the spool does so through this.
pub(crate) struct Edge {
    tenant: TenantId,
    /// Named as a device: an entry of the spool has no other name.
    gateway: DeviceId,
    options: options::Edge,
    spool: Spool,
    saved: Saved,
    stream: Mutex<Stream>,
    /// What was saved, until it is taken over by who follows the spool.
    found: Mutex<Option<Found>>,
    /// There is something to follow.
    wake: Notify,
    /// What the hub has placed here, as it sent it.
    wanted: watch::Sender<Vec<u8>>,
    rules: AtomicU64,
}

struct Stream {
    writer: Writer,
    clock: Clock,
    /// Where to read from, when nobody reads.
    begins: Option<Position>,
}

struct Found {
    desk: Desk,
    position: Position,
    /// Up to where was spooled before this start.
    end: Position,
}

/// The clock of the stream: it goes on where the wall's is set back, and never goes back itself.
struct Clock {
    last_us: i64,
    at: Instant,
}

impl Clock {
    /// `None` while nobody knows the time.
    fn now_us(&mut self) -> Option<i64> {
        let wall_us = clock::set_now_us()?;
        let gone_us = i64::try_from(self.at.elapsed().as_micros()).unwrap_or(i64::MAX);
        let now_us = if wall_us >= self.last_us {
            wall_us
        } else {
            self.last_us.saturating_add(gone_us)
        };
        (self.last_us, self.at) = (now_us, Instant::now());
        Some(now_us)
    }
}

/// Up to where the spool must be kept, because what is behind it is not judged for good.
pub(crate) fn held(folder: &Path) -> Position {
    match Saved::in_folder(folder).read() {
        Ok(Some((position, _))) => position,
        Ok(None) | Err(_) => Position(u64::MAX),
    }
}

impl Edge {
    /// Opens what was judged, and reads what was spooled after it. Blocks.
    pub(crate) fn open(
        folder: &Path,
        tenant: TenantId,
        gateway: &GatewayId,
        options: options::Edge,
        spool: Spool,
    ) -> Result<Self, Error> {
        let saved = Saved::in_folder(folder);
        let mut writer = Writer::new(follow::epoch());
        let found = match saved.read() {
            Ok(None) => None,
            Ok(Some((position, body))) => match Desk::restore(tenant.clone(), &body) {
                Ok(mut desk) => {
                    writer.resume(desk.judge());
                    let position = position.max(spool.log().oldest());
                    let end = follow::look_ahead(&spool, position, &mut desk, &mut writer)?;
                    Some(Found {
                        desk,
                        position,
                        end,
                    })
                }
                Err(error) => {
                    tracing::error!(error, "what was judged cannot be read: rules begin anew");
                    None
                }
            },
            Err(source) if regular::is_not_regular(&source) => {
                return Err(Error::File {
                    action: "open",
                    path: saved.path().to_owned(),
                    source,
                });
            }
            Err(error) => {
                tracing::error!(%error, "what was judged cannot be read: rules begin anew");
                None
            }
        };
        if found.is_none() {
            spool.hold(Position(u64::MAX));
        }
        let clock = Clock {
            last_us: writer.at_us(),
            at: Instant::now(),
        };
        let rules = writer.rules().count() as u64;
        Ok(Self {
            tenant,
            gateway: named(gateway),
            options,
            spool,
            saved,
            stream: Mutex::new(Stream {
                writer,
                clock,
                begins: None,
            }),
            found: Mutex::new(found),
            wake: Notify::new(),
            wanted: watch::channel(Vec::new()).0,
            rules: AtomicU64::new(rules),
        })
    }

    /// Whether rules are judged here.
    pub(crate) fn judges(&self) -> bool {
        self.rules.load(Ordering::Acquire) > 0
    }

    /// Spools a device's batch, in the stream if a rule watches the device; waits for room as the
    /// spool does.
    pub(crate) async fn put_batch(
        &self,
        device: &DeviceId,
        suite: Option<u16>,
        payload: &[u8],
    ) -> Result<Position, stencil_log::Error> {
        let mut committed = self.spool.committed();
        loop {
            match self.try_batch(device, suite, payload) {
                Err(error) if error.is_retryable() => {
                    let _ = tokio::time::timeout(RETRY, committed.changed()).await;
                }
                other => return other,
            }
        }
    }

    /// [`Self::put_batch`], if there is room now.
    pub(crate) fn try_batch(
        &self,
        device: &DeviceId,
        suite: Option<u16>,
        payload: &[u8],
    ) -> Result<Position, stencil_log::Error> {
        let plain = || Entry {
            kind: spool::Kind::Batch,
            device: device.clone(),
            suite,
            payload,
        };
        if self.rules.load(Ordering::Acquire) == 0 {
            return self.spool.try_put(&plain().to_bytes());
        }
        let mut stream = self.stream();
        let now_us = stream.clock.now_us();
        let judged = now_us.and_then(|now_us| stream.writer.batch(now_us, device, payload));
        match (judged, now_us) {
            (Some(judged), Some(now_us)) if judged.len() <= spool::MAX_PAYLOAD_BYTES => {
                let entry = Entry {
                    kind: spool::Kind::Judged,
                    device: device.clone(),
                    suite,
                    payload: &judged,
                };
                // Its number is its place in the spool, so nobody else may come in between.
                let position = self.spool.try_put(&entry.to_bytes())?;
                stream.writer.written(now_us, None);
                Ok(position)
            }
            _ => self.spool.try_put(&plain().to_bytes()),
        }
    }

    /// Writes a record into the stream; waits for room as the spool does. `None` while nobody
    /// knows the time.
    async fn write(&self, what: &What) -> Result<Option<Position>, stencil_log::Error> {
        let mut committed = self.spool.committed();
        loop {
            match self.try_write(what) {
                Err(error) if error.is_retryable() => {
                    let _ = tokio::time::timeout(RETRY, committed.changed()).await;
                }
                other => return other,
            }
        }
    }

    fn try_write(&self, what: &What) -> Result<Option<Position>, stencil_log::Error> {
        let mut stream = self.stream();
        let Some(now_us) = stream.clock.now_us() else {
            return Ok(None);
        };
        self.put(&mut stream, now_us, what).map(Some)
    }

    fn put(
        &self,
        stream: &mut Stream,
        now_us: i64,
        what: &What,
    ) -> Result<Position, stencil_log::Error> {
        let record = stream.writer.record(now_us, what.clone());
        let entry = Entry {
            kind: spool::Kind::Stream,
            device: self.gateway.clone(),
            suite: None,
            payload: &record,
        };
        let position = self.spool.try_put(&entry.to_bytes())?;
        stream.writer.written(now_us, Some(what));
        Ok(position)
    }

    /// The time of the stream's clock, for who judges.
    fn now_us(&self) -> i64 {
        let mut stream = self.stream();
        let last_us = stream.writer.at_us();
        stream.clock.now_us().unwrap_or(last_us)
    }

    /// Writes the state of the judge, if records have not come to the hub as they are and `desk` has
    /// judged all there is.
    fn tell_state(&self, desk: &mut Desk) -> Result<(), stencil_log::Error> {
        if !self.spool.take_stream_missed() {
            return Ok(());
        }
        let again = || {
            self.spool.stream_is_missed();
            Ok(())
        };
        let mut stream = self.stream();
        let judged = desk.judge().place().map(|place| place.number + 1);
        if judged != Some(stream.writer.place().number) {
            return again();
        }
        let Some(now_us) = stream.clock.now_us() else {
            return again();
        };
        let here = desk.here();
        if here.len() > MAX_HERE {
            tracing::warn!(
                parts = here.len(),
                "what rules here remember is too much to be told: the hub takes this gateway's \
                 word alone until a rule begins anew"
            );
            return Ok(());
        }
        // In the lock: no other record comes in between.
        for what in here {
            match self.put(&mut stream, now_us, &what) {
                Ok(_) => {}
                // The hub leaves what is not whole; it is told again.
                Err(error) if error.is_retryable() => return again(),
                Err(error) => return Err(error),
            }
        }
        tracing::info!("the hub is told what rules here remember");
        Ok(())
    }

    /// Takes note of what the hub places here; [`Self::take_wanted`] works on it.
    pub(crate) fn want(&self, placing: &[u8]) {
        self.wanted.send_replace(placing.to_vec());
    }

    /// Takes what the hub places here, and answers, until `stop` holds true. `devices` tells which
    /// devices are this gateway's; it may block.
    pub(crate) async fn take_wanted(
        self: Arc<Self>,
        devices: impl Fn() -> Vec<DeviceId> + Clone + Send + 'static,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let mut wanted = self.wanted.subscribe();
        let mut refusals = Refusals::default();
        loop {
            tokio::select! {
                // The sender is our own: this cannot fail.
                Ok(()) = wanted.changed() => {}
                () = stopped(&mut stop) => return Ok(()),
            }
            let bytes = wanted.borrow_and_update().clone();
            let placing = match Placing::decode(&bytes) {
                Ok(placing) => placing,
                Err(error) => {
                    tracing::error!(%error, "the rules that the hub places here cannot be read");
                    continue;
                }
            };
            let devices = tokio::task::spawn_blocking(devices.clone()).await;
            let devices = devices.map_err(|_| Error::Ended("edge"))?;
            let (placed, mut verdicts) = placing.read();
            let none_before = self.rules() == 0;
            let judged = self.place(&placed, &devices).await?;
            if placed.is_empty() && verdicts.is_empty() && none_before {
                refusals.news(Vec::new());
                continue;
            }
            let mut refused = Vec::new();
            for (placed, verdict) in placed.iter().zip(judged) {
                let (workflow, version) = (placed.workflow.clone(), placed.version);
                let why = verdict.err();
                refused.extend(why.clone().map(|why| (workflow.clone(), version, why)));
                verdicts.push(Verdict::new(workflow, version, why));
            }
            for (workflow, version, why) in refusals.news(refused) {
                tracing::warn!(workflow, version, why, "a rule is refused");
            }
            self.answer(verdicts).await?;
        }
    }

    /// Tells the hub what became of what it has placed. It is no part of what is judged.
    async fn answer(&self, verdicts: Vec<Verdict>) -> Result<(), Error> {
        let record = {
            let stream = self.stream();
            let place = Place {
                number: 0,
                ..stream.writer.place()
            };
            Record {
                place,
                at_us: clock::now_us(),
                what: What::Verdicts(verdicts),
            }
            .encode()
        };
        let entry = Entry {
            kind: spool::Kind::Stream,
            device: self.gateway.clone(),
            suite: None,
            payload: &record,
        };
        if record.len() > spool::MAX_PAYLOAD_BYTES {
            tracing::error!("what became of the hub's rules is too long to be told");
            return Ok(());
        }
        self.spool.put_bytes(&entry.to_bytes()).await?;
        Ok(())
    }

    /// Takes the rules that the hub places here, all of them: those that fit are judged from now
    /// on, and no others. For each, in their order, nothing or why it is refused. `devices` are
    /// those of this gateway.
    pub(crate) async fn place(
        &self,
        placed: &[Placed],
        devices: &[DeviceId],
    ) -> Result<Vec<Result<(), String>>, Error> {
        let verdicts = stencil_edge::admit(placed, self.options.budget(), |pattern| {
            let matching = devices.iter();
            matching
                .filter(|device| pattern.matches(device.as_str()))
                .count()
        });
        let fit = placed.iter().zip(&verdicts);
        let fit: Vec<Placed> = fit
            .filter(|(_, verdict)| verdict.is_ok())
            .map(|(placed, _)| placed.clone())
            .collect();
        let mut committed = self.spool.committed();
        loop {
            match self.try_place(&fit) {
                Ok(None) => return Ok(verdicts),
                Ok(Some(position)) => {
                    self.spool.log().wait(position).await?;
                    self.wake.notify_one();
                    tracing::info!(rules = fit.len(), "rules are judged here from now on");
                    return Ok(verdicts);
                }
                Err(error) if error.is_retryable() => {
                    let _ = tokio::time::timeout(RETRY, committed.changed()).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn try_place(&self, fit: &[Placed]) -> Result<Option<Position>, stencil_log::Error> {
        let (max_states, max_ahead_us) = (self.options.max_states(), self.options.max_ahead_us());
        let mut stream = self.stream();
        let Some(what) = stream.writer.change(fit, max_states, max_ahead_us) else {
            return Ok(None);
        };
        // Without a known time the last one holds: rules are not refused for that.
        let last_us = stream.writer.at_us().max(0);
        let now_us = stream.clock.now_us().unwrap_or(last_us);
        let from = self.spool.log().end();
        let position = self.put(&mut stream, now_us, &what)?;
        stream.begins.get_or_insert(from);
        self.rules.store(fit.len() as u64, Ordering::Release);
        Ok(Some(position))
    }

    /// How many rules are judged.
    pub(crate) fn rules(&self) -> u64 {
        self.rules.load(Ordering::Relaxed)
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_found(&self) -> Option<Found> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.take()
    }
}

/// A gateway's id keeps to the grammar of a device's.
#[expect(
    clippy::expect_used,
    reason = "both ids have one grammar, which a test of the protocol holds"
)]
pub(crate) fn named(gateway: &GatewayId) -> DeviceId {
    DeviceId::parse(gateway.as_str()).expect("one grammar")
}
