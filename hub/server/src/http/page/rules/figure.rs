//! A series over a stretch of time, with stretches of it shaded: where a rule was true.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_protocol::id::DeviceId;
use stencil_store::MAX_RANGE;

use super::super::super::api::devices;
use super::super::super::input::Query;
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::plot::{HEIGHT, LEFT, Plot, RIGHT, WIDTH};
use super::super::{moment, value};

/// How often [`MAX_RANGE`] points are read for one picture.
const READS: usize = 4;
/// Windows begin and end in the years 1 to 9999.
const FIRST_US: i64 = -62_135_596_800_000_000;
const LAST_US: i64 = 253_402_300_799_000_000;

/// A stretch of time, in µs of event time; it has a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http::page) struct Window {
    pub(in crate::http::page) from_us: i64,
    pub(in crate::http::page) to_us: i64,
}

impl Window {
    /// From one moment to a later one; both are moved into the years 1 to 9999.
    pub(in crate::http::page) fn new(from_us: i64, to_us: i64) -> Result<Self, Problem> {
        if from_us >= to_us {
            return Err(Problem::invalid(format!(
                "`from_us` {from_us} is not before `to_us` {to_us}"
            )));
        }
        let from_us = from_us.clamp(FIRST_US, LAST_US - 1);
        let to_us = to_us.clamp(from_us + 1, LAST_US);
        Ok(Self { from_us, to_us })
    }

    /// Where a moment is on the picture.
    #[expect(clippy::cast_precision_loss, reason = "a place on a screen")]
    fn x(self, at_us: i64) -> f64 {
        let part = at_us.clamp(self.from_us, self.to_us) - self.from_us;
        let whole = self.to_us - self.from_us;
        LEFT + part as f64 / whole as f64 * (WIDTH - LEFT - RIGHT)
    }
}

/// A stretch to be shaded.
#[derive(Debug)]
pub(in crate::http::page) struct Band {
    pub(in crate::http::page) from_us: i64,
    pub(in crate::http::page) to_us: i64,
    /// How: a class of the style sheet.
    pub(in crate::http::page) class: &'static str,
}

/// What a picture shows.
#[derive(Debug)]
pub(in crate::http::page) struct Figure {
    window: Window,
    points: Vec<(i64, f64)>,
    /// Whether there are more points than were read.
    cut: bool,
    summary: String,
}

impl Figure {
    /// Reads a series; `None` if the device has none of this name.
    pub(in crate::http::page) async fn read(
        state: &State,
        caller: &Caller,
        device: &DeviceId,
        name: &str,
        window: Window,
    ) -> Result<Option<Self>, Problem> {
        let series = &state.store.series;
        let names = series.names(&caller.tenant, device).await?;
        let Some(known) = names.into_iter().find(|series| series.name == name) else {
            return Ok(None);
        };
        let (mut points, mut from_us, mut cut) = (Vec::new(), window.from_us, true);
        for _ in 0..READS {
            let read = series.range(
                &caller.tenant,
                device,
                name,
                from_us,
                window.to_us,
                MAX_RANGE,
            );
            let read = read.await?;
            let numbers = read.iter();
            points.extend(
                numbers.filter_map(|point| Some((point.time_us, point.value.as_ref().as_f64()?))),
            );
            match read.last() {
                Some(last) if read.len() >= MAX_RANGE as usize => from_us = last.time_us + 1,
                _ => {
                    cut = false;
                    break;
                }
            }
        }
        let unit = known.unit.unwrap_or_default();
        let summary = summary(device, name, &unit, &points, window);
        Ok(Some(Self {
            window,
            points,
            cut,
            summary,
        }))
    }

    /// The picture.
    pub(in crate::http::page) fn render(&self, bands: &[Band]) -> Markup {
        let plot = Plot {
            points: &self.points,
            from_us: self.window.from_us,
            to_us: self.window.to_us,
            summary: &self.summary,
        };
        let short = |n: f64| format!("{n:.1}");
        html! {
            figure.measured {
                div.layers {
                    (plot.render())
                    svg.shades viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } aria-hidden="true" {
                        @for band in bands {
                            @let (from, to) = (self.window.x(band.from_us), self.window.x(band.to_us));
                            rect class={ "shade " (band.class) } x=(short(from)) y="10"
                                width=(short((to - from).max(1.0))) height=(HEIGHT - 38.0) {}
                        }
                    }
                }
                figcaption.dim.small { (self.summary) }
                @if self.cut {
                    p.alert.warn { "Only the first " (self.points.len()) " points are drawn." }
                }
            }
        }
    }
}

fn summary(
    device: &DeviceId,
    name: &str,
    unit: &str,
    points: &[(i64, f64)],
    window: Window,
) -> String {
    let (from, to) = (moment::utc(window.from_us), moment::utc(window.to_us));
    if points.is_empty() {
        return format!("{name} of {device}: no numbers from {from} to {to} UTC.");
    }
    let values = || points.iter().map(|&(_, value)| value);
    let low = value::number(values().fold(f64::INFINITY, f64::min));
    let high = value::number(values().fold(f64::NEG_INFINITY, f64::max));
    let space = if unit.is_empty() { "" } else { " " };
    format!(
        "{name} of {device}: {} points from {from} to {to} UTC, lowest {low}{space}{unit}, highest \
         {high}{space}{unit}.",
        points.len()
    )
}

/// Which picture.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    device: String,
    /// The series; without it the first one that has numbers.
    name: Option<String>,
    from_us: i64,
    to_us: i64,
}

/// `GET /live/figure?device&name&from_us&to_us`: the picture alone, for the editor's script.
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let window = Window::new(which.from_us, which.to_us)?;
    let device = devices::known(&state, &caller, &which.device).await?.id;
    let name = match which.name {
        Some(name) => name,
        None => {
            let latest = state.store.devices.latest(&caller.tenant, &device).await?;
            let number = latest
                .into_iter()
                .find(|item| item.value.as_ref().as_f64().is_some());
            number
                .map(|item| item.name)
                .ok_or_else(|| Problem::not_found("series of numbers of device", &device))?
        }
    };
    let figure = Figure::read(&state, &caller, &device, &name, window).await?;
    let figure = figure.ok_or_else(|| Problem::not_found("series", &name))?;
    Ok(Html(figure.render(&[]).into_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_outside_of_a_window_stand_at_its_ends() {
        let window = Window::new(0, 100).unwrap();
        assert_eq!(window.x(-5), LEFT);
        assert_eq!(window.x(0), LEFT);
        assert_eq!(window.x(i64::MAX), WIDTH - RIGHT);
        assert_eq!(window.x(50), LEFT + (WIDTH - LEFT - RIGHT) / 2.0);
        let widest = Window::new(i64::MIN, i64::MAX).unwrap();
        assert!(widest.x(0).is_finite());
        for (from_us, to_us) in [(1, 1), (2, 1)] {
            assert!(Window::new(from_us, to_us).is_err());
        }
    }
}
