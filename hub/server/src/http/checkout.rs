//! What somebody pays, who has nothing but the id of an invoice: 16 bytes by chance, which open this
//! invoice and nothing else.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use super::State;
use super::api::{invoices, refunds};
use super::input::{self, Path};
use super::problem::{Kind, Problem};
use crate::chains::At;
use crate::chains::authorization::{self, Given, NotTaken};
use crate::chains::checkout::Checkout;
use crate::chains::refund_address::{self, Said};

/// `GET /pay/{invoice}/checkout`: what is due, and all that a wallet needs for it.
pub(super) async fn show(
    Shared(state): Shared<State>,
    Path(invoice): Path<String>,
) -> Result<Response, Problem> {
    let at = find(&state, &invoice).await?;
    Ok(not_kept(Json(view(&state, &at).await?)))
}

/// `POST /pay/{invoice}/authorization`: a signed EIP-3009 authorisation, which the hub brings to the
/// chain. The same again is brought once.
pub(super) async fn authorize(
    Shared(state): Shared<State>,
    Path(invoice): Path<String>,
    input::Json(given): input::Json<Given>,
) -> Result<Response, Problem> {
    let at = find(&state, &invoice).await?;
    let cashier = state.control.cashier();
    let sent = authorization::bring(cashier, &at, &given).await;
    let sent = sent.map_err(not_taken)?;
    let answer = (StatusCode::ACCEPTED, Json(authorization::told(&sent)));
    Ok(not_kept(answer))
}

/// `GET /pay/{invoice}/receipt`: what proves that it was paid.
pub(super) async fn receipt(
    Shared(state): Shared<State>,
    Path(invoice): Path<String>,
) -> Result<Response, Problem> {
    let at = find(&state, &invoice).await?;
    refunds::document(&at).map(not_kept)
}

/// `POST /pay/{invoice}/refunds/{refund}/address`: where a refund goes, signed by who has paid.
pub(super) async fn refund_address(
    Shared(state): Shared<State>,
    Path((invoice, refund)): Path<(String, String)>,
    input::Json(said): input::Json<Said>,
) -> Result<Response, Problem> {
    let at = find(&state, &invoice).await?;
    let id = refunds::id(&refund)?;
    let cashier = state.control.cashier();
    let told = refund_address::by_payer(cashier, &at, id, &said).await;
    let told = told.map_err(not_taken)?;
    Ok(not_kept(Json(view(&state, &told).await?)))
}

fn not_taken(not: NotTaken) -> Problem {
    match not {
        NotTaken::Wrong(field, why) => invoices::wrong(field, why),
        NotTaken::Conflict(why) => Problem::new(Kind::Conflict, why),
        NotTaken::Unknown(why) => {
            tracing::warn!(why, "what somebody has signed can't be checked now");
            Problem::new(Kind::Busy, "the chain does not answer; send the same again")
        }
    }
}

pub(super) async fn find(state: &State, invoice: &str) -> Result<At, Problem> {
    let id = invoices::id(invoice)?;
    let found = state.control.cashier().by_id(id).await?;
    found.ok_or_else(|| Problem::not_found("invoice", id))
}

pub(super) async fn view(state: &State, at: &At) -> Result<Checkout, Problem> {
    let cashier = state.control.cashier();
    let chains = state.store.chains.chains().await?;
    let newest: Vec<_> = chains
        .iter()
        .filter_map(|chain| Some((chain.chain_id, chain.cursor?.number)))
        .collect();
    let now_us = state.clock.now_us();
    Ok(Checkout::of(at, cashier.chains(), &newest, now_us))
}

/// An answer that nobody on the way keeps, and that tells no other page where it is from.
fn not_kept(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    response
}
