//! How far what is spooled is sealed, on disk.
//!
//! The file is replaced before a seal is spooled, and has the seal in it, with the secret of its salts. So a
//! seal that may have left is known after a kill, byte for byte, and is spooled once more; one that is not
//! in the file has never been seen by anybody, and what it was over is sealed anew. What the seal was over
//! leaves the spool, the secret stays here up to the next one: nobody else reads the file.

use std::{
    fmt,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use minicbor::{Decode, Encode};
use stencil_log::{Position, regular};
use stencil_proof::Hash;

const FILE: &str = "seals";
const MAGIC: &[u8] = b"stnseal1";
const MAX_BYTES: u64 = 256 << 10;

/// Where the chain of seals is.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct State {
    /// Whether what is spooled is sealed.
    #[n(0)]
    pub(super) on: bool,
    /// What is spooled before this is sealed.
    #[n(1)]
    pub(super) position: u64,
    /// The chain.
    #[n(2)]
    pub(super) epoch: u64,
    /// The last seal's number.
    #[n(3)]
    pub(super) number: u64,
    /// The last seal's hash.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub(super) previous: Hash,
    /// The record of the last seal, which may not be in the spool; the secret of its salts is in it.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub(super) last: Vec<u8>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("on", &self.on)
            .field("position", &self.position)
            .field("epoch", &self.epoch)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// Where it is kept.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    path: PathBuf,
}

impl Saved {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self {
            path: folder.join(FILE),
        }
    }

    /// What was saved, if anything was. Blocks.
    pub(super) fn read(&self) -> io::Result<Option<State>> {
        let bytes = match regular::read(&self.path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let none = || io::Error::other("it is not what a gateway saved of its seals");
        let body = bytes.strip_prefix(MAGIC).ok_or_else(none)?;
        let state = minicbor::decode(body).map_err(|_| none())?;
        Ok(Some(state))
    }

    /// Replaces what was saved. Blocks.
    pub(super) fn write(&self, state: &State) -> io::Result<()> {
        let next = self.path.with_extension("next");
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(true).write(true);
        let mut file = regular::open(options.mode(0o600), &next)?;
        // One that a kill has left may have other rights.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(MAGIC)?;
        // Writing to a Vec cannot fail.
        file.write_all(&minicbor::to_vec(state).unwrap_or_default())?;
        file.sync_all()?;
        stencil_crashpoint::reach("seal.before_saved");
        fs::rename(&next, &self.path)?;
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// Up to where the spool must be kept, because what is behind it is not sealed.
pub(crate) fn held(folder: &Path) -> Position {
    match Saved::in_folder(folder).read() {
        Ok(Some(state)) if state.on => Position(state.position),
        _ => Position(u64::MAX),
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
        assert_eq!(held(dir.path()), Position(u64::MAX));
        let mut state = State {
            on: true,
            position: 70,
            epoch: u64::MAX,
            number: 3,
            previous: [7; 32],
            last: vec![1; 5_000],
        };
        saved.write(&state).unwrap();
        assert_eq!(saved.read().unwrap(), Some(state.clone()));
        assert_eq!(held(dir.path()), Position(70));
        // A secret is in it; also where a kill had left the one for it, with other rights.
        let (file, next) = (dir.path().join(FILE), dir.path().join("seals.next"));
        fs::write(&next, b"half").unwrap();
        fs::set_permissions(&next, Permissions::from_mode(0o644)).unwrap();
        saved.write(&state).unwrap();
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        state.on = false;
        saved.write(&state).unwrap();
        assert_eq!(held(dir.path()), Position(u64::MAX));
        fs::write(dir.path().join(FILE), b"stnseal1").unwrap();
        assert!(saved.read().is_err());
    }
}
