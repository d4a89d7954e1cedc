//! Points in time for people: UTC, and said so.

use maud::{Markup, html};
use stencil_protocol::moment::rfc3339;
pub(in crate::http) use stencil_protocol::moment::utc;

/// `<time>` with the machine's form beside the people's.
pub(in crate::http) fn element(time_us: i64) -> Markup {
    html! { time datetime=(rfc3339(time_us)) { (utc(time_us)) " UTC" } }
}

/// A length of time: `340 ms`, `12.5 s`, `3 min`, `2.0 h`, `5 d`.
pub(in crate::http) fn length(us: i64) -> String {
    let tenths = |unit_us: i64| {
        let tenths = us.saturating_mul(10) / unit_us;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match us {
        ..=999_999 => format!("{} ms", us.max(0) / 1_000),
        1_000_000..=59_999_999 => format!("{} s", tenths(1_000_000)),
        60_000_000..=3_599_999_999 => format!("{} min", us / 60_000_000),
        3_600_000_000..=86_399_999_999 => format!("{} h", tenths(3_600_000_000)),
        _ => format!("{} d", us / 86_400_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (us, text) in [
            (-5, "0 ms"),
            (340_000, "340 ms"),
            (12_560_000, "12.5 s"),
            (180_000_000, "3 min"),
            (7_200_000_000, "2.0 h"),
            (500_000_000_000, "5 d"),
        ] {
            assert_eq!(length(us), text);
        }
        assert!(!length(i64::MAX).is_empty());
    }
}
