//! What can go wrong while a hub is set up, started or stopped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Failures of the hub as a whole. Each says what was wrong, where, and what would be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that the hub does not accept.
    #[error("option `{key}`: {why}")]
    Option {
        /// The key as it is written in the configuration.
        key: String,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// The data directory was never initialised.
    #[error("{dir} is not a hub's data directory (no {missing}); run `stencil hub init` first")]
    NotInitialised {
        /// The directory.
        dir: PathBuf,
        /// The first file that is missing.
        missing: String,
    },
    /// A listener could not be opened.
    #[error("cannot listen on {address} for {what}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Which listener.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file or directory of the hub could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A part of the running hub ended that should not have.
    #[error("the {0} has stopped: {1}")]
    Stopped(&'static str, String),
}

impl Error {
    pub(crate) fn option(key: &str, why: impl Into<String>) -> Self {
        Self::Option { key: key.to_owned(), why: why.into() }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}
