//! Links that stood when their device was erased.
//!
//! A gateway tells when a link comes and goes, not that it goes on standing. So when a device is
//! erased whose link stands, that is remembered apart: nobody is shown a device of which nothing is
//! kept. When the device is heard again, it is shown as linked; when its link ends first, nothing
//! of it stays here.

use sqlx::SqliteConnection;
use stencil_protocol::id::{DeviceId, TenantId};

use crate::sqlite::row::Columns as _;
use crate::{Error, LinkSeen};

/// Remembers the link of a device that is about to be erased, if it has one that stands. One that
/// is remembered already goes on being so.
pub(in crate::sqlite) async fn keep(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    device: &DeviceId,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO standing_links (tenant, device, gateway, link_changed_us) \
         SELECT tenant, device, gateway, link_changed_us FROM devices \
         WHERE tenant = $1 AND device = $2 AND connected = 1 \
         ON CONFLICT DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(device.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether any is remembered: mostly none is.
pub(super) async fn any(connection: &mut SqliteConnection) -> Result<bool, Error> {
    let found = sqlx::query("SELECT 1 FROM standing_links LIMIT 1")
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// Hands the links of devices that are there again back to them, as far as they were heard through
/// the same gateway.
pub(super) async fn hand_back(connection: &mut SqliteConnection) -> Result<(), Error> {
    sqlx::query(
        "UPDATE devices SET connected = 1, link_changed_us = s.link_changed_us \
         FROM standing_links s WHERE devices.tenant = s.tenant AND devices.device = s.device \
         AND devices.connected IS NULL AND devices.gateway IS s.gateway",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM standing_links WHERE EXISTS (SELECT 1 FROM devices d \
         WHERE d.tenant = standing_links.tenant AND d.device = standing_links.device)",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes news of a link. Returns whether that is all there is to note: a link of an erased device has
/// ended, of which nothing else came since.
pub(super) async fn hear(
    connection: &mut SqliteConnection,
    seen: &LinkSeen,
) -> Result<bool, Error> {
    let row = sqlx::query("SELECT gateway FROM standing_links WHERE tenant = $1 AND device = $2")
        .bind(seen.tenant.as_str())
        .bind(seen.device.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return Ok(false);
    };
    // A gateway notices late that a link is dead: it ends only the one that it has.
    if seen.connected || row.maybe_parsed("gateway")? == seen.gateway {
        sqlx::query("DELETE FROM standing_links WHERE tenant = $1 AND device = $2")
            .bind(seen.tenant.as_str())
            .bind(seen.device.as_str())
            .execute(connection)
            .await?;
    }
    Ok(!seen.connected)
}
