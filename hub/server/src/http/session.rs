//! Sessions of browsers: a secret in a cookie that no script can read and no other page can send.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use stencil_protocol::id::TenantId;
use stencil_store::{Opener, Secret, Session, SessionOwner, WalletKey, WalletOwner, WalletSession};

use super::cookies::Way;
use super::problem::Problem;
use super::{State, cookies, throttle};

/// The cookie of a session.
pub(super) const COOKIE: &str = "stencil_session";

/// The address of a one-time link, on a hub that people reach at `public_url`.
#[must_use]
pub fn link_url(public_url: &str, secret: &Secret) -> String {
    format!(
        "{}/link/{}",
        public_url.trim_end_matches('/'),
        secret.reveal()
    )
}

/// The secret in the cookie.
pub(super) fn cookie<'h>(state: &State, headers: &'h HeaderMap) -> Option<&'h str> {
    Way::of(state, headers).find(headers, COOKIE)
}

/// Whom a session's secret belongs to; `None`: it is unknown or has ended.
pub(super) async fn owner(
    state: &State,
    secret: &str,
) -> Result<Option<SessionOwner>, stencil_store::Error> {
    let (idle_us, now_us) = (state.limits.sessions.idle_us(), state.clock.now_us());
    state
        .store
        .users
        .verify_session(secret, idle_us, now_us)
        .await
}

/// Opens a session; the cookie for it.
pub(super) async fn open(
    state: &State,
    headers: &HeaderMap,
    tenant: &TenantId,
    opener: &Opener,
    address: IpAddr,
) -> Result<(Session, HeaderValue), Problem> {
    let limits = &state.limits.sessions;
    let now_us = state.clock.now_us();
    let expires_us = limits.expires_us(now_us);
    let address = address.to_string();
    let users = &state.store.users;
    let (session, secret, _) = users
        .open_session(tenant, opener, Some(&address), expires_us, now_us)
        .await?;
    let value = format!("{}; Max-Age={}", secret.reveal(), limits.life_s);
    Ok((session, cookies::set(state, headers, COOKIE, &value)?))
}

/// Which wallet the secret of a session without a tenant belongs to; `None`: it is unknown or has ended.
pub(super) async fn wallet(
    state: &State,
    secret: &str,
) -> Result<Option<WalletOwner>, stencil_store::Error> {
    let (idle_us, now_us) = (state.limits.sessions.idle_us(), state.clock.now_us());
    let wallets = &state.store.wallets;
    wallets.verify_wallet_session(secret, idle_us, now_us).await
}

/// Opens a session without a tenant; the cookie for it.
pub(super) async fn open_wallet(
    state: &State,
    headers: &HeaderMap,
    wallet: &WalletKey,
    chain: Option<u64>,
    address: IpAddr,
) -> Result<(WalletSession, HeaderValue), Problem> {
    let limits = &state.limits.sessions;
    let now_us = state.clock.now_us();
    let expires_us = limits.expires_us(now_us);
    let network = throttle::network(address).to_string();
    let wallets = &state.store.wallets;
    let (session, secret) = wallets
        .open_wallet_session(wallet, chain, Some(&network), expires_us, now_us)
        .await?;
    let value = format!("{}; Max-Age={}", secret.reveal(), limits.life_s);
    Ok((session, cookies::set(state, headers, COOKIE, &value)?))
}

/// The cookie that takes the place of a session's.
pub(super) fn forgotten(state: &State, headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    cookies::set(state, headers, COOKIE, "; Max-Age=0")
}
