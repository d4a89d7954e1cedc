//! Sessions of browsers: one's own, and for admins those of the tenant.

use axum::Json;
use axum::extract::State as Shared;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use stencil_store::{Opener, Role, Session};

use super::Whole;
use crate::http::input::{Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// Whose sessions.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Whose {
    /// Those of this user, for admins; without it one's own.
    user: Option<String>,
}

/// A session.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ListedSession {
    #[serde(flatten)]
    session: Session,
    /// Whether it is the one that this was asked with.
    current: bool,
}

/// Sessions, the newest first: one's own, or a user's.
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    tag = "sessions",
    params(Whose),
    responses(
        (status = 200, body = Whole<ListedSession>),
        (status = 404, description = "There is no such user"),
    )
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(whose): Query<Whose>,
) -> Result<Json<Whole<ListedSession>>, Problem> {
    let opener = match whose.user {
        Some(user) => {
            let other = Opener::User(user);
            if caller.role != Role::Admin && other != caller.opener {
                let detail = format!("this needs an admin; {} sees their own", caller.who);
                return Err(Problem::new(Kind::Forbidden, detail));
            }
            other
        }
        None => caller.opener,
    };
    let now_us = state.clock.now_us();
    let users = &state.store.users;
    if let Opener::User(name) = &opener
        && users.user(&caller.tenant, name).await?.is_none()
    {
        return Err(Problem::not_found("user", name));
    }
    let sessions = users.sessions(&caller.tenant, &opener, now_us).await?;
    let listed = sessions.into_iter().map(|session| ListedSession {
        current: caller.session.as_ref() == Some(&session.id),
        session,
    });
    Ok(Json(Whole::of(listed.collect())))
}

/// Ends a session: one's own, or as an admin any of the tenant.
#[utoipa::path(
    delete,
    path = "/api/v1/sessions/{session}",
    tag = "sessions",
    responses((status = 204, description = "It has ended"))
)]
pub(in crate::http) async fn end(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(session): Path<String>,
) -> Result<StatusCode, Problem> {
    let users = &state.store.users;
    let unknown = || Problem::not_found("session", &session);
    if caller.role != Role::Admin {
        let now_us = state.clock.now_us();
        let own = users
            .sessions(&caller.tenant, &caller.opener, now_us)
            .await?;
        if !own.iter().any(|own| own.id == session) {
            return Err(unknown());
        }
    }
    if users.end_session(&caller.tenant, &session).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(unknown())
    }
}
