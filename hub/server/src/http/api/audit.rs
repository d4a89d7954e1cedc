//! The audit log: who changed what.

use axum::Json;
use axum::extract::State as Shared;
use serde::Deserialize;
use stencil_store::{AuditEntry, AuditFilter, AuditOutcome, Page};

use crate::http::input::{self, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// Which entries.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    /// By these only: `user ann`, `token ci`, `operator ben`, `command line`.
    who: Option<String>,
    /// Of this action only: the name of the operation, such as `tokens.create`.
    action: Option<String>,
    /// With this outcome only: `done`, `refused` or `failed`.
    #[param(value_type = Option<AuditOutcome>)]
    outcome: Option<String>,
    /// The cursor: `next` of the page before.
    after: Option<String>,
    /// Items at most, 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Entries of the audit log, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "audit",
    params(Which), responses((status = 200, body = Page<AuditEntry>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    let limit = input::list_limit(which.limit)?;
    let outcome = which.outcome.map(|name| {
        AuditOutcome::parse(&name).ok_or_else(|| {
            let detail = format!("`outcome` is `{name}`, it has to be done, refused or failed");
            Problem::invalid(detail)
        })
    });
    let filter = AuditFilter {
        who: which.who,
        action: which.action,
        outcome: outcome.transpose()?,
    };
    let (audit, after) = (&state.store.audit, which.after.as_deref());
    let page = audit.entries(&caller.tenant, &filter, after, limit);
    Ok(Json(page.await?))
}
