//! How segments go: trimmed by their user, or dropped for size or age.

use std::{fs, io, path::Path, sync::atomic::Ordering};

use tokio::sync::oneshot;

use crate::{
    Error, Overflow, Position, Record,
    committer::{Committer, Stop},
    directory::io_error,
    log::{Shared, header},
    regular,
    scanner::{Look, Scanner},
    segment::{self, Found, Header},
};

/// Why a segment is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The log holds `max_bytes`.
    Bytes,
    /// All in it is older than `max_age`.
    Age,
}

/// A segment that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DroppedSegment {
    /// Where it started.
    pub start: Position,
    /// Where it ended.
    pub end: Position,
    /// Why it was dropped.
    pub why: Why,
    /// Records that were shown to the hook: those that nobody had trimmed.
    pub records: u64,
    /// Bytes of it that could not be read, and so not be shown.
    pub damaged_bytes: u64,
}

/// A segment that is deleted when what the hook wrote in its place is on disk.
pub(crate) struct Condemned {
    base: u64,
    after: u64,
}

impl Shared {
    pub(crate) fn trim(&self, before: Position) -> Result<(), Error> {
        let before = before.0.min(self.committed.borrow().0);
        self.trimmed.fetch_max(before, Ordering::AcqRel);
        let mut segments = self.segments();
        let mut freed = false;
        while segments.len() > 1 && segments[1] <= before {
            let base = segments[0];
            let path = segment::path(&self.options.dir, base);
            remove(&path).map_err(|source| io_error("delete", &path, source))?;
            segments.pop_front();
            self.oldest.store(segments[0], Ordering::Release);
            freed = true;
        }
        drop(segments);
        if freed {
            self.appender().freed = true;
            self.work.notify_one();
        }
        Ok(())
    }
}

impl Committer {
    pub(crate) fn retain(
        &mut self,
        requests: Vec<(i64, oneshot::Sender<Vec<DroppedSegment>>)>,
    ) -> Result<(), Stop> {
        for (now_us, tell) in requests {
            let mut dropped = Vec::new();
            if let Some(max_age) = self.shared.options.max_age {
                let max_age_us = i64::try_from(max_age.as_micros()).unwrap_or(i64::MAX);
                self.drop_older(now_us.saturating_sub(max_age_us), &mut dropped)?;
            }
            let options = &self.shared.options;
            if let (Some(max), Overflow::DropOldest) = (options.max_bytes, options.overflow) {
                dropped.extend(self.drop_beyond(max, 0)?);
            }
            // Who asked may have gone.
            let _ = tell.send(dropped);
        }
        Ok(())
    }

    /// Drops the oldest segments until `bytes` more fit into `max`.
    pub(crate) fn drop_beyond(
        &mut self,
        max: u64,
        bytes: u64,
    ) -> Result<Vec<DroppedSegment>, Stop> {
        let mut dropped = Vec::new();
        while self.tail.end - self.shared.oldest.load(Ordering::Acquire) + bytes > max {
            if self.shared.segments().len() < 2 {
                break;
            }
            dropped.extend(self.drop_oldest(Why::Bytes)?);
        }
        Ok(dropped)
    }

    fn drop_older(
        &mut self,
        before_us: i64,
        dropped: &mut Vec<DroppedSegment>,
    ) -> Result<(), Stop> {
        // What is in the segment that is written to ages, too.
        if self.tail.end > self.tail.base && self.tail.touched_us < before_us {
            self.roll()?;
        }
        loop {
            let next = self.shared.segments().get(1).copied();
            let Some(next) = next else { return Ok(()) };
            let last_us = if next == self.tail.base {
                Some(self.tail.previous_us)
            } else {
                previous_us(&self.shared.options.dir, next)
            };
            match last_us {
                Some(last_us) if last_us < before_us => {
                    dropped.extend(self.drop_oldest(Why::Age)?);
                }
                // Unreadable: it goes by size, or when the one behind it is old enough.
                _ => return Ok(()),
            }
        }
    }

    /// Shows the oldest segment to the hook, and lets it go.
    fn drop_oldest(&mut self, why: Why) -> Result<Option<DroppedSegment>, Stop> {
        let (base, end) = {
            let segments = self.shared.segments();
            match (segments.front(), segments.get(1)) {
                (Some(base), Some(end)) => (*base, *end),
                _ => return Ok(None),
            }
        };
        let trimmed = self.shared.trimmed.load(Ordering::Acquire);
        let mut walk = Walk::new(&self.shared.options.dir, base, end, trimmed.max(base));
        let mut replacements = Vec::new();
        if let Some(on_drop) = &self.shared.options.on_drop {
            replacements = on_drop(&mut walk, why);
        }
        walk.by_ref().for_each(drop);
        {
            let mut segments = self.shared.segments();
            // Its user may have trimmed it in the meantime: then it is no loss, and the next one
            // is not to go in its place.
            if segments.front() != Some(&base) {
                return Ok(None);
            }
            segments.pop_front();
            self.shared.oldest.store(end, Ordering::Release);
        }
        let dropped = DroppedSegment {
            start: Position(base),
            end: Position(end),
            why,
            records: walk.records,
            damaged_bytes: walk.damaged_bytes,
        };
        let dir = self.shared.options.dir.display();
        tracing::warn!(%dir, ?dropped, "dropped the oldest part of the log");

        let after = self.push_replacements(&replacements, (end - base) / 4 * 3);
        self.condemned.push_back(Condemned { base, after });
        self.delete_condemned();
        Ok(Some(dropped))
    }

    /// Appends beyond the bounds: these make room. So they may take less than what they replace,
    /// or the log would turn round for ever, full of reports of reports. Returns the position to
    /// wait for.
    fn push_replacements(&self, replacements: &[Vec<u8>], max_bytes: u64) -> u64 {
        let mut appender = self.shared.appender();
        let mut after = 0;
        let (mut left, mut left_out) = (max_bytes, 0_u64);
        for replacement in replacements {
            match header(replacement, self.shared.options.max_record_bytes) {
                Ok(header) if header.record_bytes() <= left => {
                    left -= header.record_bytes();
                    appender.push(header, replacement);
                    after = appender.next;
                }
                Ok(_) => left_out += 1,
                Err(error) => tracing::error!(%error, "a report of dropped records is left out"),
            }
        }
        if left_out > 0 {
            tracing::error!(
                left_out,
                "reports take as much room as what was dropped: left out"
            );
        }
        after
    }

    pub(crate) fn delete_condemned(&mut self) {
        let committed = self.committed.borrow().0;
        while let Some(condemned) = self.condemned.front()
            && condemned.after <= committed
        {
            let path = segment::path(&self.shared.options.dir, condemned.base);
            if let Err(error) = remove(&path) {
                tracing::error!(segment = %path.display(), %error, "cannot delete the segment");
            }
            self.condemned.pop_front();
        }
    }
}

/// The records of a segment that is dropped, as far as they can be read.
struct Walk {
    scanner: Option<Scanner>,
    at: u64,
    end: u64,
    records: u64,
    damaged_bytes: u64,
}

impl Walk {
    fn new(dir: &Path, base: u64, end: u64, from: u64) -> Self {
        Self {
            scanner: Scanner::open(dir, base).ok(),
            at: from,
            end,
            records: 0,
            damaged_bytes: 0,
        }
    }
}

impl Iterator for Walk {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        while self.at < self.end {
            let look = self
                .scanner
                .as_mut()
                .map(|scanner| scanner.look(self.at, self.end));
            if let Some(Ok(Look::Record(record))) = look {
                self.at = record.end.0;
                self.records += 1;
                return Some(record);
            }
            let good = match &mut self.scanner {
                Some(scanner) => scanner.resync(self.at + 1, self.end).ok().flatten(),
                None => None,
            };
            let good = good.unwrap_or(self.end);
            self.damaged_bytes += good - self.at;
            self.at = good;
        }
        None
    }
}

fn previous_us(dir: &Path, base: u64) -> Option<i64> {
    let file = regular::open_to_read(segment::path(dir, base)).ok()?;
    match Header::read(&file).ok()? {
        Found::Header(header) => Some(header.previous_us),
        _ => None,
    }
}

/// Gone is gone, whoever did it.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
