//! What became of every number that a device gave, and what could not be understood.

use axum::Json;
use axum::extract::State as Shared;
use stencil_store::{LedgerRow, Page, Quarantined};

use super::devices;
use crate::http::input::{Paging, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// What became of every number of every device, by device and boot.
#[utoipa::path(
    get,
    path = "/api/v1/ledger",
    tag = "ledger",
    params(Paging), responses((status = 200, body = Page<LedgerRow>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<LedgerRow>>, Problem> {
    let limit = paging.limit()?;
    Ok(Json(
        state
            .store
            .ledger
            .list(&caller.tenant, paging.after.as_deref(), limit)
            .await?,
    ))
}

/// What became of every number of a device, by boot.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{device}/ledger",
    tag = "ledger",
    params(Paging), responses((status = 200, body = Page<LedgerRow>))
)]
pub(in crate::http) async fn of_device(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<LedgerRow>>, Problem> {
    let limit = paging.limit()?;
    let device = devices::known(&state, &caller, &device).await?.id;
    let after = paging.after.as_deref();
    Ok(Json(
        state
            .store
            .ledger
            .of_device(&caller.tenant, &device, after, limit)
            .await?,
    ))
}

/// What could not be understood, the newest first; payloads as hexadecimal digits.
#[utoipa::path(
    get,
    path = "/api/v1/quarantine",
    tag = "ledger",
    params(Paging), responses((status = 200, body = Page<Quarantined>))
)]
pub(in crate::http) async fn quarantine(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Quarantined>>, Problem> {
    let limit = paging.limit()?;
    let after = paging.after.as_deref();
    Ok(Json(
        state
            .store
            .ledger
            .quarantine(&caller.tenant, after, limit)
            .await?,
    ))
}
