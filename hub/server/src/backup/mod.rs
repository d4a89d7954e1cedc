//! Backup and restore of a data directory.
//!
//! A backup is one file: a tar archive (POSIX.1-1988 ustar) of
//!
//! | entry | what it is |
//! |---|---|
//! | `hub.sqlite` | the store as it was at one moment |
//! | `log/*.log` | the ingest log's segments from that state's position on, up to the log's end just before that moment |
//! | all else | keys, certificates and whatever else lies in the data directory, but for `keys/` |
//! | `backup/hub.toml` | the settings, when they were named |
//! | `backup/manifest.json` | [`Manifest`]: positions, and length, mode and SHA-256 of each entry |
//! | `backup/manifest.sha256` | the SHA-256 of the manifest, in hexadecimal digits; the last entry |
//!
//! Taken while the hub runs, it asks nothing of it: the store is copied by a reader's snapshot,
//! the log is only ever appended to. What refers to the store from the log (a command's state, a
//! workflow's version) was in the store before it was logged, so a log that ends before the
//! snapshot never speaks of what the snapshot lacks. A hub on the restored directory applies the
//! log from the snapshot's position on, as after a kill.

mod archive;
mod manifest;
mod restore;
mod take;

use std::path::{Path, PathBuf};

pub use manifest::{Entry, Manifest};
pub use restore::{Restored, restore};
pub use take::{Request, Taken, take};

/// Where the settings lie in a backup, and the manifest with its digest.
const SETTINGS: &str = "backup/hub.toml";
const MANIFEST: &str = "backup/manifest.json";
const DIGEST: &str = "backup/manifest.sha256";
/// The name of the store within a data directory.
const STORE: &str = "hub.sqlite";
/// The name of the ingest log's folder.
const LOG: &str = "log";

/// Why a backup was not taken or not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is there already.
    #[error("{} exists, and a backup is never written over; name another file", .0.display())]
    Exists(PathBuf),
    /// The folder to restore into holds something.
    #[error("{} is not empty; name a folder that is, or one that does not exist", .0.display())]
    NotEmpty(PathBuf),
    /// There is no hub's data.
    #[error("{}: {why}", dir.display())]
    NoHub {
        /// The folder asked for.
        dir: PathBuf,
        /// What was wrong.
        why: String,
    },
    /// The backup is not what it was when it was taken, or is no backup.
    #[error("{} can't be restored: {why}; nothing was restored", file.display())]
    Damaged {
        /// The backup.
        file: PathBuf,
        /// What was found, and where.
        why: String,
    },
    /// The backup is of a format of a later version.
    #[error(
        "{} is a backup of format {found}, this version knows up to {}; nothing was restored: \
         restore it with the version that took it", file.display(), Manifest::FORMAT
    )]
    Newer {
        /// The backup.
        file: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The store in the backup is of a schema of a later version.
    #[error(
        "{} holds a store of schema {found}, this version knows up to {}; nothing was restored: \
         restore it with the version that took it", file.display(),
        stencil_store::sqlite::newest_schema()
    )]
    NewerSchema {
        /// The backup.
        file: PathBuf,
        /// The schema that its manifest names.
        found: i64,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The store could not be copied.
    #[error("store: {0}")]
    Store(#[from] stencil_store::Error),
    /// The log could not be read.
    #[error("ingest log: {0}")]
    Log(#[from] stencil_log::Error),
    /// The work was torn off.
    #[error("the work ended early: {0}")]
    Ended(String),
}

impl Error {
    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    fn damaged(file: &Path, why: impl Into<String>) -> Self {
        Self::Damaged {
            file: file.to_owned(),
            why: why.into(),
        }
    }
}

/// What is said while it goes on, a line each.
pub type Progress = Box<dyn FnMut(&str) + Send>;

/// Makes names in a folder durable.
fn sync_dir(dir: &Path) -> Result<(), Error> {
    let synced = std::fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(Error::io(dir))
}

/// Removes a file or folder that was not finished, unless it is kept.
struct Unfinished {
    path: PathBuf,
    kept: bool,
}

impl Unfinished {
    fn new(path: PathBuf) -> Self {
        Self { path, kept: false }
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept {
            // It may not have come to be.
            let _ = std::fs::remove_file(&self.path);
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A name beside `path` that nobody else uses at the same time.
fn beside(path: &Path, what: &str) -> Result<PathBuf, Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name else {
        let source = std::io::Error::other("it has no name in UTF-8");
        return Err(Error::io(path)(source));
    };
    Ok(path.with_file_name(format!(".{name}.{what}-{}", std::process::id())))
}
