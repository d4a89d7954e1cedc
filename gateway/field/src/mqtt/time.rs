//! Times in payloads, in the forms in which devices write them.

use serde_json::Value;

use crate::port::is_ahead;

/// 2025-01-01 and 2100-01-01, in seconds: what is outside of them is a clock that was never set,
/// or no time.
const LEAST_S: f64 = 1_735_689_600.0;
const MOST_S: f64 = 4_102_444_800.0;
/// What would be right.
pub(crate) const RIGHT: &str = "a time from 2025 on and at most 5 minutes ahead of the gateway's clock, as seconds, milliseconds or microseconds since \
                                1970, or as text with its offset, such as 2026-05-01T12:00:00Z";

/// Reads a time, in microseconds since the Unix epoch: as a number in seconds, milliseconds or
/// microseconds, which cannot be mistaken for each other between 2025 and 2100, or RFC 3339.
/// Nothing that is more than five minutes ahead of `now_us`, if that is the time of a clock that was set.
pub(crate) fn read(value: &Value, now_us: i64) -> Option<i64> {
    let at_us = match value {
        Value::Number(number) => number_us(number.as_f64()?, number.as_i64())?,
        Value::String(text) => rfc3339_us(text)?,
        _ => return None,
    };
    let range = whole(LEAST_S) * 1_000_000..whole(MOST_S) * 1_000_000;
    (range.contains(&at_us) && !is_ahead(at_us, now_us)).then_some(at_us)
}

#[allow(clippy::cast_possible_truncation)] // Of numbers whose range was looked at.
fn whole(number: f64) -> i64 {
    number.round() as i64
}

fn number_us(number: f64, exact: Option<i64>) -> Option<i64> {
    let range = |unit: f64| (LEAST_S * unit..MOST_S * unit).contains(&number);
    [1.0, 1e3, 1e6]
        .into_iter()
        .find(|unit| range(*unit))
        .map(|unit| {
            let factor = 1e6 / unit;
            match exact {
                Some(exact) => exact.saturating_mul(whole(factor)),
                None => whole(number * factor),
            }
        })
}

/// `2026-05-01T12:00:00.25+02:00`
fn rfc3339_us(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let digits = |from: usize, count: usize| -> Option<i64> {
        let part = bytes.get(from..from + count)?;
        part.iter().try_fold(0, |number, byte| {
            byte.is_ascii_digit()
                .then(|| number * 10 + i64::from(byte - b'0'))
        })
    };
    let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|byte| any.contains(byte));
    let marks = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    let leap = i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + leap,
        _ => return None,
    };
    if !marks || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut fraction_us = 0;
    if is(at, b".,") {
        at += 1;
        let count = bytes[at..]
            .iter()
            .take_while(|it| it.is_ascii_digit())
            .count();
        let shown = digits(at, count.min(6))?;
        fraction_us = shown * 10_i64.pow(u32::try_from(6 - count.min(6)).ok()?);
        at += count;
        if count == 0 {
            return None;
        }
    }
    let offset_min = match bytes.get(at..)? {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (digits(at + 1, 2)?, digits(at + 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let ahead = hours * 60 + minutes;
            if *sign == b'+' { ahead } else { -ahead }
        }
        _ => return None,
    };
    // Days since 1970 by the count of leap days before the year (Gregorian calendar).
    let before = year - 1;
    let days_of_years = year * 365 + before / 4 - before / 100 + before / 400 - 719_527;
    let of_year: i64 = (1..month)
        .map(|month| match month {
            2 => 28 + leap,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        })
        .sum();
    let days = days_of_years + of_year + day - 1;
    let seconds = (days * 24 + hour) * 3_600 + (minute - offset_min) * 60 + second;
    Some(seconds * 1_000_000 + fraction_us)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use stencil_protocol::moment;

    use super::*;

    const NOW_US: i64 = 1_800_000_000_000_000;

    #[test]
    fn times_are_read_in_the_forms_of_devices() {
        for (value, at_us) in [
            (json!(1_760_000_000), 1_760_000_000_000_000),
            (json!(1_760_000_000.25), 1_760_000_000_250_000),
            (json!(1_760_000_000_123_i64), 1_760_000_000_123_000),
            (json!(1_760_000_000_123_456_i64), 1_760_000_000_123_456),
            (json!("2026-05-01T12:00:00Z"), 1_777_636_800_000_000),
            (json!("2026-05-01T14:00:00.25+02:00"), 1_777_636_800_250_000),
            (
                json!("2026-05-01 11:30:00.1234567-00:30"),
                1_777_636_800_123_456,
            ),
        ] {
            assert_eq!(read(&value, NOW_US), Some(at_us), "{value}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for value in [
            json!(0),
            json!(-1),
            json!(1_000_000_000),
            json!(1e300),
            json!("2026-05-01T12:00:00"),
            json!("2026-02-29T12:00:00Z"),
            json!("2026-13-01T12:00:00Z"),
            json!("2026-05-01T24:00:00Z"),
            json!("1970-01-01T00:00:20Z"),
            json!("2026-05-01T12:00:00.Z"),
            json!("2026-05-01T12:00:00+2:00"),
            json!("2026-05-01T12:00:00Zé"),
            json!(""),
            json!(true),
            json!(null),
            // Two days, and six minutes, ahead of our clock.
            json!(1_800_172_800),
            json!(1_800_000_360),
        ] {
            assert_eq!(read(&value, NOW_US), None, "{value}");
        }
        // A clock of ours that was not set is no measure.
        assert!(read(&json!(1_800_172_800), 1_000_000).is_some());
    }

    proptest! {
        #[test]
        fn every_time_that_is_written_is_read(second in 1_735_689_600_i64..4_102_444_800) {
            let at_us = second * 1_000_000;
            let text = moment::rfc3339(at_us);
            prop_assert_eq!(rfc3339_us(&text), Some(at_us));
        }

        #[test]
        fn any_text_is_a_time_or_none(text in "\\PC*|[0-9TZ:.+-]{0,32}") {
            let _ = rfc3339_us(&text);
        }
    }
}
