//! Runs of workflows.

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use stencil_store::{Attempt, Page, Progress, Run, RunFilter, RunId};

use crate::http::input::{self, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State};

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
}

/// Runs of workflows, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/runs",
    tag = "runs",
    params(Which), responses((status = 200, body = Page<Run>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
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
    Shared(state): Shared<State>,
    caller: Caller,
    Path(run): Path<String>,
) -> Result<Json<WithAttempts>, Problem> {
    let id: RunId = run.parse()?;
    let run = state.store.runs.get(&caller.tenant, &id).await?;
    let run = run.ok_or_else(|| Problem::not_found("run", id))?;
    let attempts = state.store.runs.attempts(&caller.tenant, &id).await?;
    Ok(Json(WithAttempts { run, attempts }))
}

fn progress(name: &str) -> Result<Progress, Problem> {
    Progress::parse(name).ok_or_else(|| {
        Problem::invalid(format!(
            "`state` is `{name}`, it has to be pending, running, waiting, done or failed"
        ))
    })
}
