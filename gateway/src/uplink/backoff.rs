//! How long to wait before the next attempt.

use std::time::Duration;

use stencil_crypto::rng;

const FIRST: Duration = Duration::from_millis(200);

/// Doubles up to a bound; each pause is drawn from its upper half, so that a hub that comes back
/// doesn't meet all its gateways at once.
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(max: Duration) -> Self {
        Self::between(FIRST.min(max), max)
    }

    /// From `first` on.
    pub(crate) fn between(first: Duration, max: Duration) -> Self {
        let next = first;
        Self { first, max, next }
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        pause.mul_f64(0.5 + 0.5 * chance())
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    rand_core::Rng::fill_bytes(&mut rng::Os, &mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_bound_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        for most_ms in [200, 400, 800, 1_000, 1_000] {
            let pause = backoff.next();
            let most = Duration::from_millis(most_ms);
            assert!(pause >= most / 2 && pause <= most, "{pause:?} of {most:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(200));
    }
}
