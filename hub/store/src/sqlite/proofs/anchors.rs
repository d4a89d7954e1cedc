//! Anchors, and where they are made.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::TenantId;

use super::super::failure::of_tenant;
use super::super::row::{Columns as _, bigint};
use crate::Error;
use crate::proofs::{AnchorSeals, Anchoring, SealKey, StoredAnchor};

pub(super) fn anchoring(row: &SqliteRow) -> Result<Anchoring, Error> {
    Ok(Anchoring {
        chain: row.text("chain")?,
        interval_s: row.number("interval_s")?,
    })
}

pub(super) fn anchor(row: &SqliteRow) -> Result<StoredAnchor, Error> {
    Ok(StoredAnchor {
        anchor: row.number("anchor")?,
        body: row.text("body")?,
        open: row.flag("open")?,
    })
}

pub(super) async fn set_anchoring(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    anchoring: Option<&Anchoring>,
    now_us: i64,
) -> Result<(), Error> {
    let Some(anchoring) = anchoring else {
        sqlx::query("DELETE FROM anchoring WHERE tenant = $1")
            .bind(tenant.as_str())
            .execute(connection)
            .await?;
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO anchoring (tenant, chain, interval_s, changed_us) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant) DO UPDATE SET chain = excluded.chain, \
         interval_s = excluded.interval_s, changed_us = excluded.changed_us",
    )
    .bind(tenant.as_str())
    .bind(&anchoring.chain)
    .bind(bigint("interval_s", anchoring.interval_s)?)
    .bind(now_us)
    .execute(connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    Ok(())
}

/// An anchor, and what becomes of its seals.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    anchor: &StoredAnchor,
    seals: AnchorSeals<'_>,
    now_us: i64,
) -> Result<bool, Error> {
    let number = bigint("anchor", anchor.anchor)?;
    let statement = match seals {
        AnchorSeals::Take(_) => {
            "INSERT INTO anchors (tenant, anchor, body, open, changed_us) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"
        }
        AnchorSeals::Keep | AnchorSeals::Release => {
            "UPDATE anchors SET body = $3, open = $4, changed_us = $5 \
             WHERE tenant = $1 AND anchor = $2"
        }
    };
    let is_put = sqlx::query(statement)
        .bind(tenant.as_str())
        .bind(number)
        .bind(&anchor.body)
        .bind(i64::from(anchor.open))
        .bind(now_us)
        .execute(&mut *connection)
        .await
        .map_err(|error| of_tenant(error, tenant.as_str()))?
        .rows_affected()
        > 0;
    match seals {
        AnchorSeals::Take(keys) if is_put => take(connection, tenant, number, keys).await?,
        AnchorSeals::Release if is_put => release(connection, tenant, number).await?,
        _ => {}
    }
    Ok(is_put)
}

async fn take(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    number: i64,
    keys: &[SealKey],
) -> Result<(), Error> {
    for (leaf, key) in (0_i64..).zip(keys) {
        let taken = sqlx::query(
            "UPDATE seals SET anchor = $5, leaf = $6 WHERE tenant = $1 AND gateway = $2 \
             AND epoch = $3 AND number = $4 AND state = 'verified' AND anchor IS NULL",
        )
        .bind(tenant.as_str())
        .bind(key.gateway.as_str())
        .bind(key.epoch.to_be_bytes().to_vec())
        .bind(bigint("number", key.number)?)
        .bind(number)
        .bind(leaf)
        .execute(&mut *connection)
        .await?
        .rows_affected();
        if taken != 1 {
            return Err(Error::Conflict(format!(
                "seal {} of {} is in an anchor already, or is not there any more",
                key.number, key.gateway
            )));
        }
    }
    Ok(())
}

async fn release(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    number: i64,
) -> Result<(), Error> {
    sqlx::query("UPDATE seals SET anchor = NULL, leaf = NULL WHERE tenant = $1 AND anchor = $2")
        .bind(tenant.as_str())
        .bind(number)
        .execute(connection)
        .await?;
    Ok(())
}
