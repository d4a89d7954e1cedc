//! Workflow definitions.

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use stencil_store::{AtGateway, MAX_DEFINITION, Page, Workflow};
use stencil_workflow::{Definition, definition};

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

/// A definition that is not kept yet.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Draft {
    /// The definition as YAML.
    definition: String,
}

/// Whether a definition can be taken.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Checked {
    /// Whether it is well formed. The first five of what follows are there if it is, the others if
    /// it is not.
    ok: bool,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    /// When it fires, in plain words.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// When it fires and what comes of that, in plain words.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    /// What its author should look at again.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<String>>,
    /// The line of what is wrong, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// The column of what is wrong, from 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u64>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<String>,
}

/// Checks a definition without keeping it.
///
/// The answer is 200 for a wrong one too: that it is wrong is what was asked. What it says is right
/// can be put, unless its version is kept already with another text.
#[utoipa::path(
    post,
    path = "/api/v1/workflows/check",
    tag = "workflows",
    request_body = Draft,
    responses((status = 200, body = Checked))
)]
pub(in crate::http) async fn check(
    Shared(state): Shared<State>,
    _: Caller,
    input::Json(draft): input::Json<Draft, { input::MAX_BODY_BYTES }>,
) -> Json<Checked> {
    let parsed = definition::parse(&draft.definition);
    let checked = parsed.and_then(|parsed| {
        state.control.check_workflow(&parsed)?;
        Ok(parsed)
    });
    Json(match checked {
        Ok(definition) => Checked {
            ok: true,
            rule: Some(definition.source.to_string()),
            summary: Some(summary(&definition)),
            warnings: Some(definition.warnings()),
            workflow: Some(definition.id),
            version: Some(definition.version),
            ..Checked::default()
        },
        Err(error) => Checked {
            line: Some(error.at.line),
            column: Some(error.at.column),
            problem: Some(error.what),
            suggestion: Some(error.right),
            ..Checked::default()
        },
    })
}

/// "temperature of freezer-*: the value is above -12 for 3s. A major alarm is raised, and 2 steps
/// are run."
fn summary(definition: &Definition) -> String {
    let steps = match definition.steps.len() {
        0 => None,
        1 => Some("one step is run".to_owned()),
        several => Some(format!("{several} steps are run")),
    };
    let alarm = definition
        .alarm
        .as_ref()
        .map(|alarm| format!("a {} alarm is raised", alarm.severity.as_str()));
    let mut leads = match (alarm, steps) {
        (Some(alarm), Some(steps)) => format!("{alarm}, and {steps}"),
        (alarm, steps) => alarm.or(steps).unwrap_or_default(),
    };
    if let Some(first) = leads.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let place = definition
        .place
        .as_ref()
        .map(|place| format!(" Gateways {} judge it first.", place.gateways));
    format!(
        "{}. {leads}.{}",
        definition.source,
        place.unwrap_or_default()
    )
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

/// Where a workflow's rule is judged.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct AtGateways {
    /// The gateways that were told of it, by name.
    items: Vec<AtGateway>,
}

/// The most gateways that are listed.
const MAX_GATEWAYS: u32 = 1_000;

/// The gateways at which a workflow's rule is placed, as each says itself: which version it was
/// told last, and whether it judges it, or why not.
///
/// A gateway that was not connected since does not know of a newer version yet, and goes on with
/// the one that it has. The first 1,000, by name.
#[utoipa::path(
    get,
    path = "/api/v1/workflows/{workflow}/gateways",
    tag = "workflows",
    responses((status = 200, body = AtGateways))
)]
pub(in crate::http) async fn at_gateways(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(workflow): Path<String>,
) -> Result<Json<AtGateways>, Problem> {
    let workflows = &state.store.workflows;
    let items = workflows.at_gateways(&caller.tenant, Some(&workflow), MAX_GATEWAYS);
    Ok(Json(AtGateways {
        items: items.await?,
    }))
}
