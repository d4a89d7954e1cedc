//! Invoices: the list, and one with its payments, refunds and what can be decided. What people do
//! about one goes through the API.

mod list;
mod one;

pub(in crate::http) use list::show as list;
pub(in crate::http) use one::show as one;

use maud::{Markup, html};

use super::badge;
use crate::chains::view::{InvoiceView, PriceView};

/// Where an invoice stands, as badges.
fn state(view: &InvoiceView) -> Markup {
    let class = match view.state.as_str() {
        "settled" => "good",
        "confirming" | "seen" => "info",
        "expired" => "warn",
        _ => "",
    };
    let facets = &view.facets;
    let more = [
        (facets.undecided, "warn", "somebody has to decide"),
        (facets.rate_needed, "warn", "a rate is missing"),
        (facets.underpaid, "warn", "underpaid"),
        (facets.overpaid, "info", "overpaid"),
        (facets.late, "warn", "late"),
        (facets.refund_due, "warn", "refund due"),
        (facets.refund_stuck, "bad", "a refund can't be sent"),
        (facets.refunded, "", "refunded"),
        (facets.over_refunded, "bad", "more went back than came"),
    ];
    html! {
        (badge(class, &view.state))
        @for (_, class, text) in more.into_iter().filter(|(holds, ..)| *holds) {
            " " (badge(class, text))
        }
    }
}

/// A price as people read it.
pub(super) fn price(price: &PriceView) -> String {
    let unit = match (&price.currency, &price.token) {
        (Some(currency), _) => currency.as_str(),
        (None, Some(token)) => token.symbol.as_str(),
        (None, None) => "",
    };
    format!("{} {unit}", price.amount.amount)
}
