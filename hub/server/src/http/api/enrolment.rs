//! Taking devices in: one by its claim code, or by the thousand.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use stencil_crypto::Psk;
use stencil_crypto::claim::ClaimCode;
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_store::{Enrolled, Opener};
use tokio::sync::OwnedSemaphorePermit;

use super::births::{base64, wrong};
use crate::http::audit::{Detail, Target};
use crate::http::bulk::{Answers, Columns, Row, RowResult, Rows, Wrong};
use crate::http::input;
use crate::http::listener::Peer;
use crate::http::problem::{Kind, Problem};
use crate::http::throttle::Subject;
use crate::http::{Caller, State};
use crate::registry::{self, ClaimRefused, Given, Keys, Prepared, RowProblem, Wanted};

/// The columns of an enrolment.
const FIELDS: &[&str] = &["device", "gateway", "psk", "sealed_psk", "claim_code"];

/// Which device to claim.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Claim {
    /// The code that is printed on it; hyphens, spaces and the case of letters don't matter.
    #[schema(min_length = 20, max_length = 64)]
    code: String,
    /// What to call it; by default the name that it was born with.
    #[schema(value_type = Option<String>)]
    device: Option<DeviceId>,
    /// The gateway that it speaks through; may be left out where the tenant has only one.
    #[schema(value_type = Option<String>)]
    gateway: Option<GatewayId>,
}

/// A device that was claimed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ClaimMade {
    /// What it is called.
    #[schema(value_type = String)]
    device: DeviceId,
    /// The name by which it speaks.
    #[schema(value_type = String)]
    identity: DeviceId,
    /// The gateway that it speaks through.
    #[schema(value_type = String)]
    gateway: GatewayId,
}

/// To which devices' keys are sealed for this hub.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct SealKey {
    /// A public key of X-Wing (HPKE 0x647a), 1,216 bytes in hexadecimal digits.
    public_key: String,
}

/// The public key to which devices' keys are sealed for this hub.
#[utoipa::path(
    get,
    path = "/api/v1/enrolment/key",
    tag = "registrations",
    responses((status = 200, body = SealKey))
)]
pub(in crate::http) async fn key(Shared(state): Shared<State>) -> Result<Json<SealKey>, Problem> {
    let key = state.key().public().ok_or_else(no_key)?;
    Ok(Json(SealKey {
        public_key: key.to_hex(),
    }))
}

/// Claims a device by the code that is printed on it.
///
/// The gateway has to be one of the tenant's (400 with the names of those that there are); that is
/// looked at before the code. A code works once. Whether one is unknown or was used nobody is told
/// (404 for both); who tries codes in vain has to wait, longer each time (429).
#[utoipa::path(
    post,
    path = "/api/v1/devices/claim",
    tag = "registrations",
    request_body = Claim,
    responses(
        (status = 201, body = ClaimMade),
        (status = 404, description = "No device waits to be claimed with this code"),
        (status = 409, description = "The device cannot be taken in under this name"),
    )
)]
pub(in crate::http) async fn claim(
    Shared(state): Shared<State>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let address = Peer::address(request.extensions());
    let input::Json(wanted) = input::json::<Claim>(request).await?;
    // What cannot be a code is a slip, not a guess: it tells nothing, and is not counted.
    let code =
        ClaimCode::parse(&wanted.code).map_err(|error| Problem::invalid(error.to_string()))?;
    if let Some(device) = wanted.device.as_ref().filter(|device| is_reserved(device)) {
        return Err(Problem::invalid(format!(
            "no device may be called `{device}`"
        )));
    }
    let gateway = gateway(&state, &caller, wanted.gateway).await?;
    let keys = hub_key(&state)?;
    let (attempt, begun_us) = begin(&state, &caller, address)?;
    let claimed = registry::claim(
        state.store.registry.as_ref(),
        &keys,
        &caller.tenant,
        &code,
        wanted.device.as_ref(),
        &gateway,
        state.clock.now_us(),
    )
    .await;
    let claimed = match claimed {
        Ok(claimed) => claimed,
        Err(ClaimRefused::NoSuchCode) => {
            return Err(Problem::new(Kind::NotFound, registry::NO_SUCH_CODE));
        }
        Err(ClaimRefused::Conflict(why)) => {
            state.claims().succeeded(&attempt, begun_us);
            return Err(Problem::new(Kind::Conflict, why));
        }
        Err(ClaimRefused::Store(error)) => {
            state.claims().succeeded(&attempt, begun_us);
            return Err(error.into());
        }
    };
    state.claims().succeeded(&attempt, begun_us);
    state.control.keys_changed();
    let (tenant, device) = (&caller.tenant, &claimed.device);
    tracing::info!(%tenant, %device, %gateway, by = caller.who, "a device was claimed");
    let target = Target(device.to_string());
    let made = ClaimMade {
        device: claimed.device,
        identity: claimed.identity,
        gateway,
    };
    Ok((StatusCode::CREATED, target, Json(made)).into_response())
}

/// Takes devices in by the thousand: an answer a row.
///
/// CSV (`text/csv`, its first line names the columns) or a JSON array of objects, with `device`,
/// `gateway` and the device's key: `psk` (64 hexadecimal digits), `sealed_psk` (the key sealed to
/// this hub, base64, as `stencil device enrol` sends it) or `claim_code`. At most 8 MiB and 10,000
/// rows. Good rows are taken in whatever the others hold; of a bad one the answer says line, column,
/// what is wrong and what would be right. The same row again changes nothing. Codes that open
/// nothing count as guesses, as for claims; those that are right do not.
#[utoipa::path(
    post,
    path = "/api/v1/devices/enrol",
    tag = "registrations",
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 200, body = Answers),
        (status = 415, description = "The body is neither `text/csv` nor `application/json`"),
    )
)]
pub(in crate::http) async fn enrol(
    Shared(state): Shared<State>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let _room = room(&state)?;
    let keys = hub_key(&state)?;
    let address = Peer::address(request.extensions());
    let mut rows = Rows::open(request, FIELDS).await?;
    let mut answers = Answers::default();
    let taken = take_all(&state, &caller, address, &keys, &mut rows, &mut answers).await;
    let (tenant, by, counts) = (&caller.tenant, &caller.who, answers.counts());
    let (response, detail) = match taken {
        Ok(()) => {
            tracing::info!(%tenant, by, "devices were enrolled: {counts}");
            (Json(answers).into_response(), counts)
        }
        Err(problem) if answers.len() == 0 => return Err(problem),
        Err(problem) => {
            let detail = format!("it broke off after {} rows: {counts}", answers.len());
            tracing::warn!(%tenant, by, "an enrolment: {detail}");
            (stopped_after(&answers, problem).into_response(), detail)
        }
    };
    Ok((Detail(detail), response).into_response())
}

/// Takes all rows in, a portion after the other.
async fn take_all(
    state: &State,
    caller: &Caller,
    address: IpAddr,
    keys: &Keys<'_>,
    rows: &mut Rows,
    answers: &mut Answers,
) -> Result<(), Problem> {
    loop {
        let portion = rows.next().await?;
        if portion.is_empty() {
            return Ok(());
        }
        let columns = rows.columns();
        take(state, caller, address, keys, &columns, &portion, answers).await?;
        state.control.keys_changed();
    }
}

/// Takes a portion of rows in.
async fn take(
    state: &State,
    caller: &Caller,
    address: IpAddr,
    keys: &Keys<'_>,
    columns: &Columns,
    portion: &[Row],
    answers: &mut Answers,
) -> Result<(), Problem> {
    let mut looked_at = Vec::with_capacity(portion.len());
    let mut enrolments = Vec::with_capacity(portion.len());
    for row in portion {
        let one = match device(row) {
            Err(wrong) => Err(wrong),
            Ok(wanted) => match look_at(state, caller, address, keys, &wanted).await? {
                Err(wrong) => Err(wrong),
                Ok(Prepared::Known(known)) => Ok((wanted, Some(known))),
                Ok(Prepared::New(enrolment)) => {
                    enrolments.push(enrolment);
                    Ok((wanted, None))
                }
            },
        };
        looked_at.push(one);
    }
    let (registry, now_us) = (state.store.registry.as_ref(), state.clock.now_us());
    let max = registry::MAX_GATEWAY_DEVICES;
    let enrolled = registry
        .enrol(&caller.tenant, &enrolments, max, now_us)
        .await?;
    let gateways = match enrolled.contains(&Enrolled::NoSuchGateway) {
        true => registry.gateway_ids(&caller.tenant).await?,
        false => Vec::new(),
    };
    let mut enrolled = enrolled.into_iter();
    for (row, one) in portion.iter().zip(looked_at) {
        let result = one.and_then(|(wanted, known)| match known.or_else(|| enrolled.next()) {
            Some(enrolled) => became(&wanted, &enrolled, &gateways),
            None => Err(wrong("device", "it was not looked at")),
        });
        answers.add(columns, row, row.get(0), result);
    }
    Ok(())
}

/// Looks at what a row says. A code in a file that opens nothing is a guess like others; one that
/// opens something, or did so before, is none.
async fn look_at(
    state: &State,
    caller: &Caller,
    address: IpAddr,
    keys: &Keys<'_>,
    wanted: &Wanted,
) -> Result<Result<Prepared, Wrong>, Problem> {
    let now_us = state.clock.now_us();
    let attempt = match &wanted.key {
        Given::Code(_) => Some(attempt(caller, address)),
        Given::Open(_) | Given::Sealed(_) => None,
    };
    if let Some(attempt) = &attempt
        && let Err(wait) = state.claims().begin(attempt, now_us)
    {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let what = format!(
            "this code was not looked at: too many of late opened nothing, in this file or before; \
             mend the rows that say so, and send the file again in {seconds} s"
        );
        return Ok(Err(wrong("claim_code", what)));
    }
    let registry = state.store.registry.as_ref();
    let prepared = registry::prepare(registry, keys, &caller.tenant, wanted).await;
    let in_vain = |problem: &RowProblem| problem.what == registry::NO_SUCH_CODE;
    if let Some(attempt) = &attempt
        && !matches!(&prepared, Ok(Err(problem)) if in_vain(problem))
    {
        state.claims().taken_back(attempt, now_us);
    }
    Ok(prepared?.map_err(of))
}

/// What became of a row.
fn became(
    wanted: &Wanted,
    enrolled: &Enrolled,
    gateways: &[GatewayId],
) -> Result<RowResult, Wrong> {
    match (enrolled, &wanted.key) {
        (Enrolled::Made, _) => Ok(RowResult::Made),
        (Enrolled::Unchanged, _) => Ok(RowResult::Unchanged),
        (Enrolled::NoSuchGateway, _) => Err(wrong(
            "gateway",
            registry::no_such_gateway(&wanted.gateway, gateways),
        )),
        // Two rows with one code: the first has used it.
        (Enrolled::KeyTaken(other), Given::Code(_)) => Err(of(registry::code_used(other))),
        (why, _) => Err(of(registry::in_the_way(&wanted.device, why))),
    }
}

fn device(row: &Row) -> Result<Wanted, Wrong> {
    if let Some(what) = &row.broken {
        return Err(Wrong {
            field: None,
            what: what.clone(),
        });
    }
    let device = row.get(0).ok_or_else(|| wrong("device", "it is missing"))?;
    let device = DeviceId::parse(device).map_err(|error| wrong("device", error.to_string()))?;
    if is_reserved(&device) {
        return Err(wrong("device", "no device may have this name"));
    }
    let gateway = row.get(1).ok_or_else(|| {
        wrong(
            "gateway",
            "it is missing: the id of the gateway that the device speaks through",
        )
    })?;
    let gateway = GatewayId::parse(gateway).map_err(|error| wrong("gateway", error.to_string()))?;
    let key = given(row.get(2), row.get(3), row.get(4)).map_err(of)?;
    Ok(Wanted {
        device,
        gateway,
        key,
    })
}

/// A device's key in one of its three forms.
pub(super) fn given(
    psk: Option<&str>,
    sealed: Option<&str>,
    code: Option<&str>,
) -> Result<Given, RowProblem> {
    match (psk, sealed, code) {
        (Some(psk), None, None) => Psk::from_hex(psk)
            .map(Given::Open)
            .map_err(|error| RowProblem::new("psk", error.to_string())),
        (None, Some(sealed), None) => base64(sealed)
            .map(Given::Sealed)
            .ok_or_else(|| RowProblem::new("sealed_psk", "it is not base64")),
        (None, None, Some(code)) => ClaimCode::parse(code)
            .map(Given::Code)
            .map_err(|error| RowProblem::new("claim_code", error.to_string())),
        (None, None, None) => Err(RowProblem::new(
            "psk",
            "the device's key is missing: one of psk, sealed_psk or claim_code has to be there",
        )),
        _ => Err(RowProblem::new(
            "psk",
            "only one of psk, sealed_psk and claim_code may be there",
        )),
    }
}

/// Words that stand in the API's paths where a device's name does.
pub(super) fn is_reserved(device: &DeviceId) -> bool {
    matches!(device.as_str(), "claim" | "enrol")
}

pub(super) fn of(problem: RowProblem) -> Wrong {
    Wrong {
        field: Some(problem.field),
        what: problem.what,
    }
}

/// The gateway that is named, or the only one that there is.
async fn gateway(
    state: &State,
    caller: &Caller,
    named: Option<GatewayId>,
) -> Result<GatewayId, Problem> {
    if let Some(gateway) = named {
        known_gateway(state, caller, &gateway).await?;
        return Ok(gateway);
    }
    let known = state.store.registry.gateway_ids(&caller.tenant).await?;
    match known.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Problem::invalid(
            "say which `gateway` the device speaks through: there is none yet (`stencil hub \
             add-gateway`)",
        )),
        several => {
            let names: Vec<&str> = several.iter().take(10).map(GatewayId::as_str).collect();
            Err(Problem::invalid(format!(
                "say which `gateway` the device speaks through: {}",
                names.join(", ")
            )))
        }
    }
}

/// Refuses a gateway that the tenant does not have, with the names of those that it has.
pub(super) async fn known_gateway(
    state: &State,
    caller: &Caller,
    gateway: &GatewayId,
) -> Result<(), Problem> {
    let registry = &state.store.registry;
    if registry.has_gateway(&caller.tenant, gateway).await? {
        return Ok(());
    }
    let known = registry.gateway_ids(&caller.tenant).await?;
    Err(Problem::invalid(registry::no_such_gateway(gateway, &known)))
}

/// What an attempt at a claim code counts for: a user or token, a tenant, a network.
fn attempt(caller: &Caller, address: IpAddr) -> Vec<Subject> {
    let who = match &caller.opener {
        Opener::User(name) => format!("user {name}"),
        Opener::Token(id) => format!("token {id}"),
        Opener::Wallet(wallet) => format!("wallet {}", hex::encode(wallet)),
    };
    Subject::of_claim(&caller.tenant, who, address)
}

/// Begins an attempt at a claim code, and says when.
pub(super) fn begin(
    state: &State,
    caller: &Caller,
    address: IpAddr,
) -> Result<(Vec<Subject>, i64), Problem> {
    let (attempt, now_us) = (attempt(caller, address), state.clock.now_us());
    let begun = state.claims().begin(&attempt, now_us);
    begun.map_err(|wait| Problem::too_many("claim codes were tried in vain too often", wait))?;
    Ok((attempt, now_us))
}

/// Room for an upload.
pub(super) fn room(state: &State) -> Result<OwnedSemaphorePermit, Problem> {
    state.enrolments().try_acquire_owned().map_err(|_| {
        let detail = "as many uploads of devices as may be are running; try again soon";
        Problem::new(Kind::TooMany, detail)
    })
}

/// The hub's key.
pub(super) fn hub_key(state: &State) -> Result<Keys<'_>, Problem> {
    state.key().get().ok_or_else(no_key)
}

fn no_key() -> Problem {
    Problem::new(
        Kind::Busy,
        "the hub's own key for devices' keys (`keys/seal.key` of its folder) is missing: who runs the \
         hub has to put it back",
    )
}

/// An upload that ended in the middle: what was taken before it is taken.
pub(super) fn stopped_after(answers: &Answers, problem: Problem) -> Problem {
    match answers.len() {
        0 => problem,
        rows => problem.also(&format!(
            "the first {rows} rows were looked at before that, {} of them taken in; to send the \
             file again does no harm",
            answers.made()
        )),
    }
}
