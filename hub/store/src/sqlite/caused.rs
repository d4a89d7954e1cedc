//! Runs that something on a chain has caused.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::command::State;
use stencil_protocol::id::{CommandId, TenantId};

use super::failure::of_tenant;
use super::row::{Columns as _, bigint};
use super::transaction::Transaction;
use super::{Sqlite, chains, commands, pipeline, runs};
use crate::caused::{
    CausedChange, CausedCommit, CausedCommitted, CausedRuns, CausingRun, InvoiceStart,
    MAX_TURNS_KEPT, ReadUpTo, SentBecause, StoredCaused, Turn, TurnKind,
};
use crate::page::clamp;
use crate::payments::{CauseKey, InvoiceKey};
use crate::{Error, RunId};

mod lineage;

const SELECT: &str = "SELECT tenant, run, cause, version, body, opened, wakes_us FROM caused_runs";

#[async_trait]
impl CausedRuns for Sqlite {
    async fn commit_caused(&self, commit: &CausedCommit) -> Result<CausedCommitted, Error> {
        let mut transaction = self.write().await?;
        let done = apply(&mut transaction, commit).await;
        transaction.end(done).await
    }

    async fn caused_by(&self, cause: &CauseKey) -> Result<Vec<StoredCaused>, Error> {
        let rows = sqlx::query(statement("WHERE cause = $1 ORDER BY tenant, run"))
            .bind(cause.to_vec())
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(stored).collect()
    }

    async fn caused(&self, tenant: &TenantId, run: &RunId) -> Result<Option<StoredCaused>, Error> {
        let row = sqlx::query(statement("WHERE tenant = $1 AND run = $2"))
            .bind(tenant.as_str())
            .bind(run.0.to_vec())
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(stored).transpose()
    }

    async fn waking_caused(&self, now_us: i64, limit: u32) -> Result<Vec<StoredCaused>, Error> {
        let rows = sqlx::query(statement(
            "WHERE wakes_us <= $1 ORDER BY wakes_us, tenant, run LIMIT $2",
        ))
        .bind(now_us)
        .bind(i64::from(clamp(limit)))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(stored).collect()
    }

    async fn next_waking_caused(&self) -> Result<Option<i64>, Error> {
        let row = sqlx::query(
            "SELECT MIN(wakes_us) AS wakes_us FROM caused_runs WHERE wakes_us IS NOT NULL",
        )
        .fetch_one(self.readers())
        .await?;
        row.maybe_int("wakes_us")
    }

    async fn caused_at(
        &self,
        chain: &str,
        newest: u64,
        finalized: Option<u64>,
        after: Option<(&TenantId, &RunId)>,
        limit: u32,
    ) -> Result<Vec<StoredCaused>, Error> {
        let (tenant, run) = match after {
            Some((tenant, run)) => (tenant.as_str(), run.0.to_vec()),
            None => ("", Vec::new()),
        };
        let rows = sqlx::query(statement(
            "WHERE (tenant, run) IN (\
             SELECT tenant, run FROM caused_waits WHERE chain = $1 AND newest <= $2 \
             UNION SELECT tenant, run FROM caused_waits WHERE chain = $1 AND finalized <= $3) \
             AND (tenant, run) > ($4, $5) ORDER BY tenant, run LIMIT $6",
        ))
        .bind(chain)
        .bind(bigint("block", newest)?)
        .bind(finalized.map(|block| bigint("block", block)).transpose()?)
        .bind(tenant)
        .bind(run)
        .bind(i64::from(clamp(limit)))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(stored).collect()
    }

    async fn will_send(
        &self,
        tenant: &TenantId,
        key: &str,
        because: SentBecause<'_>,
    ) -> Result<(), Error> {
        // It is asked for at each look at a transaction, and noted at the first.
        if lineage::is_noted(self.readers(), tenant, key).await? {
            return Ok(());
        }
        let mut transaction = self.write().await?;
        let noted = lineage::note(&mut transaction, tenant, key, because).await;
        transaction.end(noted).await
    }

    async fn causes_of(&self, chain: &str, tx: &[u8; 32]) -> Result<Vec<CausingRun>, Error> {
        lineage::of_transaction(self.readers(), chain, tx).await
    }

    async fn invoice_start(
        &self,
        tenant: &TenantId,
        invoice: &InvoiceKey,
    ) -> Result<Option<InvoiceStart>, Error> {
        lineage::start(self.readers(), tenant, invoice).await
    }

    async fn turns(&self, tenant: &TenantId, run: &RunId) -> Result<Vec<Turn>, Error> {
        let rows = sqlx::query(
            "SELECT step, kind, at_us, command, detail FROM caused_turns \
             WHERE tenant = $1 AND run = $2 ORDER BY number",
        )
        .bind(tenant.as_str())
        .bind(run.0.to_vec())
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(turn).collect()
    }
}

/// A statement about caused runs; no part of it comes from outside.
fn statement(rest: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{SELECT} {rest}"))
}

fn stored(row: &SqliteRow) -> Result<StoredCaused, Error> {
    Ok(StoredCaused {
        tenant: row.parsed("tenant")?,
        run: RunId(row.array("run")?),
        cause: row.array("cause")?,
        version: row.number("version")?,
        body: row.text("body")?,
        opened: row.number("opened")?,
        wakes_us: row.maybe_int("wakes_us")?,
        under_way: Vec::new(),
        expired: Vec::new(),
        waits: Vec::new(),
    })
}

fn turn(row: &SqliteRow) -> Result<Turn, Error> {
    let kind = row.text("kind")?;
    Ok(Turn {
        step: row.maybe_number("step")?,
        kind: TurnKind::parse(&kind).ok_or_else(|| Error::corrupt("kind of a turn", kind))?,
        at_us: row.int("at_us")?,
        command: match row.maybe_bytes("command")? {
            Some(_) => Some(CommandId(row.array("command")?)),
            None => None,
        },
        detail: row.maybe_text("detail")?,
    })
}

/// The end of a command makes the caused run due whose command it is; says how many that are.
pub(super) async fn wake(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    command: &CommandId,
) -> Result<u64, Error> {
    let woken = sqlx::query(
        "UPDATE caused_runs SET wakes_us = $1 WHERE tenant = $2 AND run = \
         (SELECT run FROM caused_commands WHERE tenant = $2 AND command = $3)",
    )
    .bind(runs::AT_ONCE)
    .bind(tenant.as_str())
    .bind(command.0.to_vec())
    .execute(connection)
    .await?;
    Ok(woken.rows_affected())
}

/// Whether a step of a run may be done by now.
pub(super) async fn is_open(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    run: &RunId,
    step: u32,
) -> Result<bool, Error> {
    let row = sqlx::query("SELECT opened FROM caused_runs WHERE tenant = $1 AND run = $2")
        .bind(tenant.as_str())
        .bind(run.0.to_vec())
        .fetch_optional(connection)
        .await?;
    let opened: u64 = row.map_or(Ok(0), |row| row.number("opened"))?;
    Ok(opened.checked_shr(step).is_some_and(|bits| bits & 1 == 1))
}

async fn apply(
    transaction: &mut Transaction,
    commit: &CausedCommit,
) -> Result<CausedCommitted, Error> {
    let connection = &mut **transaction;
    let mut committed = CausedCommitted {
        started: pipeline::start_runs(connection, &commit.runs).await?,
        ..CausedCommitted::default()
    };
    for one in &commit.lineages {
        let refused = lineage::set(connection, one, commit.at_us).await?;
        committed.refused += refused;
        committed.started = committed.started.saturating_sub(refused);
    }
    if let Some(start) = &commit.start {
        lineage::decide(connection, start, &commit.tells).await?;
    }
    for change in &commit.changes {
        committed.woken += put(connection, change).await?;
    }
    for command in &commit.commands {
        let is_new = commands::queue_or_fail(connection, command, commit.at_us).await?;
        committed.queued += u64::from(is_new);
    }
    for CausedChange { caused, .. } in &commit.changes {
        // They may have ended before this was kept.
        for command in &caused.under_way {
            if commands::is_over(connection, &caused.tenant, command).await? {
                wake(connection, &caused.tenant, command).await?;
            }
        }
        for command in &caused.expired {
            let state = commands::state_of(connection, &caused.tenant, command).await?;
            if state.is_some_and(|state| state != State::Expired) {
                wake(connection, &caused.tenant, command).await?;
            }
        }
    }
    match &commit.read {
        None => {}
        Some(ReadUpTo::Entry {
            chain,
            reader,
            position,
        }) => chains::advance(transaction, chain, reader, *position).await?,
        Some(ReadUpTo::InvoiceEffect { tenant, key }) => {
            super::payments::effect_done(connection, tenant, key, commit.at_us).await?;
        }
    }
    Ok(committed)
}

/// Puts a caused run, if its version follows the one that is there; says whether its run is woken.
async fn put(connection: &mut SqliteConnection, change: &CausedChange) -> Result<u64, Error> {
    let caused = &change.caused;
    let (tenant, run) = (caused.tenant.as_str(), caused.run.0.to_vec());
    let before = sqlx::query(
        "SELECT version, opened, wakes_us FROM caused_runs WHERE tenant = $1 AND run = $2",
    )
    .bind(tenant)
    .bind(run.clone())
    .fetch_optional(&mut *connection)
    .await?;
    let (version, opened): (u64, u64) = match &before {
        Some(row) => (row.number("version")?, row.number("opened")?),
        None => (0, 0),
    };
    if caused.version != version + 1 {
        return Err(Error::Conflict(format!(
            "run {} was changed meanwhile: {} does not follow {version}",
            caused.run, caused.version
        )));
    }
    sqlx::query(
        "INSERT INTO caused_runs (tenant, run, cause, version, body, opened, wakes_us) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, run) DO UPDATE SET \
         version = excluded.version, body = excluded.body, opened = excluded.opened, \
         wakes_us = excluded.wakes_us",
    )
    .bind(tenant)
    .bind(run.clone())
    .bind(caused.cause.to_vec())
    .bind(bigint("version", caused.version)?)
    .bind(caused.body.as_str())
    .bind(bigint("opened", caused.opened)?)
    .bind(caused.wakes_us)
    .execute(&mut *connection)
    .await
    .map_err(|error| of_tenant(error, tenant))?;
    for table in ["caused_waits", "caused_commands"] {
        let statement = format!("DELETE FROM {table} WHERE tenant = $1 AND run = $2");
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(tenant)
            .bind(run.clone())
            .execute(&mut *connection)
            .await?;
    }
    for wait in &caused.waits {
        let block = |block: Option<u64>| block.map(|block| bigint("block", block)).transpose();
        sqlx::query(
            "INSERT INTO caused_waits (tenant, run, chain, newest, finalized) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(tenant)
        .bind(run.clone())
        .bind(wait.chain.as_str())
        .bind(block(wait.newest)?)
        .bind(block(wait.finalized)?)
        .execute(&mut *connection)
        .await?;
    }
    for command in caused.under_way.iter().chain(&caused.expired) {
        sqlx::query("INSERT INTO caused_commands (tenant, command, run) VALUES ($1, $2, $3)")
            .bind(tenant)
            .bind(command.0.to_vec())
            .bind(run.clone())
            .execute(&mut *connection)
            .await?;
    }
    tell(connection, change).await?;
    if caused.opened & !opened == 0 {
        return Ok(0);
    }
    let woken = sqlx::query(
        "UPDATE runs SET due_us = $1 WHERE tenant = $2 AND run = $3 AND due_us IS NOT NULL \
         AND EXISTS (SELECT 1 FROM steps WHERE tenant = $2 AND run = $3 AND state = 'waiting' \
         AND waiting_for IS NULL)",
    )
    .bind(runs::AT_ONCE)
    .bind(tenant)
    .bind(run)
    .execute(connection)
    .await?;
    Ok(woken.rows_affected())
}

/// Adds turns to the history.
async fn tell(connection: &mut SqliteConnection, change: &CausedChange) -> Result<(), Error> {
    let caused = &change.caused;
    if change.turns.is_empty() {
        return Ok(());
    }
    for turn in &change.turns {
        sqlx::query(
            "INSERT INTO caused_turns (tenant, run, number, step, kind, at_us, command, detail) \
             VALUES ($1, $2, (SELECT COALESCE(MAX(number), 0) + 1 FROM caused_turns \
             WHERE tenant = $1 AND run = $2), $3, $4, $5, $6, $7)",
        )
        .bind(caused.tenant.as_str())
        .bind(caused.run.0.to_vec())
        .bind(turn.step.map(i64::from))
        .bind(turn.kind.as_str())
        .bind(turn.at_us)
        .bind(turn.command.map(|command| command.0.to_vec()))
        .bind(turn.detail.as_deref())
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query(
        "DELETE FROM caused_turns WHERE tenant = $1 AND run = $2 AND number <= \
         (SELECT MAX(number) FROM caused_turns WHERE tenant = $1 AND run = $2) - $3",
    )
    .bind(caused.tenant.as_str())
    .bind(caused.run.0.to_vec())
    .bind(i64::from(MAX_TURNS_KEPT))
    .execute(connection)
    .await?;
    Ok(())
}
