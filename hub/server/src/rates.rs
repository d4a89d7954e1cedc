//! How many readings a tenant's devices send right now: counted second by second over the last
//! minute, in memory, for pages that watch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stencil_protocol::id::TenantId;

/// Seconds that are remembered, the one that is still running included.
const SECONDS: usize = 61;

/// The readings of each tenant. Bounded by the number of tenants. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Rates(Arc<Mutex<HashMap<TenantId, Ring>>>);

/// Counts of the last seconds; that of second `s` stands at `s % SECONDS`.
#[derive(Debug, Clone)]
struct Ring {
    counts: [u64; SECONDS],
    newest_s: i64,
}

impl Rates {
    /// So many readings of a tenant became durable.
    pub(crate) fn add(&self, tenant: &TenantId, readings: u64, now_us: i64) {
        let second = now_us.div_euclid(1_000_000);
        let mut table = self.table();
        // Without a clone in the common case.
        if let Some(ring) = table.get_mut(tenant) {
            ring.add(second, readings);
        } else {
            let mut ring = Ring {
                counts: [0; SECONDS],
                newest_s: second,
            };
            ring.add(second, readings);
            table.insert(tenant.clone(), ring);
        }
    }

    /// How many readings came in each of the last 60 whole seconds, the oldest first.
    #[must_use]
    pub fn last_minute(&self, tenant: &TenantId, now_us: i64) -> Vec<u64> {
        let now_s = now_us.div_euclid(1_000_000);
        let table = self.table();
        let ring = table.get(tenant);
        (now_s.saturating_sub(60)..now_s)
            .map(|second| ring.map_or(0, |ring| ring.of(second)))
            .collect()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<TenantId, Ring>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn add(&mut self, second: i64, readings: u64) {
        // A clock that is set back counts into the newest second.
        let second = second.max(self.newest_s);
        let passed = second.saturating_sub(self.newest_s);
        for ahead in 1..=passed.min(SECONDS as i64) {
            self.counts[place(self.newest_s.saturating_add(ahead))] = 0;
        }
        if passed > SECONDS as i64 {
            self.counts = [0; SECONDS];
        }
        self.newest_s = second;
        let count = &mut self.counts[place(second)];
        *count = count.saturating_add(readings);
    }

    fn of(&self, second: i64) -> u64 {
        let age = self.newest_s.saturating_sub(second);
        if (0..SECONDS as i64).contains(&age) {
            self.counts[place(second)]
        } else {
            0
        }
    }
}

fn place(second: i64) -> usize {
    usize::try_from(second.rem_euclid(SECONDS as i64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    #[test]
    fn each_second_has_its_count_and_old_ones_go() {
        let rates = Rates::default();
        let (ours, theirs) = (
            TenantId::parse("ours").unwrap(),
            TenantId::parse("theirs").unwrap(),
        );
        assert_eq!(rates.last_minute(&ours, 0), vec![0; 60]);
        for (at_s, readings) in [(100, 5), (100, 2), (101, 1), (159, 9), (160, 50)] {
            rates.add(&ours, readings, at_s * S);
        }
        rates.add(&theirs, 1_000, 130 * S);
        let minute = rates.last_minute(&ours, 160 * S);
        assert_eq!((minute[0], minute[1], minute[59]), (7, 1, 9));
        assert_eq!(minute.iter().sum::<u64>(), 17, "the running second is out");
        let later = rates.last_minute(&ours, 161 * S);
        assert_eq!((later[0], later[58], later[59]), (1, 9, 50));
        assert_eq!(rates.last_minute(&ours, 10_000 * S), vec![0; 60]);
        // After a pause nothing of before is told, and a clock set back loses nothing.
        rates.add(&ours, 3, 10_000 * S);
        rates.add(&ours, 4, 9_000 * S);
        let after = rates.last_minute(&ours, 10_001 * S);
        assert_eq!((after[59], after.iter().sum::<u64>()), (7, 7));
    }
}
