//! What became of every number that a device gave, and what could not be understood.

use axum::Json;
use axum::extract::State as Shared;
use stencil_store::{LedgerRow, Page, Quarantined};

use super::devices;
use crate::http::input::{Paging, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// `GET /api/v1/ledger?after&limit`, by device and boot.
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

/// `GET /api/v1/devices/{device}/ledger?after&limit`, by boot.
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

/// `GET /api/v1/quarantine?after&limit`, the newest first; payloads as hexadecimal digits.
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
