//! What can go wrong in a store, sorted by what the caller can do about it.

/// An error of any store port.
///
/// [`Error::retryable`] tells the one thing that most callers need: whether the
/// same call, unchanged, may succeed later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another writer held the database for longer than the busy time-out.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// The disk (or the bound set for the database) is full. Nothing of the call
    /// was stored; reads still work; the same call succeeds once there is room.
    #[error("no room left for the database: {0}; free disk space or raise its bound")]
    DiskFull(String),
    /// So much of its kind is under way that nothing can be added. The same call succeeds once some of it is
    /// over.
    #[error("too much is under way: {0}")]
    Full(String),
    /// The database could not be reached or read for a reason outside of it
    /// (an I/O error, a closed pool).
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// What was asked to be changed does not exist.
    #[error("there is no {what} {name:?}")]
    NotFound {
        /// The kind of thing, in the singular, e.g. `workflow`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The call contradicts what is stored, e.g. another text for a workflow
    /// version that exists, or a run that another claim has taken over.
    #[error("conflict: {0}")]
    Conflict(String),
    /// An argument breaks a rule of the port.
    #[error("invalid {what}: {why}")]
    Invalid {
        /// The argument.
        what: &'static str,
        /// What was wrong, and what would be right.
        why: String,
    },
    /// Stored bytes cannot be read back.
    #[error("stored {what} is corrupt: {why}")]
    Corrupt {
        /// The kind of thing.
        what: &'static str,
        /// Where and how.
        why: String,
    },
    /// The schema could not be brought to this version.
    #[error("migration: {0}")]
    Migration(String),
    /// A fault in a query or in the database itself: not the caller's.
    #[error("database: {0}")]
    Database(String),
}

impl Error {
    /// Whether the same call may succeed later, without a change by the caller.
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::Busy(_) | Self::DiskFull(_) | Self::Full(_) | Self::Unavailable(_)
        )
    }

    pub(crate) fn invalid(what: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid {
            what,
            why: why.into(),
        }
    }

    pub(crate) fn corrupt(what: &'static str, why: impl ToString) -> Self {
        Self::Corrupt {
            what,
            why: why.to_string(),
        }
    }

    pub(crate) fn not_found(what: &'static str, name: impl ToString) -> Self {
        Self::NotFound {
            what,
            name: name.to_string(),
        }
    }
}
