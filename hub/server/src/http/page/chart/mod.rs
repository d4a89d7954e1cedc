//! The chart of one device's series: drawn here, so that it is there without a script; then the
//! script takes over, with zoom, a readout and new readings.

mod data;
mod envelope;
mod window;

pub(in crate::http) use data::show as data;
pub(super) use window::Range;

use maud::{Markup, html};
use stencil_protocol::sample::OwnedValue;
use stencil_store::{Device, Latest};

use super::super::problem::Problem;
use super::super::{Caller, State};
use super::device::View;
use super::plot::Plot;
use super::{encoded, moment, value};
use envelope::Envelope;
use window::{FIRST_US, LAST_US, Times, Window};

/// Columns of the chart that is drawn here.
const COLUMNS: u32 = 360;
/// Points in the table.
const TABLE: usize = 50;
/// With more series than this they are a list to choose from.
const SEGMENTS: usize = 6;

/// The card.
pub(super) async fn render(
    state: &State,
    caller: &Caller,
    device: &Device,
    latest: &[Latest],
    view: &View,
) -> Result<Markup, Problem> {
    let Some(shown) = choose(latest, view.name.as_deref()) else {
        return Ok(nothing(device, latest, view));
    };
    let (series, tenant) = (state.store.series.as_ref(), &caller.tenant);
    let first = series
        .range(tenant, &device.id, &shown.name, FIRST_US, LAST_US, 1)
        .await?;
    let times = Times {
        first_us: first.first().map_or(shown.time_us, |point| point.time_us),
        newest_us: shown.time_us,
        now_us: state.clock.now_us(),
    };
    let window = match (view.from_us, view.to_us) {
        (Some(from_us), Some(to_us)) => Window::fixed(from_us, to_us),
        _ => Window::of(view.range, times),
    };
    let (envelope, next) = envelope::gather(
        series,
        (tenant, &device.id, &shown.name),
        (window.from_us, window.to_us),
        window.from_us,
        COLUMNS,
    )
    .await?;
    let chart = Chart {
        device,
        shown,
        latest,
        window,
        times,
        envelope,
        cut: next.is_some(),
    };
    Ok(chart.card())
}

/// The series that is asked for; without a wish the first one of numbers.
fn choose<'l>(latest: &'l [Latest], name: Option<&str>) -> Option<&'l Latest> {
    match name {
        Some(name) => latest.iter().find(|item| item.name == name),
        None => latest
            .iter()
            .find(|item| item.value.as_ref().as_f64().is_some())
            .or(latest.first()),
    }
}

fn nothing(device: &Device, latest: &[Latest], view: &View) -> Markup {
    html! {
        section #chart.card aria-labelledby="chart-title" {
            h2 #chart-title { "Chart" }
            div.empty {
                @match view.name.as_deref() {
                    Some(name) if !latest.is_empty() => {
                        p { "Nothing has been heard of " b { (name) } " from this device." }
                        p { a href={ "/devices/" (encoded(device.id.as_str())) "#chart" } { "Show what there is" } }
                    }
                    _ => { p { "Nothing has been heard of this device yet." } }
                }
            }
        }
    }
}

struct Chart<'a> {
    device: &'a Device,
    shown: &'a Latest,
    latest: &'a [Latest],
    window: Window,
    times: Times,
    envelope: Envelope,
    /// There is more than was read.
    cut: bool,
}

impl Chart<'_> {
    fn card(&self) -> Markup {
        let kind = match self.shown.value {
            OwnedValue::Bool(_) => "bool",
            OwnedValue::Text(_) => "text",
            OwnedValue::Integer(_) | OwnedValue::Number(_) => "number",
        };
        html! {
            section #chart.card aria-labelledby="chart-title" data-of=(self.device.id)
                data-series=(self.shown.name) data-unit=[self.shown.unit.as_deref()] data-kind=(kind)
                data-first=(self.times.first_us) data-newest=(self.times.newest_us)
                data-from=(self.window.from_us) data-to=(self.window.to_us)
                data-range=[self.window.range.map(Range::as_str)] {
                header {
                    h2 #chart-title { (self.shown.name) }
                    @if let Some(unit) = &self.shown.unit { span.dim { (unit) } }
                    div.more { (self.series()) }
                }
                (self.controls())
                (self.figure())
                p #readout.small aria-live="polite" {}
                (self.table())
                p.small { a #csv href=(self.csv()) { "This window as CSV" } }
            }
        }
    }

    fn address(&self, name: &str, window: Window) -> String {
        let (device, name) = (encoded(self.device.id.as_str()), encoded(name));
        let window = match window.range {
            Some(range) => format!("range={}", range.as_str()),
            None => format!("from_us={}&to_us={}", window.from_us, window.to_us),
        };
        format!("/devices/{device}?name={name}&{window}")
    }

    /// All points of the window as a file.
    fn csv(&self) -> String {
        let device = encoded(self.device.id.as_str());
        let name = encoded(&self.shown.name);
        let (from_us, to_us) = (self.window.from_us, self.window.to_us);
        format!("/api/v1/devices/{device}/series/{name}/csv?from_us={from_us}&to_us={to_us}")
    }

    /// The ways to the device's other series.
    fn series(&self) -> Markup {
        if self.latest.len() > SEGMENTS {
            return html! {
                form.row method="get" action={ "/devices/" (encoded(self.device.id.as_str())) "#chart" } {
                    select #series name="name" aria-label="Series" {
                        @for item in self.latest {
                            option value=(item.name) selected[item.name == self.shown.name] { (item.name) }
                        }
                    }
                    button { "Show" }
                }
            };
        }
        html! {
            nav.segments aria-label="Series" {
                @for item in self.latest {
                    @let here = item.name == self.shown.name;
                    a href={ (self.address(&item.name, self.window)) "#chart" } data-name-of=(item.name)
                        aria-current=[here.then_some("true")] { (item.name) }
                }
            }
        }
    }

    fn controls(&self) -> Markup {
        let (from, to) = (self.window.from_us, self.window.to_us);
        let length = to.saturating_sub(from);
        let (quarter, half) = (length / 4, length / 2);
        let moved = |from_us: i64, to_us: i64| {
            let window = Window::fixed(from.saturating_add(from_us), to.saturating_add(to_us));
            format!("{}#chart", self.address(&self.shown.name, window))
        };
        let of = |range: Range| {
            let window = Window {
                range: Some(range),
                ..self.window
            };
            format!("{}#chart", self.address(&self.shown.name, window))
        };
        html! {
            div.row.controls {
                nav.segments aria-label="Range" {
                    @for range in Range::EVERY {
                        a href=(of(range)) data-to-range=(range.as_str())
                            aria-current=[(self.window.range == Some(range)).then_some("true")] {
                            (range.title())
                        }
                    }
                    button #custom type="button" hidden aria-haspopup="dialog" { "Custom" }
                }
                nav.segments aria-label="Window of the chart" {
                    a #earlier href=(moved(-half, -half)) title="Earlier (←)" { span.unseen { "Earlier" } span aria-hidden="true" { "←" } }
                    a #zoom-out href=(moved(-half, half)) title="Zoom out (−)" { span.unseen { "Zoom out" } span aria-hidden="true" { "−" } }
                    a #zoom-in href=(moved(quarter, -quarter)) title="Zoom in (+)" { span.unseen { "Zoom in" } span aria-hidden="true" { "+" } }
                    a #later href=(moved(half, half)) title="Later (→)" { span.unseen { "Later" } span aria-hidden="true" { "→" } }
                    a #reset href={ "/devices/" (encoded(self.device.id.as_str())) "?name=" (encoded(&self.shown.name)) "#chart" } title="Reset (0)" { "Reset" }
                }
                button #zone type="button" hidden aria-pressed="false" { "UTC" }
            }
            dialog #custom-window aria-labelledby="custom-title" {
                form method="dialog" {
                    h2 #custom-title { "Show from … to …" }
                    div.form.line {
                        div.field { label for="custom-from" { "From" } input #custom-from type="datetime-local" step="1" required; }
                        div.field { label for="custom-to" { "To" } input #custom-to type="datetime-local" step="1" required; }
                    }
                    p.hint.dim { "In the time that the chart shows: " span #custom-zone { "UTC" } }
                    p.alert.problem role="alert" hidden {}
                    div.row { button.primary value="show" { "Show" } button type="button" #custom-close { "Cancel" } }
                }
            }
        }
    }

    fn figure(&self) -> Markup {
        let summary = self.summary();
        let line = self.envelope.line();
        let plot = Plot {
            points: &line,
            from_us: self.window.from_us,
            to_us: self.window.to_us,
            summary: &summary,
        };
        html! {
            figure #figure {
                @if !line.is_empty() || self.envelope.points == 0 { (plot.render()) }
                figcaption.small.dim { (summary) @if self.cut { " There is more than is shown." } }
            }
        }
    }

    fn summary(&self) -> String {
        let name = &self.shown.name;
        let (from, to) = (
            moment::utc(self.window.from_us),
            moment::utc(self.window.to_us),
        );
        let span = format!("from {from} to {to} UTC");
        let count = value::count(self.envelope.points);
        let (Some((low, high)), Some(last)) =
            (self.envelope.extent(), self.envelope.columns.last())
        else {
            return match self.envelope.points {
                0 => format!("{name}: no points {span}."),
                1 => format!("{name}: 1 text {span}, see the table."),
                _ => format!("{name}: {count} texts {span}, see the table."),
            };
        };
        let unit = self.shown.unit.as_deref();
        let unit = unit.map(|unit| format!(" {unit}")).unwrap_or_default();
        let points = if self.envelope.points == 1 {
            "point"
        } else {
            "points"
        };
        format!(
            "{name}: {count} {points} {span}, lowest {}{unit}, highest {}{unit}, last {}{unit} at {}.",
            value::number(low),
            value::number(high),
            value::number(last.last),
            moment::utc(last.last_us)
        )
    }

    /// What is to be seen, for who does not see it. The script keeps it up to date.
    fn table(&self) -> Markup {
        let newest = self.envelope.newest.iter().rev().take(TABLE);
        let shown = newest.len();
        let unit = self.shown.unit.as_deref().unwrap_or_default();
        html! {
            details #points {
                summary { "The newest " (shown) " of " (value::count(self.envelope.points)) " points as a table" }
                div.scroll.tall tabindex="0" role="region" aria-label="Points" {
                    table {
                        thead { tr { th scope="col" { "Time (UTC)" } th.num scope="col" { "Value" } } }
                        tbody {
                            @for point in newest {
                                tr {
                                    td { (moment::utc(point.time_us)) }
                                    td.num { (value::text(&point.value)) " " (unit) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
