//! What gateways shall be like.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};
use sqlx::SqliteConnection;
use stencil_protocol::desired::{Digest, Section};
use stencil_protocol::id::{GatewayId, TenantId};

use super::super::failure::of_tenant;
use super::super::registry::epoch;
use super::super::row::{Columns as _, bigint};
use super::{digests, groups, named};
use crate::Error;
use crate::gateways::{DesiredOf, MAX_DESIRED_GROUPS, MAX_GATEWAY_GROUPS, MAX_GROUP_GATEWAYS};

/// See [`crate::Gateways::set_desired`].
pub(super) async fn set(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    of: &DesiredOf,
    sections: &BTreeMap<Section, String>,
    replaces: u64,
    by: &str,
    now_us: i64,
) -> Result<u64, Error> {
    let (kind, name) = named(of);
    let row = sqlx::query(
        "SELECT version FROM desired_states WHERE tenant = $1 AND kind = $2 AND name = $3",
    )
    .bind(tenant.as_str())
    .bind(kind)
    .bind(name)
    .fetch_optional(&mut *connection)
    .await?;
    let present: u64 = row.map_or(Ok(0), |row| row.number("version"))?;
    if present != replaces {
        return Err(Error::Conflict(format!(
            "it is to replace version {replaces}, and version {present} is there: look at that \
             one, and set what is wanted in its place"
        )));
    }
    if present == 0 && matches!(of, DesiredOf::Group(_)) {
        room_for_group(connection, tenant).await?;
    }
    let mut kept: BTreeMap<Section, Digest> = BTreeMap::new();
    for (section, text) in sections {
        kept.insert(*section, keep(connection, tenant, text).await?);
    }
    let of_section = |section| kept.get(&section).map(|digest| digest.to_vec());
    let version = present + 1;
    sqlx::query(
        "INSERT INTO desired_states \
         (tenant, kind, name, version, settings, mapping, changed_us, changed_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant, kind, name) \
         DO UPDATE SET version = excluded.version, settings = excluded.settings, \
         mapping = excluded.mapping, changed_us = excluded.changed_us, \
         changed_by = excluded.changed_by",
    )
    .bind(tenant.as_str())
    .bind(kind)
    .bind(name)
    .bind(bigint("version", version)?)
    .bind(of_section(Section::Settings))
    .bind(of_section(Section::Mapping))
    .bind(now_us)
    .bind(by)
    .execute(&mut *connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    let concerned = match of {
        DesiredOf::Gateway(gateway) => BTreeSet::from([gateway.clone()]),
        DesiredOf::Group(group) => members(connection, tenant, group).await?,
    };
    for gateway in &concerned {
        follow(connection, tenant, gateway, true, now_us).await?;
    }
    sweep(connection, tenant).await?;
    Ok(version)
}

/// See [`crate::Gateways::set_groups`].
pub(super) async fn set_groups(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    gateway: &GatewayId,
    names: &[GatewayId],
    now_us: i64,
) -> Result<(), Error> {
    if names.len() > MAX_GATEWAY_GROUPS {
        let why = format!("{} groups; at most {MAX_GATEWAY_GROUPS}", names.len());
        return Err(Error::invalid("groups", why));
    }
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        return Err(Error::invalid("groups", "one is there twice".to_owned()));
    }
    sqlx::query("DELETE FROM gateway_groups WHERE tenant = $1 AND gateway = $2")
        .bind(tenant.as_str())
        .bind(gateway.as_str())
        .execute(&mut *connection)
        .await?;
    for (place, name) in (0_i64..).zip(names) {
        if members(connection, tenant, name).await?.len() >= MAX_GROUP_GATEWAYS as usize {
            return Err(Error::Conflict(format!(
                "group {name} has {MAX_GROUP_GATEWAYS} gateways, which is as many as it may"
            )));
        }
        sqlx::query(
            "INSERT INTO gateway_groups (tenant, gateway, place, name) VALUES ($1, $2, $3, $4)",
        )
        .bind(tenant.as_str())
        .bind(gateway.as_str())
        .bind(place)
        .bind(name.as_str())
        .execute(&mut *connection)
        .await
        .map_err(|error| of_tenant(error, tenant.as_str()))?;
    }
    follow(connection, tenant, gateway, false, now_us).await?;
    sweep(connection, tenant).await
}

/// See [`crate::Gateways::remove_gateway`].
pub(super) async fn remove(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    gateway: &GatewayId,
) -> Result<bool, Error> {
    let row = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM gateway_keys WHERE tenant = $1 AND gateway = $2 \
           AND added_us IS NOT NULL AND revoked_us IS NULL) AS let_in, \
         (SELECT COUNT(*) FROM placements WHERE tenant = $1 AND gateway = $2 AND present = 1) \
           AS devices",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .fetch_one(&mut *connection)
    .await?;
    if row.flag("let_in")? {
        return Err(Error::Conflict(format!(
            "gateway {gateway} is let in: it has to be revoked first"
        )));
    }
    let devices = row.int("devices")?;
    if devices > 0 {
        return Err(Error::Conflict(format!(
            "{devices} devices are let in by gateway {gateway}: move them to another one or revoke \
             them first"
        )));
    }
    let mut removed = 0;
    for statement in [
        "DELETE FROM desired_states WHERE tenant = $1 AND kind = 'gateway' AND name = $2",
        "DELETE FROM gateway_groups WHERE tenant = $1 AND gateway = $2",
        "DELETE FROM gateway_rules WHERE tenant = $1 AND gateway = $2",
        "DELETE FROM gateways WHERE tenant = $1 AND gateway = $2",
        // Only named from now on: who comes with one of its certificates is refused as before.
        "UPDATE gateway_keys SET added_us = NULL \
         WHERE tenant = $1 AND gateway = $2 AND added_us IS NOT NULL",
    ] {
        removed += sqlx::query(statement)
            .bind(tenant.as_str())
            .bind(gateway.as_str())
            .execute(&mut *connection)
            .await?
            .rows_affected();
    }
    sweep(connection, tenant).await?;
    Ok(removed > 0)
}

/// See [`crate::Gateways::renumber_desired`].
pub(super) async fn renumber(connection: &mut SqliteConnection) -> Result<(), Error> {
    let rows = sqlx::query("SELECT tenant, gateway FROM gateways")
        .fetch_all(&mut *connection)
        .await?;
    for row in rows {
        sqlx::query(
            "UPDATE gateways SET epoch = $3, judged = 0 WHERE tenant = $1 AND gateway = $2",
        )
        .bind(row.text("tenant")?)
        .bind(row.text("gateway")?)
        .bind(epoch()?)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Makes the row of a gateway, if there is none.
pub(super) async fn known(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    gateway: &GatewayId,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO gateways (tenant, gateway, epoch, revision, judged) \
         VALUES ($1, $2, $3, 0, 0) ON CONFLICT (tenant, gateway) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .bind(epoch()?)
    .execute(connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    Ok(())
}

/// Works out what follows for a gateway, and numbers it anew if it is another one, or is to be
/// tried `again`.
async fn follow(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    gateway: &GatewayId,
    again: bool,
    now_us: i64,
) -> Result<(), Error> {
    known(connection, tenant, gateway).await?;
    let mut sections = BTreeMap::new();
    let mut sources = vec![("gateway", gateway.clone())];
    let of_groups = groups(connection, tenant, gateway).await?;
    sources.extend(of_groups.into_iter().map(|group| ("group", group)));
    for (kind, name) in sources {
        let row = sqlx::query(
            "SELECT settings, mapping FROM desired_states \
             WHERE tenant = $1 AND kind = $2 AND name = $3",
        )
        .bind(tenant.as_str())
        .bind(kind)
        .bind(name.as_str())
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(row) = row {
            for (section, digest) in digests(&row)? {
                sections.entry(section).or_insert(digest);
            }
        }
    }
    let row = sqlx::query(
        "SELECT revision, settings, mapping FROM gateways \
         WHERE tenant = $1 AND gateway = $2",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .fetch_one(&mut *connection)
    .await?;
    let (revision, before) = (row.int("revision")?, digests(&row)?);
    if sections == before && !again {
        return Ok(());
    }
    let of_section = |section| {
        sections
            .get(&section)
            .map(|digest: &Digest| digest.to_vec())
    };
    sqlx::query(
        "UPDATE gateways SET revision = $3, settings = $4, mapping = $5, \
         desired_us = $6 WHERE tenant = $1 AND gateway = $2",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .bind(revision + 1)
    .bind(of_section(Section::Settings))
    .bind(of_section(Section::Mapping))
    .bind(now_us)
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps a text.
async fn keep(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    text: &str,
) -> Result<Digest, Error> {
    let digest: Digest = Sha256::digest(text.as_bytes()).into();
    sqlx::query(
        "INSERT INTO desired_texts (tenant, digest, text) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant, digest) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(digest.to_vec())
    .bind(text)
    .execute(connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    Ok(digest)
}

/// Removes texts that nothing names any more.
async fn sweep(connection: &mut SqliteConnection, tenant: &TenantId) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM desired_texts WHERE tenant = $1 AND digest NOT IN (\
         SELECT settings FROM desired_states WHERE tenant = $1 AND settings IS NOT NULL UNION \
         SELECT mapping FROM desired_states WHERE tenant = $1 AND mapping IS NOT NULL)",
    )
    .bind(tenant.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

async fn members(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    group: &GatewayId,
) -> Result<BTreeSet<GatewayId>, Error> {
    let rows = sqlx::query("SELECT gateway FROM gateway_groups WHERE tenant = $1 AND name = $2")
        .bind(tenant.as_str())
        .bind(group.as_str())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| row.parsed("gateway")).collect()
}

async fn room_for_group(connection: &mut SqliteConnection, tenant: &TenantId) -> Result<(), Error> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS groups FROM desired_states WHERE tenant = $1 AND kind = 'group'",
    )
    .bind(tenant.as_str())
    .fetch_one(connection)
    .await?;
    if row.int("groups")? >= i64::from(MAX_DESIRED_GROUPS) {
        return Err(Error::Conflict(format!(
            "there are {MAX_DESIRED_GROUPS} groups, which is as many as there may be"
        )));
    }
    Ok(())
}
