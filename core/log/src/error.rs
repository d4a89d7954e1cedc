use std::{fmt, io, path::PathBuf};

use crate::Position;

/// What can go wrong with a log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The options contradict each other.
    #[error("log options: {0}")]
    Options(String),
    /// Somebody else has the log open.
    #[error("the log in {} is open in {}: only one process may have it open", dir.display(), holder(*.pid))]
    Locked {
        /// The log's directory.
        dir: PathBuf,
        /// The process that says that it has it, where known.
        pid: Option<u32>,
    },
    /// A file could not be worked with.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file was not written by this version of the log.
    #[error("{} is no segment of this format: {what}", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A record is longer than the log takes. Trying again doesn't help.
    #[error("a record of {bytes} bytes is too long: at most {max} are taken")]
    TooLarge {
        /// Length of the payload.
        bytes: usize,
        /// `max_record_bytes` of the options.
        max: u32,
    },
    /// There is no room now. Nothing of this append was taken; try again later.
    #[error("the log is full: {0}")]
    Full(Full),
    /// Writing failed in a way after which the state of the disk is unknown; open the log again.
    #[error("the log must be opened again, because {0}")]
    Poisoned(String),
    /// The log was closed before this was committed.
    #[error("the log was closed")]
    Closed,
    /// This position has been deleted.
    #[error("the log starts at {oldest}: what was before has been deleted")]
    Trimmed {
        /// Where to go on.
        oldest: Position,
    },
    /// This position has not been written yet, so it isn't one of this log.
    #[error("position {from} is beyond the log's end at {end}: is this another log's cursor?")]
    Ahead {
        /// The position asked for.
        from: Position,
        /// The committed end.
        end: Position,
    },
    /// Damage on disk. [`crate::Reader::skip_corrupt`] goes on behind it.
    #[error("the log is damaged at {at} (segment {segment:020}.log): {why}")]
    Corrupt {
        /// The segment's base: its file is `{segment:020}.log`.
        segment: u64,
        /// Where the good part ends.
        at: Position,
        /// What was found.
        why: &'static str,
    },
}

impl Error {
    /// Whether the same call may succeed later without anybody's help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

/// Which bound was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// `max_pending_bytes` wait for the disk.
    Pending {
        /// The bound.
        max: usize,
    },
    /// The disk has no room and `max_pending_bytes` wait for it.
    Disk {
        /// The bound on what waits.
        max: usize,
    },
    /// The log holds `max_bytes`, and is told to refuse rather than to drop.
    Bytes {
        /// The bound.
        max: u64,
    },
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending { max } => write!(f, "{max} bytes wait for the disk"),
            Self::Disk { max } => write!(f, "the disk has no room, {max} bytes wait for it"),
            Self::Bytes { max } => write!(f, "it holds its {max} bytes, nothing was freed"),
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}
