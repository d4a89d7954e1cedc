//! A tenant's tokens.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use stencil_protocol::id::DeviceId;
use stencil_protocol::moment;
use stencil_store::{Page, Role, Token, TokenKind};

use crate::http::audit::{Detail, Target};
use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State};
use crate::token_end::{self, USUAL_DAYS};

/// What token is wanted.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewToken {
    /// For the HTTP API, or for a foreign device over MQTT.
    kind: NewTokenKind,
    /// What an API token may do.
    #[schema(value_type = Option<Role>)]
    role: Option<String>,
    /// The device that a device token is for.
    #[schema(value_type = Option<String>)]
    device: Option<DeviceId>,
    /// What to call it.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// For how many seconds it opens something, from now; 0: without an end. If it is not given, an API token
    /// is for 365 days, and a device's has no end.
    #[schema(maximum = 316_224_000)]
    valid_for_s: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum NewTokenKind {
    Api,
    Device,
}

/// A fresh token; the secret is shown this once.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct TokenMade {
    #[serde(flatten)]
    token: Token,
    #[serde(rename = "token")]
    secret: String,
}

/// Makes a token.
///
/// `{"kind": "api", "role", "name"}` or `{"kind": "device", "device", "name"}`, either with
/// `valid_for_s`. The answer's `token` is the secret, shown this once; from `expires_us` on it opens
/// nothing.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    tag = "tokens",
    request_body = NewToken,
    responses(
        (status = 201, body = TokenMade),
        (status = 409, description = "A token of this name is in use"),
    )
)]
pub(in crate::http) async fn create(
    Shared(state): Shared<State>,
    caller: Caller,
    input::Json(wanted): input::Json<NewToken>,
) -> Result<Response, Problem> {
    let kind = kind(wanted.kind, wanted.role.as_deref(), wanted.device)?;
    let (given, usual_days) = match &kind {
        TokenKind::Api { role } => (format!("role {}", role.as_str()), USUAL_DAYS),
        // Nobody is there to give a device another one.
        TokenKind::Device { device } => (format!("of device {device}"), 0),
    };
    let now_us = state.clock.now_us();
    let valid_for_s = wanted.valid_for_s.unwrap_or(token_end::days_s(usual_days));
    let expires_us = token_end::end_us(valid_for_s, now_us)
        .map_err(|why| Problem::invalid(format!("`valid_for_s`: {why}")))?;
    let given = match (wanted.valid_for_s, expires_us) {
        (None, _) => given,
        (Some(_), Some(at_us)) => format!("{given}, until {} UTC", moment::utc(at_us)),
        (Some(_), None) => format!("{given}, without an end"),
    };
    let tenancy = &state.store.tenancy;
    let issued = tenancy
        .create_token(&caller.tenant, kind, &wanted.name, expires_us, now_us)
        .await?;
    tracing::info!(tenant = %caller.tenant, token = issued.token.id, by = caller.who,
        "a token was made");
    let made = TokenMade {
        secret: issued.secret.reveal().to_owned(),
        token: issued.token,
    };
    let target = Target(made.token.id.clone());
    let detail = Detail(given);
    Ok((StatusCode::CREATED, target, detail, Json(made)).into_response())
}

/// Tokens, by id, without their secrets.
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    tag = "tokens",
    params(Paging), responses((status = 200, body = Page<Token>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Token>>, Problem> {
    let limit = paging.limit()?;
    Ok(Json(
        state
            .store
            .tenancy
            .tokens(&caller.tenant, paging.after.as_deref(), limit)
            .await?,
    ))
}

/// Revokes a token for good, and ends what it has let in.
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{token}",
    tag = "tokens",
    responses(
        (status = 204, description = "Revoked, now or before"),
        (status = 409, description = "It is the tenant's last admin token"),
    )
)]
pub(in crate::http) async fn revoke(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(token): Path<String>,
) -> Result<StatusCode, Problem> {
    let now_us = state.clock.now_us();
    if state
        .store
        .tenancy
        .revoke_token(&caller.tenant, &token, now_us)
        .await?
    {
        tracing::info!(tenant = %caller.tenant, token, by = caller.who, "a token was revoked");
    }
    Ok(StatusCode::NO_CONTENT)
}

fn kind(
    kind: NewTokenKind,
    role: Option<&str>,
    device: Option<DeviceId>,
) -> Result<TokenKind, Problem> {
    match (kind, role, device) {
        (NewTokenKind::Api, Some(role), None) => {
            let role = Role::parse(role).ok_or_else(|| {
                let detail = format!("`role` is `{role}`, it has to be viewer, editor or admin");
                Problem::invalid(detail)
            })?;
            Ok(TokenKind::Api { role })
        }
        (NewTokenKind::Device, None, Some(device)) => Ok(TokenKind::Device { device }),
        (NewTokenKind::Api, ..) => Err(Problem::invalid(
            "a token of kind `api` needs a `role` (viewer, editor, admin) and no `device`",
        )),
        (NewTokenKind::Device, ..) => Err(Problem::invalid(
            "a token of kind `device` needs a `device` and no `role`",
        )),
    }
}
