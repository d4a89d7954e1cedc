//! Payloads of images on disk: one file each, named by its SHA-256.
//!
//! A file gets its name when all of it is there, its digest is right and it is on disk; what has a
//! name is whole. Files that no tenant has an image for are removed.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use stencil_protocol::image::Digest;
use stencil_store::Store;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{Error, private};

/// Suffix of files that are not whole yet.
const PARTIAL: &str = ".partial";

/// The payloads of a hub. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Images {
    dir: PathBuf,
    /// Held between a file's naming and its image's row, and while files are removed.
    naming: Arc<Mutex<()>>,
}

/// A payload that is coming in.
#[derive(Debug)]
pub struct Receiving {
    images: Images,
    file: File,
    path: PathBuf,
    hash: Sha256,
    bytes: u64,
    named: bool,
}

/// A payload that is on disk; it stays if its image is put into the store before this is dropped.
#[derive(Debug)]
pub struct Received {
    /// Its SHA-256.
    pub digest: Digest,
    /// Its length in bytes.
    pub bytes: u64,
    _turn: OwnedMutexGuard<()>,
}

impl Images {
    /// The payloads in this folder, which is made if it is not there. What was coming in when the
    /// hub ended is removed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let io = |error| Error::io(dir, error);
        private::folder(dir)?;
        for entry in std::fs::read_dir(dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.to_string_lossy().ends_with(PARTIAL) {
                std::fs::remove_file(&path).map_err(|error| Error::io(&path, error))?;
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
            naming: Arc::default(),
        })
    }

    /// Begins to take a payload. Files are written as they come; call it where that may block.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn receive(&self) -> Result<Receiving, Error> {
        let mut name = [0; 16];
        rand_core::Rng::fill_bytes(&mut stencil_crypto::rng::Os, &mut name);
        let path = self.dir.join(format!("{}{PARTIAL}", hex::encode(name)));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options
            .open(&path)
            .map_err(|error| Error::io(&path, error))?;
        Ok(Receiving {
            images: self.clone(),
            file,
            path,
            hash: Sha256::new(),
            bytes: 0,
            named: false,
        })
    }

    /// Reads of a payload from `offset` on, at most `max` bytes; `None` if it is not there. May
    /// block.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(&self, digest: &Digest, offset: u64, max: usize) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(digest);
        let io = |error| Error::io(&path, error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let mut bytes = vec![0; max];
        let mut filled = 0;
        while filled < max {
            let at = offset.saturating_add(filled as u64);
            match file.read_at(&mut bytes[filled..], at).map_err(io)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(Some(bytes))
    }

    /// Removes files that no tenant has an image for.
    pub(crate) async fn sweep(&self, store: &Store) {
        let _turn = self.naming.lock().await;
        let Ok(entries) = std::fs::read_dir(&self.dir) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let mut digest = [0; 32];
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if hex::decode_to_slice(name.as_ref(), &mut digest).is_err() {
                continue;
            }
            match store.rollouts.is_payload_needed(&digest).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::info!(image = %name, "a payload that nobody has an image for is removed");
                    if let Err(error) = std::fs::remove_file(&path) {
                        tracing::warn!(image = %name, %error, "a payload cannot be removed");
                    }
                }
                Err(error) => tracing::warn!(%error, "payloads are not looked through now"),
            }
        }
    }

    /// Lets go of a payload whose image was not taken, unless another image, or another tenant's,
    /// has the same one.
    pub(crate) async fn refused(&self, store: &Store, received: Received) {
        let path = self.path(&received.digest);
        let removed = match store.rollouts.is_payload_needed(&received.digest).await {
            Ok(true) => return,
            Ok(false) => std::fs::remove_file(&path).map_err(|error| Error::io(&path, error)),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = removed {
            tracing::warn!(%error, "the payload of a refused image stays until the next start");
        }
        drop(received);
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(hex::encode(digest))
    }
}

impl Receiving {
    /// Takes the next bytes. May block.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(|error| Error::io(&self.path, error))?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// How many bytes have come.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Waits until no other file is being named or removed.
    pub async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.images.naming).lock_owned().await
    }

    /// Names the file, if its digest is this one; it is on disk then. May block.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(
        mut self,
        expected: &Digest,
        turn: OwnedMutexGuard<()>,
    ) -> Result<Result<Received, Digest>, Error> {
        let digest: Digest = std::mem::take(&mut self.hash).finalize().into();
        if digest != *expected {
            return Ok(Err(digest));
        }
        let io = |error| Error::io(&self.path, error);
        self.file.sync_all().map_err(io)?;
        std::fs::rename(&self.path, self.images.path(&digest)).map_err(io)?;
        let dir = File::open(&self.images.dir).map_err(io)?;
        dir.sync_all().map_err(io)?;
        self.named = true;
        Ok(Ok(Received {
            digest,
            bytes: self.bytes,
            _turn: turn,
        }))
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if !self.named {
            // What stays is removed at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap().flatten();
        entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_payload_has_its_name_when_it_is_whole_and_only_then() {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::open(dir.path()).unwrap();
        let digest: Digest = Sha256::digest(b"firmware").into();

        let mut wrong = images.receive().unwrap();
        wrong.take(b"firmwarf").unwrap();
        let turn = wrong.turn().await;
        let refused = wrong.finish(&digest, turn).unwrap();
        assert_eq!(
            refused.unwrap_err(),
            <Digest>::from(Sha256::digest(b"firmwarf"))
        );
        let mut torn = images.receive().unwrap();
        torn.take(b"firm").unwrap();
        drop(torn);
        assert_eq!(names(dir.path()), [""; 0]);

        for _ in 0..2 {
            let mut whole = images.receive().unwrap();
            whole.take(b"firm").unwrap();
            whole.take(b"ware").unwrap();
            assert_eq!(whole.bytes(), 8);
            let turn = whole.turn().await;
            let received = whole.finish(&digest, turn).unwrap().unwrap();
            assert_eq!((received.digest, received.bytes), (digest, 8));
        }
        assert_eq!(names(dir.path()), [hex::encode(digest)]);
        let read = |offset, max| images.read(&digest, offset, max).unwrap();
        assert_eq!(read(2, 3).as_deref(), Some(&b"rmw"[..]));
        assert_eq!(read(6, 9).as_deref(), Some(&b"re"[..]));
        assert_eq!(read(1 << 40, 9).as_deref(), Some(&b""[..]));
        assert_eq!(images.read(&[0; 32], 0, 9).unwrap(), None);
    }

    #[tokio::test]
    async fn what_a_kill_left_and_what_nobody_needs_goes() {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::open(dir.path()).unwrap();
        let mut torn = images.receive().unwrap();
        torn.take(b"firm").unwrap();
        // As after a kill: nothing is dropped.
        std::mem::forget(torn);
        let mut whole = images.receive().unwrap();
        whole.take(b"x").unwrap();
        let turn = whole.turn().await;
        let digest = Sha256::digest(b"x").into();
        drop(whole.finish(&digest, turn).unwrap().unwrap());
        assert_eq!(names(dir.path()).len(), 2);
        let images = Images::open(dir.path()).unwrap();
        assert_eq!(names(dir.path()).len(), 1);
        let store = stencil_store::sqlite::open(dir.path().join("hub.sqlite"))
            .await
            .unwrap();
        images.sweep(&store.store()).await;
        assert!(images.read(&digest, 0, 1).unwrap().is_none());
    }
}
