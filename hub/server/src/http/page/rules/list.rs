//! `/workflows`: every workflow with its rule, and what it led to lately.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_store::{Alarm, AlarmFilter, MAX_PAGE, RunFilter, Workflow};
use stencil_workflow::definition;

use super::super::super::input::Query;
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::shell::{Frame, Nav, shell};
use super::super::{alarms, badge, encoded, moment};
use super::panels::may_write;
use super::{in_force, templates};

/// Workflows on one page.
const WORKFLOWS: u32 = 50;
const DAY_US: i64 = 86_400_000_000;

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    after: Option<String>,
}

/// A workflow, and what it led to.
struct Row {
    workflow: Workflow,
    /// Its alarms that are active, as far as they were read.
    active: Vec<Alarm>,
    /// Its runs of the last 24 hours.
    runs: u64,
    /// When its rule last fired (event time), as far as that is still stored.
    fired_us: Option<i64>,
}

/// `GET /workflows?after`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let after = which.after.as_deref();
    let workflows = &state.store.workflows;
    let page = workflows.list(&caller.tenant, after, WORKFLOWS).await?;
    let rows = rows(&state, &caller, page.items).await?;
    let write = may_write(&caller);
    let body = html! {
        @if rows.is_empty() {
            section.card.empty {
                h2 { "No rule has been written yet" }
                p { "A rule watches what devices measure. When it is true it raises an alarm, starts a workflow, or both." }
                @if write { (kinds()) }
            }
        } @else {
            section #rules.card data-live="runs alarms" data-every="30" aria-label="Rules" {
                (table(&rows))
                nav.pager aria-label="Pages of the rules" {
                    span.dim { "By id" }
                    @if which.after.is_some() { a.button href="/workflows" { "First page" } }
                    @if let Some(next) = &page.next {
                        a.button rel="next" href={ "/workflows?after=" (encoded(next)) } { "Next page" }
                    }
                }
            }
            @if write {
                section.card aria-labelledby="kinds-title" {
                    header { h2 #kinds-title { "Begin a new rule with" } }
                    (kinds())
                }
            }
        }
    };
    let frame = Frame::new(Nav::Rules, "Rules").style(&super::super::assets::RULES_STYLE);
    let frame = if write {
        frame.actions(html! { a.button.primary href="/workflows/new" { "New rule" } })
    } else {
        frame
    };
    shell(&state, &caller, frame, body).await
}

async fn rows(
    state: &State,
    caller: &Caller,
    workflows: Vec<Workflow>,
) -> Result<Vec<Row>, Problem> {
    let (tenant, store) = (&caller.tenant, &state.store);
    let since_us = state.clock.now_us().saturating_sub(DAY_US);
    let active = AlarmFilter {
        active: Some(true),
        ..AlarmFilter::default()
    };
    let mut active = store
        .alarms
        .list(tenant, &active, None, MAX_PAGE)
        .await?
        .items;
    let mut rows = Vec::with_capacity(workflows.len());
    for workflow in workflows {
        let of_it = AlarmFilter {
            workflow: Some(workflow.id.clone()),
            ..AlarmFilter::default()
        };
        let raised = store.alarms.list(tenant, &of_it, None, 1).await?.items;
        let newest = RunFilter {
            workflow: Some(workflow.id.clone()),
            ..RunFilter::default()
        };
        let ran = store.runs.list(tenant, &newest, None, 1).await?.items;
        let times = [
            raised.first().map(|alarm| alarm.raised_us),
            ran.first().map(|run| run.at_us),
        ];
        let own = active.extract_if(.., |alarm| alarm.workflow == workflow.id);
        rows.push(Row {
            active: own.collect(),
            runs: store
                .runs
                .count_since(tenant, &workflow.id, since_us)
                .await?,
            fired_us: times.into_iter().flatten().max(),
            workflow,
        });
    }
    Ok(rows)
}

fn table(rows: &[Row]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Rules" {
            table.cards {
                thead { tr {
                    th scope="col" { "Rule" }
                    th scope="col" { "State" }
                    th scope="col" { "Active alarms" }
                    th.num scope="col" { "Runs, 24 h" }
                    th scope="col" { "Last fired" }
                } }
                tbody { @for row in rows { (one(row)) } }
            }
        }
    }
}

fn one(row: &Row) -> Markup {
    let workflow = &row.workflow;
    let parsed = definition::parse(&workflow.yaml);
    let id = encoded(&workflow.id);
    html! {
        tr {
            th scope="row" {
                a href={ "/workflows/" (id) } {
                    @match parsed.as_ref().ok().and_then(|definition| definition.title.as_deref()) {
                        Some(title) => { (title) }
                        None => { (workflow.id) }
                    }
                }
                @if let Ok(definition) = &parsed {
                    p.dim.small {
                        @if definition.title.is_some() { code { (workflow.id) } " · " }
                        (definition.source)
                    }
                }
            }
            td {
                (in_force(workflow))
                @if let Err(error) = &parsed {
                    " " (badge("bad", "not understood")) p.bad.small { (error) }
                }
            }
            td data-label="Active alarms" {
                @match row.active.iter().map(|alarm| alarm.severity).max() {
                    Some(worst) => {
                        a href={ "/alarms?state=active&workflow=" (id) } { (row.active.len()) " active" }
                        " " (alarms::severity(worst))
                    }
                    None => { span.dim { "none" } }
                }
            }
            td.num data-label="Runs, 24 h" {
                @if row.runs > 0 { a href={ "/runs?workflow=" (id) } { (row.runs) } }
                @else { span.dim { "0" } }
            }
            td data-label="Last fired" {
                @match row.fired_us {
                    Some(at_us) => { (moment::element(at_us)) }
                    None => { span.dim { "never" } }
                }
            }
        }
    }
}

/// Ways to begin.
fn kinds() -> Markup {
    html! {
        ul.kinds {
            @for template in &templates::ALL {
                li {
                    a href={ "/workflows/new?template=" (template.name) } {
                        b { (template.title) } span.dim { (template.about) }
                    }
                }
            }
        }
    }
}
