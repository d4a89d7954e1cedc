//! Batches that cannot be read, of devices that have shown their key: a fault in their firmware,
//! as records cannot be altered on the way.
//!
//! Such a batch is not acknowledged, as nobody can say which numbers it holds: the device keeps
//! its samples and sends it again and again, a batch at a time, until its firmware is mended or it
//! is reset and reports its numbers as lost. So that this is seen, the batch is passed on to the
//! hub, which sets it aside with the reason; so that it fills neither spool nor quarantine, only
//! once in a while. The link stays: commands still get through.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use stencil_protocol::id::DeviceId;

/// How soon the same batch of a device is passed on again.
const SAME_PAUSE: Duration = Duration::from_secs(3_600);
/// How soon another one of the device is.
const OTHER_PAUSE: Duration = Duration::from_secs(60);
/// When that many devices are remembered, those that no longer matter are forgotten.
const SWEEP_AT: usize = 1_024;

/// What was passed on last of each device. Only devices with a key get in here.
#[derive(Default)]
pub(crate) struct Unreadable {
    hasher: RandomState,
    passed: Mutex<HashMap<DeviceId, Passed>>,
}

struct Passed {
    digest: u64,
    at: Instant,
}

impl Unreadable {
    /// Whether to pass this batch on; who asks does so.
    pub(super) fn is_news(&self, device: &DeviceId, payload: &[u8], now: Instant) -> bool {
        let digest = self.hasher.hash_one(payload);
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = passed.get(device) {
            let pause = if last.digest == digest {
                SAME_PAUSE
            } else {
                OTHER_PAUSE
            };
            if now.saturating_duration_since(last.at) < pause {
                return false;
            }
        }
        if passed.len() >= SWEEP_AT {
            passed.retain(|_, last| now.saturating_duration_since(last.at) < SAME_PAUSE);
        }
        passed.insert(device.clone(), Passed { digest, at: now });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_news_once_an_hour_and_another_once_a_minute() {
        let unreadable = Unreadable::default();
        let device = DeviceId::parse("freezer-07").unwrap();
        let other = DeviceId::parse("freezer-08").unwrap();
        let start = Instant::now();
        let second = |n| start + Duration::from_secs(n);
        assert!(unreadable.is_news(&device, b"a", second(0)));
        assert!(unreadable.is_news(&other, b"a", second(0)));
        assert!(!unreadable.is_news(&device, b"a", second(3_599)));
        assert!(!unreadable.is_news(&device, b"b", second(59)));
        assert!(unreadable.is_news(&device, b"b", second(60)));
        assert!(!unreadable.is_news(&device, b"b", second(3_659)));
        assert!(unreadable.is_news(&device, b"b", second(3_660)));
    }

    #[test]
    fn what_no_longer_matters_is_forgotten() {
        let unreadable = Unreadable::default();
        let start = Instant::now();
        let device = |n: usize| DeviceId::parse(&format!("d-{n}")).unwrap();
        for n in 0..SWEEP_AT {
            assert!(unreadable.is_news(&device(n), b"a", start));
        }
        let later = start + SAME_PAUSE;
        assert!(unreadable.is_news(&device(SWEEP_AT), b"a", later));
        assert_eq!(unreadable.passed.lock().unwrap().len(), 1);
    }
}
