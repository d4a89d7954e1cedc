//! Workflow definitions.

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use stencil_store::{MAX_DEFINITION, Page, Workflow};
use stencil_workflow::definition;

use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// `PUT /api/v1/workflows/{workflow}`: the definition as YAML. 201 for a new version, 200 if
/// exactly this text was there before; in force from now on.
pub(in crate::http) async fn put(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(workflow): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let bytes = input::body(request, &(), MAX_DEFINITION).await?;
    let yaml = std::str::from_utf8(&bytes).map_err(|error| {
        Problem::invalid(format!(
            "the definition is not UTF-8 from byte {}",
            error.valid_up_to()
        ))
    })?;
    let parsed = definition::parse(yaml)?;
    if parsed.id != workflow {
        let what = format!(
            "the definition's `id` is `{}`, the path's is `{workflow}`",
            parsed.id
        );
        let error = json!({ "what": &what, "right": "give both the same id" });
        return Err(Problem::new(Kind::InvalidWorkflow, what).with_errors(vec![error]));
    }
    let put = state.control.put_workflow(&caller.tenant, yaml).await?;
    let status = if put.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(put)).into_response())
}

/// `DELETE /api/v1/workflows/{workflow}`: out of force; its versions and runs stay.
pub(in crate::http) async fn stop(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(workflow): Path<String>,
) -> Result<StatusCode, Problem> {
    if state
        .store
        .workflows
        .get(&caller.tenant, &workflow, None)
        .await?
        .is_none()
    {
        return Err(Problem::not_found("workflow", workflow));
    }
    state
        .control
        .stop_workflow(&caller.tenant, &workflow)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/workflows?after&limit`: of each the version in force, else the newest.
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Workflow>>, Problem> {
    let limit = paging.limit()?;
    Ok(Json(
        state
            .store
            .workflows
            .list(&caller.tenant, paging.after.as_deref(), limit)
            .await?,
    ))
}

/// `GET /api/v1/workflows/{workflow}`: the version in force, else the newest.
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(workflow): Path<String>,
) -> Result<Json<Workflow>, Problem> {
    let found = state
        .store
        .workflows
        .get(&caller.tenant, &workflow, None)
        .await?;
    found
        .map(Json)
        .ok_or_else(|| Problem::not_found("workflow", workflow))
}

/// `GET /api/v1/workflows/{workflow}/versions?after&limit`, the newest first.
pub(in crate::http) async fn versions(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(workflow): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Workflow>>, Problem> {
    let limit = paging.limit()?;
    let after = paging.after.as_deref();
    Ok(Json(
        state
            .store
            .workflows
            .versions(&caller.tenant, &workflow, after, limit)
            .await?,
    ))
}
