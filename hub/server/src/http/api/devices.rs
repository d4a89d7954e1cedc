//! Devices and their newest values.

use axum::Json;
use axum::extract::State as Shared;
use stencil_protocol::id::DeviceId;
use stencil_store::{Device, Latest, Page};

use super::Whole;
use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// The devices, by id.
#[utoipa::path(
    get,
    path = "/api/v1/devices",
    tag = "devices",
    params(Paging), responses((status = 200, body = Page<Device>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Device>>, Problem> {
    let limit = paging.limit()?;
    Ok(Json(
        state
            .store
            .devices
            .list(&caller.tenant, paging.after.as_deref(), limit)
            .await?,
    ))
}

/// One device.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{device}",
    tag = "devices",
    responses((status = 200, body = Device))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
) -> Result<Json<Device>, Problem> {
    known(&state, &caller, &device).await.map(Json)
}

/// Of each name of a device the newest value by event time.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{device}/latest",
    tag = "devices",
    responses((status = 200, body = Whole<Latest>))
)]
pub(in crate::http) async fn latest(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
) -> Result<Json<Whole<Latest>>, Problem> {
    let device = known(&state, &caller, &device).await?;
    let latest = state
        .store
        .devices
        .latest(&caller.tenant, &device.id)
        .await?;
    Ok(Json(Whole::of(latest)))
}

/// A device of the caller's tenant.
pub(in crate::http) async fn known(
    state: &State,
    caller: &Caller,
    device: &str,
) -> Result<Device, Problem> {
    let id: DeviceId = input::device(device)?;
    let device = state.store.devices.get(&caller.tenant, &id).await?;
    device.ok_or_else(|| Problem::not_found("device", &id))
}
