//! Time, passed in.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;

/// Tells the time, and waits for it.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// Now, µs since the Unix epoch.
    fn now_us(&self) -> i64;

    /// Returns once it is `at_us` or later.
    async fn sleep_until(&self, at_us: i64);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    async fn sleep_until(&self, at_us: i64) {
        // In pieces, because the wall clock may be set while it sleeps.
        const PIECE_US: u64 = 60_000_000;
        loop {
            let left_us = u64::try_from(at_us.saturating_sub(self.now_us())).unwrap_or(0);
            if left_us == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_micros(left_us.min(PIECE_US))).await;
        }
    }
}

/// A clock that stands still until it is moved: for tests and backtests.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<watch::Sender<i64>>);

impl ManualClock {
    /// A clock that shows `now_us`.
    pub fn at(now_us: i64) -> Self {
        Self(Arc::new(watch::Sender::new(now_us)))
    }

    /// Moves it on by `by_us`, and wakes who waits for that.
    pub fn advance(&self, by_us: i64) {
        self.0
            .send_modify(|now_us| *now_us = now_us.saturating_add(by_us));
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now_us(&self) -> i64 {
        *self.0.borrow()
    }

    async fn sleep_until(&self, at_us: i64) {
        // The sender lives as long as `self`: this cannot fail.
        let _ = self.0.subscribe().wait_for(|now_us| *now_us >= at_us).await;
    }
}
