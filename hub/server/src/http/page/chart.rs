//! The chart of one device's series, its controls and its text alternative.

use maud::{Markup, html};
use stencil_protocol::id::DeviceId;
use stencil_protocol::sample::OwnedValue;
use stencil_store::{Latest, MAX_RANGE, SeriesPoint};

use super::super::problem::Problem;
use super::super::{Caller, State};
use super::device::View;
use super::plot::Plot;
use super::{encoded, moment, value};

/// Windows tried, up to the newest value, until one has enough points.
const WINDOWS_US: [i64; 5] = [
    600_000_000,
    3_600_000_000,
    86_400_000_000,
    30 * 86_400_000_000,
    3_650 * 86_400_000_000,
];
const ENOUGH: usize = 50;
/// Windows begin and end in the years 1 to 9999.
const FIRST_US: i64 = -62_135_596_800_000_000;
const LAST_US: i64 = 253_402_300_799_000_000;
/// The shortest window.
const MIN_WINDOW_US: i64 = 1_000;
/// Points in the table.
const TABLE: usize = 50;

/// The card of the chart.
pub(super) async fn render(
    state: &State,
    caller: &Caller,
    device: &DeviceId,
    view: &View,
) -> Result<Markup, Problem> {
    let latest = state.store.devices.latest(&caller.tenant, device).await?;
    let Some(shown) = choose(&latest, view.name.as_deref()) else {
        let text = html! { p { "Nothing has been heard of " b { (device) } "." } };
        return Ok(frame(&text));
    };
    let series = Series {
        device,
        shown,
        latest: &latest,
    };
    let window = window(state, caller, &series, view).await?;
    let body = html! {
        (series.names())
        (series.controls(&window))
        (series.picture(&window))
    };
    Ok(frame(&body))
}

/// A device's series on the page.
struct Series<'a> {
    device: &'a DeviceId,
    shown: &'a Latest,
    latest: &'a [Latest],
}

/// A window with what is in it.
struct Window {
    from_us: i64,
    to_us: i64,
    /// Whether it was asked for; else it follows the newest value.
    fixed: bool,
    points: Vec<SeriesPoint>,
}

fn frame(body: &Markup) -> Markup {
    html! {
        section #chart.card aria-labelledby="chart-title" {
            h2 #chart-title { "Chart" }
            (body)
        }
    }
}

/// The series asked for, else the first of measured numbers, else the first that can be drawn.
fn choose<'a>(latest: &'a [Latest], name: Option<&str>) -> Option<&'a Latest> {
    let measured = |item: &&Latest| matches!(item.value, OwnedValue::Number(_));
    let drawable = |item: &&Latest| !matches!(item.value, OwnedValue::Text(_));
    match name {
        Some(name) => latest.iter().find(|item| item.name == name),
        None => latest
            .iter()
            .find(measured)
            .or_else(|| latest.iter().find(drawable))
            .or(latest.first()),
    }
}

async fn window(
    state: &State,
    caller: &Caller,
    series: &Series<'_>,
    view: &View,
) -> Result<Window, Problem> {
    let newest = series.shown.time_us;
    let read = async |from_us: i64, to_us: i64| {
        let (name, store) = (&series.shown.name, &state.store.series);
        store
            .range(
                &caller.tenant,
                series.device,
                name,
                from_us,
                to_us,
                MAX_RANGE,
            )
            .await
    };
    if let (Some(from_us), Some(to_us)) = (view.from_us, view.to_us) {
        let from_us = from_us.clamp(FIRST_US, LAST_US - MIN_WINDOW_US);
        let to_us = to_us.clamp(from_us + MIN_WINDOW_US, LAST_US);
        let points = read(from_us, to_us).await?;
        return Ok(Window {
            from_us,
            to_us,
            fixed: true,
            points,
        });
    }
    let newest = newest.clamp(FIRST_US + MIN_WINDOW_US, LAST_US - 1);
    let to_us = newest + 1;
    let mut window = Window {
        from_us: to_us - MIN_WINDOW_US,
        to_us,
        fixed: false,
        points: Vec::new(),
    };
    for length_us in WINDOWS_US {
        let from_us = to_us.saturating_sub(length_us).max(FIRST_US);
        let points = read(from_us, to_us).await?;
        // A longer window without a further point would only be emptier.
        if points.len() > window.points.len() || window.points.is_empty() {
            window = Window {
                from_us,
                points,
                ..window
            };
        }
        if window.points.len() >= ENOUGH {
            break;
        }
    }
    // No empty room before the first point.
    if let [first, _, ..] = window.points.as_slice() {
        window.from_us = window.from_us.max(first.time_us.min(to_us - MIN_WINDOW_US));
    }
    Ok(window)
}

impl Series<'_> {
    fn address(&self, window: Option<(i64, i64)>) -> String {
        let name = encoded(&self.shown.name);
        let mut address = format!("/devices/{}?name={name}", self.device);
        if let Some((from_us, to_us)) = window {
            address.push_str(&format!("&from_us={from_us}&to_us={to_us}"));
        }
        address
    }

    /// Links to the device's other series.
    fn names(&self) -> Markup {
        html! {
            nav aria-label="Series" {
                @for item in self.latest {
                    @let here = item.name == self.shown.name;
                    a href={ "/devices/" (self.device) "?name=" (encoded(&item.name)) "#chart" }
                        data-chart aria-current=[here.then_some("true")] { (item.name) }
                }
            }
        }
    }

    fn controls(&self, window: &Window) -> Markup {
        let (from, to) = (window.from_us, window.to_us);
        let length = to.saturating_sub(from).max(MIN_WINDOW_US);
        let (quarter, half) = (length / 4, length / 2);
        let controls = [
            (
                "zoom-in",
                "Zoom in",
                from.saturating_add(quarter),
                to.saturating_sub(quarter),
            ),
            (
                "zoom-out",
                "Zoom out",
                from.saturating_sub(half),
                to.saturating_add(half),
            ),
            (
                "earlier",
                "Earlier",
                from.saturating_sub(half),
                to.saturating_sub(half),
            ),
            (
                "later",
                "Later",
                from.saturating_add(half),
                to.saturating_add(half),
            ),
        ];
        html! {
            nav aria-label="Window of the chart" {
                @for (id, text, from_us, to_us) in controls {
                    a.button #(id) data-chart
                        href={ (self.address(Some((from_us, to_us)))) "#chart" } { (text) }
                }
                a.button #newest data-chart href={ (self.address(None)) "#chart" }
                    aria-current=[(!window.fixed).then_some("true")] { "Newest" }
                span.dim { "Drag over the chart to zoom; keys + − ← → 0." }
            }
        }
    }

    fn picture(&self, window: &Window) -> Markup {
        let numbers: Vec<(i64, f64)> = window
            .points
            .iter()
            .filter_map(|point| Some((point.time_us, point.value.as_ref().as_f64()?)))
            .collect();
        let unit = self.shown.unit.as_deref().unwrap_or_default();
        let summary = summary(&self.shown.name, unit, &numbers, window);
        let plot = Plot {
            points: &numbers,
            from_us: window.from_us,
            to_us: window.to_us,
            summary: &summary,
        };
        html! {
            @if numbers.is_empty() && !window.points.is_empty() {
                p { (summary) }
            } @else {
                figure {
                    (plot.render())
                    figcaption { (summary) }
                }
            }
            @if window.points.len() >= MAX_RANGE as usize {
                p.alert { "Only the first " (MAX_RANGE) " points of the window are shown." }
            }
            @if !window.points.is_empty() { (table(&window.points, unit)) }
        }
    }
}

fn summary(name: &str, unit: &str, numbers: &[(i64, f64)], window: &Window) -> String {
    let (from, to) = (moment::utc(window.from_us), moment::utc(window.to_us));
    let values = || numbers.iter().map(|&(_, value)| value);
    let (Some(&(at, last)), false) = (numbers.last(), numbers.is_empty()) else {
        return match window.points.len() {
            0 => format!("{name}: no points from {from} to {to} UTC."),
            count => format!("{name}: {count} texts from {from} to {to} UTC, see the table."),
        };
    };
    let low = value::number(values().fold(f64::INFINITY, f64::min));
    let high = value::number(values().fold(f64::NEG_INFINITY, f64::max));
    let last = value::number(last);
    let count = numbers.len();
    let points = if count == 1 { "point" } else { "points" };
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(" {unit}")
    };
    format!(
        "{name}: {count} {points} from {from} to {to} UTC, lowest {low}{unit}, highest \
         {high}{unit}, last {last}{unit} at {}.",
        moment::utc(at)
    )
}

fn table(points: &[SeriesPoint], unit: &str) -> Markup {
    let from = points.len().saturating_sub(TABLE);
    let newest = points.get(from..).unwrap_or_default();
    html! {
        details {
            summary { "The newest " (newest.len()) " of " (points.len()) " points as a table" }
            div.scroll tabindex="0" role="region" aria-label="Points" {
                table {
                    thead { tr { th scope="col" { "Time (UTC)" } th scope="col" { "Value" } } }
                    tbody {
                        @for point in newest.iter().rev() {
                            tr {
                                td { (moment::utc(point.time_us)) }
                                td { (value::text(&point.value)) " " (unit) }
                            }
                        }
                    }
                }
            }
        }
    }
}
