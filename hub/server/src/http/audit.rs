//! Who changed what is written down, for all routes at one place: the table of routes.
//!
//! Noted are changes, done or not, by somebody who is known; and what was refused to somebody who
//! is known, reading too, and reading what a handler says is to be ([`Noted`]). Signing in and out is noted by its handlers ([`note`]). What is done is
//! noted each time; what is not done, which whoever may do nothing can repeat at will, once a
//! minute with how often it was, so that it does not push the rest out.
//!
//! No entry holds what a request or an answer carried but the names in its path and what a handler
//! says of it ([`Target`], [`Detail`]): there may be secrets in it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{FromRequestParts as _, RawPathParams, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use http::StatusCode;
use stencil_protocol::id::TenantId;
use stencil_store::{AuditOutcome, NewAudit, Operator};

use super::access::Caller;
use super::keyed::Replayed;
use super::listener::Peer;
use super::problem::{Problem, Said};
use super::recent::Recent;
use super::{Access, State};

/// Between two notes that the same was not done.
const AGAIN_US: i64 = 60 * 1_000_000;
/// What was not done of late, in how many different ways.
const CAPACITY: usize = 16_384;

/// What a handler did it to, where the path does not tell: the name of what it has made.
#[derive(Debug, Clone)]
pub(super) struct Target(pub(super) String);

impl IntoResponseParts for Target {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}

/// More of what a handler has done, in words that hold no secret: the role that it gave.
#[derive(Debug, Clone)]
pub(super) struct Detail(pub(super) String);

impl IntoResponseParts for Detail {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}

/// Reading that is noted, too: once a minute of the same by the same, however often it is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noted;

impl IntoResponseParts for Noted {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// Who did it: `user ann`.
    pub(super) who: String,
    /// What.
    pub(super) action: Arc<str>,
    /// To what.
    pub(super) target: Option<String>,
    /// How it went.
    pub(super) outcome: AuditOutcome,
    /// More in words.
    pub(super) detail: Option<String>,
    /// From where.
    pub(super) address: IpAddr,
    /// It may be done again and again: noted once a minute.
    pub(super) repeats: bool,
}

/// What was not done of late.
#[derive(Debug)]
pub(super) struct Undone {
    table: Mutex<Recent<Key, Again>>,
}

type Key = (TenantId, String, Arc<str>, &'static str);

/// When it was noted, and how often it happened since.
#[derive(Debug, Default)]
struct Again {
    noted_us: Option<i64>,
    since: u64,
}

impl Default for Undone {
    fn default() -> Self {
        Self {
            table: Mutex::new(Recent::new(CAPACITY)),
        }
    }
}

impl Undone {
    /// Whether to note it now, and how often it has happened since the last note.
    fn count(&self, tenant: &TenantId, event: &Event, now_us: i64) -> Option<u64> {
        // What is read is noted for each that it is read of.
        let of = match (event.outcome, &event.target) {
            (AuditOutcome::Done, Some(target)) => format!("{} {target}", event.who),
            _ => event.who.clone(),
        };
        let key = (
            tenant.clone(),
            of,
            Arc::clone(&event.action),
            event.outcome.as_str(),
        );
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let again = table.entry(key, Again::default);
        if let Some(noted_us) = again.noted_us
            && (noted_us..noted_us.saturating_add(AGAIN_US)).contains(&now_us)
        {
            again.since = again.since.saturating_add(1);
            return None;
        }
        again.noted_us = Some(now_us);
        Some(std::mem::take(&mut again.since))
    }
}

/// Writes an event of a tenant down. That it could not be is told in the log; what was done is
/// done.
pub(super) async fn note(state: &State, tenant: &TenantId, event: Event) {
    let now_us = state.clock.now_us();
    let mut detail = event.detail.clone();
    if event.outcome != AuditOutcome::Done || event.repeats {
        match state.undone().count(tenant, &event, now_us) {
            None => return,
            Some(0) => {}
            Some(times) => {
                let before = detail.map_or(String::new(), |detail| format!("{detail}; "));
                detail = Some(format!("{before}{times} times more before"));
            }
        }
    }
    let entry = NewAudit {
        at_us: now_us,
        who: event.who,
        action: event.action.as_ref().to_owned(),
        target: event.target,
        outcome: event.outcome,
        detail,
        address: Some(event.address.to_string()),
    };
    let keep = state.limits.audit_entries;
    match state.store.audit.note(tenant, &entry, keep).await {
        // A tenant that there is not, or not any more, has no log.
        Ok(()) | Err(stencil_store::Error::NotFound { .. }) => {}
        Err(error) => {
            tracing::error!(%tenant, who = entry.who, action = entry.action, %error,
                "an entry of the audit log is missing");
        }
    }
}

/// Notes what comes of a request to a route with this access.
pub(super) async fn watch(
    action: Arc<str>,
    access: Access,
    state: State,
    request: Request,
    next: Next,
) -> Response {
    let reads = matches!(
        access,
        Access::Public | Access::SignIn | Access::Page | Access::Read
    );
    let changes = !reads && request.method() != http::Method::GET;
    let address = Peer::address(request.extensions());
    let (mut parts, body) = request.into_parts();
    let target = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .ok()
        .map(|params| {
            let names: Vec<_> = params.iter().map(|(_, value)| value.to_owned()).collect();
            names.join("/")
        });
    let target = target.filter(|target| !target.is_empty());
    let request = Request::from_parts(parts, body);
    let noted = async move {
        let response = next.run(request).await;
        let replayed = response.extensions().get::<Replayed>().is_some();
        let repeats = response.extensions().get::<Noted>().is_some();
        let outcome = outcome(response.status(), changes || repeats).filter(|_| !replayed);
        if let Some(outcome) = outcome {
            let detail = response
                .extensions()
                .get::<Said>()
                .map(|said| said.0.clone())
                .or_else(|| response.extensions().get::<Detail>().map(|it| it.0.clone()));
            let made = response.extensions().get::<Target>();
            let target = made.map(|made| made.0.clone()).or(target);
            if let Some((tenant, who)) = who(&response, target.as_deref()) {
                let event = Event {
                    who,
                    action,
                    target,
                    outcome,
                    detail,
                    address,
                    repeats,
                };
                note(&state, &tenant, event).await;
            }
        }
        response
    };
    if !changes {
        return noted.await;
    }
    // A task of its own: who goes away before the answer leaves nothing half done or not noted.
    let done = tokio::spawn(noted).await;
    done.unwrap_or_else(|error| Problem::internal(error).into_response())
}

/// How it went; `None`: that is not noted.
fn outcome(status: StatusCode, changes: bool) -> Option<AuditOutcome> {
    match status {
        StatusCode::FORBIDDEN => Some(AuditOutcome::Refused),
        StatusCode::TOO_MANY_REQUESTS => None,
        _ if !changes => None,
        status if status.is_client_error() || status.is_server_error() => {
            Some(AuditOutcome::Failed)
        }
        _ => Some(AuditOutcome::Done),
    }
}

/// In whose log it is noted, and as whose doing. What an operator does to a tenant stands in that
/// tenant's.
fn who(response: &Response, target: Option<&str>) -> Option<(TenantId, String)> {
    let extensions = response.extensions();
    if let Some(caller) = extensions.get::<Caller>() {
        return Some((caller.tenant.clone(), caller.who.clone()));
    }
    let operator = extensions.get::<Operator>()?;
    let tenant = TenantId::parse(target?).ok()?;
    Some((tenant, format!("operator {}", operator.name)))
}
