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
