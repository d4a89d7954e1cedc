//! Which gateways a tenant has, and what is known of each.

use sqlx::{SqliteConnection, SqlitePool};
use stencil_protocol::id::{GatewayId, TenantId};

use super::super::audit;
use super::super::failure::of_tenant;
use super::super::row::Columns as _;
use super::epoch;
use crate::{
    AuditOutcome, Error, GatewayHolds, GatewayRekeyed, MAX_PAGE, NewAudit, RegisteredGateway,
};

/// Between two audit entries that a gateway has another key.
const AGAIN_US: i64 = 10 * 60 * 1_000_000;

/// See [`crate::Registry::add_gateway`].
pub(in crate::sqlite) async fn add(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    gateway: &GatewayId,
    now_us: i64,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO gateway_keys (tenant, gateway, epoch, revision, held, added_us) \
         VALUES ($1, $2, $3, 0, 0, $4) ON CONFLICT (tenant, gateway) DO UPDATE SET \
         added_us = excluded.added_us",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .bind(epoch()?)
    .bind(now_us)
    .execute(connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    Ok(())
}

/// Whether the tenant has this gateway.
pub(in crate::sqlite) async fn has(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    gateway: &GatewayId,
) -> Result<bool, Error> {
    let row = sqlx::query(
        "SELECT 1 FROM gateway_keys WHERE tenant = $1 AND gateway = $2 AND added_us IS NOT NULL",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(row.is_some())
}

/// How many devices a gateway's list names.
pub(super) async fn devices(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    gateway: &GatewayId,
) -> Result<i64, Error> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS devices FROM placements WHERE tenant = $1 AND gateway = $2",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .fetch_one(connection)
    .await?;
    row.int("devices")
}

/// See [`crate::Registry::gateway_ids`].
pub(super) async fn ids(readers: &SqlitePool, tenant: &TenantId) -> Result<Vec<GatewayId>, Error> {
    let rows = sqlx::query(
        "SELECT gateway FROM gateway_keys WHERE tenant = $1 AND added_us IS NOT NULL \
         ORDER BY gateway LIMIT $2",
    )
    .bind(tenant.as_str())
    .bind(i64::from(MAX_PAGE))
    .fetch_all(readers)
    .await?;
    rows.iter().map(|row| row.parsed("gateway")).collect()
}

/// See [`crate::Registry::registered_gateways`].
pub(super) async fn registered(
    readers: &SqlitePool,
    tenant: &TenantId,
) -> Result<Vec<RegisteredGateway>, Error> {
    let rows = sqlx::query(
        "SELECT g.gateway, g.registered_us, g.rekeyed_us, g.contested_us, \
         (SELECT COUNT(*) FROM placements p WHERE p.tenant = g.tenant \
           AND p.gateway = g.gateway AND p.present = 1) AS devices, \
         (SELECT COUNT(*) FROM placements p WHERE p.tenant = g.tenant \
           AND p.gateway = g.gateway AND p.revision > g.held) AS waiting \
         FROM gateway_keys g WHERE g.tenant = $1 AND g.added_us IS NOT NULL \
         ORDER BY g.gateway LIMIT $2",
    )
    .bind(tenant.as_str())
    .bind(i64::from(MAX_PAGE))
    .fetch_all(readers)
    .await?;
    let gateways = rows.iter().map(|row| {
        Ok(RegisteredGateway {
            gateway: row.parsed("gateway")?,
            registered_us: row.maybe_int("registered_us")?,
            devices: row.number("devices")?,
            waiting: row.number("waiting")?,
            rekeyed_us: row.maybe_int("rekeyed_us")?,
            contested_us: row.maybe_int("contested_us")?,
        })
    });
    gateways.collect()
}

/// A gateway says its key. Another one than before is not refused: only who has the gateway's own
/// certificate can say so, and it may have been set up anew. But it is given all keys of its
/// devices, so that stands in the audit log.
pub(super) async fn has_key(
    connection: &mut SqliteConnection,
    holds: &GatewayHolds,
    key: &[u8],
) -> Result<Option<GatewayRekeyed>, Error> {
    let (tenant, gateway, now_us) = (&holds.tenant, &holds.gateway, holds.received_us);
    let row = sqlx::query(
        "SELECT public_key, registered_us, added_us, rekeyed_us, revoked_us FROM gateway_keys \
         WHERE tenant = $1 AND gateway = $2",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .fetch_one(&mut *connection)
    .await?;
    if row.maybe_int("revoked_us")?.is_some() {
        // It was logged before the gateway was revoked.
        return Ok(None);
    }
    let before = row.maybe_bytes("public_key")?;
    if before.as_deref() == Some(key) {
        return Ok(None);
    }
    let rekeyed_us = before.as_ref().map(|_| now_us);
    sqlx::query(
        "UPDATE gateway_keys SET public_key = $3, registered_us = $4, \
         rekeyed_us = COALESCE($5, rekeyed_us) WHERE tenant = $1 AND gateway = $2",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .bind(key)
    .bind(now_us)
    .bind(rekeyed_us)
    .execute(&mut *connection)
    .await?;
    if before.is_none() {
        return Ok(None);
    }
    let added_again = row.maybe_int("added_us")? > row.maybe_int("registered_us")?;
    // Two that take the gateway's place from each other in turn do not push the rest out.
    let lately = row
        .maybe_int("rekeyed_us")?
        .is_some_and(|at_us| (at_us..at_us.saturating_add(AGAIN_US)).contains(&now_us));
    if !lately || added_again {
        let detail = match added_again {
            true => {
                "it was added again, and has another key now: its devices' keys are sealed to that"
            }
            false => {
                "it has another key than before without having been added again, and its devices' \
                 keys are sealed to that: who has its certificate?"
            }
        };
        let (action, outcome) = ("gateways.rekey", AuditOutcome::Done);
        note(connection, tenant, gateway, action, outcome, detail, now_us).await?;
    }
    Ok(Some(GatewayRekeyed {
        tenant: tenant.clone(),
        gateway: gateway.clone(),
        added_again,
    }))
}

/// See [`crate::Registry::contested`].
pub(super) async fn contested(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    gateway: &GatewayId,
    now_us: i64,
) -> Result<(), Error> {
    sqlx::query("UPDATE gateway_keys SET contested_us = $3 WHERE tenant = $1 AND gateway = $2")
        .bind(tenant.as_str())
        .bind(gateway.as_str())
        .bind(now_us)
        .execute(&mut *connection)
        .await?;
    let detail = "two connections took its place from each other again and again: somebody else has \
                  its certificate, or two run from copies of one folder";
    let (action, outcome) = ("gateways.contest", AuditOutcome::Done);
    note(connection, tenant, gateway, action, outcome, detail, now_us).await
}

/// Writes down what a gateway did.
pub(in crate::sqlite) async fn note(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    gateway: &GatewayId,
    action: &str,
    outcome: AuditOutcome,
    detail: &str,
    now_us: i64,
) -> Result<(), Error> {
    let entry = NewAudit {
        at_us: now_us,
        who: format!("gateway {gateway}"),
        action: action.to_owned(),
        target: Some(gateway.to_string()),
        outcome,
        detail: Some(detail.to_owned()),
        address: None,
    };
    audit::append(connection, tenant, &entry).await?;
    Ok(())
}
