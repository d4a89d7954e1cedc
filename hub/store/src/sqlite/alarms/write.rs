//! What changes alarms: the pipeline's commit, and people.

use sqlx::SqliteConnection;
use stencil_protocol::id::TenantId;

use super::super::row::Columns as _;
use super::{get, severity};
use crate::{
    ActiveAlarm, Alarm, AlarmChange, AlarmEvent, AlarmEventKind, AlarmId, Cleared, Error,
    MAX_ALARM_EVENTS, MAX_ALARM_TITLE, Raised,
};

/// Applies what the pipeline says, in its order. Done twice it changes nothing more.
pub(in super::super) async fn apply(
    connection: &mut SqliteConnection,
    changes: &[AlarmChange],
) -> Result<(), Error> {
    for change in changes {
        match change {
            AlarmChange::Raised(raised) => raise(connection, raised).await?,
            AlarmChange::Cleared(cleared) => clear(connection, cleared).await?,
        }
    }
    Ok(())
}

/// All active alarms, of all tenants.
pub(in super::super) async fn active(
    connection: &mut SqliteConnection,
) -> Result<Vec<ActiveAlarm>, Error> {
    let rows = sqlx::query(
        "SELECT tenant, alarm, workflow, device, severity FROM alarms WHERE cleared_us IS NULL",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(ActiveAlarm {
                id: AlarmId(row.array("alarm")?),
                tenant: row.parsed("tenant")?,
                workflow: row.text("workflow")?,
                device: row.parsed("device")?,
                severity: severity(row)?,
            })
        })
        .collect()
}

async fn raise(connection: &mut SqliteConnection, raised: &Raised) -> Result<(), Error> {
    let title = &raised.title[..raised.title.floor_char_boundary(MAX_ALARM_TITLE)];
    let new = sqlx::query(
        "INSERT INTO alarms (tenant, alarm, workflow, version, device, severity, title, \
         raised_us, value) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
    )
    .bind(raised.tenant.as_str())
    .bind(raised.id.0.to_vec())
    .bind(raised.workflow.as_str())
    .bind(i64::from(raised.version))
    .bind(raised.device.as_str())
    .bind(raised.severity.rank())
    .bind(title)
    .bind(raised.at_us)
    .bind(raised.value)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if new == 1 {
        let event = by_rule(AlarmEventKind::Raised, raised.at_us, None);
        record(connection, &raised.tenant, &raised.id, &event).await?;
    }
    Ok(())
}

async fn clear(connection: &mut SqliteConnection, cleared: &Cleared) -> Result<(), Error> {
    let changed = sqlx::query(
        "UPDATE alarms SET cleared_us = $1, cleared_why = $2 \
         WHERE tenant = $3 AND alarm = $4 AND cleared_us IS NULL",
    )
    .bind(cleared.at_us)
    .bind(cleared.why.as_str())
    .bind(cleared.tenant.as_str())
    .bind(cleared.id.0.to_vec())
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if changed == 1 {
        let why = Some(cleared.why.clone());
        let event = by_rule(AlarmEventKind::Cleared, cleared.at_us, why);
        record(connection, &cleared.tenant, &cleared.id, &event).await?;
    }
    Ok(())
}

pub(super) async fn acknowledge(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    id: &AlarmId,
    event: &AlarmEvent,
) -> Result<Alarm, Error> {
    let changed = sqlx::query(
        "UPDATE alarms SET acknowledged_us = $1, acknowledged_by = $2, acknowledged_note = $3 \
         WHERE tenant = $4 AND alarm = $5",
    )
    .bind(event.at_us)
    .bind(event.by.as_deref())
    .bind(event.note.as_deref())
    .bind(tenant.as_str())
    .bind(id.0.to_vec())
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if changed == 0 {
        return Err(Error::not_found("alarm", id));
    }
    record(connection, tenant, id, event).await?;
    found(connection, tenant, id).await
}

pub(super) async fn silence(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    id: &AlarmId,
    event: &AlarmEvent,
    by: &str,
) -> Result<Alarm, Error> {
    let alarm = found(connection, tenant, id).await?;
    let changed = match event.until_us {
        Some(until_us) => sqlx::query(
            "INSERT INTO alarm_silences (tenant, workflow, device, until_us, who) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, workflow, device) \
                 DO UPDATE SET until_us = excluded.until_us, who = excluded.who",
        )
        .bind(tenant.as_str())
        .bind(alarm.workflow.as_str())
        .bind(alarm.device.as_str())
        .bind(until_us)
        .bind(by),
        None => sqlx::query(
            "DELETE FROM alarm_silences WHERE tenant = $1 AND workflow = $2 AND device = $3",
        )
        .bind(tenant.as_str())
        .bind(alarm.workflow.as_str())
        .bind(alarm.device.as_str()),
    }
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if changed > 0 {
        record(connection, tenant, id, event).await?;
    }
    found(connection, tenant, id).await
}

pub(super) async fn forget(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    before_us: i64,
    limit: u32,
) -> Result<u64, Error> {
    sqlx::query(
        "DELETE FROM alarm_silences WHERE tenant = $1 AND (workflow, device) IN \
         (SELECT workflow, device FROM alarm_silences WHERE tenant = $1 AND until_us < $2 \
         ORDER BY until_us LIMIT $3)",
    )
    .bind(tenant.as_str())
    .bind(before_us)
    .bind(i64::from(limit))
    .execute(&mut *connection)
    .await?;
    let forgotten = sqlx::query(
        "DELETE FROM alarms WHERE tenant = $1 AND alarm IN (SELECT alarm FROM alarms \
         WHERE tenant = $1 AND cleared_us < $2 ORDER BY cleared_us LIMIT $3)",
    )
    .bind(tenant.as_str())
    .bind(before_us)
    .bind(i64::from(limit))
    .execute(&mut *connection)
    .await?;
    Ok(forgotten.rows_affected())
}

async fn found(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    id: &AlarmId,
) -> Result<Alarm, Error> {
    get(connection, tenant, id)
        .await?
        .ok_or_else(|| Error::not_found("alarm", id))
}

fn by_rule(kind: AlarmEventKind, at_us: i64, note: Option<String>) -> AlarmEvent {
    AlarmEvent {
        kind,
        at_us,
        by: None,
        note,
        until_us: None,
    }
}

/// Adds to the history. Beyond its bound what people did longest ago is forgotten.
async fn record(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    id: &AlarmId,
    event: &AlarmEvent,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO alarm_events (tenant, alarm, ordinal, kind, at_us, who, note, until_us) \
         SELECT $1, $2, COALESCE(MAX(ordinal), 0) + 1, $3, $4, $5, $6, $7 FROM alarm_events \
         WHERE tenant = $1 AND alarm = $2",
    )
    .bind(tenant.as_str())
    .bind(id.0.to_vec())
    .bind(event.kind.as_str())
    .bind(event.at_us)
    .bind(event.by.as_deref())
    .bind(event.note.as_deref())
    .bind(event.until_us)
    .execute(&mut *connection)
    .await?;
    if event.by.is_some() {
        sqlx::query(
            "DELETE FROM alarm_events WHERE tenant = $1 AND alarm = $2 AND who IS NOT NULL \
             AND ordinal <= (SELECT MAX(ordinal) FROM alarm_events \
             WHERE tenant = $1 AND alarm = $2) - $3",
        )
        .bind(tenant.as_str())
        .bind(id.0.to_vec())
        .bind(i64::from(MAX_ALARM_EVENTS) - 2)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
