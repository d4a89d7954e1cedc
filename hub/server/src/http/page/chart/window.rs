//! Which part of time a chart shows.

use serde::Deserialize;

use super::super::super::problem::Problem;

/// Windows begin and end in the years 1 to 9999.
pub(super) const FIRST_US: i64 = -62_135_596_800_000_000;
pub(super) const LAST_US: i64 = 253_402_300_799_000_000;
/// The shortest window.
pub(super) const MIN_US: i64 = 1_000;
const HOUR_US: i64 = 3_600_000_000;

/// A window that goes on with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(in crate::http::page) enum Range {
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
    #[serde(rename = "30d")]
    Month,
    #[serde(rename = "all")]
    All,
}

impl Range {
    pub(super) const EVERY: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::All];

    /// As it stands in addresses.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
            Self::All => "all",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Hour => "1 h",
            Self::Day => "24 h",
            Self::Week => "7 d",
            Self::Month => "30 d",
            Self::All => "All",
        }
    }

    fn length_us(self) -> Option<i64> {
        match self {
            Self::Hour => Some(HOUR_US),
            Self::Day => Some(24 * HOUR_US),
            Self::Week => Some(7 * 24 * HOUR_US),
            Self::Month => Some(30 * 24 * HOUR_US),
            Self::All => None,
        }
    }

    /// The shortest one up to now that the newest point is in.
    fn with(newest_us: i64, now_us: i64) -> Self {
        let found = Self::EVERY.into_iter().find(|range| {
            let length_us = range.length_us();
            length_us.is_none_or(|length_us| newest_us >= now_us.saturating_sub(length_us))
        });
        found.unwrap_or(Self::All)
    }
}

/// `from_us <= time < to_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from_us: i64,
    pub(super) to_us: i64,
    /// It goes on with time; else it was asked for.
    pub(super) range: Option<Range>,
}

/// What is known of a series' times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) first_us: i64,
    pub(super) newest_us: i64,
    pub(super) now_us: i64,
}

impl Window {
    /// A window that was asked for, within what can be shown.
    pub(super) fn fixed(from_us: i64, to_us: i64) -> Self {
        let from_us = from_us.clamp(FIRST_US, LAST_US - MIN_US);
        let to_us = to_us.clamp(from_us + MIN_US, LAST_US);
        Self {
            from_us,
            to_us,
            range: None,
        }
    }

    /// The window of a range, without empty room before the first point. It ends now, or, where
    /// nothing has come for as long as it is, at the newest point. The script does the same.
    pub(super) fn of(range: Option<Range>, times: Times) -> Self {
        let now_us = times.now_us.max(times.newest_us);
        let range = range.unwrap_or_else(|| Range::with(times.newest_us, now_us));
        let to_us = match range.length_us() {
            Some(length_us) if times.newest_us >= now_us.saturating_sub(length_us) => now_us,
            _ => times.newest_us,
        };
        let to_us = to_us.clamp(FIRST_US + MIN_US, LAST_US - 1) + 1;
        let length_us = range.length_us().unwrap_or(i64::MAX);
        let from_us = to_us.saturating_sub(length_us).max(times.first_us);
        Self {
            from_us: from_us.clamp(FIRST_US, to_us - MIN_US),
            to_us,
            range: Some(range),
        }
    }
}

/// A window of two times that a program asks for.
pub(super) fn asked(from_us: i64, to_us: i64) -> Result<Window, Problem> {
    if from_us >= to_us {
        return Err(Problem::invalid(format!(
            "`from_us` {from_us} is not before `to_us` {to_us}"
        )));
    }
    Ok(Window::fixed(from_us, to_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000_000;

    fn of(range: Option<Range>, first_us: i64, newest_us: i64) -> Window {
        Window::of(
            range,
            Times {
                first_us,
                newest_us,
                now_us: NOW,
            },
        )
    }

    #[test]
    fn a_range_ends_now_or_where_its_points_end() {
        let live = of(Some(Range::Hour), 0, NOW - 5);
        assert_eq!((live.from_us, live.to_us), (NOW + 1 - HOUR_US, NOW + 1));
        let quiet = of(Some(Range::Hour), 0, NOW - 2 * HOUR_US);
        assert_eq!(quiet.to_us, NOW - 2 * HOUR_US + 1);
        assert_eq!(quiet.to_us - quiet.from_us, HOUR_US);
        let young = of(Some(Range::Day), NOW - 60_000_000, NOW);
        assert_eq!(young.from_us, NOW - 60_000_000);
        let ahead = of(Some(Range::Hour), 0, NOW + 5_000_000);
        assert_eq!(ahead.to_us, NOW + 5_000_001);
        let all = of(Some(Range::All), 77, NOW - HOUR_US);
        assert_eq!((all.from_us, all.to_us), (77, NOW - HOUR_US + 1));
        let one = of(Some(Range::All), NOW, NOW);
        assert_eq!(one.to_us - one.from_us, MIN_US);
    }

    #[test]
    fn without_one_the_shortest_that_shows_something_is_taken() {
        for (newest_us, range) in [
            (NOW, Range::Hour),
            (NOW - 2 * HOUR_US, Range::Day),
            (NOW - 48 * HOUR_US, Range::Week),
            (NOW - 8 * 24 * HOUR_US, Range::Month),
            (0, Range::All),
            (NOW + HOUR_US, Range::Hour),
        ] {
            assert_eq!(of(None, 0, newest_us).range, Some(range));
        }
    }

    #[test]
    fn windows_at_the_ends_of_time_are_windows() {
        for (from, to) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MAX), (5, -5), (0, 0)] {
            let window = Window::fixed(from, to);
            assert!(window.to_us - window.from_us >= MIN_US, "{window:?}");
        }
        for at in [i64::MIN, i64::MAX] {
            let window = of(None, at, at);
            assert!(window.from_us < window.to_us, "{window:?}");
        }
        assert!(asked(5, 5).is_err() && asked(5, 6).is_ok());
    }
}
