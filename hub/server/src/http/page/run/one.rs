//! `/runs/{run}`: one run as a timeline of its steps and their attempts.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use stencil_store::{Attempt, Progress, Run, RunId, Step};
use stencil_workflow::{Definition, definition};

use super::super::super::api::runs;
use super::super::super::input::Path;
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::shell::{Frame, Nav, shell};
use super::super::{encoded, moment};
use super::{of_event, progress, turns};

/// A bar's own units from its begin to its end.
const BAR: i64 = 1_000;
/// What can still be seen of the shortest attempt, in those units.
const SHORTEST: i64 = 6;

/// `GET /runs/{run}`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(run): Path<String>,
) -> Result<Html<String>, Problem> {
    let id: RunId = run.parse()?;
    let store = &state.store;
    let run = store.runs.get(&caller.tenant, &id).await?;
    let run = run.ok_or_else(|| Problem::not_found("run", id))?;
    let attempts = store.runs.attempts(&caller.tenant, &id).await?;
    let version = store
        .workflows
        .get(&caller.tenant, &run.workflow, Some(run.version));
    let definition = version
        .await?
        .and_then(|version| definition::parse(&version.yaml).ok());
    let definition = definition.as_ref();
    let ahead = definition.map_or_else(Vec::new, |definition| ahead(&run, definition));
    let waits = definition.and_then(|definition| runs::waits_for(&run, definition));
    let turns = runs::turns(store, &caller.tenant, &id).await?;
    let span = Span::of(&run, &attempts, state.clock.now_us());
    let body = html! {
        div #run.stack data-live="runs" {
            @if let Some(error) = &run.error { p.alert role="alert" { "It failed: " (error) } }
            div.split {
                section.card aria-labelledby="steps-title" {
                    header {
                        h2 #steps-title { "Steps" }
                        @if let Some(span) = &span {
                            span.more.dim { (moment::length(span.to_us - span.from_us)) " from the first attempt on" }
                        }
                    }
                    ol.timeline {
                        @for step in &run.steps { (of_run(step, &attempts, span.as_ref(), waits.as_ref())) }
                        @for (name, uses) in &ahead { (not_begun(name, uses)) }
                        @if run.steps.is_empty() && ahead.is_empty() { li { p.dim { "No step has begun." } } }
                    }
                }
                div.stack {
                    (facts(&run))
                    @if !turns.is_empty() { (turns::card(&run, definition, &turns)) }
                    (event(&run))
                }
            }
        }
    };
    let short: String = id.to_string().chars().take(8).collect();
    let title = format!("{} {short}", run.workflow);
    let frame = Frame::new(Nav::Runs, &title).crumb("/runs", "Runs").crumb(
        &format!("/runs?workflow={}", encoded(&run.workflow)),
        &run.workflow,
    );
    shell(&state, &caller, frame, body).await
}

/// Steps of the definition that have not begun: name and what they use.
fn ahead(run: &Run, definition: &Definition) -> Vec<(String, &'static str)> {
    if run.state.is_final() {
        return Vec::new();
    }
    let begun = |id: &str| run.steps.iter().any(|step| step.id == id);
    let ahead = definition.steps.iter().filter(|step| !begun(&step.id));
    ahead
        .map(|step| (step.id.clone(), step.action.uses()))
        .collect()
}

/// From the first attempt to the last one, or to now.
struct Span {
    from_us: i64,
    to_us: i64,
}

impl Span {
    fn of(run: &Run, attempts: &[Attempt], now_us: i64) -> Option<Self> {
        let from_us = attempts.iter().map(|attempt| attempt.started_us).min()?;
        let ended = attempts.iter().map(|attempt| attempt.ended_us).max()?;
        let to_us = match (run.state.is_final(), run.ended_us) {
            (true, at_us) => at_us.unwrap_or(ended).max(ended),
            (false, _) => now_us.max(ended),
        };
        Some(Self {
            from_us,
            to_us: to_us.max(from_us.saturating_add(1)),
        })
    }

    /// Where a moment is, in the bar's units.
    fn place(&self, at_us: i64) -> i64 {
        let whole = i128::from(self.to_us) - i128::from(self.from_us);
        let part = i128::from(at_us) - i128::from(self.from_us);
        let place = part * i128::from(BAR) / whole.max(1);
        i64::try_from(place.clamp(0, i128::from(BAR))).unwrap_or(BAR)
    }

    /// Begin and width of a stretch, wide enough to be seen.
    fn stretch(&self, from_us: i64, to_us: i64) -> (i64, i64) {
        let from = self.place(from_us).min(BAR - SHORTEST);
        (from, (self.place(to_us) - from).max(SHORTEST))
    }
}

/// Until when nobody was to be told, if the step was passed over for that.
fn passed_over(step: &Step) -> Option<i64> {
    let why = step
        .output
        .as_ref()?
        .get(stencil_workflow::transition::PASSED_OVER)?;
    why.get("silenced_until_us")?.as_i64()
}

fn of_run(
    step: &Step,
    attempts: &[Attempt],
    span: Option<&Span>,
    waits: Option<&(u32, String)>,
) -> Markup {
    let waits = waits.filter(|(index, _)| *index == step.index);
    let own: Vec<&Attempt> = attempts
        .iter()
        .filter(|attempt| attempt.step == step.index)
        .collect();
    html! {
        li class=(step.state.as_str()) {
            div.row {
                h3 { (step.id) }
                code.dim { (step.uses) }
                (progress(step.state))
                @if let (Some(first), Some(last)) = (own.first(), own.last()) {
                    span.dim.small { (moment::length(last.ended_us.saturating_sub(first.started_us))) }
                }
                @if step.attempts > 1 { span.dim.small { (step.attempts) " attempts" } }
            }
            @if let Some(span) = span { (bar(step, &own, span)) }
            @if let Some(error) = &step.error { p.alert { (error) } }
            @if let Some(until_us) = passed_over(step) {
                p { "Passed over: nobody was to be told until " (moment::element(until_us)) }
            }
            @if let Some((_, what)) = waits {
                p { "Waits for " (what) }
            } @else if let Some(at_us) = step.next_at_us.filter(|_| !step.state.is_final()) {
                p { "Tried or looked at again: " (moment::element(at_us)) }
            }
            @if let Some(command) = &step.waiting_for {
                p { "Waits for the end of command "
                    a href={ "/api/v1/commands/" (command) } { code { (command) } } }
            }
            details {
                summary { "Attempts, output, effect key" }
                (detail(step, &own))
            }
        }
    }
}

fn not_begun(name: &str, uses: &str) -> Markup {
    html! {
        li.pending {
            div.row { h3 { (name) } code.dim { (uses) } (progress(Progress::Pending)) }
        }
    }
}

/// The step's attempts, and what lies between them, along the run's time.
fn bar(step: &Step, own: &[&Attempt], span: &Span) -> Markup {
    let (Some(first), Some(last)) = (own.first(), own.last()) else {
        return html! {};
    };
    let until = if step.state.is_final() {
        last.ended_us
    } else {
        span.to_us
    };
    let (from, width) = span.stretch(first.started_us, until);
    html! {
        svg.along viewBox={ "0 0 " (BAR) " 10" } preserveAspectRatio="none" aria-hidden="true" {
            rect.rail x="0" y="4" width=(BAR) height="2" {}
            rect.wait x=(from) y="3" width=(width) height="4" {}
            @for attempt in own {
                @let (from, width) = span.stretch(attempt.started_us, attempt.ended_us);
                rect class=(if attempt.error.is_some() { "failed" } else { "done" })
                    x=(from) y="0" width=(width) height="10" {}
            }
        }
    }
}

fn detail(step: &Step, own: &[&Attempt]) -> Markup {
    html! {
        @if own.is_empty() {
            p.dim { "It was not tried yet." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label={ "Attempts of " (step.id) } {
                table.cards {
                    thead { tr {
                        th scope="col" { "Attempt" }
                        th scope="col" { "Began" }
                        th.num scope="col" { "Took" }
                        th scope="col" { "Outcome" }
                    } }
                    tbody {
                        @for attempt in own {
                            tr {
                                th scope="row" { (attempt.number) }
                                td data-label="Began" { (moment::element(attempt.started_us)) }
                                td.num data-label="Took" { (moment::length(attempt.ended_us.saturating_sub(attempt.started_us))) }
                                td {
                                    @match &attempt.error {
                                        Some(error) => { span.bad { (error) } }
                                        None if step.state == Progress::Waiting => { "begun" }
                                        None => { span.good { "done" } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        dl.facts {
            @if let Some(output) = &step.output {
                div { dt { "Output" } dd { pre { (serde_json::to_string_pretty(output).unwrap_or_default()) } } }
            }
            div { dt { "Effect key" } dd { code { (step.effect_key) } } }
        }
    }
}

fn facts(run: &Run) -> Markup {
    let (device, name) = (of_event(run, "device"), of_event(run, "name"));
    html! {
        section.card aria-labelledby="run-title" {
            header { h2 #run-title { "Run" } }
            dl.facts {
                div { dt { "State" } dd { (progress(run.state)) } }
                div { dt { "Workflow" } dd {
                    a href={ "/workflows/" (encoded(&run.workflow)) "?version=" (run.version) } {
                        (run.workflow) " version " (run.version)
                    }
                } }
                @if !device.is_empty() {
                    div { dt { "Device" } dd {
                        a href={ "/devices/" (device) "?name=" (encoded(name)) } { (device) }
                    } }
                }
                div { dt { "Fired" } dd { (moment::element(run.at_us)) } }
                @if let Some(at_us) = run.ended_us {
                    div { dt { "Ended" } dd { (moment::element(at_us)) } }
                }
                div { dt { "Run id" } dd { code { (run.id) } } }
            }
        }
    }
}

fn event(run: &Run) -> Markup {
    let members = run.event.as_object();
    html! {
        section.card aria-labelledby="event-title" {
            header { h2 #event-title { "The event that caused it" } }
            dl.facts {
                @for (name, value) in members.into_iter().flatten() {
                    @if !value.is_null() {
                        div {
                            dt { (name) }
                            dd {
                                @match (name.ends_with("_us"), value.as_i64(), value.as_str()) {
                                    (true, Some(at_us), _) => { (moment::element(at_us)) }
                                    (_, _, Some(text)) => { (text) }
                                    _ => { (value) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stretch_is_within_the_bar_and_can_be_seen() {
        for (from_us, to_us) in [(0, 10), (5, 5), (i64::MIN, i64::MAX), (-3, 1 << 60)] {
            let span = Span {
                from_us,
                to_us: to_us.max(from_us + 1),
            };
            for (begin, end) in [(from_us, to_us), (from_us, from_us), (to_us, to_us)] {
                let (place, width) = span.stretch(begin, end);
                assert!(place >= 0 && width >= SHORTEST, "{place} {width}");
                assert!(place + width <= BAR, "{place} {width}");
            }
        }
        let span = Span {
            from_us: 0,
            to_us: 100,
        };
        assert_eq!(span.stretch(25, 75), (250, 500));
    }
}
