//! Where each thing lies in a hub's data directory.

use std::path::{Path, PathBuf};

/// The data directory of one hub.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below `data_dir`; nothing is created.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { root: data_dir.to_owned() }
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

    /// The hub's own server certificates and keys.
    #[must_use]
    pub fn server(&self) -> PathBuf {
        self.root.join("server")
    }
}
