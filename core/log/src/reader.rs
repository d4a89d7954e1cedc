use std::{fmt, io, sync::atomic::Ordering};

use crate::{
    Error, Log, Position, Record,
    directory::io_error,
    scanner::{Look, Scanner},
    segment,
};

/// Reads committed records in order.
pub struct Reader {
    log: Log,
    at: u64,
    scanner: Option<Scanner>,
    /// Where the scanner's segment ends: the next one's base, or what was committed when asked.
    limit: u64,
}

/// What [`Reader::skip_corrupt`] left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where the damage starts.
    pub from: Position,
    /// Where the reader goes on.
    pub to: Position,
}

impl Reader {
    pub(crate) fn new(log: Log, from: Position) -> Result<Self, Error> {
        let mut reader = Self {
            log,
            at: 0,
            scanner: None,
            limit: 0,
        };
        reader.seek(from)?;
        Ok(reader)
    }

    /// The next record, or `None` when there is no more on disk yet. After an error the reader
    /// stands where it was.
    ///
    /// Reads files, in chunks of 256 KiB: call it from a thread that may block.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would be over at an error"
    )]
    pub fn next(&mut self) -> Result<Option<Record>, Error> {
        loop {
            if self.at < self.log.oldest().0 {
                return Err(Error::Trimmed {
                    oldest: self.log.oldest(),
                });
            }
            if self.at >= self.limit && !self.locate()? {
                return Ok(None);
            }
            let (at, limit) = (self.at, self.limit);
            let Some(scanner) = &mut self.scanner else {
                self.limit = 0;
                continue;
            };
            let base = scanner.base();
            match scanner.look(at, limit) {
                Ok(Look::Record(record)) => {
                    self.at = record.end.0;
                    return Ok(Some(record));
                }
                Ok(Look::Bad(why)) => {
                    return Err(Error::Corrupt {
                        segment: base,
                        at: Position(at),
                        why,
                    });
                }
                Err(source) => return Err(self.unreadable(base, source)),
            }
        }
    }

    /// Returns when there is more than was read.
    pub async fn wait(&mut self) -> Result<(), Error> {
        self.log.wait(Position(self.at + 1)).await
    }

    /// Where the next record starts: the cursor to keep.
    pub fn position(&self) -> Position {
        Position(self.at)
    }

    /// Goes on from `from`.
    pub fn seek(&mut self, from: Position) -> Result<(), Error> {
        let oldest = self.log.oldest();
        if from < oldest {
            return Err(Error::Trimmed { oldest });
        }
        let end = *self.log.shared().committed.borrow();
        if from > end {
            return Err(Error::Ahead { from, end });
        }
        self.at = from.0;
        self.scanner = None;
        self.limit = 0;
        Ok(())
    }

    /// After [`Error::Corrupt`], or [`Error::Io`] from a bad sector: goes to the next good record,
    /// in this segment or at the start of the next, and says what was left out. `None` when there
    /// is no damage here.
    pub fn skip_corrupt(&mut self) -> Result<Option<Skipped>, Error> {
        match self.next() {
            Ok(Some(record)) => {
                self.at = record.start.0;
                return Ok(None);
            }
            Ok(None) => return Ok(None),
            Err(Error::Corrupt { .. }) => {}
            Err(Error::Io { .. }) if self.scanner.is_some() => {}
            Err(error) => return Err(error),
        }
        let from = self.at;
        let (at, limit) = (self.at, self.limit);
        let good = match &mut self.scanner {
            Some(scanner) => scanner.resync(at + 1, limit).ok().flatten(),
            None => None,
        };
        self.at = good.unwrap_or(limit);
        Ok(Some(Skipped {
            from: Position(from),
            to: Position(self.at),
        }))
    }

    /// Opens the segment that holds `at`; false when nothing is committed there yet.
    fn locate(&mut self) -> Result<bool, Error> {
        let shared = self.log.shared();
        let committed = shared.committed.borrow().0;
        if self.at >= committed {
            return Ok(false);
        }
        let (base, next) = {
            let segments = shared.segments();
            let index = segments.partition_point(|base| *base <= self.at);
            let Some(base) = index.checked_sub(1).and_then(|index| segments.get(index)) else {
                let oldest = Position(shared.oldest.load(Ordering::Acquire));
                return Err(Error::Trimmed { oldest });
            };
            (*base, segments.get(index).copied())
        };
        self.limit = next.unwrap_or(committed).min(committed);
        if self
            .scanner
            .as_ref()
            .is_none_or(|scanner| scanner.base() != base)
        {
            self.scanner = None;
            match Scanner::open(&shared.options.dir, base) {
                Ok(scanner) => self.scanner = Some(scanner),
                Err(source) if source.kind() == io::ErrorKind::NotFound => {
                    let oldest = self.log.oldest();
                    if self.at < oldest.0 {
                        return Err(Error::Trimmed { oldest });
                    }
                    return Err(Error::Corrupt {
                        segment: base,
                        at: Position(self.at),
                        why: "the segment's file is missing",
                    });
                }
                Err(source) => return Err(self.unreadable(base, source)),
            }
        }
        Ok(true)
    }

    fn unreadable(&self, base: u64, source: io::Error) -> Error {
        io_error(
            "read",
            &segment::path(&self.log.options().dir, base),
            source,
        )
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("log", &self.log)
            .field("at", &self.at)
            .finish()
    }
}
