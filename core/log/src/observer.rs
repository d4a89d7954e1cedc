//! Looks at a log that another process may have open: for a copy of it.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use crate::{
    Error, Position,
    directory::io_error,
    regular,
    scanner::{Look, Scanner},
    segment::{self, Found, Header},
};

/// The segments of a log, held open: what the log's owner deletes meanwhile can still be read.
/// Takes no lock and changes nothing.
#[derive(Debug)]
pub struct Observer {
    dir: PathBuf,
    segments: BTreeMap<u64, File>,
}

/// A segment's file, and how much of it is wanted.
#[derive(Debug)]
pub struct Piece {
    /// The file's name within the log's directory.
    pub name: String,
    /// The file, to be read from its start.
    pub file: File,
    /// How many bytes of it.
    pub bytes: u64,
}

impl Observer {
    /// Opens all segments that are there.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for a segment of another version.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let mut observer = Self {
            dir: dir.to_owned(),
            segments: BTreeMap::new(),
        };
        observer.refresh()?;
        Ok(observer)
    }

    /// Opens those that have come since.
    ///
    /// # Errors
    /// As [`Observer::open`].
    pub fn refresh(&mut self) -> Result<(), Error> {
        for base in segment::list(&self.dir)? {
            if self.segments.contains_key(&base) {
                continue;
            }
            let path = segment::path(&self.dir, base);
            let file = match regular::open_to_read(&path) {
                // Trimmed just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(|source| io_error("open", &path, source))?,
            };
            match Header::read(&file).map_err(|source| io_error("read", &path, source))? {
                Found::Header(_) | Found::Damaged => {
                    self.segments.insert(base, file);
                }
                // It is being made.
                Found::Short => {}
                Found::OtherVersion(what) => return Err(Error::Format { path, what }),
            }
        }
        Ok(())
    }

    /// Behind the last good record: all that the log's owner has confirmed so far is before it.
    /// Reads the newest segment.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn end(&mut self) -> Result<Position, Error> {
        self.refresh()?;
        let Some((base, file)) = self.segments.last_key_value() else {
            return Ok(Position(0));
        };
        let path = segment::path(&self.dir, *base);
        let failed = |source| io_error("read", &path, source);
        let mut scanner = Scanner::over(file.try_clone().map_err(failed)?, *base);
        let file_end = scanner.file_end().map_err(failed)?;
        let mut at = *base;
        while at < file_end {
            match scanner.look(at, file_end).map_err(failed)? {
                Look::Record(record) => at = record.end.0,
                Look::Bad(_) => match scanner.resync(at + 1, file_end).map_err(failed)? {
                    Some(good) => at = good,
                    None => break,
                },
            }
        }
        Ok(Position(at))
    }

    /// The files of which a log can be opened that has all records from `from` up to `to`: whole
    /// segments, the last one cut at `to`.
    ///
    /// # Errors
    /// [`Error::Trimmed`] when `from` is gone; [`Error::Io`].
    pub fn pieces(&self, from: Position, to: Position) -> Result<Vec<Piece>, Error> {
        let bases: Vec<u64> = self.segments.keys().copied().collect();
        // The segment that holds `from`, which may be where the next record goes.
        let first = bases.partition_point(|base| *base <= from.0);
        let Some(first) = first.checked_sub(1) else {
            return match bases.first() {
                Some(oldest) => Err(Error::Trimmed {
                    oldest: Position(*oldest),
                }),
                None => Ok(Vec::new()),
            };
        };
        let mut pieces = Vec::new();
        for (index, base) in bases.iter().enumerate().skip(first) {
            if *base >= to.0 && index > first {
                break;
            }
            let path = segment::path(&self.dir, *base);
            let failed = |source| io_error("read", &path, source);
            let Some(file) = self.segments.get(base) else {
                continue;
            };
            let end = bases.get(index + 1).map_or(to.0, |next| to.0.min(*next));
            let wanted = end.saturating_sub(*base) + segment::HEADER_BYTES;
            let there = file.metadata().map_err(failed)?.len();
            pieces.push(Piece {
                name: segment::name(*base),
                // Opened anew: a clone would share its place with the others.
                file: reopened(&path, file).map_err(failed)?,
                bytes: wanted.min(there),
            });
        }
        Ok(pieces)
    }
}

/// The same file with a place of its own, also when its name is gone.
fn reopened(path: &Path, file: &File) -> io::Result<File> {
    use std::io::Seek as _;
    match regular::open_to_read(path) {
        Ok(fresh) => Ok(fresh),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut same = file.try_clone()?;
            same.rewind()?;
            Ok(same)
        }
        Err(error) => Err(error),
    }
}
