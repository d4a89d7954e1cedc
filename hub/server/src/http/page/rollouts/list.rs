//! `/rollouts`: all roll-outs, the newest first.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;

use super::super::super::api::rollouts::{Shown, listed};
use super::super::super::input::Query;
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::moment;
use super::super::shell::{Frame, Nav, shell};
use super::{bar, status, turn};

/// Roll-outs on one page.
const ROLLOUTS: u32 = 25;

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    after: Option<String>,
}

/// `GET /rollouts?after`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let page = listed(&state, &caller, which.after.as_deref(), ROLLOUTS).await?;
    let body = html! {
        div #rollouts.stack data-live="rollouts" data-every="10" {
            @if page.items.is_empty() && which.after.is_none() {
                section.card.empty {
                    h2 { "No firmware has been rolled out" }
                    p { "Push a signed image with " code { "stencil image push" } ", then begin with "
                        code { "stencil rollout create" } "." }
                }
            } @else {
                section.card {
                    div.scroll {
                        table {
                            caption.unseen { "Roll-outs, the newest first" }
                            thead { tr {
                                th scope="col" { "Roll-out" }
                                th scope="col" { "State" }
                                th scope="col" { "Devices" }
                                th scope="col" { "Progress" }
                                th scope="col" { "Since" }
                            } }
                            tbody { @for rollout in &page.items { (row(rollout)) } }
                        }
                    }
                }
                nav.pager aria-label="Pages of roll-outs" {
                    @if which.after.is_some() { a.button href="/rollouts" { "Newest" } }
                    @if let Some(next) = &page.next {
                        a.button rel="next" href={ "/rollouts?after=" (super::super::encoded(next)) } { "Older" }
                    }
                }
            }
        }
    };
    let frame = Frame::new(Nav::Rollouts, "Roll-outs");
    shell(&state, &caller, frame, body).await
}

fn row(shown: &Shown) -> Markup {
    let counts = &shown.counts;
    html! {
        tr {
            th scope="row" {
                a href={ "/rollouts/" (shown.id) } { (shown.plan.devices) }
                p.dim.small { "image " (&shown.plan.image.digest.to_string()[..12]) }
            }
            td { (status(shown)) p.small.dim { (turn(shown)) } }
            td { (counts.done) " of " (counts.eligible()) " done"
                @if counts.failures() > 0 { p.small { (counts.failures()) " failed" } } }
            td.shares { (bar(counts)) }
            td { (moment::element(shown.created_us)) }
        }
    }
}
