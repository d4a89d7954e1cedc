//! All ports over one SQLite file.
//!
//! One connection writes, several read (write-ahead log, `synchronous=FULL`: what
//! a call has stored survives a power cut). The queries keep to what PostgreSQL
//! understands too: `$n` placeholders, BIGINT, TEXT and bytes, `ON CONFLICT`,
//! `RETURNING`; only the opening, the migrations and the start of a transaction
//! are SQLite's own.
//!
//! Several processes may open the same file (a command beside a running hub). Only
//! one of them commits as the pipeline; a second one is refused by a fence.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::{Error, Store};

mod access;
mod alarms;
mod answers;
mod audit;
mod bulk;
mod caused;
mod certificates;
mod chains;
mod chunks;
mod commands;
mod content;
mod copy;
mod credentials;
mod devices;
mod due;
mod erase;
mod failure;
mod gateways;
mod judging;
mod keeping;
mod ledger;
mod load;
mod offers;
mod operators;
mod ownership;
mod pages;
mod payments;
mod pipeline;
mod proofs;
mod registry;
mod rollouts;
mod row;
mod runs;
mod sealing;
mod secret;
mod sends;
mod series;
mod state;
mod tenancy;
mod transaction;
mod users;
mod wallets;
mod workflows;

pub use copy::{Copied, copy, look, newest_schema, refuse_newer};

/// To which size the write-ahead log is cut back when a checkpoint has emptied it.
const MAX_IDLE_LOG_BYTES: u64 = 64 * 1024 * 1024;

/// What brings a database of any earlier version to this one.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

/// How the database is opened. Every field has a default.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How long a writer waits for another process's write, in milliseconds.
    pub busy_timeout_ms: u64,
    /// Connections that read.
    pub readers: u32,
    /// Page cache of each connection, in KiB.
    pub cache_kib: u32,
    /// The most bytes that the database file may grow to; `None`: the disk's
    /// bound. At the bound writes fail with [`Error::DiskFull`].
    pub max_bytes: Option<u64>,
    /// Points in a full chunk of a series.
    pub chunk_points: usize,
    /// Unsealed points, of all series together, from which the oldest are sealed:
    /// the bound of the memory for heads (about 100 bytes each).
    pub max_unsealed_points: usize,
    /// Tail rows (one a commit) from which the oldest are sealed: the bound of the
    /// work at opening.
    pub max_tail_rows: usize,
    /// The most series that one commit seals, so that series which fill in step do
    /// not stall it. A series that is twice full, or a bound above that is exceeded
    /// twofold, overrides it.
    pub max_seals_per_commit: usize,
    /// Quarantined payloads that are kept a tenant; the oldest go.
    pub max_quarantined: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            busy_timeout_ms: 5_000,
            readers: 4,
            cache_kib: 8 * 1024,
            max_bytes: None,
            chunk_points: 2_048,
            max_unsealed_points: 1_048_576,
            max_tail_rows: 32_768,
            max_seals_per_commit: 8,
            max_quarantined: 10_000,
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), Error> {
        let chunk_bound = crate::series::MAX_POINTS / 2;
        if !(2..=chunk_bound).contains(&self.chunk_points) {
            return Err(Error::invalid(
                "chunk_points",
                format!("2 to {chunk_bound} are allowed"),
            ));
        }
        if self.readers == 0 || self.readers > 64 {
            return Err(Error::invalid("readers", "1 to 64 are allowed"));
        }
        if self.max_seals_per_commit == 0 {
            return Err(Error::invalid(
                "max_seals_per_commit",
                "at least 1 is needed",
            ));
        }
        Ok(())
    }
}

/// The store in one SQLite file. Cheap to clone.
#[derive(Clone)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    options: Options,
    writer: SqlitePool,
    readers: SqlitePool,
    state: state::State,
}

/// Opens (or makes) the database at `path` with the default options and brings its
/// schema up to date. The folder must exist.
pub async fn open(path: impl AsRef<Path>) -> Result<Sqlite, Error> {
    open_with(path, Options::default()).await
}

/// Opens (or makes) the database at `path`.
pub async fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Sqlite, Error> {
    options.check()?;
    let path = path.as_ref().to_path_buf();
    if let Some(parent) = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty() && !p.is_dir())
    {
        return Err(Error::not_found("folder", parent.display()));
    }
    make_private(&path)?;
    refuse_newer(&path).await?;
    let page_bytes = pages::page_bytes(&path)?;
    let connect = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .page_size(page_bytes)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_millis(options.busy_timeout_ms))
        .foreign_keys(true)
        .statement_cache_capacity(512)
        .pragma("journal_size_limit", MAX_IDLE_LOG_BYTES.to_string())
        .pragma(
            "wal_autocheckpoint",
            pages::checkpoint_pages(page_bytes).to_string(),
        )
        .pragma("cache_size", format!("-{}", options.cache_kib))
        .pragma("temp_store", "MEMORY");
    let bounded = match options.max_bytes {
        Some(bytes) => {
            let pages = (bytes / u64::from(page_bytes)).max(1);
            connect.clone().pragma("max_page_count", pages.to_string())
        }
        None => connect.clone(),
    };
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(bounded)
        .await?;
    MIGRATIONS
        .run(&writer)
        .await
        .map_err(|error| Error::Migration(error.to_string()))?;
    let readers = SqlitePoolOptions::new()
        .max_connections(options.readers)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(connect.pragma("query_only", "ON"))
        .await?;
    let state = state::State::default();
    Ok(Sqlite {
        inner: Arc::new(Inner {
            path,
            options,
            writer,
            readers,
            state,
        }),
    })
}

impl Sqlite {
    /// This store behind its ports.
    pub fn store(&self) -> Store {
        Store::of(Arc::new(self.clone()))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Closes all connections; calls after this fail. Dropping the last clone does
    /// the same without waiting.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.writer.close().await;
    }

    fn options(&self) -> &Options {
        &self.inner.options
    }

    fn readers(&self) -> &SqlitePool {
        &self.inner.readers
    }
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

/// Makes the file for its owner only, before SQLite makes it for everybody; the
/// files beside it take after it.
fn make_private(path: &Path) -> Result<(), Error> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|error| {
        Error::Unavailable(format!(
            "{} cannot be opened for writing: {error}",
            path.display()
        ))
    })
}

/// A cursor that a caller hands back.
fn cursor<T: FromStr>(after: Option<&str>) -> Result<Option<T>, Error> {
    after
        .map(|text| {
            text.parse()
                .map_err(|_| Error::invalid("cursor", format!("{text:?}")))
        })
        .transpose()
}

/// A cursor of two parts, `first:second`.
fn pair<A: FromStr, B: FromStr>(after: Option<&str>) -> Result<Option<(A, B)>, Error> {
    let Some(text) = after else { return Ok(None) };
    let parts = text
        .rsplit_once(':')
        .and_then(|(first, second)| Some((first.parse().ok()?, second.parse().ok()?)));
    parts
        .map(Some)
        .ok_or_else(|| Error::invalid("cursor", format!("{text:?}")))
}
