//! Reads one segment: what a reader, the recovery and the retention have in common.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use bytes::{Bytes, BytesMut};

use crate::{
    Position, Record,
    record::{HEADER_BYTES, Header},
    regular, segment,
};

const CHUNK_BYTES: u64 = 256 << 10;

pub(crate) struct Scanner {
    file: File,
    base: u64,
    chunk: Bytes,
    chunk_at: u64,
}

/// What lies at a position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Record(Record),
    Bad(&'static str),
}

impl Scanner {
    pub(crate) fn open(dir: &Path, base: u64) -> io::Result<Self> {
        regular::open_to_read(segment::path(dir, base)).map(|file| Self::over(file, base))
    }

    pub(crate) fn over(file: File, base: u64) -> Self {
        Self {
            file,
            base,
            chunk: Bytes::new(),
            chunk_at: base,
        }
    }

    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Where the file ends, as a position.
    pub(crate) fn file_end(&self) -> io::Result<u64> {
        let bytes = self.file.metadata()?.len();
        Ok(self.base + bytes.saturating_sub(segment::HEADER_BYTES))
    }

    /// The record at `at`, which must end at `limit` or before.
    pub(crate) fn look(&mut self, at: u64, limit: u64) -> io::Result<Look> {
        if !self.cover(at, HEADER_BYTES as u64, limit)? {
            return Ok(Look::Bad("the segment ends within a record's header"));
        }
        let from = self.index(at);
        let Some(header) = Header::parse(&self.chunk[from..from + HEADER_BYTES], at) else {
            return Ok(Look::Bad("there is no record's header"));
        };
        let bytes = header.record_bytes();
        if !self.cover(at, bytes, limit)? {
            return Ok(Look::Bad("the segment ends within a record"));
        }
        let from = self.index(at);
        let payload = self.chunk.slice(from + HEADER_BYTES..from + size(bytes));
        if crc32c::crc32c(&payload) != header.payload_crc {
            return Ok(Look::Bad("a record's content doesn't fit its checksum"));
        }
        Ok(Look::Record(Record {
            start: Position(at),
            end: Position(at + bytes),
            payload,
        }))
    }

    /// The start of the first good record at `from` or behind, before `limit`.
    pub(crate) fn resync(&mut self, from: u64, limit: u64) -> io::Result<Option<u64>> {
        let mut at = from;
        while self.cover(at, HEADER_BYTES as u64, limit)? {
            let index = self.index(at);
            // The header's own check makes this cheap: payloads are read for real headers only.
            if Header::parse(&self.chunk[index..index + HEADER_BYTES], at).is_some()
                && matches!(self.look(at, limit)?, Look::Record(_))
            {
                return Ok(Some(at));
            }
            at += 1;
        }
        Ok(None)
    }

    fn index(&self, at: u64) -> usize {
        size(at - self.chunk_at)
    }

    /// Sees to it that the chunk holds `at..at + bytes`; false when the file or `limit` ends
    /// before.
    fn cover(&mut self, at: u64, bytes: u64, limit: u64) -> io::Result<bool> {
        let Some(end) = at.checked_add(bytes).filter(|end| *end <= limit) else {
            return Ok(false);
        };
        if at >= self.chunk_at && end <= self.chunk_at + self.chunk.len() as u64 {
            return Ok(true);
        }
        let mut wanted = bytes.max(CHUNK_BYTES).min(limit - at);
        if wanted > CHUNK_BYTES {
            // A length beyond the file's end would otherwise cost its memory.
            wanted = wanted.min(self.file_end()?.saturating_sub(at));
        }
        let mut buffer = BytesMut::zeroed(size(wanted));
        let offset = at - self.base + segment::HEADER_BYTES;
        let mut got = 0;
        while got < buffer.len() {
            match self.file.read_at(&mut buffer[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(got);
        self.chunk = buffer.freeze();
        self.chunk_at = at;
        Ok(got as u64 >= bytes)
    }
}

/// For lengths that were bounded before.
pub(crate) fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
