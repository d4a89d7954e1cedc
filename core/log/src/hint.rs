//! The `synced` file: a position up to which all is on disk, so that opening need not scan from
//! the segment's start. It is written after the data was synced and never synced itself: it may
//! be old, it cannot be wrong.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use crate::{
    Error,
    directory::{FILE_MODE, io_error},
    regular,
};

const FILE: &str = "synced";
const BYTES: usize = 12;

pub(crate) struct Hint(File);

impl Hint {
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        regular::open(options.mode(FILE_MODE), &path)
            .map(Self)
            .map_err(|source| io_error("open", &path, source))
    }

    pub(crate) fn read(&self) -> Option<u64> {
        let mut bytes = [0; BYTES];
        self.0.read_exact_at(&mut bytes, 0).ok()?;
        let (position, rest) = bytes.split_first_chunk::<8>()?;
        (crc32c::crc32c(position).to_le_bytes() == *rest).then(|| u64::from_le_bytes(*position))
    }

    pub(crate) fn write(&self, position: u64) -> io::Result<()> {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&position.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..8]);
        bytes[8..].copy_from_slice(&crc.to_le_bytes());
        self.0.write_all_at(&bytes, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_written_and_nothing_when_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let hint = Hint::open(dir.path()).unwrap();
        assert_eq!(hint.read(), None);
        hint.write(12_345).unwrap();
        assert_eq!(Hint::open(dir.path()).unwrap().read(), Some(12_345));
        hint.0.write_all_at(&[9], 3).unwrap();
        assert_eq!(hint.read(), None);
    }
}
