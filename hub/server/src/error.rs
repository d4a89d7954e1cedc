//! What can go wrong while a hub is set up, started or stopped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use stencil_protocol::id::TenantId;

use crate::Layout;

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
    #[error("{} is not a hub's data directory (no {}); run `stencil hub init` first", dir.display(), missing.display())]
    NotInitialised {
        /// The directory.
        dir: PathBuf,
        /// The first file that is missing.
        missing: PathBuf,
    },
    /// The tenant was made before; its first token and link were shown then.
    #[error(
        "tenant {0} exists already; `stencil hub login-link` makes a link for one of its users, \
         `stencil hub add-token` another admin token"
    )]
    TenantExists(TenantId),
    /// There is no such tenant.
    #[error(
        "the hub in {} has no tenant {tenant}; `stencil hub init` with --tenant {tenant} makes it",
        dir.display()
    )]
    NoTenant {
        /// The hub's directory.
        dir: PathBuf,
        /// The tenant asked for.
        tenant: TenantId,
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
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The store.
    #[error("store: {0}")]
    Store(#[from] stencil_store::Error),
    /// The ingest log.
    #[error("ingest log: {0}")]
    Log(#[from] stencil_log::Error),
    /// The fleet authority.
    #[error("authority: {0}")]
    Authority(#[from] stencil_crypto::authority::Error),
    /// A key file.
    #[error("key file: {0}")]
    KeyFile(#[from] stencil_crypto::keyfile::Error),
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(#[from] stencil_crypto::tls::Error),
    /// A workflow definition was refused.
    #[error("{0}")]
    Definition(#[from] stencil_workflow::definition::Error),
    /// A tenant has as many active workflows as it may.
    #[error("{max} workflows are active, which is the limit; deactivate one first")]
    TooManyWorkflows {
        /// The limit (`workflow.max_active`).
        max: usize,
    },
    /// A roll-out cannot do what was asked of it now.
    #[error("{0}")]
    Rollout(#[from] stencil_rollout::Refusal),
    /// A roll-out that makes no sense.
    #[error("{0}")]
    Plan(#[from] stencil_rollout::Error),
    /// Connectors could not be set up.
    #[error("connectors: {0}")]
    Connect(#[source] Box<stencil_connect::Error>),
    /// A part of the running hub ended that should not have.
    #[error("the {0} has stopped: {1}")]
    Stopped(&'static str, String),
}

impl From<stencil_connect::Error> for Error {
    fn from(error: stencil_connect::Error) -> Self {
        Self::Connect(Box::new(error))
    }
}

impl Error {
    pub(crate) fn option(key: &str, why: impl Into<String>) -> Self {
        Self::Option {
            key: key.to_owned(),
            why: why.into(),
        }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn not_initialised(layout: &Layout, missing: &Path) -> Self {
        Self::NotInitialised {
            dir: layout.root().to_owned(),
            missing: missing.to_owned(),
        }
    }
}
