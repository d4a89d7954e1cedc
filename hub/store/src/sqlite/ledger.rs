//! Reading the ledger and the quarantine.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::{Boot, DeviceId, TenantId};

use super::row::{Columns as _, bigint};
use super::{Sqlite, cursor, pair, pipeline};
use crate::page::clamp;
use crate::{Error, Ledger, LedgerRow, Page, Quarantined};

#[async_trait]
impl Ledger for Sqlite {
    async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<LedgerRow>, Error> {
        // No device has an empty id, so this is before all of them.
        let (device, boot) = match pair::<DeviceId, u32>(after)? {
            Some((device, boot)) => (device.to_string(), i64::from(boot)),
            None => (String::new(), -1),
        };
        let rows = sqlx::query(
            "SELECT device, boot, body FROM ledgers \
             WHERE tenant = $1 AND (device, boot) > ($2, $3) ORDER BY device, boot LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(device)
        .bind(boot)
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let ledgers = rows.iter().map(ledger).collect::<Result<_, _>>()?;
        Ok(Page::cut(ledgers, limit, |row: &LedgerRow| {
            format!("{}:{}", row.device, row.boot.0)
        }))
    }

    async fn of_device(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<LedgerRow>, Error> {
        let rows = sqlx::query(
            "SELECT device, boot, body FROM ledgers \
             WHERE tenant = $1 AND device = $2 AND boot > $3 ORDER BY boot LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(device.as_str())
        .bind(cursor::<u32>(after)?.map_or(-1, i64::from))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let ledgers = rows.iter().map(ledger).collect::<Result<_, _>>()?;
        Ok(Page::cut(ledgers, limit, |row: &LedgerRow| {
            row.boot.0.to_string()
        }))
    }

    async fn quarantine(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Quarantined>, Error> {
        let (position, ordinal) = match pair::<u64, u32>(after)? {
            Some((position, ordinal)) => (bigint("cursor", position)?, i64::from(ordinal)),
            None => (i64::MAX, i64::MAX),
        };
        let rows = sqlx::query(
            "SELECT position, ordinal, device, topic, reason, path, payload, at_us \
             FROM quarantine WHERE tenant = $1 AND (position, ordinal) < ($2, $3) \
             ORDER BY position DESC, ordinal DESC LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(position)
        .bind(ordinal)
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let found = rows
            .iter()
            .map(|row| Ok((row.int("ordinal")?, quarantined(tenant, row)?)))
            .collect::<Result<_, Error>>()?;
        Ok(
            Page::cut(found, limit, |(ordinal, row): &(i64, Quarantined)| {
                format!("{}:{ordinal}", row.position)
            })
            .map(|(_, row)| row),
        )
    }

    async fn quarantine_count(&self, tenant: &TenantId) -> Result<u64, Error> {
        sqlx::query("SELECT COUNT(*) AS found FROM quarantine WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_one(self.readers())
            .await?
            .number("found")
    }
}

fn ledger(row: &SqliteRow) -> Result<LedgerRow, Error> {
    Ok(LedgerRow {
        device: row.parsed("device")?,
        boot: Boot(row.number("boot")?),
        ledger: pipeline::decode_ledger(&row.bytes("body")?)?,
    })
}

fn quarantined(tenant: &TenantId, row: &SqliteRow) -> Result<Quarantined, Error> {
    Ok(Quarantined {
        tenant: tenant.clone(),
        device: row.maybe_parsed("device")?,
        topic: row.text("topic")?,
        reason: row.text("reason")?,
        path: row.maybe_text("path")?,
        payload: row.bytes("payload")?,
        at_us: row.int("at_us")?,
        position: row.number("position")?,
    })
}
