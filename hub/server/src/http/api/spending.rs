//! What a tenant may spend of the hub's accounts on chains, for who runs the hub.

use axum::Extension;
use axum::Json;
use axum::extract::State as Shared;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use stencil_payments::Address;
use stencil_payments::money::Amount;
use stencil_protocol::id::TenantId;
use stencil_store::{MAX_LIMIT_WINDOW_S, Operator, SpendLimit, Store};

use super::Whole;
use crate::chains::x402::price;
use crate::http::State;
use crate::http::input::{self, Path};
use crate::http::problem::{Kind, Problem};

/// What a tenant may spend.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Spending {
    /// The chain, by its name in the hub's settings.
    chain: String,
    /// A token's contract; null: the chain's own coin, gas included.
    #[serde(default)]
    token: Option<String>,
    /// In any span of so many seconds …
    #[schema(minimum = 1)]
    window_s: u32,
    /// … at most this, in base units (wei), as decimal digits.
    #[schema(value_type = String)]
    most: Amount,
}

/// The limits of a tenant.
#[utoipa::path(
    get,
    path = "/api/v1/operator/tenants/{tenant}/spend-limits",
    tag = "operator",
    responses((status = 200, body = Whole<Spending>))
)]
pub(in crate::http) async fn spend_limits(
    Shared(state): Shared<State>,
    Path(tenant): Path<String>,
) -> Result<Json<Whole<Spending>>, Problem> {
    let tenant = input::tenant(&tenant)?;
    let limits = limits_of(&state.store, &tenant).await?;
    Ok(Json(Whole::of(limits)))
}

/// The limits of a tenant.
pub(super) async fn limits_of(store: &Store, tenant: &TenantId) -> Result<Vec<Spending>, Problem> {
    let limits = store.sends.spend_limits(tenant.as_str()).await?;
    let limits = limits.into_iter().map(|limit| Spending {
        chain: limit.chain,
        token: limit
            .asset
            .map(|token| Address::from(token).to_checksum(None)),
        window_s: limit.window_s,
        most: Amount(stencil_payments::U256::from_be_bytes(limit.most)),
    });
    Ok(limits.collect())
}

/// Sets what a tenant may spend of one asset of a chain: settlements, refunds and what its workflows
/// send. Without a limit nothing may be spent, gas included.
#[utoipa::path(
    put,
    path = "/api/v1/operator/tenants/{tenant}/spend-limits",
    tag = "operator",
    request_body = Spending,
    responses(
        (status = 204, description = "It is so from now on"),
        (status = 409, description = "The hub follows no such chain"),
    )
)]
pub(in crate::http) async fn set_spend_limit(
    Shared(state): Shared<State>,
    Extension(operator): Extension<Operator>,
    Path(tenant): Path<String>,
    input::Json(spending): input::Json<Spending>,
) -> Result<StatusCode, Problem> {
    let id = input::tenant(&tenant)?;
    if !(1..=MAX_LIMIT_WINDOW_S).contains(&spending.window_s) {
        let detail = format!(
            "`window_s` is {}, it has to be 1 to {MAX_LIMIT_WINDOW_S}",
            spending.window_s
        );
        return Err(Problem::invalid(detail));
    }
    let token = spending.token.as_deref();
    let token = token.map(|text| price::address("token", text)).transpose();
    let token = token.map_err(Problem::invalid)?;
    if state.store.chains.chain(&spending.chain).await?.is_none() {
        let chain: String = spending.chain.chars().take(64).collect();
        let detail = format!(
            "the hub follows no chain `{chain}`: see `[chains]` in its settings, and whether it was \
             reached yet"
        );
        return Err(Problem::new(Kind::Conflict, detail));
    }
    let limit = SpendLimit {
        tenant: id.to_string(),
        chain: spending.chain,
        asset: token.map(Address::into_array),
        window_s: spending.window_s,
        most: spending.most.0.to_be_bytes(),
    };
    state.store.sends.set_spend_limit(&limit).await?;
    tracing::info!(tenant = %id, chain = limit.chain, by = operator.name, "a spend limit was set");
    Ok(StatusCode::NO_CONTENT)
}
