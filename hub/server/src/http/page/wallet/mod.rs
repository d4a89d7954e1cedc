//! `GET /wallet`: who has signed in with a wallet, what it holds and can sell, which rights it has, and what it
//! has paid. Nothing of any tenant stands here but what the account itself has to do with it.

pub(in crate::http) mod buying;
mod selling;
mod trading;

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::header;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_protocol::id::TenantId;
use stencil_store::{CredentialStanding, RightsOf, Role, StoredRight};

use super::checkout::POLICY;
use super::{assets, badge, encoded, invoices, moment, shell};
use crate::access;
use crate::http::State;
use crate::http::access::{WalletUser, shown};
use crate::http::api::access::on_its_chain;
use crate::http::api::wallet::{PaidView, paid};
use crate::http::input::Query;
use crate::http::problem::Problem;

/// Payments on one page.
const PAYMENTS: u32 = 50;
/// Rights on the page, the newest.
const RIGHTS: u32 = 50;

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
) -> Result<Response, Problem> {
    let wallets = &state.store.wallets;
    let roles = wallets.roles_of_wallet(&user.wallet, user.chain).await?;
    let page = paid(&state, &user, view.after.as_deref(), PAYMENTS).await?;
    let rights = state
        .store
        .access
        .rights(RightsOf::Holder(&user.wallet), None, RIGHTS);
    let rights = on_its_chain(&state, &user, rights.await?.items).await?;
    let now_us = state.clock.now_us();
    let held = selling::section(&state, &user).await?;
    let body = html! {
        h1 { "Your wallet" }
        p { code { (shown(&user.wallet)) } }
        (standing(&user, &roles))
        (held)
        h2 { "What you may tell devices" }
        @if rights.is_empty() {
            p.dim { "No rights yet." }
        } @else {
            p.dim { "A gateway checks a right by its credential and your wallet, also while this hub is away. \
                Fetch the credential before you go there: it holds for some hours, and can be had anew." }
            ul #rights.lines { @for one in &rights { (right(one, now_us)) } }
        }
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
    let styles = [&assets::CHECKOUT_STYLE, &assets::TRADING_STYLE];
    let scripts = [&assets::TRADING, &assets::WALLETS, &assets::SELLING];
    let page = shell::alone_with("Your wallet", &styles, &scripts, &body);
    // Wallets bring their icons.
    Ok(([(header::CONTENT_SECURITY_POLICY, POLICY)], page).into_response())
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

fn right(of: &StoredRight, now_us: i64) -> Markup {
    // What can't be read says nothing, and keeps nobody from the rest.
    let commands = access::read(of).map_or_else(|_| Vec::new(), |grant| grant.commands);
    let is_over = of.right.until_us.is_some_and(|until_us| until_us <= now_us);
    let (class, word) = match of.standing {
        _ if is_over => ("", "over"),
        CredentialStanding::Good => ("good", "good"),
        CredentialStanding::Suspended => ("warn", "suspended"),
        CredentialStanding::Revoked => ("bad", "taken away"),
    };
    let file = format!(
        "/api/v1/wallet/access/{}/{}/file",
        of.tenant,
        encoded(&of.right.right)
    );
    html! {
        li.side-by-side {
            div {
                div.what { span.title { (of.right.device) ": " (commands.join(", ")) } " " (badge(class, word)) }
                div.of.dim.small {
                    span { "of " (of.tenant) }
                    @match of.right.until_us {
                        Some(until_us) => { span { "until " (moment::element(until_us)) } }
                        None => { span { "for good" } }
                    }
                }
            }
            @if of.standing == CredentialStanding::Good && !is_over {
                a.button href=(file) download aria-label={ "Fetch the credential for " (of.right.device) } {
                    "Fetch the credential"
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
                @if let Some(price) = &paid.price { span { (invoices::price(price)) } " " }
                @if let Some(state) = &paid.state { (badge("info", state)) }
            }
        }
    }
}
