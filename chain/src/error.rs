//! Why a follower stops.

use crate::rpc::Trouble;

/// An error of a follower, of its settings, or of what it shall watch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is wrong.
    #[error("{key}: {why}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What was wrong, and what would be right.
        why: String,
    },
    /// A reorganisation left no common block among those that are kept.
    #[error(
        "{chain}: a reorganisation goes deeper than the blocks that are kept: block {kept_from} \
         ({kept_hash}) is no longer part of the chain, and nothing below it is known. What was \
         observed can't be taken for true any more, and stays as it is: compare it with the chain, then \
         follow the chain under another name from a block that is sure. Where the endpoints were wrong, and are not \
         any more, `stencil chain resume` has it go on. `max_depth` is how many blocks are kept"
    )]
    TooDeep {
        /// The chain.
        chain: String,
        /// The lowest block that is kept.
        kept_from: u64,
        /// Its hash.
        kept_hash: String,
    },
    /// The chain's stream was stopped for a reason that only people can deal with.
    #[error("{chain} was stopped: {why}")]
    Stopped {
        /// The chain.
        chain: String,
        /// Why.
        why: String,
    },
    /// Endpoints, for good: another chain, or a question that they refuse.
    #[error("{0}")]
    Endpoints(Trouble),
    /// The store.
    #[error(transparent)]
    Store(#[from] stencil_store::Error),
    /// TLS can't be set up.
    #[error("TLS: {0}")]
    Tls(String),
}

impl Error {
    pub(crate) fn setting(key: &'static str, why: impl Into<String>) -> Self {
        Self::Setting {
            key,
            why: why.into(),
        }
    }
}
