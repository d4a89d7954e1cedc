//! `/alarms`: what is active, what somebody looks after, what is silent, what is over.

use std::cmp::Reverse;

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_store::{Alarm, AlarmCounts, AlarmFilter, MAX_PAGE, Severity};

use super::super::super::input::{self, Query};
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::shell::{Frame, Nav, shell};
use super::super::{assets, encoded, moment, value};
use super::{actions, dialogs, may_act, notes, severity, silenced, state};

/// Alarms on one page.
const ALARMS: u32 = 50;

/// A list of alarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Active,
    Acknowledged,
    Silenced,
    Cleared,
}

impl View {
    const ALL: [View; 4] = [
        View::Active,
        View::Acknowledged,
        View::Silenced,
        View::Cleared,
    ];

    fn name(self) -> &'static str {
        match self {
            View::Active => "active",
            View::Acknowledged => "acknowledged",
            View::Silenced => "silenced",
            View::Cleared => "cleared",
        }
    }

    fn title(self) -> &'static str {
        match self {
            View::Active => "Active",
            View::Acknowledged => "Acknowledged",
            View::Silenced => "Silenced",
            View::Cleared => "Cleared",
        }
    }
}

/// Which alarms. A filter that is empty is none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    state: Option<String>,
    severity: Option<String>,
    device: Option<String>,
    workflow: Option<String>,
    after: Option<String>,
}

impl Which {
    fn view(&self) -> Result<View, Problem> {
        let Some(name) = set(&self.state) else {
            return Ok(View::Active);
        };
        let found = View::ALL.into_iter().find(|view| view.name() == name);
        found.ok_or_else(|| {
            let right = "active, acknowledged, silenced or cleared";
            Problem::invalid(format!("`state` is `{name}`, it has to be {right}"))
        })
    }

    fn filter(&self, view: View) -> Result<AlarmFilter, Problem> {
        let severity = set(&self.severity).map(|name| {
            let right = "warning, minor, major or critical";
            Severity::parse(name).ok_or_else(|| {
                Problem::invalid(format!("`severity` is `{name}`, it has to be {right}"))
            })
        });
        Ok(AlarmFilter {
            active: Some(view != View::Cleared),
            acknowledged: (view == View::Acknowledged).then_some(true),
            device: set(&self.device).map(input::device).transpose()?,
            workflow: set(&self.workflow).map(str::to_owned),
            severity: severity.transpose()?,
            ..AlarmFilter::default()
        })
    }

    /// The same filter in another list, from a cursor on.
    fn address(&self, view: View, after: Option<&str>) -> String {
        let mut address = format!("/alarms?state={}", view.name());
        for (name, text) in [
            ("severity", set(&self.severity)),
            ("device", set(&self.device)),
            ("workflow", set(&self.workflow)),
            ("after", after),
        ] {
            if let Some(text) = text {
                address.push_str(&format!("&{name}={}", encoded(text)));
            }
        }
        address
    }

    fn is_narrowed(&self) -> bool {
        [&self.severity, &self.device, &self.workflow]
            .into_iter()
            .any(|text| set(text).is_some())
    }
}

fn set(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// `GET /alarms?state&severity&device&workflow&after`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let view = which.view()?;
    let filter = which.filter(view)?;
    let alarms = &state.store.alarms;
    let now_us = state.clock.now_us();
    let after = which.after.as_deref();
    // Silences end by themselves, so that they are no filter of the store's.
    let limit = if view == View::Silenced {
        MAX_PAGE
    } else {
        ALARMS
    };
    let mut page = alarms.list(&caller.tenant, &filter, after, limit).await?;
    if view == View::Silenced {
        page.items.retain(|alarm| silenced(alarm, now_us).is_some());
    }
    if view == View::Active {
        // What nobody looks after stands first, the worst of it at the top.
        page.items
            .sort_by_key(|alarm| (alarm.acknowledged.is_some(), Reverse(alarm.severity)));
    }
    let counts = alarms.counts(&caller.tenant).await?;
    let act = may_act(&caller);
    let body = html! {
        div.row {
            (views(&which, view, &counts))
            (narrow(&which, view))
        }
        section #alarms.card data-live="alarms" data-every="30" aria-label="Alarms" {
            @if page.items.is_empty() { (nothing(&which, view)) }
            @else { (table(&page.items, now_us, act)) }
            nav.pager aria-label="Pages of the alarms" {
                span.dim { (order(view)) }
                @if which.after.is_some() { a.button href=(which.address(view, None)) { "Newest" } }
                @if let Some(next) = &page.next {
                    a.button rel="next" href=(which.address(view, Some(next))) { "Older" }
                }
            }
        }
        @if act { (dialogs()) }
    };
    let frame = Frame::new(Nav::Alarms, "Alarms").script(&assets::ALARMS);
    shell(&state, &caller, frame, body).await
}

fn order(view: View) -> &'static str {
    match view {
        View::Active => "What nobody looks after first, then the worst, then the newest",
        _ => "The newest first",
    }
}

fn views(which: &Which, shown: View, counts: &AlarmCounts) -> Markup {
    html! {
        nav #alarm-views.segments aria-label="State" data-live="alarms" {
            @for view in View::ALL {
                a href=(which.address(view, None)) aria-current=[(view == shown).then_some("true")] {
                    (view.title())
                    @if view == View::Active {
                        " " span.dim { (counts.active()) }
                        @if counts.unacknowledged > 0 {
                            span.unseen { ", " (counts.unacknowledged) " not acknowledged" }
                        }
                    }
                }
            }
        }
    }
}

fn narrow(which: &Which, view: View) -> Markup {
    html! {
        form.row method="get" action="/alarms" {
            input type="hidden" name="state" value=(view.name());
            label.unseen for="severity" { "Severity" }
            select #severity name="severity" {
                option value="" { "Any severity" }
                @for severity in Severity::ALL.into_iter().rev() {
                    option value=(severity.as_str())
                        selected[set(&which.severity) == Some(severity.as_str())] { (severity.as_str()) }
                }
            }
            label.unseen for="device" { "Device" }
            input #device name="device" placeholder="Any device" maxlength="64" autocomplete="off"
                value=[set(&which.device)];
            label.unseen for="of-workflow" { "Rule" }
            input #of-workflow name="workflow" placeholder="Any rule" maxlength="64" autocomplete="off"
                value=[set(&which.workflow)];
            button { "Show" }
            @if which.is_narrowed() { a href={ "/alarms?state=" (view.name()) } { "All" } }
        }
    }
}

fn nothing(which: &Which, view: View) -> Markup {
    html! {
        div.empty {
            @if which.is_narrowed() {
                h2 { "No alarm is like that" }
            } @else {
                @match view {
                    View::Active => {
                        h2 { "No alarm is active" }
                        p { "A rule with an " code { "alarm" } " raises one, and clears it when it is no longer true." }
                    }
                    View::Acknowledged => { h2 { "Nobody looks after an active alarm" } }
                    View::Silenced => { h2 { "No active alarm is silent" } }
                    View::Cleared => { h2 { "No alarm has been cleared yet" } }
                }
            }
        }
    }
}

fn table(alarms: &[Alarm], now_us: i64, act: bool) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Alarms" {
            table.cards {
                thead { tr {
                    th scope="col" { "Severity" }
                    th scope="col" { "Alarm" }
                    th scope="col" { "Raised" }
                    th scope="col" { "State" }
                    @if act { th scope="col" { "What to do" } }
                } }
                tbody { @for alarm in alarms { (row(alarm, now_us, act)) } }
            }
        }
    }
}

fn row(alarm: &Alarm, now_us: i64, act: bool) -> Markup {
    html! {
        tr id={ "alarm-" (alarm.id) } {
            td { (severity(alarm.severity)) }
            th scope="row" {
                a href={ "/alarms/" (alarm.id) } { (alarm.title) }
                p.dim.small {
                    a href={ "/devices/" (alarm.device) } { (alarm.device) }
                    " by " a href={ "/workflows/" (encoded(&alarm.workflow)) } { (alarm.workflow) }
                    @if let Some(value) = alarm.value { ", value " (value::number(value)) }
                }
            }
            td data-label="Raised" {
                (moment::element(alarm.raised_us))
                @if let Some(cleared_us) = alarm.cleared_us {
                    p.dim.small { "for " (moment::length(cleared_us.saturating_sub(alarm.raised_us))) }
                }
            }
            td {
                (state(alarm, now_us))
                (notes(alarm, now_us))
                @if let Some(why) = &alarm.cleared_why { p.dim.small { (why) } }
            }
            @if act { td { @if alarm.is_active() { (actions(alarm, now_us)) } } }
        }
    }
}
