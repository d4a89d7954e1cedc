//! Statements over many rows.
//!
//! A call into SQLite through sqlx costs a hop to the connection's thread, far
//! more than the row itself. So rows are written many to a statement, in powers of
//! two: each statement then has few shapes, each is prepared once and cached. Their
//! placeholders have no number: sqlx asks for the name of each, and SQLite looks
//! for it among the names of all, which took more than half of a statement's time.

use std::sync::{Arc, OnceLock};

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite as Driver, SqliteConnection};

use crate::Error;

/// 2^0 … 2^7 rows a statement.
const SHAPES: usize = 8;

pub(super) type Bound<'q> = Query<'q, Driver, SqliteArguments>;

/// `{head} VALUES (…), (…) {tail}` with any number of rows.
pub(super) struct Bulk {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    texts: [OnceLock<Arc<str>>; SHAPES],
}

impl Bulk {
    pub(super) const fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self {
            head,
            columns,
            tail,
            texts: [const { OnceLock::new() }; SHAPES],
        }
    }

    /// Writes all `rows`; `bind` binds the columns of one. Returns how many rows
    /// were affected. `rows` must not hold the same key twice.
    pub(super) async fn execute<T>(
        &self,
        connection: &mut SqliteConnection,
        rows: &[T],
        bind: impl for<'q> Fn(Bound<'q>, &T) -> Bound<'q>,
    ) -> Result<u64, Error> {
        let mut affected = 0;
        let mut rest = rows;
        while !rest.is_empty() {
            let shape = (rest.len().ilog2() as usize).min(SHAPES - 1);
            let (now, later) = rest.split_at(1 << shape);
            let text = self.texts[shape]
                .get_or_init(|| self.text(1 << shape))
                .clone();
            let mut query = sqlx::query(AssertSqlSafe(text));
            for row in now {
                query = bind(query, row);
            }
            affected += query.execute(&mut *connection).await?.rows_affected();
            rest = later;
        }
        Ok(affected)
    }

    fn text(&self, rows: usize) -> Arc<str> {
        let mut text = format!("{} VALUES ", self.head);
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..self.columns {
                text.push_str(if column == 0 { "?" } else { ", ?" });
            }
            text.push(')');
        }
        text.push(' ');
        text.push_str(self.tail);
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_a_placeholder_for_each_column_of_each_row() {
        let bulk = Bulk::new("INSERT INTO t (a, b)", 2, "ON CONFLICT DO NOTHING");
        assert_eq!(
            &*bulk.text(2),
            "INSERT INTO t (a, b) VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING"
        );
    }
}
