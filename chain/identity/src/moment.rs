//! Points in time as text: XML Schema's `dateTimeStamp`, which has a time zone always.

/// What is wrong with a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no time such as 2026-11-28T22:00:00Z, with seconds and a time zone")]
pub struct Error(String);

const DAY_S: i64 = 86_400;

/// Reads a time, as µs since the Unix epoch. What is finer than a microsecond is dropped.
///
/// # Errors
/// It is no `dateTimeStamp` of the years 0001 to 9999.
pub fn parse(text: &str) -> Result<i64, Error> {
    read(text).ok_or_else(|| Error(crate::text::shown(text)))
}

/// A time in µs since the Unix epoch as text, in whole seconds if it is one.
///
/// What is beyond the years 0001 to 9999 is written as the first or the last moment of them.
#[must_use]
pub fn format(time_us: i64) -> String {
    let time_us = time_us.clamp(MIN_US, MAX_US);
    let seconds = time_us.div_euclid(1_000_000);
    let (year, month, day) = date(seconds.div_euclid(DAY_S));
    let of_day = seconds.rem_euclid(DAY_S);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let fraction = match time_us.rem_euclid(1_000_000) {
        0 => String::new(),
        micros => format!(".{micros:06}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// The first moment of the year 1 and the last one of 9999.
const MIN_US: i64 = -62_135_596_800_000_000;
const MAX_US: i64 = 253_402_300_799_999_999;

fn read(text: &str) -> Option<i64> {
    // A fraction beyond nanoseconds is nobody's clock.
    if text.len() > 40 || !text.is_ascii() {
        return None;
    }
    let (date_part, rest) = text.split_once('T')?;
    let (year, rest_of_date) = date_part.split_once('-')?;
    let (month, day) = rest_of_date.split_once('-')?;
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    if year < 1 || !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    let (clock, zone_s) = zone(rest)?;
    let (clock, micros) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, fraction_us(fraction)?),
        None => (clock, 0),
    };
    let mut parts = clock.split(':');
    let (hour, minute, second) = (
        digits(parts.next()?, 2)?,
        digits(parts.next()?, 2)?,
        digits(parts.next()?, 2)?,
    );
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second - zone_s;
    Some(seconds * 1_000_000 + micros)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn fraction_us(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let padded: String = text.chars().chain("000000".chars()).take(6).collect();
    padded.parse().ok()
}

/// The time of day, and how many seconds it is ahead of UTC.
fn zone(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some((clock, 0));
    }
    let at = text.len().checked_sub(6)?;
    let (clock, zone) = text.split_at_checked(at)?;
    let (sign, zone) = match zone.split_at_checked(1)? {
        ("+", zone) => (1, zone),
        ("-", zone) => (-1, zone),
        _ => return None,
    };
    let (hours, minutes) = zone.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    if minutes > 59 || hours * 60 + minutes > 14 * 60 {
        return None;
    }
    Some((clock, sign * (hours * 3600 + minutes * 60)))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the Unix epoch, by the Gregorian calendar's 400-year cycle from 1 March 0000.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let cycle = year.div_euclid(400);
    let of_cycle = year.rem_euclid(400);
    let shifted = (month + 9) % 12;
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    cycle * 146_097 + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year - 719_468
}

fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let cycle = days.div_euclid(146_097);
    let of_cycle = days.rem_euclid(146_097);
    let year = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year + cycle * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_with_their_zones() {
        for (text, time_us) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2023-02-24T23:36:38Z", 1_677_281_798_000_000),
            ("2000-02-29T00:00:00Z", 951_782_400_000_000),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1969-12-31T16:00:00.25-08:00", 250_000),
            ("1970-01-01T00:00:00.000000999Z", 0),
            ("1969-12-31T23:59:59.999999Z", -1),
        ] {
            assert_eq!(parse(text), Ok(time_us), "{text}");
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "2023-02-24",
            "2023-02-24T23:36:38",
            "2023-02-24T23:36Z",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-1-01T00:00:00Z",
            "2023-02-24T24:00:00Z",
            "2023-02-24T23:36:60Z",
            "2023-02-24t23:36:38z",
            "2023-02-24T23:36:38.Z",
            "2023-02-24T23:36:38+15:00",
            "2023-02-24T23:36:38+1:00",
            "0000-01-01T00:00:00Z",
            "+2023-02-24T23:36:38Z",
            "２023-02-24T23:36:38Z",
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains("2026-11-28T22:00:00Z"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn each_time_is_read_as_it_was_written(time_us in MIN_US..=MAX_US) {
            prop_assert_eq!(parse(&format(time_us)), Ok(time_us));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,45}") {
            let _ = parse(&text);
        }
    }
}
