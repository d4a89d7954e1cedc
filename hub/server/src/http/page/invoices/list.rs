//! `/invoices`: the newest first, all or those in one state.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;

use super::super::super::input::Query;
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::shell::{Frame, Nav, shell};
use super::super::{encoded, moment};
use super::{price, state};
use crate::chains::view::InvoiceView;

/// Invoices on one page.
const INVOICES: u32 = 50;

const STATES: [&str; 6] = [
    "new",
    "seen",
    "confirming",
    "settled",
    "expired",
    "cancelled",
];

/// Which invoices. A state that is empty is none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    state: Option<String>,
    after: Option<String>,
}

impl Which {
    fn state(&self) -> Result<Option<&'static str>, Problem> {
        let Some(name) = self.state.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let found = STATES.into_iter().find(|state| *state == name);
        found.map(Some).ok_or_else(|| {
            let name: String = name.chars().take(32).collect();
            Problem::invalid(format!(
                "`state` is `{name}`, it has to be one of {}",
                STATES.join(", ")
            ))
        })
    }
}

fn address(state: Option<&str>, after: Option<&str>) -> String {
    let state = state.map(|state| format!("state={state}"));
    let after = after.map(|after| format!("after={}", encoded(after)));
    let parts: Vec<String> = [state, after].into_iter().flatten().collect();
    format!("/invoices?{}", parts.join("&"))
}

/// `GET /invoices?state&after`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let word = which.state()?;
    let cashier = state.control.cashier();
    let page = cashier
        .invoices(&caller.tenant, word, which.after.as_deref(), INVOICES)
        .await?;
    let views: Vec<_> = page
        .items
        .iter()
        .map(|at| InvoiceView::of(at, cashier.chains(), &state.public_url))
        .collect();
    let body = html! {
        div.row {
            nav.segments aria-label="State" {
                a href="/invoices" aria-current=[word.is_none().then_some("true")] { "All" }
                @for one in STATES {
                    a href=(address(Some(one), None)) aria-current=[(word == Some(one)).then_some("true")] { (one) }
                }
            }
        }
        section.card aria-label="Invoices" {
            @if views.is_empty() {
                div.empty {
                    h2 { "No invoice" @if word.is_some() { " in this state" } }
                    p { "Programs make them by " code { "POST /api/v1/invoices" } ", people by "
                        code { "stencil invoices create" } "." }
                }
            } @else { (table(&views)) }
            nav.pager aria-label="Pages of the invoices" {
                span.dim { "The newest first" }
                @if which.after.is_some() { a.button href=(address(word, None)) { "Newest" } }
                @if let Some(next) = &page.next {
                    a.button rel="next" href=(address(word, Some(next))) { "Older" }
                }
            }
        }
    };
    let frame = Frame::new(Nav::Invoices, "Invoices");
    shell(&state, &caller, frame, body).await
}

fn table(views: &[InvoiceView]) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr {
                    th scope="col" { "Made" } th scope="col" { "Price" } th scope="col" { "State" }
                    th scope="col" { "Reference" } th scope="col" { "Title" } th scope="col" { "Invoice" }
                } }
                tbody {
                    @for view in views {
                        tr {
                            td { (moment::element(view.created_us)) }
                            td { (price(&view.price)) }
                            td { (state(view)) }
                            td { (view.reference.as_deref().unwrap_or("–")) }
                            td { (view.title.as_deref().unwrap_or("–")) }
                            td { a href={ "/invoices/" (view.id) } { code { (view.id) } } }
                        }
                    }
                }
            }
        }
    }
}
