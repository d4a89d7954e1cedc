//! Alarms: what people read and do; what the pipeline writes is in [`write`].

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::{DeviceId, TenantId};

use super::row::Columns as _;
use super::{Sqlite, pair};
use crate::page::clamp;
use crate::{
    Alarm, AlarmCounts, AlarmEvent, AlarmEventKind, AlarmFilter, AlarmId, Alarms, Error,
    MAX_ALARM_NOTE, Mark, Page, Severity,
};

pub(super) mod write;

/// The columns of an alarm with its silence, from `alarms AS a`.
macro_rules! select {
    () => {
        "SELECT a.alarm, a.workflow, a.version, a.device, a.severity, a.title, a.raised_us, \
         a.value, a.cleared_us, a.cleared_why, a.acknowledged_us, a.acknowledged_by, \
         a.acknowledged_note, s.until_us AS silenced_until_us, s.who AS silenced_by \
         FROM alarms AS a LEFT JOIN alarm_silences AS s \
         ON s.tenant = a.tenant AND s.workflow = a.workflow AND s.device = a.device "
    };
}
#[async_trait]
impl Alarms for Sqlite {
    async fn list(
        &self,
        tenant: &TenantId,
        filter: &AlarmFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Alarm>, Error> {
        // One text for each index: what narrows the list most leads.
        const NEWEST: &str = concat!(
            select!(),
            "WHERE a.tenant = $1 AND (a.raised_us, a.alarm) < ($2, $3) AND a.raised_us >= $4 \
             AND ($5 IS NULL OR a.severity = $5) \
             AND ($6 IS NULL OR (a.acknowledged_us IS NOT NULL) = $6) \
             AND ($7 IS NULL OR (a.cleared_us IS NULL) = $7) \
             ORDER BY a.raised_us DESC, a.alarm DESC LIMIT $8"
        );
        const ACTIVE: &str = concat!(
            select!(),
            "WHERE a.tenant = $1 AND (a.raised_us, a.alarm) < ($2, $3) AND a.raised_us >= $4 \
             AND ($5 IS NULL OR a.severity = $5) \
             AND ($6 IS NULL OR (a.acknowledged_us IS NOT NULL) = $6) \
             AND ($7 IS NULL OR (a.cleared_us IS NULL) = $7) AND a.cleared_us IS NULL \
             AND ($9 IS NULL OR a.device = $9) AND ($10 IS NULL OR a.workflow = $10) \
             ORDER BY a.raised_us DESC, a.alarm DESC LIMIT $8"
        );
        const OF_DEVICE: &str = concat!(
            select!(),
            "WHERE a.tenant = $1 AND (a.raised_us, a.alarm) < ($2, $3) AND a.raised_us >= $4 \
             AND ($5 IS NULL OR a.severity = $5) \
             AND ($6 IS NULL OR (a.acknowledged_us IS NOT NULL) = $6) \
             AND ($7 IS NULL OR (a.cleared_us IS NULL) = $7) \
             AND a.device = $9 AND ($10 IS NULL OR a.workflow = $10) \
             ORDER BY a.raised_us DESC, a.alarm DESC LIMIT $8"
        );
        const OF_WORKFLOW: &str = concat!(
            select!(),
            "WHERE a.tenant = $1 AND (a.raised_us, a.alarm) < ($2, $3) AND a.raised_us >= $4 \
             AND ($5 IS NULL OR a.severity = $5) \
             AND ($6 IS NULL OR (a.acknowledged_us IS NOT NULL) = $6) \
             AND ($7 IS NULL OR (a.cleared_us IS NULL) = $7) \
             AND ($9 IS NULL OR a.device = $9) AND a.workflow = $10 \
             ORDER BY a.raised_us DESC, a.alarm DESC LIMIT $8"
        );
        let text = match (&filter.device, &filter.workflow, filter.active) {
            (_, _, Some(true)) => ACTIVE,
            (Some(_), _, _) => OF_DEVICE,
            (None, Some(_), _) => OF_WORKFLOW,
            (None, None, _) => NEWEST,
        };
        let (mut before_us, mut id) = pair(after)?.unwrap_or((i64::MAX, AlarmId([0xff; 16])));
        // No alarm has the id of zeros: nothing of that very time is before it.
        if let Some(to_us) = filter.to_us.filter(|to_us| *to_us <= before_us) {
            (before_us, id) = (to_us, AlarmId([0; 16]));
        }
        let mut query = sqlx::query(text)
            .bind(tenant.as_str())
            .bind(before_us)
            .bind(id.0.to_vec())
            .bind(filter.from_us.unwrap_or(i64::MIN))
            .bind(filter.severity.map(Severity::rank))
            .bind(filter.acknowledged.map(i64::from))
            .bind(filter.active.map(i64::from))
            .bind(i64::from(clamp(limit)) + 1);
        if !std::ptr::eq(text, NEWEST) {
            query = query
                .bind(filter.device.as_ref().map(DeviceId::as_str))
                .bind(filter.workflow.as_deref());
        }
        let rows = query.fetch_all(self.readers()).await?;
        let alarms = rows
            .iter()
            .map(|row| alarm(tenant, row))
            .collect::<Result<_, _>>()?;
        Ok(Page::cut(alarms, limit, |alarm: &Alarm| {
            format!("{}:{}", alarm.raised_us, alarm.id)
        }))
    }

    async fn get(&self, tenant: &TenantId, id: &AlarmId) -> Result<Option<Alarm>, Error> {
        let mut reader = self.readers().acquire().await?;
        get(&mut reader, tenant, id).await
    }

    async fn history(&self, tenant: &TenantId, id: &AlarmId) -> Result<Vec<AlarmEvent>, Error> {
        let rows = sqlx::query(
            "SELECT kind, at_us, who, note, until_us FROM alarm_events \
             WHERE tenant = $1 AND alarm = $2 ORDER BY ordinal",
        )
        .bind(tenant.as_str())
        .bind(id.0.to_vec())
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                let kind = row.text("kind")?;
                Ok(AlarmEvent {
                    kind: AlarmEventKind::parse(&kind)
                        .ok_or_else(|| Error::corrupt("kind of an alarm's event", kind))?,
                    at_us: row.int("at_us")?,
                    by: row.maybe_text("who")?,
                    note: row.maybe_text("note")?,
                    until_us: row.maybe_int("until_us")?,
                })
            })
            .collect()
    }

    async fn acknowledge(
        &self,
        tenant: &TenantId,
        id: &AlarmId,
        by: &str,
        note: Option<&str>,
        now_us: i64,
    ) -> Result<Alarm, Error> {
        if let Some(note) = note.filter(|note| note.len() > MAX_ALARM_NOTE) {
            return Err(Error::invalid(
                "note",
                format!("{} bytes; at most {MAX_ALARM_NOTE} are allowed", note.len()),
            ));
        }
        let event = AlarmEvent {
            kind: AlarmEventKind::Acknowledged,
            at_us: now_us,
            by: Some(by.to_owned()),
            note: note.map(str::to_owned),
            until_us: None,
        };
        let mut transaction = self.write().await?;
        let marked = write::acknowledge(&mut transaction, tenant, id, &event).await;
        transaction.end(marked).await
    }

    async fn silence(
        &self,
        tenant: &TenantId,
        id: &AlarmId,
        until_us: Option<i64>,
        by: &str,
        now_us: i64,
    ) -> Result<Alarm, Error> {
        let event = AlarmEvent {
            kind: match until_us {
                Some(_) => AlarmEventKind::Silenced,
                None => AlarmEventKind::Unsilenced,
            },
            at_us: now_us,
            by: Some(by.to_owned()),
            note: None,
            until_us,
        };
        let mut transaction = self.write().await?;
        let silenced = write::silence(&mut transaction, tenant, id, &event, by).await;
        transaction.end(silenced).await
    }

    async fn silenced(
        &self,
        tenant: &TenantId,
        workflow: &str,
        device: &DeviceId,
        now_us: i64,
    ) -> Result<Option<i64>, Error> {
        let row = sqlx::query(
            "SELECT until_us FROM alarm_silences \
             WHERE tenant = $1 AND workflow = $2 AND device = $3 AND until_us > $4",
        )
        .bind(tenant.as_str())
        .bind(workflow)
        .bind(device.as_str())
        .bind(now_us)
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| row.int("until_us")).transpose()
    }

    async fn counts(&self, tenant: &TenantId) -> Result<AlarmCounts, Error> {
        let rows = sqlx::query(
            "SELECT severity, COUNT(*) AS alarms, COUNT(acknowledged_us) AS acknowledged \
             FROM alarms WHERE tenant = $1 AND cleared_us IS NULL GROUP BY severity",
        )
        .bind(tenant.as_str())
        .fetch_all(self.readers())
        .await?;
        let mut counts = AlarmCounts::default();
        for row in &rows {
            let (alarms, acknowledged): (u64, u64) =
                (row.number("alarms")?, row.number("acknowledged")?);
            match severity(row)? {
                Severity::Warning => counts.warning = alarms,
                Severity::Minor => counts.minor = alarms,
                Severity::Major => counts.major = alarms,
                Severity::Critical => counts.critical = alarms,
            }
            counts.unacknowledged += alarms.saturating_sub(acknowledged);
        }
        Ok(counts)
    }

    async fn forget_cleared(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let forgotten = write::forget(&mut transaction, tenant, before_us, clamp(limit)).await;
        transaction.end(forgotten).await
    }
}

async fn get(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    id: &AlarmId,
) -> Result<Option<Alarm>, Error> {
    let row = sqlx::query(concat!(select!(), "WHERE a.tenant = $1 AND a.alarm = $2"))
        .bind(tenant.as_str())
        .bind(id.0.to_vec())
        .fetch_optional(connection)
        .await?;
    row.map(|row| alarm(tenant, &row)).transpose()
}

fn alarm(tenant: &TenantId, row: &SqliteRow) -> Result<Alarm, Error> {
    let acknowledged = match row.maybe_int("acknowledged_us")? {
        None => None,
        Some(at_us) => Some(Mark {
            at_us,
            by: row.text("acknowledged_by")?,
            note: row.maybe_text("acknowledged_note")?,
        }),
    };
    Ok(Alarm {
        id: AlarmId(row.array("alarm")?),
        tenant: tenant.clone(),
        workflow: row.text("workflow")?,
        version: row.number("version")?,
        device: row.parsed("device")?,
        severity: severity(row)?,
        title: row.text("title")?,
        raised_us: row.int("raised_us")?,
        value: row.maybe_double("value")?,
        cleared_us: row.maybe_int("cleared_us")?,
        cleared_why: row.maybe_text("cleared_why")?,
        acknowledged,
        silenced_until_us: row.maybe_int("silenced_until_us")?,
        silenced_by: row.maybe_text("silenced_by")?,
    })
}

pub(super) fn severity(row: &SqliteRow) -> Result<Severity, Error> {
    let rank = row.int("severity")?;
    Severity::ALL
        .into_iter()
        .find(|one| one.rank() == rank)
        .ok_or_else(|| Error::corrupt("severity", rank))
}
