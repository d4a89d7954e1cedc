//! Refunds, receipts, and webhooks that are sent again.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use stencil_payments::B256;
use stencil_payments::invoice::refund;
use stencil_payments::receipt::Receipt;

use super::invoices;
use crate::chains::refund_address::{self, MAX_REASON};
use crate::chains::refund_told;
use crate::chains::settings::address;
use crate::chains::view::InvoiceView;
use crate::chains::{At, RefundTo};
use crate::http::audit::Detail;
use crate::http::input::{self, Path};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// Where a refund goes, and why the tenant says so in the payer's place.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AddressGiven {
    /// The address (`0x…`).
    #[schema(min_length = 42, max_length = 42)]
    address: String,
    /// Why, for those who read it later.
    #[schema(min_length = 1, max_length = 256)]
    reason: String,
}

/// The transaction by which the tenant has sent a refund.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct TenantSent {
    /// Its hash: `0x` and 64 hexadecimal digits.
    #[schema(min_length = 66, max_length = 66)]
    tx: String,
    /// That it has sent the refund is the tenant's word, where no chain can show it: a contract wallet has sent the
    /// chain's coin, or the hub follows the chain no more.
    #[serde(default)]
    unchecked: bool,
}

/// How much is told again.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ToldAgain {
    /// How much that was done because of the invoice is looked at again: webhooks among it are sent once more.
    again: u64,
    /// Whether the tenant has set where changes of invoices are told (`webhook` of its settings of payments): without
    /// that nothing is sent.
    webhook: bool,
}

/// A receipt (JSON in the canonical form of RFC 8785). All numbers are text.
#[derive(Debug, utoipa::ToSchema)]
#[allow(dead_code, reason = "it describes `Receipt`")]
pub(in crate::http) struct ReceiptView {
    /// `stencil-receipt/2`.
    format: String,
    /// Which invoice.
    invoice: String,
    /// What was counted, by time: amount and base units, asset, transaction, block, payer, rate.
    payments: Vec<stencil_store::schema::Json>,
    /// What it cost.
    price: stencil_store::schema::Json,
    /// What goes back or went.
    refunds: Vec<stencil_store::schema::Json>,
    /// Which settlement this is the receipt of.
    round: String,
    /// When it was settled, µs since the epoch.
    settled_us: String,
    /// Whose invoice it was.
    tenant: String,
}

/// The receipt of a settled invoice.
///
/// The same bytes each time, until something else becomes of the invoice; `ETag` is their SHA-256.
#[utoipa::path(
    get,
    path = "/api/v1/invoices/{invoice}/receipt",
    tag = "invoices",
    responses(
        (status = 200, body = ReceiptView),
        (status = 409, description = "It is not settled"),
    )
)]
pub(in crate::http) async fn receipt(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(invoice): Path<String>,
) -> Result<Response, Problem> {
    let id = invoices::id(&invoice)?;
    let found = state.control.cashier().invoice(&caller.tenant, id).await?;
    let at = found.ok_or_else(|| Problem::not_found("invoice", id))?;
    document(&at)
}

/// A receipt with its digest.
pub(in crate::http) fn document(at: &At) -> Result<Response, Problem> {
    let receipt = Receipt::of(&at.kept.invoice)
        .map_err(|error| Problem::new(Kind::Conflict, error.to_string()))?;
    let bytes = receipt.bytes().map_err(Problem::internal)?;
    let digest = receipt.digest().map_err(Problem::internal)?;
    let tag = format!("\"{}\"", hex::encode(digest));
    let tag = HeaderValue::from_str(&tag).map_err(Problem::internal)?;
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json), (header::ETAG, tag)], bytes).into_response())
}

/// Does all that was done because of an invoice again: its webhooks are sent once more, with the ids
/// that they had.
///
/// They go to where the tenant's settings say today. What was done long ago is kept no more, and is not done again.
#[utoipa::path(
    post,
    path = "/api/v1/invoices/{invoice}/webhooks",
    tag = "invoices",
    responses((status = 200, body = ToldAgain))
)]
pub(in crate::http) async fn tell_again(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(invoice): Path<String>,
) -> Result<Json<ToldAgain>, Problem> {
    let id = invoices::id(&invoice)?;
    let cashier = state.control.cashier();
    let found = cashier.invoice(&caller.tenant, id).await?;
    found.ok_or_else(|| Problem::not_found("invoice", id))?;
    let now_us = state.clock.now_us();
    let payments = &state.store.payments;
    let again = payments
        .redo_invoice_effects(&caller.tenant, &id.0, now_us)
        .await?;
    cashier.wake_effects();
    let settings = invoices::settings(&state, &caller).await?;
    Ok(Json(ToldAgain {
        again,
        webhook: settings.webhook.is_some(),
    }))
}

/// Says where a refund goes, in the payer's place. The payer's own word goes before.
///
/// Where the hub's own account was paid, the hub sends the refund at once. One that failed twice where it
/// went waits until its address is said anew, also in the place of a payer who has said it.
#[utoipa::path(
    post,
    path = "/api/v1/invoices/{invoice}/refunds/{refund}/address",
    tag = "invoices",
    request_body(content = AddressGiven, example = json!({
        "address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "reason": "asked by mail, case 17",
    })),
    responses(
        (status = 200, body = InvoiceView),
        (status = 400, description = "What is sent there would reach nobody: the hub's own account, an address at \
            which payments are taken, a token's contract, or one of payments, escrow or the market"),
        (status = 409, description = "It is on its way, or the payer has said where it goes"),
    )
)]
pub(in crate::http) async fn set_address(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((invoice, refund)): Path<(String, String)>,
    input::Json(given): input::Json<AddressGiven>,
) -> Result<Response, Problem> {
    let (invoice, id) = (invoices::id(&invoice)?, id(&refund)?);
    let address = address(&given.address).map_err(|why| invoices::wrong("address", why))?;
    let reason = given.reason;
    let good = !reason.trim().is_empty()
        && reason.len() <= MAX_REASON
        && !reason.chars().any(char::is_control);
    if !good {
        let why = format!("1 to {MAX_REASON} bytes in one line are right");
        return Err(invoices::wrong("reason", why));
    }
    let to = RefundTo {
        address,
        by: caller.who.clone(),
        payer: None,
        reason: Some(reason.clone()),
        failures: 0,
        number: 0,
        waits: None,
    };
    let cashier = state.control.cashier();
    let at = refund_address::set(cashier, &caller.tenant, invoice, id, to).await?;
    let detail = Detail(format!("to {}: {reason}", address.to_checksum(None)));
    Ok((detail, invoices::view(&state, &at)).into_response())
}

/// Says that the tenant has sent a refund itself, by which transaction.
///
/// For refunds of payments to addresses that are not the hub's. The transaction has to have moved at least what is due
/// to where the refund goes, and a movement serves one refund. The refund is `sent` until that is final, and
/// `confirmed` from then on; where the transaction leaves the chain it is `due` again, and another one may be told.
#[utoipa::path(
    post,
    path = "/api/v1/invoices/{invoice}/refunds/{refund}/sent",
    tag = "invoices",
    request_body = TenantSent,
    responses(
        (status = 200, body = InvoiceView),
        (status = 409, description = "The hub sends it, nobody has said where it goes, it was withdrawn, another \
            transaction has sent it, or the chain has the transaction in no block, reverted, or with other movements \
            than what is due, or with one that has sent another refund"),
        (status = 503, description = "The chain can't be asked now"),
    )
)]
pub(in crate::http) async fn sent(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((invoice, refund)): Path<(String, String)>,
    input::Json(given): input::Json<TenantSent>,
) -> Result<Response, Problem> {
    let (invoice, id) = (invoices::id(&invoice)?, id(&refund)?);
    let tx = given
        .tx
        .strip_prefix("0x")
        .and_then(|_| given.tx.parse::<B256>().ok());
    let tx = tx.ok_or_else(|| invoices::wrong("tx", "0x and 64 hexadecimal digits are right"))?;
    let cashier = state.control.cashier();
    let at = refund_told::sent_by_tenant(cashier, &caller.tenant, invoice, id, tx, given.unchecked)
        .await?;
    let refunds = at.kept.invoice.refunds();
    let is_unchecked = refunds.iter().any(|it| it.id == id && it.unchecked);
    let word = if is_unchecked { ", unchecked" } else { "" };
    let detail = Detail(format!("by {tx:#x}{word}"));
    Ok((detail, invoices::view(&state, &at)).into_response())
}

/// A refund's id out of a path: what is none is nobody's.
pub(in crate::http) fn id(text: &str) -> Result<refund::Id, Problem> {
    text.parse().map_err(|_| {
        let text: String = text.chars().take(64).collect();
        Problem::not_found("refund", text)
    })
}
