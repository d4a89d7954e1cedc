//! Marks of seals that are not what the hub has.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::{GatewayId, TenantId};

use super::super::row::{Columns as _, bigint};
use super::super::{Sqlite, audit, pair, pipeline};
use super::read;
use crate::page::clamp;
use crate::proofs::SealKey;
use crate::seal_marks::{
    Distrust, MAX_SEAL_MARKS, NewSealMark, SealFlaw, SealMark, SealMarkFilter, SettledSeal,
};
use crate::{Error, Page};

/// Marks a seal and tells of it, if its gateway has room for marks.
pub(super) async fn distrust(
    connection: &mut SqliteConnection,
    key: &SealKey,
    distrust: &Distrust<'_>,
    now_us: i64,
) -> Result<SettledSeal, Error> {
    let mut marked = 0;
    for mark in distrust.marks {
        marked += put(connection, key, mark, now_us).await?;
    }
    let mut settled = SettledSeal {
        is_news: true,
        is_marked: marked > 0,
        started: 0,
    };
    if settled.is_marked {
        let (entry, keep) = (distrust.audit, distrust.audit_entries);
        audit::note(connection, &key.tenant, entry, keep).await?;
        settled.started = pipeline::start_runs(connection, distrust.triggers).await?;
    }
    Ok(settled)
}

async fn put(
    connection: &mut SqliteConnection,
    key: &SealKey,
    mark: &NewSealMark,
    now_us: i64,
) -> Result<u64, Error> {
    let put = sqlx::query(
        "INSERT INTO seal_marks (tenant, gateway, epoch, number, device, flaw, why, differs, at_us) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 WHERE \
         (SELECT COUNT(*) FROM seal_marks WHERE tenant = $1 AND gateway = $2) < $10 \
         ON CONFLICT DO NOTHING",
    )
    .bind(key.tenant.as_str())
    .bind(key.gateway.as_str())
    .bind(key.epoch.to_be_bytes().to_vec())
    .bind(bigint("number", key.number)?)
    .bind(mark.device.as_ref().map_or("", |device| device.as_str()))
    .bind(mark.flaw.as_str())
    .bind(mark.why.as_str())
    .bind(mark.differs.as_str())
    .bind(now_us)
    .bind(i64::from(MAX_SEAL_MARKS))
    .execute(connection)
    .await?;
    Ok(put.rows_affected())
}

pub(super) async fn list(
    store: &Sqlite,
    tenant: &TenantId,
    filter: &SealMarkFilter,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<SealMark>, Error> {
    let limit = clamp(limit);
    let (at_us, place) = pair::<i64, i64>(after)?.unwrap_or((i64::MAX, i64::MAX));
    let (device, behind) = match &filter.device {
        Some((device, behind)) => (Some(device.as_str()), behind.as_ref()),
        None => (None, None),
    };
    let rows = sqlx::query(
        "SELECT tenant, gateway, epoch, number, device, flaw, why, differs, at_us, rowid AS place \
         FROM seal_marks WHERE tenant = $1 AND ($2 IS NULL OR gateway = $2) \
         AND ($3 IS NULL OR device = $3 OR (device = '' AND gateway = $4)) \
         AND (at_us, rowid) < ($5, $6) ORDER BY at_us DESC, rowid DESC LIMIT $7",
    )
    .bind(tenant.as_str())
    .bind(filter.gateway.as_ref().map(GatewayId::as_str))
    .bind(device)
    .bind(behind.map(GatewayId::as_str))
    .bind(at_us)
    .bind(place)
    .bind(i64::from(limit) + 1)
    .fetch_all(store.readers())
    .await?;
    let more = rows.len() > limit as usize;
    let rows = &rows[..rows.len().min(limit as usize)];
    let next = match rows.last().filter(|_| more) {
        Some(last) => Some(format!("{}:{}", last.int("at_us")?, last.int("place")?)),
        None => None,
    };
    Ok(Page {
        items: rows.iter().map(mark).collect::<Result<_, _>>()?,
        next,
    })
}

fn mark(row: &SqliteRow) -> Result<SealMark, Error> {
    let (device, flaw) = (row.text("device")?, row.text("flaw")?);
    let device = match device.as_str() {
        "" => None,
        _ => Some(row.parsed("device")?),
    };
    Ok(SealMark {
        key: read::key(row)?,
        mark: NewSealMark {
            device,
            flaw: SealFlaw::parse(&flaw).ok_or_else(|| Error::corrupt("flaw", flaw))?,
            why: row.text("why")?,
            differs: row.text("differs")?,
        },
        at_us: row.int("at_us")?,
    })
}

/// How many seals of each gateway are marked.
pub(super) async fn counts(
    store: &Sqlite,
    tenant: &TenantId,
) -> Result<Vec<(GatewayId, u64)>, Error> {
    let rows = sqlx::query(
        "SELECT gateway, COUNT(*) AS marked FROM (SELECT DISTINCT gateway, epoch, number \
         FROM seal_marks WHERE tenant = $1) GROUP BY gateway ORDER BY gateway",
    )
    .bind(tenant.as_str())
    .fetch_all(store.readers())
    .await?;
    let of = |row: &SqliteRow| Ok((row.parsed("gateway")?, row.number("marked")?));
    rows.iter().map(of).collect()
}

/// Takes all marks of a seal away; says whether there was one.
pub(super) async fn clear(connection: &mut SqliteConnection, key: &SealKey) -> Result<bool, Error> {
    let cleared = sqlx::query(
        "DELETE FROM seal_marks WHERE tenant = $1 AND gateway = $2 AND epoch = $3 AND number = $4",
    )
    .bind(key.tenant.as_str())
    .bind(key.gateway.as_str())
    .bind(key.epoch.to_be_bytes().to_vec())
    .bind(bigint("number", key.number)?)
    .execute(connection)
    .await?;
    Ok(cleared.rows_affected() > 0)
}
