//! A copy of a database that may be in use, and which version wrote it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::pages::NEW_PAGE_BYTES;
use super::row::Columns as _;
use super::{MIGRATIONS, make_private};
use crate::Error;

/// How long a copy waits for whoever holds the database.
const BUSY: Duration = Duration::from_secs(30);

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The log position up to which all is applied in it.
    pub position: u64,
    /// The version of its schema.
    pub schema: i64,
}

/// Copies the database at `from` to the new file `into`: one state of it, whole, while others
/// write. The pipeline goes on meanwhile; only the write-ahead log grows until it is done.
///
/// # Errors
/// What the database says; [`Error::Conflict`] when there is something at `into`.
pub async fn copy(from: &Path, into: &Path) -> Result<Copied, Error> {
    if into.metadata().is_ok_and(|there| there.len() > 0) {
        return Err(Error::Conflict(format!("{} exists", into.display())));
    }
    // Empty files are taken as new ones, and this one is for its owner only.
    make_private(into)?;
    let name = into
        .to_str()
        .ok_or_else(|| Error::invalid("path", format!("{}: it is not in UTF-8", into.display())))?;
    // The copy gets pages of today's size, whatever the database has.
    let mut connection = options(from, false)
        .page_size(NEW_PAGE_BYTES)
        .connect()
        .await?;
    let copied = sqlx::query("VACUUM INTO $1")
        .bind(name)
        .execute(&mut connection)
        .await;
    connection.close().await?;
    copied?;
    look(into).await
}

/// What a database holds that nobody uses. Nothing is changed, and no file comes to be beside it.
///
/// # Errors
/// What the database says: for what is no store of a hub, too.
pub async fn look(path: &Path) -> Result<Copied, Error> {
    let mut connection = options(path, true).immutable(true).connect().await?;
    let found = held(&mut connection).await;
    connection.close().await?;
    found
}

async fn held(connection: &mut SqliteConnection) -> Result<Copied, Error> {
    let position = sqlx::query("SELECT position FROM pipeline WHERE one = 1")
        .fetch_one(&mut *connection)
        .await?
        .number("position")?;
    let schema = schema(connection).await?.unwrap_or(0);
    Ok(Copied { position, schema })
}

/// The newest schema that this version knows.
#[must_use]
pub fn newest_schema() -> i64 {
    let versions = MIGRATIONS.iter().map(|migration| migration.version);
    versions.max().unwrap_or(0)
}

/// Refuses a database that a newer version of the hub has written, without changing it.
///
/// # Errors
/// [`Error::Migration`]; what the database says.
pub async fn refuse_newer(path: &Path) -> Result<(), Error> {
    // Who only reads still leaves files for the others beside the database, unless it can't change.
    let idle = !beside(path, "-wal").exists();
    let options = options(path, true).immutable(idle);
    let mut connection = options.connect().await?;
    let found = schema(&mut connection).await;
    connection.close().await?;
    let known = newest_schema();
    match found? {
        Some(found) if found > known => Err(Error::Migration(format!(
            "{} was written by a newer version of the hub: its schema is {found}, this version \
             knows up to {known}; nothing was changed. Run that version, or restore a backup from \
             before its first start",
            path.display()
        ))),
        _ => Ok(()),
    }
}

fn options(path: &Path, reading: bool) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(reading)
        .busy_timeout(BUSY)
}

/// Another file of the same database.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(what);
    name.into()
}

/// The newest migration that was applied; `None` for an empty database.
async fn schema(connection: &mut SqliteConnection) -> Result<Option<i64>, Error> {
    let there =
        sqlx::query("SELECT COUNT(*) AS there FROM sqlite_master WHERE name = '_sqlx_migrations'")
            .fetch_one(&mut *connection)
            .await?
            .int("there")?;
    if there == 0 {
        return Ok(None);
    }
    sqlx::query("SELECT MAX(version) AS version FROM _sqlx_migrations")
        .fetch_one(connection)
        .await?
        .maybe_int("version")
}
