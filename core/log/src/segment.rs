//! A segment's file: its name and header, and the directory's list of them.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{
    Error,
    directory::{self, io_error},
    disk::Disk,
    regular,
};

/// Length of a segment's header; the record at position `base` starts behind it.
pub(crate) const HEADER_BYTES: u64 = HEADER_LEN as u64;

const HEADER_LEN: usize = 32;

const MAGIC: &[u8; 6] = b"STNLOG";
const VERSION: &[u8; 2] = b"01";
const DIGITS: usize = 20;

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base: u64,
    /// When the last record before it was written: the age of the segment before.
    pub(crate) previous_us: i64,
}

/// What was found where a header should be.
pub(crate) enum Found {
    Header(Header),
    /// The file ends before: it was being made.
    Short,
    Damaged,
    OtherVersion(String),
}

impl Header {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..6].copy_from_slice(MAGIC);
        out[6..8].copy_from_slice(VERSION);
        out[8..16].copy_from_slice(&self.base.to_le_bytes());
        out[16..24].copy_from_slice(&self.previous_us.to_le_bytes());
        let crc = crc32c::crc32c(&out[..24]);
        out[24..28].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn read(file: &File) -> io::Result<Found> {
        let mut bytes = [0; HEADER_LEN];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Found::Short),
            Err(error) => return Err(error),
        }
        if bytes[24..28] != crc32c::crc32c(&bytes[..24]).to_le_bytes() {
            return Ok(Found::Damaged);
        }
        if &bytes[..6] != MAGIC || &bytes[6..8] != VERSION {
            return Ok(Found::OtherVersion(format!(
                "it starts with {:?}, expected {:?}",
                String::from_utf8_lossy(&bytes[..8]),
                String::from_utf8_lossy(&[&MAGIC[..], &VERSION[..]].concat()),
            )));
        }
        let mut base = [0; 8];
        base.copy_from_slice(&bytes[8..16]);
        let mut previous_us = [0; 8];
        previous_us.copy_from_slice(&bytes[16..24]);
        Ok(Found::Header(Self {
            base: u64::from_le_bytes(base),
            previous_us: i64::from_le_bytes(previous_us),
        }))
    }
}

/// Where the segment that starts at `base` lies.
pub(crate) fn path(dir: &Path, base: u64) -> PathBuf {
    dir.join(name(base))
}

/// What the segment's file is called.
pub(crate) fn name(base: u64) -> String {
    format!("{base:0DIGITS$}.log")
}

/// The position at which the segment of this file name begins; `None` if it is no segment's.
pub fn segment_base(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    let is_base = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_base.then(|| digits.parse().ok())?
}

/// The position at which a segment ends whose file has so many bytes.
pub fn segment_end(base: u64, bytes: u64) -> u64 {
    base.saturating_add(bytes.saturating_sub(HEADER_BYTES))
}

/// The bases of all segments, oldest first.
pub(crate) fn list(dir: &Path) -> Result<VecDeque<u64>, Error> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir).map_err(|source| io_error("list", dir, source))? {
        let entry = entry.map_err(|source| io_error("list", dir, source))?;
        let name = entry.file_name();
        let Some(base) = name.to_str().and_then(segment_base) else {
            continue;
        };
        // What a link leads to is nobody's to write over.
        let path = entry.path();
        let found = entry
            .file_type()
            .and_then(|found| regular::check(&path, found));
        found.map_err(|source| io_error("open", &path, source))?;
        bases.push(base);
    }
    bases.sort_unstable();
    Ok(bases.into())
}

/// Begins a segment: after this returns it is there after a power cut, too.
pub(crate) fn create(disk: &dyn Disk, dir: &Path, header: Header) -> io::Result<File> {
    let path = path(dir, header.base);
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).read(true).write(true);
    let file = regular::open(options.mode(directory::FILE_MODE), &path)?;
    disk.write(&file, &header.to_bytes(), 0)?;
    disk.sync(&file)?;
    directory::sync(dir)?;
    Ok(file)
}
