//! Transactions.
//!
//! They are opened and closed by plain statements, not by sqlx's `Transaction`:
//! SQLite ends a transaction by itself when the disk is full, sqlx's rollback then
//! fails and its connection stays "in a transaction" for good.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite as Driver, SqliteConnection};

use super::Sqlite;
use crate::Error;

/// An open transaction. If it is dropped before its end, its connection is closed,
/// which undoes it.
pub(super) struct Transaction {
    connection: Option<PoolConnection<Driver>>,
}

impl Sqlite {
    /// A transaction that writes; waits for the one before.
    pub(super) async fn write(&self) -> Result<Transaction, Error> {
        Transaction::begin(self.inner.writer.acquire().await?, "BEGIN IMMEDIATE").await
    }

    /// A transaction that reads one unchanging state.
    pub(super) async fn snapshot(&self) -> Result<Transaction, Error> {
        Transaction::begin(self.inner.readers.acquire().await?, "BEGIN").await
    }
}

impl Transaction {
    async fn begin(
        connection: PoolConnection<Driver>,
        statement: &'static str,
    ) -> Result<Self, Error> {
        let mut transaction = Self {
            connection: Some(connection),
        };
        sqlx::query(statement).execute(&mut *transaction).await?;
        Ok(transaction)
    }

    /// Commits what went well, rolls back what did not. An error of the commit
    /// itself means that nothing was stored, unless the connection broke.
    pub(super) async fn end<T>(mut self, result: Result<T, Error>) -> Result<T, Error> {
        let ended = match &result {
            Ok(_) => sqlx::query("COMMIT").execute(&mut *self).await,
            Err(_) => sqlx::query("ROLLBACK").execute(&mut *self).await,
        };
        match (result, ended) {
            (Ok(value), Ok(_)) => {
                drop(self.connection.take());
                Ok(value)
            }
            (Ok(_), Err(error)) => Err(error.into()),
            (Err(error), Ok(_)) => {
                drop(self.connection.take());
                Err(error)
            }
            // SQLite had ended the transaction already; a fresh connection is the
            // sure way to know where we stand.
            (Err(error), Err(_)) => Err(error),
        }
    }
}

impl Deref for Transaction {
    type Target = SqliteConnection;

    #[expect(
        clippy::expect_used,
        reason = "the connection is taken only by `end`, which consumes"
    )]
    fn deref(&self) -> &SqliteConnection {
        self.connection
            .as_ref()
            .expect("a transaction that has not ended")
    }
}

impl DerefMut for Transaction {
    #[expect(
        clippy::expect_used,
        reason = "the connection is taken only by `end`, which consumes"
    )]
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection
            .as_mut()
            .expect("a transaction that has not ended")
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}
