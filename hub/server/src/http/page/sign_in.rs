//! Signing in to the console: a password, or a token, for a session.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode, header};
use maud::{Markup, html};
use serde::Deserialize;
use stencil_protocol::id::TenantId;
use stencil_store::{AuditOutcome, MAX_USER_NAME, Opener};

use super::super::access::{self, FOREIGN, Refused, who};
use super::super::audit::{self, Event};
use super::super::input::{self, Query};
use super::super::listener::Peer;
use super::super::origin::{self, Origin};
use super::super::password::MAX_BYTES;
use super::super::password::Standing;
use super::super::problem::{Kind, Problem};
use super::super::return_to::{self, ReturnTo};
use super::super::throttle::Subject;
use super::super::{State, device_cookie, session};
use super::assets;

const WRONG_PASSWORD: &str = "This is no tenant, user and password of this hub.";
const WRONG_TOKEN: &str = "This token is unknown or revoked.";
const ENDED_TOKEN: &str = "This token has ended. An admin of the tenant makes another one.";

/// What a link brings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Link {
    token: Option<String>,
    /// Where to go on to; what is no page of the console is not gone to.
    next: Option<String>,
}

/// The query that the form is sent with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct On {
    next: Option<String>,
}

fn page_of(next: Option<&str>) -> Option<ReturnTo> {
    next.and_then(ReturnTo::parse)
}

/// What a form brings: a token, or the rest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    token: Option<String>,
    tenant: Option<String>,
    name: Option<String>,
    password: Option<String>,
}

/// What came of it.
enum Outcome {
    /// Somebody is signed in, and what they are called.
    In(TenantId, Opener, String),
    /// Nobody is, for this reason.
    Refused(StatusCode, &'static str),
    /// It was tried too often.
    Wait(Duration),
}

/// `GET /login?next`: the forms. `GET /login?token=…`: signs in and goes to the console, which is
/// what the link does that the hub's command prints.
pub(in crate::http) async fn form(
    Shared(state): Shared<State>,
    Query(link): Query<Link>,
    request: Request,
) -> Result<Response, Problem> {
    let next = page_of(link.next.as_deref());
    let mut entry = Entry {
        next: next.as_ref(),
        ..Entry::default()
    };
    let Some(token) = link.token else {
        return Ok(page(&state, StatusCode::OK, None, entry));
    };
    entry.is_token_link = true;
    if origin::sent_by_another_site(request.headers()) {
        // Else a page of somebody else could sign a browser in to a tenant of their own.
        let why = "The page that led here is not one of this hub. Sign in below.";
        return Ok(page(&state, StatusCode::FORBIDDEN, Some(why), entry));
    }
    let address = Peer::address(request.extensions());
    let outcome = by_token(&state, &token, address).await?;
    answer(&state, request.headers(), outcome, address, entry).await
}

/// `POST /login?next` with a form.
pub(in crate::http) async fn submit(
    Shared(state): Shared<State>,
    Query(on): Query<On>,
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
    let (tenant, name, outcome) = match form {
        Some(Form {
            token: Some(token),
            tenant: None,
            name: None,
            password: None,
        }) => {
            let outcome = by_token(&state, token.trim(), address).await?;
            (String::new(), String::new(), outcome)
        }
        Some(Form {
            token: None,
            tenant: Some(tenant),
            name: Some(name),
            password: Some(password),
        }) => {
            let outcome = by_password(
                &state,
                &headers,
                (tenant.trim(), name.trim()),
                password,
                address,
            );
            let outcome = outcome.await?;
            (tenant, name, outcome)
        }
        _ => {
            let why = "Give a tenant, a user and a password, or a token.";
            let outcome = Outcome::Refused(StatusCode::BAD_REQUEST, why);
            (String::new(), String::new(), outcome)
        }
    };
    let next = page_of(on.next.as_deref());
    let entry = Entry {
        tenant: &tenant,
        name: &name,
        next: next.as_ref(),
        is_token_link: false,
    };
    answer(&state, &headers, outcome, address, entry).await
}

/// `POST /logout`: ends the session. A token that opened it stays valid for who has it.
pub(in crate::http) async fn sign_out(
    Shared(state): Shared<State>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers();
    if session::cookie(&state, headers).is_some() && Origin::of(headers) != Origin::Same {
        return Err(Problem::new(Kind::Forbidden, FOREIGN));
    }
    end_session(&state, headers, Peer::address(request.extensions())).await?;
    let mut response = Redirect::to("/login").into_response();
    let cookie = session::forgotten(&state, headers)?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Ends the session that the request's cookie is of, if there is one.
pub(in crate::http) async fn end_session(
    state: &State,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<(), Problem> {
    let Some(secret) = session::cookie(state, headers) else {
        return Ok(());
    };
    if let Some(owner) = session::wallet(state, secret).await? {
        let wallets = &state.store.wallets;
        wallets.end_wallet_session(&owner.session).await?;
    }
    if let Some(owner) = session::owner(state, secret).await? {
        let users = &state.store.users;
        users.end_session(&owner.tenant, &owner.session).await?;
        let who = who(&owner.opener, &owner.name);
        let done = AuditOutcome::Done;
        tell(state, &owner.tenant, who, "session.sign_out", done, address).await;
    }
    Ok(())
}

/// The way in for who has proved who they are: a session in place of the one before, and on to
/// where they were going.
pub(super) async fn signed_in(
    state: &State,
    headers: &HeaderMap,
    tenant: &TenantId,
    (opener, name): (&Opener, &str),
    address: IpAddr,
    next: Option<&ReturnTo>,
) -> Result<Response, Problem> {
    end_session(state, headers, address).await?;
    let (_, cookie) = session::open(state, headers, tenant, opener, address).await?;
    let done = AuditOutcome::Done;
    tell(
        state,
        tenant,
        who(opener, name),
        "session.sign_in",
        done,
        address,
    )
    .await;
    let mut response = Redirect::to(next.map_or("/", ReturnTo::as_str)).into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    if let Opener::User(name) = opener {
        let cookie = device_cookie::cookie(state, headers, tenant, name)?;
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Notes that somebody signed in or out, or could not.
pub(in crate::http) async fn tell(
    state: &State,
    tenant: &TenantId,
    who: String,
    action: &str,
    outcome: AuditOutcome,
    address: IpAddr,
) {
    let event = Event {
        who,
        action: Arc::from(action),
        target: None,
        outcome,
        detail: None,
        address,
        repeats: false,
    };
    audit::note(state, tenant, event).await;
}

async fn by_password(
    state: &State,
    headers: &HeaderMap,
    (tenant, name): (&str, &str),
    password: String,
    address: IpAddr,
) -> Result<Outcome, Problem> {
    let wrong = Outcome::Refused(StatusCode::UNAUTHORIZED, WRONG_PASSWORD);
    let tenant = TenantId::parse(tenant).ok();
    let Some(tenant) = tenant.filter(|_| name.len() <= MAX_USER_NAME) else {
        return Ok(wrong);
    };
    let now_us = state.clock.now_us();
    let (subjects, standing) = match device_cookie::known(state, headers, &tenant, name) {
        Some(device) => (vec![Subject::Own(device)], Standing::Known),
        None => (
            Subject::of(Some(&format!("{tenant}/{name}")), address),
            Standing::Unknown,
        ),
    };
    if let Err(wait) = state.throttle().begin(&subjects, now_us) {
        return Ok(Outcome::Wait(wait));
    }
    let users = &state.store.users;
    let kept = users.password(&tenant, name).await?;
    if password.len() > MAX_BYTES || !state.passwords().is(password, kept, standing).await? {
        // A name that nobody has may be a password, typed into the wrong field.
        let known = users.user(&tenant, name).await?.is_some();
        let who = if known {
            format!("user {name}")
        } else {
            "unknown user".to_owned()
        };
        tell(
            state,
            &tenant,
            who,
            "session.sign_in",
            AuditOutcome::Refused,
            address,
        )
        .await;
        return Ok(wrong);
    }
    state.throttle().succeeded(&subjects, now_us);
    Ok(Outcome::In(
        tenant,
        Opener::User(name.to_owned()),
        name.to_owned(),
    ))
}

async fn by_token(state: &State, token: &str, address: IpAddr) -> Result<Outcome, Problem> {
    let subjects = Subject::of(None, address);
    let now_us = state.clock.now_us();
    if let Err(wait) = state.throttle().begin(&subjects, now_us) {
        return Ok(Outcome::Wait(wait));
    }
    let refused = |status, why| Ok(Outcome::Refused(status, why));
    match access::by_token(state, token).await {
        Ok(caller) => {
            state.throttle().succeeded(&subjects, now_us);
            Ok(Outcome::In(caller.tenant, caller.opener, caller.name))
        }
        Err(Refused::Device) => refused(
            StatusCode::FORBIDDEN,
            "This is a device's token, which is for MQTT only. Use an API token.",
        ),
        Err(Refused::Operator) => refused(
            StatusCode::FORBIDDEN,
            "This is an operator's token, which opens no tenant. Use an API token of the tenant.",
        ),
        Err(Refused::TokenEnded(_)) => refused(StatusCode::UNAUTHORIZED, ENDED_TOKEN),
        Err(Refused::Store(error)) => Err(error.into()),
        Err(_) => refused(StatusCode::UNAUTHORIZED, WRONG_TOKEN),
    }
}

async fn answer(
    state: &State,
    headers: &HeaderMap,
    outcome: Outcome,
    address: IpAddr,
    entry: Entry<'_>,
) -> Result<Response, Problem> {
    match outcome {
        Outcome::In(tenant, opener, name) => {
            signed_in(
                state,
                headers,
                &tenant,
                (&opener, &name),
                address,
                entry.next,
            )
            .await
        }
        Outcome::Refused(status, why) => Ok(page(state, status, Some(why), entry)),
        Outcome::Wait(wait) => {
            let seconds = wait.as_secs() + 1;
            let why = format!(
                "This failed too often, from here or from elsewhere. Try again in {seconds} s, with \
                 a browser that you have signed in with before, or by a one-time link."
            );
            let status = StatusCode::TOO_MANY_REQUESTS;
            let mut response = page(state, status, Some(&why), entry);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
            Ok(response)
        }
    }
}

/// What the page with the forms is told.
#[derive(Debug, Clone, Copy, Default)]
struct Entry<'a> {
    /// What was typed before.
    tenant: &'a str,
    name: &'a str,
    /// Where to go on to.
    next: Option<&'a ReturnTo>,
    /// The page's address has a token in it.
    is_token_link: bool,
}

impl Entry<'_> {
    /// Where the forms are sent. Without an address it is the page's own, and only then does a
    /// browser carry along what stands behind its `#`: a claim code that was scanned.
    fn action(&self) -> Option<String> {
        let own = self.next.is_some() && !self.is_token_link;
        (!own).then(|| return_to::login(self.next))
    }
}

fn page(state: &State, status: StatusCode, problem: Option<&str>, entry: Entry<'_>) -> Response {
    let Entry { tenant, name, .. } = entry;
    let by_wallet = by_wallet(state, entry.next);
    let action = entry.action();
    let body = html! {
        h1 { "Sign in" }
        @if let Some(problem) = problem { p.alert role="alert" { (problem) } }
        form #by-password method="post" action=[&action] {
            (field("tenant", "Tenant", html! {
                input #tenant name="tenant" value=(tenant) autocomplete="organization"
                    autocapitalize="none" spellcheck="false" required maxlength="64"
                    autofocus[tenant.is_empty()];
            }))
            (field("name", "User", html! {
                input #name name="name" value=(name) autocomplete="username"
                    autocapitalize="none" spellcheck="false" required maxlength="64";
            }))
            (field("password", "Password", html! {
                input #password name="password" type="password" autocomplete="current-password"
                    required maxlength=(MAX_BYTES) autofocus[!tenant.is_empty()];
            }))
            button.primary { "Sign in" }
        }
        @if let Some(by_wallet) = &by_wallet { (by_wallet) }
        details {
            summary { "Sign in with an API token" }
            form #by-token method="post" action=[&action] {
                (field("token", "API token", html! {
                    input #token name="token" type="password" autocomplete="off" required
                        maxlength="256";
                }))
                button { "Sign in with the token" }
                p.dim.small {
                    "Make one with " code { "stencil token create --role viewer --name me" } "."
                }
            }
        }
        p.dim.small {
            "No password yet, or forgotten? An admin of your tenant makes a one-time link; who has \
             the hub's machine makes one with "
            code { "stencil hub login-link" } "."
        }
    };
    let scripts: &[_] = match by_wallet {
        Some(_) => &[&assets::WALLETS, &assets::SIGNING],
        None => &[],
    };
    let page = super::shell::alone_with("Sign in to Stencil Hub", &[], scripts, &body);
    (status, page).into_response()
}

/// What a wallet of the browser signs in by, where the hub follows a chain. The script makes it work.
fn by_wallet(state: &State, next: Option<&ReturnTo>) -> Option<Markup> {
    let chains = state.control.cashier().chains();
    let chains: Vec<_> = chains
        .iter()
        .map(|chain| serde_json::json!({ "id": chain.id(), "name": chain.name() }))
        .collect();
    if chains.is_empty() {
        return None;
    }
    let chains = serde_json::Value::from(chains).to_string();
    Some(html! {
        section #by-wallet data-chains=(chains) data-next=[next.map(ReturnTo::as_str)] hidden {
            div.row {
                button #wallet type="button" { "Sign in with a wallet" }
            }
            div #wallets.row hidden {}
            details {
                summary { "To a tenant" }
                (field("wallet-tenant", "Tenant", html! {
                    input #wallet-tenant autocomplete="organization" autocapitalize="none"
                        spellcheck="false" maxlength="64";
                }))
                p.dim.small { "Needed to work in the console of a tenant that gave your account a role." }
            }
            p #doing role="status" aria-live="polite" hidden {}
        }
    })
}

/// A labelled field of a form.
pub(super) fn field(id: &str, label: &str, input: Markup) -> Markup {
    html! { div.field { label for=(id) { (label) } (input) } }
}
