//! Who may use a route, and who is calling.

use axum::extract::{FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{HeaderMap, Method, header};
use stencil_protocol::id::TenantId;
use stencil_store::{Role, TokenKind};

use super::State;
use super::origin::Origin;
use super::problem::{Kind, Problem};

/// The cookie of the live page.
pub(super) const COOKIE: &str = "stencil_session";

/// No secret of ours is longer, in bytes.
const MAX_TOKEN_BYTES: usize = 256;

/// The answer to a change by cookie that does not come from a page of this hub, whatever the
/// cookie is.
const FOREIGN: &str = "with a cookie this is taken from a page of this hub only; a program sends \
                       its token in the `Authorization` header";

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody.
    Public,
    /// Whoever has an API token or a session; without one a browser is sent to sign in.
    Page,
    /// Whoever has an API token or a session.
    Read,
    /// Editors and admins.
    Write,
    /// Admins.
    Admin,
}

impl Access {
    /// Whom it lets in, in words.
    pub(super) fn who(self) -> &'static str {
        match self {
            Self::Public => "anybody",
            Self::Page | Self::Read => "viewer, editor, admin",
            Self::Write => "editor, admin",
            Self::Admin => "admin",
        }
    }
}

/// Whoever is calling, by their token. The tenant comes from here and from nowhere else.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The tenant.
    pub(super) tenant: TenantId,
    /// What the token allows.
    pub(super) role: Role,
    /// The token's id.
    pub(super) token: String,
    /// Who it is, for those who read it later: `token ci`.
    pub(super) who: String,
    /// How many tokens had been revoked before this one was verified.
    pub(super) revocations: u64,
}

/// Lets a request through that `access` allows, with a [`Caller`] in its extensions.
pub(super) async fn check(
    access: Access,
    state: State,
    mut request: Request,
    next: Next,
) -> Response {
    if access == Access::Public {
        return next.run(request).await;
    }
    let secret = match presented(&request) {
        Ok(secret) => secret,
        Err(_) if access == Access::Page => return Redirect::to("/login").into_response(),
        Err(problem) => return problem.into_response(),
    };
    let caller = match caller(&state, &secret).await {
        Ok(caller) => caller,
        Err(Refused::Unknown) if access == Access::Page => {
            return Redirect::to("/login").into_response();
        }
        Err(refused) => return Problem::from(refused).into_response(),
    };
    if !allows(caller.role, access) {
        let needed = if access == Access::Admin {
            "an admin's"
        } else {
            "an editor's"
        };
        let detail = format!(
            "this needs {needed} token, yours is a {}'s",
            caller.role.as_str()
        );
        return Problem::new(Kind::Forbidden, detail).into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Whom a secret makes of somebody.
pub(super) async fn caller(state: &State, secret: &str) -> Result<Caller, Refused> {
    if secret.is_empty() || secret.len() > MAX_TOKEN_BYTES {
        return Err(Refused::Unknown);
    }
    let revocations = state.grants().revocations();
    let owner = state
        .store
        .tenancy
        .verify_token(secret)
        .await
        .map_err(Refused::Store)?;
    let owner = owner.ok_or(Refused::Unknown)?;
    match owner.kind {
        TokenKind::Api { role } => Ok(Caller {
            tenant: owner.tenant,
            role,
            who: format!("token {}", owner.name),
            token: owner.id,
            revocations,
        }),
        TokenKind::Device { .. } => Err(Refused::Device),
    }
}

/// Why a secret makes nobody a caller.
#[derive(Debug)]
pub(super) enum Refused {
    Unknown,
    Device,
    Store(stencil_store::Error),
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => {
                Problem::new(Kind::Unauthenticated, "the token is unknown or revoked")
            }
            Refused::Device => Problem::new(
                Kind::Forbidden,
                "this is a device's token, which is for MQTT only; use an API token",
            ),
            Refused::Store(error) => error.into(),
        }
    }
}

fn allows(role: Role, access: Access) -> bool {
    match access {
        Access::Public | Access::Page | Access::Read => true,
        Access::Write => matches!(role, Role::Editor | Role::Admin),
        Access::Admin => role == Role::Admin,
    }
}

fn presented(request: &Request) -> Result<String, Problem> {
    if let Some(value) = request.headers().get(header::AUTHORIZATION) {
        let text = value.to_str().unwrap_or_default();
        return match text.split_once(' ') {
            Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => {
                Ok(secret.trim().to_owned())
            }
            _ => Err(Problem::new(
                Kind::Unauthenticated,
                "the Authorization header is not of the form `Bearer <token>`",
            )),
        };
    }
    if let Some(secret) = cookie(request.headers()) {
        let reading = matches!(*request.method(), Method::GET | Method::HEAD);
        // Before the cookie is looked at, so that another page learns nothing about it.
        if !reading && Origin::of(request.headers()) != Origin::Same {
            return Err(Problem::new(Kind::Forbidden, FOREIGN));
        }
        return Ok(secret.to_owned());
    }
    Err(Problem::new(
        Kind::Unauthenticated,
        "there is no `Authorization: Bearer <token>` header",
    ))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| Problem::internal("a public route asks who is calling"))
    }
}
