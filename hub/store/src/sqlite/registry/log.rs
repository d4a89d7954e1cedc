//! What the pipeline says of registrations.

use sqlx::SqliteConnection;
use stencil_protocol::id::{DeviceId, TenantId};

use super::super::failure::of_tenant;
use super::super::row::{Columns as _, bigint};
use super::{epoch, gateways};
use crate::{Commit, Error, GatewayHolds, GatewayRekeyed, KeyUsed};

/// Stores what a commit says. Returns the gateways that came with another key than before.
pub(in crate::sqlite) async fn store(
    connection: &mut SqliteConnection,
    commit: &Commit,
) -> Result<Vec<GatewayRekeyed>, Error> {
    let mut rekeyed = Vec::new();
    for admission in &commit.admissions {
        sqlx::query("UPDATE registrations SET refused = $3 WHERE tenant = $1 AND device = $2")
            .bind(admission.tenant.as_str())
            .bind(admission.device.as_str())
            .bind(i64::from(admission.refused))
            .execute(&mut *connection)
            .await?;
    }
    for holds in &commit.holds {
        rekeyed.extend(hold(connection, holds).await?);
    }
    for used in &commit.keys_used {
        use_key(connection, used).await?;
    }
    Ok(rekeyed)
}

/// Devices that are refused.
pub(in crate::sqlite) async fn refused(
    connection: &mut SqliteConnection,
) -> Result<Vec<(TenantId, DeviceId)>, Error> {
    let rows = sqlx::query("SELECT tenant, device FROM registrations WHERE refused <> 0")
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| Ok((row.parsed("tenant")?, row.parsed("device")?)))
        .collect()
}

async fn hold(
    connection: &mut SqliteConnection,
    holds: &GatewayHolds,
) -> Result<Option<GatewayRekeyed>, Error> {
    // A number that no list of ours reaches is as good as none.
    let said = i64::try_from(holds.revision).unwrap_or(i64::MAX);
    let of = i64::try_from(holds.epoch).unwrap_or(0);
    sqlx::query(
        "INSERT INTO gateway_keys (tenant, gateway, epoch, revision, held) \
         VALUES ($1, $2, $3, 0, 0) ON CONFLICT (tenant, gateway) DO NOTHING",
    )
    .bind(holds.tenant.as_str())
    .bind(holds.gateway.as_str())
    .bind(epoch()?)
    .execute(&mut *connection)
    .await
    .map_err(|error| of_tenant(error, holds.tenant.as_str()))?;
    // A gateway that holds more of this list than there is: this database was restored from a
    // backup, and the list began to be another one. It gets a name of its own.
    sqlx::query(
        "UPDATE gateway_keys SET held = CASE WHEN epoch <> $3 OR revision < $4 THEN 0 ELSE $4 END, \
         epoch = CASE WHEN epoch = $3 AND revision < $4 THEN $5 ELSE epoch END, \
         added_us = COALESCE(added_us, $6) \
         WHERE tenant = $1 AND gateway = $2",
    )
    .bind(holds.tenant.as_str())
    .bind(holds.gateway.as_str())
    .bind(of)
    .bind(said)
    .bind(epoch()?)
    .bind(holds.received_us)
    .execute(&mut *connection)
    .await?;
    if let Some(key) = &holds.public_key {
        return gateways::has_key(connection, holds, key).await;
    }
    Ok(None)
}

/// The keys before one that was used are gone, if the device's own gateway says so: who else says it
/// would end the only key that the device may have.
async fn use_key(connection: &mut SqliteConnection, used: &KeyUsed) -> Result<(), Error> {
    let generation = bigint("generation", used.generation)?;
    let known = sqlx::query(
        "UPDATE device_keys SET used_us = COALESCE(used_us, $4) \
         WHERE tenant = $1 AND device = $2 AND generation = $3 AND psk IS NOT NULL \
         AND EXISTS (SELECT 1 FROM registrations r WHERE r.tenant = $1 AND r.device = $2 \
           AND r.gateway = $5)",
    )
    .bind(used.tenant.as_str())
    .bind(used.device.as_str())
    .bind(generation)
    .bind(used.at_us)
    .bind(used.gateway.as_str())
    .execute(&mut *connection)
    .await?;
    if known.rows_affected() == 0 {
        tracing::debug!(tenant = %used.tenant, gateway = %used.gateway, device = %used.device, generation,
            "a gateway says that a device has used a key that is over, or that it has not got");
        return Ok(());
    }
    sqlx::query(
        "UPDATE device_keys SET psk = NULL, ended_us = $4, ended_why = 'rotated' \
         WHERE tenant = $1 AND device = $2 AND generation < $3 AND psk IS NOT NULL",
    )
    .bind(used.tenant.as_str())
    .bind(used.device.as_str())
    .bind(generation)
    .bind(used.at_us)
    .execute(connection)
    .await?;
    Ok(())
}
