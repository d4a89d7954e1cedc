//! What somebody pays, who has nothing but the id of an invoice: 16 bytes by chance, which open this
//! invoice and nothing else.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{Extensions, HeaderValue, StatusCode, header};
use stencil_payments::invoice::Way;

use super::State;
use super::api::{invoices, refunds};
use super::input::{self, Path};
use super::listener::Peer;
use super::problem::{Kind, Problem};
use crate::chains::At;
use crate::chains::authorization::{self, Given, NotTaken};
use crate::chains::checkout::{self, Checkout};
use crate::chains::refund_address::{self, Said};
use crate::chains::room;

/// Where a payer's transaction stands.
#[derive(Debug, utoipa::ToSchema)]
#[allow(dead_code, reason = "it describes `authorization::told`")]
pub(super) struct Brought {
    /// `pending`, `included`, `final` or `lost`.
    status: String,
    /// Its hash, once it is in a block.
    tx: Option<String>,
    /// The block's number.
    block: Option<u64>,
    /// Whether it did what it should; `false`: the token has refused it.
    succeeded: Option<bool>,
}

/// What is due of an invoice, and all that a wallet needs for it.
///
/// For who pays: the invoice's id, 16 bytes by chance, opens this invoice and nothing else.
#[utoipa::path(
    get,
    path = "/pay/{invoice}/checkout",
    tag = "pay",
    responses((status = 200, body = Checkout))
)]
pub(super) async fn show(
    Shared(state): Shared<State>,
    Path(invoice): Path<String>,
) -> Result<Response, Problem> {
    let at = find(&state, &invoice).await?;
    Ok(not_kept(Json(view(&state, &at).await?)))
}

/// Has the hub bring a signed authorisation (EIP-3009) to the chain, at its own cost.
///
/// It has to be over exactly what is open. The same again is brought once, and answers where it
/// stands. Of one invoice one is on its way at a time.
#[utoipa::path(
    post,
    path = "/pay/{invoice}/authorization",
    tag = "pay",
    request_body(content = Given, example = json!({
        "from": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "value": "2500000",
        "validAfter": "0", "validBefore": "1790000600",
        "signature": "0x…",
    })),
    responses(
        (status = 202, description = "It is on its way", body = Brought),
        (status = 409, description = "Another one is on its way, it was used or is not covered, the \
            token or the hub's limits refuse it, or the invoice is paid or over"),
    )
)]
pub(super) async fn authorize(
    Shared(state): Shared<State>,
    Path(invoice): Path<String>,
    extensions: Extensions,
    input::Json(given): input::Json<Given>,
) -> Result<Response, Problem> {
    let at = find(&state, &invoice).await?;
    let pool = &state.questions().authorizations;
    let _room = pool.enter(Peer::address(&extensions))?;
    let cashier = state.control.cashier();
    let sent = authorization::bring(cashier, &at, &given).await;
    let sent = sent.map_err(not_taken)?;
    let answer = (StatusCode::ACCEPTED, Json(authorization::told(&sent)));
    Ok(not_kept(answer))
}

/// The receipt of a settled invoice: the same bytes as the tenant's.
#[utoipa::path(
    get,
    path = "/pay/{invoice}/receipt",
    tag = "pay",
    responses(
        (status = 200, body = refunds::ReceiptView),
        (status = 409, description = "It is not settled"),
    )
)]
pub(super) async fn receipt(
    Shared(state): Shared<State>,
    Path(invoice): Path<String>,
) -> Result<Response, Problem> {
    let at = find(&state, &invoice).await?;
    refunds::document(&at).map(not_kept)
}

/// Says where a refund goes, signed by who has paid.
///
/// What is signed (EIP-191, `personal_sign`) is the sentence in the checkout's `confirm`, with the
/// address, in its checksum (EIP-55), in place of `{address}`.
#[utoipa::path(
    post,
    path = "/pay/{invoice}/refunds/{refund}/address",
    tag = "pay",
    request_body(content = Said, example = json!({
        "address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "payer": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C", "signature": "0x…",
    })),
    responses(
        (status = 200, body = Checkout),
        (status = 400, description = "It was not signed so, or what is sent there would reach nobody: the hub's own \
            account, an address at which payments are taken, a token's contract, or one of payments, escrow or the \
            market"),
        (status = 409, description = "It is on its way, another payer has said where it goes, or \
            not all that it is of came from this one"),
    )
)]
pub(super) async fn refund_address(
    Shared(state): Shared<State>,
    Path((invoice, refund)): Path<(String, String)>,
    extensions: Extensions,
    input::Json(said): input::Json<Said>,
) -> Result<Response, Problem> {
    let at = find(&state, &invoice).await?;
    let _room = state
        .questions()
        .refunds
        .enter(Peer::address(&extensions))?;
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
    let invoice = &at.kept.invoice;
    let mut methods = invoice.definition().methods.iter();
    let is_signed = methods.any(|method| method.way == Way::Authorization);
    // What is not to be paid any more is looked at without asking what could be spent on it.
    let full = if is_signed && checkout::payable(invoice, now_us) {
        let tenant = &invoice.definition().tenant;
        room::full(&state.store, cashier.chains(), tenant, now_us).await?
    } else {
        Vec::new()
    };
    let chains = cashier.chains();
    Ok(Checkout::of(at, chains, &newest, &full, now_us))
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
