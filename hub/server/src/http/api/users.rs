//! A tenant's users.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use stencil_protocol::id::TenantId;
use stencil_store::{Page, Role, User, UserChange};

use crate::http::audit::{Detail, Target};
use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State, session};

/// Whom to make.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewUser {
    /// By which they sign in.
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9._+@-]*$")]
    name: String,
    /// What they may do.
    #[schema(value_type = Role)]
    role: String,
}

/// What is to be another.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct UserPatch {
    /// What they may do from now on.
    #[schema(value_type = Option<Role>)]
    role: Option<String>,
    /// Whether they are shut out from now on.
    disabled: Option<bool>,
}

/// The one-time link by which a user sets their password.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct LoginLink {
    /// Its address, shown this once. Whoever has it signs in as this user.
    link: String,
    /// When it opens nothing any more.
    link_expires_us: i64,
}

/// A fresh user, with the link by which they set their password.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct UserMade {
    #[serde(flatten)]
    user: User,
    #[serde(flatten)]
    link: LoginLink,
}

/// Users, by name.
#[utoipa::path(
    get,
    path = "/api/v1/users",
    tag = "users",
    params(Paging), responses((status = 200, body = Page<User>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<User>>, Problem> {
    let limit = paging.limit()?;
    let users = &state.store.users;
    let page = users.users(&caller.tenant, paging.after.as_deref(), limit);
    Ok(Json(page.await?))
}

/// Makes a user, who sets a password by the link in the answer.
#[utoipa::path(
    post,
    path = "/api/v1/users",
    tag = "users",
    request_body = NewUser,
    responses(
        (status = 201, description = "UserMade; `Location` has its address", body = UserMade),
        (status = 409, description = "There is a user of this name, or there are 10,000"),
    )
)]
pub(in crate::http) async fn create(
    Shared(state): Shared<State>,
    caller: Caller,
    input::Json(wanted): input::Json<NewUser>,
) -> Result<Response, Problem> {
    let role = role(&wanted.role)?;
    let (users, now_us) = (&state.store.users, state.clock.now_us());
    let user = users.create_user(&caller.tenant, &wanted.name, role, now_us);
    let user = user.await?;
    let link = link(&state, &caller.tenant, &user.name).await?;
    let location = format!("/api/v1/users/{}", user.name);
    let target = Target(user.name.clone());
    let made = Json(UserMade { user, link });
    let location = [(header::LOCATION, location)];
    let detail = Detail(format!("role {}", role.as_str()));
    Ok((StatusCode::CREATED, target, detail, location, made).into_response())
}

/// One user.
#[utoipa::path(
    get,
    path = "/api/v1/users/{user}",
    tag = "users",
    responses((status = 200, body = User))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Json<User>, Problem> {
    let found = state.store.users.user(&caller.tenant, &user).await?;
    found
        .map(Json)
        .ok_or_else(|| Problem::not_found("user", user))
}

/// Gives a user another role, shuts them out, or lets them in again. Their sessions end if
/// anything becomes another.
#[utoipa::path(
    patch,
    path = "/api/v1/users/{user}",
    tag = "users",
    request_body = UserPatch,
    responses(
        (status = 200, description = "What they are now", body = User),
        (status = 409, description = "They are the tenant's last admin"),
    )
)]
pub(in crate::http) async fn change(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(user): Path<String>,
    input::Json(wanted): input::Json<UserPatch>,
) -> Result<Json<User>, Problem> {
    if wanted.role.is_none() && wanted.disabled.is_none() {
        let detail = "nothing is to be another: give `role`, `disabled`, or both";
        return Err(Problem::invalid(detail));
    }
    let change = UserChange {
        role: wanted.role.as_deref().map(role).transpose()?,
        disabled: wanted.disabled,
    };
    let (users, now_us) = (&state.store.users, state.clock.now_us());
    let changed = users.change_user(&caller.tenant, &user, change, now_us);
    Ok(Json(changed.await?.0))
}

/// Deletes a user; their sessions end.
#[utoipa::path(
    delete,
    path = "/api/v1/users/{user}",
    tag = "users",
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, description = "They are the tenant's last admin"),
    )
)]
pub(in crate::http) async fn delete(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    state.store.users.delete_user(&caller.tenant, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a one-time link by which a user sets a password; one before it opens nothing any more.
#[utoipa::path(
    post,
    path = "/api/v1/users/{user}/link",
    tag = "users",
    responses(
        (status = 201, body = LoginLink),
        (status = 409, description = "The user is disabled"),
    )
)]
pub(in crate::http) async fn make_link(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Response, Problem> {
    let link = link(&state, &caller.tenant, &user).await?;
    Ok((StatusCode::CREATED, Json(link)).into_response())
}

/// A fresh link of a user.
pub(super) async fn link(
    state: &State,
    tenant: &TenantId,
    user: &str,
) -> Result<LoginLink, Problem> {
    let limits = &state.limits.sessions;
    let link_expires_us = limits.link_expires_us(state.clock.now_us());
    let users = &state.store.users;
    let secret = users.issue_link(tenant, user, link_expires_us).await?;
    Ok(LoginLink {
        link: session::link_url(&state.public_url, &secret),
        link_expires_us,
    })
}

pub(super) fn role(name: &str) -> Result<Role, Problem> {
    Role::parse(name).ok_or_else(|| {
        let detail = format!("`role` is `{name}`, it has to be viewer, editor or admin");
        Problem::invalid(detail)
    })
}
