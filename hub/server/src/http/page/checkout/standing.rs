//! Where an invoice stands, in words for who pays it.

use maud::{Markup, html};

use super::super::badge;
use super::{copied, money};
use crate::chains::checkout::{Checkout, RefundSeen, Seen};
use crate::chains::view::PaymentView;

/// The state, and what has to be said beside it.
pub(super) fn words(view: &Checkout, tenant: &str) -> Markup {
    let facets = &view.facets;
    let decides = html! { (tenant) " decides what becomes of it." };
    let (kind, head, text) = state(view, tenant);
    html! {
        div class={ "alert " (kind) } {
            p { strong { (head) } }
            @if let Some(text) = text { p { (text) } }
        }
        @for lost in &view.lost { (gone(view, lost)) }
        @if facets.late {
            p.alert.warn {
                "A payment came after the time was over. "
                @if facets.undecided { (decides) }
                @else if facets.refund_due { "It goes back." }
            }
        }
        @if facets.overpaid {
            p.alert.info {
                "More has come than was due. "
                @if facets.undecided { (decides) }
                @else if facets.refund_due { "What is too much goes back." }
            }
        }
        @if facets.rate_needed {
            p.alert.info { "What came late counts by another rate, which is not known yet. Nothing has to be done." }
        }
    }
}

type Said = (&'static str, &'static str, Option<Markup>);

fn state(view: &Checkout, tenant: &str) -> Said {
    let facets = &view.facets;
    let has_paid = !view.payments.is_empty();
    match view.state.as_str() {
        "new" | "seen" if view.is_open && !view.payable => (
            "warn",
            "It can't be paid at the moment.",
            Some(html! {
                "Do not pay now. What was sent already is not lost: it counts, and shows here, as soon as the hub "
                "sees its chain again."
            }),
        ),
        "new" if view.payable => ("info", "Waiting for your payment.", None),
        "new" => (
            "warn",
            "The time to pay is over.",
            Some(html! { "Do not pay any more. A payment that was made in time and is on its way still counts, and shows here." }),
        ),
        "seen" if view.payable => (
            "warn",
            "A part has arrived.",
            Some(html! { "What is still missing can be paid below." }),
        ),
        "seen" => (
            "warn",
            "A part has arrived, and the time to pay is over.",
            Some(html! { "Do not pay any more. A payment that is on its way and was made in time still counts." }),
        ),
        "confirming" => (
            "info",
            "Your payment has arrived.",
            Some(html! { "It counts as soon as it is deep enough in the chain. Nothing is left to do." }),
        ),
        "settled" if facets.refunded => (
            "good",
            "Paid, and given back.",
            Some(html! { "What went back is listed below." }),
        ),
        "settled" => ("good", "Paid. Thank you!", None),
        "cancelled" => (
            "bad",
            "This invoice was called off. Do not pay it.",
            has_paid.then(|| html! { "What was paid goes back." }),
        ),
        _ => (
            "bad",
            "The time to pay is over. Do not pay any more.",
            has_paid.then(|| html! {
                @if facets.undecided { "Less has come than was due. " (tenant) " decides what becomes of it." }
                @else if facets.refund_due || facets.refunded { "What has come goes back." }
                @else { "What has come is listed below." }
            }),
        ),
    }
}

/// A payment that a reorganisation has taken out of the chain.
fn gone(view: &Checkout, lost: &PaymentView) -> Markup {
    html! {
        div.alert.warn {
            p {
                strong { "The payment of " (money::of_method(view, &lost.method, &lost.amount)) " is no longer in the chain; nothing is lost." }
            }
            p {
                "The chain has put other blocks in the place of the one that it was in. Mostly it is taken up "
                "again within minutes, and shows here by itself. If not, the money still is in the wallet that "
                "sent it: look there before you pay again."
            }
            p.small { "Transaction " (copied("the transaction", &lost.tx)) }
        }
    }
}

/// Arrived, confirmed, settled.
pub(super) fn progress(view: &Checkout) -> Markup {
    let at = match view.state.as_str() {
        "new" | "seen" if view.is_open => 0,
        "confirming" => 1,
        "settled" => 3,
        _ => return html! {},
    };
    let steps = ["Arrives", "Is confirmed", "Is settled"];
    // The one that the invoice waits for.
    let slowest = view.payments.iter().filter(|seen| !seen.payment.counted);
    let slowest = slowest.min_by_key(|seen| seen.confirmations);
    html! {
        ol.steps aria-label="Progress" {
            @for (number, step) in steps.into_iter().enumerate() {
                li.done[number < at] aria-current=[(number == at).then_some("step")] {
                    (step)
                    @if number < at { span.unseen { ", done" } }
                    @if let (1, 1, Some(seen)) = (at, number, slowest) {
                        span.small { " " (depth(view, seen)) }
                    }
                }
            }
        }
    }
}

/// `2 of 3`; without the second figure where the chain decides when it is final.
fn depth(view: &Checkout, seen: &Seen) -> String {
    let mut all = view.methods.iter();
    let way = all.find(|way| way.method.name == seen.payment.method);
    match way.and_then(|way| way.method.confirmations) {
        Some(wanted) => {
            let wanted = u64::from(wanted.max(1));
            format!("{} of {wanted}", seen.confirmations.min(wanted))
        }
        None => format!("{}, until it is final", seen.confirmations),
    }
}

/// What the chains have.
pub(super) fn payments(view: &Checkout) -> Markup {
    html! {
        @if !view.payments.is_empty() {
            section aria-labelledby="came" {
                h2 #came { "What has come" }
                ul.records {
                    @for seen in &view.payments {
                        @let payment = &seen.payment;
                        li {
                            p {
                                strong { (money::of_method(view, &payment.method, &payment.amount)) } " "
                                @if payment.counted { (badge("good", "confirmed")) }
                                @else { (badge("info", &format!("confirmation {}", depth(view, seen)))) }
                            }
                            p.small { "From " (copied("the address that paid", &payment.from)) }
                            p.small { "Transaction " (copied("the transaction", &payment.tx)) }
                        }
                    }
                }
            }
        }
    }
}

/// What goes back.
pub(super) fn refunds(view: &Checkout, tenant: &str) -> Markup {
    html! {
        @if !view.refunds.is_empty() {
            section aria-labelledby="back" {
                h2 #back { "What goes back" }
                ul.records {
                    @for refund in &view.refunds { li { (one(view, refund, tenant)) } }
                }
            }
        }
    }
}

fn one(view: &Checkout, refund: &RefundSeen, tenant: &str) -> Markup {
    let amount = money::of_method(view, &refund.method, &refund.amount);
    let (kind, word) = match refund.status.as_str() {
        "due" => ("warn", "due"),
        "sent" => ("info", "on its way"),
        "confirmed" => ("good", "sent back"),
        _ => ("", "not due any more"),
    };
    html! {
        p { strong { (amount) } " " (badge(kind, word)) }
        @if let Some(to) = &refund.to { p.small { "To " (copied("the address that it goes to", to)) } }
        @if let Some(tx) = &refund.tx { p.small { "Transaction " (copied("the transaction", tx)) } }
        @if let Some(statement) = &refund.confirm { (asked(view, refund, statement, tenant)) }
    }
}

/// Where it goes is said by who paid, with the key that paid.
fn asked(view: &Checkout, refund: &RefundSeen, statement: &str, tenant: &str) -> Markup {
    let first = view.payments.first();
    let from = first.map_or("", |seen| seen.payment.from.as_str());
    let field = format!("to-{}", refund.id.get(..8).unwrap_or_default());
    html! {
        p {
            "Say where it goes, and sign that with the account that paid. It goes nowhere before that: the "
            "address that paid may belong to an exchange, where it would be lost."
        }
        noscript { p { "That needs JavaScript and a wallet; or tell " (tenant) " the address." } }
        form.refund data-refund=(refund.id) data-statement=(statement) hidden {
            div.field {
                label for=(field) { "Address that it goes to" }
                input id=(field) name="address" value=(from) required maxlength="42" autocomplete="off"
                    spellcheck="false" autocapitalize="off" pattern="0x[0-9a-fA-F]{40}";
            }
            div.wallet data-signs=(refund.id) {}
            p.problem.alert role="alert" hidden {}
        }
    }
}
