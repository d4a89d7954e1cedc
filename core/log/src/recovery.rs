//! What opening a log does: lock, list the segments, find the end of the last one.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::SystemTime,
};

use crate::{
    Error, Options, Position,
    directory::{self, io_error},
    disk::Disk,
    hint::Hint,
    regular,
    scanner::{Look, Scanner, size},
    segment::{self, Found, Header},
};

/// What opening found, besides good records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes behind the last good record, which were cut off: what a crash left half-written.
    pub torn_bytes: u64,
    /// Damaged ranges with good records behind them; they are kept, and readers are told.
    pub damaged: Vec<(Position, Position)>,
    /// What was on disk before and isn't any more: the file is shorter than it was when it was
    /// synced, or than a reader has seen it. New records go behind it.
    pub lost: Option<(Position, Position)>,
    /// Bytes that were scanned to find the end.
    pub scanned_bytes: u64,
}

/// Bound on `Recovery::damaged`; more is summed up in the last one.
const MAX_DAMAGED: usize = 64;

/// The segment that is written to.
pub(crate) struct Tail {
    pub(crate) file: File,
    pub(crate) base: u64,
    /// The position behind the last good record.
    pub(crate) end: u64,
    /// As in its header.
    pub(crate) previous_us: i64,
    /// When the last record went in.
    pub(crate) touched_us: i64,
}

pub(crate) struct Recovered {
    pub(crate) lock: File,
    pub(crate) hint: Hint,
    pub(crate) bases: VecDeque<u64>,
    pub(crate) tail: Tail,
    pub(crate) report: Recovery,
}

pub(crate) fn recover(options: &Options, disk: &dyn Disk) -> Result<Recovered, Error> {
    let dir = &options.dir;
    directory::make(dir)?;
    let lock = directory::lock(dir)?;
    let hint = Hint::open(dir)?;
    let mut bases = segment::list(dir)?;
    let now_us = (options.clock)();
    let seen = options.seen.map(|position| position.0);

    let Some(&base) = bases.back() else {
        // With a hint left, all segments were deleted by hand: positions must not start again.
        let base = hint.read().max(seen).unwrap_or(0);
        let tail = begin(disk, dir, base, now_us)?;
        bases.push_back(base);
        return Ok(Recovered {
            lock,
            hint,
            bases,
            tail,
            report: Recovery::default(),
        });
    };

    let mut report = Recovery::default();
    let mut tail = open_tail(disk, dir, base, now_us)?;
    let synced = hint.read();
    find_end(disk, dir, &mut tail, synced, &mut report)?;
    if let Some(known) = synced.max(seen)
        && known > tail.end
    {
        report.lost = Some((Position(tail.end), Position(known)));
        tail = begin(disk, dir, known, now_us)?;
        bases.push_back(known);
    }
    warn(dir, &report);
    Ok(Recovered {
        lock,
        hint,
        bases,
        tail,
        report,
    })
}

fn begin(disk: &dyn Disk, dir: &Path, base: u64, now_us: i64) -> Result<Tail, Error> {
    let file = segment::create(
        disk,
        dir,
        Header {
            base,
            previous_us: now_us,
        },
    )
    .map_err(|source| io_error("create", &segment::path(dir, base), source))?;
    Ok(Tail {
        file,
        base,
        end: base,
        previous_us: now_us,
        touched_us: now_us,
    })
}

fn open_tail(disk: &dyn Disk, dir: &Path, base: u64, now_us: i64) -> Result<Tail, Error> {
    let path = segment::path(dir, base);
    let file = regular::open(OpenOptions::new().read(true).write(true), &path)
        .map_err(|source| io_error("open", &path, source))?;
    let found = Header::read(&file).map_err(|source| io_error("read", &path, source))?;
    let previous_us = match found {
        Found::Header(header) if header.base == base => header.previous_us,
        Found::Header(header) => {
            return Err(Error::Format {
                path,
                what: format!(
                    "its header says that it starts at {}: was it renamed?",
                    header.base
                ),
            });
        }
        Found::OtherVersion(what) => return Err(Error::Format { path, what }),
        // It was being made when the process ended: nothing can be in it.
        Found::Short => return begin(disk, dir, base, now_us),
        // The name says where it starts, and each record is checked by itself.
        Found::Damaged => {
            tracing::warn!(segment = %path.display(), "the segment's header is damaged; restored");
            disk.write(
                &file,
                &Header {
                    base,
                    previous_us: now_us,
                }
                .to_bytes(),
                0,
            )
            .map_err(|source| io_error("write", &path, source))?;
            now_us
        }
    };
    let touched_us = file
        .metadata()
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|modified| modified.duration_since(SystemTime::UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        // By a clock that may be another one than the log's.
        .map_or(previous_us, |modified_us| {
            modified_us.min(now_us).max(previous_us)
        });
    Ok(Tail {
        file,
        base,
        end: base,
        previous_us,
        touched_us,
    })
}

/// Scans from the hint, cuts off what is torn, and makes what remains durable.
fn find_end(
    disk: &dyn Disk,
    dir: &Path,
    tail: &mut Tail,
    synced: Option<u64>,
    report: &mut Recovery,
) -> Result<(), Error> {
    let path = segment::path(dir, tail.base);
    let failed = |action| {
        let path = path.clone();
        move |source: io::Error| io_error(action, &path, source)
    };
    let mut scanner = Scanner::open(dir, tail.base).map_err(failed("open"))?;
    let file_end = scanner.file_end().map_err(failed("read"))?;
    let start = synced
        .filter(|at| (tail.base..=file_end).contains(at))
        .unwrap_or(tail.base);
    let mut at = start;
    while at < file_end {
        match scanner.look(at, file_end).map_err(failed("read"))? {
            Look::Record(record) => at = record.end.0,
            Look::Bad(_) => match scanner.resync(at + 1, file_end).map_err(failed("read"))? {
                Some(good) => {
                    note_damage(report, at, good);
                    at = good;
                }
                None => break,
            },
        }
    }
    report.scanned_bytes = file_end - start;
    report.torn_bytes = file_end - at;
    tail.end = at;
    if report.torn_bytes > 0 {
        tail.file
            .set_len(at - tail.base + segment::HEADER_BYTES)
            .map_err(failed("cut the torn end of"))?;
    }
    // After a failed fdatasync the kernel may hold these bytes as clean though the disk has not
    // got them: written again, they are dirty, and the sync below means what it says.
    rewrite(disk, tail, start).map_err(failed("write"))?;
    disk.sync(&tail.file).map_err(failed("sync"))?;
    directory::sync(dir).map_err(|source| io_error("sync", dir, source))
}

fn rewrite(disk: &dyn Disk, tail: &Tail, start: u64) -> io::Result<()> {
    let mut at = start;
    let mut buffer = vec![0; 256 << 10];
    while at < tail.end {
        let bytes = size(tail.end - at).min(buffer.len());
        let offset = at - tail.base + segment::HEADER_BYTES;
        tail.file.read_exact_at(&mut buffer[..bytes], offset)?;
        disk.write(&tail.file, &buffer[..bytes], offset)?;
        at += bytes as u64;
    }
    Ok(())
}

fn note_damage(report: &mut Recovery, from: u64, to: u64) {
    let full = report.damaged.len() >= MAX_DAMAGED;
    match report.damaged.last_mut() {
        Some(last) if full => last.1 = Position(to),
        _ => report.damaged.push((Position(from), Position(to))),
    }
}

fn warn(dir: &Path, report: &Recovery) {
    let dir = dir.display();
    if report.torn_bytes > 0 {
        tracing::info!(%dir, bytes = report.torn_bytes, "cut off a half-written end of the log");
    }
    for (from, to) in &report.damaged {
        tracing::error!(%dir, from = from.0, to = to.0, "the log is damaged in the middle");
    }
    if let Some((from, to)) = report.lost {
        tracing::error!(%dir, from = from.0, to = to.0, "the log has lost what was on disk");
    }
}
