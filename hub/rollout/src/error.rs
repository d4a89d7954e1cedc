//! What can be wrong.

use crate::fleet::MAX_RUNNING;
use crate::plan::{MAX_MEMBERS, MAX_WAVES};

/// A plan, id or window that makes no sense. Each says what would.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An id or digest that is none.
    #[error("{what} is {digits} hexadecimal digits")]
    Hex {
        /// What was to be read.
        what: &'static str,
        /// How many digits it has.
        digits: usize,
    },
    /// A field of a plan.
    #[error("`{field}` {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// As many roll-outs as there may be are not over yet.
    #[error("{MAX_RUNNING} roll-outs are not over yet, which is the limit; abort one first")]
    TooMany,
    /// More devices than one roll-out takes.
    #[error("a roll-out takes at most {MAX_MEMBERS} devices; narrow it down")]
    TooManyDevices,
}

impl Error {
    pub(crate) fn field(field: &'static str, why: impl Into<String>) -> Self {
        Self::Field {
            field,
            why: why.into(),
        }
    }

    /// Waves beyond the bound.
    pub(crate) fn waves() -> Self {
        Self::field("waves", format!("may be at most {MAX_WAVES}"))
    }
}

/// Why a roll-out cannot do what was asked of it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is not known, or over and put away.
    #[error("there is no such roll-out, or it is over")]
    Unknown,
    /// It is over.
    #[error("the roll-out is over")]
    Over,
    /// Only one that runs can be paused.
    #[error("the roll-out does not run")]
    NotRunning,
    /// Only one that is paused can be resumed.
    #[error("the roll-out is not paused")]
    NotPaused,
    /// Nobody gets past a canary that has failed.
    #[error(
        "its first devices have failed: retry them, or abort the roll-out; the others do not get \
         this image before that"
    )]
    CanaryFailed,
    /// There is nothing to retry.
    #[error("no device of the roll-out has failed")]
    NothingFailed,
}
