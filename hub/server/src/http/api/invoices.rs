//! Invoices: what is to be paid, and what came of it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use rand_core::Rng as _;
use serde::Deserialize;
use serde_json::json;
use stencil_payments::invoice::{Decision, Definition, Event, Id, Invoice, Price, Way};
use stencil_payments::money::{Asset, Currency, Fiat, Token};
use stencil_store::Page;

use crate::chains::room;
use crate::chains::settings::{check_expires, named_token};
use crate::chains::view::InvoiceView;
use crate::chains::{About, At, Cashier, NewInvoice, PaymentSettings, Refused};
use crate::http::audit::{Detail, Target};
use crate::http::input::{self, Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// A new invoice: a price in a currency or in a token.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct InvoiceWanted {
    /// How much: decimal digits with a point, such as `12.50`.
    #[schema(min_length = 1, max_length = 80)]
    amount: String,
    /// The currency of the price (ISO 4217), such as `EUR`; or `token`.
    #[schema(min_length = 3, max_length = 3)]
    currency: Option<String>,
    /// The token of the price, `CHAIN/SYMBOL` or `CHAIN/0x…` or `CHAIN/native`; or `currency`.
    #[schema(min_length = 3, max_length = 128)]
    token: Option<String>,
    /// What programs and workflows know it by, such as `locker-7`.
    #[schema(min_length = 1, max_length = 128)]
    reference: Option<String>,
    /// What is bought, in a line.
    #[schema(min_length = 1, max_length = 128)]
    title: Option<String>,
    /// The same at length.
    #[schema(max_length = 1024)]
    description: Option<String>,
    /// What the tenant's programs want to find again: at most 16 texts. The payer does not see them.
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// Where the payer goes afterwards.
    #[schema(min_length = 8, max_length = 1024)]
    return_url: Option<String>,
    /// For how long it can be paid, in seconds; what the tenant has set if it is not given.
    #[schema(minimum = 30, maximum = 2_592_000)]
    expires_s: Option<u32>,
    /// Ways to pay, `CHAIN/SYMBOL/WAY`; all that the price can be paid with if it is not given.
    #[schema(min_items = 1, max_items = 8)]
    methods: Option<Vec<String>>,
}

/// Which invoices.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    /// Invoices in this state only.
    #[param(inline)]
    state: Option<StateName>,
    /// The cursor: `next` of the page before.
    after: Option<String>,
    /// Items at most, 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Where an invoice stands.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum StateName {
    New,
    Seen,
    Confirming,
    Settled,
    Expired,
    Cancelled,
}

impl StateName {
    fn word(self) -> &'static str {
        use stencil_payments::invoice::State;
        crate::chains::word(match self {
            Self::New => State::New,
            Self::Seen => State::Seen,
            Self::Confirming => State::Confirming,
            Self::Settled => State::Settled,
            Self::Expired => State::Expired,
            Self::Cancelled => State::Cancelled,
        })
    }
}

/// What somebody has decided. Nothing is undone by the opposite.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Decided {
    /// What.
    decision: DecisionName,
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum DecisionName {
    /// What has come is enough.
    AcceptUnderpaid,
    /// What came late counts as if it had come in time.
    AcceptLate,
    /// What came late goes back.
    RefuseLate,
    /// What is too much is kept.
    KeepExcess,
    /// All goes back, what comes later included.
    RefundAll,
}

impl DecisionName {
    fn of(self) -> (Decision, &'static str) {
        match self {
            Self::AcceptUnderpaid => (Decision::AcceptUnderpaid, "accept_underpaid"),
            Self::AcceptLate => (Decision::AcceptLate, "accept_late"),
            Self::RefuseLate => (Decision::RefuseLate, "refuse_late"),
            Self::KeepExcess => (Decision::KeepExcess, "keep_excess"),
            Self::RefundAll => (Decision::RefundAll, "refund_all"),
        }
    }

    const ALL: [Self; 5] = [
        Self::AcceptUnderpaid,
        Self::AcceptLate,
        Self::RefuseLate,
        Self::KeepExcess,
        Self::RefundAll,
    ];
}

/// Whether there is what a decision is about, or it was made already.
fn is_open(invoice: &Invoice, decision: Decision) -> Result<(), Refused> {
    let mut after = invoice.clone();
    after.apply(&Event::Resolve(decision))?;
    let open = invoice.decisions();
    if after == *invoice || open.contains(&decision) {
        return Ok(());
    }
    let words = |is_wanted: &dyn Fn(Decision) -> bool| {
        let all = DecisionName::ALL.into_iter().map(DecisionName::of);
        let wanted = all.filter(|(decision, _)| is_wanted(*decision));
        let words: Vec<_> = wanted.map(|(_, word)| format!("`{word}`")).collect();
        words.join(", ")
    };
    let (this, open) = (words(&|it| it == decision), words(&|it| open.contains(&it)));
    let open = match open.is_empty() {
        true => "none".to_owned(),
        false => open,
    };
    Err(Refused::Not(format!(
        "{this} decides nothing of this invoice as it stands; open: {open}"
    )))
}

/// Makes an invoice.
///
/// A price in a currency is converted at the hub's rates, which are locked into the invoice. Who has
/// the answer's `checkout_url` can pay it.
#[utoipa::path(
    post,
    path = "/api/v1/invoices",
    tag = "invoices",
    request_body(content = InvoiceWanted, example = json!({
        "amount": "2.50", "currency": "EUR", "reference": "locker-7", "title": "Locker 7, one hour",
    })),
    responses(
        (status = 201, body = InvoiceView),
        (status = 409, description = "There is no room for it, an address is another tenant's, or all amounts near \
            the price are taken, by a way that is named or with no other way left"),
    )
)]
pub(in crate::http) async fn create(
    Shared(state): Shared<State>,
    caller: Caller,
    input::Json(wanted): input::Json<InvoiceWanted>,
) -> Result<Response, Problem> {
    let cashier = state.control.cashier();
    let settings = settings(&state, &caller).await?;
    let now_us = state.clock.now_us();
    let price = price(cashier, &wanted, &settings)?;
    let about = About {
        reference: wanted.reference,
        title: wanted.title,
        description: wanted.description,
        metadata: wanted.metadata,
        return_url: wanted.return_url,
        ..About::default()
    };
    about.check().map_err(|(field, why)| wrong(field, why))?;
    let expires_s = wanted.expires_s.unwrap_or(settings.expires_s);
    check_expires(expires_s).map_err(|why| wrong("expires_s", why))?;
    let named = wanted.methods.as_deref();
    settings
        .check_ready(cashier.chains(), &price, named)
        .map_err(|why| Problem::new(Kind::Busy, why))?;
    let methods = settings
        .methods(cashier.chains(), &price, named, cashier.rates(), now_us)
        .await
        .map_err(|(field, why)| {
            // The chains that work take no part of the price: one that was left out may.
            let left_out = settings.left_out(cashier.chains());
            let left_out = left_out.filter(|_| named.is_none() && field == "methods");
            left_out.map_or_else(|| wrong(field, why), |why| Problem::new(Kind::Busy, why))
        })?;
    let definition = Definition {
        id: random_id(),
        tenant: caller.tenant.clone(),
        price,
        methods,
        created_us: now_us,
        expires_us: now_us.saturating_add(i64::from(expires_s) * 1_000_000),
        policy: settings.policy(),
    };
    let new = NewInvoice { definition, about };
    // A way that can't be had now is waited for only where it is named.
    let made = match named {
        Some(_) => cashier.create(new).await?,
        None => cashier.create_by_what_is_free(new).await?,
    };
    let mut view = InvoiceView::of(&made, cashier.chains(), &state.public_url);
    view.warning = nobody_brings(&state, &made, now_us).await?;
    tracing::info!(tenant = %caller.tenant, invoice = view.id, by = caller.who, "an invoice was made");
    let place = [(header::LOCATION, format!("/api/v1/invoices/{}", view.id))];
    let target = Target(view.id.clone());
    Ok((StatusCode::CREATED, place, target, Json(view)).into_response())
}

/// Why payers can't pay an invoice by what they sign, where they can pay it by nothing else: the hub brings it nowhere.
async fn nobody_brings(state: &State, at: &At, now_us: i64) -> Result<Option<String>, Problem> {
    let definition = at.kept.invoice.definition();
    let mut methods = definition.methods.iter();
    if methods.any(|method| method.way != Way::Authorization) {
        return Ok(None);
    }
    let chains = state.control.cashier().chains();
    let full = room::full(&state.store, chains, &definition.tenant, now_us).await?;
    let brings = |id: &u64| {
        let chain = chains.by_id(*id);
        chain.is_some_and(|chain| chain.account().is_some()) && !full.contains(id)
    };
    if definition.chains().iter().any(brings) {
        return Ok(None);
    }
    let why = "it can be paid by what payers sign alone, and the hub brings that to none of its chains now: it has \
               no account there, or the tenant's limit has no room (`stencil tenant limits`). Payers with coins for \
               the fee can bring it themselves";
    Ok(Some(why.to_owned()))
}

/// Invoices, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/invoices",
    tag = "invoices",
    params(Which), responses((status = 200, body = Page<InvoiceView>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Json<Page<InvoiceView>>, Problem> {
    let limit = input::list_limit(which.limit)?;
    let cashier = state.control.cashier();
    let word = which.state.map(StateName::word);
    let page = cashier
        .invoices(&caller.tenant, word, which.after.as_deref(), limit)
        .await?;
    let chains = cashier.chains();
    Ok(Json(
        page.map(|at| InvoiceView::of(&at, chains, &state.public_url)),
    ))
}

/// One invoice.
#[utoipa::path(
    get,
    path = "/api/v1/invoices/{invoice}",
    tag = "invoices",
    responses((status = 200, body = InvoiceView))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(invoice): Path<String>,
) -> Result<Json<InvoiceView>, Problem> {
    let id = id(&invoice)?;
    let cashier = state.control.cashier();
    let found = cashier.invoice(&caller.tenant, id).await?;
    let at = found.ok_or_else(|| Problem::not_found("invoice", id))?;
    let view = InvoiceView::as_it_stands(cashier, &at, &state.public_url);
    Ok(Json(view.await))
}

/// Calls an invoice off: what has come and what comes goes back.
#[utoipa::path(
    post,
    path = "/api/v1/invoices/{invoice}/cancel",
    tag = "invoices",
    responses(
        (status = 200, body = InvoiceView),
        (status = 409, description = "It is settled"),
    )
)]
pub(in crate::http) async fn cancel(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(invoice): Path<String>,
) -> Result<Json<InvoiceView>, Problem> {
    let id = id(&invoice)?;
    let cashier = state.control.cashier();
    let at = cashier.apply(&caller.tenant, id, Event::Cancel).await?;
    Ok(view(&state, &at))
}

/// Decides what the tenant's policy leaves open. Nothing is undone by the opposite.
#[utoipa::path(
    post,
    path = "/api/v1/invoices/{invoice}/decisions",
    tag = "invoices",
    request_body(content = Decided, example = json!({ "decision": "accept_late" })),
    responses(
        (status = 200, body = InvoiceView),
        (status = 409, description = "It is too late for that, the opposite was decided, or it decides nothing as the \
            invoice stands: the answer says which decisions are open"),
    )
)]
pub(in crate::http) async fn decide(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(invoice): Path<String>,
    input::Json(decided): input::Json<Decided>,
) -> Result<Response, Problem> {
    let id = id(&invoice)?;
    let (decision, word) = decided.decision.of();
    let cashier = state.control.cashier();
    let decided = cashier.alter(&caller.tenant, id, |kept| {
        is_open(&kept.invoice, decision)?;
        Ok(vec![Event::Resolve(decision)].into())
    });
    let at = decided.await?;
    Ok((Detail(word.to_owned()), view(&state, &at)).into_response())
}

pub(in crate::http) fn view(state: &State, at: &At) -> Json<InvoiceView> {
    let chains = state.control.cashier().chains();
    Json(InvoiceView::of(at, chains, &state.public_url))
}

/// An id out of a path: what is none is nobody's.
pub(in crate::http) fn id(text: &str) -> Result<Id, Problem> {
    text.parse().map_err(|_| {
        let text: String = text.chars().take(64).collect();
        Problem::not_found("invoice", text)
    })
}

pub(in crate::http) async fn settings(
    state: &State,
    caller: &Caller,
) -> Result<PaymentSettings, Problem> {
    let body = state
        .store
        .payments
        .payment_settings(&caller.tenant)
        .await?;
    match body {
        None => Ok(PaymentSettings::default()),
        Some(body) => PaymentSettings::read(&body).map_err(Problem::internal),
    }
}

fn random_id() -> Id {
    let mut id = [0; 16];
    stencil_crypto::rng::Os.fill_bytes(&mut id);
    Id(id)
}

fn price(
    cashier: &Cashier,
    wanted: &InvoiceWanted,
    settings: &PaymentSettings,
) -> Result<Price, Problem> {
    match (&wanted.currency, &wanted.token) {
        (Some(currency), None) => {
            let currency =
                Currency::parse(currency).map_err(|error| wrong("currency", error.to_string()))?;
            let fiat = Fiat::parse(&wanted.amount, currency)
                .map_err(|error| wrong("amount", error.to_string()))?;
            if fiat.minor() == 0 {
                return Err(wrong("amount", "an invoice is over more than nothing"));
            }
            Ok(Price::Fiat(fiat))
        }
        (None, Some(name)) => {
            let chain = name.split_once('/').map(|(chain, _)| chain);
            if let Some(chain) = chain.and_then(|chain| cashier.chains().by_name(chain)) {
                let ready = chain.ready();
                ready.map_err(|why| Problem::new(Kind::Busy, why))?;
            }
            let token = token(cashier, name, settings).map_err(|why| wrong("token", why))?;
            let amount = token
                .parse(&wanted.amount)
                .map_err(|error| wrong("amount", error.to_string()))?;
            if amount.is_zero() || !amount.is_sane() {
                let why = "an invoice is over more than nothing, and less than 2^192 base units";
                return Err(wrong("amount", why));
            }
            Ok(Price::Token {
                asset: token.asset(),
                amount,
            })
        }
        _ => Err(Problem::invalid(
            "a price is either in a `currency`, such as EUR, or in a `token`, such as \
             base/USDC: give one of the two",
        )),
    }
}

/// `CHAIN/SYMBOL`, `CHAIN/0x…` or `CHAIN/native`.
fn token(cashier: &Cashier, name: &str, settings: &PaymentSettings) -> Result<Token, String> {
    let (chain, token) = name
        .split_once('/')
        .ok_or("write CHAIN/SYMBOL, such as base/USDC, or CHAIN/native")?;
    let chain = cashier
        .chains()
        .by_name(chain)
        .ok_or_else(|| format!("the hub follows no chain {chain:.64?}"))?;
    // The chain's own coin goes by what the tenant calls it, too.
    let native = Asset::native(chain.id());
    let ways = settings.ways(cashier.chains());
    let coin = ways.iter().find(|way| way.token.asset() == native);
    match coin {
        Some(coin) if token == "native" || token == coin.token.symbol() => Ok(coin.token.clone()),
        _ if token == "native" => {
            let mut known = chain.tokens().iter().map(|known| &known.token);
            let coin = known.find(|token| token.asset() == native);
            coin.cloned()
                .ok_or_else(|| "no way to pay of the tenant takes it".to_owned())
        }
        _ => named_token(chain.as_ref(), token),
    }
}

/// A field of a body that is wrong.
pub(in crate::http) fn wrong(field: &str, why: impl Into<String>) -> Problem {
    let why = why.into();
    let place = json!({ "pointer": format!("#/{field}"), "what": &why });
    Problem::invalid(format!("`{field}`: {why}")).with_errors(vec![place])
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        use stencil_payments::invoice::Error;
        match refused {
            Refused::NoInvoice(id) => Self::not_found("invoice", id),
            Refused::NoRefund(id) => Self::not_found("refund", id),
            Refused::Store(error) => error.into(),
            Refused::NotReady(why) => Self::new(Kind::Busy, why),
            Refused::Corrupt(..) => Self::internal(refused),
            Refused::NoPlace(why) => wrong("address", why),
            Refused::Invoice(Error::TooLate { .. } | Error::Repriced(_) | Error::NoRefund(_))
            | Refused::NoChain(_)
            | Refused::Full
            | Refused::NoneFree(_)
            | Refused::Matching(_)
            | Refused::Not(_) => Self::new(Kind::Conflict, refused.to_string()),
            Refused::Invoice(error) => Self::invalid(error.to_string()),
        }
    }
}
