//! Points in time for people, in UTC.

use alloc::format;
use alloc::string::String;

const DAY_S: i64 = 86_400;

/// A time in µs since the Unix epoch as `2014-02-19 15:25:00`, UTC.
pub fn utc(time_us: i64) -> String {
    let seconds = time_us.div_euclid(1_000_000);
    let (year, month, day) = date(seconds.div_euclid(DAY_S));
    let of_day = seconds.rem_euclid(DAY_S);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// The same as `2014-02-19T15:25:00Z` (RFC 3339).
pub fn rfc3339(time_us: i64) -> String {
    let mut text = utc(time_us).replace(' ', "T");
    text.push('Z');
    text
}

/// A `date-time` of RFC 3339, section 5.6, in µs since the Unix epoch: what is finer is cut. `None` if it
/// is none, such as 31 February.
pub fn from_rfc3339(text: &str) -> Option<i64> {
    read(text, b"Tt", b".")
}

/// The same as devices and people write it, too: with a blank in the place of the `T`, as RFC 3339 leaves to
/// them, or with a comma before the fraction, as ISO 8601 does.
pub fn from_written(text: &str) -> Option<i64> {
    read(text, b"Tt ", b".,")
}

fn read(text: &str, between: &[u8], points: &[u8]) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, digits: usize| -> Option<i64> {
        let part = bytes.get(from..from + digits)?;
        part.iter().try_fold(0, |number, byte| {
            byte.is_ascii_digit()
                .then(|| number * 10 + i64::from(byte - b'0'))
        })
    };
    let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|byte| any.contains(byte));
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if !(is(4, b"-") && is(7, b"-") && is(10, between) && is(13, b":") && is(16, b":")) {
        return None;
    }
    // A leap second is the last of its minute.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut fraction_us = 0;
    if is(at, points) {
        let digits = bytes.get(at + 1..)?;
        let count = digits.iter().take_while(|it| it.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        for place in 0..6 {
            let digit = digits.get(place).filter(|_| place < count);
            fraction_us = fraction_us * 10 + digit.map_or(0, |digit| i64::from(digit - b'0'));
        }
        at += 1 + count;
    }
    let offset_min = match bytes.get(at..)? {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(at + 1, 2)?, number(at + 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let ahead = hours * 60 + minutes;
            if *sign == b'+' { ahead } else { -ahead }
        }
        _ => return None,
    };
    let days = day_of(year, month, day)?;
    let seconds = (days * 24 + hour) * 3_600 + (minute - offset_min) * 60 + second;
    Some(seconds * 1_000_000 + fraction_us)
}

/// The day since the Unix epoch of a date, by the same cycle; `None` if there is no such date.
fn day_of(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let cycle = shifted_year.div_euclid(400);
    let year_of_cycle = shifted_year.rem_euclid(400);
    let shifted = (month + 9) % 12;
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    let of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + of_year;
    let days = cycle * 146_097 + of_cycle - 719_468;
    // What a month does not have is another day of the next.
    (date(days) == (year, month, day)).then_some(days)
}

/// Days since the Unix epoch as a date of the Gregorian calendar, by its 400-year cycle that
/// begins on 1 March 0000, so that the leap day is a year's last.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let cycle = days.div_euclid(146_097);
    let of_cycle = days.rem_euclid(146_097);
    let year_of_cycle =
        (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_cycle + cycle * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for time_s in [
            0,
            -1,
            951_782_400,
            4_107_542_399,
            4_107_542_400,
            1_386_018_900,
        ] {
            let time_us = time_s * 1_000_000;
            assert_eq!(from_rfc3339(&rfc3339(time_us)), Some(time_us));
        }
        let at_us = 1_632_990_324_000_000; // 2021-09-30 08:25:24
        for text in [
            "2021-09-30T08:25:24Z",
            "2021-09-30t08:25:24.000z",
            "2021-09-30T10:25:24+02:00",
            "2021-09-29T23:55:24-08:30",
            "2021-09-30T08:25:24.0000009-00:00",
        ] {
            assert_eq!(from_rfc3339(text), Some(at_us), "{text}");
            assert_eq!(from_written(text), Some(at_us), "{text}");
        }
        for text in ["2021-09-30 08:25:24Z", "2021-09-30T10:25:24,000+02:00"] {
            assert_eq!(from_written(text), Some(at_us), "{text}");
            assert_eq!(from_rfc3339(text), None, "{text}");
        }
        assert_eq!(
            from_rfc3339("2016-12-31T23:59:60Z"),
            from_rfc3339("2017-01-01T00:00:00Z")
        );
        for text in [
            "",
            "2021-09-30",
            "2021-09-30 08:25:24Z",
            "2021-09-30T08:25:24",
            "2021-09-30T08:25:24.Z",
            "2021-09-30T08:25:24+2:00",
            "2021-09-30T08:25:24+24:00",
            "2021-09-30T24:25:24Z",
            "2021-02-29T08:25:24Z",
            "2100-02-29T08:25:24Z",
            "2021-04-31T08:25:24Z",
            "2021-00-30T08:25:24Z",
            "2021-13-30T08:25:24Z",
            "2021-01-00T08:25:24Z",
            "2021-01-32T08:25:24Z",
            "2021-09-30T08:25:24Zx",
            "\u{ff12}021-09-30T08:25:24Z",
            "Wed Oct 05 2011 16:48:00 GMT+0200 (CEST)",
        ] {
            assert_eq!(from_rfc3339(text), None, "{text}");
            let is_written = text == "2021-09-30 08:25:24Z";
            assert_eq!(from_written(text).is_some(), is_written, "{text}");
        }
    }

    #[test]
    fn dates_at_the_edges_of_the_calendar() {
        for (time_s, text) in [
            (0, "1970-01-01 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (4_107_542_399, "2100-02-28 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (1_386_018_900, "2013-12-02 21:15:00"),
        ] {
            assert_eq!(utc(time_s * 1_000_000), text);
        }
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
        // Whatever a device's clock says, it is shown.
        for extreme in [i64::MIN, i64::MAX] {
            assert!(!utc(extreme).is_empty());
        }
    }
}
