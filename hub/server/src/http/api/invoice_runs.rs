//! What the payment of an invoice has started, and what starts it after all.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use stencil_payments::invoice::Id;
use stencil_store::{Progress, RunId};

use super::invoices;
use crate::chains::Started;
use crate::http::audit::Detail;
use crate::http::input::Path;
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// What an invoice's payment has started.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct InvoiceRuns {
    /// The invoice is paid, be it deep enough for what waits for it or not.
    paid: bool,
    /// No workflow in force took the payment when it came, though there had been one for it: put one in force and
    /// `POST …/start`.
    missed: bool,
    /// The runs, by workflow.
    items: Vec<InvoiceRun>,
}

/// A run that a payment has started.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct InvoiceRun {
    /// The workflow.
    workflow: String,
    /// The run.
    #[schema(value_type = String)]
    run: RunId,
    /// Where it stands.
    state: Progress,
    /// Why it has failed, or was not started.
    error: Option<String>,
}

impl From<Started> for InvoiceRuns {
    fn from(started: Started) -> Self {
        let items = started.runs.into_iter().map(|run| InvoiceRun {
            workflow: run.workflow,
            run: run.run,
            state: run.state,
            error: run.error,
        });
        Self {
            paid: started.paid,
            missed: started.missed,
            items: items.collect(),
        }
    }
}

/// What an invoice's payment has started.
///
/// That is decided once, when the payment is first in a block: by the workflows that are in force then.
#[utoipa::path(
    get,
    path = "/api/v1/invoices/{invoice}/runs",
    tag = "invoices",
    responses((status = 200, body = InvoiceRuns))
)]
pub(in crate::http) async fn runs(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(invoice): Path<String>,
) -> Result<Json<InvoiceRuns>, Problem> {
    let id = invoices::id(&invoice)?;
    Ok(Json(of(&state, &caller, id).await?.into()))
}

/// What a payment has started, for who may read it.
pub(in crate::http) async fn of(
    state: &State,
    caller: &Caller,
    id: Id,
) -> Result<Started, Problem> {
    let started = state.control.triggers().started(&caller.tenant, id).await?;
    started.ok_or_else(|| Problem::not_found("invoice", id))
}

/// Has a payment start the workflows that are in force now, each that has not been started by it.
///
/// For a payment that no workflow took: when it came none was in force, or the one that was there waited for other
/// references.
#[utoipa::path(
    post,
    path = "/api/v1/invoices/{invoice}/start",
    tag = "invoices",
    responses(
        (status = 200, body = InvoiceRuns),
        (status = 409, description = "It is not paid, no workflow in force waits for it, or all that do were started by it"),
    )
)]
pub(in crate::http) async fn start(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(invoice): Path<String>,
) -> Result<Response, Problem> {
    let id = invoices::id(&invoice)?;
    let triggers = state.control.triggers();
    let started = triggers.start_by_hand(&caller.tenant, id).await?;
    let names: Vec<&str> = started.runs.iter().map(|it| it.workflow.as_str()).collect();
    let detail = Detail(format!("its runs are of {}", names.join(", ")));
    Ok((detail, Json(InvoiceRuns::from(started))).into_response())
}
