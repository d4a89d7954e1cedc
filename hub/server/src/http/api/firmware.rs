//! What a device says of its firmware, whether or not a roll-out is under way.

use axum::Json;
use axum::extract::State as Shared;
use serde::Serialize;
use stencil_rollout::Digest;
use stencil_store::{DeviceImage, DeviceVerdict};

use super::devices::known;
use crate::http::input::Path;
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// A device's firmware, by its own word.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Firmware {
    /// What it runs; null: it has not said.
    pub(in crate::http) runs: Option<Runs>,
    /// The last image that it did not take or went back from; null: there was none.
    pub(in crate::http) gave_up: Option<GaveUp>,
}

/// An image that a device runs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Runs {
    /// The SHA-256 of the image.
    #[schema(value_type = String)]
    pub(in crate::http) digest: Digest,
    /// Its sequence number; 0: the device came with it.
    pub(in crate::http) sequence: u64,
    /// What people call it, if the device knows.
    pub(in crate::http) version: Option<String>,
    /// Vendor and class of the device.
    pub(in crate::http) class: String,
    /// It runs on trial: the one before comes back unless it proves itself.
    pub(in crate::http) trial: bool,
    /// When the hub was told.
    pub(in crate::http) reported_us: i64,
}

/// An image that a device did not take or went back from.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct GaveUp {
    /// The SHA-256 of the image.
    #[schema(value_type = String)]
    pub(in crate::http) digest: Digest,
    /// Why, in words: the device's or its gateway's.
    pub(in crate::http) reason: String,
    /// When the hub was told.
    pub(in crate::http) reported_us: i64,
}

/// What a device runs, and the last image that it did not take.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{device}/firmware",
    tag = "devices",
    responses((status = 200, body = Firmware))
)]
pub(in crate::http) async fn of_device(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
) -> Result<Json<Firmware>, Problem> {
    let device = known(&state, &caller, &device).await?;
    said(&state, &caller, &device.id).await.map(Json)
}

/// What a device has said of its firmware.
pub(in crate::http) async fn said(
    state: &State,
    caller: &Caller,
    device: &stencil_protocol::id::DeviceId,
) -> Result<Firmware, Problem> {
    let rollouts = &state.store.rollouts;
    let runs = rollouts.device_image(&caller.tenant, device).await?;
    let gave_up = rollouts.device_verdict(&caller.tenant, device).await?;
    Ok(Firmware {
        runs: runs.map(Runs::from),
        gave_up: gave_up.map(GaveUp::from),
    })
}

impl From<DeviceImage> for Runs {
    fn from(image: DeviceImage) -> Self {
        Self {
            digest: Digest(image.digest),
            sequence: image.sequence,
            version: image.version,
            class: image.class,
            trial: image.trial,
            reported_us: image.reported_us,
        }
    }
}

impl From<DeviceVerdict> for GaveUp {
    fn from(verdict: DeviceVerdict) -> Self {
        Self {
            digest: Digest(verdict.digest),
            reason: verdict.reason,
            reported_us: verdict.reported_us,
        }
    }
}
