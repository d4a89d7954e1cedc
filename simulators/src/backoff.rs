//! How long to wait before the next attempt to reach a gateway.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// When a gateway cannot be reached: waits that double, with up to half of
/// each left to chance, so that a fleet does not come back all at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reconnect {
    /// The first wait in milliseconds.
    pub initial_ms: u64,
    /// The longest wait in milliseconds.
    pub max_ms: u64,
    /// How long an attempt may take in milliseconds.
    pub timeout_ms: u64,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            initial_ms: 100,
            max_ms: 3_000,
            timeout_ms: 5_000,
        }
    }
}

/// The waits of one device.
#[derive(Debug)]
pub(crate) struct Backoff {
    options: Reconnect,
    random: Random,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(options: Reconnect, random: Random) -> Self {
        Self {
            options,
            random,
            failures: 0,
        }
    }

    /// The wait after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let doubled = self
            .options
            .initial_ms
            .saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let full = Duration::from_millis(doubled.min(self.options.max_ms));
        full.mul_f64(self.random.between(0.5, 1.0))
    }

    /// The gateway was reached.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_starts_over() {
        let mut backoff = Backoff::new(Reconnect::default(), Random::new(1, "x"));
        for full in [100, 200, 400, 800, 1_600, 3_000, 3_000] {
            let wait = backoff.next();
            assert!(wait <= Duration::from_millis(full), "{wait:?} of {full}");
            assert!(
                wait >= Duration::from_millis(full / 2),
                "{wait:?} of {full}"
            );
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }
}
