//! Times and spans as people write them on a command line.

use stencil_protocol::moment;

/// A span such as `90s`, `15m`, `2h`, `7d`, in µs.
///
/// # Errors
/// What would be right.
pub(crate) fn span_us(text: &str) -> Result<i64, String> {
    let right = || format!("{text:?} is no time span: a number and a unit are, as in 90s, 2h, 7d");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_us: i64 = match &text[digits.len()..] {
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return Err(right()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(right());
    }
    let number: i64 = digits.parse().map_err(|_| right())?;
    number.checked_mul(unit_us).ok_or_else(right)
}

/// A time: `now`, `-2h` (before now) or RFC 3339 (`2026-03-01T12:00:00Z`, with an offset, or with
/// a blank for the `T`; a date alone is its midnight in UTC). In µs since the Unix epoch.
///
/// # Errors
/// What would be right.
pub(crate) fn time_us(text: &str, now_us: i64) -> Result<i64, String> {
    if text == "now" {
        return Ok(now_us);
    }
    if let Some(span) = text.strip_prefix('-') {
        return Ok(now_us.saturating_sub(span_us(span)?));
    }
    rfc3339_us(text).ok_or_else(|| {
        format!("{text:?} is no time: now, -2h, 2026-03-01 and 2026-03-01T12:00:00Z are the forms")
    })
}

/// An argument that is a time, still relative to a `now` that the command takes later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moment(String);

/// The end of a stretch of time: as [`Moment`], but a date alone is the end of its day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Until(Moment);

impl Until {
    /// The time, seen from `now_us`.
    pub(crate) fn us(&self, now_us: i64) -> Result<i64, String> {
        const DAY_US: i64 = 86_400_000_000;
        let time_us = self.0.us(now_us)?;
        Ok(time_us + if self.is_date() { DAY_US } else { 0 })
    }

    /// Whether it is a day, whose end is the next one's midnight.
    pub(crate) fn is_date(&self) -> bool {
        let Moment(text) = &self.0;
        // Nothing else that is a time begins with a digit and has ten characters.
        text.len() == 10 && text.starts_with(|first: char| first.is_ascii_digit())
    }
}

impl std::str::FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl Moment {
    /// The time, seen from `now_us`.
    pub(crate) fn us(&self, now_us: i64) -> Result<i64, String> {
        time_us(&self.0, now_us)
    }
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        time_us(text, 0).map(|_| Self(text.to_owned()))
    }
}

/// The machine's time, µs since the Unix epoch.
pub(crate) fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}

/// RFC 3339, or a date alone.
fn rfc3339_us(text: &str) -> Option<i64> {
    const DATE: usize = "2026-03-01".len();
    match text.len() {
        DATE => moment::from_rfc3339(&format!("{text}T00:00:00Z")),
        _ => moment::from_written(text),
    }
}

#[cfg(test)]
mod tests {
    use stencil_protocol::moment::rfc3339;

    use super::*;

    #[test]
    fn spans_need_a_unit() {
        assert_eq!(span_us("90s"), Ok(90_000_000));
        assert_eq!(span_us("250ms"), Ok(250_000));
        assert_eq!(span_us("2h"), Ok(7_200_000_000));
        assert_eq!(span_us("7d"), Ok(604_800_000_000));
        for wrong in [
            "",
            "h",
            "2",
            "-2h",
            "2 h",
            "1.5h",
            "2w",
            "9999999999999999d",
            "2é",
        ] {
            assert!(span_us(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn times_are_relative_or_rfc_3339() {
        let now_us = 1_386_018_900_000_000;
        assert_eq!(time_us("now", now_us), Ok(now_us));
        assert_eq!(time_us("-2h", now_us), Ok(now_us - 7_200_000_000));
        for (text, expected) in [
            ("2013-12-02T21:15:00Z", now_us),
            ("2013-12-02 21:15:00Z", now_us),
            ("2013-12-02T22:15:00+01:00", now_us),
            ("2013-12-02T16:45:00-04:30", now_us),
            ("2013-12-02T21:15:00.25Z", now_us + 250_000),
            ("2013-12-02T21:15:00.1234567Z", now_us + 123_456),
            ("2013-12-02", now_us - 76_500_000_000),
            ("1969-12-31T23:59:59Z", -1_000_000),
        ] {
            assert_eq!(time_us(text, 0), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "yesterday",
            "2013-12-02T21:15:00",
            "2013-13-02T21:15:00Z",
            "2013-02-29",
            "2013-12-02T24:00:00Z",
            "2013-12-02T21:15:00.Z",
            "2013-12-02T21:15:00Zx",
            "2013-12-02T21:15:00+1:00",
            "2013-12-0é",
            "1386018900",
        ] {
            assert!(time_us(wrong, 0).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_date_is_a_whole_day() {
        let until = |text: &str| text.parse::<Until>().unwrap().us(7_200_000_000);
        let from = |text: &str| text.parse::<Moment>().unwrap().us(7_200_000_000);
        assert_eq!(from("2013-12-02"), from("2013-12-02T00:00:00Z"));
        assert_eq!(until("2013-12-02"), from("2013-12-03"));
        assert_eq!(until("2013-12-02T00:00:00Z"), from("2013-12-02"));
        assert_eq!(until("now"), Ok(7_200_000_000));
        assert_eq!(until("-3600000ms"), Ok(3_600_000_000));
        let wrong = "2. March".parse::<Until>().unwrap_err();
        assert!(wrong.contains(" 2026-03-01 and"), "{wrong}");
    }

    #[test]
    fn what_is_written_is_read_back() {
        // Over four centuries, in steps that hit all months and times of day.
        let mut time_us = -11_644_473_600_000_000;
        while time_us < 4_102_444_800_000_000 {
            assert_eq!(rfc3339_us(&rfc3339(time_us)), Some(time_us));
            time_us += 1_000_003_000_000;
        }
    }
}
