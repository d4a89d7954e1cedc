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
use crate::http::audit::Target;
use crate::http::bulk::{Answers, Columns, Row, RowResult, Rows, Wrong};
use crate::http::input;
use crate::http::listener::Peer;
use crate::http::problem::{Kind, Problem};
use crate::http::throttle::Subject;
use crate::http::{Caller, State};
use crate::registry::{self, ClaimRefused, Given, Keys, RowProblem, Wanted};

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
/// A code works once. Whether one is unknown or was used nobody is told (404 for both); who tries
/// codes in vain has to wait, longer each time (429).
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
    let attempt = begin(&state, &caller, address)?;
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
            state.claims().succeeded(&attempt);
            return Err(Problem::new(Kind::Conflict, why));
        }
        Err(ClaimRefused::Store(error)) => {
            state.claims().succeeded(&attempt);
            return Err(error.into());
        }
    };
    state.claims().succeeded(&attempt);
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
/// what is wrong and what would be right. The same row again changes nothing.
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
) -> Result<Json<Answers>, Problem> {
    let _room = room(&state)?;
    let keys = hub_key(&state)?;
    let address = Peer::address(request.extensions());
    let mut rows = Rows::open(request, FIELDS).await?;
    let mut answers = Answers::default();
    loop {
        let portion = rows
            .next()
            .await
            .map_err(|error| stopped_after(&answers, error))?;
        if portion.is_empty() {
            break;
        }
        let columns = rows.columns();
        let taken = take(
            &state,
            &caller,
            address,
            &keys,
            &columns,
            &portion,
            &mut answers,
        )
        .await;
        taken.map_err(|error| stopped_after(&answers, error))?;
        state.control.keys_changed();
    }
    let (tenant, made) = (&caller.tenant, answers.made());
    tracing::info!(%tenant, made, by = caller.who, "devices were enrolled");
    Ok(Json(answers))
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
    let mut read: Vec<Result<Wanted, Wrong>> = Vec::with_capacity(portion.len());
    let mut attempts = Vec::new();
    for row in portion {
        let mut wanted = device(row);
        // Codes in a file are guesses like others.
        if let Ok(Wanted {
            key: Given::Code(_),
            ..
        }) = &wanted
        {
            match begin(state, caller, address) {
                Ok(attempt) => attempts.push(Some(attempt)),
                Err(_) => {
                    attempts.push(None);
                    let what = "too many codes opened nothing; send this row again later";
                    wanted = Err(wrong("claim_code", what));
                }
            }
        } else {
            attempts.push(None);
        }
        read.push(wanted);
    }
    let good: Vec<Wanted> = read
        .iter()
        .filter_map(|row| row.as_ref().ok().cloned())
        .collect();
    let (registry, now_us) = (state.store.registry.as_ref(), state.clock.now_us());
    let enrolled = registry::enrol(registry, keys, &caller.tenant, &good, now_us).await?;
    let mut enrolled = enrolled.into_iter();
    for ((row, read), attempt) in portion.iter().zip(read).zip(attempts) {
        let result = match read {
            Err(wrong) => Err(wrong),
            Ok(wanted) => match enrolled.next() {
                Some(Ok(Enrolled::Made)) => Ok(RowResult::Made),
                Some(Ok(Enrolled::Unchanged)) => Ok(RowResult::Unchanged),
                Some(Ok(why)) => Err(of(registry::in_the_way(&wanted.device, &why))),
                Some(Err(problem)) => Err(of(problem)),
                None => Err(wrong("device", "it was not looked at")),
            },
        };
        let in_vain = matches!(&result, Err(wrong) if wrong.field == Some("claim_code"));
        if let Some(attempt) = attempt.filter(|_| !in_vain) {
            state.claims().succeeded(&attempt);
        }
        answers.add(columns, row, row.get(0), result);
    }
    Ok(())
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
        return Ok(gateway);
    }
    let known = state
        .store
        .registry
        .registered_gateways(&caller.tenant)
        .await?;
    match known.as_slice() {
        [only] => Ok(only.gateway.clone()),
        [] => Err(Problem::invalid(
            "say which `gateway` the device speaks through: none of yours has connected yet",
        )),
        several => {
            let names: Vec<&str> = several
                .iter()
                .take(10)
                .map(|it| it.gateway.as_str())
                .collect();
            Err(Problem::invalid(format!(
                "say which `gateway` the device speaks through: {}",
                names.join(", ")
            )))
        }
    }
}

/// Begins an attempt at a claim code: of a user or token, of a tenant, from a network.
pub(super) fn begin(
    state: &State,
    caller: &Caller,
    address: IpAddr,
) -> Result<Vec<Subject>, Problem> {
    let who = match &caller.opener {
        Opener::User(name) => format!("user {name}"),
        Opener::Token(id) => format!("token {id}"),
    };
    let attempt = Subject::of_claim(&caller.tenant, who, address);
    let begun = state.claims().begin(&attempt, state.clock.now_us());
    begun.map_err(|wait| Problem::too_many("claim codes were tried in vain too often", wait))?;
    Ok(attempt)
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
