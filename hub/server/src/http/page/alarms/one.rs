//! `/alarms/{alarm}`: one alarm, what happened to it, and what was measured meanwhile.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use stencil_store::{Alarm, AlarmEvent, AlarmEventKind, AlarmFilter, AlarmId};

use super::super::super::input::Path;
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::rules::figure::{Band, Figure, Window};
use super::super::shell::{Frame, Nav, shell};
use super::super::{assets, encoded, moment, rules, value};
use super::{actions, dialogs, may_act, severity, silenced, state as shown};

/// Other alarms of the same rule and device that are shown.
const OTHERS: u32 = 10;
/// The least that is drawn before and after an alarm: 5 minutes, in µs.
const MIN_AROUND_US: i64 = 300_000_000;

/// `GET /alarms/{alarm}`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(alarm): Path<String>,
) -> Result<Html<String>, Problem> {
    let id: AlarmId = alarm.parse()?;
    let alarms = &state.store.alarms;
    let alarm = alarms.get(&caller.tenant, &id).await?;
    let alarm = alarm.ok_or_else(|| Problem::not_found("alarm", id))?;
    let history = alarms.history(&caller.tenant, &id).await?;
    let filter = AlarmFilter {
        device: Some(alarm.device.clone()),
        workflow: Some(alarm.workflow.clone()),
        ..AlarmFilter::default()
    };
    let others = alarms
        .list(&caller.tenant, &filter, None, OTHERS + 1)
        .await?;
    let others: Vec<&Alarm> = others.items.iter().filter(|other| other.id != id).collect();
    let now_us = state.clock.now_us();
    let figure = figure(&state, &caller, &alarm).await?;
    let act = may_act(&caller);
    let body = html! {
        div #alarm.stack data-live="alarms" {
            div.split {
                div.stack {
                    section.card aria-labelledby="alarm-title" {
                        header {
                            h2 #alarm-title { "State" }
                            span.more { (severity(alarm.severity)) " " (shown(&alarm, now_us)) }
                        }
                        (facts(&alarm, now_us))
                        @if act && alarm.is_active() { (actions(&alarm, now_us)) }
                    }
                    @if let Some(figure) = &figure {
                        section.card aria-labelledby="measured-title" {
                            header { h2 #measured-title { "What was measured" } }
                            (figure)
                        }
                    }
                }
                div.stack {
                    section.card aria-labelledby="history-title" {
                        header { h2 #history-title { "History" } }
                        ol.timeline { @for event in &history { (happened(event)) } }
                    }
                    @if !others.is_empty() { (before(&others)) }
                }
            }
        }
        @if act { (dialogs()) }
    };
    let frame = Frame::new(Nav::Alarms, &alarm.title)
        .crumb("/alarms", "Alarms")
        .script(&assets::ALARMS);
    shell(&state, &caller, frame, body).await
}

/// The series around the alarm, with the alarm shaded.
async fn figure(state: &State, caller: &Caller, alarm: &Alarm) -> Result<Option<Markup>, Problem> {
    let workflows = &state.store.workflows;
    let version = workflows.get(&caller.tenant, &alarm.workflow, Some(alarm.version));
    let Some(version) = version.await? else {
        return Ok(None);
    };
    let Some(name) = rules::series_of(&version.yaml) else {
        return Ok(None);
    };
    let end_us = match alarm.cleared_us {
        Some(at_us) => at_us,
        // Event time: the newest value, which may be far from the wall clock's.
        None => {
            let latest = state.store.devices.latest(&caller.tenant, &alarm.device);
            let latest = latest.await?;
            let newest = latest.iter().find(|item| item.name == name);
            newest.map_or(alarm.raised_us, |item| item.time_us)
        }
    };
    let end_us = end_us.max(alarm.raised_us);
    let around_us = (end_us.saturating_sub(alarm.raised_us) / 2).max(MIN_AROUND_US);
    // While it is active nothing is behind the newest value yet.
    let after_us = match alarm.cleared_us {
        Some(_) => around_us,
        None => around_us / 8,
    };
    let window = Window::new(
        alarm.raised_us.saturating_sub(around_us),
        end_us.saturating_add(after_us),
    )?;
    let bands = [Band {
        from_us: alarm.raised_us,
        to_us: alarm.cleared_us.unwrap_or(window.to_us),
        class: "active",
    }];
    let figure = Figure::read(state, caller, &alarm.device, &name, window).await?;
    Ok(figure.map(|figure| figure.render(&bands)))
}

fn facts(alarm: &Alarm, now_us: i64) -> Markup {
    html! {
        dl.facts {
            div { dt { "Device" } dd { a href={ "/devices/" (alarm.device) } { (alarm.device) } } }
            div { dt { "Rule" } dd {
                a href={ "/workflows/" (encoded(&alarm.workflow)) "?version=" (alarm.version) } {
                    (alarm.workflow) " version " (alarm.version)
                }
            } }
            div { dt { "Raised" } dd { (moment::element(alarm.raised_us)) } }
            @if let Some(value) = alarm.value { div { dt { "Value then" } dd { (value::number(value)) } } }
            @if let Some(at_us) = alarm.cleared_us {
                div { dt { "Cleared" } dd {
                    (moment::element(at_us)) ", after " (moment::length(at_us.saturating_sub(alarm.raised_us)))
                    @if let Some(why) = &alarm.cleared_why { ": " (why) }
                } }
            }
            @if let Some(mark) = &alarm.acknowledged {
                div { dt { "Looked after" } dd {
                    (mark.by) ", " (moment::element(mark.at_us))
                    @if let Some(note) = &mark.note { ": " q { (note) } }
                } }
            }
            @if let Some(until_us) = silenced(alarm, now_us) {
                div { dt { "Silent" } dd { "until " (moment::utc(until_us)) " UTC"
                    @if let Some(by) = &alarm.silenced_by { ", by " (by) } } }
            }
        }
    }
}

fn happened(event: &AlarmEvent) -> Markup {
    let class = match event.kind {
        AlarmEventKind::Raised => "failed",
        AlarmEventKind::Cleared => "done",
        AlarmEventKind::Acknowledged => "running",
        AlarmEventKind::Silenced | AlarmEventKind::Unsilenced => "waiting",
    };
    html! {
        li class=(class) {
            p {
                b { (event.kind.as_str()) } " "
                span.dim { "by " (event.by.as_deref().unwrap_or("the rule")) }
                @if let Some(until_us) = event.until_us { " until " (moment::utc(until_us)) " UTC" }
            }
            p.small { (moment::element(event.at_us)) }
            @if let Some(note) = &event.note { p { q { (note) } } }
        }
    }
}

fn before(others: &[&Alarm]) -> Markup {
    html! {
        section.card aria-labelledby="others-title" {
            header { h2 #others-title { "The same rule and device" } }
            ul.plain {
                @for other in others {
                    li {
                        a href={ "/alarms/" (other.id) } { (moment::element(other.raised_us)) }
                        " " span.dim {
                            @match other.cleared_us {
                                Some(at_us) => { "for " (moment::length(at_us.saturating_sub(other.raised_us))) }
                                None => { "active" }
                            }
                        }
                    }
                }
            }
        }
    }
}
