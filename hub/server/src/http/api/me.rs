//! Whoever is calling.

use axum::Json;
use axum::extract::{Request, State as Shared};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use stencil_protocol::id::TenantId;
use stencil_store::{Opener, Role};

use crate::http::input;
use crate::http::listener::Peer;
use crate::http::password::{self, Standing};
use crate::http::problem::{Kind, Problem};
use crate::http::throttle::Subject;
use crate::http::{Caller, State};

/// Who is calling, and with what right.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Me {
    /// The tenant.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// Whether it is a user, a token or a wallet.
    kind: MyKind,
    /// What the user or token is called; the address of a wallet.
    name: String,
    /// What they may do.
    role: Role,
    /// The id of the session that this was asked with; null: it was asked with a token.
    session: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum MyKind {
    User,
    Token,
    Wallet,
}

/// Another password.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewPassword {
    /// The password until now.
    #[schema(max_length = 256)]
    current: String,
    /// The password from now on.
    #[schema(min_length = 12, max_length = 256)]
    password: String,
}

/// Who is calling.
#[utoipa::path(
    get,
    path = "/api/v1/me",
    tag = "me",
    responses((status = 200, body = Me))
)]
pub(in crate::http) async fn show(caller: Caller) -> Json<Me> {
    Json(Me {
        tenant: caller.tenant,
        kind: match caller.opener {
            Opener::User(_) => MyKind::User,
            Opener::Token(_) => MyKind::Token,
            Opener::Wallet(_) => MyKind::Wallet,
        },
        name: caller.name,
        role: caller.role,
        session: caller.session,
    })
}

/// Sets another password of one's own. All other sessions end.
#[utoipa::path(
    post,
    path = "/api/v1/me/password",
    tag = "me",
    request_body = NewPassword,
    responses(
        (status = 204, description = "It is set"),
        (status = 403, description = "The current password is another one"),
        (status = 409, description = "It is a token that is calling, which has no password"),
    )
)]
pub(in crate::http) async fn set_password(
    Shared(state): Shared<State>,
    caller: Caller,
    request: Request,
) -> Result<StatusCode, Problem> {
    let address = Peer::address(request.extensions());
    let wanted: input::Json<NewPassword> = input::json(request).await?;
    let NewPassword { current, password } = wanted.0;
    let Opener::User(name) = &caller.opener else {
        let detail = format!("{} has no password; sign in as a user", caller.who);
        return Err(Problem::new(Kind::Conflict, detail));
    };
    if let Some(why) = password::weakness(&password, name) {
        return Err(Problem::invalid(why));
    }
    // By the session: nobody who guesses elsewhere keeps who is signed in from it.
    let subjects = match &caller.session {
        Some(session) => vec![Subject::Own(session.clone())],
        None => Subject::of(Some(&format!("{}/{name}", caller.tenant)), address),
    };
    let now_us = state.clock.now_us();
    let begun = state.throttle().begin(&subjects, now_us);
    begun.map_err(|wait| Problem::too_many("this failed too often", wait))?;
    let users = &state.store.users;
    let kept = users.password(&caller.tenant, name).await?;
    if current.len() > password::MAX_BYTES
        || !state.passwords().is(current, kept, Standing::Known).await?
    {
        let detail = "`current` is not your password";
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    state.throttle().succeeded(&subjects, now_us);
    let hash = state.passwords().hash(password).await?;
    let keep = caller.session.as_deref();
    users
        .set_password(&caller.tenant, name, &hash, keep)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
