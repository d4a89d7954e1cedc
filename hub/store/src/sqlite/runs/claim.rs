//! Claiming runs that are due, and recording what became of them.

use sqlx::SqliteConnection;
use stencil_protocol::id::TenantId;

use super::{queue, run, steps_of};
use crate::sqlite::bulk::Bulk;
use crate::sqlite::row::{Columns as _, bigint};
use crate::sqlite::{caused, commands, pipeline};
use crate::{Attempt, Claim, Error, MAX_ATTEMPTS_KEPT, Outcome, Progress, Room, RunId};

static STEPS: Bulk = Bulk::new(
    "INSERT INTO steps (tenant, run, step, id, uses, state, attempts, next_at_us, output, \
     error, effect_key, waiting_for)",
    12,
    "ON CONFLICT (tenant, run, step) DO UPDATE SET id = excluded.id, uses = excluded.uses, \
     state = excluded.state, attempts = excluded.attempts, next_at_us = excluded.next_at_us, \
     output = excluded.output, error = excluded.error, effect_key = excluded.effect_key, \
     waiting_for = excluded.waiting_for",
);

pub(super) async fn claim(
    connection: &mut SqliteConnection,
    now_us: i64,
    lease_until_us: i64,
    room: &Room,
) -> Result<Vec<Claim>, Error> {
    let due = queue::next(connection, now_us, room).await?;
    let mut claims = Vec::with_capacity(due.len());
    for (tenant, run_id) in due {
        let row = sqlx::query(
            "UPDATE runs SET due_us = $1, fence = fence + 1, \
             state = CASE WHEN state = 'pending' THEN 'running' ELSE state END \
             WHERE tenant = $2 AND run = $3 \
             RETURNING run, workflow, version, event, state, at_us, ended_us, error, fence",
        )
        .bind(lease_until_us)
        .bind(tenant.as_str())
        .bind(run_id)
        .fetch_one(&mut *connection)
        .await?;
        let fence = row.number("fence")?;
        claims.push(Claim {
            run: run(&tenant, &row)?,
            fence,
            lease_until_us,
        });
    }
    for claim in &mut claims {
        let id = claim.run.id;
        let mut steps = steps_of(connection, &claim.run.tenant, &[id]).await?;
        claim.run.steps = steps.remove(&id).unwrap_or_default();
    }
    Ok(claims)
}

pub(super) async fn record(
    connection: &mut SqliteConnection,
    claim: &Claim,
    outcome: &Outcome,
    now_us: i64,
) -> Result<Option<i64>, Error> {
    let tenant = &claim.run.tenant;
    let ended = outcome.state.is_final();
    let mut due_us = (!ended).then_some(outcome.due_us);
    for step in &outcome.steps {
        // The command may have ended before anybody knew who waits for it.
        let waiting = step
            .waiting_for
            .filter(|_| step.state == Progress::Waiting && !ended);
        if let Some(command) = waiting
            && let Some(state) = commands::state_of(connection, tenant, &command).await?
            && state.is_settled()
        {
            due_us = due_us.map(|due| due.min(now_us));
        }
        // So may the cause have become deep enough.
        let waits = step.state == Progress::Waiting && step.waiting_for.is_none() && !ended;
        if waits && caused::is_open(connection, tenant, &claim.run.id, step.index).await? {
            due_us = due_us.map(|due| due.min(now_us));
        }
    }
    let recorded = sqlx::query(
        "UPDATE runs SET state = $1, due_us = $2, ended_us = $3, error = $4 \
         WHERE tenant = $5 AND run = $6 AND fence = $7 AND due_us IS NOT NULL",
    )
    .bind(outcome.state.as_str())
    .bind(due_us)
    .bind(ended.then_some(now_us))
    .bind(outcome.error.as_deref())
    .bind(tenant.as_str())
    .bind(claim.run.id.0.to_vec())
    .bind(bigint("fence", claim.fence)?)
    .execute(&mut *connection)
    .await?;
    if recorded.rows_affected() != 1 {
        return Err(Error::Conflict(format!(
            "run {} was taken over",
            claim.run.id
        )));
    }
    let steps = pipeline::last_of_each(&outcome.steps, |step| step.index);
    STEPS
        .execute(connection, &steps, |query, step| {
            query
                .bind(tenant.as_str().to_owned())
                .bind(claim.run.id.0.to_vec())
                .bind(i64::from(step.index))
                .bind(step.id.clone())
                .bind(step.uses.clone())
                .bind(step.state.as_str())
                .bind(i64::from(step.attempts))
                .bind(step.next_at_us)
                .bind(step.output.as_ref().map(ToString::to_string))
                .bind(step.error.clone())
                .bind(step.effect_key.clone())
                .bind(step.waiting_for.map(|command| command.0.to_vec()))
        })
        .await?;
    if let Some(attempt) = &outcome.attempt {
        record_attempt(connection, tenant, &claim.run.id, attempt).await?;
    }
    Ok(due_us)
}

async fn record_attempt(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    run: &RunId,
    attempt: &Attempt,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO attempts (tenant, run, step, number, started_us, ended_us, error) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, run, step, number) \
         DO UPDATE SET started_us = excluded.started_us, ended_us = excluded.ended_us, \
         error = excluded.error",
    )
    .bind(tenant.as_str())
    .bind(run.0.to_vec())
    .bind(i64::from(attempt.step))
    .bind(i64::from(attempt.number))
    .bind(attempt.started_us)
    .bind(attempt.ended_us)
    .bind(attempt.error.as_deref())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM attempts WHERE tenant = $1 AND run = $2 AND step = $3 AND number <= $4",
    )
    .bind(tenant.as_str())
    .bind(run.0.to_vec())
    .bind(i64::from(attempt.step))
    .bind(i64::from(attempt.number) - i64::from(MAX_ATTEMPTS_KEPT))
    .execute(connection)
    .await?;
    Ok(())
}
