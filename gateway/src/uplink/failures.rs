//! Which failed attempts to reach the hub are told in the log.

/// Failures in a row. An outage of days must not leave nothing else in a log that has a bound.
#[derive(Debug, Default)]
pub(super) struct Failures {
    last: String,
    times: u64,
}

impl Failures {
    /// Whether to tell why an attempt failed: each other reason, and of one reason the 1st, 2nd, 4th,
    /// 8th … time in a row.
    pub(super) fn is_news(&mut self, why: &str) -> bool {
        if self.last == why {
            self.times = self.times.saturating_add(1);
        } else {
            why.clone_into(&mut self.last);
            self.times = 1;
        }
        self.times.is_power_of_two()
    }

    /// How often it failed so in a row.
    pub(super) fn times(&self) -> u64 {
        self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_ever_more_seldom_and_another_reason_at_once() {
        let mut failures = Failures::default();
        // A day of an attempt every four seconds.
        let told = (0..21_600).filter(|_| failures.is_news("refused")).count();
        assert_eq!((told, failures.times()), (15, 21_600));
        assert!(failures.is_news("no route"));
        assert!(failures.is_news("refused"));
        assert_eq!(failures.times(), 1);
    }
}
