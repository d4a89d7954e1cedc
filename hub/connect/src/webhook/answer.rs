//! What an answer means for the step.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use stencil_workflow::Failure;

/// Whether a status ends the step well; if not, whether it may pass.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, now_us: i64) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let message = format!("the receiver answered {status}");
    if status.is_redirection() {
        let message = format!("{message}; redirects are not followed: write the final URL");
        return Err(Failure::permanent(message));
    }
    let retryable = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    if !retryable {
        return Err(Failure::permanent(message));
    }
    let retry_after = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| retry_after(value, now_us));
    Err(Failure {
        retryable,
        retry_after,
        message,
    })
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(value: &str, now_us: i64) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let seconds = http_date(value)?.saturating_sub(now_us.div_euclid(1_000_000));
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// An IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`, in seconds since the Unix
/// epoch. The two obsolete forms are not read; a receiver may not send them.
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut parts = text.split_ascii_whitespace().skip(1);
    let day: i64 = parts.next()?.parse().ok()?;
    let month = MONTHS.find(parts.next().filter(|name| name.len() == 3)?)?;
    let month = i64::try_from(month).ok().filter(|at| at % 3 == 0)? / 3 + 1;
    let year: i64 = parts.next()?.parse().ok()?;
    let mut clock = parts
        .next()?
        .splitn(3, ':')
        .map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let sane = (1..=31).contains(&day)
        && (1970..=9999).contains(&year)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !sane || parts.next() != Some("GMT") {
        return None;
    }
    // Days since the epoch, with years that begin in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_both_forms() {
        let seconds =
            |value: &str, now: i64| retry_after(value, now * 1_000_000).map(|d| d.as_secs());
        assert_eq!(seconds("120", 0), Some(120));
        assert_eq!(
            seconds("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            Some(0)
        );
        assert_eq!(
            seconds("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_770),
            Some(7)
        );
        assert_eq!(
            seconds("Sun, 06 Nov 1994 08:49:37 GMT", 999_999_999),
            Some(0)
        );
        assert_eq!(
            seconds("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_799),
            Some(1)
        );
        for bad in [
            "",
            "-1",
            "soon",
            "99999999999",
            "Sun, 06 Nov 1994 08:49:37",
            "x 99 anF 1 1:1:1 GMT",
        ] {
            assert_eq!(seconds(bad, 0), None, "{bad}");
        }
    }

    #[test]
    fn what_may_pass_and_what_not() {
        let judged =
            |status: u16| judge(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), 0);
        for good in [200, 201, 202, 204] {
            assert_eq!(judged(good), Ok(()));
        }
        for passes in [408, 425, 429, 500, 502, 503, 504] {
            assert!(judged(passes).unwrap_err().retryable, "{passes}");
        }
        for stays in [301, 307, 400, 401, 403, 404, 409, 410, 413, 422] {
            assert!(!judged(stays).unwrap_err().retryable, "{stays}");
        }
    }
}
