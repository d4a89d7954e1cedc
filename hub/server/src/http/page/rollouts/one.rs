//! `/rollouts/{rollout}`: one roll-out, how far it has come, and its devices.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_rollout::{Id, Phase, Portion};
use stencil_store::{Page, RolloutDevice};

use super::super::super::api::rollouts::{Shown, ShownNotice, known, parsed, told};
use super::super::super::input::{Path, Query};
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::shell::{Frame, Nav, shell};
use super::super::{badge, encoded, moment};
use super::{PHASES, bar, may_act, of, status, turn, why, words};

/// Devices on one page.
const DEVICES: u32 = 50;

/// Which devices.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    phase: Option<String>,
    after: Option<String>,
}

/// `GET /rollouts/{rollout}?phase&after`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(rollout): Path<String>,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let id: Id = parsed(&rollout)?;
    let phase = which.phase.as_deref().filter(|phase| !phase.is_empty());
    if phase.is_some_and(|phase| !Phase::NAMES.contains(&phase)) {
        return Err(Problem::invalid(
            "`phase` is no phase of a roll-out's devices",
        ));
    }
    let shown = known(&state, &caller, id).await?;
    let notices = told(&state, &caller, id).await?;
    let rollouts = &state.store.rollouts;
    let after = which.after.as_deref();
    let page = rollouts.devices(&caller.tenant, &id.0, phase, after, DEVICES);
    let page = page.await?;
    let body = html! {
        div #rollout.stack data-live="rollouts" data-every="5" {
            div.split {
                div.stack {
                    (progress(&shown, &caller))
                    (devices(&shown, &page, phase))
                }
                div.stack {
                    (facts(&shown))
                    @if !notices.is_empty() { (history(&notices)) }
                }
            }
        }
    };
    let title = format!("Roll-out to {}", shown.plan.devices);
    let frame = Frame::new(Nav::Rollouts, &title).crumb("/rollouts", "Roll-outs");
    shell(&state, &caller, frame, body).await
}

fn progress(shown: &Shown, caller: &Caller) -> Markup {
    let counts = &shown.counts;
    html! {
        section.card aria-labelledby="progress-title" {
            header {
                h2 #progress-title { "Progress" }
                span.more { (status(shown)) }
            }
            @if shown.matches == 0 {
                p.alert role="status" {
                    "It matches no device: none that is known is called " code { (shown.plan.devices) }
                    @if !shown.plan.gateways.is_empty() { " and is behind a gateway of the plan" }
                    "." @if shown.status == "running" { " It waits for such to come." }
                }
            } @else {
                p { (counts.done) " of " (counts.eligible()) " devices run the image. Whose turn it is: " (turn(shown)) "." }
            }
            @if let Some(why) = why(shown) { p.alert role="status" { "It does not go on: " (why) "." } }
            (bar(counts))
            ul.plain.legend {
                @for (phase, class, says) in PHASES {
                    @if of(counts, phase) > 0 {
                        li { (badge(class, &words(phase))) " " (of(counts, phase)) " " (says) }
                    }
                }
            }
            @if may_act(caller) { (actions(shown)) }
        }
    }
}

fn actions(shown: &Shown) -> Markup {
    let (running, paused) = (shown.status == "running", shown.status == "paused");
    let action = |step: &str, text: &str, told: &str| {
        html! {
            form data-send={ "POST /api/v1/rollouts/" (shown.id) "/" (step) } data-then="stay" data-told=(told) {
                button id={ "do-" (step) } { (text) }
            }
        }
    };
    html! {
        @if running || paused {
            div.row {
                @if running { (action("pause", "Pause", "Paused: those that are at it go on")) }
                @if paused { (action("resume", "Resume", "It goes on")) }
                @if shown.counts.failures() > 0 { (action("retry", "Retry those that failed", "They try again")) }
                (action("abort", "Abort", "Aborted: nobody else gets it"))
            }
        }
    }
}

fn facts(shown: &Shown) -> Markup {
    let plan = &shown.plan;
    html! {
        section.card aria-labelledby="plan-title" {
            header { h2 #plan-title { "Plan" } }
            dl.facts {
                div { dt { "Image" } dd { code { (&plan.image.digest.to_string()[..16]) } ", number " (plan.image.sequence) } }
                div { dt { "Devices" } dd { code { (plan.devices) }
                    @if !plan.gateways.is_empty() { " behind " (plan.gateways.len()) " gateways" } } }
                div { dt { "First" } dd { @match plan.canary {
                    Portion::Devices(devices) => { (devices) " devices" }
                    Portion::Percent(percent) => { (percent) " %" }
                } } }
                div { dt { "Then" } dd {
                    @for (place, percent) in plan.waves.iter().enumerate() {
                        @if place > 0 { ", " } (percent) " %"
                    }
                } }
                div { dt { "Pauses at" } dd { "more than " (plan.max_failed_percent) " % failed" } }
                div { dt { "Time-out" } dd { (moment::length(i64::from(plan.progress_timeout_s) * 1_000_000)) " without progress" } }
                @if let Some(window) = plan.window { div { dt { "Window" } dd { (window) } } }
                div { dt { "At a time" } dd { (plan.per_gateway) " behind one gateway" } }
                div { dt { "Begun" } dd { (moment::element(shown.created_us)) } }
            }
        }
    }
}

fn history(notices: &[ShownNotice]) -> Markup {
    html! {
        section.card aria-labelledby="told-title" {
            header { h2 #told-title { "What happened" } }
            ol.timeline { @for notice in notices { (happened(notice)) } }
        }
    }
}

fn happened(notice: &ShownNotice) -> Markup {
    let (at_us, what) = notice.parts();
    let (class, text) = match what["kind"].as_str() {
        Some("paused") if what["canary"] == true => ("failed", "The first devices have failed"),
        Some("paused") => ("failed", "Too many have failed"),
        Some("canary_good") => ("done", "The first devices run it well"),
        Some("wave") => ("running", "A wave has begun"),
        Some("finished") => ("done", "Every device has come to its end"),
        _ => ("", "Something happened"),
    };
    html! {
        li class=(class) {
            p { b { (text) }
                @if what["kind"] == "paused" { " " span.dim { (what["failed"]) " of " (what["finished"]) } } }
            p.small { (moment::element(at_us)) }
        }
    }
}

fn devices(shown: &Shown, page: &Page<RolloutDevice>, phase: Option<&str>) -> Markup {
    let here = format!("/rollouts/{}", shown.id);
    html! {
        section.card aria-labelledby="devices-title" {
            header { h2 #devices-title { "Devices" } }
            form action=(here) method="get" {
                div.row {
                    label for="phase" { "Which" }
                    select #phase name="phase" {
                        option value="" selected[phase.is_none()] { "all" }
                        @for name in Phase::NAMES {
                            option value=(name) selected[phase == Some(name)] { (words(name)) }
                        }
                    }
                    button { "Show" }
                }
            }
            @if page.items.is_empty() { p.dim { "None." } } @else {
                div.scroll {
                    table {
                        caption.unseen { "Devices of this roll-out" }
                        thead { tr {
                            th scope="col" { "Device" }
                            th scope="col" { "State" }
                            th scope="col" { "Gateway" }
                            th scope="col" { "Since" }
                        } }
                        tbody { @for row in &page.items { (device(row)) } }
                    }
                }
            }
            nav.pager aria-label="Pages of devices" {
                @if let Some(next) = &page.next {
                    a.button rel="next" href={ (here) "?after=" (encoded(next))
                        @if let Some(phase) = phase { "&phase=" (phase) } } { "More" }
                }
            }
        }
    }
}

fn device(row: &RolloutDevice) -> Markup {
    let class = PHASES.iter().find(|(phase, ..)| *phase == row.phase);
    html! {
        tr {
            th scope="row" { a href={ "/devices/" (row.device) } { (row.device) } }
            td {
                (badge(class.map_or("", |(_, class, _)| class), &words(&row.phase)))
                @if let Some(percent) = row.percent {
                    " " progress max="100" value=(percent) aria-label="Downloaded" {} " " (percent) " %"
                }
                @if let Some(detail) = &row.detail { p.small { (detail) } }
            }
            td { @match &row.gateway { Some(gateway) => { (gateway) } None => { span.dim { "none" } } } }
            td { (moment::element(row.since_us)) }
        }
    }
}
