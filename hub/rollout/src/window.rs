//! Maintenance windows: the times of day at which devices may be offered an image.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;

const MINUTES_A_DAY: i64 = 24 * 60;
const US_A_MINUTE: i64 = 60_000_000;
/// The furthest that local time is from UTC anywhere.
const MAX_OFFSET_MINUTES: i64 = 14 * 60;

/// From one local time of day to another, every day: `22:00-05:30+02:00`, `01:00-04:00Z`. A window
/// whose end is not after its begin goes over midnight. The begin is in it, the end is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Minutes of the local day.
    from: i64,
    to: i64,
    /// How far local time is ahead of UTC, in minutes.
    offset: i64,
}

impl Window {
    /// Whether it is open at this time, µs since the Unix epoch.
    pub fn is_open(&self, at_us: i64) -> bool {
        let minute = at_us
            .div_euclid(US_A_MINUTE)
            .saturating_add(self.offset)
            .rem_euclid(MINUTES_A_DAY);
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

impl FromStr for Window {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| {
            Error::field(
                "window",
                "is not like 22:00-05:30+02:00: from, to and the offset of local time from UTC \
                 (+HH:MM, -HH:MM to 14 hours, or Z), with from and to apart",
            )
        })
    }
}

fn parse(text: &str) -> Option<Window> {
    let (from, rest) = text.split_once('-')?;
    let (from, to) = (time(from)?, time(rest.get(..5)?)?);
    let offset = match rest.get(5..)? {
        "Z" => 0,
        zone => {
            let minutes = time(zone.get(1..)?)?;
            match zone.get(..1)? {
                "+" => minutes,
                "-" => -minutes,
                _ => return None,
            }
        }
    };
    (from != to && offset.abs() <= MAX_OFFSET_MINUTES).then_some(Window { from, to, offset })
}

/// Minutes of `HH:MM`.
fn time(text: &str) -> Option<i64> {
    let digit = |at: usize| {
        let byte = *text.as_bytes().get(at)?;
        byte.is_ascii_digit().then(|| i64::from(byte - b'0'))
    };
    let (hours, minutes) = (digit(0)? * 10 + digit(1)?, digit(3)? * 10 + digit(4)?);
    let is_time = text.len() == 5 && text.as_bytes()[2] == b':' && hours < 24 && minutes < 60;
    is_time.then_some(hours * 60 + minutes)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |minutes: i64| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        write!(f, "{}-{}", part(self.from), part(self.to))?;
        match self.offset {
            0 => f.write_str("Z"),
            ahead @ 1.. => write!(f, "+{}", part(ahead)),
            behind => write!(f, "-{}", part(-behind)),
        }
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(hour: i64, minute: i64) -> i64 {
        // A day in 2026, in UTC.
        (20_600 * MINUTES_A_DAY + hour * 60 + minute) * US_A_MINUTE
    }

    #[test]
    fn it_is_open_at_local_times_of_day() {
        let night: Window = "22:00-05:30+02:00".parse().unwrap();
        for (hour, minute, open) in [
            (19, 59, false),
            (20, 0, true),
            (23, 30, true),
            (3, 29, true),
            (3, 30, false),
            (12, 0, false),
        ] {
            assert_eq!(night.is_open(at(hour, minute)), open, "{hour}:{minute}");
        }
        let west: Window = "01:00-04:00-03:30".parse().unwrap();
        assert!(west.is_open(at(4, 30)) && !west.is_open(at(7, 30)) && !west.is_open(at(4, 29)));
        let utc: Window = "01:00-04:00Z".parse().unwrap();
        assert!(utc.is_open(at(1, 0)) && !utc.is_open(at(4, 0)));
        assert!(
            !utc.is_open(i64::MIN) || !utc.is_open(i64::MAX),
            "no time is too far"
        );
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "",
            "22:00",
            "22:00-05:30",
            "22:00-05:30+2:00",
            "24:00-05:30Z",
            "22:60-05:30Z",
            "22:00-22:00Z",
            "22:00-05:30+15:00",
            "22:00-05:30UTC",
            "2200-0530Z",
            "22:00-05:é0Z",
            "٢٢:00-05:30Z",
        ] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_is_written_as_it_is_read(text in "[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9](Z|[+-](0[1-9]|1[0-3]):[0-5][0-9])") {
            if let Ok(window) = text.parse::<Window>() {
                prop_assert_eq!(window.to_string(), text);
            }
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = text.parse::<Window>();
        }
    }
}
