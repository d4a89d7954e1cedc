//! Runs of workflows.

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use stencil_store::{Attempt, Page, Progress, Run, RunFilter, RunId};

use crate::http::input::{self, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// Which runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    workflow: Option<String>,
    state: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

/// A run with the history of its steps.
#[derive(Debug, Serialize)]
pub(in crate::http) struct WithAttempts {
    #[serde(flatten)]
    run: Run,
    attempts: Vec<Attempt>,
}

/// `GET /api/v1/runs?workflow&state&after&limit`, the newest first.
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

/// `GET /api/v1/runs/{run}`
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
