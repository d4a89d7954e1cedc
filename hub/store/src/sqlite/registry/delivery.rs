//! What a gateway is to be sent next.

use sqlx::SqliteConnection;
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};

use super::super::row::Columns as _;
use crate::page::clamp;
use crate::{Delivery, Error, Placed};

/// See [`crate::Registry::delivery`].
pub(super) async fn next(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    gateway: &GatewayId,
    limit: u32,
) -> Result<Option<Delivery>, Error> {
    let row = sqlx::query(
        "SELECT epoch, revision, held, public_key FROM gateway_keys \
         WHERE tenant = $1 AND gateway = $2 AND held < revision AND public_key IS NOT NULL",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let held = row.int("held")?;
    let limit = clamp(limit);
    let rows = sqlx::query(
        "SELECT p.device, p.revision, p.present, \
         COALESCE((SELECT k.identity FROM device_keys k WHERE k.tenant = p.tenant \
           AND k.device = p.device ORDER BY k.generation DESC LIMIT 1), p.device) AS identity \
         FROM placements p WHERE p.tenant = $1 AND p.gateway = $2 AND p.revision > $3 \
         ORDER BY p.revision LIMIT $4",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .bind(held)
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await?;
    // After the last entry nothing else waits: also not what was changed again since.
    let through = match rows.last() {
        Some(last) if rows.len() >= limit as usize => last.int("revision")?,
        _ => row.int("revision")?,
    };
    let mut entries = Vec::with_capacity(rows.len());
    for entry in &rows {
        let device: DeviceId = entry.parsed("device")?;
        let keys = match entry.flag("present")? {
            true => keys(connection, tenant, &device).await?,
            false => Vec::new(),
        };
        entries.push(Placed {
            identity: entry.parsed("identity")?,
            device,
            keys,
        });
    }
    Ok(Some(Delivery {
        epoch: row.number("epoch")?,
        after: u64::try_from(held).unwrap_or(0),
        through: u64::try_from(through).unwrap_or(0),
        last: row.number("revision")?,
        public_key: row.bytes("public_key")?,
        entries,
    }))
}

async fn keys(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    device: &DeviceId,
) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let rows = sqlx::query(
        "SELECT generation, psk FROM device_keys WHERE tenant = $1 AND device = $2 \
         AND psk IS NOT NULL ORDER BY generation",
    )
    .bind(tenant.as_str())
    .bind(device.as_str())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok((row.number("generation")?, row.bytes("psk")?)))
        .collect()
}
