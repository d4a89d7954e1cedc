//! The thread that writes: many appends, one `fdatasync`.

use std::{
    collections::VecDeque,
    fs::File,
    io, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

use crate::{
    DroppedSegment, Overflow, Position,
    disk::{Disk, is_no_room, may_pass},
    hint::Hint,
    log::{Appender, Shared},
    record::{self, Header},
    recovery::Tail,
    retention::Condemned,
    segment,
};

/// The hint is written when this much was committed since, or after a pause.
const HINT_BYTES: u64 = 256 << 10;
const HINT_PAUSE: Duration = Duration::from_millis(500);
/// How long a write waits for room before it tries again.
const RETRY: Duration = Duration::from_secs(1);
/// A buffer that a burst has grown beyond this is given back in a pause.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) tail: Tail,
    pub(crate) hint: Hint,
    pub(crate) hinted: u64,
    pub(crate) condemned: VecDeque<Condemned>,
    /// When a batch was last synced.
    pub(crate) synced: Option<Instant>,
    /// Dropped before those that tell of the end: who has seen it may open the log again.
    pub(crate) _lock: File,
    pub(crate) committed: watch::Sender<Position>,
    pub(crate) offsets: watch::Sender<u64>,
}

/// Why the thread stops.
pub(crate) enum Stop {
    Poisoned(String),
    /// Closed while the disk was full: what waits was never acknowledged.
    ClosedWhileStalled,
}

enum Work {
    Write,
    Retain(Vec<(i64, oneshot::Sender<Vec<DroppedSegment>>)>),
    Pause,
    Close,
}

impl Committer {
    pub(crate) fn run(mut self) {
        let dir = self.shared.options.dir.display().to_string();
        let mut guard = Guard {
            shared: Arc::clone(&self.shared),
            orderly: false,
        };
        let mut buffer = Vec::new();
        loop {
            let done = match self.next_work(&mut buffer) {
                Work::Write => self.commit(&buffer),
                Work::Retain(requests) => self.retain(requests),
                Work::Pause => {
                    self.write_hint();
                    buffer.clear();
                    buffer.shrink_to(KEPT_BUFFER_BYTES);
                    Ok(())
                }
                Work::Close => {
                    self.write_hint();
                    break;
                }
            };
            match done {
                Ok(()) => {}
                Err(Stop::Poisoned(why)) => {
                    tracing::error!(dir, why, "the log must be opened again");
                    self.shared.appender().poisoned = Some(why);
                    break;
                }
                Err(Stop::ClosedWhileStalled) => {
                    tracing::error!(
                        dir,
                        "closed while the disk was full: what waited was not acknowledged, and is gone"
                    );
                    break;
                }
            }
        }
        guard.orderly = true;
    }

    fn next_work(&mut self, buffer: &mut Vec<u8>) -> Work {
        let shared = Arc::clone(&self.shared);
        let mut appender = shared.appender();
        loop {
            appender.freed = false;
            if !appender.retain.is_empty() {
                return Work::Retain(mem::take(&mut appender.retain));
            }
            if let Some(left) = self.gathers(&appender) {
                appender = wait(&shared, appender, Some(left));
                continue;
            }
            if !appender.pending.is_empty() {
                buffer.clear();
                mem::swap(&mut appender.pending, buffer);
                appender.writing_bytes = buffer.len();
                return Work::Write;
            }
            if appender.closing {
                return Work::Close;
            }
            if self.hinted == self.tail.end {
                appender = wait(&shared, appender, None);
            } else {
                let before = Instant::now();
                appender = wait(&shared, appender, Some(HINT_PAUSE));
                if before.elapsed() >= HINT_PAUSE && appender.pending.is_empty() {
                    return Work::Pause;
                }
            }
        }
    }

    /// How long what waits is held back for what comes after it.
    fn gathers(&self, appender: &Appender) -> Option<Duration> {
        let gather = self.shared.options.gather?;
        let waiting = appender.pending.len();
        if waiting == 0 || waiting >= gather.bytes || appender.closing {
            return None;
        }
        let left = gather.pause.checked_sub(self.synced?.elapsed())?;
        (!left.is_zero()).then_some(left)
    }

    fn commit(&mut self, batch: &[u8]) -> Result<(), Stop> {
        self.make_room(batch.len() as u64)?;
        let now_us = (self.shared.options.clock)();
        let mut rest = batch;
        while !rest.is_empty() {
            let part = self.part_that_fits(rest);
            if part == 0 {
                self.roll()?;
                continue;
            }
            let offset = self.tail.end - self.tail.base + segment::HEADER_BYTES;
            self.when_there_is_room(|this| {
                this.disk.write(&this.tail.file, &rest[..part], offset)
            })?;
            self.tail.end += part as u64;
            self.tail.touched_us = now_us;
            rest = &rest[part..];
        }
        stencil_crashpoint::reach("log.after_write");
        self.sync()?;
        self.synced = Some(Instant::now());
        self.publish();
        Ok(())
    }

    /// Bytes of whole records that go into the segment; at least one into an empty one.
    fn part_that_fits(&self, batch: &[u8]) -> usize {
        let used = self.tail.end - self.tail.base;
        let room = self.shared.options.segment_bytes.saturating_sub(used);
        if batch.len() as u64 <= room {
            return batch.len();
        }
        let mut part = 0;
        while part < batch.len() {
            let at = self.tail.end + part as u64;
            let Some(header) = Header::parse(&batch[part..], at) else {
                // Can't be: we have made it. The whole is written as it is.
                return batch.len();
            };
            let end = part as u64 + header.record_bytes();
            if end > room && (part > 0 || used > 0) {
                break;
            }
            part += record::HEADER_BYTES + header.payload_bytes as usize;
        }
        part
    }

    /// Closes the segment and begins the next.
    pub(crate) fn roll(&mut self) -> Result<(), Stop> {
        self.sync()?;
        let base = self.tail.end;
        let previous_us = self.tail.touched_us;
        let file = self.when_there_is_room(|this| {
            let header = segment::Header { base, previous_us };
            segment::create(&*this.disk, &this.shared.options.dir, header)
        })?;
        self.tail = Tail {
            file,
            base,
            end: base,
            previous_us,
            touched_us: previous_us,
        };
        self.shared.segments().push_back(base);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Stop> {
        self.disk.sync(&self.tail.file).map_err(|error| {
            let path = segment::path(&self.shared.options.dir, self.tail.base);
            Stop::Poisoned(format!("syncing {} failed: {error}", path.display()))
        })
    }

    fn publish(&mut self) {
        let end = self.tail.end;
        self.shared.appender().writing_bytes = 0;
        self.committed.send_replace(Position(end));
        self.offsets.send_replace(end);
        if end - self.hinted >= HINT_BYTES {
            self.write_hint();
        }
        self.delete_condemned();
    }

    fn write_hint(&mut self) {
        // Without it the next opening takes longer, that is all.
        match self.hint.write(self.tail.end) {
            Ok(()) => self.hinted = self.tail.end,
            Err(error) => {
                tracing::debug!(%error, "the log's hint was not written");
                self.hinted = self.tail.end;
            }
        }
    }

    /// Before a batch is written: the bound on the whole log holds with it.
    fn make_room(&mut self, bytes: u64) -> Result<(), Stop> {
        let options = &self.shared.options;
        match (options.max_bytes, options.overflow) {
            (Some(max), Overflow::DropOldest) => self.drop_beyond(max, bytes).map(drop),
            _ => Ok(()),
        }
    }

    /// Does `write`, and again each second as long as the disk has no room or is read-only.
    fn when_there_is_room<T>(
        &mut self,
        mut write: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> Result<T, Stop> {
        loop {
            match write(self) {
                Ok(done) => {
                    if let Some((_, since_us)) = self.shared.appender().stalled.take() {
                        let dir = self.shared.options.dir.display();
                        tracing::info!(%dir, since_us, "the disk has room again, and is written to");
                    }
                    return Ok(done);
                }
                Err(error) if may_pass(&error) => self.stall(&error)?,
                Err(error) => {
                    let dir = self.shared.options.dir.display();
                    return Err(Stop::Poisoned(format!("writing in {dir} failed: {error}")));
                }
            }
        }
    }

    fn stall(&mut self, error: &io::Error) -> Result<(), Stop> {
        let now_us = (self.shared.options.clock)();
        let mut appender = self.shared.appender();
        if appender.stalled.is_none() {
            let dir = self.shared.options.dir.display();
            let what = match is_no_room(error) {
                true => "the disk has no room",
                false => "the disk cannot be written to",
            };
            tracing::error!(%dir, %error, "{what}; trying again each second");
            appender.stalled = Some((error.to_string(), now_us));
        }
        let until = Instant::now() + RETRY;
        loop {
            if appender.closing {
                return Err(Stop::ClosedWhileStalled);
            }
            if mem::take(&mut appender.freed) {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            appender = wait(&self.shared, appender, Some(left));
        }
    }
}

fn wait<'a>(
    shared: &'a Shared,
    appender: std::sync::MutexGuard<'a, Appender>,
    timeout: Option<Duration>,
) -> std::sync::MutexGuard<'a, Appender> {
    use std::sync::PoisonError;
    match timeout {
        None => shared
            .work
            .wait(appender)
            .unwrap_or_else(PoisonError::into_inner),
        Some(timeout) => {
            shared
                .work
                .wait_timeout(appender, timeout)
                .unwrap_or_else(PoisonError::into_inner)
                .0
        }
    }
}

/// When the thread panics (a hook may), appends must not go on into nothing; and however it
/// ends, nobody may wait for it any more.
struct Guard {
    shared: Arc<Shared>,
    orderly: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut appender = self.shared.appender();
        if !self.orderly {
            appender
                .poisoned
                .get_or_insert_with(|| "its thread has panicked".to_owned());
        }
        appender.retain.clear();
    }
}
