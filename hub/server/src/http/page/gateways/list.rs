//! `/gateways`: all gateways, by id.

use std::collections::BTreeMap;

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_protocol::id::GatewayId;
use stencil_store::Gateway;

use super::super::super::input::Query;
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::shell::{Frame, Nav, shell};
use super::super::{encoded, linked, moment, seal_marks, value};
use super::{certificate_end, connection, standing};

/// Gateways on one page.
const GATEWAYS: u32 = 100;

/// Which gateways.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    group: Option<String>,
    after: Option<String>,
}

/// `GET /gateways?group&after`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let group = which.group.as_deref().filter(|group| !group.is_empty());
    let group = group
        .map(GatewayId::parse)
        .transpose()
        .map_err(|error| Problem::invalid(format!("`group`: {error}")))?;
    let (gateways, tenant) = (&state.store.gateways, &caller.tenant);
    let after = which.after.as_deref();
    let page = gateways
        .gateways(tenant, group.as_ref(), after, GATEWAYS)
        .await?;
    let now_us = state.clock.now_us();
    let marked: BTreeMap<GatewayId, u64> = {
        let marked = state.store.proofs.marked_gateways(tenant).await?;
        marked.into_iter().collect()
    };
    let of = |it: &Gateway| Shown {
        connected: state.control.is_connected(tenant, &it.gateway),
        marked: marked.get(&it.gateway).copied().unwrap_or_default(),
    };
    let narrowed = group
        .as_ref()
        .map_or_else(String::new, |group| format!("group={group}&"));
    let body = html! {
        div #gateways.stack data-live="fleet" data-every="10" {
            @if page.items.is_empty() && after.is_none() {
                section.card.empty {
                    h2 { "No gateway has connected" }
                    p { "Make one with " code { "stencil hub add-gateway" } ", and start it with "
                        code { "stencil gateway" } "." }
                }
            } @else {
                section.card {
                    @if let Some(group) = &group {
                        header { h2 { "Group " (group) } a.more href="/gateways" { "All gateways" } }
                    }
                    div.scroll {
                        table.cards {
                            caption.unseen { "Gateways, by id" }
                            thead { tr {
                                th scope="col" { "Gateway" }
                                th scope="col" { "Link" }
                                th scope="col" { "Desired state" }
                                th scope="col" { "Version" }
                                th scope="col" { "Certificate ends" }
                                th.num scope="col" { "Devices linked" }
                                th.num scope="col" { "Waits to be sent" }
                                th.num scope="col" { "Heard" }
                            } }
                            tbody { @for it in &page.items {
                                (row(it, &of(it), now_us))
                            } }
                        }
                    }
                }
                @if after.is_some() || page.next.is_some() {
                    nav.pager aria-label="Pages of gateways" {
                        @if after.is_some() { a.button href={ "/gateways?" (narrowed) } { "First page" } }
                        @if let Some(next) = &page.next {
                            a.button rel="next" href={ "/gateways?" (narrowed) "after=" (encoded(next)) } { "Next page" }
                        }
                    }
                }
            }
        }
    };
    let frame = Frame::new(Nav::Gateways, "Gateways");
    shell(&state, &caller, frame, body).await
}

/// What is shown of a gateway that it does not say itself.
struct Shown {
    connected: bool,
    /// How many of its seals are marked.
    marked: u64,
}

fn row(it: &Gateway, of: &Shown, now_us: i64) -> Markup {
    let connected = of.connected;
    let number = |number: Option<u64>| {
        html! {
            @match number { Some(number) => { (value::count(number)) } None => { span.dim { "–" } } }
        }
    };
    html! {
        tr {
            th scope="row" {
                a href={ "/gateways/" (it.gateway) } { (it.gateway) }
                @for group in &it.groups {
                    " " a.small href={ "/gateways?group=" (group) } { (group) }
                }
                " " (seal_marks::word(of.marked))
            }
            td data-label="Link" {
                (connection(connected, it))
                @if let (true, Some(link)) = (connected, &it.link) { " " (linked::of(link)) }
            }
            td data-label="Desired state" {
                (standing(it))
                @if it.desired_revision > 0 { p.small.dim { "revision " (it.desired_revision) } }
            }
            td data-label="Version" {
                @match &it.version { Some(version) => { (version) } None => { span.dim { "unknown" } } }
            }
            td data-label="Certificate ends" {
                @match it.certificate_end_us {
                    Some(end_us) => { (certificate_end(end_us, now_us)) }
                    None => { span.dim { "unknown" } }
                }
            }
            td.num data-label="Devices linked" { (number(it.links)) }
            td.num data-label="Waits to be sent" {
                @match it.waiting_bytes {
                    Some(bytes) => { (value::count(bytes)) " B" }
                    None => { span.dim { "–" } }
                }
            }
            td.num.nowrap data-label="Heard" {
                @match it.said_us {
                    Some(at_us) => { (moment::ago(at_us, now_us)) }
                    None => { span.dim { "never" } }
                }
            }
        }
    }
}
