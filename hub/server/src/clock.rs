//! Wall time as an input.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

/// Where the hub takes the time from: the system, or a test.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| {
                    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
                })
        }))
    }

    /// A clock that asks `now_us` for µs since the Unix epoch.
    #[must_use]
    pub fn from_fn(now_us: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_us))
    }

    /// The time, µs since the Unix epoch.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        (self.0)()
    }
}

#[async_trait]
impl stencil_workflow::Clock for Clock {
    fn now_us(&self) -> i64 {
        Self::now_us(self)
    }

    async fn sleep_until(&self, at_us: i64) {
        // In pieces, because any clock may be set while it sleeps.
        const PIECE_US: u64 = 1_000_000;
        loop {
            let left_us = u64::try_from(at_us.saturating_sub(self.now_us())).unwrap_or(0);
            if left_us == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_micros(left_us.min(PIECE_US))).await;
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
