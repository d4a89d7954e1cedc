//! What a tenant sells for single payments, over x402 version 2.
//!
//! | answer | what it means |
//! |---|---|
//! | 402, `PAYMENT-REQUIRED` | what it costs; with `error`, why the payment that was shown does not do |
//! | 200, `PAYMENT-RESPONSE` | what was bought, and by which transaction it was paid |
//! | 400 | the request or the payment is not understood; nothing was charged |
//! | 503, `Retry-After` | it can't be known now: the same payment again, and no other |
//!
//! Nothing but what is offered can be reached here, of the one tenant that stands in the path.

pub(super) mod commands;

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use stencil_payments::x402::header as wire;
use stencil_payments::x402::{
    PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, PaymentPayload, PaymentRequired, Reason,
    Refused, Resource, SettleResponse, V1_PAYMENT, VERSION, v1_answer,
};
use stencil_protocol::id::TenantId;

use super::State;
use super::api::{Whole, devices, series};
use super::input::{self, Path, Query};
use super::listener::Peer;
use super::problem::{Kind, Problem};
use crate::chains::x402::kept::Paying;
use crate::chains::x402::{Bought, Kept, No, Offer, Sales, Sells, Served, Span, sales};

/// What a request for an offer may name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Of a series: from this event time on, µs since the epoch.
    from_us: Option<i64>,
    /// Up to, but not with, this event time; now, if it is not given.
    to_us: Option<i64>,
    /// The time of the last point that was seen, to go on behind it.
    after: Option<i64>,
    /// Points at most.
    limit: Option<u32>,
}

/// An offer that is asked for.
struct Wanted {
    sales: Sales,
    tenant: TenantId,
    name: String,
    offer: Offer,
    bought: Bought,
    /// The path and what the request named that the payment is bound to.
    path: String,
}

/// `GET /x402/{tenant}/{offer}`: data, for a payment.
pub(super) async fn buy(
    Shared(state): Shared<State>,
    method: Method,
    Path((tenant, name)): Path<(String, String)>,
    headers: HeaderMap,
    extensions: Extensions,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let (sales, tenant, offer) = offered(&state, &tenant, &name).await?;
    let (bought, path) = what(&state, &tenant, &name, &offer, &asked).await?;
    let wanted = Wanted {
        sales,
        tenant,
        name,
        offer,
        bought,
        path,
    };
    // Whoever asks for the head alone gets nothing for their money, and is charged nothing.
    let shown = match method {
        Method::HEAD => None,
        _ => shown(&headers)?,
    };
    let payment = match shown {
        None => return required(&state, &wanted, None),
        Some(Shown::V1) => return Ok(too_old()),
        Some(Shown::V2(payment)) => payment,
    };
    // Whoever shows one payment any number of times leaves others room, whose signatures run out meanwhile.
    let (questions, address) = (state.questions(), Peer::address(&extensions));
    let asks = questions.payments.enter(address)?;
    let waits = questions.settlements.enter(address)?;
    let paid = async {
        let payment = sales::payment(&payment)?;
        bound(&wanted, &payment)?;
        let Wanted {
            sales,
            tenant,
            name,
            offer,
            bought,
            ..
        } = &wanted;
        let kept = sales.take(tenant, name, offer, bought, &payment).await?;
        drop(asks);
        let tx = sales.settle(&kept).await?;
        Ok((kept, tx))
    };
    let paid = Box::pin(paid).await;
    drop(waits);
    let (kept, tx) = match paid {
        Ok(paid) => paid,
        Err(no) => return refused(&state, &wanted, no),
    };
    let settled = settled(&kept, &format!("{tx:#x}"));
    // What goes wrong from here on is told as paid.
    let given = match give(&state, &wanted.tenant, &kept, &asked).await {
        Ok(given) => match wanted.sales.answered(&kept).await {
            Ok(()) => given,
            Err(no) => refused(&state, &wanted, no)?,
        },
        Err(problem) => problem.into_response(),
    };
    with(given, PAYMENT_RESPONSE, &settled)
}

/// What clients of version 1 read.
fn too_old() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::PAYMENT_REQUIRED, kind, v1_answer()).into_response()
}

fn settled(kept: &Kept, transaction: &str) -> SettleResponse {
    SettleResponse::settled(
        &kept.purchase.network(),
        &kept.purchase.payer.to_checksum(None),
        transaction,
        &kept.purchase.amount.to_string(),
    )
}

/// The payment that a request shows.
enum Shown {
    V1,
    V2(Vec<u8>),
}

fn shown(headers: &HeaderMap) -> Result<Option<Shown>, Problem> {
    let mut values = headers.get_all(PAYMENT_SIGNATURE).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(Some(Shown::V2(value.as_bytes().to_vec()))),
        (Some(_), Some(_)) => {
            let detail = format!("`{PAYMENT_SIGNATURE}` has to be there once");
            Err(Problem::invalid(detail))
        }
        (None, _) => Ok(headers.contains_key(V1_PAYMENT).then_some(Shown::V1)),
    }
}

async fn offered(
    state: &State,
    tenant: &str,
    name: &str,
) -> Result<(Sales, TenantId, Offer), Problem> {
    let none = || Problem::not_found("offer", name);
    let tenant = TenantId::parse(tenant).map_err(|_| none())?;
    let sales = state.sales().cloned().ok_or_else(none)?;
    let stored = state.store.offers.offer(&tenant, name).await?;
    let stored = stored.ok_or_else(none)?;
    let offer = serde_json::from_str(&stored.body).map_err(Problem::internal)?;
    Ok((sales, tenant, offer))
}

/// What exactly would be bought; nothing is charged for what is not there.
async fn what(
    state: &State,
    tenant: &TenantId,
    name: &str,
    offer: &Offer,
    asked: &Asked,
) -> Result<(Bought, String), Problem> {
    let path = format!("/x402/{tenant}/{name}");
    match &offer.sells {
        Sells::Series(sold) => {
            series::of_device(state, tenant, &sold.device, &sold.name).await?;
            input::limit(asked.limit, series::MAX_POINTS, series::MAX_POINTS)?;
            let longest_us = i64::try_from(sold.longest_span_s.saturating_mul(1_000_000));
            let longest_us = longest_us.unwrap_or(i64::MAX);
            let to_us = asked.to_us.unwrap_or_else(|| state.clock.now_us());
            let from_us = asked.from_us.unwrap_or(to_us.saturating_sub(longest_us));
            if from_us >= to_us {
                return Err(Problem::invalid(format!(
                    "`from_us` {from_us} is not before `to_us` {to_us}"
                )));
            }
            if to_us.saturating_sub(from_us) > longest_us {
                return Err(Problem::invalid(format!(
                    "from `from_us` to `to_us` are {} µs; one payment buys {longest_us} at most",
                    to_us.saturating_sub(from_us)
                )));
            }
            let span = Span {
                from_us: asked.from_us,
                to_us: asked.to_us,
            };
            let named = [("from_us", span.from_us), ("to_us", span.to_us)];
            let named = named.into_iter().filter_map(|(name, at)| Some((name, at?)));
            let query: Vec<_> = named.map(|(name, at)| format!("{name}={at}")).collect();
            let query = match &query[..] {
                [] => String::new(),
                parts => format!("?{}", parts.join("&")),
            };
            let bought = Bought::Series {
                device: sold.device.clone(),
                name: sold.name.clone(),
                asked: span,
                from_us,
                to_us,
            };
            Ok((bought, format!("{path}{query}")))
        }
        Sells::Endpoint(endpoint) => {
            let Asked {
                from_us,
                to_us,
                after,
                limit,
            } = asked;
            if from_us.or(*to_us).or(*after).is_some() || limit.is_some() {
                return Err(Problem::invalid("this offer takes no query"));
            }
            let served = endpoint.served().map_err(Problem::internal)?;
            answer(state, tenant, &served).await?;
            let bought = Bought::Endpoint {
                path: endpoint.path.clone(),
            };
            Ok((bought, path))
        }
        Sells::Command(_) => Err(Problem::new(
            Kind::Method,
            "this offer is that a device does something: use POST",
        )),
    }
}

/// Gives what was bought.
async fn give(
    state: &State,
    tenant: &TenantId,
    kept: &Kept,
    asked: &Asked,
) -> Result<Response, Problem> {
    match &kept.purchase.bought {
        Bought::Series {
            device,
            name,
            from_us,
            to_us,
            ..
        } => {
            let limit = input::limit(asked.limit, series::MAX_POINTS, series::MAX_POINTS)?;
            let sold = series::of_device(state, tenant, device, name).await?;
            let span = (*from_us, *to_us);
            let points = series::points(state, tenant, (device, sold), span, asked.after, limit);
            Ok(Json(points.await?).into_response())
        }
        Bought::Endpoint { path } => {
            let endpoint = crate::chains::x402::offer::Endpoint { path: path.clone() };
            let served = endpoint.served().map_err(Problem::internal)?;
            answer(state, tenant, &served).await
        }
        Bought::Command { .. } => Err(Problem::internal("a command was bought as data")),
    }
}

/// What an endpoint of the data API answers.
async fn answer(state: &State, tenant: &TenantId, served: &Served) -> Result<Response, Problem> {
    let store = &state.store;
    Ok(match served {
        Served::Device(id) => {
            let device = devices::of_tenant(state, tenant, id).await?;
            Json(devices::DeviceView::of(device, tenant, &state.identity())).into_response()
        }
        Served::Latest(id) => {
            devices::of_tenant(state, tenant, id).await?;
            Json(Whole::of(store.devices.latest(tenant, id).await?)).into_response()
        }
        Served::Names(id) => {
            devices::of_tenant(state, tenant, id).await?;
            Json(Whole::of(store.series.names(tenant, id).await?)).into_response()
        }
        Served::Entry(collection, key) => {
            let entry = store.content.get(tenant, collection, key).await?;
            let none = || Problem::not_found("entry", format!("{collection}/{key}"));
            Json(entry.ok_or_else(none)?).into_response()
        }
    })
}

/// A payment that says what it is for is for that alone.
fn bound(wanted: &Wanted, payment: &PaymentPayload) -> Result<(), No> {
    let Some(resource) = &payment.resource else {
        return Ok(());
    };
    // By whatever name the hub was asked.
    let uri: Option<http::Uri> = resource.url.parse().ok();
    let named = uri.as_ref().and_then(|uri| uri.path_and_query());
    if named.is_some_and(|named| named.as_str() == wanted.path) {
        return Ok(());
    }
    let url: String = resource
        .url
        .chars()
        .filter(|it| !it.is_control())
        .take(160)
        .collect();
    let detail = format!("the payment is for {url}, not for {}", wanted.path);
    Err(Refused::new(Reason::InvalidPaymentRequirements, detail).into())
}

/// 402: what it costs, and why the payment that was shown does not do.
fn required(state: &State, wanted: &Wanted, error: Option<&Refused>) -> Result<Response, Problem> {
    let priced = wanted.offer.priced(wanted.sales.chains());
    if priced.is_empty() {
        let detail = "the hub follows none of the chains that this is paid on right now";
        return Err(Problem::new(Kind::Busy, detail));
    }
    let accepts = match &wanted.offer.sells {
        Sells::Command(does) => {
            let now_s = state.clock.now_us().unsigned_abs() / 1_000_000;
            commands::accepts(wanted, does, now_s)
        }
        Sells::Series(_) | Sells::Endpoint(_) => {
            let ways = priced.iter().map(|priced| priced.way.requirements());
            ways.collect()
        }
    };
    let resource = Resource {
        url: format!("{}{}", state.public_url, wanted.path),
        description: wanted.offer.description.clone(),
        mime_type: Some("application/json".to_owned()),
    };
    let error = match error {
        Some(refused) => refused.to_string(),
        None => format!("the header {PAYMENT_SIGNATURE} is missing: this is paid for"),
    };
    let required = PaymentRequired {
        x402_version: VERSION,
        error: Some(error),
        resource,
        accepts,
        extensions: None,
    };
    let response = (StatusCode::PAYMENT_REQUIRED, Json(&required)).into_response();
    with(response, PAYMENT_REQUIRED, &required)
}

fn refused(state: &State, wanted: &Wanted, no: No) -> Result<Response, Problem> {
    match no {
        No::Refused(refused) if refused.reason.status() == 402 => {
            required(state, wanted, Some(&refused))
        }
        No::Refused(refused) => {
            let place = json!({ "reason": refused.reason, "what": &refused.detail });
            Err(Problem::invalid(refused.to_string()).with_errors(vec![place]))
        }
        No::Failed(paying, refused) => {
            let response = required(state, wanted, Some(&refused))?;
            with(response, PAYMENT_RESPONSE, &failed(&paying, refused.reason))
        }
        No::Rests(refused, after_s) => {
            let mut response = required(state, wanted, Some(&refused))?;
            let after = HeaderValue::from(after_s);
            response.headers_mut().insert(header::RETRY_AFTER, after);
            Ok(response)
        }
        No::Later(paying, why) => {
            let detail =
                format!("{why}; ask again with the same payment: another would be charged as well");
            let response = Problem::new(Kind::Busy, detail).into_response();
            match paying {
                Some(paying) => {
                    let reason = Reason::UnexpectedSettleError;
                    with(response, PAYMENT_RESPONSE, &failed(&paying, reason))
                }
                None => Ok(response),
            }
        }
        No::Store(error) => Err(error.into()),
    }
}

fn failed(paying: &Paying, reason: Reason) -> SettleResponse {
    SettleResponse::failed(&paying.network, Some(&paying.payer), reason)
}

fn with(
    mut response: Response,
    name: &'static str,
    what: &impl Serialize,
) -> Result<Response, Problem> {
    let value = wire::encode(what).map_err(Problem::internal)?;
    let value = HeaderValue::from_str(&value).map_err(Problem::internal)?;
    response.headers_mut().insert(name, value);
    Ok(response)
}
