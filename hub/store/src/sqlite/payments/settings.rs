//! How tenants take payments.

use sqlx::{SqliteConnection, SqlitePool};
use stencil_protocol::id::TenantId;

use super::super::failure::of_tenant;
use super::super::row::{Columns as _, bigint};
use super::payees;
use crate::Error;

pub(super) async fn of(pool: &SqlitePool, tenant: &TenantId) -> Result<Option<String>, Error> {
    let row = sqlx::query("SELECT body FROM payment_settings WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_optional(pool)
        .await?;
    row.map(|row| row.text("body")).transpose()
}

pub(super) async fn all(pool: &SqlitePool) -> Result<Vec<(TenantId, String)>, Error> {
    let rows = sqlx::query("SELECT tenant, body FROM payment_settings ORDER BY tenant")
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| Ok((row.parsed("tenant")?, row.text("body")?)))
        .collect()
}

pub(super) async fn set(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    body: &str,
    payees: &[(u64, [u8; 20])],
    now_us: i64,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO payment_settings (tenant, body, changed_us) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant) DO UPDATE SET body = excluded.body, changed_us = excluded.changed_us",
    )
    .bind(tenant.as_str())
    .bind(body)
    .bind(now_us)
    .execute(&mut *connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    sqlx::query("DELETE FROM payment_payees WHERE tenant = $1")
        .bind(tenant.as_str())
        .execute(&mut *connection)
        .await?;
    payees::check(connection, tenant, payees).await?;
    for (chain, address) in payees {
        sqlx::query(
            "INSERT INTO payment_payees (chain, address, tenant) VALUES ($1, $2, $3) \
             ON CONFLICT (chain, address) DO NOTHING",
        )
        .bind(bigint("chain id", *chain)?)
        .bind(address.to_vec())
        .bind(tenant.as_str())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
