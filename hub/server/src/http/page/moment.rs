//! Points in time for people: UTC, and said so.

use maud::{Markup, html};
pub(in crate::http) use stencil_protocol::moment::{rfc3339, utc};

/// `<time>` with the machine's form beside the people's.
pub(in crate::http) fn element(time_us: i64) -> Markup {
    html! { time datetime=(rfc3339(time_us)) { (utc(time_us)) " UTC" } }
}

/// `<time>` that says how long ago it was, and goes on saying it while the page is open.
pub(in crate::http) fn ago(time_us: i64, now_us: i64) -> Markup {
    html! {
        time datetime=(rfc3339(time_us)) title={ (utc(time_us)) " UTC" } data-ago=(time_us) {
            (since(now_us.saturating_sub(time_us)))
        }
    }
}

/// The same words as the script's, which goes on with them.
pub(super) fn since(us: i64) -> String {
    match us.div_euclid(1_000_000) {
        ..=-2 => "in the future".to_owned(),
        -1..=1 => "just now".to_owned(),
        s @ 2..=59 => format!("{s} s ago"),
        s @ 60..=3_599 => format!("{} min ago", s / 60),
        s @ 3_600..=86_399 => format!("{} h ago", s / 3_600),
        s => format!("{} d ago", s / 86_400),
    }
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
    fn ages() {
        for (seconds, text) in [
            (-2, "in the future"),
            (0, "just now"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (7_199, "1 h ago"),
            (86_400 * 3, "3 d ago"),
        ] {
            assert_eq!(since(seconds * 1_000_000), text);
        }
        assert!(!since(i64::MIN).is_empty() && !since(i64::MAX).is_empty());
    }

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
