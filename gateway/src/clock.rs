//! The time, and whether it is one: many gateways have no clock that runs without power, and
//! start in 1970 until the network has told them.

use std::time::SystemTime;

use stencil_log::Clock;

/// 2025-01-01: earlier than this nobody runs this gateway.
const PLAUSIBLE_FROM_US: i64 = 1_735_689_600_000_000;

/// Now, in microseconds since the Unix epoch.
pub(crate) fn now_us() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
}

/// Now, if the clock has been set.
pub(crate) fn set_now_us() -> Option<i64> {
    plausible(now_us())
}

/// Dates the spool's files. What was written before the clock was set has no age, or it would be
/// dropped as soon as the clock is set.
pub(crate) fn spool_clock() -> Clock {
    std::sync::Arc::new(|| set_now_us().unwrap_or(i64::MAX))
}

fn plausible(now_us: i64) -> Option<i64> {
    (now_us >= PLAUSIBLE_FROM_US).then_some(now_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_starts_with_the_epoch_is_not_set() {
        assert_eq!(plausible(5_000_000), None);
        assert_eq!(
            plausible(1_750_000_000_000_000),
            Some(1_750_000_000_000_000)
        );
        assert!(set_now_us().is_some(), "on a machine that runs tests");
    }
}
