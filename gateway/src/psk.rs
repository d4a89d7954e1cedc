//! The devices' keys: one file each, read at each handshake.

use std::{io, path::PathBuf};

use stencil_crypto::{Psk, keyfile};
use stencil_protocol::id::DeviceId;

/// Finds keys.
pub(crate) struct KeyRing {
    dir: PathBuf,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Missing {
    #[error("there is no key for it: {} is missing", .0.display())]
    Unknown(PathBuf),
    #[error("its key cannot be used: {0}")]
    Unusable(#[from] keyfile::Error),
    #[error("its key could not be read")]
    Ended,
}

impl KeyRing {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The key of `device`. An id holds no path separators and doesn't start with a dot.
    pub(crate) async fn key(&self, device: &DeviceId) -> Result<Psk, Missing> {
        let path = self.dir.join(format!("{device}.psk"));
        let read = tokio::task::spawn_blocking(move || match Psk::load(&path) {
            Err(keyfile::Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(Missing::Unknown(path))
            }
            other => other.map_err(Missing::from),
        });
        read.await.unwrap_or(Err(Missing::Ended))
    }
}
