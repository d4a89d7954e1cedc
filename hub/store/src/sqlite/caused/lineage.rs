//! What leads to what: runs to transactions, these to other runs, and payments to what they start.

use sqlx::{Executor, Sqlite as Driver, SqliteConnection};
use stencil_protocol::id::TenantId;

use crate::caused::{CausingRun, InvoiceStart, Lineage, MAX_CAUSING_RUNS, SentBecause};
use crate::payments::{InvoiceEffect, InvoiceKey};
use crate::sqlite::failure::of_tenant;
use crate::sqlite::payments::queue;
use crate::sqlite::row::Columns as _;
use crate::{Error, RunId};

/// Whether it is noted what leads to what is sent by a key.
pub(super) async fn is_noted<'e>(
    connection: impl Executor<'e, Database = Driver>,
    tenant: &TenantId,
    key: &str,
) -> Result<bool, Error> {
    let row = sqlx::query("SELECT 1 FROM chain_send_causes WHERE tenant = $1 AND key = $2")
        .bind(tenant.as_str())
        .bind(key)
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

/// Notes it; what is noted stays.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    key: &str,
    because: SentBecause<'_>,
) -> Result<(), Error> {
    let causes = match because {
        SentBecause::Runs(causes) => causes.to_vec(),
        SentBecause::Run(run) => of_run(connection, tenant, run).await?,
    };
    sqlx::query(
        "INSERT INTO chain_send_causes (tenant, key, causes) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant, key) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(key)
    .bind(text(&causes)?)
    .execute(connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    Ok(())
}

/// A run with what led to it, itself last.
async fn of_run(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    run: &RunId,
) -> Result<Vec<CausingRun>, Error> {
    let row = sqlx::query("SELECT workflow, causes FROM runs WHERE tenant = $1 AND run = $2")
        .bind(tenant.as_str())
        .bind(run.0.to_vec())
        .fetch_optional(connection)
        .await?;
    let row = row.ok_or_else(|| Error::not_found("run", run.to_string()))?;
    let mut causes: Vec<CausingRun> = match row.maybe_text("causes")? {
        Some(_) => row.json("causes")?,
        None => Vec::new(),
    };
    causes.push(CausingRun {
        tenant: tenant.clone(),
        run: *run,
        workflow: row.text("workflow")?,
    });
    Ok(causes)
}

/// The runs that led to a transaction, the one that sent it last.
pub(super) async fn of_transaction<'e>(
    connection: impl Executor<'e, Database = Driver>,
    chain: &str,
    tx: &[u8; 32],
) -> Result<Vec<CausingRun>, Error> {
    let row = sqlx::query(
        "SELECT c.causes AS causes FROM chain_attempts a \
         JOIN chain_sends s ON s.chain = a.chain AND s.sender = a.sender AND s.nonce = a.nonce \
         JOIN chain_send_causes c ON c.tenant = s.tenant AND c.key = s.key \
         WHERE a.tx = $1 AND a.chain = $2 LIMIT 1",
    )
    .bind(tx.to_vec())
    .bind(chain)
    .fetch_optional(connection)
    .await?;
    row.map_or(Ok(Vec::new()), |row| row.json("causes"))
}

/// Keeps what led to a run that was just made; says how many that makes that do not begin: 1 or none.
pub(super) async fn set(
    connection: &mut SqliteConnection,
    lineage: &Lineage,
    at_us: i64,
) -> Result<u64, Error> {
    // What was there before, begun or not, stays as it is.
    const FRESH: &str = "WHERE tenant = $1 AND run = $2 AND fence = 0 AND state = 'pending' \
                         AND causes IS NULL";
    let (set, error) = match &lineage.refused {
        None => ("causes = $3", None),
        Some(why) => (
            "causes = $3, state = 'failed', due_us = NULL, ended_us = $4, error = $5",
            Some(why.as_str()),
        ),
    };
    let statement = format!("UPDATE runs SET {set} {FRESH}");
    let mut query = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(lineage.tenant.as_str())
        .bind(lineage.run.0.to_vec())
        .bind(text(&lineage.causes)?);
    if error.is_some() {
        query = query.bind(at_us).bind(error);
    }
    let set = query.execute(connection).await?.rows_affected();
    Ok(if error.is_some() { set } else { 0 })
}

fn text(causes: &[CausingRun]) -> Result<String, Error> {
    let most = usize::try_from(MAX_CAUSING_RUNS).unwrap_or(usize::MAX);
    // The newest tell more than the oldest.
    let newest = &causes[causes.len().saturating_sub(most)..];
    serde_json::to_string(newest).map_err(|error| Error::corrupt("causes", error))
}

/// Keeps what was decided of a payment, and tells it.
pub(super) async fn decide(
    connection: &mut SqliteConnection,
    start: &InvoiceStart,
    tells: &[InvoiceEffect],
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO invoice_starts (tenant, invoice, paid_us, at_us, missed) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, invoice) DO UPDATE SET \
         paid_us = excluded.paid_us, at_us = excluded.at_us, missed = excluded.missed",
    )
    .bind(start.tenant.as_str())
    .bind(start.invoice.to_vec())
    .bind(start.paid_us)
    .bind(start.at_us)
    .bind(i64::from(start.missed))
    .execute(&mut *connection)
    .await
    .map_err(|error| of_tenant(error, start.tenant.as_str()))?;
    for effect in tells {
        queue(
            connection,
            &start.tenant,
            &start.invoice,
            effect,
            start.at_us,
        )
        .await?;
    }
    Ok(())
}

/// What was decided of an invoice's payment.
pub(super) async fn start<'e>(
    connection: impl Executor<'e, Database = Driver>,
    tenant: &TenantId,
    invoice: &InvoiceKey,
) -> Result<Option<InvoiceStart>, Error> {
    let row = sqlx::query(
        "SELECT paid_us, at_us, missed FROM invoice_starts WHERE tenant = $1 AND invoice = $2",
    )
    .bind(tenant.as_str())
    .bind(invoice.to_vec())
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        Ok(InvoiceStart {
            tenant: tenant.clone(),
            invoice: *invoice,
            paid_us: row.maybe_int("paid_us")?,
            at_us: row.int("at_us")?,
            missed: row.flag("missed")?,
        })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection as _};

    use super::*;
    use crate::sqlite::MIGRATIONS;

    /// What an older hub has told workflows of is decided; what it had not come to is not.
    #[tokio::test]
    async fn what_was_paid_before_is_decided_but_where_nobody_was_told() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let this = MIGRATIONS.iter().find(|one| one.description == "starts");
        let this = this.unwrap().version;
        let run = async |connection: &mut SqliteConnection, sql: &str| {
            let sql = AssertSqlSafe(sql.to_owned());
            sqlx::raw_sql(sql).execute(connection).await.unwrap();
        };
        for before in MIGRATIONS.iter().filter(|one| one.version < this) {
            run(&mut connection, before.sql.as_str()).await;
        }
        let tenant = "INSERT INTO tenants (tenant, created_us) VALUES ('acme', 1)";
        run(&mut connection, tenant).await;
        for (invoice, state, body) in [
            ("01", "settled", r#"{"about":{"paid_us":7}}"#),
            ("02", "confirming", r#"{"about":{}}"#),
            ("03", "settled", "no JSON"),
            ("04", "settled", "{}"),
            ("05", "new", "{}"),
        ] {
            let invoice = format!(
                "INSERT INTO invoices (tenant, invoice, version, state, body, watched_until_us, created_us, \
                 changed_us) VALUES ('acme', x'{invoice}', 1, '{state}', '{body}', 1, 1, 9)"
            );
            run(&mut connection, &invoice).await;
        }
        // Tried, and not taken by its receiver; and not tried as yet.
        for (invoice, attempts) in [("01", 3), ("04", 0)] {
            let effect = format!(
                "INSERT INTO invoice_effects (tenant, key, invoice, number, body, attempts, due_us) \
                 VALUES ('acme', x'{invoice}', x'{invoice}', {attempts}, '{{}}', {attempts}, 1)"
            );
            run(&mut connection, &effect).await;
        }
        let sql = MIGRATIONS.iter().find(|one| one.version == this);
        run(&mut connection, sql.unwrap().sql.as_str()).await;
        let rows =
            sqlx::query("SELECT hex(invoice) AS invoice, paid_us, at_us FROM invoice_starts");
        let rows = rows.fetch_all(&mut connection).await.unwrap();
        let decided: Vec<_> = rows
            .iter()
            .map(|row| {
                let (invoice, at_us) = (row.text("invoice").unwrap(), row.int("at_us").unwrap());
                (invoice, row.maybe_int("paid_us").unwrap(), at_us)
            })
            .collect();
        let is = |invoice: &str, paid_us| (invoice.to_owned(), paid_us, 9);
        assert_eq!(decided, [is("01", Some(7)), is("02", None), is("03", None)]);
    }
}
