//! Commands to devices.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use stencil_protocol::command::{self, Command};
use stencil_protocol::id::{CommandId, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_store::{Page, StoredCommand};

use super::devices;
use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// Seconds until a command expires when nothing is said.
const DEFAULT_EXPIRY_S: u32 = 60;
/// The most seconds until a command expires: a week.
const MAX_EXPIRY_S: u32 = 7 * 24 * 3600;

/// What a device shall do.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Order {
    /// What to do, e.g. `lock`.
    #[schema(min_length = 1, max_length = 32)]
    name: String,
    /// With what: a boolean, a number, a text, or null.
    #[serde(default)]
    #[schema(value_type = Option<stencil_store::schema::Scalar>, required = false)]
    argument: Option<Box<RawValue>>,
    /// Seconds until it is not to be done any more, 60 if it is not given.
    #[schema(minimum = 1, maximum = 604_800)]
    expires_in_s: Option<u32>,
}

impl Order {
    /// What to do.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// With what, and until when.
    pub(super) fn read(&self, now_us: i64) -> Result<(Option<OwnedValue>, i64), Problem> {
        let argument = argument(self.argument.as_deref())?;
        let seconds = self.expires_in_s.unwrap_or(DEFAULT_EXPIRY_S);
        if !(1..=MAX_EXPIRY_S).contains(&seconds) {
            let detail = format!("`expires_in_s` is {seconds}, it has to be 1 to {MAX_EXPIRY_S}");
            return Err(Problem::invalid(detail));
        }
        let expires_us = now_us.saturating_add(i64::from(seconds) * 1_000_000);
        Ok((argument, expires_us))
    }
}

/// Queues a command for a device.
///
/// With an `Idempotency-Key` the same call again is the same command, and answers the same.
#[utoipa::path(
    post,
    path = "/api/v1/devices/{device}/commands",
    tag = "commands",
    request_body = Order,
    params((
        "Idempotency-Key" = Option<String>, Header, max_length = 128,
        description = "The caller's own name of this call"
    )),
    responses(
        (status = 202, description = "Queued; `Location` has its address", body = StoredCommand),
        (status = 409, description = "The key was used for another command, or the device was revoked"),
    )
)]
pub(in crate::http) async fn queue(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
    headers: HeaderMap,
    input::Json(order): input::Json<Order>,
) -> Result<Response, Problem> {
    let key = input::idempotency_key(&headers)?;
    let (argument, expires_us) = order.read(state.clock.now_us())?;
    let device = devices::known(&state, &caller, &device).await?.id;
    let draft = Command {
        id: CommandId([0; 16]),
        device: device.clone(),
        name: &order.name,
        argument: argument.as_ref().map(OwnedValue::as_ref),
        expires_us,
    };
    draft
        .check()
        .map_err(|error: command::Error| Problem::invalid(error.to_string()))?;
    let id = state
        .control
        .queue_command(
            &caller.tenant,
            &device,
            &order.name,
            argument,
            expires_us,
            key,
        )
        .await?;
    let stored = known(&state, &caller, &id).await?;
    let location = format!("/api/v1/commands/{id}");
    Ok((
        StatusCode::ACCEPTED,
        [(header::LOCATION, location)],
        Json(stored),
    )
        .into_response())
}

/// Commands, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/commands",
    tag = "commands",
    params(Paging), responses((status = 200, body = Page<StoredCommand>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<StoredCommand>>, Problem> {
    let limit = paging.limit()?;
    let after = paging.after.as_deref();
    Ok(Json(
        state
            .store
            .commands
            .list(&caller.tenant, None, after, limit)
            .await?,
    ))
}

/// Commands to a device, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{device}/commands",
    tag = "commands",
    params(Paging), responses((status = 200, body = Page<StoredCommand>))
)]
pub(in crate::http) async fn of_device(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<StoredCommand>>, Problem> {
    let limit = paging.limit()?;
    let device = devices::known(&state, &caller, &device).await?.id;
    let after = paging.after.as_deref();
    Ok(Json(
        state
            .store
            .commands
            .list(&caller.tenant, Some(&device), after, limit)
            .await?,
    ))
}

/// One command.
#[utoipa::path(
    get,
    path = "/api/v1/commands/{command}",
    tag = "commands",
    responses((status = 200, body = StoredCommand))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(command): Path<String>,
) -> Result<Json<StoredCommand>, Problem> {
    let id = CommandId::parse(&command).map_err(|error| Problem::invalid(error.to_string()))?;
    known(&state, &caller, &id).await.map(Json)
}

async fn known(state: &State, caller: &Caller, id: &CommandId) -> Result<StoredCommand, Problem> {
    of_tenant(state, &caller.tenant, id).await
}

/// A command of a tenant's.
pub(super) async fn of_tenant(
    state: &State,
    tenant: &TenantId,
    id: &CommandId,
) -> Result<StoredCommand, Problem> {
    let command = state.store.commands.get(tenant, id).await?;
    command.ok_or_else(|| Problem::not_found("command", id))
}

/// Read from its own text: a whole number that is too large would else come as another one.
pub(in crate::http) fn argument(value: Option<&RawValue>) -> Result<Option<OwnedValue>, Problem> {
    let text = value.map_or("null", RawValue::get);
    let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    if is_number && !text.contains(['.', 'e', 'E']) && text.parse::<i64>().is_err() {
        return Err(Problem::invalid(format!(
            "`argument` is a whole number out of range, {} to {}; with a point, as in 1e19, it is \
             a number that may be rounded",
            i64::MIN,
            i64::MAX
        )));
    }
    serde_json::from_str(text).map_err(|_| {
        Problem::invalid("`argument` has to be a number, true, false, a text, or null for none")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<OwnedValue>, String> {
        let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
        argument(Some(&raw)).map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn a_whole_number_stays_itself_or_is_refused() {
        assert!(matches!(argument(None), Ok(None)));
        assert_eq!(read("null"), Ok(None));
        for (text, value) in [
            ("9223372036854775807", OwnedValue::Integer(i64::MAX)),
            ("-9223372036854775808", OwnedValue::Integer(i64::MIN)),
            ("1e19", OwnedValue::Number(1e19)),
            ("-2.5", OwnedValue::Number(-2.5)),
            ("true", OwnedValue::Bool(true)),
            (
                "\"18446744073709551616\"",
                OwnedValue::Text("18446744073709551616".into()),
            ),
        ] {
            assert_eq!(read(text), Ok(Some(value)), "{text}");
        }
        for text in [
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains("out of range"), "{text}: {why}");
        }
        for text in ["1e999", "[1]", "{}"] {
            assert!(read(text).unwrap_err().contains("has to be"), "{text}");
        }
    }
}
