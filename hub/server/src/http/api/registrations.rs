//! Which devices are let in: looking at it, and ending or renewing it.

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use stencil_crypto::{Psk, rng};
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_store::{DeviceKey, Moved, Page, Registration, RegistrationState, Renewal, TokenKind};

use super::enrolment::{given, hub_key, known_gateway};
use crate::http::audit::Detail;
use crate::http::input::{self, Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};
use crate::registry::{self, Given};

/// Which registrations.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    /// Those of this gateway.
    gateway: Option<String>,
    /// Those that are `enrolled`, or `revoked`.
    #[param(inline, value_type = Option<RegistrationState>)]
    state: Option<String>,
    /// The cursor: `next` of the page before.
    after: Option<String>,
    /// Items at most, 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A registration with its keys.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Registered {
    #[serde(flatten)]
    registration: Registration,
    /// The keys that the device has had, the newest first.
    keys: Vec<DeviceKey>,
}

/// A device's next key, in one of three forms.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Replacement {
    /// The claim code of the hardware that takes the device's place.
    claim_code: Option<String>,
    /// The key as it is, 64 hexadecimal digits.
    psk: Option<String>,
    /// The key sealed to this hub for this tenant and device, base64.
    sealed_psk: Option<String>,
}

/// Where a device is now.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Move {
    /// The gateway that it speaks through from now on.
    #[schema(value_type = String)]
    gateway: GatewayId,
}

/// A key that a device is given.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Renewed {
    /// The number of the key.
    generation: u64,
}

/// The devices that were claimed, enrolled or revoked, by id.
#[utoipa::path(
    get,
    path = "/api/v1/registrations",
    tag = "registrations",
    params(Which), responses((status = 200, body = Page<Registration>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Json<Page<Registration>>, Problem> {
    let limit = input::list_limit(which.limit)?;
    let gateway = which.gateway.as_deref().map(GatewayId::parse).transpose();
    let gateway = gateway.map_err(|error| Problem::invalid(format!("the gateway: {error}")))?;
    let standing = match which.state.as_deref() {
        None => None,
        Some("enrolled") => Some(RegistrationState::Enrolled),
        Some("revoked") => Some(RegistrationState::Revoked),
        Some(other) => {
            let detail = format!("`state` is `{other}`, it has to be enrolled or revoked");
            return Err(Problem::invalid(detail));
        }
    };
    let registry = &state.store.registry;
    let page = registry
        .registrations(
            &caller.tenant,
            gateway.as_ref(),
            standing,
            which.after.as_deref(),
            limit,
        )
        .await?;
    Ok(Json(page))
}

/// Whether a device is let in, and the keys that it has had.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{device}/registration",
    tag = "registrations",
    responses((status = 200, body = Registered))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
) -> Result<Json<Registered>, Problem> {
    let device = input::device(&device)?;
    let registry = &state.store.registry;
    let registration = registry.registration(&caller.tenant, &device).await?;
    let registration =
        registration.ok_or_else(|| Problem::not_found("registration of device", &device))?;
    let keys = registry.device_keys(&caller.tenant, &device).await?;
    Ok(Json(Registered { registration, keys }))
}

/// Revokes a device, also one that was only ever heard.
///
/// When this answers, its keys open nothing any more, what it sends is refused and counted as
/// dropped (`revoked`), and its MQTT tokens and sessions have ended; its gateway, as soon as the hub
/// reaches it, ends its link. Its commands that were not done have failed. Its history stays.
#[utoipa::path(
    post,
    path = "/api/v1/devices/{device}/revoke",
    tag = "registrations",
    responses((status = 200, body = Registration))
)]
pub(in crate::http) async fn revoke(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
) -> Result<Json<Registration>, Problem> {
    let device = input::device(&device)?;
    let (tenant, registry, now_us) = (&caller.tenant, &state.store.registry, state.clock.now_us());
    let news = registry.revoke(tenant, &device, now_us).await?;
    state.control.keys_changed();
    end_tokens(&state, &caller, &device).await?;
    // Also if it was revoked before: then it is sure when this answers.
    state.control.admit_device(tenant, &device, true).await?;
    if news {
        tracing::info!(%tenant, %device, by = caller.who, "a device was revoked");
    }
    registered(&state, &caller, &device).await.map(Json)
}

/// Gives a device a new key over its link; the one before holds until the device has used it.
#[utoipa::path(
    post,
    path = "/api/v1/devices/{device}/rotate",
    tag = "registrations",
    responses(
        (status = 200, body = Renewed),
        (status = 409, description = "The hub has no key of it, or a new one is on its way"),
    )
)]
pub(in crate::http) async fn rotate(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
) -> Result<Json<Renewed>, Problem> {
    let device = input::device(&device)?;
    let key = Given::Open(Psk::generate(&mut rng::Os));
    renew(&state, &caller, &device, &key, Renewal::Rotate).await
}

/// Gives a device other hardware, or the same after it was wiped: its name, its history, its alarms
/// go on.
///
/// With `claim_code` a device that was born takes its place; else it is the hardware that holds this
/// key and speaks by the device's name. What it had before opens nothing any more, and a
/// revocation is over.
#[utoipa::path(
    post,
    path = "/api/v1/devices/{device}/replace",
    tag = "registrations",
    request_body = Replacement,
    responses(
        (status = 200, body = Renewed),
        (status = 409, description = "The key, or the name, is another device's"),
    )
)]
pub(in crate::http) async fn replace(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
    request: axum::extract::Request,
) -> Result<Json<Renewed>, Problem> {
    let device = input::device(&device)?;
    let address = crate::http::listener::Peer::address(request.extensions());
    let input::Json(wanted) = input::json::<Replacement>(request).await?;
    let key = given(
        wanted.psk.as_deref(),
        wanted.sealed_psk.as_deref(),
        wanted.claim_code.as_deref(),
    );
    let key =
        key.map_err(|problem| Problem::invalid(format!("`{}`: {}", problem.field, problem.what)))?;
    let attempt = match &key {
        Given::Code(_) => Some(super::enrolment::begin(&state, &caller, address)?),
        Given::Open(_) | Given::Sealed(_) => None,
    };
    let renewed = renew(&state, &caller, &device, &key, Renewal::Replace).await;
    if let (Some((attempt, begun_us)), Ok(_)) = (attempt, &renewed) {
        state.claims().succeeded(&attempt, begun_us);
    }
    let renewed = renewed?;
    state
        .control
        .admit_device(&caller.tenant, &device, false)
        .await?;
    Ok(renewed)
}

/// Has a device speak through another gateway. Its name, its key and its history stay.
///
/// The gateway is given its key, and the one before is told to forget it, each as soon as the hub
/// reaches it; commands and roll-outs follow when the device has linked there.
#[utoipa::path(
    post,
    path = "/api/v1/devices/{device}/move",
    operation_id = "move",
    tag = "registrations",
    request_body = Move,
    responses(
        (status = 200, body = Registration),
        (status = 409, description = "The gateway has as many devices as it may"),
    )
)]
pub(in crate::http) async fn move_to(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
    input::Json(to): input::Json<Move>,
) -> Result<(Detail, Json<Registration>), Problem> {
    let device = input::device(&device)?;
    let (tenant, gateway) = (&caller.tenant, &to.gateway);
    let (registry, now_us) = (&state.store.registry, state.clock.now_us());
    known_gateway(&state, &caller, gateway).await?;
    let max = registry::MAX_GATEWAY_DEVICES;
    let before = match registry
        .move_device(tenant, &device, gateway, max, now_us)
        .await?
    {
        Moved::From(before) => before,
        Moved::Unchanged => Some(gateway.clone()),
        Moved::NoSuchGateway => {
            return Err(Problem::invalid(registry::no_such_gateway(gateway, &[])));
        }
        Moved::Full => {
            let detail = format!("gateway {gateway} has {max} devices, which is the most");
            return Err(Problem::new(Kind::Conflict, detail));
        }
    };
    state.control.keys_changed();
    let from = before.as_ref().map_or("no gateway", GatewayId::as_str);
    tracing::info!(%tenant, %device, from, %gateway, by = caller.who, "a device was moved");
    let detail = Detail(format!("from {from} to {gateway}"));
    Ok((detail, Json(registered(&state, &caller, &device).await?)))
}

async fn renew(
    state: &State,
    caller: &Caller,
    device: &DeviceId,
    key: &Given,
    how: Renewal,
) -> Result<Json<Renewed>, Problem> {
    let keys = hub_key(state)?;
    let (tenant, now_us) = (&caller.tenant, state.clock.now_us());
    let registry = state.store.registry.as_ref();
    let renewed = registry::renew(registry, &keys, tenant, device, key, how, now_us).await?;
    let generation = renewed.map_err(|problem| match problem.what.as_str() {
        registry::NO_SUCH_CODE => Problem::new(Kind::NotFound, problem.what),
        _ => Problem::new(Kind::Conflict, problem.what),
    })?;
    state.control.keys_changed();
    tracing::info!(%tenant, %device, generation, ?how, by = caller.who, "a device has a new key");
    Ok(Json(Renewed { generation }))
}

/// Ends the tokens by which a device signs in to MQTT.
async fn end_tokens(state: &State, caller: &Caller, device: &DeviceId) -> Result<(), Problem> {
    let (tenancy, now_us) = (&state.store.tenancy, state.clock.now_us());
    let mut after = None;
    loop {
        let page = tenancy
            .tokens(&caller.tenant, after.as_deref(), stencil_store::MAX_PAGE)
            .await?;
        for token in page.items {
            let of_device =
                matches!(&token.owner, TokenKind::Device { device: of } if of == device);
            if of_device && token.revoked_us.is_none() {
                tenancy
                    .revoke_token(&caller.tenant, &token.id, now_us)
                    .await?;
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

async fn registered(
    state: &State,
    caller: &Caller,
    device: &DeviceId,
) -> Result<Registration, Problem> {
    let found = state
        .store
        .registry
        .registration(&caller.tenant, device)
        .await?;
    found.ok_or_else(|| Problem::not_found("registration of device", device))
}
