//! What came last: alarms, runs, devices.

use maud::{Markup, html};
use stencil_store::{
    Alarm, AlarmFilter, Device, Latest, Newest, Progress, Run, RunFilter, Severity,
};

use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::{badge, encoded, linked, moment, value};

const ALARMS: u32 = 6;
const RUNS: u32 = 6;
const DEVICES: u32 = 10;
/// Values shown of one device.
const VALUES: u32 = 4;

/// Active alarms, the newest first.
pub(super) async fn alarms(state: &State, caller: &Caller) -> Result<Markup, Problem> {
    let filter = AlarmFilter {
        active: Some(true),
        ..AlarmFilter::default()
    };
    let alarms = &state.store.alarms;
    let page = alarms.list(&caller.tenant, &filter, None, ALARMS).await?;
    let now_us = state.clock.now_us();
    Ok(html! {
        section #newest-alarms.card data-live="alarms" aria-labelledby="newest-alarms-title" {
            header {
                h2 #newest-alarms-title { "Newest alarms" }
                a.more href="/alarms" { "All alarms" }
            }
            @if page.items.is_empty() {
                p.dim { "No alarm is active." }
            } @else {
                ul.lines { @for alarm in &page.items { li { (of_alarm(alarm, now_us)) } } }
            }
        }
    })
}

fn of_alarm(alarm: &Alarm, now_us: i64) -> Markup {
    let class = match alarm.severity {
        Severity::Warning => "info",
        Severity::Minor => "warn",
        Severity::Major => "high",
        Severity::Critical => "bad",
    };
    html! {
        div.what {
            (badge(class, alarm.severity.as_str()))
            a.title href={ "/alarms/" (alarm.id) } { (alarm.title) }
        }
        div.of.dim.small {
            a href={ "/devices/" (alarm.device) } { (alarm.device) }
            (moment::ago(alarm.raised_us, now_us))
            @if alarm.acknowledged.is_some() { span { "acknowledged" } }
        }
    }
}

/// Runs, the newest first.
pub(super) async fn runs(state: &State, caller: &Caller) -> Result<Markup, Problem> {
    let runs = &state.store.runs;
    let page = runs
        .list(&caller.tenant, &RunFilter::default(), None, RUNS)
        .await?;
    let now_us = state.clock.now_us();
    Ok(html! {
        section #newest-runs.card data-live="runs" aria-labelledby="newest-runs-title" {
            header {
                h2 #newest-runs-title { "Newest runs" }
                a.more href="/runs" { "All runs" }
            }
            @if page.items.is_empty() {
                p.dim { "No workflow has run yet." }
            } @else {
                ul.lines { @for run in &page.items { li { (of_run(run, now_us)) } } }
            }
        }
    })
}

fn of_run(run: &Run, now_us: i64) -> Markup {
    let class = match run.state {
        Progress::Done => "good",
        Progress::Failed => "bad",
        Progress::Waiting => "warn",
        Progress::Pending | Progress::Running => "info",
    };
    let device = run.event.get("device").and_then(|device| device.as_str());
    html! {
        div.what {
            (badge(class, run.state.as_str()))
            a.title href={ "/runs/" (run.id) } { (run.workflow) }
        }
        div.of.dim.small {
            @if let Some(device) = device { a href={ "/devices/" (encoded(device)) } { (device) } }
            (moment::ago(run.at_us, now_us))
            @if let Some(error) = &run.error { span.bad { (error) } }
        }
    }
}

/// The devices that were heard last, with their newest values.
pub(super) async fn devices(state: &State, caller: &Caller, all: u64) -> Result<Markup, Problem> {
    let devices = &state.store.devices;
    let recent = devices.recent(&caller.tenant, DEVICES).await?;
    let ids: Vec<_> = recent.iter().map(|device| device.id.clone()).collect();
    let newest = devices.newest(&caller.tenant, &ids, VALUES).await?;
    let now_us = state.clock.now_us();
    Ok(html! {
        section #recent-devices.card data-live="fleet" data-every="10"
            aria-labelledby="recent-devices-title" {
            header {
                h2 #recent-devices-title { "Heard last" }
                a.more href="/devices" { "All " (value::count(all)) " devices" }
            }
            @if recent.is_empty() {
                p.dim { "No device has been heard yet." }
            } @else {
                div.scroll tabindex="0" role="region" aria-labelledby="recent-devices-title" {
                    table.cards {
                        thead { tr {
                            th scope="col" { "Device" }
                            th scope="col" { "Link" }
                            th scope="col" { "Newest values" }
                            th.num scope="col" { "Heard" }
                        } }
                        tbody { @for device in &recent { (row(device, &newest, None, now_us)) } }
                    }
                }
            }
        }
    })
}

/// A device in a table of Device, Link, perhaps Gateway, Newest values, Heard. The event stream
/// changes what it shows.
pub(in crate::http::page) fn row(
    device: &Device,
    newest: &[Newest],
    gateway: Option<Markup>,
    now_us: i64,
) -> Markup {
    let id = device.id.as_str();
    let newest = newest.iter().find(|newest| newest.device == device.id);
    let (values, names) = newest.map_or((&[] as &[Latest], 0), |newest| {
        (newest.values.as_slice(), newest.names)
    });
    html! {
        tr data-device=(id) {
            th scope="row" { a href={ "/devices/" (encoded(id)) } { (id) } }
            td { (linked::state(device)) " " (linked::protection(device)) }
            @if let Some(gateway) = gateway { td data-label="Gateway" { (gateway) } }
            td {
                @for item in values {
                    span.value data-name=(item.name) {
                        span.dim { (item.name) } " "
                        b { (value::text(&item.value)) } " "
                        span.dim data-unit { (item.unit.as_deref().unwrap_or_default()) }
                    }
                }
                @if names > values.len() as u64 {
                    span.dim.small { "and " (names - values.len() as u64) " more" }
                }
            }
            td.num.nowrap data-label="Heard" {
                @match device.last_received_us {
                    Some(at) => {
                        time datetime=(moment::rfc3339(at)) title={ (moment::utc(at)) " UTC" }
                            data-ago=(at) data-seen { (moment::since(now_us.saturating_sub(at))) }
                    }
                    None => { span.dim { "never" } }
                }
            }
        }
    }
}
