//! Who may use a route, and who is calling.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{HeaderMap, Method, Uri, header};
use stencil_crypto::tls::Negotiated;
use stencil_payments::Address;
use stencil_protocol::id::TenantId;
use stencil_protocol::moment;
use stencil_store::{Opener, Operator, Role, TokenKind, WalletKey};

use super::listener::Peer;
use super::origin::Origin;
use super::problem::{Kind, Problem};
use super::rate::Asker;
use super::return_to::{self, ReturnTo};
use super::{State, host, session, throttle};
use crate::grants::{Grant, Grants};

/// No secret of ours is longer, in bytes.
const MAX_SECRET_BYTES: usize = 256;

/// The answer to a change by cookie that does not come from a page of this hub, whatever the
/// cookie is.
pub(super) const FOREIGN: &str = "with a cookie this is taken from a page of this hub only; a \
                                  program sends its token in the `Authorization` header";

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody.
    Public,
    /// Anybody with a browser, to sign in or out: under the hub's own names.
    SignIn,
    /// Whoever has an API token or a session; without one a browser is sent to sign in.
    Page,
    /// Whoever has an API token or a session.
    Read,
    /// Whoever has an API token or a session, to change what is their own.
    Own,
    /// Editors and admins.
    Write,
    /// Admins.
    Admin,
    /// Whoever has signed in with a wallet, to a tenant or to none.
    Wallet,
    /// The same; without a session a browser is sent to sign in.
    WalletPage,
    /// Who runs the hub, by an operator's token, and nobody of a tenant.
    Operator,
}

impl Access {
    /// Whether it is for wallets, in a tenant or not.
    fn is_wallets(self) -> bool {
        matches!(self, Self::Wallet | Self::WalletPage)
    }

    /// Whom it lets in, in words.
    pub(super) fn who(self) -> &'static str {
        match self {
            Self::Public | Self::SignIn => "anybody",
            Self::Page | Self::Read | Self::Own => "viewer, editor, admin",
            Self::Write => "editor, admin",
            Self::Admin => "admin",
            Self::Wallet | Self::WalletPage => "wallet",
            Self::Operator => "operator",
        }
    }
}

/// Whoever is calling, by their token or session. The tenant comes from here and from nowhere
/// else.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The tenant.
    pub(super) tenant: TenantId,
    /// What they may do.
    pub(super) role: Role,
    /// The user, the wallet, or the token that they hold or that has opened their session.
    pub(super) opener: Opener,
    /// What the user or token is called; the address of a wallet.
    pub(super) name: String,
    /// Who it is, for those who read it later: `user ann`, `token ci`.
    pub(super) who: String,
    /// The session, if they call by one.
    pub(super) session: Option<String>,
    /// What the connection's TLS negotiated; `None` without TLS.
    pub(super) link: Option<Box<Negotiated>>,
    /// How many tokens had been revoked and sessions ended before this one was verified.
    pub(super) revocations: u64,
}

impl Caller {
    fn new(
        tenant: TenantId,
        role: Role,
        opener: Opener,
        name: String,
        session: Option<String>,
        revocations: u64,
    ) -> Self {
        let name = match &opener {
            Opener::Wallet(wallet) => shown(wallet),
            Opener::User(_) | Opener::Token(_) => name,
        };
        let who = who(&opener, &name);
        Self {
            tenant,
            role,
            opener,
            name,
            who,
            session,
            link: None,
            revocations,
        }
    }

    /// What is told when they may not stay: the token is revoked, the session has ended.
    pub(super) fn hold(&self, grants: &Grants) -> Vec<Grant> {
        let token = match &self.opener {
            Opener::Token(token) => Some(grants.hold(&self.tenant, token)),
            Opener::User(_) | Opener::Wallet(_) => None,
        };
        let session = self.session.as_deref();
        let session = session.map(|session| grants.hold_session(&self.tenant, session));
        token.into_iter().chain(session).collect()
    }
}

/// Who somebody is, for those who read it later.
pub(super) fn who(opener: &Opener, name: &str) -> String {
    match opener {
        Opener::User(_) => format!("user {name}"),
        Opener::Token(_) => format!("token {name}"),
        Opener::Wallet(wallet) => format!("wallet {}", shown(wallet)),
    }
}

/// An address with its checksum (EIP-55).
pub(super) fn shown(wallet: &WalletKey) -> String {
    Address::from(*wallet).to_checksum(None)
}

/// Whoever has signed in with a wallet.
#[derive(Debug, Clone)]
pub(super) struct WalletUser {
    /// The account.
    pub(super) wallet: WalletKey,
    /// The chain on which it is a contract: elsewhere somebody else may have its address. `None`: it is who has
    /// the account's key, on each chain.
    pub(super) chain: Option<u64>,
    /// The session's id.
    pub(super) session: String,
    /// Where they have signed in to, and what they may do there; `None`: to no tenant.
    pub(super) within: Option<(TenantId, Role)>,
}

impl WalletUser {
    /// A caller who has signed in with a wallet.
    fn of(caller: &Caller, chain: Option<u64>) -> Option<Self> {
        let Opener::Wallet(wallet) = &caller.opener else {
            return None;
        };
        Some(Self {
            wallet: *wallet,
            chain,
            session: caller.session.clone()?,
            within: Some((caller.tenant.clone(), caller.role)),
        })
    }
}

/// Lets a request through that `access` allows, with a [`Caller`] (or an [`Operator`]) in its
/// extensions; and in those of the answer, for who writes it down.
pub(super) async fn check(
    access: Access,
    state: State,
    mut request: Request,
    next: Next,
) -> Response {
    let address = Peer::address(request.extensions());
    if let Err(problem) = host::check(&state, access, &request) {
        return match unknown_may_ask(&state, address) {
            Ok(()) => problem.into_response(),
            Err(wait) => wait.into_response(),
        };
    }
    if matches!(access, Access::Public | Access::SignIn) {
        return match unknown_may_ask(&state, address) {
            Ok(()) => next.run(request).await,
            Err(wait) => wait.into_response(),
        };
    }
    let admitted = match presented(&state, &request) {
        Ok(credential) if access == Access::Operator => operator(&state, credential).await,
        Ok(credential) if access.is_wallets() => wallet(&state, credential).await,
        Ok(credential) => caller(&state, credential).await.map(Admitted::Caller),
        Err(problem) => Err(Refused::Nobody(problem)),
    };
    let admitted = match admitted {
        Ok(admitted) => admitted,
        Err(Refused::Tenants(caller)) => {
            if let Err(wait) = unknown_may_ask(&state, address) {
                return wait.into_response();
            }
            let mut response = Problem::from(Refused::Tenants(caller.clone())).into_response();
            response.extensions_mut().insert(*caller);
            return response;
        }
        Err(refused) => {
            if let Err(wait) = unknown_may_ask(&state, address) {
                return wait.into_response();
            }
            let unknown = matches!(
                refused,
                Refused::Nobody(_) | Refused::Unknown | Refused::TokenEnded(_) | Refused::Ended
            );
            if access == Access::Page && matches!(refused, Refused::NoTenant(_)) {
                return Redirect::to("/wallet").into_response();
            }
            if access == Access::WalletPage && unknown {
                return Redirect::to(&return_to::login(None)).into_response();
            }
            if access == Access::Page && unknown {
                let place = ReturnTo::of(request.uri());
                return Redirect::to(&return_to::login(place.as_ref())).into_response();
            }
            return Problem::from(refused).into_response();
        }
    };
    let now_us = state.clock.now_us();
    let asker = match &admitted {
        Admitted::Caller(caller) => Asker::of(&caller.tenant, &caller.opener),
        Admitted::Operator(operator) => Asker::Operator(operator.id.clone()),
        Admitted::Wallet(user) => match &user.within {
            Some((tenant, _)) => Asker::of(tenant, &Opener::Wallet(user.wallet)),
            None => Asker::Wallet(user.wallet),
        },
    };
    // Accounts of chains cost nothing: however many somebody has, they ask no faster than their address
    // may.
    if matches!(asker, Asker::Wallet(_))
        && let Err(wait) = unknown_may_ask(&state, address)
    {
        return wait.into_response();
    }
    if let Err(wait) = state.rates().caller(asker, now_us) {
        return Problem::too_many("requests come faster than is allowed", wait).into_response();
    }
    match admitted {
        Admitted::Wallet(user) => {
            request.extensions_mut().insert(user);
            next.run(request).await
        }
        Admitted::Operator(operator) => {
            request.extensions_mut().insert(operator.clone());
            let mut response = next.run(request).await;
            response.extensions_mut().insert(operator);
            response
        }
        Admitted::Caller(mut caller) => {
            caller.link = Peer::negotiated(request.extensions()).map(Box::new);
            let mut response = if allows(caller.role, access) {
                request.extensions_mut().insert(caller.clone());
                next.run(request).await
            } else {
                forbidden(&caller, access).into_response()
            };
            response.extensions_mut().insert(caller);
            response
        }
    }
}

/// Whether somebody at this address may ask who has not shown who they are.
fn unknown_may_ask(state: &State, address: IpAddr) -> Result<(), Problem> {
    let asked = state
        .rates()
        .network(throttle::network(address), state.clock.now_us());
    asked.map_err(|wait| {
        Problem::too_many(
            "requests from your address come faster than is allowed",
            wait,
        )
    })
}

fn forbidden(caller: &Caller, access: Access) -> Problem {
    let needed = match access {
        Access::Admin => "an admin",
        _ => "an editor",
    };
    let role = match caller.role {
        Role::Viewer => "a viewer",
        Role::Editor => "an editor",
        Role::Admin => "an admin",
    };
    let detail = format!("this needs {needed}; {} is {role}", caller.who);
    Problem::new(Kind::Forbidden, detail)
}

/// Who was let in.
enum Admitted {
    Caller(Caller),
    Wallet(WalletUser),
    Operator(Operator),
}

/// What somebody shows.
pub(super) enum Credential {
    /// A token, in the `Authorization` header.
    Token(String),
    /// The secret of a session, in a cookie.
    Session(String),
}

/// Whom a credential makes of somebody.
async fn caller(state: &State, credential: Credential) -> Result<Caller, Refused> {
    let revocations = state.grants().revocations();
    match credential {
        Credential::Token(secret) => by_token(state, &secret).await,
        Credential::Session(secret) if secret.len() > MAX_SECRET_BYTES => Err(Refused::Ended),
        Credential::Session(secret) => {
            let owner = session::owner(state, &secret).await;
            let Some(owner) = owner.map_err(Refused::Store)? else {
                let owner = session::wallet(state, &secret).await;
                return match owner.map_err(Refused::Store)? {
                    Some(owner) => Err(Refused::NoTenant(WalletUser {
                        wallet: owner.wallet,
                        chain: owner.chain,
                        session: owner.session,
                        within: None,
                    })),
                    None => Err(Refused::Ended),
                };
            };
            Ok(Caller::new(
                owner.tenant,
                owner.role,
                owner.opener,
                owner.name,
                Some(owner.session),
                revocations,
            ))
        }
    }
}

/// Whose session the cookie is of, for pages that are there for anybody.
pub(super) async fn of_session(state: &State, headers: &HeaderMap) -> Option<Caller> {
    let secret = session::cookie(state, headers)?.to_owned();
    state.hosts().take(&Uri::default(), headers).ok()?;
    caller(state, Credential::Session(secret)).await.ok()
}

/// The wallet whose session the cookie is of, to a tenant or to none, likewise.
pub(super) async fn wallet_of_session(state: &State, headers: &HeaderMap) -> Option<WalletUser> {
    let secret = session::cookie(state, headers)?.to_owned();
    state.hosts().take(&Uri::default(), headers).ok()?;
    match wallet(state, Credential::Session(secret)).await.ok()? {
        Admitted::Wallet(user) => Some(user),
        Admitted::Caller(_) | Admitted::Operator(_) => None,
    }
}

/// Whom a token makes of somebody.
pub(super) async fn by_token(state: &State, secret: &str) -> Result<Caller, Refused> {
    if secret.is_empty() || secret.len() > MAX_SECRET_BYTES {
        return Err(Refused::Unknown);
    }
    let revocations = state.grants().revocations();
    let now_us = state.clock.now_us();
    let owner = state.store.tenancy.verify_token(secret, now_us).await;
    let Some(owner) = owner.map_err(Refused::Store)? else {
        return Err(unknown(state, secret, now_us).await);
    };
    match owner.kind {
        TokenKind::Api { role } => Ok(Caller::new(
            owner.tenant,
            role,
            Opener::Token(owner.id),
            owner.name,
            None,
            revocations,
        )),
        TokenKind::Device { .. } => Err(Refused::Device),
    }
}

/// Why a token makes nobody of a tenant.
async fn unknown(state: &State, secret: &str, now_us: i64) -> Refused {
    let (tenancy, operators) = (&state.store.tenancy, &state.store.operators);
    let why: Result<Refused, stencil_store::Error> = async {
        if operators.verify_operator(secret, now_us).await?.is_some() {
            return Ok(Refused::Operator);
        }
        // Who has the secret may know.
        let ended = match tenancy.token_ended(secret, now_us).await? {
            Some(at_us) => Some(Refused::TokenEnded(at_us)),
            None => operators
                .operator_ended(secret, now_us)
                .await?
                .map(Refused::OperatorEnded),
        };
        Ok(ended.unwrap_or(Refused::Unknown))
    }
    .await;
    why.unwrap_or_else(Refused::Store)
}

/// Which operator a credential makes of somebody. What belongs to somebody of a tenant is known,
/// but opens nothing here.
async fn operator(state: &State, credential: Credential) -> Result<Admitted, Refused> {
    if let Credential::Token(secret) = &credential
        && secret.len() <= MAX_SECRET_BYTES
    {
        let now_us = state.clock.now_us();
        let operator = state.store.operators.verify_operator(secret, now_us).await;
        if let Some(operator) = operator.map_err(Refused::Store)? {
            return Ok(Admitted::Operator(operator));
        }
    }
    match caller(state, credential).await {
        Ok(caller) => Err(Refused::Tenants(Box::new(caller))),
        Err(refused) => Err(refused),
    }
}

/// Which wallet a credential makes of somebody.
async fn wallet(state: &State, credential: Credential) -> Result<Admitted, Refused> {
    match caller(state, credential).await {
        Ok(caller) => {
            let Opener::Wallet(wallet) = &caller.opener else {
                return Err(Refused::NoWallet);
            };
            let found = state.store.wallets.wallet(&caller.tenant, wallet).await;
            // One whose role is for a contract may have signed as that.
            let found = found.map_err(Refused::Store)?.ok_or(Refused::Ended)?;
            WalletUser::of(&caller, found.chain)
                .map(Admitted::Wallet)
                .ok_or(Refused::NoWallet)
        }
        Err(Refused::NoTenant(user)) => Ok(Admitted::Wallet(user)),
        Err(refused) => Err(refused),
    }
}

/// Why a credential makes nobody a caller.
#[derive(Debug)]
pub(super) enum Refused {
    /// There is no credential, or none that may be looked at.
    Nobody(Problem),
    Unknown,
    /// A token of a tenant that has come to its end, then.
    TokenEnded(i64),
    /// A token of an operator's, likewise.
    OperatorEnded(i64),
    Ended,
    Device,
    Operator,
    /// Somebody without a wallet, where wallets are let in.
    NoWallet,
    /// A wallet that has signed in to no tenant.
    NoTenant(WalletUser),
    /// Somebody of a tenant, where none of them is let in.
    Tenants(Box<Caller>),
    Store(stencil_store::Error),
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => {
                Problem::new(Kind::Unauthenticated, "the token is unknown or revoked")
            }
            Refused::TokenEnded(at_us) => Problem::new(
                Kind::Unauthenticated,
                format!(
                    "the token has ended, {} UTC; an admin of the tenant makes another one (`stencil token create`, \
                     the settings in the console)",
                    moment::utc(at_us)
                ),
            ),
            Refused::OperatorEnded(at_us) => Problem::new(
                Kind::Unauthenticated,
                format!(
                    "the operator's token has ended, {} UTC; `stencil hub add-operator` on the hub's machine makes \
                     another one",
                    moment::utc(at_us)
                ),
            ),
            Refused::Ended => Problem::new(
                Kind::Unauthenticated,
                "the session has ended; sign in again",
            ),
            Refused::Device => Problem::new(
                Kind::Forbidden,
                "this is a device's token, which is for MQTT only; use an API token",
            ),
            Refused::Operator => Problem::new(
                Kind::Forbidden,
                "this is an operator's token, which is for `/api/v1/operator/…` only; use an API \
                 token of the tenant",
            ),
            Refused::NoWallet => Problem::new(
                Kind::Forbidden,
                "this is for who has signed in with a wallet: `POST /api/v1/wallet/challenge` begins that",
            ),
            Refused::NoTenant(user) => {
                let wallet = shown(&user.wallet);
                let detail = format!(
                    "wallet {wallet} is signed in to no tenant: `/api/v1/wallet` has its roles; sign in \
                     with `tenant`, or ask an admin for a role"
                );
                Problem::new(Kind::Forbidden, detail)
            }
            Refused::Nobody(problem) => problem,
            Refused::Tenants(_) => Problem::new(
                Kind::Forbidden,
                "this needs an operator's token, which `stencil hub add-operator` makes",
            ),
            Refused::Store(error) => error.into(),
        }
    }
}

fn allows(role: Role, access: Access) -> bool {
    match access {
        Access::Public | Access::SignIn | Access::Page | Access::Read | Access::Own => true,
        Access::Write => matches!(role, Role::Editor | Role::Admin),
        Access::Admin => role == Role::Admin,
        Access::Wallet | Access::WalletPage | Access::Operator => false,
    }
}

/// What somebody shows with a request.
pub(super) fn presented(state: &State, request: &Request) -> Result<Credential, Problem> {
    if let Some(value) = request.headers().get(header::AUTHORIZATION) {
        let text = value.to_str().unwrap_or_default();
        return match text.split_once(' ') {
            Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => {
                Ok(Credential::Token(secret.trim().to_owned()))
            }
            _ => Err(Problem::new(
                Kind::Unauthenticated,
                "the Authorization header is not of the form `Bearer <token>`",
            )),
        };
    }
    if let Some(secret) = session::cookie(state, request.headers()) {
        let reading = matches!(*request.method(), Method::GET | Method::HEAD);
        // Before the cookie is looked at, so that another page learns nothing about it.
        if !reading && Origin::of(request.headers()) != Origin::Same {
            return Err(Problem::new(Kind::Forbidden, FOREIGN));
        }
        return Ok(Credential::Session(secret.to_owned()));
    }
    Err(Problem::new(
        Kind::Unauthenticated,
        "there is no `Authorization: Bearer <token>` header",
    ))
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| Problem::internal("a public route asks who is calling"))
    }
}

impl<S: Sync> FromRequestParts<S> for WalletUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let user = parts.extensions.get::<WalletUser>().cloned();
        user.ok_or_else(|| Problem::internal("a route of others asks which wallet is calling"))
    }
}
