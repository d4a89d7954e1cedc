//! `/runs`: all runs, by workflow and state, the newest first.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_store::{Progress, Run, RunFilter};

use super::super::super::input::Query;
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::shell::{Frame, Nav, shell};
use super::super::{encoded, moment};
use super::{STATES, of_event, progress};

/// Runs on one page.
const RUNS: u32 = 50;
/// Workflows that can be chosen from.
const WORKFLOWS: u32 = 500;

/// Which runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    workflow: Option<String>,
    state: Option<String>,
    after: Option<String>,
}

impl Which {
    /// The same filter with another state.
    fn with_state(&self, state: Option<Progress>) -> String {
        let state = state.map(|state| format!("state={}", state.as_str()));
        address(self.workflow.as_deref(), state.as_deref(), None)
    }

    /// The same filter from a cursor on.
    fn from(&self, after: Option<&str>) -> String {
        let state = self.state.as_deref().filter(|state| !state.is_empty());
        let state = state.map(|state| format!("state={}", encoded(state)));
        address(self.workflow.as_deref(), state.as_deref(), after)
    }
}

fn address(workflow: Option<&str>, state: Option<&str>, after: Option<&str>) -> String {
    let workflow = workflow.filter(|workflow| !workflow.is_empty());
    let parts = [
        workflow.map(|workflow| format!("workflow={}", encoded(workflow))),
        state.map(str::to_owned),
        after.map(|after| format!("after={}", encoded(after))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        "/runs".to_owned()
    } else {
        format!("/runs?{}", parts.join("&"))
    }
}

/// `GET /runs?workflow&state&after`; an empty filter is none.
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let asked = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let progress = asked(&which.state).map(|name| {
        Progress::parse(&name)
            .ok_or_else(|| Problem::invalid(format!("`state` is `{name}`, which no run is in")))
    });
    let filter = RunFilter {
        workflow: asked(&which.workflow),
        state: progress.transpose()?,
        ..RunFilter::default()
    };
    let store = &state.store;
    let after = which.after.as_deref();
    let page = store
        .runs
        .list(&caller.tenant, &filter, after, RUNS)
        .await?;
    let counts = store.runs.counts(&caller.tenant).await?;
    let workflows = store
        .workflows
        .list(&caller.tenant, None, WORKFLOWS)
        .await?;
    let names: Vec<&str> = workflows.items.iter().map(|one| one.id.as_str()).collect();
    let body = html! {
        div.row {
            (states(&which, filter.state, &counts))
            (by_workflow(&which, &names))
        }
        section #runs.card data-live="runs" aria-label="Runs" {
            @if page.items.is_empty() { (nothing(&filter)) } @else { (table(&page.items)) }
            nav.pager aria-label="Pages of the runs" {
                span.dim { "The newest first" }
                @if which.after.is_some() { a.button href=(which.from(None)) { "Newest" } }
                @if let Some(next) = &page.next {
                    a.button rel="next" href=(which.from(Some(next))) { "Older" }
                }
            }
        }
    };
    shell(&state, &caller, Frame::new(Nav::Runs, "Runs"), body).await
}

fn states(which: &Which, chosen: Option<Progress>, counts: &[(Progress, u64)]) -> Markup {
    let count = |state: Progress| {
        let found = counts.iter().find(|(other, _)| *other == state);
        found.map_or(0, |(_, count)| *count)
    };
    let all: u64 = counts.iter().map(|(_, count)| *count).sum();
    html! {
        nav #run-states.segments aria-label="State" data-live="runs" {
            a href=(which.with_state(None)) aria-current=[chosen.is_none().then_some("true")] {
                "All " span.dim { (all) }
            }
            @for state in STATES {
                a href=(which.with_state(Some(state)))
                    aria-current=[(chosen == Some(state)).then_some("true")] {
                    (state.as_str()) " " span.dim { (count(state)) }
                }
            }
        }
    }
}

fn by_workflow(which: &Which, names: &[&str]) -> Markup {
    let chosen = which.workflow.as_deref().unwrap_or_default();
    html! {
        form.row method="get" action="/runs" {
            @if let Some(state) = which.state.as_deref().filter(|state| !state.is_empty()) {
                input type="hidden" name="state" value=(state);
            }
            label.unseen for="workflow" { "Workflow" }
            select #workflow name="workflow" {
                option value="" { "All workflows" }
                @for name in names {
                    option value=(name) selected[*name == chosen] { (name) }
                }
                @if !chosen.is_empty() && !names.contains(&chosen) {
                    option value=(chosen) selected { (chosen) }
                }
            }
            button { "Show" }
        }
    }
}

fn nothing(filter: &RunFilter) -> Markup {
    html! {
        div.empty {
            @if *filter == RunFilter::default() {
                h2 { "No workflow has run yet" }
                p { "A run begins when a rule fires. Write one, and try it on what is stored already." }
                p { a.button.primary href="/workflows/new" { "New rule" } }
            } @else {
                h2 { "No run is like that" }
                p { a href="/runs" { "All runs" } }
            }
        }
    }
}

fn table(runs: &[Run]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Runs" {
            table.cards {
                thead { tr {
                    th scope="col" { "Workflow" }
                    th scope="col" { "State" }
                    th scope="col" { "Device" }
                    th scope="col" { "Fired" }
                    th scope="col" { "Steps" }
                    th scope="col" { "Ended" }
                } }
                tbody { @for run in runs { (row(run)) } }
            }
        }
    }
}

fn row(run: &Run) -> Markup {
    let device = of_event(run, "device");
    html! {
        tr {
            th scope="row" {
                a href={ "/runs/" (run.id) } { (run.workflow) } " "
                span.dim.small { "version " (run.version) }
            }
            td {
                (progress(run.state))
                @if let Some(error) = &run.error { br; span.bad.small { (error) } }
            }
            td data-label="Device" {
                @if device.is_empty() { span.dim { "none" } }
                @else { a href={ "/devices/" (device) } { (device) } }
            }
            td data-label="Fired" { (moment::element(run.at_us)) }
            td data-label="Steps" {
                span.dots {
                    @for step in &run.steps {
                        span class={ "dot " (step.state.as_str()) } title={ (step.id) ": " (step.state.as_str()) } {}
                    }
                }
                span.unseen { @for step in &run.steps { (step.id) " " (step.state.as_str()) ". " } }
                @if run.steps.is_empty() { span.dim { "not begun" } }
            }
            td data-label="Ended" {
                @match run.ended_us {
                    Some(at_us) => { (moment::element(at_us)) }
                    None => { span.dim { "not yet" } }
                }
            }
        }
    }
}
