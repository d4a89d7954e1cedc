//! Where each thing lies in a hub's data directory.

use std::path::{Path, PathBuf};

use stencil_crypto::authority::Algorithm;

/// A file that says that this data directory was restored from a backup and not started since.
pub(crate) const RESTORED: &str = "restored";

/// The folder of keys that are in no backup.
pub(crate) const KEYS: &str = "keys";

/// The data directory of one hub.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below `data_dir`; nothing is created.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            root: data_dir.to_owned(),
        }
    }

    /// The data directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The SQLite file: control plane, state and series.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("hub.sqlite")
    }

    /// The ingest log's segments.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The fleet authority: root certificates and their keys.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.root.join("authority")
    }

    /// The root that gateways, devices and the hub trust.
    #[must_use]
    pub fn fleet_root(&self) -> PathBuf {
        self.authority().join("root.pem")
    }

    /// The root of the certificate for clients that know no ML-DSA.
    #[must_use]
    pub fn classical_root(&self) -> PathBuf {
        self.authority().join("classical-root.pem")
    }

    /// The hub's own server certificates and keys.
    #[must_use]
    pub fn server(&self) -> PathBuf {
        self.root.join("server")
    }

    /// The key of the cookies by which browsers are known again.
    pub(crate) fn device_key(&self) -> PathBuf {
        self.server().join("devices.key")
    }

    /// The hub's own keys that are in no backup.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join(KEYS)
    }

    /// The key by which devices' keys are sealed in the store.
    #[must_use]
    pub fn seal_key(&self) -> PathBuf {
        self.keys().join("seal.key")
    }

    /// The public key to which devices' keys are sealed for the hub.
    #[must_use]
    pub fn seal_public(&self) -> PathBuf {
        self.keys().join("seal.pub")
    }

    /// The payloads of firmware images.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The hub's own certificate and key of this algorithm.
    pub(crate) fn server_files(&self, algorithm: Algorithm) -> ServerFiles {
        let name = match algorithm {
            Algorithm::MlDsa65 => "server",
            Algorithm::EcdsaP256 => "classical-server",
        };
        let dir = self.server();
        ServerFiles {
            chain: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}.key")),
        }
    }
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct ServerFiles {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}
