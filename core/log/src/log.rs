//! The handle: appending, waiting, asking.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use tokio::sync::{oneshot, watch};

use crate::{
    DroppedSegment, Error, Full, Options, Overflow, Position, Reader, Recovery,
    committer::Committer,
    disk::{Disk, Kernel},
    record::{HEADER_BYTES, Header},
    recovery::recover,
};

/// A log; clones are handles on the same one. When the last handle and reader is gone, what was
/// appended is written, synced, and the log is closed.
#[derive(Clone)]
pub struct Log {
    handle: Arc<Handle>,
}

/// Whether the log takes and keeps what is given to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Ok,
    /// It cannot write now and tries again by itself.
    Stalled {
        /// What the system said.
        why: String,
        /// Since when, in microseconds since the Unix epoch.
        since_us: i64,
    },
    /// It must be opened again.
    Poisoned {
        /// What happened.
        why: String,
    },
}

struct Handle {
    shared: Arc<Shared>,
    committer: Option<JoinHandle<()>>,
}

/// What handles, readers and the committer share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) appender: Mutex<Appender>,
    /// There is something to do for the committer.
    pub(crate) work: Condvar,
    /// Bases of the segments, oldest first; never empty.
    pub(crate) segments: Mutex<VecDeque<u64>>,
    pub(crate) oldest: AtomicU64,
    /// Below this nobody wants anything any more.
    pub(crate) trimmed: AtomicU64,
    pub(crate) committed: watch::Receiver<Position>,
    offsets: watch::Receiver<u64>,
    report: Recovery,
}

/// What appends change, under one lock.
#[derive(Default)]
pub(crate) struct Appender {
    /// Records that wait for the committer.
    pub(crate) pending: Vec<u8>,
    /// Bytes that the committer is writing.
    pub(crate) writing_bytes: usize,
    /// The position of the next record.
    pub(crate) next: u64,
    pub(crate) closing: bool,
    pub(crate) poisoned: Option<String>,
    pub(crate) stalled: Option<(String, i64)>,
    pub(crate) retain: Vec<(i64, oneshot::Sender<Vec<DroppedSegment>>)>,
    /// Something was freed: a stalled write may try again at once.
    pub(crate) freed: bool,
}

impl Log {
    /// Opens the log in `options.dir`, or makes it. Reads the list of segments and the end of
    /// the last one, however long the log is.
    ///
    /// Blocks; call it from a blocking context where that matters.
    pub fn open(options: Options) -> Result<Self, Error> {
        #[cfg(feature = "faults")]
        if let Some(unsound) =
            crate::unsound::Unsound::from_environment().map_err(Error::Options)?
        {
            return Self::open_on(options, Arc::new(unsound));
        }
        Self::open_on(options, Arc::new(Kernel))
    }

    pub(crate) fn open_on(options: Options, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        options.check()?;
        let recovered = recover(&options, &*disk)?;
        let end = recovered.tail.end;
        let oldest = recovered.bases.front().copied().unwrap_or(end);
        let (committed_to, committed) = watch::channel(Position(end));
        let (offsets_to, offsets) = watch::channel(end);
        let shared = Arc::new(Shared {
            options,
            appender: Mutex::new(Appender {
                next: end,
                ..Appender::default()
            }),
            work: Condvar::new(),
            segments: Mutex::new(recovered.bases),
            oldest: AtomicU64::new(oldest),
            trimmed: AtomicU64::new(0),
            committed,
            offsets,
            report: recovered.report,
        });
        let committer = Committer {
            shared: Arc::clone(&shared),
            disk,
            tail: recovered.tail,
            hint: recovered.hint,
            hinted: end,
            condemned: VecDeque::new(),
            synced: None,
            committed: committed_to,
            offsets: offsets_to,
            _lock: recovered.lock,
        };
        let committer = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || committer.run())
            .map_err(|source| {
                crate::directory::io_error("start the thread for", &shared.options.dir, source)
            })?;
        Ok(Self {
            handle: Arc::new(Handle {
                shared,
                committer: Some(committer),
            }),
        })
    }

    /// Appends the records in order, all or none. Returns the position that [`Log::wait`] must
    /// see for all of them to be on disk. Doesn't wait for the disk.
    pub fn append(&self, records: &[&[u8]]) -> Result<Position, Error> {
        let options = &self.shared().options;
        let mut headers = Vec::with_capacity(records.len());
        let mut bytes = 0;
        for record in records {
            headers.push(header(record, options.max_record_bytes)?);
            bytes += HEADER_BYTES + record.len();
        }

        let mut appender = self.shared().appender();
        if let Some(why) = &appender.poisoned {
            return Err(Error::Poisoned(why.clone()));
        }
        let waiting = appender.pending.len() + appender.writing_bytes;
        // A single large append is let through on its own, so that it is possible at all.
        if waiting > 0 && waiting + bytes > options.max_pending_bytes {
            let max = options.max_pending_bytes;
            return Err(Error::Full(match appender.stalled {
                Some(_) => Full::Disk { max },
                None => Full::Pending { max },
            }));
        }
        if let (Some(max), Overflow::Refuse) = (options.max_bytes, options.overflow)
            && appender.next + bytes as u64 - self.oldest().0 > max
        {
            return Err(Error::Full(Full::Bytes { max }));
        }
        let before = appender.pending.len();
        for (header, record) in headers.into_iter().zip(records) {
            appender.push(header, record);
        }
        let position = Position(appender.next);
        // While records gather, the committer waits for the first, and for enough.
        let wakes = options.gather.is_none_or(|gather| {
            before == 0 || (before < gather.bytes && appender.pending.len() >= gather.bytes)
        });
        drop(appender);
        if wakes {
            self.shared().work.notify_one();
        }
        Ok(position)
    }

    /// Returns when all up to `position` is on disk.
    pub async fn wait(&self, position: Position) -> Result<(), Error> {
        let mut committed = self.committed();
        match committed.wait_for(|committed| *committed >= position).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.shared().gone()),
        }
    }

    /// Changes each time that more is on disk; closed when the log is poisoned.
    pub fn committed(&self) -> watch::Receiver<Position> {
        self.shared().committed.clone()
    }

    /// The same as plain numbers.
    pub fn committed_offsets(&self) -> watch::Receiver<u64> {
        self.shared().offsets.clone()
    }

    /// A reader of committed records from `from`, which is [`Log::oldest`] or the `end` of a
    /// record.
    pub fn reader(&self, from: Position) -> Result<Reader, Error> {
        Reader::new(self.clone(), from)
    }

    /// Says that what is below `before` isn't needed any more. Whole segments below are deleted
    /// (blocking, for as long as the file system takes).
    pub fn trim(&self, before: Position) -> Result<(), Error> {
        self.shared().trim(before)
    }

    /// Drops segments whose records are all older than `max_age` at `now_us`, and those beyond
    /// `max_bytes` when the log is told to drop. Returns what was dropped.
    pub async fn retain(&self, now_us: i64) -> Result<Vec<DroppedSegment>, Error> {
        let (tell, told) = oneshot::channel();
        {
            let mut appender = self.shared().appender();
            if let Some(why) = &appender.poisoned {
                return Err(Error::Poisoned(why.clone()));
            }
            appender.retain.push((now_us, tell));
        }
        self.shared().work.notify_one();
        told.await.map_err(|_| self.shared().gone())
    }

    /// Where the log starts.
    pub fn oldest(&self) -> Position {
        Position(self.shared().oldest.load(Ordering::Acquire))
    }

    /// Where the next record goes: the end of all that was appended, on disk or not.
    pub fn end(&self) -> Position {
        Position(self.shared().appender().next)
    }

    /// From the oldest record to the end.
    pub fn bytes(&self) -> u64 {
        self.end().0 - self.oldest().0
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.shared().segments().len()
    }

    /// Whether it takes and keeps what is given to it.
    pub fn health(&self) -> Health {
        let appender = self.shared().appender();
        if let Some(why) = &appender.poisoned {
            Health::Poisoned { why: why.clone() }
        } else if let Some((why, since_us)) = &appender.stalled {
            Health::Stalled {
                why: why.clone(),
                since_us: *since_us,
            }
        } else {
            Health::Ok
        }
    }

    /// What opening found.
    pub fn recovery(&self) -> &Recovery {
        &self.shared().report
    }

    /// How it is kept.
    pub fn options(&self) -> &Options {
        &self.shared().options
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.handle.shared
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("dir", &self.options().dir)
            .field("oldest", &self.oldest())
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.appender().closing = true;
        self.shared.work.notify_one();
        if let Some(committer) = self.committer.take()
            && committer.join().is_err()
        {
            tracing::error!("the log's thread has panicked");
        }
    }
}

impl Shared {
    pub(crate) fn appender(&self) -> MutexGuard<'_, Appender> {
        // No code under this lock leaves it half-changed.
        self.appender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn segments(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing is committed any more.
    pub(crate) fn gone(&self) -> Error {
        match &self.appender().poisoned {
            Some(why) => Error::Poisoned(why.clone()),
            None => Error::Closed,
        }
    }
}

impl Appender {
    pub(crate) fn push(&mut self, header: Header, payload: &[u8]) {
        self.pending.extend_from_slice(&header.to_bytes(self.next));
        self.pending.extend_from_slice(payload);
        self.next += header.record_bytes();
    }
}

pub(crate) fn header(payload: &[u8], max: u32) -> Result<Header, Error> {
    match u32::try_from(payload.len()) {
        Ok(payload_bytes) if payload_bytes <= max => Ok(Header {
            payload_bytes,
            payload_crc: crc32c::crc32c(payload),
        }),
        _ => Err(Error::TooLarge {
            bytes: payload.len(),
            max,
        }),
    }
}
