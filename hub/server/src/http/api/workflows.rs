//! Workflow definitions.

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use stencil_store::{MAX_DEFINITION, Page, Workflow};
use stencil_workflow::definition;

use crate::WorkflowPut;
use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// Keeps a version of a workflow and puts it in force.
///
/// The body is the definition as YAML. The same text again changes nothing.
#[utoipa::path(
    put,
    path = "/api/v1/workflows/{workflow}",
    tag = "workflows",
    request_body(content = String, content_type = "application/yaml"),
    responses(
        (status = 201, description = "A new version, in force from now on", body = WorkflowPut),
        (status = 200, description = "Exactly this text was there before", body = WorkflowPut),
        (status = 409, description = "The version exists with another text, or is lower than the newest"),
        (status = 422, description = "The definition has errors; `errors` says where"),
    )
)]
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

/// Takes a workflow out of force; its versions and runs stay.
#[utoipa::path(
    delete,
    path = "/api/v1/workflows/{workflow}",
    tag = "workflows",
    responses((status = 204, description = "Out of force"))
)]
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

/// Workflows, by id: of each the version in force, else the newest.
#[utoipa::path(
    get,
    path = "/api/v1/workflows",
    tag = "workflows",
    params(Paging), responses((status = 200, body = Page<Workflow>))
)]
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

/// A workflow: the version in force, else the newest.
#[utoipa::path(
    get,
    path = "/api/v1/workflows/{workflow}",
    tag = "workflows",
    responses((status = 200, body = Workflow))
)]
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

/// The versions of a workflow, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/workflows/{workflow}/versions",
    tag = "workflows",
    params(Paging), responses((status = 200, body = Page<Workflow>))
)]
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
