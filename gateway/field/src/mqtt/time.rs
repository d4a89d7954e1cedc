//! Times in payloads, in the forms in which devices write them.

use serde_json::Value;
use stencil_protocol::moment;

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
        Value::String(text) => moment::from_written(text)?,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

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
            prop_assert_eq!(moment::from_written(&text), Some(at_us));
        }

        #[test]
        fn any_text_is_a_time_or_none(text in "\\PC*|[0-9TZ:.+-]{0,32}") {
            let _ = moment::from_written(&text);
        }
    }
}
