//! The ways to pay: a choice that needs no script, each with its link, its code and its addresses.

use maud::{Markup, html};

use super::{code, copied, money};
use crate::chains::checkout::{Checkout, Payable};

/// Those by which something can be paid now.
pub(super) fn all(view: &Checkout) -> Markup {
    let usable: Vec<_> = view.methods.iter().filter(|way| is_usable(way)).collect();
    let away: Vec<_> = view.methods.iter().filter(|way| is_away(way)).collect();
    html! {
        @if view.is_open {
            section aria-labelledby="how" {
                h2 #how { @if usable.len() > 1 { "Choose how to pay" } @else { "How to pay" } }
                @if usable.is_empty() && away.is_empty() {
                    p.alert.warn { "It can't be paid at the moment: " (why_not(view)) }
                }
                @for (at, way) in usable.iter().enumerate() { (one(way, at == 0)) }
                @for way in away { (not_now(way)) }
            }
        }
    }
}

/// Why nothing can be paid with, where something is due and its chains are there.
fn why_not(view: &Checkout) -> &'static str {
    // What is signed has to be brought to the chain by somebody, who may have no room for that now.
    if view.methods.iter().any(|way| way.typed_data.is_some()) {
        "what you would sign can't be brought to the chain now. Try again later, or ask who has made it for \
         another way to pay."
    } else {
        "the chain does not answer. Try again in a minute."
    }
}

/// Whether what is paid by it would not be seen now.
fn is_away(way: &Payable) -> bool {
    way.unusable.is_some()
}

/// One that can't be used now: neither where to pay nor with what.
fn not_now(way: &Payable) -> Markup {
    html! {
        div.option.away {
            p { strong { (money::open(way)) } " on " (way.method.chain) }
            p.small {
                "It can't be used now"
                @if let Some(why) = &way.unusable { ": " (why) }
                ". Do not pay there."
            }
        }
    }
}

/// Whether there is something to pay by it, and somebody to bring it to the chain.
fn is_usable(way: &Payable) -> bool {
    !way.transactions.is_empty() || (way.typed_data.is_some() && way.hub_pays_gas)
}

fn one(way: &Payable, is_first: bool) -> Markup {
    let method = &way.method;
    let by_signature = method.way == "authorization";
    html! {
        details.option name="way" data-method=(method.name) open[is_first] {
            summary {
                span { strong { (money::open(way)) } " on " (method.chain) }
                span.dim.small { (kind(way)) }
            }
            div.body {
                p { (explained(way)) }
                @if let Some(link) = &way.link {
                    @let says = format!("Code that pays {} on {}", money::open(way), method.chain);
                    div.by-app {
                        @if let Some(code) = code::drawn(link, &says) { (code) }
                        div {
                            p.small.dim { "Scan it with the wallet on your phone, or" }
                            p { a.button href=(link) { "Open in a wallet app" } }
                        }
                    }
                }
                div.wallet data-wallet=(method.name) {
                    @if by_signature {
                        p.dim { "This way needs a wallet in this browser, and JavaScript." }
                    }
                }
                (facts(way))
            }
        }
    }
}

/// In a word or two.
fn kind(way: &Payable) -> &'static str {
    match way.method.way.as_str() {
        "authorization" => "by a signature, without a fee",
        "contract" => "through the payment contract",
        _ => "by a transfer",
    }
}

fn explained(way: &Payable) -> Markup {
    let amount = money::open(way);
    let approved = way.transactions.len() > 1;
    html! {
        @match way.method.way.as_str() {
            "authorization" => {
                "You sign that " strong { (amount) } " may go to the address below, once. "
                "Nothing else is allowed by it, and the chain's fee is paid for you."
            }
            "contract" if approved => {
                "Two steps: you let the payment contract take " strong { (amount) }
                ", and then it does. An app that reads the link takes the second step only."
            }
            "contract" => {
                "You send " strong { (amount) } " to the payment contract, which notes the invoice."
            }
            _ => {
                "Send exactly " strong { (amount) } ", to the last digit: the amount says what it is for."
            }
        }
    }
}

fn facts(way: &Payable) -> Markup {
    let method = &way.method;
    html! {
        dl.facts {
            div { dt { "Amount" } dd { (copied("the amount", &method.open.amount)) " " (method.token.symbol) } }
            @if let Some(contract) = &method.contract {
                div { dt { "Contract" } dd { (copied("the address of the contract", contract)) } }
            }
            @if let Some(payee) = &method.payee {
                div { dt { "Goes to" } dd { (copied("the address that is paid", payee)) } }
            }
            div { dt { "Chain" } dd { (method.chain) span.dim { ", chain id " (method.chain_id) } } }
            @if let Some(token) = &method.token.contract {
                div { dt { (method.token.symbol) } dd { (copied("the address of the token", token)) } }
            }
        }
    }
}
