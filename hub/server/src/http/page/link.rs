//! One-time links: whoever holds one sets the password of its user, once.
//!
//! To open the link uses nothing up: mail programs and chats look at links before people do. Only
//! the form does.

use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::html;
use serde::Deserialize;
use stencil_protocol::id::TenantId;
use stencil_store::{AuditOutcome, Opener};

use super::super::State;
use super::super::access::FOREIGN;
use super::super::input::{self, Path};
use super::super::listener::Peer;
use super::super::origin::Origin;
use super::super::password::{self, MAX_BYTES, MIN_CHARACTERS};
use super::super::problem::{Kind, Problem};
use super::sign_in::{field, signed_in, tell};

/// What the form brings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    password: String,
    again: String,
}

/// `GET /link/{secret}`: the form.
pub(in crate::http) async fn form(
    Shared(state): Shared<State>,
    Path(secret): Path<String>,
) -> Result<Response, Problem> {
    let users = &state.store.users;
    Ok(
        match users.link_owner(&secret, state.clock.now_us()).await? {
            Some((tenant, name)) => page(StatusCode::OK, &tenant, &name, None),
            None => over(),
        },
    )
}

/// `POST /link/{secret}`: sets the password, and signs in.
pub(in crate::http) async fn submit(
    Shared(state): Shared<State>,
    Path(secret): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (headers, address) = (
        request.headers().clone(),
        Peer::address(request.extensions()),
    );
    if Origin::of(&headers) == Origin::Foreign {
        return Err(Problem::new(Kind::Forbidden, FOREIGN));
    }
    let form: Option<Form> = input::form(request).await?;
    let users = &state.store.users;
    let owner = users.link_owner(&secret, state.clock.now_us()).await?;
    let Some((tenant, name)) = owner else {
        return Ok(over());
    };
    let wrong = match &form {
        None => Some("Give a password, twice.".to_owned()),
        Some(form) if form.password != form.again => Some("The two are not the same.".to_owned()),
        Some(form) => password::weakness(&form.password, &name),
    };
    let (Some(form), None) = (form, &wrong) else {
        let status = StatusCode::BAD_REQUEST;
        return Ok(page(status, &tenant, &name, wrong.as_deref()));
    };
    let hash = state.passwords().hash(form.password).await?;
    let used = users.use_link(&secret, &hash, state.clock.now_us()).await?;
    let Some((tenant, name, _)) = used else {
        return Ok(over());
    };
    let (who, done) = (format!("user {name}"), AuditOutcome::Done);
    tell(&state, &tenant, who, "session.use_link", done, address).await;
    let opener = Opener::User(name.clone());
    signed_in(&state, &headers, &tenant, (&opener, &name), address, None).await
}

fn page(status: StatusCode, tenant: &TenantId, name: &str, problem: Option<&str>) -> Response {
    let body = html! {
        h1 { "Choose your password" }
        p { "You are " strong { (name) } " of " strong { (tenant) } ". This link works once." }
        @if let Some(problem) = problem { p.alert role="alert" { (problem) } }
        form method="post" {
            // For who keeps passwords.
            input name="name" value=(name) autocomplete="username" hidden disabled;
            (field("password", "Password", html! {
                input #password name="password" type="password" autocomplete="new-password"
                    required minlength=(MIN_CHARACTERS) maxlength=(MAX_BYTES) autofocus
                    aria-describedby="rule";
            }))
            p #rule .dim.small { (MIN_CHARACTERS) " characters or more; a few words are good." }
            (field("again", "Once more", html! {
                input #again name="again" type="password" autocomplete="new-password" required
                    maxlength=(MAX_BYTES);
            }))
            button.primary { "Set the password and sign in" }
        }
    };
    (status, super::shell::alone("Choose your password", &body)).into_response()
}

/// Unknown, used or expired: nobody is told which.
fn over() -> Response {
    let body = html! {
        h1 { "This link opens nothing" }
        p { "It was used already, has expired, or a newer one was made." }
        p.dim.small {
            "An admin of your tenant makes a new one; who has the hub's machine makes one with "
            code { "stencil hub login-link" } "."
        }
        p { a href="/login" { "Sign in" } }
    };
    let page = super::shell::alone("This link opens nothing", &body);
    (StatusCode::NOT_FOUND, page).into_response()
}
