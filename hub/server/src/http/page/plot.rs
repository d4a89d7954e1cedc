//! A series of numbers as an SVG line. Many points become few: of each column of the plot the
//! first, the lowest, the highest and the last point are drawn, so that no peak is lost.

use maud::{Markup, html};

use super::{moment, value};

/// The plot's size in its own units; the page scales it.
pub(super) const WIDTH: f64 = 800.0;
pub(super) const HEIGHT: f64 = 320.0;
/// Room for the axes.
pub(super) const LEFT: f64 = 64.0;
pub(super) const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 28.0;
/// Columns that points are gathered in.
const COLUMNS: i64 = 360;

/// What a plot shows.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    /// By time, ascending. Without any the window alone is drawn.
    pub(super) points: &'a [(i64, f64)],
    /// The window; `from_us < to_us`, and their difference fits.
    pub(super) from_us: i64,
    pub(super) to_us: i64,
    /// One sentence for who does not see it.
    pub(super) summary: &'a str,
}

impl Plot<'_> {
    /// The SVG.
    pub(super) fn render(&self) -> Markup {
        let (low, high) = self.extent();
        let ticks = if self.points.is_empty() {
            Vec::new()
        } else {
            ticks(low, high)
        };
        let bottom = HEIGHT - BOTTOM;
        html! {
            svg #plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" tabindex="0"
                aria-labelledby="plot-summary" data-from=(self.from_us) data-to=(self.to_us)
                data-left=(LEFT / WIDTH) data-right=(1.0 - RIGHT / WIDTH) {
                title #plot-summary { (self.summary) }
                @for tick in ticks {
                    @let y = self.y(tick, low, high);
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(short(y)) y2=(short(y)) {}
                    text x=(LEFT - 6.0) y=(short(y + 4.0)) text-anchor="end" { (value::number(tick)) }
                }
                @for (step, anchor) in [(0i64, "start"), (1, "middle"), (2, "end")] {
                    @let x = LEFT + (WIDTH - LEFT - RIGHT) * half(step);
                    text class=(anchor) x=(x) y=(HEIGHT - 8.0) text-anchor=(anchor) {
                        (moment::utc(self.from_us + (self.to_us - self.from_us) / 2 * step))
                    }
                }
                line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(bottom) y2=(bottom) {}
                polyline.line points=(self.line(low, high)) {}
                @if let [(at, only)] = self.points {
                    circle.dot cx=(short(self.x(*at))) cy=(short(self.y(*only, low, high))) r="3" {}
                }
                rect #selection y=(TOP) height=(bottom - TOP) width="0" x="0" {}
            }
        }
    }

    /// The values' range, with some air; never empty.
    fn extent(&self) -> (f64, f64) {
        if self.points.is_empty() {
            return (0.0, 1.0);
        }
        let values = || self.points.iter().map(|&(_, value)| value);
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        let size = low.abs().max(high.abs());
        // A flat line gets a scale that can be read; of others, the difference is taken by halves
        // and cut, since that of the largest numbers is not finite.
        let air = if low == high {
            (size * 0.1).max(1.0)
        } else {
            ((high / 2.0 - low / 2.0) * 0.1).max(size * 1e-6).max(1e-9)
        };
        ((low - air).max(f64::MIN), (high + air).min(f64::MAX))
    }

    fn line(&self, low: f64, high: f64) -> String {
        let mut text = String::new();
        for (at, value) in thinned(self.points, self.from_us, self.to_us) {
            let (x, y) = (self.x(at), self.y(value, low, high));
            text.push_str(&format!("{x:.1},{y:.1} "));
        }
        text
    }

    fn x(&self, at: i64) -> f64 {
        let part = share(
            at.saturating_sub(self.from_us),
            self.to_us.saturating_sub(self.from_us),
        );
        LEFT + part * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64, low: f64, high: f64) -> f64 {
        let part = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
        (HEIGHT - BOTTOM) - part * (HEIGHT - BOTTOM - TOP)
    }
}

/// At most four points of each column.
fn thinned(points: &[(i64, f64)], from_us: i64, to_us: i64) -> Vec<(i64, f64)> {
    let width = (to_us.saturating_sub(from_us) / COLUMNS).max(1);
    let mut kept = Vec::new();
    for column in points
        .chunk_by(|a, b| a.0.saturating_sub(from_us) / width == b.0.saturating_sub(from_us) / width)
    {
        let by_value = |a: &&(i64, f64), b: &&(i64, f64)| a.1.total_cmp(&b.1);
        let (lowest, highest) = (
            column.iter().min_by(by_value),
            column.iter().max_by(by_value),
        );
        let mut few: Vec<_> = [column.first(), lowest, highest, column.last()]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        few.sort_by_key(|point| point.0);
        few.dedup_by_key(|point| point.0);
        kept.extend(few);
    }
    kept
}

/// Round numbers between the ends, about five.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return Vec::new();
    }
    let power = 10f64.powf((span / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| span / step <= 6.0)
        .unwrap_or(span);
    let first = (low / step).ceil() * step;
    (0..8u8)
        .map(|n| first + f64::from(n) * step)
        .take_while(|tick| *tick <= high)
        .collect()
}

/// `part` of `whole` as 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "a place on a screen")]
fn share(part: i64, whole: i64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn half(step: i64) -> f64 {
    share(step, 2)
}

fn short(n: f64) -> String {
    format!("{n:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_ends_and_peaks() {
        let points: Vec<(i64, f64)> = (0..100_000i32)
            .map(|n| (i64::from(n), f64::from(n % 7)))
            .collect();
        let mut spiked = points.clone();
        spiked[54_321].1 = 1e6;
        spiked[54_322].1 = -1e6;
        let kept = thinned(&spiked, 0, 100_000);
        assert!(kept.len() <= 4 * 361, "{}", kept.len());
        assert_eq!(kept.first(), Some(&spiked[0]));
        assert_eq!(kept.last(), Some(&spiked[99_999]));
        assert!(kept.contains(&(54_321, 1e6)) && kept.contains(&(54_322, -1e6)));
        assert!(kept.is_sorted_by_key(|point| point.0));
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let rounded = |low, high| -> Vec<String> {
            ticks(low, high).into_iter().map(value::number).collect()
        };
        assert_eq!(rounded(-20.3, -11.7), ["-20", "-18", "-16", "-14", "-12"]);
        assert_eq!(rounded(0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert!(ticks(1.0, 1.0).is_empty());
        assert!(ticks(f64::MIN, f64::MAX).len() < 9);
    }

    #[test]
    fn any_values_give_finite_places() {
        for values in [
            vec![],
            vec![1.0],
            vec![f64::MIN, f64::MAX],
            vec![0.0, 0.0],
            vec![1e300, 1e300],
        ] {
            let points: Vec<_> = (0..).zip(values).collect();
            let plot = Plot {
                points: &points,
                from_us: 0,
                to_us: 10,
                summary: "",
            };
            let svg = plot.render().into_string();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
