//! Runs of workflows.

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use stencil_protocol::command::State;
use stencil_protocol::id::TenantId;
use stencil_store::{
    Attempt, Page, Progress, Run, RunFilter, RunId, Step, Store, StoredCommand, Turn,
};
use stencil_workflow::Definition;
use stencil_workflow::definition;

use crate::http::input::{self, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State as HubState};

/// Which runs.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    /// Runs of this workflow only.
    workflow: Option<String>,
    /// Runs in this state only: `pending`, `running`, `waiting`, `done` or `failed`.
    #[param(value_type = Option<Progress>)]
    state: Option<String>,
    /// Runs whose rule fired at this time (event time) or later.
    from_us: Option<i64>,
    /// Runs whose rule fired before this time.
    to_us: Option<i64>,
    /// The cursor: `next` of the page before.
    after: Option<String>,
    /// Items at most, 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A run with the history of its steps.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct WithAttempts {
    #[serde(flatten)]
    run: Run,
    attempts: Vec<Attempt>,
    /// What happened to its cause on a chain, and what devices were told because of that, in order.
    turns: Vec<WithCommand>,
    /// What the step that waits for its cause waits for, such as `3 confirmations`.
    waits_for: Option<String>,
}

/// A turn, with how the command stands that the device was given.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct WithCommand {
    #[serde(flatten)]
    turn: Turn,
    /// How the command stands.
    #[schema(value_type = Option<stencil_store::schema::CommandState>)]
    command_state: Option<State>,
}

/// What happened to the cause of a run, with how commands stand.
pub(in crate::http) async fn turns(
    store: &Store,
    tenant: &TenantId,
    run: &RunId,
) -> Result<Vec<(Turn, Option<StoredCommand>)>, stencil_store::Error> {
    let mut turns = Vec::new();
    for turn in store.caused.turns(tenant, run).await? {
        let command = match &turn.command {
            Some(command) => store.commands.get(tenant, command).await?,
            None => None,
        };
        turns.push((turn, command));
    }
    Ok(turns)
}

/// What the step waits for that waits for its cause, of a run of this definition.
pub(in crate::http) fn waits_for(run: &Run, definition: &Definition) -> Option<(u32, String)> {
    let waits = |step: &&Step| step.state == Progress::Waiting && step.waiting_for.is_none();
    let step = run.steps.iter().find(waits)?;
    let of = definition.steps.iter().find(|of| of.id == step.id)?;
    let needs = of.finality.as_ref()?.needs;
    Some((step.index, definition::named(needs)))
}

/// Runs of workflows, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/runs",
    tag = "runs",
    params(Which), responses((status = 200, body = Page<Run>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<HubState>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Json<Page<Run>>, Problem> {
    let limit = input::list_limit(which.limit)?;
    let progress = which.state.as_deref().map(progress).transpose()?;
    let filter = RunFilter {
        workflow: which.workflow,
        state: progress,
        from_us: which.from_us,
        to_us: which.to_us,
    };
    let after = which.after.as_deref();
    Ok(Json(
        state
            .store
            .runs
            .list(&caller.tenant, &filter, after, limit)
            .await?,
    ))
}

/// A run with the history of its steps.
#[utoipa::path(
    get,
    path = "/api/v1/runs/{run}",
    tag = "runs",
    responses((status = 200, body = WithAttempts))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<HubState>,
    caller: Caller,
    Path(run): Path<String>,
) -> Result<Json<WithAttempts>, Problem> {
    let id: RunId = run.parse()?;
    let run = state.store.runs.get(&caller.tenant, &id).await?;
    let run = run.ok_or_else(|| Problem::not_found("run", id))?;
    let attempts = state.store.runs.attempts(&caller.tenant, &id).await?;
    let turns = turns(&state.store, &caller.tenant, &id).await?;
    let version = Some(run.version);
    let workflows = &state.store.workflows;
    let version = workflows
        .get(&caller.tenant, &run.workflow, version)
        .await?;
    let definition = version.and_then(|version| definition::parse(&version.yaml).ok());
    let waits_for = definition
        .and_then(|definition| waits_for(&run, &definition))
        .map(|(_, what)| what);
    Ok(Json(WithAttempts {
        run,
        attempts,
        turns: turns
            .into_iter()
            .map(|(turn, command)| WithCommand {
                turn,
                command_state: command.map(|command| command.state),
            })
            .collect(),
        waits_for,
    }))
}

fn progress(name: &str) -> Result<Progress, Problem> {
    Progress::parse(name).ok_or_else(|| {
        Problem::invalid(format!(
            "`state` is `{name}`, it has to be pending, running, waiting, done or failed"
        ))
    })
}
