//! What is asked.

use sqlx::SqlitePool;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::TenantId;

use super::super::pair;
use super::super::row::Columns as _;
use super::effect;
use crate::page::clamp;
use crate::payments::{
    DueEffect, InvoiceKey, JournalBalance, JournalEntry, StoredInvoice, UnmatchedCredit,
};
use crate::{Error, Page};

const COLUMNS: &str = "tenant, invoice, version, state, body, wakes_us, watched_until_us, \
    created_us, changed_us";

fn stored(row: &SqliteRow) -> Result<StoredInvoice, Error> {
    Ok(StoredInvoice {
        tenant: row.parsed("tenant")?,
        invoice: row.array("invoice")?,
        version: row.number("version")?,
        state: row.text("state")?,
        body: row.text("body")?,
        wakes_us: row.maybe_int("wakes_us")?,
        watched_until_us: row.int("watched_until_us")?,
        created_us: row.int("created_us")?,
        changed_us: row.int("changed_us")?,
    })
}

fn all(rows: &[SqliteRow]) -> Result<Vec<StoredInvoice>, Error> {
    rows.iter().map(stored).collect()
}

/// A statement about invoices; no part of it comes from outside.
fn statement(rest: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM invoices WHERE {rest}"))
}

pub(super) async fn invoice(
    pool: &SqlitePool,
    tenant: &TenantId,
    invoice: &InvoiceKey,
) -> Result<Option<StoredInvoice>, Error> {
    let row = sqlx::query(statement("tenant = $1 AND invoice = $2"))
        .bind(tenant.as_str())
        .bind(invoice.to_vec())
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(stored).transpose()
}

pub(super) async fn by_id(
    pool: &SqlitePool,
    invoice: &InvoiceKey,
) -> Result<Option<StoredInvoice>, Error> {
    let row = sqlx::query(statement("invoice = $1"))
        .bind(invoice.to_vec())
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(stored).transpose()
}

pub(super) async fn waiting(pool: &SqlitePool, now_us: i64) -> Result<(u64, Option<i64>), Error> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS waiting, MIN(due_us) AS oldest FROM invoice_effects \
         WHERE done_us IS NULL AND due_us <= $1",
    )
    .bind(now_us)
    .fetch_one(pool)
    .await?;
    Ok((row.number("waiting")?, row.maybe_int("oldest")?))
}

pub(super) async fn invoices(
    pool: &SqlitePool,
    tenant: &TenantId,
    state: Option<&str>,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<StoredInvoice>, Error> {
    let (created_us, id) = match pair::<i64, Hex>(after)? {
        Some((created_us, Hex(id))) => (created_us, id.to_vec()),
        // Longer than any id, and so behind all of them.
        None => (i64::MAX, vec![0xff; 17]),
    };
    let rows = sqlx::query(statement(
        "tenant = $1 AND (created_us, invoice) < ($2, $3) AND ($4 IS NULL OR state = $4) \
         ORDER BY created_us DESC, invoice DESC LIMIT $5",
    ))
    .bind(tenant.as_str())
    .bind(created_us)
    .bind(id)
    .bind(state)
    .bind(i64::from(clamp(limit)) + 1)
    .fetch_all(pool)
    .await?;
    Ok(Page::cut(all(&rows)?, limit, |invoice| {
        format!("{}:{}", invoice.created_us, hex::encode(invoice.invoice))
    }))
}

pub(super) async fn watched(
    pool: &SqlitePool,
    now_us: i64,
    after: Option<(&TenantId, &InvoiceKey)>,
    limit: u32,
) -> Result<Vec<StoredInvoice>, Error> {
    let (tenant, id) = match after {
        Some((tenant, id)) => (tenant.as_str(), id.to_vec()),
        None => ("", Vec::new()),
    };
    let rows = sqlx::query(statement(
        "watched_until_us > $1 AND (tenant, invoice) > ($2, $3) ORDER BY tenant, invoice LIMIT $4",
    ))
    .bind(now_us)
    .bind(tenant)
    .bind(id)
    .bind(i64::from(clamp(limit)))
    .fetch_all(pool)
    .await?;
    all(&rows)
}

pub(super) async fn waking(
    pool: &SqlitePool,
    now_us: i64,
    limit: u32,
) -> Result<Vec<StoredInvoice>, Error> {
    let rows = sqlx::query(statement(
        "wakes_us <= $1 ORDER BY wakes_us, tenant, invoice LIMIT $2",
    ))
    .bind(now_us)
    .bind(i64::from(clamp(limit)))
    .fetch_all(pool)
    .await?;
    all(&rows)
}

pub(super) async fn unmatched(
    pool: &SqlitePool,
    tenant: &TenantId,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<UnmatchedCredit>, Error> {
    // A credit's key has colons of its own: the first one is the cursor's.
    let cursor = |text: &str| {
        let (at_us, credit) = text.split_once(':')?;
        Some((at_us.parse().ok()?, credit.to_owned()))
    };
    let (at_us, credit) = match after {
        Some(text) => cursor(text).ok_or_else(|| Error::invalid("cursor", format!("{text:?}")))?,
        None => (i64::MAX, String::new()),
    };
    let rows = sqlx::query(
        "SELECT credit, body, at_us FROM invoice_credits \
         WHERE tenant = $1 AND invoice IS NULL AND (at_us, credit) < ($2, $3) \
         ORDER BY at_us DESC, credit DESC LIMIT $4",
    )
    .bind(tenant.as_str())
    .bind(at_us)
    .bind(credit)
    .bind(i64::from(clamp(limit)) + 1)
    .fetch_all(pool)
    .await?;
    let found = rows.iter().map(|row| {
        let (credit, body, at_us) = (row.text("credit")?, row.text("body")?, row.int("at_us")?);
        Ok(UnmatchedCredit {
            credit,
            body,
            at_us,
        })
    });
    let found = found.collect::<Result<_, Error>>()?;
    Ok(Page::cut(found, limit, |one: &UnmatchedCredit| {
        format!("{}:{}", one.at_us, one.credit)
    }))
}

pub(super) async fn due(
    pool: &SqlitePool,
    now_us: i64,
    limit: u32,
) -> Result<Vec<DueEffect>, Error> {
    let rows = sqlx::query(
        "SELECT tenant, key, invoice, number, body, attempts, again FROM invoice_effects \
         WHERE done_us IS NULL AND due_us <= $1 ORDER BY due_us, number, tenant LIMIT $2",
    )
    .bind(now_us)
    .bind(i64::from(clamp(limit)))
    .fetch_all(pool)
    .await?;
    let due = rows.iter().map(|row| {
        Ok(DueEffect {
            tenant: row.parsed("tenant")?,
            invoice: row.array("invoice")?,
            number: row.number("number")?,
            effect: effect(row)?,
            attempts: row.number("attempts")?,
            again: row.flag("again")?,
        })
    });
    due.collect()
}

pub(super) async fn before(
    pool: &SqlitePool,
    tenant: &TenantId,
    invoice: &InvoiceKey,
    number: u64,
) -> Result<Vec<crate::InvoiceEffect>, Error> {
    // Few are to be done, many were: the index of the few.
    let rows = sqlx::query(
        "SELECT key, body FROM invoice_effects INDEXED BY invoice_effects_due \
         WHERE done_us IS NULL AND tenant = $1 AND invoice = $2 AND number < $3 \
         ORDER BY number LIMIT 100",
    )
    .bind(tenant.as_str())
    .bind(invoice.to_vec())
    .bind(super::super::row::bigint("number", number)?)
    .fetch_all(pool)
    .await?;
    rows.iter().map(effect).collect()
}

pub(super) async fn journal(
    pool: &SqlitePool,
    tenant: &TenantId,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<JournalEntry>, Error> {
    let after = match after {
        Some(text) => text
            .parse::<i64>()
            .map_err(|_| Error::invalid("cursor", "a number is expected"))?,
        None => 0,
    };
    let rows = sqlx::query(
        "SELECT key, number, asset, at_us, memo, lines FROM journal_entries \
         WHERE tenant = $1 AND number > $2 ORDER BY number LIMIT $3",
    )
    .bind(tenant.as_str())
    .bind(after)
    .bind(i64::from(clamp(limit)) + 1)
    .fetch_all(pool)
    .await?;
    let entries = rows.iter().map(|row| {
        let entry = JournalEntry {
            key: row.array("key")?,
            asset: row.text("asset")?,
            at_us: row.int("at_us")?,
            memo: row.text("memo")?,
            lines: row.json("lines")?,
        };
        Ok((row.int("number")?, entry))
    });
    let entries = entries.collect::<Result<Vec<_>, Error>>()?;
    let page = Page::cut(entries, limit, |(number, _): &(i64, JournalEntry)| {
        number.to_string()
    });
    Ok(page.map(|(_, entry)| entry))
}

pub(super) async fn balances(
    pool: &SqlitePool,
    tenant: &TenantId,
) -> Result<Vec<JournalBalance>, Error> {
    let rows = sqlx::query(
        "SELECT asset, account, debits, credits FROM journal_balances \
         WHERE tenant = $1 ORDER BY asset, account",
    )
    .bind(tenant.as_str())
    .fetch_all(pool)
    .await?;
    let balances = rows.iter().map(|row| {
        Ok(JournalBalance {
            asset: row.text("asset")?,
            account: row.text("account")?,
            debits: row.text("debits")?,
            credits: row.text("credits")?,
        })
    });
    balances.collect()
}

/// An id in a cursor.
struct Hex(InvoiceKey);

impl std::str::FromStr for Hex {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id)
            .map_err(|_| Error::invalid("cursor", "32 hex digits are expected"))?;
        Ok(Self(id))
    }
}
