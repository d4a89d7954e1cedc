//! Signing in to the live page: a token for a cookie that no script can read and no other page
//! can send.

use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderValue, StatusCode, header};
use maud::html;
use serde::Deserialize;

use super::super::State;
use super::super::access::{self, COOKIE, Refused};
use super::super::input::{self, Query};
use super::super::problem::Problem;

/// A month; revoking the token ends it at once.
const MAX_AGE_S: u32 = 30 * 24 * 3600;
/// The longest form.
const MAX_FORM_BYTES: usize = 1_024;

/// What the form or the link brings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Form {
    token: Option<String>,
}

/// `GET /login`: the form. `GET /login?token=…`: signs in and goes to the page, which is what
/// the link does that the hub's command prints.
pub(in crate::http) async fn form(
    Shared(state): Shared<State>,
    Query(form): Query<Form>,
) -> Result<Response, Problem> {
    match form.token {
        Some(token) => sign_in(&state, &token).await,
        None => Ok(page(StatusCode::OK, None)),
    }
}

/// `POST /login` with the form.
pub(in crate::http) async fn submit(
    Shared(state): Shared<State>,
    request: Request,
) -> Result<Response, Problem> {
    let body = input::body(request, &(), MAX_FORM_BYTES).await?;
    // A form is coded as a query is.
    let query = String::from_utf8_lossy(&body);
    let parsed = format!("/?{query}").parse::<http::Uri>().ok();
    let form = parsed.and_then(|uri| axum::extract::Query::<Form>::try_from_uri(&uri).ok());
    match form.and_then(|form| form.0.token) {
        Some(token) => sign_in(&state, token.trim()).await,
        None => Ok(page(StatusCode::BAD_REQUEST, Some("Give a token."))),
    }
}

/// `POST /logout`: forgets the cookie. The token stays valid for who has it.
pub(in crate::http) async fn sign_out() -> Response {
    with_cookie(
        Redirect::to("/login").into_response(),
        &format!("{COOKIE}=; Max-Age=0"),
    )
}

async fn sign_in(state: &State, token: &str) -> Result<Response, Problem> {
    match access::caller(state, token).await {
        // A secret of ours has only characters that may stand in a cookie; else the header
        // cannot be made and the form is shown.
        Ok(_)
            if token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) =>
        {
            let cookie = format!("{COOKIE}={token}; Max-Age={MAX_AGE_S}");
            Ok(with_cookie(Redirect::to("/").into_response(), &cookie))
        }
        Ok(_) | Err(Refused::Unknown) => {
            let why = "This token is unknown or revoked.";
            Ok(page(StatusCode::UNAUTHORIZED, Some(why)))
        }
        Err(Refused::Device) => {
            let why = "This is a device's token, which is for MQTT only. Use an API token.";
            Ok(page(StatusCode::FORBIDDEN, Some(why)))
        }
        Err(store) => Err(store.into()),
    }
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    let cookie = format!("{cookie}; Path=/; HttpOnly; SameSite=Strict");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

fn page(status: StatusCode, problem: Option<&str>) -> Response {
    let body = html! {
            h1 { "Sign in" }
            @if let Some(problem) = problem {
                p.alert role="alert" { (problem) }
            }
            form method="post" action="/login" {
                label for="token" { "API token" }
                input #token name="token" type="password" autocomplete="current-password"
                    required maxlength="256" autofocus;
                button.primary { "Sign in" }
            }
            p.dim {
                "Make a token with " code { "stencil token create --role viewer --name me" } ". "
                "Signed in already? " a href="/" { "Open the page" } "."
            }
    };
    (status, super::shell::alone("Sign in to Stencil Hub", &body)).into_response()
}
