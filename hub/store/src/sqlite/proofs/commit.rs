//! What the pipeline commits of seals, what is found of them, and what is forgotten.

use sqlx::SqliteConnection;
use stencil_protocol::id::{GatewayId, TenantId};

use super::super::bulk::Bulk;
use super::super::row::{Columns as _, bigint};
use super::marks;
use crate::Error;
use crate::proofs::{MAX_SEALING_KEYS, ProofChanges, SealKey, Sealing};
use crate::seal_marks::{FoundSeal, SettledSeal};

static BATCHES: Bulk = Bulk::new(
    "INSERT INTO sealed_batches (tenant, device, boot, first, last, position, from_us, to_us, \
     received_us, body)",
    10,
    "ON CONFLICT DO NOTHING",
);

static RUNS: Bulk = Bulk::new(
    "INSERT INTO sealed_runs (tenant, device, boot, first, last, gateway, epoch, number, chunk)",
    9,
    "ON CONFLICT DO NOTHING",
);

/// Gateways that seal.
pub(in super::super) async fn load(
    connection: &mut SqliteConnection,
) -> Result<Vec<(TenantId, GatewayId)>, Error> {
    let rows = sqlx::query("SELECT tenant, gateway FROM sealing_gateways")
        .fetch_all(connection)
        .await?;
    let of = |row: &sqlx::sqlite::SqliteRow| Ok((row.parsed("tenant")?, row.parsed("gateway")?));
    rows.iter().map(of).collect()
}

/// The pipeline's part.
pub(in super::super) async fn store(
    connection: &mut SqliteConnection,
    changes: &ProofChanges,
) -> Result<(), Error> {
    for (position, one) in &changes.sealing {
        sealing(connection, *position, one).await?;
    }
    let mut batches = Vec::with_capacity(changes.batches.len());
    for batch in &changes.batches {
        batches.push((
            bigint("first", batch.first.0)?,
            bigint("last", batch.last.0)?,
            bigint("position", batch.position)?,
            batch,
        ));
    }
    BATCHES
        .execute(
            connection,
            &batches,
            |query, (first, last, position, batch)| {
                query
                    .bind(batch.tenant.as_str().to_owned())
                    .bind(batch.device.as_str().to_owned())
                    .bind(i64::from(batch.boot.0))
                    .bind(*first)
                    .bind(*last)
                    .bind(*position)
                    .bind(batch.from_us)
                    .bind(batch.to_us)
                    .bind(batch.received_us)
                    .bind(batch.body.as_ref())
            },
        )
        .await?;
    for seal in &changes.seals {
        sqlx::query(
            "INSERT INTO seals (tenant, gateway, epoch, number, hash, record, state, received_us, \
             changed_us) VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $7) ON CONFLICT DO NOTHING",
        )
        .bind(seal.key.tenant.as_str())
        .bind(seal.key.gateway.as_str())
        .bind(seal.key.epoch.to_be_bytes().to_vec())
        .bind(bigint("number", seal.key.number)?)
        .bind(seal.hash.to_vec())
        .bind(seal.record.clone())
        .bind(seal.received_us)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn sealing(
    connection: &mut SqliteConnection,
    position: u64,
    one: &Sealing,
) -> Result<(), Error> {
    let (tenant, gateway) = (one.tenant.as_str(), one.gateway.as_str());
    let Some((fingerprint, certificate)) = &one.certificate else {
        sqlx::query("DELETE FROM sealing_gateways WHERE tenant = $1 AND gateway = $2")
            .bind(tenant)
            .bind(gateway)
            .execute(connection)
            .await?;
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO sealing_gateways (tenant, gateway, epoch) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant, gateway) DO UPDATE SET epoch = excluded.epoch",
    )
    .bind(tenant)
    .bind(gateway)
    .bind(one.epoch.to_be_bytes().to_vec())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO sealing_keys (tenant, gateway, fingerprint, certificate, position) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, gateway, fingerprint) \
         DO UPDATE SET position = excluded.position",
    )
    .bind(tenant)
    .bind(gateway)
    .bind(fingerprint.to_vec())
    .bind(certificate.clone())
    .bind(bigint("position", position)?)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM sealing_keys WHERE tenant = $1 AND gateway = $2 AND position < \
         (SELECT position FROM sealing_keys WHERE tenant = $1 AND gateway = $2 \
         ORDER BY position DESC LIMIT 1 OFFSET $3)",
    )
    .bind(tenant)
    .bind(gateway)
    .bind(i64::from(MAX_SEALING_KEYS) - 1)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn settle(
    connection: &mut SqliteConnection,
    key: &SealKey,
    found: &FoundSeal<'_>,
    now_us: i64,
) -> Result<SettledSeal, Error> {
    let (epoch, number) = (
        key.epoch.to_be_bytes().to_vec(),
        bigint("number", key.number)?,
    );
    let settled = sqlx::query(
        "UPDATE seals SET state = $5, why = $6, changed_us = $7 WHERE tenant = $1 \
         AND gateway = $2 AND epoch = $3 AND number = $4 AND state = 'pending'",
    )
    .bind(key.tenant.as_str())
    .bind(key.gateway.as_str())
    .bind(epoch.clone())
    .bind(number)
    .bind(found.state.as_str())
    .bind(found.why)
    .bind(now_us)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if settled == 0 {
        return Ok(SettledSeal::default());
    }
    let mut rows = Vec::with_capacity(found.runs.len());
    for run in found.runs {
        rows.push((
            bigint("first", run.first.0)?,
            bigint("last", run.last.0)?,
            run,
        ));
    }
    RUNS.execute(&mut *connection, &rows, |query, (first, last, run)| {
        query
            .bind(key.tenant.as_str().to_owned())
            .bind(run.device.as_str().to_owned())
            .bind(i64::from(run.boot.0))
            .bind(*first)
            .bind(*last)
            .bind(key.gateway.as_str().to_owned())
            .bind(epoch.clone())
            .bind(number)
            .bind(i64::from(run.chunk))
    })
    .await?;
    match &found.distrust {
        Some(distrust) => marks::distrust(connection, key, distrust, now_us).await,
        None => Ok(SettledSeal {
            is_news: true,
            ..SettledSeal::default()
        }),
    }
}

/// Batches, and seals with their runs; the anchors themselves are small, and stay.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    before_us: i64,
    limit: u32,
) -> Result<u64, Error> {
    let mut forgotten = 0;
    for statement in [
        "DELETE FROM sealed_batches WHERE rowid IN (SELECT rowid FROM sealed_batches \
         WHERE received_us < $2 AND tenant = $1 LIMIT $3)",
        "DELETE FROM sealed_runs WHERE tenant = $1 AND (gateway, epoch, number) IN \
         (SELECT gateway, epoch, number FROM seals WHERE tenant = $1 AND received_us < $2 \
         ORDER BY received_us LIMIT $3)",
        // Those of an anchor are its leaves: they go when all of it is old.
        "DELETE FROM seals WHERE rowid IN (SELECT rowid FROM seals WHERE tenant = $1 \
         AND received_us < $2 AND (anchor IS NULL OR anchor < (SELECT MAX(anchor) FROM seals \
         WHERE tenant = $1 AND received_us < $2)) ORDER BY received_us LIMIT $3)",
    ] {
        forgotten += sqlx::query(statement)
            .bind(tenant.as_str())
            .bind(before_us)
            .bind(i64::from(limit))
            .execute(&mut *connection)
            .await?
            .rows_affected();
    }
    Ok(forgotten)
}
