//! What waits for the hub, on disk: over [`stencil_log`], with loss reports in the place of what
//! has to be dropped.

mod acknowledged;
mod age;
mod cursor;
mod damage;
mod entry;
mod follow;
mod loss;

use std::{
    convert::Infallible,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use stencil_log::{Gather, Health, Log, OnDrop, Options, Overflow, Position, Record, Why};
use stencil_protocol::{batch::DropReason, id::DeviceId};
use tokio::sync::watch;

use self::age::Age;
pub(crate) use self::{
    acknowledged::Acknowledged,
    cursor::Cursor,
    damage::Continuity,
    entry::{Entry, Kind, MAX_PAYLOAD_BYTES},
    follow::{open, read},
    loss::{Losses, judged},
};
use crate::{Error, clock, metrics::Metrics, options};

/// Devices that each send now and then are written and acknowledged together: a sync costs power,
/// and wears flash memory, however little it is for. Who sends much is not held up.
const GATHER: Gather = Gather {
    pause: Duration::from_millis(10),
    bytes: 8 << 10,
};
/// How long a full spool is left alone when nothing is committed in the meantime.
const RETRY: Duration = Duration::from_millis(100);
/// How often the age of what is spooled is looked at.
const RETAIN_INTERVAL: Duration = Duration::from_secs(30);
/// The least time between two writes of the cursor.
const CURSOR_INTERVAL: Duration = Duration::from_millis(200);

/// Messages to the hub that it has not acknowledged.
#[derive(Clone)]
pub(crate) struct Spool {
    log: Log,
    acknowledged: watch::Sender<Acknowledged>,
    cursor: Arc<Cursor>,
    /// Behind this rules have not judged for good: it is not freed.
    held: Arc<AtomicU64>,
    /// Behind this nothing is sealed: it is not freed.
    held_for_seals: Arc<AtomicU64>,
    /// Records of the stream that rules judge are lost to the hub, or come to it in another order.
    stream_missed: Arc<AtomicBool>,
    age: Arc<Age>,
    /// Bytes that waited for the hub when it was opened.
    began_with: u64,
    /// Its end was lost.
    began_damaged: bool,
}

impl Spool {
    /// Opens the spool in `dir`. Blocks.
    pub(crate) fn open(
        dir: &Path,
        options: &options::Spool,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, Error> {
        let stream_missed = Arc::new(AtomicBool::new(false));
        let cannot_open = |path: PathBuf| {
            move |source: io::Error| Error::File {
                action: "open",
                path,
                source,
            }
        };
        let path = dir.join("cursor");
        let cursor = Cursor::open(&path).map_err(cannot_open(path))?;
        let path = dir.join("age");
        let age = Age::open(&path, clock::now_us()).map_err(cannot_open(path))?;
        let age = Arc::new(age);
        let told = cursor.read().unwrap_or_default();
        let (acknowledged, known) = watch::channel(told.clone());
        let log = Log::open(Options {
            segment_bytes: options.segment_bytes,
            max_bytes: Some(options.max_bytes),
            max_age: Some(Duration::from_secs(options.max_age_s)),
            max_record_bytes: u32::try_from(MAX_PAYLOAD_BYTES + 128).unwrap_or(u32::MAX),
            max_pending_bytes: options.max_pending_bytes,
            gather: Some(GATHER),
            overflow: Overflow::DropOldest,
            // No position is given twice, whatever became of the files: it would count as
            // acknowledged.
            seen: Some(told.furthest()),
            on_drop: Some(on_drop(
                Arc::clone(metrics),
                known,
                Arc::clone(&stream_missed),
            )),
            clock: {
                let age = Arc::clone(&age);
                Arc::new(move || age.now_us())
            },
            ..Options::new(dir.join("spool"))
        })?;
        let recovery = log.recovery();
        let lost = recovery.lost;
        if lost.is_some_and(|(from, _)| told.furthest() > from) {
            tracing::error!(cursor = %told.furthest(), "the cursor is beyond the spool: the spool \
                was replaced; all of it is published again");
            acknowledged.send_replace(Acknowledged::up_to(log.oldest()));
        } else if told.through() < log.oldest() {
            acknowledged.send_modify(|told| {
                told.take(told.through()..log.oldest());
            });
        }
        let began_with = acknowledged.borrow().waiting_bytes(log.oldest(), log.end());
        let began_damaged = lost.is_some() || recovery.torn_bytes > 0;
        if began_damaged {
            // Mostly nothing was in it that a device had been told to be safe; else its numbers
            // show what.
            log.append(&[&damage_entry()])?;
        }
        // What the hub has acknowledged is no loss when it is dropped, but rules may need it.
        let (held, sealed) = (crate::edge::held(dir), crate::seal::held(dir));
        log.trim(acknowledged.borrow().through().min(held).min(sealed))?;
        Ok(Self {
            log,
            acknowledged,
            cursor: Arc::new(cursor),
            held: Arc::new(AtomicU64::new(held.0)),
            held_for_seals: Arc::new(AtomicU64::new(sealed.0)),
            stream_missed,
            age,
            began_with,
            began_damaged,
        })
    }

    /// Bytes that waited for the hub when it was opened.
    pub(crate) fn began_with(&self) -> u64 {
        self.began_with
    }

    /// Whether it had lost its end when it was opened.
    pub(crate) fn began_damaged(&self) -> bool {
        self.began_damaged
    }

    /// The hub does not get the stream that rules judge whole, or not in its order.
    pub(crate) fn stream_is_missed(&self) {
        self.stream_missed.store(true, Ordering::Release);
    }

    /// Whether that is so, and since the last call nobody knew.
    pub(crate) fn take_stream_missed(&self) -> bool {
        self.stream_missed.swap(false, Ordering::AcqRel)
    }

    /// Keeps what lies behind `position`, whether the hub has acknowledged it or not.
    pub(crate) fn hold(&self, position: Position) {
        self.held.store(position.0, Ordering::Release);
    }

    /// Keeps what lies behind `position`, as it is not sealed.
    pub(crate) fn hold_for_seals(&self, position: Position) {
        self.held_for_seals.store(position.0, Ordering::Release);
    }

    /// Takes an entry's bytes; waits for room where the disk or the memory for it is full. Returns
    /// the position to [wait for](Self::committed).
    pub(crate) async fn put_bytes(&self, bytes: &[u8]) -> Result<Position, stencil_log::Error> {
        let mut committed = self.log.committed();
        loop {
            match self.log.append(&[bytes]) {
                Err(error) if error.is_retryable() => {
                    let _ = tokio::time::timeout(RETRY, committed.changed()).await;
                }
                other => return other,
            }
        }
    }

    /// Takes an entry's bytes if there is room now.
    pub(crate) fn try_put(&self, bytes: &[u8]) -> Result<Position, stencil_log::Error> {
        self.log.append(&[bytes])
    }

    /// Changes as more is on disk; closed when the spool has failed.
    pub(crate) fn committed(&self) -> watch::Receiver<Position> {
        self.log.committed()
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// What the hub has acknowledged.
    pub(crate) fn acknowledged(&self) -> Acknowledged {
        self.acknowledged.borrow().clone()
    }

    /// The hub has acknowledged what lies between two positions.
    pub(crate) fn acknowledge(&self, records: Range<Position>) {
        stencil_crashpoint::reach("gateway.before_trim");
        self.acknowledged
            .send_if_modified(|acknowledged| acknowledged.take(records));
    }

    /// Bytes that the hub has not acknowledged.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        let acknowledged = self.acknowledged.borrow();
        acknowledged.waiting_bytes(self.log.oldest(), self.log.end())
    }

    /// Why it is closed.
    pub(crate) fn failure(&self) -> stencil_log::Error {
        match self.log.health() {
            Health::Poisoned { why } => stencil_log::Error::Poisoned(why),
            Health::Ok | Health::Stalled { .. } => stencil_log::Error::Closed,
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.log.health()
    }

    /// Frees what was acknowledged, keeps the cursor, drops what is too old. Ends with an error,
    /// or when `stop` holds true.
    pub(crate) async fn keep(&self, stop: watch::Receiver<bool>) -> Result<(), Error> {
        // Side by side: on a full disk the log drops nothing before there is room, and it is
        // freeing that makes room.
        tokio::select! {
            freed = self.free_acknowledged(stop) => freed,
            failed = self.drop_old() => failed.map(|never| match never {}),
        }
    }

    async fn free_acknowledged(&self, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
        let mut acknowledged = self.acknowledged.subscribe();
        acknowledged.mark_changed();
        let mut failed = false;
        loop {
            tokio::select! {
                // The sender is our own: this cannot fail.
                Ok(()) = acknowledged.changed() => {
                    let news = acknowledged.borrow_and_update().clone();
                    let freed = self.free(news).await?;
                    if let (Err(error), false) = (&freed, failed) {
                        tracing::warn!(%error, "what the hub has acknowledged cannot be freed now: \
                            it may be published again");
                    }
                    failed = freed.is_err();
                    let _ = tokio::time::timeout(CURSOR_INTERVAL, stopped(&mut stop)).await;
                }
                () = stopped(&mut stop) => {
                    if let Err(error) = self.free(self.acknowledged()).await? {
                        tracing::warn!(%error, "what the hub has acknowledged could not be noted: \
                            it is published again");
                    }
                    if let Err(error) = self.age.note() {
                        tracing::debug!(%error, "how old the spool is was not noted");
                    }
                    return Ok(());
                }
            }
        }
    }

    async fn drop_old(&self) -> Result<Infallible, Error> {
        let mut retain = tokio::time::interval(RETAIN_INTERVAL);
        retain.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            retain.tick().await;
            if let Err(error) = self.age.note() {
                tracing::debug!(%error, "how old the spool is was not noted");
            }
            self.log.retain(self.age.now_us()).await?;
        }
    }

    /// Notes what is acknowledged and frees it; a disk that takes nothing now is no end.
    async fn free(&self, acknowledged: Acknowledged) -> Result<Result<(), io::Error>, Error> {
        let (log, cursor) = (self.log.clone(), Arc::clone(&self.cursor));
        let held = self.held.load(Ordering::Acquire);
        let held = Position(held.min(self.held_for_seals.load(Ordering::Acquire)));
        let freed = tokio::task::spawn_blocking(move || {
            // The cursor first: a spool that starts behind it is normal, one that ends before it
            // is not.
            let noted = cursor.write(&acknowledged);
            match log.trim(acknowledged.through().min(held)) {
                Err(stencil_log::Error::Io { source, .. }) => Err(source),
                _ => noted,
            }
        });
        freed.await.map_err(|_| Error::Ended("spool"))
    }
}

/// Returns when `stop` holds true, or its sender is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Where the log lost its end.
#[expect(
    clippy::expect_used,
    reason = "a constant that keeps to the grammar; tested"
)]
fn damage_entry() -> Vec<u8> {
    Entry {
        kind: Kind::Damage,
        device: DeviceId::parse("spool").expect("an id by its grammar"),
        suite: None,
        payload: &[],
    }
    .to_bytes()
}

fn on_drop(
    metrics: Arc<Metrics>,
    acknowledged: watch::Receiver<Acknowledged>,
    stream_missed: Arc<AtomicBool>,
) -> OnDrop {
    Arc::new(move |records: &mut dyn Iterator<Item = Record>, why| {
        let reason = match why {
            Why::Bytes => DropReason::SpoolFull,
            Why::Age => DropReason::SpoolAge,
        };
        let mut losses = Losses::default();
        let acknowledged = acknowledged.borrow().clone();
        for record in records {
            // Brought ahead of older things.
            if acknowledged.holds(record.start) {
                continue;
            }
            match Entry::parse(&record.payload) {
                Some(entry) => {
                    if matches!(entry.kind, Kind::Judged | Kind::Stream) {
                        stream_missed.store(true, Ordering::Release);
                    }
                    losses.add(&entry, reason);
                }
                None => losses.add_unreadable(),
            }
        }
        metrics.samples_lost.add(losses.samples);
        metrics.records_dropped.add(losses.unreported);
        if losses.samples > 0 {
            tracing::error!(samples = losses.samples, %reason, "dropped from the spool; reported");
        }
        losses.into_entries()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_lost_end_can_be_read() {
        let bytes = damage_entry();
        assert_eq!(Entry::parse(&bytes).unwrap().kind, Kind::Damage);
    }

    /// The next file of the spool is a device without room: the disk is full.
    #[tokio::test]
    async fn a_full_disk_is_freed_by_what_the_hub_acknowledges() {
        let dir = tempfile::tempdir().unwrap();
        let options = options::Spool {
            segment_bytes: 80_000,
            max_bytes: 10 << 20,
            ..options::Spool::default()
        };
        let spool = Spool::open(dir.path(), &options, &Arc::default()).unwrap();
        let payload = vec![0; 30_000];
        let entry = Entry {
            kind: Kind::Batch,
            device: DeviceId::parse("freezer-07").unwrap(),
            suite: None,
            payload: &payload,
        }
        .to_bytes();
        // Two a file.
        let first = spool.put_bytes(&entry).await.unwrap();
        let third_file = dir.path().join(format!("spool/{:020}.log", first.0 * 4));
        std::os::unix::fs::symlink("/dev/full", &third_file).unwrap();
        for _ in 0..3 {
            spool.put_bytes(&entry).await.unwrap();
        }
        let two_files = Position(first.0 * 4);
        spool.log().wait(two_files).await.unwrap();
        spool.put_bytes(&entry).await.unwrap();
        while !matches!(spool.health(), Health::Stalled { .. }) {
            tokio::task::yield_now().await;
        }

        let (stop, stopping) = watch::channel(false);
        let keeping = tokio::spawn({
            let spool = spool.clone();
            async move { spool.keep(stopping).await }
        });
        // It has asked the log, which is busy, to drop what is old.
        tokio::time::sleep(Duration::from_millis(50)).await;
        spool.acknowledge(Position(0)..two_files);
        let soon = Duration::from_secs(30);
        tokio::time::timeout(soon, async {
            while spool.log().oldest() < Position(first.0 * 2) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("what is acknowledged is freed");
        stop.send_replace(true);
        let kept = tokio::time::timeout(soon, keeping).await;
        kept.expect("a full disk holds up no stop")
            .unwrap()
            .unwrap();
    }
}
