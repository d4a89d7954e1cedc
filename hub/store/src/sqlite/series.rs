//! Reading series: head and chunks put together.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use stencil_protocol::id::{DeviceId, TenantId};

use super::Sqlite;
use super::row::Columns as _;
use crate::series::names::{Key, Known};
use crate::series::seal::merge;
use crate::series::{chunk, stamps};
use crate::{Error, MAX_PAGE, MAX_RANGE, Series, SeriesName, SeriesPoint};

/// How far before a range is looked for points that move into it: more than any run of points a
/// microsecond apart that devices make.
const MAX_MOVED_US: i64 = 1_000;
/// How many points there are in that.
const MAX_MOVED: usize = 1_000;
/// How many chunks are read at once.
const CHUNKS_AT_ONCE: i64 = 16;

#[async_trait]
impl Series for Sqlite {
    async fn range(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        name: &str,
        from_us: i64,
        to_us: i64,
        limit: u32,
    ) -> Result<Vec<SeriesPoint>, Error> {
        let limit = limit.min(MAX_RANGE) as usize;
        let Some(series) = self.number_of(tenant, device, name).await? else {
            return Ok(Vec::new());
        };
        // Points of one time move on where head and chunks are put together, perhaps from before the
        // range into it.
        let (early_us, more) = (from_us.saturating_sub(MAX_MOVED_US), limit + MAX_MOVED);
        // The head before the chunks: what is sealed in between would else not be seen at all.
        let (head, newest_tail) = self
            .with_heads(|heads| heads.range(series, early_us, to_us, more))
            .await?;
        let mut snapshot = self.snapshot().await?;
        let found = async {
            if head.is_empty() {
                return sealed(&mut snapshot, series, from_us, to_us, limit).await;
            }
            let row = sqlx::query("SELECT sealed_through FROM series WHERE series = $1")
                .bind(series)
                .fetch_optional(&mut *snapshot)
                .await?;
            let through = row.map_or(Ok(0), |row| row.int("sealed_through"))?;
            if through >= newest_tail {
                return sealed(&mut snapshot, series, from_us, to_us, limit).await;
            }
            let sealed = sealed(&mut snapshot, series, early_us, to_us, more).await?;
            let mut points = merge(sealed, head);
            points.retain(|point| (from_us..to_us).contains(&point.time_us));
            points.truncate(limit);
            Ok(points)
        }
        .await;
        snapshot.end(found).await
    }

    async fn contains(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        name: &str,
        time_us: i64,
    ) -> Result<bool, Error> {
        let Some(series) = self.number_of(tenant, device, name).await? else {
            return Ok(false);
        };
        if self
            .with_heads(|heads| heads.contains(series, time_us))
            .await?
        {
            return Ok(true);
        }
        let row = sqlx::query(
            "SELECT c.to_us, c.body, s.body AS stamps FROM series_chunks c \
             LEFT JOIN series_stamps s ON s.stamps = c.stamps \
             WHERE c.series = $1 AND c.from_us <= $2 ORDER BY c.from_us DESC LIMIT 1",
        )
        .bind(series)
        .bind(time_us)
        .fetch_optional(self.readers())
        .await?;
        let Some(row) = row else { return Ok(false) };
        if row.int("to_us")? < time_us {
            return Ok(false);
        }
        let points = chunk_of(&row)?;
        Ok(points
            .binary_search_by_key(&time_us, |point| point.time_us)
            .is_ok())
    }

    async fn names(&self, tenant: &TenantId, device: &DeviceId) -> Result<Vec<SeriesName>, Error> {
        let rows = sqlx::query(
            "SELECT name, unit FROM series WHERE tenant = $1 AND device = $2 \
             ORDER BY name LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(device.as_str())
        .bind(i64::from(MAX_PAGE))
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(SeriesName {
                    name: row.text("name")?,
                    unit: row.maybe_text("unit")?,
                })
            })
            .collect()
    }

    async fn expire(&self, tenant: &TenantId, before_us: i64) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let freed = expire(&mut transaction, tenant, before_us).await;
        transaction.end(freed).await
    }
}

impl Sqlite {
    async fn number_of(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        name: &str,
    ) -> Result<Option<i64>, Error> {
        let key = Key {
            tenant: tenant.clone(),
            device: device.clone(),
            name: name.to_owned(),
        };
        let known = self
            .with_heads(|heads| heads.names().get(&key).map(|known| known.series))
            .await?;
        if known.is_some() {
            return Ok(known);
        }
        let row = sqlx::query(
            "SELECT series, unit FROM series WHERE tenant = $1 AND device = $2 AND name = $3",
        )
        .bind(tenant.as_str())
        .bind(device.as_str())
        .bind(name)
        .fetch_optional(self.readers())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let series = row.int("series")?;
        let known = Known {
            series,
            unit: row.maybe_text("unit")?,
        };
        self.change_heads(|heads| heads.learn(key, known));
        Ok(Some(series))
    }
}

/// The points of a row with `body` and `stamps`, which is NULL where the chunk has times of its own.
pub(super) fn chunk_of(row: &SqliteRow) -> Result<Vec<SeriesPoint>, Error> {
    let stamps: Option<&[u8]> = row.try_get("stamps")?;
    let common = stamps.map(stamps::decode).transpose()?;
    chunk::decode(row.try_get("body")?, common.as_deref())
}

/// The first `limit` sealed points with `from_us <= time < to_us`.
async fn sealed(
    connection: &mut SqliteConnection,
    series: i64,
    from_us: i64,
    to_us: i64,
    limit: usize,
) -> Result<Vec<SeriesPoint>, Error> {
    let mut points = Vec::new();
    if from_us >= to_us || limit == 0 {
        return Ok(points);
    }
    let before: Option<i64> = sqlx::query(
        "SELECT MAX(from_us) AS before FROM series_chunks WHERE series = $1 AND from_us <= $2",
    )
    .bind(series)
    .bind(from_us)
    .fetch_one(&mut *connection)
    .await?
    .maybe_int("before")?;
    let mut next = before.unwrap_or(from_us);
    loop {
        let rows = sqlx::query(
            "SELECT c.from_us, c.body, s.body AS stamps FROM series_chunks c \
             LEFT JOIN series_stamps s ON s.stamps = c.stamps \
             WHERE c.series = $1 AND c.from_us >= $2 AND c.from_us < $3 \
             ORDER BY c.from_us LIMIT $4",
        )
        .bind(series)
        .bind(next)
        .bind(to_us)
        .bind(CHUNKS_AT_ONCE)
        .fetch_all(&mut *connection)
        .await?;
        for row in &rows {
            let chunk = chunk_of(row)?;
            points.extend(
                chunk
                    .into_iter()
                    .filter(|point| (from_us..to_us).contains(&point.time_us)),
            );
            if points.len() >= limit {
                points.truncate(limit);
                return Ok(points);
            }
            next = row.int("from_us")?.saturating_add(1);
        }
        if rows.len() < usize::try_from(CHUNKS_AT_ONCE).unwrap_or(usize::MAX) {
            return Ok(points);
        }
    }
}

async fn expire(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    before_us: i64,
) -> Result<u64, Error> {
    let freed = sqlx::query(
        "SELECT CAST(COALESCE(SUM(points), 0) AS BIGINT) AS points FROM series_chunks \
         WHERE series IN (SELECT series FROM series WHERE tenant = $1) AND to_us < $2",
    )
    .bind(tenant.as_str())
    .bind(before_us)
    .fetch_one(&mut *connection)
    .await?
    .number("points")?;
    sqlx::query(
        "DELETE FROM series_chunks \
         WHERE series IN (SELECT series FROM series WHERE tenant = $1) AND to_us < $2",
    )
    .bind(tenant.as_str())
    .bind(before_us)
    .execute(connection)
    .await?;
    Ok(freed)
}
