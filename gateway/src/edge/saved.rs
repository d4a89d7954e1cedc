//! What is judged, on disk: one file that is replaced as a whole, with the position in the spool
//! up to which it is complete.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use stencil_log::{Position, regular};

/// The file, in the data folder.
const FILE: &str = "edge";
/// The first bytes of the file.
const MAGIC: &[u8; 8] = b"stnedge1";
/// The largest file that is read.
const MAX_BYTES: u64 = 64 << 20;

/// Where it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    path: PathBuf,
}

impl Saved {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            path: folder.join(FILE),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What was saved, if anything was.
    pub(crate) fn read(&self) -> io::Result<Option<(Position, Vec<u8>)>> {
        let bytes = match regular::read(&self.path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let body = bytes
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_first_chunk::<8>());
        match body {
            Some((position, body)) => Ok(Some((
                Position(u64::from_le_bytes(*position)),
                body.to_vec(),
            ))),
            None => Err(io::Error::other("it is not what a gateway saved")),
        }
    }

    /// Replaces what was saved. Blocks.
    pub(crate) fn write(&self, position: Position, body: &[u8]) -> io::Result<()> {
        let next = self.path.with_extension("next");
        let mut options = OpenOptions::new();
        let mut file = regular::open(options.create(true).truncate(true).write(true), &next)?;
        file.write_all(MAGIC)?;
        file.write_all(&position.0.to_le_bytes())?;
        file.write_all(body)?;
        file.sync_all()?;
        stencil_crashpoint::reach("edge.before_saved");
        fs::rename(&next, &self.path)?;
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    /// Nothing is judged any more.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_as_it_was_written_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let saved = Saved::in_folder(dir.path());
        assert_eq!(saved.read().unwrap(), None);
        saved.write(Position(7), b"what is judged").unwrap();
        saved.write(Position(9), b"more").unwrap();
        assert_eq!(saved.read().unwrap(), Some((Position(9), b"more".to_vec())));
        fs::write(dir.path().join(FILE), b"stnedge").unwrap();
        assert!(saved.read().is_err());
        saved.remove().unwrap();
        saved.remove().unwrap();
        assert_eq!(saved.read().unwrap(), None);
    }
}
