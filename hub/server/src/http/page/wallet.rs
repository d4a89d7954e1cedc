//! `GET /wallet`: who has signed in with a wallet, and what it has paid. Nothing of any tenant stands here
//! but what the account itself has to do with it.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_protocol::id::TenantId;
use stencil_store::Role;

use super::super::State;
use super::super::access::{WalletUser, shown};
use super::super::api::wallet::{PaidView, paid};
use super::super::input::Query;
use super::super::problem::Problem;
use super::{badge, encoded, moment, shell};

/// Payments on one page.
const PAYMENTS: u32 = 50;

/// Which part of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct View {
    after: Option<String>,
}

/// `GET /wallet?after`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    user: WalletUser,
    Query(view): Query<View>,
) -> Result<Html<String>, Problem> {
    let wallets = &state.store.wallets;
    let roles = wallets.roles_of_wallet(&user.wallet, user.chain).await?;
    let page = paid(&state, &user, view.after.as_deref(), PAYMENTS).await?;
    let body = html! {
        h1 { "Your wallet" }
        p { code { (shown(&user.wallet)) } }
        (standing(&user, &roles))
        h2 { "What you have paid" }
        @if page.items.is_empty() {
            p.dim { "Nothing here yet." }
        } @else {
            ul #paid.lines { @for one in &page.items { (line(one)) } }
        }
        @if view.after.is_some() || page.next.is_some() {
            nav.pager aria-label="Pages of the payments" {
                @if view.after.is_some() { a.button href="/wallet" { "Newest" } }
                @if let Some(next) = &page.next {
                    a.button rel="next" href={ "/wallet?after=" (encoded(next)) } { "Older" }
                }
            }
        }
        form method="post" action="/logout" { button { "Sign out" } }
    };
    Ok(shell::alone("Your wallet", &body))
}

fn standing(user: &WalletUser, roles: &[(TenantId, Role)]) -> Markup {
    html! {
        @match &user.within {
            Some((tenant, role)) => {
                p { "Signed in to " a href="/" { (tenant) } " as " (role.as_str()) "." }
            }
            None if roles.is_empty() => {
                p.dim { "This account has no role in any tenant. An admin of a tenant can give it one." }
            }
            None => {
                p { "Signed in to no tenant. You were given a role in these, if you want it: "
                    a href="/login" { "sign in again" } " and name one." }
            }
        }
        @if !roles.is_empty() {
            ul #roles.lines {
                @for (tenant, role) in roles {
                    li.side-by-side { strong { (tenant) } (badge("info", role.as_str())) }
                }
            }
        }
    }
}

fn line(paid: &PaidView) -> Markup {
    let what = match (&paid.title, &paid.offer) {
        (Some(title), _) => title.clone(),
        (None, Some(offer)) => format!("Purchase of {offer}"),
        (None, None) => format!("Invoice {}", paid.invoice),
    };
    html! {
        li.side-by-side {
            div {
                div.what {
                    @match &paid.checkout_url {
                        Some(url) => { a.title href=(url) { (what) } }
                        None => { span.title { (what) } }
                    }
                }
                div.of.dim.small {
                    span { "to " (paid.tenant) }
                    span { (moment::element(paid.created_us)) }
                }
            }
            div {
                @if let Some(price) = &paid.price { span { (super::invoices::price(price)) } " " }
                @if let Some(state) = &paid.state { (badge("info", state)) }
            }
        }
    }
}
