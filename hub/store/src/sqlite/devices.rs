//! Devices, links and newest values.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};

use super::Sqlite;
use super::bulk::Bulk;
use super::row::{Columns as _, link_text};
use crate::page::clamp;
use crate::series::value;
use crate::{
    Commit, Device, DeviceCounts, DeviceFilter, Devices, Error, Latest, LinkSeen, MAX_PAGE, Newest,
    Page, Standing, TwinUpdate,
};

mod find;
pub(super) mod standing;

/// A device may be heard late through a gateway that it has left: so what tells
/// its gateway is the newest event, not the newest arrival. A clock that runs
/// ahead is held at the time of arrival, else it would pin the device.
static HEARD: Bulk = Bulk::new(
    "INSERT INTO devices \
     (tenant, device, gateway, gateway_us, numbered, link, last_event_us, last_received_us, \
     heard_us)",
    9,
    "ON CONFLICT (tenant, device) DO UPDATE SET \
     gateway = CASE WHEN excluded.gateway_us >= COALESCE(devices.gateway_us, excluded.gateway_us) \
       THEN excluded.gateway ELSE devices.gateway END, \
     link = CASE WHEN excluded.gateway_us >= COALESCE(devices.gateway_us, excluded.gateway_us) \
       THEN COALESCE(excluded.link, devices.link) ELSE devices.link END, \
     gateway_us = CASE \
       WHEN excluded.gateway_us >= COALESCE(devices.gateway_us, excluded.gateway_us) \
       THEN excluded.gateway_us ELSE devices.gateway_us END, \
     numbered = CASE WHEN excluded.numbered = 1 THEN 1 ELSE devices.numbered END, \
     last_event_us = CASE WHEN excluded.last_event_us >= \
       COALESCE(devices.last_event_us, excluded.last_event_us) \
       THEN excluded.last_event_us ELSE devices.last_event_us END, \
     heard_us = CASE WHEN excluded.gateway = devices.gateway \
       OR excluded.gateway_us >= COALESCE(devices.gateway_us, excluded.gateway_us) \
       THEN excluded.last_received_us ELSE devices.heard_us END, \
     last_received_us = CASE WHEN excluded.last_received_us >= \
       COALESCE(devices.last_received_us, excluded.last_received_us) \
       THEN excluded.last_received_us ELSE devices.last_received_us END",
);

/// A gateway notices late that a link is dead; by then the device may be connected
/// elsewhere. So only the gateway that has a device can report its loss.
static LINKS: Bulk = Bulk::new(
    "INSERT INTO devices \
     (tenant, device, gateway, gateway_us, numbered, connected, link_changed_us, link, heard_us)",
    9,
    "ON CONFLICT (tenant, device) DO UPDATE SET \
     connected = excluded.connected, \
     link_changed_us = excluded.link_changed_us, \
     heard_us = excluded.heard_us, \
     gateway = CASE WHEN excluded.connected = 1 THEN excluded.gateway ELSE devices.gateway END, \
     gateway_us = CASE WHEN excluded.connected = 1 \
       THEN excluded.gateway_us ELSE devices.gateway_us END, \
     link = COALESCE(excluded.link, devices.link) \
     WHERE excluded.link_changed_us >= \
       COALESCE(devices.link_changed_us, excluded.link_changed_us) \
     AND (excluded.connected = 1 OR devices.gateway IS NULL \
       OR devices.gateway = COALESCE(excluded.gateway, ''))",
);

static TWINS: Bulk = Bulk::new(
    "INSERT INTO twins \
     (tenant, device, name, value, unit, time_us, received_us, gateway, link)",
    9,
    "ON CONFLICT (tenant, device, name) DO UPDATE SET value = excluded.value, \
     unit = excluded.unit, time_us = excluded.time_us, received_us = excluded.received_us, \
     gateway = excluded.gateway, link = excluded.link \
     WHERE excluded.time_us >= twins.time_us",
);

#[async_trait]
impl Devices for Sqlite {
    async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Device>, Error> {
        let rows = sqlx::query(
            "SELECT device, gateway, numbered, connected, link_changed_us, link, last_event_us, \
             last_received_us, heard_us FROM devices WHERE tenant = $1 AND device > $2 \
             ORDER BY device LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(after.unwrap_or(""))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let devices = rows.iter().map(device).collect::<Result<_, _>>()?;
        Ok(Page::cut(devices, limit, |device: &Device| {
            device.id.to_string()
        }))
    }

    async fn get(&self, tenant: &TenantId, id: &DeviceId) -> Result<Option<Device>, Error> {
        let row = sqlx::query(
            "SELECT device, gateway, numbered, connected, link_changed_us, link, last_event_us, \
             last_received_us, heard_us FROM devices WHERE tenant = $1 AND device = $2",
        )
        .bind(tenant.as_str())
        .bind(id.as_str())
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(device).transpose()
    }

    async fn count(&self, tenant: &TenantId) -> Result<u64, Error> {
        sqlx::query("SELECT COUNT(*) AS devices FROM devices WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_one(self.readers())
            .await?
            .number("devices")
    }

    async fn latest(&self, tenant: &TenantId, device: &DeviceId) -> Result<Vec<Latest>, Error> {
        let rows = sqlx::query(
            "SELECT name, value, unit, time_us, received_us, link FROM twins \
             WHERE tenant = $1 AND device = $2 ORDER BY name LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(device.as_str())
        .bind(i64::from(MAX_PAGE))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(latest).collect()
    }

    async fn latest_of(
        &self,
        tenant: &TenantId,
        name: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<(DeviceId, Latest)>, Error> {
        let rows = sqlx::query(
            "SELECT device, name, value, unit, time_us, received_us, link FROM twins \
             WHERE tenant = $1 AND name = $2 AND device > $3 ORDER BY device LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(name)
        .bind(after.unwrap_or(""))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let found = rows
            .iter()
            .map(|row| Ok((row.parsed("device")?, latest(row)?)))
            .collect::<Result<_, Error>>()?;
        Ok(Page::cut(
            found,
            limit,
            |(device, _): &(DeviceId, Latest)| device.to_string(),
        ))
    }

    async fn find(
        &self,
        tenant: &TenantId,
        filter: &DeviceFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Device>, Error> {
        find::devices(self, tenant, filter, after, limit).await
    }

    async fn recent(&self, tenant: &TenantId, limit: u32) -> Result<Vec<Device>, Error> {
        find::recent(self, tenant, limit).await
    }

    async fn counts(&self, tenant: &TenantId, standing: &Standing) -> Result<DeviceCounts, Error> {
        find::counts(self, tenant, standing).await
    }

    async fn gateways(&self, tenant: &TenantId) -> Result<Vec<GatewayId>, Error> {
        find::gateways(self, tenant).await
    }

    async fn newest(
        &self,
        tenant: &TenantId,
        devices: &[DeviceId],
        each: u32,
    ) -> Result<Vec<Newest>, Error> {
        find::newest(self, tenant, devices, each).await
    }
}

/// Stores what a commit says of devices.
pub(super) async fn store(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), Error> {
    let heard = heard(commit);
    HEARD
        .execute(connection, &heard, |query, heard| {
            query
                .bind(heard.tenant.as_str().to_owned())
                .bind(heard.device.as_str().to_owned())
                .bind(heard.gateway.map(|gateway| gateway.as_str().to_owned()))
                .bind(heard.gateway_us)
                .bind(i64::from(heard.numbered))
                .bind(heard.link.clone())
                .bind(heard.last_event_us)
                .bind(heard.last_received_us)
                .bind(heard.last_received_us)
        })
        .await?;
    // Mostly there are none: then this is one look at an empty table.
    let mut links: Vec<&LinkSeen> = commit.links.iter().collect();
    if (!heard.is_empty() || !links.is_empty()) && standing::any(connection).await? {
        standing::hand_back(connection).await?;
        links.clear();
        for seen in &commit.links {
            if !standing::hear(connection, seen).await? {
                links.push(seen);
            }
        }
    }
    for round in rounds(&links) {
        LINKS
            .execute(connection, &round, |query, seen| {
                query
                    .bind(seen.tenant.as_str().to_owned())
                    .bind(seen.device.as_str().to_owned())
                    .bind(
                        seen.gateway
                            .as_ref()
                            .map(|gateway| gateway.as_str().to_owned()),
                    )
                    .bind(seen.at_us)
                    .bind(0_i64)
                    .bind(i64::from(seen.connected))
                    .bind(seen.at_us)
                    .bind(seen.link.as_ref().map(link_text))
                    .bind(seen.received_us)
            })
            .await?;
    }
    let twins = newest_of_each(&commit.twins);
    TWINS
        .execute(connection, &twins, |query, twin| {
            query
                .bind(twin.tenant.as_str().to_owned())
                .bind(twin.device.as_str().to_owned())
                .bind(twin.name.clone())
                .bind(value::to_bytes(&twin.value))
                .bind(twin.unit.clone())
                .bind(twin.time_us)
                .bind(twin.received_us)
                .bind(
                    twin.gateway
                        .as_ref()
                        .map(|gateway| gateway.as_str().to_owned()),
                )
                .bind(twin.link.as_ref().map(link_text))
        })
        .await?;
    Ok(())
}

/// All newest values.
pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Vec<TwinUpdate>, Error> {
    let rows = sqlx::query(
        "SELECT tenant, device, gateway, name, value, unit, time_us, received_us, link FROM twins",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let newest = latest(row)?;
            Ok(TwinUpdate {
                tenant: row.parsed("tenant")?,
                device: row.parsed("device")?,
                gateway: row.maybe_parsed("gateway")?,
                name: newest.name,
                value: newest.value,
                unit: newest.unit,
                time_us: newest.time_us,
                received_us: newest.received_us,
                link: newest.link,
            })
        })
        .collect()
}

struct Heard<'a> {
    tenant: &'a TenantId,
    device: &'a DeviceId,
    gateway: Option<&'a GatewayId>,
    gateway_us: Option<i64>,
    numbered: bool,
    link: Option<String>,
    last_event_us: Option<i64>,
    last_received_us: Option<i64>,
}

/// What a commit says of each device, its twins and ledgers taken together.
fn heard(commit: &Commit) -> Vec<Heard<'_>> {
    let mut places: HashMap<(&TenantId, &DeviceId), usize> = HashMap::new();
    let mut heard: Vec<Heard<'_>> = Vec::new();
    for twin in &commit.twins {
        let device = place(&mut places, &mut heard, &twin.tenant, &twin.device);
        let told_us = twin.time_us.min(twin.received_us);
        if device.gateway_us.is_none_or(|before| told_us >= before) {
            device.gateway_us = Some(told_us);
            device.gateway = twin.gateway.as_ref();
            device.link = twin.link.as_ref().map(link_text).or(device.link.take());
        }
        device.last_event_us = device.last_event_us.max(Some(twin.time_us));
        device.last_received_us = device.last_received_us.max(Some(twin.received_us));
    }
    for (tenant, device, _, _) in &commit.ledgers {
        place(&mut places, &mut heard, tenant, device).numbered = true;
    }
    heard
}

/// The place of a device in `heard`.
fn place<'a, 'h>(
    places: &mut HashMap<(&'a TenantId, &'a DeviceId), usize>,
    heard: &'h mut Vec<Heard<'a>>,
    tenant: &'a TenantId,
    device: &'a DeviceId,
) -> &'h mut Heard<'a> {
    let index = *places.entry((tenant, device)).or_insert_with(|| {
        heard.push(Heard {
            tenant,
            device,
            gateway: None,
            gateway_us: None,
            numbered: false,
            link: None,
            last_event_us: None,
            last_received_us: None,
        });
        heard.len() - 1
    });
    &mut heard[index]
}

/// Link events in rounds, each device at most once a round, in order.
fn rounds<'a>(links: &[&'a LinkSeen]) -> Vec<Vec<&'a LinkSeen>> {
    let mut counts: HashMap<(&TenantId, &DeviceId), usize> = HashMap::new();
    let mut rounds: Vec<Vec<&LinkSeen>> = Vec::new();
    for &seen in links {
        let count = counts.entry((&seen.tenant, &seen.device)).or_default();
        if rounds.len() == *count {
            rounds.push(Vec::new());
        }
        rounds[*count].push(seen);
        *count += 1;
    }
    rounds
}

fn newest_of_each(twins: &[TwinUpdate]) -> Vec<&TwinUpdate> {
    let mut newest: HashMap<(&TenantId, &DeviceId, &str), &TwinUpdate> = HashMap::new();
    for twin in twins {
        let kept = newest
            .entry((&twin.tenant, &twin.device, &twin.name))
            .or_insert(twin);
        if twin.time_us >= kept.time_us {
            *kept = twin;
        }
    }
    newest.into_values().collect()
}

fn device(row: &SqliteRow) -> Result<Device, Error> {
    Ok(Device {
        id: row.parsed("device")?,
        gateway: row.maybe_parsed("gateway")?,
        numbered: row.flag("numbered")?,
        connected: row.maybe_int("connected")?.map(|connected| connected != 0),
        link_changed_us: row.maybe_int("link_changed_us")?,
        link: row.maybe_json("link")?,
        last_event_us: row.maybe_int("last_event_us")?,
        last_received_us: row.maybe_int("last_received_us")?,
        heard_us: row.maybe_int("heard_us")?,
    })
}

fn latest(row: &SqliteRow) -> Result<Latest, Error> {
    Ok(Latest {
        name: row.text("name")?,
        value: row.value("value")?,
        unit: row.maybe_text("unit")?,
        time_us: row.int("time_us")?,
        received_us: row.int("received_us")?,
        link: row.maybe_json("link")?,
    })
}
