//! The audit log.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use stencil_protocol::id::TenantId;

use super::failure::of_tenant;
use super::row::Columns as _;
use super::{Sqlite, cursor};
use crate::audit::MAX_AUDIT_TEXT;
use crate::page::clamp;
use crate::{Audit, AuditEntry, AuditFilter, AuditOutcome, Error, NewAudit, Page};

/// Writes an entry down, and returns its number. Who calls this sees to it that few are written:
/// old ones are forgotten with the next that is noted.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    entry: &NewAudit,
) -> Result<i64, Error> {
    let row = sqlx::query(
        "INSERT INTO audit (tenant, entry, at_us, who, action, target, outcome, detail, address) \
         SELECT $1, COALESCE(MAX(entry), 0) + 1, $2, $3, $4, $5, $6, $7, $8 \
         FROM audit WHERE tenant = $1 RETURNING entry",
    )
    .bind(tenant.as_str())
    .bind(entry.at_us)
    .bind(cut(&entry.who))
    .bind(cut(&entry.action))
    .bind(entry.target.as_deref().map(cut))
    .bind(entry.outcome.as_str())
    .bind(entry.detail.as_deref().map(cut))
    .bind(entry.address.as_deref().map(cut))
    .fetch_one(connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    row.int("entry")
}

/// Writes an entry down, and forgets the oldest beyond those that are kept.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    entry: &NewAudit,
    keep: u32,
) -> Result<(), Error> {
    let number = append(&mut *connection, tenant, entry).await?;
    sqlx::query("DELETE FROM audit WHERE tenant = $1 AND entry <= $2")
        .bind(tenant.as_str())
        .bind(number - i64::from(keep))
        .execute(connection)
        .await?;
    Ok(())
}

#[async_trait]
impl Audit for Sqlite {
    async fn note(&self, tenant: &TenantId, entry: &NewAudit, keep: u32) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let noted = note(&mut transaction, tenant, entry, keep).await;
        transaction.end(noted).await
    }

    async fn entries(
        &self,
        tenant: &TenantId,
        filter: &AuditFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<AuditEntry>, Error> {
        let after: Option<i64> = cursor(after)?;
        let rows = sqlx::query(
            "SELECT entry, at_us, who, action, target, outcome, detail, address FROM audit \
             WHERE tenant = $1 AND entry < $2 AND ($3 IS NULL OR who = $3) \
             AND ($4 IS NULL OR action = $4) AND ($5 IS NULL OR outcome = $5) \
             ORDER BY entry DESC LIMIT $6",
        )
        .bind(tenant.as_str())
        .bind(after.unwrap_or(i64::MAX))
        .bind(filter.who.as_deref())
        .bind(filter.action.as_deref())
        .bind(filter.outcome.map(AuditOutcome::as_str))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let entries = rows
            .iter()
            .map(|row| {
                let outcome = row.text("outcome")?;
                Ok(AuditEntry {
                    entry: row.number("entry")?,
                    at_us: row.int("at_us")?,
                    who: row.text("who")?,
                    action: row.text("action")?,
                    target: row.maybe_text("target")?,
                    outcome: AuditOutcome::parse(&outcome)
                        .ok_or_else(|| Error::corrupt("outcome", outcome))?,
                    detail: row.maybe_text("detail")?,
                    address: row.maybe_text("address")?,
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Page::cut(entries, limit, |entry: &AuditEntry| {
            entry.entry.to_string()
        }))
    }

    async fn forget_before(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        // Entries are in the order of time but for a clock that was set back: from the oldest on,
        // as long as they are old.
        let forgotten = sqlx::query(
            "DELETE FROM audit WHERE tenant = $1 AND entry IN (SELECT entry FROM audit \
             WHERE tenant = $1 AND entry < COALESCE((SELECT MIN(entry) FROM audit \
             WHERE tenant = $1 AND at_us >= $2), $3) ORDER BY entry LIMIT $4)",
        )
        .bind(tenant.as_str())
        .bind(before_us)
        .bind(i64::MAX)
        .bind(i64::from(limit))
        .execute(&mut *transaction)
        .await
        .map(|done| done.rows_affected())
        .map_err(Error::from);
        transaction.end(forgotten).await
    }
}

/// At most [`MAX_AUDIT_TEXT`] characters, without control characters.
fn cut(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MAX_AUDIT_TEXT).collect()
}
