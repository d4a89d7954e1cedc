//! What a tenant sells for single payments (x402), and what was bought.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use stencil_payments::money::Asset;
use stencil_payments::x402::charge::Stage;
use stencil_store::{MAX_OFFER_NAME, Page, StoredOffer, StoredPurchase};

use super::invoices;
use crate::chains::known_contract;
use crate::chains::settings::Wrong;
use crate::chains::x402::{Bought, Offer, Purchase, Sales, price};
use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// An offer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownOffer {
    /// Its name.
    offer: String,
    /// Where it is bought, by anybody.
    url: String,
    /// When it was made.
    created_us: i64,
    /// When it was last set.
    changed_us: i64,
    /// What keeps it from being bought as things stand; null: nothing that is known.
    warning: Option<String>,
    #[serde(flatten)]
    body: Offer,
}

/// A purchase.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownPurchase {
    /// Its id, which is that of its invoice.
    purchase: String,
    /// Of which offer.
    offer: String,
    /// What was bought.
    #[schema(value_type = stencil_store::schema::Json)]
    bought: Bought,
    /// Who pays.
    payer: String,
    /// In what.
    asset: String,
    /// How much, base units.
    amount: String,
    /// When it was made.
    created_us: i64,
    /// When it was first answered; null: it was not.
    answered_us: Option<i64>,
    /// Of a command: where its charge stands.
    #[schema(value_type = Option<String>)]
    state: Option<Stage>,
}

/// The offers, by name.
#[utoipa::path(
    get,
    path = "/api/v1/offers",
    tag = "offers",
    params(Paging), responses((status = 200, body = Page<ShownOffer>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ShownOffer>>, Problem> {
    let (limit, after) = (paging.limit()?, paging.after.as_deref());
    let page = state.store.offers.offers(&caller.tenant, after, limit);
    let Page { items, next } = page.await?;
    let mut shown = Vec::with_capacity(items.len());
    for stored in items {
        shown.push(show(&state, &caller, stored).await?);
    }
    Ok(Json(Page { items: shown, next }))
}

/// One offer.
#[utoipa::path(
    get,
    path = "/api/v1/offers/{offer}",
    tag = "offers",
    responses((status = 200, body = ShownOffer))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(offer): Path<String>,
) -> Result<Json<ShownOffer>, Problem> {
    let stored = state.store.offers.offer(&caller.tenant, &offer).await?;
    let stored = stored.ok_or_else(|| Problem::not_found("offer", &offer))?;
    show(&state, &caller, stored).await.map(Json)
}

/// Makes an offer, or sets it anew.
///
/// It can be bought at `/x402/{tenant}/{offer}` from then on. What was bought of it before stays
/// bought. Contracts out of which nobody gets money (of tokens, payments, escrow, anchors, passports and the market) are
/// no `pay_to`: 400 says which it is. They are known by settings, and Stencil's own also by their code.
#[utoipa::path(
    put,
    path = "/api/v1/offers/{offer}",
    tag = "offers",
    request_body = Offer,
    responses(
        (status = 200, description = "It is so from now on", body = ShownOffer),
        (status = 201, description = "It was made", body = ShownOffer),
        (status = 409, description = "There are as many offers as may be, or an address takes payments \
            of another tenant"),
    )
)]
pub(in crate::http) async fn put(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(name): Path<String>,
    input::Json(offer): input::Json<Offer>,
) -> Result<Response, Problem> {
    let of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=MAX_OFFER_NAME).contains(&name.len())
        || !name.bytes().all(of_name)
        || name.starts_with('-')
    {
        return Err(Problem::invalid(format!(
            "an offer's name has 1 to {MAX_OFFER_NAME} small letters, digits and `-`, which is not \
             the first: it stands in its address"
        )));
    }
    let sales = sales(&state)?;
    let chains = sales.chains();
    let told = |Wrong { pointer, why, .. }: Wrong| {
        let place = json!({ "pointer": format!("#{pointer}"), "what": &why });
        Problem::invalid(why).with_errors(vec![place])
    };
    offer
        .check(chains)
        .map_err(|wrong| match offer.not_ready(chains) {
            Some(why) => Problem::new(Kind::Busy, why),
            None => told(wrong),
        })?;
    let settings = invoices::settings(&state, &caller).await?;
    let (store, followed) = (&state.store, state.control.cashier().chains());
    for (at, place) in offer.paid_at(chains) {
        let checked =
            known_contract::check_pay_to(store, followed, &caller.tenant, &settings, place);
        let why = match checked.await? {
            Some(why) => Some(why),
            None => known_contract::by_code(followed, place)
                .await
                .map_err(|unknown| {
                    let why = format!("`prices[{at}]`: the chain does not answer: {unknown}");
                    Problem::new(Kind::Busy, why)
                })?,
        };
        if let Some(why) = why {
            let why = format!("`prices[{at}]`: `pay_to`: {why}");
            return Err(told(Wrong::at(format!("/prices/{at}/pay_to"), why)));
        }
    }
    let body = serde_json::to_string(&offer).map_err(Problem::internal)?;
    let (offers, now_us) = (&state.store.offers, state.clock.now_us());
    let payees = offer.payees(sales.chains());
    let made = offers
        .put_offer(&caller.tenant, &name, &body, &payees, now_us)
        .await?;
    let stored = offers.offer(&caller.tenant, &name).await?;
    let stored = stored.ok_or_else(|| Problem::not_found("offer", &name))?;
    tracing::info!(tenant = %caller.tenant, offer = name, by = caller.who, "an offer was set");
    let shown = Json(show(&state, &caller, stored).await?);
    if !made {
        return Ok(shown.into_response());
    }
    let location = [(header::LOCATION, format!("/api/v1/offers/{name}"))];
    Ok((StatusCode::CREATED, location, shown).into_response())
}

/// Takes an offer away: nothing of it can be bought any more.
///
/// What was bought stays bought, but is not answered again.
#[utoipa::path(
    delete,
    path = "/api/v1/offers/{offer}",
    tag = "offers",
    responses((status = 204, description = "It is gone"))
)]
pub(in crate::http) async fn remove(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(offer): Path<String>,
) -> Result<StatusCode, Problem> {
    if !state
        .store
        .offers
        .remove_offer(&caller.tenant, &offer)
        .await?
    {
        return Err(Problem::not_found("offer", &offer));
    }
    tracing::info!(tenant = %caller.tenant, offer, by = caller.who, "an offer was taken away");
    Ok(StatusCode::NO_CONTENT)
}

/// What was bought, the newest first. What came of the money is in the invoice of the same id.
#[utoipa::path(
    get,
    path = "/api/v1/purchases",
    tag = "offers",
    params(Paging), responses((status = 200, body = Page<ShownPurchase>))
)]
pub(in crate::http) async fn purchases(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ShownPurchase>>, Problem> {
    let (limit, after) = (paging.limit()?, paging.after.as_deref());
    let page = state.store.offers.purchases(&caller.tenant, after, limit);
    let Page { items, next } = page.await?;
    let items = items.iter().map(ShownPurchase::of);
    Ok(Json(Page {
        items: items.collect::<Result<_, _>>()?,
        next,
    }))
}

/// What is forgiven.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Forgiven {
    /// In what: `eip155:CHAIN/erc20:0xADDRESS`.
    #[schema(value_type = String)]
    asset: Asset,
}

/// Forgives a payer what devices have done for them and they have not paid.
///
/// What is lost to a payer counts to their limit until then; nothing is lost to whoever has nothing
/// unpaid.
#[utoipa::path(
    post,
    path = "/api/v1/payers/{payer}/forgive",
    tag = "offers",
    request_body = Forgiven,
    responses((status = 204, description = "It is forgiven"))
)]
pub(in crate::http) async fn forgive(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(payer): Path<String>,
    input::Json(forgiven): input::Json<Forgiven>,
) -> Result<StatusCode, Problem> {
    let payer = price::address("payer", &payer).map_err(Problem::invalid)?;
    let asset = forgiven.asset;
    sales(&state)?.forgive(&caller.tenant, asset, payer).await?;
    tracing::info!(tenant = %caller.tenant, %payer, %asset, by = caller.who, "a payer is forgiven");
    Ok(StatusCode::NO_CONTENT)
}

impl ShownPurchase {
    fn of(stored: &StoredPurchase) -> Result<Self, Problem> {
        let purchase = Purchase::read(stored)?;
        Ok(Self {
            purchase: hex::encode(stored.purchase),
            offer: stored.offer.clone(),
            payer: purchase.payer.to_checksum(None),
            asset: purchase.token.asset().to_string(),
            amount: purchase.amount.to_string(),
            state: purchase.charge.as_ref().map(|charge| charge.stage()),
            bought: purchase.bought,
            created_us: stored.created_us,
            answered_us: purchase.answered_us,
        })
    }
}

fn sales(state: &State) -> Result<&Sales, Problem> {
    let none = "the hub follows no chain: see `[chains]` in its settings";
    state
        .sales()
        .ok_or_else(|| Problem::new(Kind::Conflict, none))
}

async fn show(state: &State, caller: &Caller, stored: StoredOffer) -> Result<ShownOffer, Problem> {
    let StoredOffer {
        offer,
        body,
        created_us,
        changed_us,
    } = stored;
    let body: Offer = serde_json::from_str(&body).map_err(Problem::internal)?;
    let warning = match body.sells.device() {
        Some(device) => {
            let there = state.store.devices.get(&caller.tenant, &device).await?;
            let why = || {
                format!(
                    "there is no device `{device}` yet: nothing is sold, and nobody charged, before"
                )
            };
            there.is_none().then(why)
        }
        None => None,
    };
    Ok(ShownOffer {
        url: format!("{}/x402/{}/{offer}", state.public_url, caller.tenant),
        warning,
        body,
        offer,
        created_us,
        changed_us,
    })
}
