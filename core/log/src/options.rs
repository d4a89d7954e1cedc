use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{Error, Position, Record, Why, record::HEADER_BYTES};

/// Gives the time, in microseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Called with the records of a segment that is about to be dropped for size or age (not by
/// [`crate::Log::trim`]), as far as they were not trimmed. The records that it returns are
/// appended, and the segment is deleted after they are on disk: so a report of the loss cannot
/// get lost. They may take three quarters of the room of what is dropped; the rest is left out,
/// with an error in the events. It runs on the log's thread: it must not wait for the log.
pub type OnDrop = Arc<dyn Fn(&mut dyn Iterator<Item = Record>, Why) -> Vec<Vec<u8>> + Send + Sync>;

/// What happens to an append when the log holds `max_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The append is refused with [`crate::Error::Full`] until something is trimmed.
    Refuse,
    /// The oldest segments are dropped.
    DropOldest,
}

/// How records gather, so that one write and one sync are for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gather {
    /// No sync begins sooner than this after the one before. What comes after a longer pause is
    /// written at once.
    pub pause: Duration,
    /// Once so many bytes have gathered, they are not held back.
    pub bytes: usize,
}

/// How a log is kept.
#[derive(Clone)]
pub struct Options {
    /// Where it lies; made when it is missing.
    pub dir: PathBuf,
    /// A new segment is begun before one grows beyond this. 64 MiB.
    pub segment_bytes: u64,
    /// Bound on the whole log; at least two segments. None.
    pub max_bytes: Option<u64>,
    /// [`crate::Log::retain`] drops what is older. None.
    pub max_age: Option<Duration>,
    /// Bound on a record's payload. 1 MiB.
    pub max_record_bytes: u32,
    /// Bound on what waits in memory for the disk. 8 MiB.
    pub max_pending_bytes: usize,
    /// What is held back for a moment for what comes after it. Nothing: what has gathered while a
    /// sync ran is written as soon as that is done.
    pub gather: Option<Gather>,
    /// What happens at `max_bytes`. Refuse.
    pub overflow: Overflow,
    /// Up to where a reader has seen this log, by its own account. A log that ends before it
    /// has lost something ([`crate::Recovery::lost`]), and no position is given twice. None.
    pub seen: Option<Position>,
    /// Is shown what is dropped.
    pub on_drop: Option<OnDrop>,
    /// Dates the segments. The system's clock.
    pub clock: Clock,
}

impl Options {
    /// The defaults, for a log in `dir`.
    pub fn new(dir: impl AsRef<Path>) -> Self {
        Self {
            dir: dir.as_ref().to_owned(),
            segment_bytes: 64 << 20,
            max_bytes: None,
            max_age: None,
            max_record_bytes: 1 << 20,
            max_pending_bytes: 8 << 20,
            gather: None,
            overflow: Overflow::Refuse,
            seen: None,
            on_drop: None,
            clock: Arc::new(system_clock_us),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let record_bytes = u64::from(self.max_record_bytes) + HEADER_BYTES as u64;
        if self.segment_bytes < record_bytes {
            return Err(Error::Options(format!(
                "segment_bytes = {} cannot hold a record of max_record_bytes = {}: at least \
                 {record_bytes} are needed",
                self.segment_bytes, self.max_record_bytes
            )));
        }
        if (self.max_pending_bytes as u64) < record_bytes {
            return Err(Error::Options(format!(
                "max_pending_bytes = {} cannot hold a record of max_record_bytes = {}: at least \
                 {record_bytes} are needed",
                self.max_pending_bytes, self.max_record_bytes
            )));
        }
        if let Some(max_bytes) = self.max_bytes
            && max_bytes / 2 < self.segment_bytes
        {
            return Err(Error::Options(format!(
                "max_bytes = {max_bytes} is less than two segments of segment_bytes = {}",
                self.segment_bytes
            )));
        }
        Ok(())
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("dir", &self.dir)
            .field("segment_bytes", &self.segment_bytes)
            .field("max_bytes", &self.max_bytes)
            .field("max_age", &self.max_age)
            .field("max_record_bytes", &self.max_record_bytes)
            .field("max_pending_bytes", &self.max_pending_bytes)
            .field("gather", &self.gather)
            .field("overflow", &self.overflow)
            .field("seen", &self.seen)
            .field("on_drop", &self.on_drop.is_some())
            .finish_non_exhaustive()
    }
}

fn system_clock_us() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
}
