//! How a tenant takes payments, its journal, and money that is of no invoice.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use stencil_store::Page;

use super::Whole;
use super::invoices;
use crate::chains::PaymentSettings;
use crate::chains::known_contract;
use crate::chains::settings::Wrong;
use crate::http::audit::Detail;
use crate::http::input::{self, Paging, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// The longest settings, in bytes.
const MAX_SETTINGS: usize = 64 * 1024;

/// How a tenant takes payments, and what that comes to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Settings {
    /// What the tenant has set.
    set: PaymentSettings,
    /// What the ways to pay are called in invoices: `CHAIN/SYMBOL/WAY`.
    names: Vec<String>,
    /// The last webhook that was not taken since the hub was started, until one of the same invoice is; null:
    /// all were.
    webhook_failed: Option<WebhookFailed>,
}

/// A webhook that was not taken.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct WebhookFailed {
    /// Of which invoice.
    invoice: String,
    /// Why.
    why: String,
    /// When, µs since the epoch.
    at_us: i64,
    /// The how manieth attempt that was.
    attempt: u32,
}

/// One entry of the journal.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct EntryView {
    /// Its name: 64 hexadecimal digits.
    key: String,
    /// In what: `eip155:CHAIN/erc20:0x…` or `eip155:CHAIN/native`.
    asset: String,
    /// When, µs since the epoch, by the chain's blocks.
    at_us: i64,
    /// Why.
    memo: String,
    /// Its lines: debits are equal to credits.
    lines: Vec<LineView>,
}

/// One line of an entry.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct LineView {
    /// `wallet:0x…`, `pending:INVOICE`, `refunds-due:INVOICE`, `revenue` or `refund-loss`.
    account: String,
    /// `debit` or `credit`.
    side: &'static str,
    /// Base units: decimal digits.
    amount: String,
}

/// What was booked on an account.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct BalanceView {
    /// In what.
    asset: String,
    /// Which account.
    account: String,
    /// The sum of its debits, base units.
    debits: String,
    /// The sum of its credits, base units.
    credits: String,
}

/// Money that came and is of no invoice; or what many such came to, of one asset, address and day.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct UnmatchedView {
    /// Which movement: `CHAIN:0xTRANSACTION:ORDINAL`; of many, `folded:` and the first of them.
    key: String,
    /// In what.
    asset: String,
    /// Base units: decimal digits; of many, their sum.
    amount: String,
    /// To whom; of a payment contract, the contract.
    to: String,
    /// Who paid; empty where it is of many.
    from: String,
    /// Why it is of none: `amount`, `invoice`, `asset` or `refused`; `folded`: it is of many, the smallest of a day.
    reason: String,
    /// How many movements it is: 1, or more where they are `folded`.
    count: u64,
    /// The block; null where it is not known, or of many.
    block: Option<u64>,
    /// When it was noticed, µs since the epoch; of many, the end of their day (UTC).
    at_us: i64,
}

/// How the tenant takes payments.
#[utoipa::path(
    get,
    path = "/api/v1/payments/settings",
    tag = "payments",
    responses((status = 200, body = Settings))
)]
pub(in crate::http) async fn settings(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<Settings>, Problem> {
    let settings = invoices::settings(&state, &caller).await?;
    Ok(Json(shown(&state, &caller, settings)))
}

/// Sets how the tenant takes payments.
///
/// It replaces all that was set; open invoices stay as they are. An address takes payments of one
/// tenant only. That a payment contract pays the payee is asked of the chain. Contracts out of which nobody gets money
/// (of tokens, payments, escrow, anchors, passports and the market) are no payees: 400 says which it is. They are known
/// by settings, and Stencil's own also by their code, whoever has deployed them.
#[utoipa::path(
    put,
    path = "/api/v1/payments/settings",
    tag = "payments",
    request_body(content = PaymentSettings, example = json!({
        "methods": [{
            "chain": "base", "token": "USDC", "way": "authorization", "confirmations": 3,
            "payee": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        }],
        "policy": { "underpaid": "refund", "late": "refund" },
        "expires_s": 900,
    })),
    responses(
        (status = 200, description = "It is so from now on", body = Settings),
        (status = 409, description = "An address takes payments of another tenant"),
        (status = 503, description = "A chain of them can't be asked now"),
    )
)]
pub(in crate::http) async fn set_settings(
    Shared(state): Shared<State>,
    caller: Caller,
    input::Json(settings): input::Json<PaymentSettings, MAX_SETTINGS>,
) -> Result<Response, Problem> {
    let cashier = state.control.cashier();
    let chains = cashier.chains();
    let told = |wrong: Wrong| {
        if wrong.unknown {
            tracing::warn!(why = wrong.why, "what a chain says is not known");
            return Problem::new(Kind::Busy, wrong.why);
        }
        let place = json!({ "pointer": format!("#{}", wrong.pointer), "what": &wrong.why });
        Problem::invalid(format!("{}: {}", wrong.pointer, wrong.why)).with_errors(vec![place])
    };
    let secrets = &state.control.options().connect.secrets;
    let secrets = secrets.iter().filter(|it| it.tenant == caller.tenant);
    let secrets: Vec<_> = secrets.map(|it| it.name.as_str()).collect();
    settings.check(chains, &secrets).map_err(told)?;
    if let Some(webhook) = &settings.webhook {
        let allowed = state.control.options().connect.webhook.allows(&webhook.url);
        allowed.map_err(|why| told(Wrong::at("/webhook/url", why)))?;
    }
    let checked = known_contract::check_payees(&state.store, chains, &caller.tenant, &settings);
    checked.await?.map_err(told)?;
    let stand = invoices::settings(&state, &caller).await?;
    let checked = settings.check_on_chain(chains, &stand);
    checked.await.map_err(told)?;
    let body = serde_json::to_string(&settings).map_err(Problem::internal)?;
    let payees = settings.payees(chains);
    let payments = &state.store.payments;
    let now_us = state.clock.now_us();
    // What comes there has to be looked at before anybody is told to pay there.
    let _placing = cashier.placing().await;
    let before = invoices::settings(&state, &caller).await?;
    cashier
        .hold(&caller.tenant, settings.places(chains))
        .await?;
    let set = payments
        .set_payment_settings(&caller.tenant, &body, &payees, now_us)
        .await;
    if let Err(error) = set {
        cashier.hold(&caller.tenant, before.places(chains)).await?;
        return Err(error.into());
    }
    let (now, before) = (settings.places(chains), before.places(chains));
    if !before.is_subset(&now) {
        cashier.unwatch_all().await;
    }
    tracing::info!(tenant = %caller.tenant, by = caller.who, "settings of payments were set");
    let detail = Detail(format!("{} ways to pay", settings.methods.len()));
    Ok((detail, Json(shown(&state, &caller, settings))).into_response())
}

fn shown(state: &State, caller: &Caller, settings: PaymentSettings) -> Settings {
    let cashier = state.control.cashier();
    let ways = settings.ways(cashier.chains());
    let failed = cashier.last_not_told(&caller.tenant);
    let failed = failed.filter(|_| settings.webhook.is_some());
    Settings {
        webhook_failed: failed.map(|failed| WebhookFailed {
            invoice: failed.invoice.to_string(),
            why: failed.why,
            at_us: failed.at_us,
            attempt: failed.attempt,
        }),
        names: ways.into_iter().map(|way| way.name).collect(),
        set: settings,
    }
}

/// The journal from its beginning, in order: double entry, in base units.
#[utoipa::path(
    get,
    path = "/api/v1/payments/journal",
    tag = "payments",
    params(Paging), responses((status = 200, body = Page<EntryView>))
)]
pub(in crate::http) async fn journal(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<EntryView>>, Problem> {
    let limit = paging.limit()?;
    let payments = &state.store.payments;
    let page = payments
        .journal(&caller.tenant, paging.after.as_deref(), limit)
        .await?;
    Ok(Json(page.map(|entry| {
        EntryView {
            key: hex::encode(entry.key),
            asset: entry.asset,
            at_us: entry.at_us,
            memo: entry.memo,
            lines: entry
                .lines
                .into_iter()
                .map(|line| LineView {
                    account: line.account,
                    side: if line.is_debit { "debit" } else { "credit" },
                    amount: line.amount,
                })
                .collect(),
        }
    })))
}

/// What the tenant's accounts hold, by assets and accounts.
#[utoipa::path(
    get,
    path = "/api/v1/payments/balances",
    tag = "payments",
    responses((status = 200, body = Whole<BalanceView>))
)]
pub(in crate::http) async fn balances(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<Whole<BalanceView>>, Problem> {
    let balances = state.store.payments.balances(&caller.tenant).await?;
    let views = balances.into_iter().map(|balance| BalanceView {
        asset: balance.asset,
        account: balance.account,
        debits: balance.debits,
        credits: balance.credits,
    });
    Ok(Json(Whole::of(views.collect())))
}

/// Money that came and is of no invoice, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/payments/unmatched",
    tag = "payments",
    params(Paging), responses((status = 200, body = Page<UnmatchedView>))
)]
pub(in crate::http) async fn unmatched(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<UnmatchedView>>, Problem> {
    let limit = paging.limit()?;
    let payments = &state.store.payments;
    let page = payments
        .unmatched(&caller.tenant, paging.after.as_deref(), limit)
        .await?;
    Ok(Json(page.map(|stray| {
        let body: Value = serde_json::from_str(&stray.body).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        UnmatchedView {
            key: stray.credit,
            asset: text("asset"),
            amount: text("amount"),
            to: text("to"),
            from: text("from"),
            reason: text("reason"),
            count: body["count"].as_u64().unwrap_or(1),
            block: body["block"]["number"].as_u64(),
            at_us: stray.at_us,
        }
    })))
}
