//! Time series of a device.

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_store::{SeriesName, SeriesPoint};

use super::{Whole, devices};
use crate::http::input::{self, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// The most points in one answer.
pub(in crate::http) const MAX_POINTS: u32 = 10_000;
const DEFAULT_POINTS: u32 = 1_000;

/// Which points.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Window {
    /// From this event time on, µs since the Unix epoch.
    from_us: Option<i64>,
    /// Up to, but not with, this event time.
    to_us: Option<i64>,
    /// The cursor: the time of the last point seen.
    after: Option<i64>,
    /// Points at most, 1,000 if it is not given.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u32>,
}

/// Points of a series.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Points {
    #[schema(value_type = String)]
    device: DeviceId,
    name: String,
    unit: Option<String>,
    items: Vec<SeriesPoint>,
    next: Option<String>,
}

/// The series of a device, by name.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{device}/series",
    tag = "series",
    responses((status = 200, body = Whole<SeriesName>))
)]
pub(in crate::http) async fn names(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
) -> Result<Json<Whole<SeriesName>>, Problem> {
    let device = devices::known(&state, &caller, &device).await?;
    Ok(Json(Whole::of(
        state.store.series.names(&caller.tenant, &device.id).await?,
    )))
}

/// The points of a series, by event time.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{device}/series/{name}",
    tag = "series",
    params(Window), responses((status = 200, body = Points))
)]
pub(in crate::http) async fn range(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((device, name)): Path<(String, String)>,
    Query(window): Query<Window>,
) -> Result<Json<Points>, Problem> {
    let limit = input::limit(window.limit, DEFAULT_POINTS, MAX_POINTS)?;
    let span = span(window.from_us, window.to_us)?;
    let (device, series) = known(&state, &caller, &device, &name).await?;
    let which = (&device, series);
    points(&state, &caller.tenant, which, span, window.after, limit)
        .await
        .map(Json)
}

/// The points of a span of a series behind the cursor, at most so many.
pub(in crate::http) async fn points(
    state: &State,
    tenant: &TenantId,
    (device, series): (&DeviceId, SeriesName),
    (mut from_us, to_us): (i64, i64),
    after: Option<i64>,
    limit: u32,
) -> Result<Points, Problem> {
    if let Some(after) = after {
        from_us = from_us.max(after.saturating_add(1));
    }
    let mut items = Vec::new();
    if from_us < to_us {
        let points = &state.store.series;
        items = points
            .range(tenant, device, &series.name, from_us, to_us, limit + 1)
            .await?;
    }
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items
        .last()
        .filter(|_| more)
        .map(|point| point.time_us.to_string());
    Ok(Points {
        device: device.clone(),
        name: series.name,
        unit: series.unit,
        items,
        next,
    })
}

/// A stretch of event time: from this on, up to but not with that.
pub(super) fn span(from_us: Option<i64>, to_us: Option<i64>) -> Result<(i64, i64), Problem> {
    let (from_us, to_us) = (from_us.unwrap_or(i64::MIN), to_us.unwrap_or(i64::MAX));
    if from_us > to_us {
        return Err(Problem::invalid(format!(
            "`from_us` {from_us} is after `to_us` {to_us}"
        )));
    }
    Ok((from_us, to_us))
}

/// A series of a device of the caller's tenant.
pub(super) async fn known(
    state: &State,
    caller: &Caller,
    device: &str,
    name: &str,
) -> Result<(DeviceId, SeriesName), Problem> {
    let device = devices::known(state, caller, device).await?.id;
    let series = of_device(state, &caller.tenant, &device, name).await?;
    Ok((device, series))
}

/// A series of a device.
pub(in crate::http) async fn of_device(
    state: &State,
    tenant: &TenantId,
    device: &DeviceId,
    name: &str,
) -> Result<SeriesName, Problem> {
    let names = state.store.series.names(tenant, device).await?;
    let series = names.into_iter().find(|series| series.name == name);
    series.ok_or_else(|| Problem::not_found("series", name))
}
