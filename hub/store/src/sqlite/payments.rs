//! Invoices, whose each movement of money is, the journal, and what is to be done.

mod commit;
mod decimal;
pub(super) mod payees;
mod read;
mod settings;

pub(super) use commit::queue;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::TenantId;

use super::Sqlite;
use super::failure::of_tenant;
use super::row::Columns as _;
use crate::page::clamp;
use crate::payments::{
    CauseKey, DueEffect, InvoiceCommit, InvoiceEffect, InvoiceKey, JournalBalance, JournalEntry,
    MAX_CREDIT_KEY, Payments, StoredInvoice, UnmatchedCredit,
};
use crate::{Error, Page};

#[async_trait]
impl Payments for Sqlite {
    async fn commit_invoice(&self, commit: &InvoiceCommit) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let done = commit::apply(&mut transaction, commit).await;
        transaction.end(done).await
    }

    async fn invoice(
        &self,
        tenant: &TenantId,
        invoice: &InvoiceKey,
    ) -> Result<Option<StoredInvoice>, Error> {
        read::invoice(self.readers(), tenant, invoice).await
    }

    async fn invoice_by_id(&self, invoice: &InvoiceKey) -> Result<Option<StoredInvoice>, Error> {
        read::by_id(self.readers(), invoice).await
    }

    async fn invoices(
        &self,
        tenant: &TenantId,
        state: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredInvoice>, Error> {
        read::invoices(self.readers(), tenant, state, after, limit).await
    }

    async fn watched_invoices(
        &self,
        now_us: i64,
        after: Option<(&TenantId, &InvoiceKey)>,
        limit: u32,
    ) -> Result<Vec<StoredInvoice>, Error> {
        read::watched(self.readers(), now_us, after, limit).await
    }

    async fn waking_invoices(&self, now_us: i64, limit: u32) -> Result<Vec<StoredInvoice>, Error> {
        read::waking(self.readers(), now_us, limit).await
    }

    async fn credit_owner(&self, credit: &str) -> Result<Option<(TenantId, InvoiceKey)>, Error> {
        let row = sqlx::query(
            "SELECT tenant, invoice FROM invoice_credits \
             WHERE credit = $1 AND invoice IS NOT NULL",
        )
        .bind(credit)
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| Ok((row.parsed("tenant")?, row.array("invoice")?)))
            .transpose()
    }

    async fn credits_of(
        &self,
        tenant: &TenantId,
        of: &str,
        limit: u32,
    ) -> Result<Vec<Option<InvoiceKey>>, Error> {
        let rows = sqlx::query(
            "SELECT invoice FROM invoice_credits \
             WHERE tenant = $1 AND credit > $2 || ':' AND credit < $2 || ';' \
             ORDER BY credit LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(of)
        .bind(i64::from(clamp(limit)))
        .fetch_all(self.readers())
        .await?;
        let invoice = |row: &SqliteRow| match row.maybe_bytes("invoice")? {
            Some(_) => Ok(Some(row.array("invoice")?)),
            None => Ok(None),
        };
        rows.iter().map(invoice).collect()
    }

    async fn refund_by_movement(
        &self,
        movement: &str,
    ) -> Result<Option<(TenantId, InvoiceKey, CauseKey)>, Error> {
        let row =
            sqlx::query("SELECT tenant, invoice, refund FROM refund_movements WHERE movement = $1")
                .bind(movement)
                .fetch_optional(self.readers())
                .await?;
        row.map(|row| {
            let of = (
                row.parsed("tenant")?,
                row.array("invoice")?,
                row.array("refund")?,
            );
            Ok(of)
        })
        .transpose()
    }

    async fn put_unmatched(
        &self,
        tenant: &TenantId,
        unmatched: &UnmatchedCredit,
    ) -> Result<bool, Error> {
        check_credit(&unmatched.credit)?;
        let mut transaction = self.write().await?;
        let put = sqlx::query(
            "INSERT INTO invoice_credits (credit, tenant, invoice, body, at_us) \
             VALUES ($1, $2, NULL, $3, $4) ON CONFLICT (credit) DO NOTHING",
        )
        .bind(unmatched.credit.as_str())
        .bind(tenant.as_str())
        .bind(unmatched.body.as_str())
        .bind(unmatched.at_us)
        .execute(&mut *transaction)
        .await
        .map(|done| done.rows_affected() == 1)
        .map_err(|error| of_tenant(error, tenant.as_str()));
        transaction.end(put).await
    }

    async fn forget_unmatched(&self, credit: &str) -> Result<bool, Error> {
        // Whoever follows a chain asks for each log that a reorganisation takes away, and most are nobody's money.
        let there =
            sqlx::query("SELECT 1 FROM invoice_credits WHERE credit = $1 AND invoice IS NULL")
                .bind(credit)
                .fetch_optional(self.readers())
                .await?;
        if there.is_none() {
            return Ok(false);
        }
        let mut transaction = self.write().await?;
        let gone = sqlx::query("DELETE FROM invoice_credits WHERE credit = $1 AND invoice IS NULL")
            .bind(credit)
            .execute(&mut *transaction)
            .await
            .map(|done| done.rows_affected() == 1)
            .map_err(Error::from);
        transaction.end(gone).await
    }

    async fn fold_unmatched(
        &self,
        tenant: &TenantId,
        folded: &[String],
        into: &UnmatchedCredit,
    ) -> Result<(), Error> {
        check_credit(&into.credit)?;
        let mut transaction = self.write().await?;
        let done = fold(&mut transaction, tenant, folded, into).await;
        transaction.end(done).await
    }

    async fn unmatched(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<UnmatchedCredit>, Error> {
        read::unmatched(self.readers(), tenant, after, limit).await
    }

    async fn due_invoice_effects(&self, now_us: i64, limit: u32) -> Result<Vec<DueEffect>, Error> {
        read::due(self.readers(), now_us, limit).await
    }

    async fn invoice_effects_before(
        &self,
        tenant: &TenantId,
        invoice: &InvoiceKey,
        number: u64,
    ) -> Result<Vec<InvoiceEffect>, Error> {
        read::before(self.readers(), tenant, invoice, number).await
    }

    async fn redo_invoice_effects(
        &self,
        tenant: &TenantId,
        invoice: &InvoiceKey,
        now_us: i64,
    ) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let redone = sqlx::query(
            "UPDATE invoice_effects SET done_us = NULL, attempts = 0, again = 1, due_us = $3 \
             WHERE tenant = $1 AND invoice = $2 AND done_us IS NOT NULL",
        )
        .bind(tenant.as_str())
        .bind(invoice.to_vec())
        .bind(now_us)
        .execute(&mut *transaction)
        .await
        .map(|done| done.rows_affected())
        .map_err(Error::from);
        transaction.end(redone).await
    }

    async fn invoice_effect_done(
        &self,
        tenant: &TenantId,
        key: &CauseKey,
        now_us: i64,
    ) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let done = effect_done(&mut transaction, tenant, key, now_us).await;
        transaction.end(done).await
    }

    async fn retry_invoice_effect(
        &self,
        tenant: &TenantId,
        key: &CauseKey,
        due_us: i64,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let put = sqlx::query(
            "UPDATE invoice_effects SET due_us = $3, attempts = attempts + 1 \
             WHERE tenant = $1 AND key = $2 AND done_us IS NULL",
        )
        .bind(tenant.as_str())
        .bind(key.to_vec())
        .bind(due_us)
        .execute(&mut *transaction)
        .await
        .map(drop)
        .map_err(Error::from);
        transaction.end(put).await
    }

    async fn forget_invoice_effects(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        // The newest stays: numbers go on from it.
        let forgotten = sqlx::query(
            "DELETE FROM invoice_effects WHERE tenant = $1 AND key IN \
             (SELECT e.key FROM invoice_effects e JOIN invoices i ON i.tenant = e.tenant \
             AND i.invoice = e.invoice WHERE e.tenant = $1 AND e.done_us IS NOT NULL \
             AND e.done_us < $2 AND i.watched_until_us < $2 AND e.number < \
             (SELECT MAX(n.number) FROM invoice_effects n WHERE n.tenant = $1) \
             ORDER BY e.done_us LIMIT $3)",
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

    async fn journal(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<JournalEntry>, Error> {
        read::journal(self.readers(), tenant, after, limit).await
    }

    async fn payment_settings(&self, tenant: &TenantId) -> Result<Option<String>, Error> {
        settings::of(self.readers(), tenant).await
    }

    async fn all_payment_settings(&self) -> Result<Vec<(TenantId, String)>, Error> {
        settings::all(self.readers()).await
    }

    async fn set_payment_settings(
        &self,
        tenant: &TenantId,
        body: &str,
        payees: &[(u64, [u8; 20])],
        now_us: i64,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let set = settings::set(&mut transaction, tenant, body, payees, now_us).await;
        transaction.end(set).await
    }

    async fn is_payee(&self, chain: u64, address: &[u8; 20]) -> Result<bool, Error> {
        payees::is_one(self.readers(), chain, address).await
    }

    async fn invoice_effects_waiting(&self, now_us: i64) -> Result<(u64, Option<i64>), Error> {
        read::waiting(self.readers(), now_us).await
    }

    async fn balances(&self, tenant: &TenantId) -> Result<Vec<JournalBalance>, Error> {
        read::balances(self.readers(), tenant).await
    }
}

/// Something was done; `false` if it was before.
pub(super) async fn effect_done(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    key: &CauseKey,
    now_us: i64,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE invoice_effects SET done_us = $3, attempts = attempts + 1 \
         WHERE tenant = $1 AND key = $2 AND done_us IS NULL",
    )
    .bind(tenant.as_str())
    .bind(key.to_vec())
    .bind(now_us)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn check_credit(credit: &str) -> Result<(), Error> {
    let good = (1..=MAX_CREDIT_KEY).contains(&credit.len());
    let why = || format!("{} bytes, not 1 to {MAX_CREDIT_KEY}", credit.len());
    good.then_some(())
        .ok_or_else(|| Error::invalid("credit", why()))
}

/// An effect without what is known of its doing.
fn effect(row: &sqlx::sqlite::SqliteRow) -> Result<InvoiceEffect, Error> {
    Ok(InvoiceEffect {
        key: row.array("key")?,
        body: row.text("body")?,
    })
}

async fn fold(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    folded: &[String],
    into: &UnmatchedCredit,
) -> Result<(), Error> {
    for credit in folded {
        let gone = sqlx::query(
            "DELETE FROM invoice_credits WHERE credit = $1 AND tenant = $2 AND invoice IS NULL",
        )
        .bind(credit.as_str())
        .bind(tenant.as_str())
        .execute(&mut *connection)
        .await?;
        if gone.rows_affected() != 1 {
            let why = format!("{credit} is not money of no invoice any more");
            return Err(Error::Conflict(why));
        }
    }
    let put = sqlx::query(
        "INSERT INTO invoice_credits (credit, tenant, invoice, body, at_us) \
         VALUES ($1, $2, NULL, $3, $4) ON CONFLICT (credit) DO UPDATE SET body = excluded.body \
         WHERE tenant = excluded.tenant AND invoice IS NULL",
    )
    .bind(into.credit.as_str())
    .bind(tenant.as_str())
    .bind(into.body.as_str())
    .bind(into.at_us)
    .execute(&mut *connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    if put.rows_affected() != 1 {
        let why = format!("{} is another's", into.credit);
        return Err(Error::Conflict(why));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
