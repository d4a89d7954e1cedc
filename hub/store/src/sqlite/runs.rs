//! Runs, steps, attempts: the port and what reads.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::{CommandId, TenantId};

use super::row::Columns as _;
use super::{Sqlite, pair, pipeline};
use crate::page::clamp;
use crate::{
    Attempt, Claim, Error, Outcome, Page, Progress, Room, Run, RunFilter, RunId, Runs, Step,
    Trigger,
};

mod claim;
mod queue;

/// Due before anything that has a time.
pub(super) const AT_ONCE: i64 = 0;

/// How many runs' steps are read by one query.
const RUNS_AT_ONCE: usize = 16;

#[async_trait]
impl Runs for Sqlite {
    async fn trigger(&self, trigger: &Trigger) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let started = pipeline::start_runs(&mut transaction, std::slice::from_ref(trigger)).await;
        Ok(transaction.end(started).await? == 1)
    }

    async fn claim_due(
        &self,
        now_us: i64,
        lease_us: i64,
        room: &Room,
    ) -> Result<Vec<Claim>, Error> {
        // Looking costs no write: most of the time nothing is due.
        match self.next_due_us(&room.full()).await? {
            Some(due_us) if due_us <= now_us => {}
            _ => return Ok(Vec::new()),
        }
        let mut transaction = self.write().await?;
        let claims = claim::claim(
            &mut transaction,
            now_us,
            now_us.saturating_add(lease_us),
            room,
        )
        .await;
        transaction.end(claims).await
    }

    async fn record(
        &self,
        claim: &Claim,
        outcome: &Outcome,
        now_us: i64,
    ) -> Result<Option<i64>, Error> {
        let mut transaction = self.write().await?;
        let due = claim::record(&mut transaction, claim, outcome, now_us).await;
        transaction.end(due).await
    }

    async fn next_due_us(&self, without: &[TenantId]) -> Result<Option<i64>, Error> {
        let mut reader = self.readers().acquire().await?;
        queue::next_due_us(&mut reader, without).await
    }

    async fn get(&self, tenant: &TenantId, id: &RunId) -> Result<Option<Run>, Error> {
        let mut snapshot = self.snapshot().await?;
        let found = get(&mut snapshot, tenant, id).await;
        snapshot.end(found).await
    }

    async fn list(
        &self,
        tenant: &TenantId,
        filter: &RunFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Run>, Error> {
        let mut snapshot = self.snapshot().await?;
        let page = list(&mut snapshot, tenant, filter, after, limit).await;
        snapshot.end(page).await
    }

    async fn counts(&self, tenant: &TenantId) -> Result<Vec<(Progress, u64)>, Error> {
        let rows = sqlx::query(
            "SELECT state, COUNT(*) AS runs FROM runs WHERE tenant = $1 GROUP BY state",
        )
        .bind(tenant.as_str())
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| Ok((progress(row)?, row.number("runs")?)))
            .collect()
    }

    async fn counts_since(
        &self,
        tenant: &TenantId,
        since_us: i64,
    ) -> Result<Vec<(Progress, u64)>, Error> {
        let rows = sqlx::query(
            "SELECT state, COUNT(*) AS runs FROM runs WHERE tenant = $1 AND at_us >= $2 \
             GROUP BY state",
        )
        .bind(tenant.as_str())
        .bind(since_us)
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| Ok((progress(row)?, row.number("runs")?)))
            .collect()
    }

    async fn count_since(
        &self,
        tenant: &TenantId,
        workflow: &str,
        since_us: i64,
    ) -> Result<u64, Error> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS runs FROM runs \
             WHERE tenant = $1 AND workflow = $2 AND at_us >= $3",
        )
        .bind(tenant.as_str())
        .bind(workflow)
        .bind(since_us)
        .fetch_one(self.readers())
        .await?;
        row.number("runs")
    }

    async fn attempts(&self, tenant: &TenantId, run: &RunId) -> Result<Vec<Attempt>, Error> {
        let rows = sqlx::query(
            "SELECT step, number, started_us, ended_us, error FROM attempts \
             WHERE tenant = $1 AND run = $2 ORDER BY step, number",
        )
        .bind(tenant.as_str())
        .bind(run.0.to_vec())
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Attempt {
                    step: row.number("step")?,
                    number: row.number("number")?,
                    started_us: row.int("started_us")?,
                    ended_us: row.int("ended_us")?,
                    error: row.maybe_text("error")?,
                })
            })
            .collect()
    }

    async fn forget_ended(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let forgotten = sqlx::query(
            "DELETE FROM runs WHERE tenant = $1 AND run IN (SELECT run FROM runs \
             WHERE tenant = $1 AND ended_us < $2 ORDER BY ended_us LIMIT $3)",
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
}

/// Makes the runs due that wait for a command; says how many.
pub(super) async fn wake(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    command: &CommandId,
) -> Result<u64, Error> {
    let woken = sqlx::query(
        "UPDATE runs SET due_us = $1 WHERE tenant = $2 AND due_us IS NOT NULL AND run IN \
         (SELECT run FROM steps WHERE tenant = $2 AND waiting_for = $3 AND state = 'waiting')",
    )
    .bind(AT_ONCE)
    .bind(tenant.as_str())
    .bind(command.0.to_vec())
    .execute(&mut *connection)
    .await?;
    let caused = super::caused::wake(connection, tenant, command).await?;
    Ok(woken.rows_affected() + caused)
}

async fn get(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    id: &RunId,
) -> Result<Option<Run>, Error> {
    let row = sqlx::query(
        "SELECT run, workflow, version, event, state, at_us, ended_us, error FROM runs \
         WHERE tenant = $1 AND run = $2",
    )
    .bind(tenant.as_str())
    .bind(id.0.to_vec())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let mut found = run(tenant, &row)?;
    found.steps = steps_of(connection, tenant, &[*id])
        .await?
        .remove(id)
        .unwrap_or_default();
    Ok(Some(found))
}

async fn list(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    filter: &RunFilter,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<Run>, Error> {
    // One text a filter, so that each finds its index.
    const SELECT: [&str; 4] = [
        "SELECT run, workflow, version, event, state, at_us, ended_us, error FROM runs \
         WHERE tenant = $1 AND (at_us, run) < ($2, $3) AND at_us >= $5 ORDER BY at_us DESC, run DESC LIMIT $4",
        "SELECT run, workflow, version, event, state, at_us, ended_us, error FROM runs \
         WHERE tenant = $1 AND (at_us, run) < ($2, $3) AND at_us >= $5 AND workflow = $6 \
         ORDER BY at_us DESC, run DESC LIMIT $4",
        "SELECT run, workflow, version, event, state, at_us, ended_us, error FROM runs \
         WHERE tenant = $1 AND (at_us, run) < ($2, $3) AND at_us >= $5 AND state = $6 \
         ORDER BY at_us DESC, run DESC LIMIT $4",
        "SELECT run, workflow, version, event, state, at_us, ended_us, error FROM runs \
         WHERE tenant = $1 AND (at_us, run) < ($2, $3) AND at_us >= $5 AND workflow = $6 AND state = $7 \
         ORDER BY at_us DESC, run DESC LIMIT $4",
    ];
    let (mut at_us, mut id) = pair(after)?.unwrap_or((i64::MAX, RunId([0xff; 32])));
    // No run has the id of zeros: nothing of that very time is before it.
    if let Some(to_us) = filter.to_us.filter(|to_us| *to_us <= at_us) {
        (at_us, id) = (to_us, RunId([0; 32]));
    }
    let which = usize::from(filter.workflow.is_some()) + 2 * usize::from(filter.state.is_some());
    let mut query = sqlx::query(SELECT[which])
        .bind(tenant.as_str())
        .bind(at_us)
        .bind(id.0.to_vec())
        .bind(i64::from(clamp(limit)) + 1)
        .bind(filter.from_us.unwrap_or(i64::MIN));
    if let Some(workflow) = &filter.workflow {
        query = query.bind(workflow.as_str());
    }
    if let Some(state) = filter.state {
        query = query.bind(state.as_str());
    }
    let rows = query.fetch_all(&mut *connection).await?;
    let runs = rows
        .iter()
        .map(|row| run(tenant, row))
        .collect::<Result<_, _>>()?;
    let mut page = Page::cut(runs, limit, |run: &Run| format!("{}:{}", run.at_us, run.id));
    let ids: Vec<RunId> = page.items.iter().map(|run| run.id).collect();
    let mut steps = steps_of(connection, tenant, &ids).await?;
    for run in &mut page.items {
        run.steps = steps.remove(&run.id).unwrap_or_default();
    }
    Ok(page)
}

/// The steps of some runs, by index.
async fn steps_of(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    runs: &[RunId],
) -> Result<HashMap<RunId, Vec<Step>>, Error> {
    const ONE: &str = "SELECT run, step, id, uses, state, attempts, next_at_us, output, error, \
         effect_key, waiting_for FROM steps WHERE tenant = $1 AND run = $2 ORDER BY step";
    const MANY: &str = "SELECT run, step, id, uses, state, attempts, next_at_us, output, error, \
         effect_key, waiting_for FROM steps WHERE tenant = $1 AND run IN \
         ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
         ORDER BY run, step";
    let mut found: HashMap<RunId, Vec<Step>> = HashMap::new();
    for some in runs.chunks(RUNS_AT_ONCE) {
        let mut query = sqlx::query(if some.len() == 1 { ONE } else { MANY }).bind(tenant.as_str());
        // The places that are left take the last run once more.
        let places = if some.len() == 1 { 1 } else { RUNS_AT_ONCE };
        for run in some
            .iter()
            .chain(some.last().into_iter().cycle())
            .take(places)
        {
            query = query.bind(run.0.to_vec());
        }
        for row in query.fetch_all(&mut *connection).await? {
            found
                .entry(RunId(row.array("run")?))
                .or_default()
                .push(step(&row)?);
        }
    }
    Ok(found)
}

fn run(tenant: &TenantId, row: &SqliteRow) -> Result<Run, Error> {
    Ok(Run {
        id: RunId(row.array("run")?),
        tenant: tenant.clone(),
        workflow: row.text("workflow")?,
        version: row.number("version")?,
        event: row.json("event")?,
        state: progress(row)?,
        at_us: row.int("at_us")?,
        ended_us: row.maybe_int("ended_us")?,
        error: row.maybe_text("error")?,
        steps: Vec::new(),
    })
}

fn step(row: &SqliteRow) -> Result<Step, Error> {
    Ok(Step {
        index: row.number("step")?,
        id: row.text("id")?,
        uses: row.text("uses")?,
        state: progress(row)?,
        attempts: row.number("attempts")?,
        next_at_us: row.maybe_int("next_at_us")?,
        output: row.maybe_json("output")?,
        error: row.maybe_text("error")?,
        effect_key: row.text("effect_key")?,
        waiting_for: row
            .maybe_bytes("waiting_for")?
            .map(|_| row.array("waiting_for").map(CommandId))
            .transpose()?,
    })
}

fn progress(row: &SqliteRow) -> Result<Progress, Error> {
    let name = row.text("state")?;
    Progress::parse(&name).ok_or_else(|| Error::corrupt("progress", name))
}
