//! A change of an invoice with all that it causes.

use sqlx::SqliteConnection;
use stencil_protocol::id::TenantId;

use super::super::failure::of_tenant;
use super::super::offers::wake;
use super::super::row::{Columns as _, bigint};
use super::super::wallets::note_payer;
use super::{check_credit, decimal};
use crate::Error;
use crate::payments::{
    InvoiceCommit, InvoiceEffect, InvoiceKey, JournalEntry, RefundMovement, StoredInvoice,
};

pub(super) async fn apply(
    connection: &mut SqliteConnection,
    commit: &InvoiceCommit,
) -> Result<(), Error> {
    let StoredInvoice {
        tenant,
        invoice,
        changed_us,
        ..
    } = &commit.invoice;
    put(connection, &commit.invoice).await?;
    if commit.is_undone {
        wake(connection, tenant, invoice, *changed_us).await?;
    }
    for payer in &commit.payers {
        let created_us = commit.invoice.created_us;
        note_payer(connection, payer, tenant, invoice, created_us).await?;
    }
    for credit in &commit.credits {
        own(connection, tenant, invoice, credit, *changed_us).await?;
    }
    for entry in &commit.entries {
        book(connection, tenant, entry).await?;
    }
    for effect in &commit.effects {
        queue(connection, tenant, invoice, effect, *changed_us).await?;
    }
    refunded(connection, tenant, invoice, &commit.refunds).await?;
    Ok(())
}

/// Puts the invoice, if its version follows the one that is there.
async fn put(connection: &mut SqliteConnection, invoice: &StoredInvoice) -> Result<(), Error> {
    let statement = if invoice.version == 1 {
        "INSERT INTO invoices (tenant, invoice, version, state, body, wakes_us, \
         watched_until_us, changed_us, created_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT DO NOTHING"
    } else {
        "UPDATE invoices SET version = $3, state = $4, body = $5, wakes_us = $6, \
         watched_until_us = $7, changed_us = $8 \
         WHERE tenant = $1 AND invoice = $2 AND version = $3 - 1"
    };
    let mut query = sqlx::query(statement)
        .bind(invoice.tenant.as_str())
        .bind(invoice.invoice.to_vec())
        .bind(bigint("version", invoice.version)?)
        .bind(invoice.state.as_str())
        .bind(invoice.body.as_str())
        .bind(invoice.wakes_us)
        .bind(invoice.watched_until_us)
        .bind(invoice.changed_us);
    if invoice.version == 1 {
        query = query.bind(invoice.created_us);
    }
    let done = query.execute(connection).await;
    let done = done.map_err(|error| of_tenant(error, invoice.tenant.as_str()))?;
    if done.rows_affected() == 0 {
        let id = hex::encode(invoice.invoice);
        let why = format!(
            "invoice {id} was changed meanwhile: {} is not next",
            invoice.version
        );
        return Err(Error::Conflict(why));
    }
    Ok(())
}

/// A movement of money is this invoice's: never another's, and what was of none becomes its own.
async fn own(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    invoice: &InvoiceKey,
    credit: &str,
    at_us: i64,
) -> Result<(), Error> {
    check_credit(credit)?;
    let done = sqlx::query(
        "INSERT INTO invoice_credits (credit, tenant, invoice, body, at_us) \
         VALUES ($1, $2, $3, NULL, $4) ON CONFLICT (credit) DO UPDATE \
         SET invoice = excluded.invoice, body = NULL \
         WHERE invoice_credits.tenant = excluded.tenant \
         AND (invoice_credits.invoice IS NULL OR invoice_credits.invoice = excluded.invoice)",
    )
    .bind(credit)
    .bind(tenant.as_str())
    .bind(invoice.to_vec())
    .bind(at_us)
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        return Err(Error::Conflict(format!("{credit} is another invoice's")));
    }
    Ok(())
}

/// By which movements an invoice's refunds were sent, in place of what was known: never by one that has sent another.
async fn refunded(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    invoice: &InvoiceKey,
    refunds: &[RefundMovement],
) -> Result<(), Error> {
    for told in refunds {
        sqlx::query(
            "DELETE FROM refund_movements WHERE tenant = $1 AND invoice = $2 AND refund = $3",
        )
        .bind(tenant.as_str())
        .bind(invoice.to_vec())
        .bind(told.refund.to_vec())
        .execute(&mut *connection)
        .await?;
    }
    for told in refunds {
        let Some(movement) = &told.movement else {
            continue;
        };
        check_credit(movement)?;
        let done = sqlx::query(
            "INSERT INTO refund_movements (movement, tenant, invoice, refund) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (movement) DO NOTHING",
        )
        .bind(movement.as_str())
        .bind(tenant.as_str())
        .bind(invoice.to_vec())
        .bind(told.refund.to_vec())
        .execute(&mut *connection)
        .await?;
        if done.rows_affected() == 0 {
            // People know the transaction, and not how its movements are named.
            let tx = movement.split([':', '@']).nth(1).unwrap_or_default();
            let why = format!(
                "what the transaction {tx} moves there has sent another refund meanwhile, and counts for one alone"
            );
            return Err(Error::Conflict(why));
        }
    }
    Ok(())
}

/// Books an entry that balances, once.
async fn book(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    entry: &JournalEntry,
) -> Result<(), Error> {
    let (mut debits, mut credits) = ("0".to_owned(), "0".to_owned());
    for line in &entry.lines {
        let sum = if line.is_debit {
            &mut debits
        } else {
            &mut credits
        };
        *sum = decimal::add(sum, &line.amount)?;
    }
    if decimal::compare(&debits, &credits).is_ne() || entry.lines.is_empty() {
        let why = format!("debits of {debits} and credits of {credits} are not equal");
        return Err(Error::invalid("entry", why));
    }
    let lines = serde_json::json!(entry.lines).to_string();
    let known =
        sqlx::query("SELECT asset, lines FROM journal_entries WHERE tenant = $1 AND key = $2")
            .bind(tenant.as_str())
            .bind(entry.key.to_vec())
            .fetch_optional(&mut *connection)
            .await?;
    if let Some(known) = known {
        if known.text("asset")? == entry.asset && known.text("lines")? == lines {
            return Ok(());
        }
        let key = hex::encode(entry.key);
        return Err(Error::Conflict(format!(
            "entry {key} is there with other lines"
        )));
    }
    sqlx::query(
        "INSERT INTO journal_entries (tenant, key, number, asset, at_us, memo, lines) VALUES ($1, \
         $2, (SELECT COALESCE(MAX(number), 0) + 1 FROM journal_entries WHERE tenant = $1), $3, $4, \
         $5, $6)",
    )
    .bind(tenant.as_str())
    .bind(entry.key.to_vec())
    .bind(entry.asset.as_str())
    .bind(entry.at_us)
    .bind(entry.memo.as_str())
    .bind(lines)
    .execute(&mut *connection)
    .await?;
    for line in &entry.lines {
        let row = sqlx::query(
            "SELECT debits, credits FROM journal_balances \
             WHERE tenant = $1 AND asset = $2 AND account = $3",
        )
        .bind(tenant.as_str())
        .bind(entry.asset.as_str())
        .bind(line.account.as_str())
        .fetch_optional(&mut *connection)
        .await?;
        let (mut debits, mut credits) = match row {
            Some(row) => (row.text("debits")?, row.text("credits")?),
            None => ("0".to_owned(), "0".to_owned()),
        };
        let sum = if line.is_debit {
            &mut debits
        } else {
            &mut credits
        };
        *sum = decimal::add(sum, &line.amount)?;
        sqlx::query(
            "INSERT INTO journal_balances (tenant, asset, account, debits, credits) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, asset, account) \
             DO UPDATE SET debits = excluded.debits, credits = excluded.credits",
        )
        .bind(tenant.as_str())
        .bind(entry.asset.as_str())
        .bind(line.account.as_str())
        .bind(debits)
        .bind(credits)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Something is to be done, once a key.
pub(in crate::sqlite) async fn queue(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    invoice: &InvoiceKey,
    effect: &InvoiceEffect,
    now_us: i64,
) -> Result<(), Error> {
    let done = sqlx::query(
        "INSERT INTO invoice_effects (tenant, key, invoice, number, body, attempts, due_us) VALUES \
         ($1, $2, $3, (SELECT COALESCE(MAX(number), 0) + 1 FROM invoice_effects WHERE tenant = $1), \
         $4, 0, $5) ON CONFLICT (tenant, key) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(effect.key.to_vec())
    .bind(invoice.to_vec())
    .bind(effect.body.as_str())
    .bind(now_us)
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    let known = sqlx::query("SELECT body FROM invoice_effects WHERE tenant = $1 AND key = $2")
        .bind(tenant.as_str())
        .bind(effect.key.to_vec())
        .fetch_one(connection)
        .await?;
    if known.text("body")? == effect.body {
        return Ok(());
    }
    let key = hex::encode(effect.key);
    Err(Error::Conflict(format!(
        "effect {key} is there, and is another"
    )))
}
