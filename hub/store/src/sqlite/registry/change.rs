//! Births, enrolments, revocations and new keys.

use sqlx::SqliteConnection;
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};

use super::super::commands;
use super::super::failure::of_tenant;
use super::super::row::{Columns as _, bigint};
use super::{epoch, gateways, place};
use crate::{Born, Enrolled, Enrolment, Error, Moved, NewBirth, NewKey, Renewal, Renewed};

/// See [`crate::Registry::renumber`].
pub(super) async fn renumber(connection: &mut SqliteConnection) -> Result<(), Error> {
    let rows = sqlx::query("SELECT tenant, gateway FROM gateway_keys")
        .fetch_all(&mut *connection)
        .await?;
    for row in rows {
        sqlx::query(
            "UPDATE gateway_keys SET epoch = $3, held = 0 WHERE tenant = $1 AND gateway = $2",
        )
        .bind(row.text("tenant")?)
        .bind(row.text("gateway")?)
        .bind(epoch()?)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Keeps a birth.
pub(super) async fn bear(
    connection: &mut SqliteConnection,
    birth: &NewBirth,
    now_us: i64,
) -> Result<Born, Error> {
    let made = sqlx::query(
        "INSERT INTO births (identity, code_tag, psk, born_us) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING",
    )
    .bind(birth.identity.as_str())
    .bind(birth.code_tag.to_vec())
    .bind(birth.psk.clone())
    .bind(now_us)
    .execute(&mut *connection)
    .await?;
    if made.rows_affected() == 1 {
        return Ok(Born::Made);
    }
    let row = sqlx::query("SELECT code_tag, claimed_us FROM births WHERE identity = $1")
        .bind(birth.identity.as_str())
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else {
        return Ok(Born::Differs);
    };
    if row.maybe_int("claimed_us")?.is_some() {
        return Ok(Born::Claimed);
    }
    Ok(match row.maybe_bytes("code_tag")? {
        Some(tag) if tag == birth.code_tag => Born::Known,
        _ => Born::Differs,
    })
}

/// Takes a device in.
pub(super) async fn enrol(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    enrolment: &Enrolment,
    max_devices: u32,
    now_us: i64,
) -> Result<Enrolled, Error> {
    let device = &enrolment.device;
    let held = sqlx::query(
        "SELECT r.gateway, r.revoked, r.generation, \
         EXISTS (SELECT 1 FROM device_keys k WHERE k.tenant = r.tenant AND k.device = r.device \
           AND k.psk IS NOT NULL AND k.psk_tag = $3) AS same_key \
         FROM registrations r WHERE r.tenant = $1 AND r.device = $2",
    )
    .bind(tenant.as_str())
    .bind(device.as_str())
    .bind(enrolment.key.tag.to_vec())
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(held) = held {
        let gateway: Option<GatewayId> = held.maybe_parsed("gateway")?;
        return Ok(if held.flag("revoked")? {
            Enrolled::Revoked
        } else if !held.flag("same_key")? {
            Enrolled::OtherKey
        } else if gateway.as_ref() != Some(&enrolment.gateway) {
            Enrolled::OtherGateway(gateway)
        } else {
            Enrolled::Unchanged
        });
    }
    if let Some(taken) = taken(connection, tenant, device, &enrolment.key).await? {
        return Ok(taken);
    }
    let gateway = &enrolment.gateway;
    // Before the code is used: a slip in the gateway's name costs nothing.
    if !gateways::has(connection, tenant, gateway).await? {
        return Ok(Enrolled::NoSuchGateway);
    }
    if gateways::devices(connection, tenant, gateway).await? >= i64::from(max_devices) {
        return Ok(Enrolled::Full);
    }
    if !use_up(
        connection,
        enrolment.code_tag.as_ref(),
        &enrolment.key,
        now_us,
    )
    .await?
    {
        return Ok(Enrolled::NoSuchCode);
    }
    sqlx::query(
        "INSERT INTO registrations \
         (tenant, device, gateway, revoked, refused, generation, enrolled_us, changed_us) \
         VALUES ($1, $2, $3, 0, 0, 1, $4, $4)",
    )
    .bind(tenant.as_str())
    .bind(device.as_str())
    .bind(enrolment.gateway.as_str())
    .bind(now_us)
    .execute(&mut *connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    let (key, code_tag) = (&enrolment.key, enrolment.code_tag.as_ref());
    keep(connection, tenant, device, 1, key, code_tag, now_us).await?;
    place(connection, tenant, &enrolment.gateway, device, true).await?;
    Ok(Enrolled::Made)
}

/// Revokes a device.
pub(super) async fn revoke(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    device: &DeviceId,
    now_us: i64,
) -> Result<bool, Error> {
    let held =
        sqlx::query("SELECT gateway, revoked FROM registrations WHERE tenant = $1 AND device = $2")
            .bind(tenant.as_str())
            .bind(device.as_str())
            .fetch_optional(&mut *connection)
            .await?;
    let gateway: Option<GatewayId> = match held {
        Some(held) if held.flag("revoked")? => return Ok(false),
        Some(held) => {
            sqlx::query(
                "UPDATE registrations SET revoked = 1, revoked_us = $3, changed_us = $3 \
                 WHERE tenant = $1 AND device = $2",
            )
            .bind(tenant.as_str())
            .bind(device.as_str())
            .bind(now_us)
            .execute(&mut *connection)
            .await?;
            held.maybe_parsed("gateway")?
        }
        None => heard(connection, tenant, device, now_us).await?,
    };
    end_keys(connection, tenant, device, "revoked", now_us).await?;
    commands::revoked(connection, tenant, device, now_us).await?;
    if let Some(gateway) = gateway {
        place(connection, tenant, &gateway, device, false).await?;
    }
    Ok(true)
}

/// See [`crate::Registry::move_device`].
pub(super) async fn move_to(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    device: &DeviceId,
    gateway: &GatewayId,
    max_devices: u32,
    now_us: i64,
) -> Result<Moved, Error> {
    let held =
        sqlx::query("SELECT gateway, revoked FROM registrations WHERE tenant = $1 AND device = $2")
            .bind(tenant.as_str())
            .bind(device.as_str())
            .fetch_optional(&mut *connection)
            .await?
            .ok_or_else(|| Error::not_found("registration of device", device))?;
    let before: Option<GatewayId> = held.maybe_parsed("gateway")?;
    let revoked = held.flag("revoked")?;
    if !gateways::has(connection, tenant, gateway).await? {
        return Ok(Moved::NoSuchGateway);
    }
    if before.as_ref() == Some(gateway) {
        return Ok(Moved::Unchanged);
    }
    if gateways::devices(connection, tenant, gateway).await? >= i64::from(max_devices) {
        return Ok(Moved::Full);
    }
    sqlx::query(
        "UPDATE registrations SET gateway = $3, changed_us = $4 WHERE tenant = $1 AND device = $2",
    )
    .bind(tenant.as_str())
    .bind(device.as_str())
    .bind(gateway.as_str())
    .bind(now_us)
    .execute(&mut *connection)
    .await?;
    if let Some(before) = &before {
        leave(connection, tenant, before, device).await?;
    }
    place(connection, tenant, gateway, device, !revoked).await?;
    Ok(Moved::From(before))
}

/// Has a gateway forget a device that is at another one now.
async fn leave(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    gateway: &GatewayId,
    device: &DeviceId,
) -> Result<(), Error> {
    if gateways::has(connection, tenant, gateway).await? {
        return place(connection, tenant, gateway, device, false).await;
    }
    // There is no such gateway that could have its key: it was named by a slip.
    sqlx::query("DELETE FROM placements WHERE tenant = $1 AND gateway = $2 AND device = $3")
        .bind(tenant.as_str())
        .bind(gateway.as_str())
        .bind(device.as_str())
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "DELETE FROM gateway_keys WHERE tenant = $1 AND gateway = $2 AND NOT EXISTS \
         (SELECT 1 FROM placements p WHERE p.tenant = $1 AND p.gateway = $2)",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Registers a device that was only ever heard, as revoked. Returns its gateway.
async fn heard(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    device: &DeviceId,
    now_us: i64,
) -> Result<Option<GatewayId>, Error> {
    let row = sqlx::query("SELECT gateway FROM devices WHERE tenant = $1 AND device = $2")
        .bind(tenant.as_str())
        .bind(device.as_str())
        .fetch_optional(&mut *connection)
        .await?
        .ok_or_else(|| Error::not_found("device", device))?;
    let gateway: Option<GatewayId> = row.maybe_parsed("gateway")?;
    sqlx::query(
        "INSERT INTO registrations (tenant, device, gateway, revoked, refused, generation, \
         enrolled_us, changed_us, revoked_us) VALUES ($1, $2, $3, 1, 0, 0, $4, $4, $4)",
    )
    .bind(tenant.as_str())
    .bind(device.as_str())
    .bind(gateway.as_ref().map(GatewayId::as_str))
    .bind(now_us)
    .execute(connection)
    .await?;
    Ok(gateway)
}

/// Gives a device its next key.
pub(super) async fn renew(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    renewed: &Renewed,
    now_us: i64,
) -> Result<Enrolled, Error> {
    let Renewed {
        device, key, how, ..
    } = renewed;
    let held = sqlx::query(
        "SELECT r.gateway, r.revoked, r.generation, \
         (SELECT COUNT(*) FROM device_keys k WHERE k.tenant = r.tenant AND k.device = r.device \
           AND k.psk IS NOT NULL) AS live_keys \
         FROM registrations r WHERE r.tenant = $1 AND r.device = $2",
    )
    .bind(tenant.as_str())
    .bind(device.as_str())
    .fetch_optional(&mut *connection)
    .await?
    .ok_or_else(|| Error::not_found("registration of device", device))?;
    let generation: u64 = held.number("generation")?;
    if generation != renewed.after {
        return Err(Error::Conflict(format!(
            "device {device} has got another key meanwhile, its number is {generation}"
        )));
    }
    if *how == Renewal::Rotate {
        if held.flag("revoked")? {
            return Ok(Enrolled::Revoked);
        }
        match held.int("live_keys")? {
            1 => {}
            0 => {
                return Err(Error::Conflict(format!(
                    "the hub has no key of device {device} that could be rotated; replace it"
                )));
            }
            _ => {
                return Err(Error::Conflict(format!(
                    "key {generation} of device {device} is on its way to it and was not used yet"
                )));
            }
        }
    }
    let Some(gateway) = held.maybe_parsed::<GatewayId>("gateway")? else {
        return Err(Error::Conflict(format!(
            "device {device} has no gateway that could be given its key"
        )));
    };
    if let Some(taken) = taken(connection, tenant, device, key).await? {
        return Ok(taken);
    }
    if !use_up(connection, renewed.code_tag.as_ref(), key, now_us).await? {
        return Ok(Enrolled::NoSuchCode);
    }
    if *how == Renewal::Replace {
        end_keys(connection, tenant, device, "replaced", now_us).await?;
    }
    sqlx::query(
        "UPDATE registrations SET generation = $3, changed_us = $4, revoked = 0, \
         revoked_us = NULL WHERE tenant = $1 AND device = $2",
    )
    .bind(tenant.as_str())
    .bind(device.as_str())
    .bind(bigint("generation", generation + 1)?)
    .bind(now_us)
    .execute(&mut *connection)
    .await?;
    let (next, code_tag) = (generation + 1, renewed.code_tag.as_ref());
    keep(connection, tenant, device, next, key, code_tag, now_us).await?;
    place(connection, tenant, &gateway, device, true).await?;
    Ok(Enrolled::Made)
}

/// What another device has of a key: no two may share one, or speak by the same name.
async fn taken(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    device: &DeviceId,
    key: &NewKey,
) -> Result<Option<Enrolled>, Error> {
    let row = sqlx::query("SELECT device FROM device_keys WHERE tenant = $1 AND psk_tag = $2")
        .bind(tenant.as_str())
        .bind(key.tag.to_vec())
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = row {
        return Ok(Some(Enrolled::KeyTaken(row.parsed("device")?)));
    }
    let row = sqlx::query(
        "SELECT device FROM device_keys WHERE tenant = $1 AND identity = $2 \
         AND psk IS NOT NULL AND device <> $3 LIMIT 1",
    )
    .bind(tenant.as_str())
    .bind(key.identity.as_str())
    .bind(device.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(row) = row {
        return Ok(Some(Enrolled::IdentityTaken(row.parsed("device")?)));
    }
    Ok(None)
}

/// Uses a claim code up; `false` if it opens nothing (any more). Without one there is nothing to
/// do.
async fn use_up(
    connection: &mut SqliteConnection,
    code_tag: Option<&[u8; 32]>,
    key: &NewKey,
    now_us: i64,
) -> Result<bool, Error> {
    let Some(code_tag) = code_tag else {
        return Ok(true);
    };
    let used = sqlx::query(
        "UPDATE births SET code_tag = NULL, psk = NULL, claimed_us = $3 \
         WHERE code_tag = $1 AND identity = $2 AND psk IS NOT NULL",
    )
    .bind(code_tag.to_vec())
    .bind(key.identity.as_str())
    .bind(now_us)
    .execute(connection)
    .await?;
    Ok(used.rows_affected() == 1)
}

async fn keep(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    device: &DeviceId,
    generation: u64,
    key: &NewKey,
    code_tag: Option<&[u8; 32]>,
    now_us: i64,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO device_keys \
         (tenant, device, generation, identity, psk, psk_tag, made_us, code_tag) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(tenant.as_str())
    .bind(device.as_str())
    .bind(bigint("generation", generation)?)
    .bind(key.identity.as_str())
    .bind(key.psk.clone())
    .bind(key.tag.to_vec())
    .bind(now_us)
    .bind(code_tag.map(|tag| tag.to_vec()))
    .execute(connection)
    .await?;
    Ok(())
}

async fn end_keys(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    device: &DeviceId,
    why: &str,
    now_us: i64,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE device_keys SET psk = NULL, ended_us = $4, ended_why = $3 \
         WHERE tenant = $1 AND device = $2 AND psk IS NOT NULL",
    )
    .bind(tenant.as_str())
    .bind(device.as_str())
    .bind(why)
    .bind(now_us)
    .execute(connection)
    .await?;
    Ok(())
}
