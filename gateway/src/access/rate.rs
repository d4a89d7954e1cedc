//! How often strangers may ask: each network by itself, and all together.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use stencil_strangers::network;

/// Requests at once of one network, and how many more come a second.
const OF_ONE: (f64, f64) = (30.0, 2.0);
/// The same of all together.
const OF_ALL: (f64, f64) = (100.0, 30.0);
/// Networks that are remembered.
const MAX_NETWORKS: usize = 1_024;

/// A bucket that fills by itself.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, (most, per_s): (f64, f64), now: Instant) -> bool {
        self.fill((most, per_s), now);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }

    fn fill(&mut self, (most, per_s): (f64, f64), now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = passed.mul_add(per_s, self.left).min(most);
        self.at = now;
    }
}

/// Who has asked how often.
#[derive(Debug)]
pub(super) struct Rate(Mutex<State>);

#[derive(Debug)]
struct State {
    all: Bucket,
    networks: HashMap<IpAddr, Bucket>,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        let all = Bucket {
            left: OF_ALL.0,
            at: now,
        };
        Self(Mutex::new(State {
            all,
            networks: HashMap::new(),
        }))
    }

    /// Whether somebody at this address may ask now.
    pub(super) fn may(&self, address: IpAddr, now: Instant) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { all, networks } = &mut *state;
        let network = network(address);
        if !networks.contains_key(&network) && networks.len() >= MAX_NETWORKS {
            // Those that have asked for nothing of late are as good as not known.
            networks.retain(|_, bucket| {
                bucket.fill(OF_ONE, now);
                bucket.left < OF_ONE.0
            });
            if networks.len() >= MAX_NETWORKS {
                return all.take(OF_ALL, now);
            }
        }
        let bucket = networks.entry(network).or_insert(Bucket {
            left: OF_ONE.0,
            at: now,
        });
        // One network's share first, so that it uses up nobody else's.
        bucket.take(OF_ONE, now) && all.take(OF_ALL, now)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use super::*;

    #[test]
    fn one_network_does_not_keep_another_out() {
        let now = Instant::now();
        let rate = Rate::new(now);
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let asked = (0..1_000).filter(|_| rate.may(one, now)).count();
        assert_eq!(asked, 30);
        assert!(rate.may(two, now));
        assert!(!rate.may(one, now));
        assert!(rate.may(one, now + Duration::from_secs(1)));
    }

    #[test]
    fn many_networks_share_what_there_is_and_take_no_more_memory() {
        let now = Instant::now();
        let rate = Rate::new(now);
        let asked = (0..5_000_u32).filter(|n| rate.may(Ipv4Addr::from(*n).into(), now));
        assert_eq!(asked.count(), 100);
        assert!(rate.0.lock().unwrap().networks.len() <= MAX_NETWORKS);
    }
}
