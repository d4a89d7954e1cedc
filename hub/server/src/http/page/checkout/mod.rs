//! What somebody pays, as a page of its own: `GET /pay/{invoice}`.
//!
//! It says all without the script: what is due, to whom, the links and codes that wallet apps read,
//! and where the invoice stands. The script follows the invoice by its JSON, asks for this page anew
//! when something has changed, and puts the parts that are others (`data-part`) in their places; so the
//! words are written down here alone. What is a wallet's the script adds.

mod code;
mod money;
mod standing;
mod ways;

use axum::extract::State as Shared;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, header};
use maud::{DOCTYPE, Markup, html};

use super::super::State;
use super::super::checkout;
use super::super::input::Path;
use super::super::problem::Problem;
use super::{assets, moment, shell};
use crate::chains::checkout::Checkout;

/// As every page's, and pictures in `data:`: the icons of wallets, which wallets bring themselves.
pub(in crate::http::page) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// `GET /pay/{invoice}`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    Path(invoice): Path<String>,
) -> Result<Response, Problem> {
    let at = checkout::find(&state, &invoice).await?;
    let view = checkout::view(&state, &at).await?;
    let tenant = at.kept.invoice.definition().tenant.to_string();
    let page = Html(page(&view, &tenant).into_string());
    Ok(([(header::CONTENT_SECURITY_POLICY, POLICY)], page).into_response())
}

fn page(view: &Checkout, tenant: &str) -> Markup {
    let paid_for = view.title.as_deref().unwrap_or("Payment");
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (shell::head(&format!("{paid_for} · {tenant}")))
                // Whoever has the address can see the invoice: it is no page for an index.
                meta name="robots" content="noindex";
                link rel="stylesheet" href=(assets::CHECKOUT_STYLE.url());
                script src=(assets::CHECKOUT.url()) defer data-now=(view.now_us) {}
                script src=(assets::WALLETS.url()) defer {}
                script src=(assets::PAYING.url()) defer {}
            }
            body.pay {
                main #main data-version=(view.version) {
                    header.due {
                        p { "Pay " strong { (tenant) } }
                        h1 { (paid_for) }
                        p.price { (money::price(&view.price)) }
                        @if let Some(text) = &view.description { p.about { (text) } }
                    }
                    div #standing role="status" data-part { (standing::words(view, tenant)) }
                    div #left data-part { @if view.payable { (until(view.expires_us)) } }
                    noscript {
                        p.small.dim { "Reload this page to see what is new: without JavaScript it does not follow the payment." }
                    }
                    div #progress data-part { (standing::progress(view)) }
                    // What the script says of wallets.
                    p #doing .alert role="status" hidden {}
                    div #ways data-part { (ways::all(view)) }
                    div #payments data-part { (standing::payments(view)) }
                    div #refunds data-part { (standing::refunds(view, tenant)) }
                    div #after data-part { (after(view)) }
                    footer.small.dim {
                        p #link role="status" hidden {}
                        p { "Invoice " code { (view.id) } }
                    }
                }
            }
        }
    }
}

/// What proves the payment, and where to go on to.
fn after(view: &Checkout) -> Markup {
    let is_settled = view.state == "settled";
    html! {
        @if is_settled {
            p { a href={ "/pay/" (view.id) "/receipt" } { "Receipt" } span.dim { ", for programs to check" } }
        }
        @if let Some(url) = &view.return_url {
            p { a.button href=(url) rel="noreferrer" { @if is_settled { "Go on" } @else { "Back to where you came from" } } }
        }
    }
}

/// An address or a hash, whole, and a button that copies it.
fn copied(what: &str, text: &str) -> Markup {
    html! {
        code { (text) } " "
        button.copy type="button" data-copy=(text) aria-label={ "Copy " (what) } hidden { "Copy" }
    }
}

/// Until when it can be paid; the script says how long that is, and nobody is read out each second.
fn until(time_us: i64) -> Markup {
    html! {
        p.until {
            "It can be paid until " (moment::element(time_us)) "."
            span role="timer" data-until=(time_us) hidden {}
        }
    }
}

#[cfg(test)]
mod tests;
