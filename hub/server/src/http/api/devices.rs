//! Devices and their newest values.

use axum::Json;
use axum::extract::State as Shared;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_store::{
    AlarmCounts, Device, DeviceCounts, DeviceFilter, Latest, Linked, Page, Standing,
};

use super::Whole;
use crate::http::input::{self, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State};
use crate::identity::Identity;

/// The longest text to search for, in bytes; no id is longer.
const MAX_SEARCH_BYTES: usize = 128;

/// Which devices. All of what is given has to hold.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    /// Devices whose id has this in it, whatever the case of its letters.
    #[param(max_length = 128)]
    search: Option<String>,
    /// Devices whose link is up (`connected`), down (`cut_off`), or of which nobody ever told
    /// (`unknown`).
    #[param(inline, value_type = Option<Link>)]
    link: Option<String>,
    /// Devices that were last heard through this gateway.
    gateway: Option<String>,
    /// The cursor: `next` of the page before.
    after: Option<String>,
    /// Items at most, 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// How a device's link is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "it is there for its schema")]
enum Link {
    Connected,
    CutOff,
    Unknown,
}

/// How much there is of what asks for attention.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Overview {
    /// Devices, by their links.
    devices: DeviceCounts,
    /// Alarms that are active, by severity.
    alarms: AlarmCounts,
}

/// A device.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct DeviceView {
    #[serde(flatten)]
    device: Device,
    /// Its DID, which its passport is of and credentials name; null: the hub is reached by no name that one can be
    /// made of.
    did: Option<String>,
}

impl DeviceView {
    pub(in crate::http) fn of(device: Device, tenant: &TenantId, identity: &Identity) -> Self {
        let did = identity.device_did(tenant, &device.id).ok();
        Self {
            did: did.map(|did| did.to_string()),
            device,
        }
    }
}

/// The devices, by id.
#[utoipa::path(
    get,
    path = "/api/v1/devices",
    tag = "devices",
    params(Which), responses((status = 200, body = Page<DeviceView>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Json<Page<DeviceView>>, Problem> {
    let limit = input::list_limit(which.limit)?;
    let linked = which.link.as_deref().map(link).transpose()?;
    let gateway = which.gateway.as_deref().map(GatewayId::parse).transpose();
    let gateway = gateway.map_err(|error| Problem::invalid(format!("the gateway: {error}")))?;
    let search = which.search.filter(|search| !search.is_empty());
    if search
        .as_ref()
        .is_some_and(|search| search.len() > MAX_SEARCH_BYTES)
    {
        let detail = format!("`search` may have at most {MAX_SEARCH_BYTES} bytes");
        return Err(Problem::invalid(detail));
    }
    let filter = DeviceFilter {
        search,
        linked,
        gateway,
        ..DeviceFilter::default()
    };
    let devices = &state.store.devices;
    let page = devices.find(&caller.tenant, &filter, which.after.as_deref(), limit);
    let (Page { items, next }, identity) = (page.await?, state.identity());
    let shown = |device| DeviceView::of(device, &caller.tenant, &identity);
    Ok(Json(Page {
        items: items.into_iter().map(shown).collect(),
        next,
    }))
}

fn link(name: &str) -> Result<Linked, Problem> {
    match name {
        "connected" => Ok(Linked::Connected),
        "cut_off" => Ok(Linked::CutOff),
        "unknown" => Ok(Linked::Unknown),
        _ => Err(Problem::invalid(format!(
            "`link` is `{name}`, it has to be connected, cut_off or unknown"
        ))),
    }
}

/// How many devices there are and how their links are, and how many alarms are active.
#[utoipa::path(
    get,
    path = "/api/v1/overview",
    tag = "devices",
    responses((status = 200, body = Overview))
)]
pub(in crate::http) async fn overview(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<Overview>, Problem> {
    let (store, tenant) = (&state.store, &caller.tenant);
    Ok(Json(Overview {
        devices: store.devices.counts(tenant, &Standing::default()).await?,
        alarms: store.alarms.counts(tenant).await?,
    }))
}

/// One device.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{device}",
    tag = "devices",
    responses((status = 200, body = DeviceView))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
) -> Result<Json<DeviceView>, Problem> {
    let device = known(&state, &caller, &device).await?;
    let identity = state.identity();
    Ok(Json(DeviceView::of(device, &caller.tenant, &identity)))
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

/// Erases all that is kept of a device, for good.
///
/// Its points, newest values, states of rules, commands, alarms, silences and quarantined payloads
/// are gone when this answers, and it is not listed any more. What stays: runs that it started with
/// their events, content and published pages that they made, its tokens, the audit log, and in the
/// loss ledger the numbers of each boot, as dropped with reason `erased`. Samples with these numbers
/// are left alone, however late they come; what else it sends from then on makes it a new device.
#[utoipa::path(
    delete,
    path = "/api/v1/devices/{device}",
    tag = "devices",
    responses((status = 204, description = "Erased"))
)]
pub(in crate::http) async fn erase(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
) -> Result<StatusCode, Problem> {
    let device = known(&state, &caller, &device).await?.id;
    state.control.erase_device(&caller.tenant, &device).await?;
    tracing::info!(tenant = %caller.tenant, %device, by = caller.who, "a device was erased");
    Ok(StatusCode::NO_CONTENT)
}

/// A device of the caller's tenant.
pub(in crate::http) async fn known(
    state: &State,
    caller: &Caller,
    device: &str,
) -> Result<Device, Problem> {
    of_tenant(state, &caller.tenant, &input::device(device)?).await
}

/// A device of a tenant.
pub(in crate::http) async fn of_tenant(
    state: &State,
    tenant: &TenantId,
    id: &DeviceId,
) -> Result<Device, Problem> {
    let device = state.store.devices.get(tenant, id).await?;
    device.ok_or_else(|| Problem::not_found("device", id))
}
