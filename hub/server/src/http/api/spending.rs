//! What a tenant may spend of the hub's accounts on chains, for who runs the hub.

use axum::Extension;
use axum::Json;
use axum::extract::State as Shared;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use stencil_payments::money::Amount;
use stencil_payments::port::Chain;
use stencil_payments::{Address, U256};
use stencil_protocol::id::TenantId;
use stencil_store::{MAX_LIMIT_WINDOW_S, Operator, SpendLimit, Spent};

use super::Whole;
use crate::chains::authorization::GAS;
use crate::chains::room::{at_once, fits, settlement};
use crate::chains::x402::price;
use crate::http::State;
use crate::http::input::{self, Path};
use crate::http::problem::{Kind, Problem};

/// Of the coin of each chain.
const COIN_DECIMALS: u8 = 18;

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

/// What a tenant may spend, and what it has spent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct SpentView {
    #[serde(flatten)]
    limit: Spending,
    /// What it may spend, with a point; null: how many decimals the token has is not known.
    most_amount: Option<String>,
    /// What counts as spent within the span, base units: of what is final what it has cost, and of what is
    /// not the most that it may cost.
    #[schema(value_type = String)]
    used: Amount,
    /// The same with a point.
    used_amount: Option<String>,
    /// What of it is not final, base units: it becomes less.
    #[schema(value_type = String)]
    open: Amount,
    /// The same with a point.
    open_amount: Option<String>,
    /// When the first of what is spent leaves the span, µs since the epoch; null: nothing is spent.
    frees_us: Option<i64>,
    /// Of a chain's coin: what one settlement of an authorisation counts as until it is final.
    settlement_amount: Option<String>,
    /// Whether there is room for one now.
    fits: Option<bool>,
    /// How many fit at one time while nothing else is spent.
    at_once: Option<u64>,
    /// Of a chain's coin: what sales (x402) may spend of it at most, a half while the tenant is paid by invoices on
    /// that chain; null: all of it, as any other spending.
    sales_most_amount: Option<String>,
    /// What counts as spent by them within the span; null where they may spend all.
    sales_used_amount: Option<String>,
    /// What is to be looked at: a limit with room for fewer than ten settlements at one time.
    warning: Option<String>,
}

/// The limits of a tenant, and what is spent of them.
#[utoipa::path(
    get,
    path = "/api/v1/operator/tenants/{tenant}/spend-limits",
    tag = "operator",
    responses((status = 200, body = Whole<SpentView>))
)]
pub(in crate::http) async fn spend_limits(
    Shared(state): Shared<State>,
    Path(tenant): Path<String>,
) -> Result<Json<Whole<SpentView>>, Problem> {
    let tenant = input::tenant(&tenant)?;
    Ok(Json(Whole::of(spent(&state, &tenant).await?)))
}

/// The limits of a tenant, and what is spent of them.
pub(super) async fn spent(state: &State, tenant: &TenantId) -> Result<Vec<SpentView>, Problem> {
    let (store, chains) = (&state.store, state.control.cashier().chains());
    let now_us = state.clock.now_us();
    let spent = store.sends.spent(tenant.as_str(), now_us).await?;
    let of = |spent: Spent| {
        let SpendLimit {
            chain,
            asset,
            window_s,
            most,
            ..
        } = spent.limit;
        let [most, used, open] =
            [most, spent.used, spent.open].map(|amount| Amount(U256::from_be_bytes(amount)));
        let known = chains.by_name(&chain);
        let coin = Some(COIN_DECIMALS);
        let decimals = match asset {
            None => coin,
            Some(asset) => known.and_then(|chain| {
                let contract = Some(Address::from(asset));
                let mut tokens = chain.tokens().iter().map(|known| &known.token);
                let token = tokens.find(|token| token.asset().contract == contract)?;
                Some(token.decimals())
            }),
        };
        let shown = |amount: Amount| decimals.map(|decimals| in_full(amount, decimals));
        let of_coin = known.filter(|_| asset.is_none()).map(AsRef::as_ref);
        let settlement = of_coin.and_then(settlement);
        let sales = spent.sales.map(|sales| {
            [sales.most, sales.used].map(|amount| Amount(U256::from_be_bytes(amount)))
        });
        let sales_most = sales.map(|[most, _]| most);
        SpentView {
            most_amount: shown(most),
            used_amount: shown(used),
            open_amount: shown(open),
            fits: settlement.map(|one| fits(one, used, most)),
            at_once: settlement.map(|one| at_once(most, one)),
            sales_most_amount: sales_most.and_then(shown),
            sales_used_amount: sales.and_then(|[_, used]| shown(used)),
            warning: of_coin.and_then(|chain| few(most, sales_most, chain)),
            settlement_amount: settlement.map(|one| in_full(one, COIN_DECIMALS)),
            limit: Spending {
                chain,
                token: asset.map(|token| Address::from(token).to_checksum(None)),
                window_s,
                most,
            },
            used,
            open,
            frees_us: spent.frees_us,
        }
    };
    Ok(spent.into_iter().map(of).collect())
}

/// With a point, without zeros that say nothing.
fn in_full(amount: Amount, decimals: u8) -> String {
    let digits = amount.to_string();
    let decimals = usize::from(decimals);
    let digits = format!("{digits:0>width$}", width = decimals + 1);
    let (whole, behind) = digits.split_at(digits.len() - decimals);
    match behind.trim_end_matches('0') {
        "" => whole.to_owned(),
        behind => format!("{whole}.{behind}"),
    }
}

/// Why a limit of a chain's coin lets nothing through, where it does.
fn too_little(most: Amount, chain: &dyn Chain) -> Option<String> {
    let (one, price) = (settlement(chain)?, chain.most_fee_per_gas()?);
    // Nothing at all is a limit like another.
    if most.is_zero() || most >= one {
        return None;
    }
    let [most, shown] = [most, one].map(|amount| in_full(amount, COIN_DECIMALS));
    let gwei = in_full(Amount(U256::from(price)), 9);
    Some(format!(
        "`most` is {most} of the coin of `{}` and lets nothing through: until it is final one settlement counts \
         as {shown} ({GAS} gas at `max_fee_gwei`, which is {gwei}); set {one} wei at least, ten times that \
         where several are under way at one time, or a lower `max_fee_gwei`",
        chain.name()
    ))
}

/// Settlements that should have room at one time: with fewer, payers are soon refused.
const FEW: u64 = 10;

/// What is to be said of a limit of a chain's coin that lets few settlements through at one time, where it does.
fn few(most: Amount, of_sales: Option<Amount>, chain: &dyn Chain) -> Option<String> {
    let (one, price) = (settlement(chain)?, chain.most_fee_per_gas()?);
    let fit = at_once(most, one);
    // Nothing at all is a limit like another.
    if most.is_zero() || fit >= FEW {
        return None;
    }
    let [most, shown] = [most, one].map(|amount| in_full(amount, COIN_DECIMALS));
    let gwei = in_full(Amount(U256::from(price)), 9);
    let fit = match fit {
        0 => "no settlement".to_owned(),
        1 => "one settlement".to_owned(),
        fit => format!("{fit} settlements"),
    };
    let sales = of_sales.map_or_else(String::new, |most| {
        format!(
            ", {} of them for sales (x402), as the tenant is paid by invoices there",
            at_once(most, one)
        )
    });
    let ten = one.0.saturating_mul(U256::from(FEW));
    Some(format!(
        "{most} of the coin of `{}` has room for {fit} at one time{sales}: until it is final each counts as {shown} \
         ({GAS} gas at `max_fee_gwei`, which is {gwei}), and what those before it have cost within the span \
         counts, too; set {ten} wei for ten, or a lower `max_fee_gwei`",
        chain.name()
    ))
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
        (status = 400, description = "Less than one settlement counts as: nothing would go through"),
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
    if token.is_none()
        && let Some(chain) = state.control.cashier().chains().by_name(&spending.chain)
        && let Some(why) = too_little(spending.most, chain.as_ref())
    {
        return Err(Problem::invalid(why));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_told_with_a_point() {
        for (amount, decimals, shown) in [
            (0_u64, 18, "0"),
            (1, 18, "0.000000000000000001"),
            (100_000_000_000_000_000, 18, "0.1"),
            (12_500_000, 6, "12.5"),
            (7, 0, "7"),
        ] {
            assert_eq!(in_full(Amount::from(amount), decimals), shown);
        }
    }
}
