//! Retention: what a tenant has set, and freeing what is older, in portions.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use stencil_protocol::id::TenantId;

use super::failure::of_tenant;
use super::row::Columns as _;
use super::{Sqlite, erase, sealing};
use crate::page::clamp;
use crate::{Erased, Error, Forgotten, Keep, Keeping, MAX_KEEP_DAYS, Retention};

#[async_trait]
impl Keeping for Sqlite {
    async fn retention(&self, tenant: &TenantId) -> Result<Retention, Error> {
        let row = sqlx::query(
            "SELECT series_days, runs_days, alarms_days, quarantine_days, audit_days \
             FROM retention WHERE tenant = $1",
        )
        .bind(tenant.as_str())
        .fetch_optional(self.readers())
        .await?;
        let Some(row) = row else {
            return Ok(Retention::default());
        };
        let keep = |column: &'static str| {
            let days: Option<u32> = row.maybe_number(column)?;
            Ok::<_, Error>(days.map(|days| match days {
                0 => Keep::Always,
                days => Keep::Days(days),
            }))
        };
        Ok(Retention {
            series: keep("series_days")?,
            runs: keep("runs_days")?,
            alarms: keep("alarms_days")?,
            quarantine: keep("quarantine_days")?,
            audit: keep("audit_days")?,
        })
    }

    async fn set_retention(
        &self,
        tenant: &TenantId,
        retention: &Retention,
        now_us: i64,
    ) -> Result<(), Error> {
        let days = [
            retention.series,
            retention.runs,
            retention.alarms,
            retention.quarantine,
            retention.audit,
        ];
        if days.iter().any(
            |keep| matches!(keep, Some(Keep::Days(days)) if !(1..=MAX_KEEP_DAYS).contains(days)),
        ) {
            return Err(Error::invalid(
                "retention",
                format!("1 to {MAX_KEEP_DAYS} days are allowed"),
            ));
        }
        let mut query = sqlx::query(
            "INSERT INTO retention (tenant, series_days, runs_days, alarms_days, \
             quarantine_days, audit_days, changed_us) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (tenant) DO UPDATE SET series_days = excluded.series_days, \
             runs_days = excluded.runs_days, alarms_days = excluded.alarms_days, \
             quarantine_days = excluded.quarantine_days, audit_days = excluded.audit_days, \
             changed_us = excluded.changed_us",
        )
        .bind(tenant.as_str());
        for keep in days {
            query = query.bind(keep.map(|keep| match keep {
                Keep::Always => 0_i64,
                Keep::Days(days) => i64::from(days),
            }));
        }
        let mut transaction = self.write().await?;
        let set = query
            .bind(now_us)
            .execute(&mut *transaction)
            .await
            .map(drop)
            .map_err(|error| of_tenant(error, tenant.as_str()));
        transaction.end(set).await
    }

    async fn forget_points(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<Forgotten, Error> {
        let limit = clamp(limit);
        let (this, of) = (self.clone(), tenant.clone());
        // In a task of its own: a caller that goes away must not leave heads and database apart.
        tokio::spawn(async move { sealing::seal_older(&this, &of, before_us, limit).await })
            .await
            .map_err(|error| Error::Unavailable(format!("sealing was torn off: {error}")))??;
        let mut transaction = self.write().await?;
        let forgotten = forget_chunks(&mut transaction, tenant, before_us, limit).await;
        transaction.end(forgotten).await
    }

    async fn forget_quarantined(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let forgotten = sqlx::query(
            "DELETE FROM quarantine WHERE tenant = $1 AND (position, ordinal) IN \
             (SELECT position, ordinal FROM quarantine WHERE tenant = $1 AND at_us < $2 \
             ORDER BY at_us LIMIT $3)",
        )
        .bind(tenant.as_str())
        .bind(before_us)
        .bind(i64::from(clamp(limit)))
        .execute(&mut *transaction)
        .await
        .map(|done| done.rows_affected())
        .map_err(Error::from);
        transaction.end(forgotten).await
    }

    async fn erase(&self, position: u64, erased: &Erased) -> Result<(), Error> {
        let (this, erased) = (self.clone(), erased.clone());
        tokio::spawn(async move { erase::erase(&this, position, &erased).await })
            .await
            .map_err(|error| Error::Unavailable(format!("an erasure was torn off: {error}")))?
    }

    async fn purge(&self, limit: u32) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let purged = erase::purge(&mut transaction, i64::from(clamp(limit))).await;
        transaction.end(purged).await
    }
}

async fn forget_chunks(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    before_us: i64,
    limit: u32,
) -> Result<Forgotten, Error> {
    let rows = sqlx::query(
        "DELETE FROM series_chunks WHERE (series, from_us) IN \
         (SELECT c.series, c.from_us FROM series s JOIN series_chunks c ON c.series = s.series \
         WHERE s.tenant = $1 AND c.to_us < $2 LIMIT $3) RETURNING points",
    )
    .bind(tenant.as_str())
    .bind(before_us)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    let mut forgotten = Forgotten::default();
    for row in &rows {
        forgotten.chunks += 1;
        forgotten.points += row.number::<u64>("points")?;
    }
    Ok(forgotten)
}
