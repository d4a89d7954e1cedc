//! Runs of workflows, each with its steps along a line.

use maud::{Markup, html};
use stencil_store::{Attempt, Progress, Run, RunFilter, Step};

use super::super::problem::Problem;
use super::super::{Caller, State};
use super::{badge, encoded, moment};

/// Runs shown.
const RUNS: u32 = 20;

/// The fragment `runs`.
pub(super) async fn render(state: &State, caller: &Caller) -> Result<Markup, Problem> {
    let runs = &state.store.runs;
    let page = runs
        .list(&caller.tenant, &RunFilter::default(), None, RUNS)
        .await?;
    let counts = runs.counts(&caller.tenant).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for run in page.items {
        let attempts = runs.attempts(&caller.tenant, &run.id).await?;
        items.push((run, attempts));
    }
    Ok(html! {
        section #runs.card data-live="runs" aria-labelledby="runs-title" {
            h2 #runs-title { "Workflow runs" }
            @if items.is_empty() {
                p { "No workflow has run yet." }
            } @else {
                p.dim {
                    @for (progress, count) in &counts { (progress.as_str()) " " (count) ". " }
                    "The newest " (items.len()) ":"
                }
                ol.runs {
                    @for (run, attempts) in &items { li { (one(run, attempts)) } }
                }
            }
        }
    })
}

fn one(run: &Run, attempts: &[Attempt]) -> Markup {
    let text = |member: &str| {
        run.event
            .get(member)
            .and_then(|v| v.as_str())
            .unwrap_or_default()
    };
    html! {
        p {
            (progress(run.state)) " "
            a href={ "/api/v1/runs/" (run.id) } { (run.workflow) } " "
            span.dim { "version " (run.version) }
            @if !text("device").is_empty() {
                " by "
                a href={ "/devices/" (text("device")) "?name=" (encoded(text("name"))) "#chart" } {
                    (text("device"))
                }
            }
            ", fired " (moment::element(run.at_us))
        }
        @if let Some(error) = &run.error { p.alert { (error) } }
        @if run.steps.is_empty() {
            p.dim { "No step has begun." }
        } @else {
            ol.steps { @for step in &run.steps { (of_run(step, attempts)) } }
        }
    }
}

fn of_run(step: &Step, attempts: &[Attempt]) -> Markup {
    let own = || attempts.iter().filter(|attempt| attempt.step == step.index);
    let first = own().map(|attempt| attempt.started_us).min();
    let last = own().map(|attempt| attempt.ended_us).max();
    html! {
        li class=(step.state.as_str()) {
            b { (step.id) } " " span.dim { (step.uses) }
            br;
            (progress(step.state))
            @if let (Some(first), Some(last)) = (first, last) {
                " " span.dim { (moment::length(last.saturating_sub(first))) }
            }
            @if step.attempts > 1 { " " span.dim { (step.attempts) " attempts" } }
            @if let Some(command) = &step.waiting_for {
                br; span.dim { "waits for command " (command.to_string().get(..8).unwrap_or_default()) }
            }
            @if let Some(error) = &step.error { br; span.dim { (error) } }
        }
    }
}

fn progress(state: Progress) -> Markup {
    let class = match state {
        Progress::Done => "good",
        Progress::Failed => "bad",
        Progress::Waiting => "warn",
        Progress::Pending | Progress::Running => "",
    };
    badge(class, state.as_str())
}
