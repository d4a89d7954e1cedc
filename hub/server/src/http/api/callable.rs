//! Which contracts a tenant's workflows may call from the hub's accounts on chains: an operator sets it,
//! the tenant sees it beside what it may spend.

use axum::extract::State as Shared;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use stencil_payments::Address;
use stencil_protocol::id::TenantId;
use stencil_store::{Operator, Store};

use super::spending::{self, SpentView};
use super::{Whole, operator};
use crate::chains::x402::price;
use crate::http::input::{self, Path};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// Contracts of one tenant at most.
const MOST: usize = 100;

/// A contract.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Contract {
    /// The chain, by its name in the hub's settings.
    chain: String,
    /// Its address, as `0x…`.
    address: String,
}

/// Contracts that a tenant's workflows may call.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Contracts {
    /// All of them, at most 100.
    items: Vec<Contract>,
}

/// What a tenant may spend and call.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Allowed {
    /// What may be spent; of an asset without a limit nothing.
    limits: Vec<SpentView>,
    /// Contracts of which workflows may call any function. `transfer` of a token needs a limit instead.
    callable: Vec<Contract>,
    /// The last authorisation of a payer that was not brought to its chain since the hub was started; null:
    /// all were.
    not_brought: Option<NotBroughtView>,
}

/// An authorisation that a payer has signed and the hub has not brought to its chain.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct NotBroughtView {
    /// For which invoice.
    invoice: String,
    /// Why, where a limit leaves no room; null: the hub's log says it.
    why: Option<String>,
    /// When, µs since the epoch.
    at_us: i64,
    /// How many were not since the hub was started.
    times: u64,
}

async fn contracts(store: &Store, tenant: &TenantId) -> Result<Vec<Contract>, Problem> {
    let callable = store.sends.callable(tenant.as_str()).await?;
    let contracts = callable.into_iter().map(|(chain, address)| Contract {
        chain,
        address: Address::from(address).to_checksum(None),
    });
    Ok(contracts.collect())
}

/// What the tenant may spend from the hub's accounts, what of it is spent, and which contracts its workflows may call.
#[utoipa::path(
    get,
    path = "/api/v1/payments/spending",
    tag = "payments",
    responses((status = 200, body = Allowed))
)]
pub(in crate::http) async fn seen(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<Allowed>, Problem> {
    let not_brought = state.control.cashier().last_not_brought(&caller.tenant);
    Ok(Json(Allowed {
        limits: spending::spent(&state, &caller.tenant).await?,
        callable: contracts(&state.store, &caller.tenant).await?,
        not_brought: not_brought.map(|not| NotBroughtView {
            invoice: not.invoice.to_string(),
            why: not.why,
            at_us: not.at_us,
            times: not.times,
        }),
    }))
}

/// The contracts that a tenant's workflows may call from the hub's accounts.
#[utoipa::path(
    get,
    path = "/api/v1/operator/tenants/{tenant}/callable",
    tag = "operator",
    responses((status = 200, body = Whole<Contract>))
)]
pub(in crate::http) async fn of_tenant(
    Shared(state): Shared<State>,
    Path(tenant): Path<String>,
) -> Result<Json<Whole<Contract>>, Problem> {
    let tenant = operator::known(&state, &tenant).await?;
    Ok(Json(Whole::of(contracts(&state.store, &tenant).await?)))
}

/// Sets which contracts a tenant's workflows may call from the hub's accounts, in place of all that
/// were set before.
#[utoipa::path(
    put,
    path = "/api/v1/operator/tenants/{tenant}/callable",
    tag = "operator",
    request_body = Contracts,
    responses(
        (status = 200, body = Whole<Contract>),
        (status = 409, description = "The hub follows no such chain"),
    )
)]
pub(in crate::http) async fn set(
    Shared(state): Shared<State>,
    Extension(by): Extension<Operator>,
    Path(tenant): Path<String>,
    input::Json(wanted): input::Json<Contracts>,
) -> Result<Json<Whole<Contract>>, Problem> {
    let tenant = operator::known(&state, &tenant).await?;
    if wanted.items.len() > MOST {
        let detail = format!(
            "there are {} contracts, at most {MOST} are right",
            wanted.items.len()
        );
        return Err(Problem::invalid(detail));
    }
    let mut callable = Vec::with_capacity(wanted.items.len());
    for contract in wanted.items {
        let address = price::address("address", &contract.address).map_err(Problem::invalid)?;
        if state.store.chains.chain(&contract.chain).await?.is_none() {
            let chain: String = contract.chain.chars().take(64).collect();
            let detail =
                format!("the hub follows no chain `{chain}`: see `[chains]` in its settings");
            return Err(Problem::new(Kind::Conflict, detail));
        }
        callable.push((contract.chain, address.into_array()));
    }
    let sends = &state.store.sends;
    sends.set_callable(tenant.as_str(), &callable).await?;
    tracing::info!(%tenant, by = by.name, "which contracts a tenant may call was set");
    Ok(Json(Whole::of(contracts(&state.store, &tenant).await?)))
}
