//! SQLite's errors in the store's terms.

use crate::Error;

// Primary result codes, https://www.sqlite.org/rescode.html
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const NOTADB: i32 = 26;

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                let code = database
                    .code()
                    .and_then(|code| code.parse::<i32>().ok())
                    .unwrap_or(0);
                let text = database.to_string();
                match code & 0xff {
                    BUSY | LOCKED => Self::Busy(text),
                    FULL => Self::DiskFull(text),
                    IOERR | CANTOPEN | READONLY => Self::Unavailable(text),
                    CORRUPT | NOTADB => Self::corrupt("database", text),
                    _ => Self::Database(text),
                }
            }
            sqlx::Error::PoolTimedOut => Self::Busy("no connection became free".into()),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) => {
                Self::Unavailable(error.to_string())
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::corrupt("row", error)
            }
            _ => Self::Database(error.to_string()),
        }
    }
}

/// Says which tenant it was when a foreign key was broken for want of it.
pub(super) fn of_tenant(error: sqlx::Error, tenant: &str) -> Error {
    match &error {
        sqlx::Error::Database(database) if database.is_foreign_key_violation() => {
            Error::not_found("tenant", tenant)
        }
        _ => error.into(),
    }
}
