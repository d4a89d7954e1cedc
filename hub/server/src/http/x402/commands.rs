//! Devices that act for a payment.
//!
//! | answer | what it means |
//! |---|---|
//! | 402 | what it costs; with `error`, why the payment that was shown does not do |
//! | 200, `PAYMENT-RESPONSE` | the device has acted, and is paid for it |
//! | 202, `Location` | it is under way: ask there, or here again with the same payment |
//! | 502 | the device has not acted, or not in time, or its payer has spent the money: nothing is charged |
//!
//! The same payment again has the same answer while the order stands so. What is told of an order at its `Location` is
//! 200 whatever became of it.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{Extensions, HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stencil_payments::x402::charge::Stage;
use stencil_protocol::command::State as CommandState;
use stencil_protocol::id::{CommandId, TenantId};
use tokio::time::Instant;

use super::{
    PAYMENT_RESPONSE, Shown, Wanted, bound, offered, refused, required, settled, shown, with,
};
use crate::chains::x402::offer::{Argument, Does, MAX_SETTLE_S};
use crate::chains::x402::{Bought, Kept, No, Sales, Sells, command, sales};
use crate::http::State;
use crate::http::api::commands;
use crate::http::input::{self, Path};
use crate::http::listener::Peer;
use crate::http::problem::{Kind, Problem};

/// The longest body of an order.
const MAX_BODY: usize = 4 * 1024;

/// What a device shall do.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// With what, where the offer leaves that open.
    #[serde(default)]
    argument: Option<Box<RawValue>>,
}

/// Where an order stands.
#[derive(Debug, Serialize)]
struct Standing {
    /// Its id, which is that of its invoice.
    purchase: String,
    /// `waiting` (for the money that is held), `acting`, `capturing`, `captured`, `refunding`, `free`
    /// (nothing was charged) or `lost` (the device has acted, and is not paid).
    state: Stage,
    /// Whether the payer has paid.
    charged: bool,
    /// By which transaction.
    transaction: Option<String>,
    /// The device's command; null: it was not given yet.
    command: Option<Ordered>,
}

/// A device's command.
#[derive(Debug, Serialize)]
struct Ordered {
    id: CommandId,
    state: CommandState,
    /// In words, as the device last said.
    detail: Option<String>,
    expires_us: i64,
}

/// `POST /x402/{tenant}/{offer}`: a device acts, for a payment.
pub(in crate::http) async fn order(
    Shared(state): Shared<State>,
    Path((tenant, name)): Path<(String, String)>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Result<Response, Problem> {
    let (sales, tenant, offer) = offered(&state, &tenant, &name).await?;
    let Sells::Command(does) = offer.sells.clone() else {
        return Err(Problem::new(Kind::Method, "this offer is data: use GET"));
    };
    let bought = wished(&does, &body)?;
    let path = format!("/x402/{tenant}/{name}");
    let wanted = Wanted {
        sales,
        tenant,
        name,
        offer,
        bought,
        path,
    };
    let payment = match shown(&headers)? {
        None => return required(&state, &wanted, None),
        Some(Shown::V1) => return Ok(super::too_old()),
        Some(Shown::V2(payment)) => payment,
    };
    let waits = !headers
        .get_all("prefer")
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"respond-async"));
    let asks = state
        .questions()
        .payments
        .enter(Peer::address(&extensions))?;
    let taken = async {
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
        let kept = sales
            .commission(tenant, name, offer, &does, bought, &payment)
            .await?;
        drop(asks);
        if waits {
            over(sales, kept).await
        } else {
            Ok(kept)
        }
    };
    let kept = match Box::pin(taken).await {
        Ok(kept) => kept,
        Err(no) => return refused(&state, &wanted, no),
    };
    match standing(&wanted.sales, &kept).await {
        Ok(answer) => answer,
        Err(no) => refused(&state, &wanted, no),
    }
}

/// `GET /x402/{tenant}/{offer}/{purchase}`: where an order stands.
pub(in crate::http) async fn status(
    Shared(state): Shared<State>,
    Path((tenant, offer, purchase)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let none = || Problem::not_found("purchase", &purchase);
    let tenant = TenantId::parse(&tenant).map_err(|_| none())?;
    let sales = state.sales().ok_or_else(none)?;
    let id: stencil_payments::invoice::Id = purchase.parse().map_err(|_| none())?;
    let stored = state.store.offers.purchase(&tenant, &id.0).await?;
    let stored = stored
        .filter(|stored| stored.offer == offer)
        .ok_or_else(none)?;
    let kept = Kept::of(stored)?;
    if kept.purchase.charge.is_none() {
        return Err(none());
    }
    let doc = document(sales, &kept).await.map_err(|no| match no {
        No::Store(error) => Problem::from(error),
        no => Problem::internal(format!("{no:?}")),
    })?;
    Ok(Json(doc).into_response())
}

/// What exactly the device shall do.
fn wished(does: &Does, body: &[u8]) -> Result<Bought, Problem> {
    if body.len() > MAX_BODY {
        let detail = format!("the body may have at most {MAX_BODY} bytes");
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    let wish: Wish = if body.is_empty() {
        Wish::default()
    } else {
        input::parsed(body)?
    };
    let argument = match (&does.argument, wish.argument.as_deref()) {
        (Argument::Given, given) => commands::argument(given)?,
        (Argument::Fixed(value), None) => Some(value.clone()),
        (Argument::None, None) => None,
        (Argument::Fixed(_) | Argument::None, Some(_)) => {
            let detail = "`argument`: this offer leaves none open; send no body";
            return Err(Problem::invalid(detail));
        }
    };
    let checked = crate::chains::x402::offer::command(&does.device, &does.name, argument.as_ref());
    checked.map_err(Problem::invalid)?;
    Ok(Bought::Command {
        device: does.device.clone(),
        name: does.name.clone(),
        argument,
        undo: does.undo.clone(),
    })
}

/// Waits until nothing more happens by itself, as long as a request may.
async fn over(sales: &Sales, kept: Kept) -> Result<Kept, No> {
    let until = Instant::now() + Duration::from_secs(MAX_SETTLE_S);
    let mut kept = kept;
    let is_over = |kept: &Kept| {
        let charge = kept.purchase.charge.as_ref();
        charge.is_none_or(|charge| charge.is_over())
    };
    while !is_over(&kept) && Instant::now() < until {
        kept = sales.changed(kept, until).await?;
    }
    Ok(kept)
}

async fn standing(sales: &Sales, kept: &Kept) -> Result<Result<Response, Problem>, No> {
    let doc = document(sales, kept).await?;
    let at = format!(
        "/x402/{}/{}/{}",
        kept.stored.tenant, kept.stored.offer, doc.purchase
    );
    Ok(match doc.state {
        Stage::Captured => {
            let transaction = doc.transaction.clone().unwrap_or_default();
            let settled = settled(kept, &transaction);
            with(Json(doc).into_response(), PAYMENT_RESPONSE, &settled)
        }
        // Nothing was done for it, or nothing that is charged.
        Stage::Free | Stage::Lost => Ok((StatusCode::BAD_GATEWAY, Json(doc)).into_response()),
        Stage::Waiting | Stage::Acting | Stage::Capturing | Stage::Refunding => {
            let headers = [
                (header::LOCATION, at),
                (header::RETRY_AFTER, "1".to_owned()),
            ];
            Ok((StatusCode::ACCEPTED, headers, Json(doc)).into_response())
        }
    })
}

async fn document(sales: &Sales, kept: &Kept) -> Result<Standing, No> {
    let command = sales.command(kept).await?;
    let transaction = sales.transaction(kept).await?;
    let state = match kept.purchase.charge.as_ref().map(|charge| charge.stage()) {
        // A reorganisation has taken it back, which its charge is yet to be told.
        Some(Stage::Captured) if transaction.is_none() => Stage::Capturing,
        Some(stage) => stage,
        None => Stage::Free,
    };
    Ok(Standing {
        purchase: hex::encode(kept.stored.purchase),
        state,
        charged: state == Stage::Captured,
        transaction: transaction.map(|tx| format!("{tx:#x}")),
        command: command.map(|command| Ordered {
            id: command.id,
            state: command.state,
            detail: command.detail,
            expires_us: command.expires_us,
        }),
    })
}

/// How it can be paid.
pub(super) fn accepts(
    wanted: &Wanted,
    does: &Does,
    now_s: u64,
) -> Vec<stencil_payments::x402::Requirements> {
    let priced = wanted.offer.priced(wanted.sales.chains());
    let bought = command::name_of(&wanted.tenant, &wanted.name, &wanted.bought);
    command::requirements(&priced, does, bought, now_s)
}

#[cfg(test)]
mod tests {
    use stencil_protocol::sample::OwnedValue;

    use super::*;

    fn does(argument: Argument) -> Does {
        Does {
            device: "locker".parse().unwrap(),
            name: "unlock".into(),
            argument,
            expires_in_s: 30,
            undo: None,
        }
    }

    #[test]
    fn an_argument_is_given_where_the_offer_leaves_it_open() {
        let wish = |argument: Argument, body: &str| {
            let wished = wished(&does(argument), body.as_bytes());
            wished.map(|bought| match bought {
                Bought::Command { argument, .. } => argument,
                other => panic!("{other:?}"),
            })
        };
        let seven = || Some(OwnedValue::Integer(7));
        assert_eq!(wish(Argument::None, "").unwrap(), None);
        assert_eq!(wish(Argument::None, "{}").unwrap(), None);
        assert_eq!(
            wish(Argument::Fixed(OwnedValue::Integer(7)), "").unwrap(),
            seven()
        );
        assert_eq!(wish(Argument::Given, r#"{"argument":7}"#).unwrap(), seven());
        assert_eq!(wish(Argument::Given, "").unwrap(), None);
        for (argument, body) in [
            (Argument::None, r#"{"argument":7}"#),
            (Argument::Fixed(OwnedValue::Integer(7)), r#"{"argument":8}"#),
            (Argument::Given, r#"{"argument":[7]}"#),
            (Argument::Given, r#"{"arg":7}"#),
            (Argument::Given, "seven"),
        ] {
            assert!(wish(argument, body).is_err(), "{body}");
        }
    }
}
