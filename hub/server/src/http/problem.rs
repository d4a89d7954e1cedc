//! Errors as problem documents (RFC 9457), and the page that explains them.

use std::time::Duration;

use axum::Json;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use maud::{DOCTYPE, html};
use serde_json::{Value, json};
use stencil_store::Error as StoreError;

use crate::Error;

/// The kinds of problem; each has a paragraph on `/problems`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Invalid,
    InvalidWorkflow,
    InvalidImage,
    InvalidDesired,
    Unauthenticated,
    Forbidden,
    Misdirected,
    NotFound,
    Method,
    Conflict,
    KeyReused,
    TooLarge,
    MediaType,
    Incomplete,
    TooMany,
    GatewayAway,
    GatewaySilent,
    Busy,
    Internal,
}

impl Kind {
    const ALL: [Kind; 19] = [
        Kind::Invalid,
        Kind::InvalidWorkflow,
        Kind::InvalidImage,
        Kind::InvalidDesired,
        Kind::Unauthenticated,
        Kind::Forbidden,
        Kind::Misdirected,
        Kind::NotFound,
        Kind::Method,
        Kind::Conflict,
        Kind::KeyReused,
        Kind::TooLarge,
        Kind::MediaType,
        Kind::Incomplete,
        Kind::TooMany,
        Kind::GatewayAway,
        Kind::GatewaySilent,
        Kind::Busy,
        Kind::Internal,
    ];

    fn status(self) -> StatusCode {
        match self {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::InvalidWorkflow | Kind::InvalidImage | Kind::InvalidDesired => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
            // The hub is well: it is the gateway's state that is against it.
            Kind::Conflict | Kind::GatewayAway => StatusCode::CONFLICT,
            Kind::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Incomplete => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Kind::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Kind::GatewaySilent => StatusCode::GATEWAY_TIMEOUT,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn slug(self) -> &'static str {
        match self {
            Kind::Invalid => "invalid-request",
            Kind::InvalidWorkflow => "invalid-workflow",
            Kind::InvalidImage => "invalid-image",
            Kind::InvalidDesired => "invalid-desired-state",
            Kind::Unauthenticated => "unauthenticated",
            Kind::Forbidden => "forbidden",
            Kind::Misdirected => "misdirected",
            Kind::NotFound => "not-found",
            Kind::Method => "method-not-allowed",
            Kind::Conflict => "conflict",
            Kind::KeyReused => "idempotency-key-reused",
            Kind::TooLarge => "too-large",
            Kind::MediaType => "unsupported-media-type",
            Kind::Incomplete => "incomplete",
            Kind::TooMany => "too-many-requests",
            Kind::GatewayAway => "gateway-away",
            Kind::GatewaySilent => "gateway-silent",
            Kind::Busy => "unavailable",
            Kind::Internal => "internal",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Kind::Invalid => "The request is not understood",
            Kind::InvalidWorkflow => "The workflow definition has errors",
            Kind::InvalidImage => "The firmware image is not taken",
            Kind::InvalidDesired => "The desired state has errors",
            Kind::Unauthenticated => "A valid token or session is needed",
            Kind::Forbidden => "The token or session does not allow this",
            Kind::Misdirected => "The hub is not known by this name",
            Kind::NotFound => "There is no such thing",
            Kind::Method => "The method does not fit the path",
            Kind::Conflict => "The request contradicts what is stored",
            Kind::KeyReused => "The Idempotency-Key was used for another request",
            Kind::TooLarge => "The request is too large",
            Kind::MediaType => "The content type is not understood",
            Kind::Incomplete => "The request leaves something out",
            Kind::TooMany => "Too many requests",
            Kind::GatewayAway => "The gateway is not there to be asked",
            Kind::GatewaySilent => "The gateway has not answered",
            Kind::Busy => "The hub cannot do this right now",
            Kind::Internal => "The hub has a fault",
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Kind::Invalid => {
                "A parameter, an id or the body breaks a rule; `detail` says which and what would \
                 be right; for a body, `errors` has the place as a JSON pointer. Correct the request; sending it again unchanged does not help."
            }
            Kind::InvalidWorkflow => {
                "The definition was not taken. `errors` has the place (line and column, from 1), \
                 what is wrong there, and what would be right."
            }
            Kind::InvalidImage => {
                "The image or its manifest is not what was signed, is not signed by all who have to, or \
                 is for devices that the tenant does not have. `detail` says which; no device gets it."
            }
            Kind::InvalidDesired => {
                "No gateway was told of it. `errors` has each place (section, line and column, from \
                 1), what is wrong there, and what would be right."
            }
            Kind::Unauthenticated => {
                "Send `Authorization: Bearer <token>`, or sign in. An admin makes tokens with \
                 `stencil token create`; a revoked token opens nothing."
            }
            Kind::Forbidden => {
                "A viewer may read, an editor may also change workflows and send commands, an \
                 admin may also make users and tokens. A device's token is for MQTT only, an \
                 operator's for tenants only."
            }
            Kind::Misdirected => {
                "A hub on loopback takes what browsers do under the names of loopback and those of \
                 its settings (`http.public_url`, `http.public_names`), so that no page of somebody \
                 else can pass it off as its own. Tokens in the `Authorization` header are taken \
                 under any name."
            }
            Kind::NotFound => "The path or the thing in it does not exist in your tenant.",
            Kind::Method => "The `Allow` header has the methods that this path takes.",
            Kind::Conflict => {
                "For example another text for a workflow version that exists: versions never \
                 change, raise `version`. Or an `Idempotency-Key` that was used for another command."
            }
            Kind::KeyReused => {
                "An `Idempotency-Key` stands for one request for a day: sent again with the same \
                 path and body, it is answered the same and does nothing. Give each request a key \
                 of its own, such as a random UUID."
            }
            Kind::TooLarge => "The body is longer than allowed; `detail` has the limit.",
            Kind::MediaType => "JSON bodies need `Content-Type: application/json`.",
            Kind::Incomplete => {
                "It replaces a whole, so all of it has to be there; `errors` has what is missing. \
                 Read what is there, change it, and send it all."
            }
            Kind::TooMany => {
                "Requests come faster than is allowed, signing in has failed too often, or there is \
                 no room for one more of these now; `detail` says which. Send the same request \
                 again after the seconds of `Retry-After`."
            }
            Kind::GatewayAway => {
                "The gateway is not connected, was cut off before it had answered, has connected \
                 just now, or is of a version that answers no questions; `detail` says which, and when it was last heard. Nothing is \
                 kept to ask it later: send the same request again when it is connected."
            }
            Kind::GatewaySilent => {
                "The gateway is connected, but there was no answer in time, or none that makes sense. \
                 The way to it may be slow: the same request, or one for less, may succeed later."
            }
            Kind::Busy => {
                "The store or the log is busy, full or unreachable, or too many pages are open. \
                 The same request may succeed later: see `Retry-After`."
            }
            Kind::Internal => {
                "Not your fault. The hub's log has the reason under the time of the request."
            }
        }
    }
}

/// What a problem said, for who writes it down: of those alone that repeat nothing of the request
/// but names.
#[derive(Debug, Clone)]
pub(super) struct Said(pub(super) String);

/// An error on its way to the client.
#[derive(Debug)]
pub(super) struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<Value>,
    /// Seconds after which the same may succeed.
    retry_after: Option<u64>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: matches!(kind, Kind::Busy | Kind::TooMany).then_some(2),
        }
    }

    /// Something was done too often; when it may be done again.
    pub(super) fn too_many(what: &str, wait: Duration) -> Self {
        // Rounded up: who comes a moment early would be refused again.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let detail = format!("{what}; try again in {seconds} s");
        let mut problem = Self::new(Kind::TooMany, detail);
        problem.retry_after = Some(seconds.max(1));
        problem
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, detail)
    }

    /// `what` in the singular: `device`.
    pub(super) fn not_found(what: &str, name: impl std::fmt::Display) -> Self {
        Self::new(Kind::NotFound, format!("there is no {what} `{name}`"))
    }

    /// Not the client's fault: the reason goes to the log only.
    pub(super) fn internal(reason: impl std::fmt::Display) -> Self {
        tracing::error!(%reason, "a request failed");
        Self::new(Kind::Internal, "the reason is in the hub's log")
    }

    /// The same, with something more to say.
    pub(super) fn also(mut self, more: &str) -> Self {
        self.detail = format!("{}; {more}", self.detail);
        self
    }

    /// What is wrong in detail, one by one.
    pub(super) fn with_errors(mut self, errors: Vec<Value>) -> Self {
        self.errors = errors;
        self
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::NotFound { .. } => Self::new(Kind::NotFound, error.to_string()),
            StoreError::Conflict(why) => Self::new(Kind::Conflict, why.clone()),
            StoreError::Invalid { .. } => Self::invalid(error.to_string()),
            retryable if retryable.retryable() => {
                tracing::warn!(%error, "the store refuses");
                let detail = match retryable {
                    StoreError::DiskFull(_) => "the hub's disk is full; reading still works",
                    StoreError::Busy(_) => "the store is busy",
                    StoreError::Full(why) => why,
                    _ => "the store cannot be reached",
                };
                Self::new(Kind::Busy, detail)
            }
            other => Self::internal(other),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::Definition(error) => error.into(),
            Error::Rollout(stencil_rollout::Refusal::Unknown)
            | Error::Plan(stencil_rollout::Error::TooMany) => {
                Self::new(Kind::Conflict, error.to_string())
            }
            Error::Rollout(refusal) => Self::new(Kind::Conflict, refusal.to_string()),
            Error::Plan(error) => Self::invalid(error.to_string()),
            Error::TooManyWorkflows { .. } => Self::new(Kind::Conflict, error.to_string()),
            Error::Log(error) => {
                tracing::warn!(%error, "the ingest log refuses");
                Self::new(
                    Kind::Busy,
                    "the ingest log takes nothing right now; try again",
                )
            }
            other => Self::internal(other),
        }
    }
}

impl From<stencil_workflow::definition::Error> for Problem {
    fn from(error: stencil_workflow::definition::Error) -> Self {
        let errors = serde_json::to_value(&error).into_iter().collect();
        Self::new(Kind::InvalidWorkflow, error.to_string()).with_errors(errors)
    }
}

/// What a problem says, in the extensions of its answer: for who tells it in another form.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) title: &'static str,
    pub(super) detail: String,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let mut document = json!({
            "type": format!("/problems#{}", self.kind.slug()),
            "title": self.kind.title(),
            "status": status.as_u16(),
            "detail": &self.detail,
        });
        if let (Some(members), false) = (document.as_object_mut(), self.errors.is_empty()) {
            members.insert("errors".to_owned(), Value::Array(self.errors));
        }
        let told = Told {
            status,
            title: self.kind.title(),
            detail: self.detail.clone(),
        };
        let mut response = (status, Json(document)).into_response();
        response.extensions_mut().insert(told);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.kind == Kind::Unauthenticated {
            let scheme = HeaderValue::from_static("Bearer realm=\"stencil\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        let said = matches!(
            self.kind,
            Kind::Forbidden | Kind::NotFound | Kind::Conflict | Kind::Busy
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if said {
            response.extensions_mut().insert(Said(self.detail));
        }
        response
    }
}

/// `GET /problems`: what each kind of problem means.
pub(super) async fn explained() -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Problems" }
                (super::page::style())
            }
            body {
                main {
                    h1 { "Problems" }
                    p { "Each error of the API is a document whose " code { "type" }
                        " points to a paragraph of this page." }
                    @for kind in Kind::ALL {
                        section id=(kind.slug()) {
                            h2 { (kind.status().as_u16()) " " (kind.title()) }
                            p { (kind.explanation()) }
                        }
                    }
                }
            }
        }
    };
    Html(page.into_string())
}

/// For paths that are none.
pub(super) async fn no_such_path(uri: http::Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(Kind::NotFound, format!("there is nothing at `{path}`"))
}

/// For methods that a path does not take. The router adds `Allow`.
pub(super) async fn wrong_method(method: http::Method) -> Problem {
    Problem::new(
        Kind::Method,
        format!("{method} is not among the methods of this path"),
    )
}
