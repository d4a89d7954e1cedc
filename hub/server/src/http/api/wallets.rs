//! Wallets with a role in a tenant.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use stencil_store::{Page, Role, Wallet, WalletKey};

use super::invoices::wrong;
use super::wallet::{followed, not_followed};
use crate::chains::settings;
use crate::http::access::shown;
use crate::http::audit::{Detail, Target};
use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Caller, State};

/// To whom to give a role.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewWallet {
    /// The account: `0x` and 40 hexadecimal digits.
    #[schema(min_length = 42, max_length = 42)]
    address: String,
    /// What it may do.
    #[schema(value_type = Role)]
    role: String,
    /// Of a contract wallet: EIP-155 id of the chain on which its contract is asked; the hub has to follow it.
    /// Without it (or null) what it was; where there was none, the account signs by its own key alone. To go back to
    /// that, take the role away first.
    chain_id: Option<u64>,
    /// What it is called here; without it, what it was.
    #[schema(min_length = 1, max_length = 64)]
    name: Option<String>,
}

/// A wallet with a role in the tenant.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct WalletView {
    /// The account, with its checksum (EIP-55).
    address: String,
    /// What it may do.
    role: Role,
    /// The chain on which its contract is asked; null: it signs by its own key.
    chain_id: Option<u64>,
    /// What it is called here.
    name: Option<String>,
    /// When it first got a role.
    created_us: i64,
    /// When it last signed in to the tenant.
    signed_in_us: Option<i64>,
}

impl WalletView {
    fn of(wallet: Wallet) -> Self {
        Self {
            address: shown(&wallet.address),
            role: wallet.role,
            chain_id: wallet.chain,
            name: wallet.name,
            created_us: wallet.created_us,
            signed_in_us: wallet.signed_in_us,
        }
    }
}

/// Wallets that have a role, by address.
#[utoipa::path(
    get,
    path = "/api/v1/wallets",
    tag = "wallets",
    params(Paging), responses((status = 200, body = Page<WalletView>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<WalletView>>, Problem> {
    let limit = paging.limit()?;
    let wallets = &state.store.wallets;
    let page = wallets.wallets(&caller.tenant, paging.after.as_deref(), limit);
    Ok(Json(page.await?.map(WalletView::of)))
}

/// Gives a wallet a role, or another one. Who is signed in with it has to sign in again if it is
/// another.
#[utoipa::path(
    post,
    path = "/api/v1/wallets",
    tag = "wallets",
    request_body = NewWallet,
    responses(
        (status = 200, description = "It has this role in the place of the one it had", body = WalletView),
        (status = 201, description = "It had none before; `Location` has its address", body = WalletView),
        (status = 409, description = "10,000 wallets have a role"),
    )
)]
pub(in crate::http) async fn grant(
    Shared(state): Shared<State>,
    caller: Caller,
    input::Json(wanted): input::Json<NewWallet>,
) -> Result<Response, Problem> {
    let role = super::users::role(&wanted.role)?;
    let wallet = key(&wanted.address)?;
    let known = followed(&state);
    if let Some(chain_id) = wanted.chain_id
        && !known.contains(&chain_id)
    {
        return Err(not_followed(Some(chain_id), &known));
    }
    let (wallets, now_us) = (&state.store.wallets, state.clock.now_us());
    let name = wanted.name.as_deref();
    let granted =
        wallets.grant_wallet(&caller.tenant, &wallet, role, wanted.chain_id, name, now_us);
    let granted = granted.await?;
    let target = Target(shown(&wallet));
    let on = granted.wallet.chain;
    let on = on.map_or(String::new(), |chain| {
        format!(", contract on chain {chain}")
    });
    let detail = Detail(format!("role {}{on}", role.as_str()));
    let view = Json(WalletView::of(granted.wallet));
    if !granted.is_new {
        return Ok((target, detail, view).into_response());
    }
    let location = format!("/api/v1/wallets/{}", shown(&wallet));
    let location = [(header::LOCATION, location)];
    Ok((StatusCode::CREATED, target, detail, location, view).into_response())
}

/// One wallet.
#[utoipa::path(
    get,
    path = "/api/v1/wallets/{wallet}",
    tag = "wallets",
    responses((status = 200, body = WalletView))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(wallet): Path<String>,
) -> Result<Json<WalletView>, Problem> {
    let key = key(&wallet)?;
    let found = state.store.wallets.wallet(&caller.tenant, &key).await?;
    found
        .map(|wallet| Json(WalletView::of(wallet)))
        .ok_or_else(|| Problem::not_found("wallet", wallet))
}

/// Takes a wallet's role back; its sessions in the tenant end at once.
#[utoipa::path(
    delete,
    path = "/api/v1/wallets/{wallet}",
    tag = "wallets",
    responses((status = 204, description = "It has no role here"))
)]
pub(in crate::http) async fn revoke(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(wallet): Path<String>,
) -> Result<Response, Problem> {
    let key = key(&wallet)?;
    let revoked = state.store.wallets.revoke_wallet(&caller.tenant, &key);
    if revoked.await?.is_none() {
        return Err(Problem::not_found("wallet", wallet));
    }
    Ok((StatusCode::NO_CONTENT, Target(shown(&key)), ()).into_response())
}

fn key(address: &str) -> Result<WalletKey, Problem> {
    let address = settings::address(address);
    let address = address.map_err(|why| wrong("address", why))?;
    Ok(address.0.0)
}
