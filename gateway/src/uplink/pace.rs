//! How fast what waited is brought, where somebody says so: beside the window, which yields to what
//! is new, a bound in bytes a second, for lines that are paid by the byte or shared with others.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// As much may go at once after a pause.
const BURST: Duration = Duration::from_secs(1);

/// When the next of what waited may be sent.
pub(super) struct Pace {
    bytes_per_s: watch::Receiver<u64>,
    /// When all that was sent is within the rate.
    paid_at: Instant,
}

impl Pace {
    /// At a rate that may change; 0: without a bound.
    pub(super) fn new(bytes_per_s: watch::Receiver<u64>) -> Self {
        Self {
            bytes_per_s,
            paid_at: Instant::now(),
        }
    }

    /// Returns when something may be sent. Dropped before it is done, it loses nothing.
    pub(super) async fn ready(&mut self) {
        loop {
            // What was sent at the rate before is forgotten with it.
            if self.bytes_per_s.has_changed().unwrap_or(false) {
                self.paid_at = Instant::now();
            }
            if *self.bytes_per_s.borrow_and_update() == 0 {
                return;
            }
            let Some(wait) = wait(self.paid_at, Instant::now()) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                Ok(()) = changed(&self.bytes_per_s) => {}
            }
        }
    }

    /// So many bytes are sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        let rate = *self.bytes_per_s.borrow();
        self.paid_at = paid(self.paid_at, Instant::now(), bytes, rate);
    }
}

/// Returns when the rate is another than was seen, and leaves it unseen.
async fn changed(bytes_per_s: &watch::Receiver<u64>) -> Result<(), watch::error::RecvError> {
    bytes_per_s.clone().changed().await
}

/// How long to wait; nothing, where it is not.
fn wait(paid_at: Instant, now: Instant) -> Option<Duration> {
    let ahead = paid_at.saturating_duration_since(now);
    (ahead > BURST).then(|| ahead - BURST)
}

fn paid(paid_at: Instant, now: Instant, bytes: usize, bytes_per_s: u64) -> Instant {
    if bytes_per_s == 0 {
        return now;
    }
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let takes_us = bytes.saturating_mul(1_000_000) / bytes_per_s;
    paid_at.max(now) + Duration::from_micros(takes_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_goes_in_a_second_and_no_more() {
        let start = Instant::now();
        let (mut paid_at, mut now, mut sent) = (start, start, 0_u64);
        // Each as soon as it may.
        while now < start + Duration::from_secs(100) {
            match wait(paid_at, now) {
                Some(pause) => now += pause,
                None => {
                    paid_at = paid(paid_at, now, 700, 10_000);
                    sent += 700;
                }
            }
        }
        // A second's worth at once, and then by the rate.
        assert!((1_000_000..=1_020_000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_pause_saves_up_one_second_and_without_a_bound_nothing_waits() {
        let start = Instant::now();
        let later = start + Duration::from_secs(3_600);
        let paid_at = paid(start, later, 10_000, 10_000);
        assert_eq!(wait(paid_at, later), None);
        let paid_at = paid(paid_at, later, 5_000, 10_000);
        assert_eq!(wait(paid_at, later), Some(Duration::from_millis(500)));
        assert_eq!(wait(paid(paid_at, later, 1 << 30, 0), later), None);
    }

    #[tokio::test]
    async fn another_rate_counts_at_once() {
        let (rate, rates) = watch::channel(1);
        let mut pace = Pace::new(rates);
        pace.sent(1 << 30);
        let ready = tokio::time::timeout(Duration::from_millis(20), pace.ready());
        assert!(ready.await.is_err());
        rate.send_replace(1 << 20);
        tokio::time::timeout(Duration::from_secs(5), pace.ready())
            .await
            .unwrap();
    }
}
