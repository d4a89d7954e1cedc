//! `GET /devices/{device}`: one device.

use axum::extract::State as Shared;
use axum::response::Html;
use serde::Deserialize;

use super::super::api::devices;
use super::super::input::{Path, Query};
use super::super::problem::Problem;
use super::super::{Caller, State};
use super::{Frame, Nav, chart, shell};

/// What of the device is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct View {
    /// The chart's series.
    pub(super) name: Option<String>,
    /// The chart's window.
    pub(super) from_us: Option<i64>,
    pub(super) to_us: Option<i64>,
}

/// `GET /devices/{device}?name&from_us&to_us`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
    Query(view): Query<View>,
) -> Result<Html<String>, Problem> {
    let device = devices::known(&state, &caller, &device).await?;
    let chart = chart::render(&state, &caller, &device.id, &view).await?;
    let frame = Frame::new(Nav::Devices, device.id.as_str())
        .crumb("/devices", "Devices")
        .watch(device.id.as_str());
    shell(&state, &caller, frame, chart).await
}
