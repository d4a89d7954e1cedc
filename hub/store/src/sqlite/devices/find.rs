//! Finding devices among many, and what a list of them shows.

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite as Driver};
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};

use super::super::Sqlite;
use super::super::row::Columns as _;
use super::{device, latest};
use crate::page::clamp;
use crate::{
    Device, DeviceCounts, DeviceFilter, Error, Linked, MAX_NEWEST, MAX_PAGE, Newest, Page, Standing,
};

/// Whether every hop of a device's link was post-quantum, as links are written.
const POST_QUANTUM: &str = "link LIKE '%\"post_quantum\":true%'";

/// The tenant's devices with what `shown` makes of their links: 1, 0, or NULL where nobody told.
/// `$1` is the tenant, `$2` and the rows of `ended` what stands.
fn linked(standing: &Standing, columns: &str) -> String {
    // One row at least: a gateway's id is never empty.
    let mut ended = "('', $2)".to_owned();
    for n in 0..standing.ended.len() {
        let (gateway, at) = (2 * n + 3, 2 * n + 4);
        ended.push_str(&format!(", (${gateway}, ${at})"));
    }
    format!(
        "WITH ended (of_gateway, ended_us) AS (VALUES {ended}), \
         linked AS (SELECT device, gateway, numbered, link_changed_us, link, last_event_us, \
         last_received_us, heard_us, CASE WHEN connected = 1 THEN \
         CASE WHEN gateway IS NULL \
           OR (heard_us >= $2 AND (ended_us IS NULL OR heard_us > ended_us)) THEN 1 ELSE 0 END \
         ELSE connected END AS connected \
         FROM devices LEFT JOIN ended ON of_gateway = gateway WHERE tenant = $1) \
         SELECT {columns} FROM linked"
    )
}

/// The statement with what [`linked`] names in it.
fn bound<'q>(
    sql: String,
    tenant: &TenantId,
    standing: &Standing,
) -> Query<'q, Driver, SqliteArguments> {
    // Nothing of what a stranger gave is in it, but its place only.
    let mut query = sqlx::query(AssertSqlSafe(sql))
        .bind(tenant.as_str().to_owned())
        .bind(standing.since_us);
    for (gateway, ended_us) in &standing.ended {
        query = query.bind(gateway.as_str().to_owned()).bind(*ended_us);
    }
    query
}

pub(super) async fn devices(
    store: &Sqlite,
    tenant: &TenantId,
    filter: &DeviceFilter,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<Device>, Error> {
    let standing = &filter.standing;
    let mut sql = linked(
        standing,
        "device, gateway, numbered, connected, link_changed_us, link, last_event_us, \
         last_received_us, heard_us",
    );
    let mut next = 2 * standing.ended.len() + 3;
    let mut placeholder = || {
        next += 1;
        format!("${}", next - 1)
    };
    sql.push_str(&format!(" WHERE device > {}", placeholder()));
    if filter.search.is_some() {
        let place = placeholder();
        sql.push_str(&format!(" AND LOWER(device) LIKE {place} ESCAPE '!'"));
    }
    match filter.linked {
        Some(Linked::Connected) => sql.push_str(" AND connected = 1"),
        Some(Linked::CutOff) => sql.push_str(" AND connected = 0"),
        Some(Linked::Unknown) => sql.push_str(" AND connected IS NULL"),
        None => {}
    }
    if filter.gateway.is_some() {
        sql.push_str(&format!(" AND gateway = {}", placeholder()));
    }
    match filter.post_quantum {
        Some(true) => sql.push_str(&format!(" AND {POST_QUANTUM}")),
        Some(false) => sql.push_str(&format!(" AND link IS NOT NULL AND NOT {POST_QUANTUM}")),
        None => {}
    }
    sql.push_str(&format!(" ORDER BY device LIMIT {}", placeholder()));

    let mut query = bound(sql, tenant, standing).bind(after.unwrap_or("").to_owned());
    if let Some(search) = &filter.search {
        query = query.bind(pattern(search));
    }
    if let Some(gateway) = &filter.gateway {
        query = query.bind(gateway.as_str().to_owned());
    }
    let rows = query
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(store.readers())
        .await?;
    let found = rows.iter().map(device).collect::<Result<_, _>>()?;
    Ok(Page::cut(found, limit, |device: &Device| {
        device.id.to_string()
    }))
}

/// `text` anywhere, its own wildcards taken as they are.
fn pattern(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for c in text.chars().flat_map(char::to_lowercase) {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

pub(super) async fn recent(
    store: &Sqlite,
    tenant: &TenantId,
    limit: u32,
) -> Result<Vec<Device>, Error> {
    let rows = sqlx::query(
        "SELECT device, gateway, numbered, connected, link_changed_us, link, last_event_us, \
         last_received_us, heard_us FROM devices \
         WHERE tenant = $1 AND last_received_us IS NOT NULL \
         ORDER BY last_received_us DESC, device LIMIT $2",
    )
    .bind(tenant.as_str())
    .bind(i64::from(clamp(limit)))
    .fetch_all(store.readers())
    .await?;
    rows.iter().map(device).collect()
}

pub(super) async fn counts(
    store: &Sqlite,
    tenant: &TenantId,
    standing: &Standing,
) -> Result<DeviceCounts, Error> {
    let count = |of: &str, name: &str| {
        format!("COALESCE(SUM(CASE WHEN {of} THEN 1 ELSE 0 END), 0) AS {name}")
    };
    let columns = [
        "COUNT(*) AS devices".to_owned(),
        count("connected = 1", "up"),
        count("connected = 0", "down"),
        count(POST_QUANTUM, "post_quantum"),
        count(
            &format!("link IS NOT NULL AND NOT {POST_QUANTUM}"),
            "not_post_quantum",
        ),
    ];
    let sql = linked(standing, &columns.join(", "));
    let row = bound(sql, tenant, standing)
        .fetch_one(store.readers())
        .await?;
    Ok(DeviceCounts {
        devices: row.number("devices")?,
        connected: row.number("up")?,
        cut_off: row.number("down")?,
        post_quantum: row.number("post_quantum")?,
        not_post_quantum: row.number("not_post_quantum")?,
    })
}

pub(super) async fn gateways(store: &Sqlite, tenant: &TenantId) -> Result<Vec<GatewayId>, Error> {
    let rows = sqlx::query(
        "SELECT DISTINCT gateway FROM devices WHERE tenant = $1 AND gateway IS NOT NULL \
         ORDER BY gateway LIMIT $2",
    )
    .bind(tenant.as_str())
    .bind(i64::from(MAX_PAGE))
    .fetch_all(store.readers())
    .await?;
    rows.iter().map(|row| row.parsed("gateway")).collect()
}

pub(super) async fn newest(
    store: &Sqlite,
    tenant: &TenantId,
    devices: &[DeviceId],
    each: u32,
) -> Result<Vec<Newest>, Error> {
    let devices = devices.get(..MAX_NEWEST).unwrap_or(devices);
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<String> = (0..devices.len()).map(|n| format!("${}", n + 3)).collect();
    let sql = format!(
        "SELECT * FROM (SELECT device, name, value, unit, time_us, received_us, link, \
         ROW_NUMBER() OVER (PARTITION BY device ORDER BY name) AS place, \
         COUNT(*) OVER (PARTITION BY device) AS names \
         FROM twins WHERE tenant = $1 AND device IN ({})) AS placed \
         WHERE place <= $2 ORDER BY device, place",
        places.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(sql))
        .bind(tenant.as_str())
        .bind(i64::from(each));
    for device in devices {
        query = query.bind(device.as_str());
    }
    let rows = query.fetch_all(store.readers()).await?;
    let mut found: Vec<Newest> = Vec::new();
    for row in &rows {
        let device: DeviceId = row.parsed("device")?;
        if found.last().is_none_or(|last| last.device != device) {
            found.push(Newest {
                device,
                values: Vec::new(),
                names: row.number("names")?,
            });
        }
        if let Some(last) = found.last_mut() {
            last.values.push(latest(row)?);
        }
    }
    Ok(found)
}
