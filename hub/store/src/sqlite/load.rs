//! Rebuilding the heads from the tail rows.

use std::collections::HashMap;

use sqlx::SqliteConnection;

use super::Sqlite;
use super::row::Columns as _;
use crate::Error;
use crate::series::head::Heads;
use crate::series::names::{Key, Known};
use crate::series::tail;

impl Sqlite {
    pub(super) async fn load_heads(&self) -> Result<Heads, Error> {
        let mut snapshot = self.snapshot().await?;
        let heads = read(&mut snapshot).await;
        snapshot.end(heads).await
    }
}

async fn read(connection: &mut SqliteConnection) -> Result<Heads, Error> {
    let row = sqlx::query(
        "SELECT tail, COALESCE((SELECT MAX(series) FROM series), 0) AS newest \
         FROM pipeline WHERE one = 1",
    )
    .fetch_one(&mut *connection)
    .await?;
    let mut heads = Heads::new(row.int("tail")?, row.int("newest")?);
    let rows = sqlx::query("SELECT tail, body FROM series_tail ORDER BY tail")
        .fetch_all(&mut *connection)
        .await?;
    let mut sealed_through: HashMap<i64, i64> = HashMap::new();
    for row in &rows {
        let number = row.int("tail")?;
        for group in tail::decode(&row.bytes("body")?)? {
            let sealed = match sealed_through.get(&group.series) {
                Some(sealed) => *sealed,
                None => {
                    let (sealed, key, known) = series(connection, group.series).await?;
                    heads.learn(key, known);
                    *sealed_through.entry(group.series).or_insert(sealed)
                }
            };
            if number > sealed {
                heads.restore(number, group);
            }
        }
    }
    tracing::debug!(
        tail_rows = rows.len(),
        series = sealed_through.len(),
        points = heads.points(),
        "rebuilt the heads of the series"
    );
    Ok(heads)
}

async fn series(
    connection: &mut SqliteConnection,
    series: i64,
) -> Result<(i64, Key, Known), Error> {
    let row = sqlx::query(
        "SELECT tenant, device, name, unit, sealed_through FROM series WHERE series = $1",
    )
    .bind(series)
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| Error::corrupt("series tail", format!("unknown series {series}")))?;
    let key = Key {
        tenant: row.parsed("tenant")?,
        device: row.parsed("device")?,
        name: row.text("name")?,
    };
    Ok((
        row.int("sealed_through")?,
        key,
        Known {
            series,
            unit: row.maybe_text("unit")?,
        },
    ))
}
