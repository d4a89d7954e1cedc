//! How often somebody may ask: each caller, and each network for whoever is not signed in.
//!
//! A token bucket a key, kept as the one number of the generic cell rate algorithm (ITU-T I.371):
//! the time at which the bucket would be full again.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stencil_protocol::id::TenantId;
use stencil_store::{Opener, WalletKey};

use super::limits::RateLimits;
use super::recent::Recent;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    /// A user or a token, by whichever session.
    Caller(TenantId, Kind, String),
    /// A wallet that is in no tenant.
    Wallet(WalletKey),
    /// An operator, by the token's id.
    Operator(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    User,
    Token,
    Wallet,
}

impl Asker {
    /// Somebody of a tenant.
    pub(super) fn of(tenant: &TenantId, opener: &Opener) -> Self {
        let (kind, id) = match opener {
            Opener::User(name) => (Kind::User, name.clone()),
            Opener::Token(id) => (Kind::Token, id.clone()),
            Opener::Wallet(wallet) => (Kind::Wallet, hex::encode(wallet)),
        };
        Self::Caller(tenant.clone(), kind, id)
    }
}

/// How often everybody has asked of late.
#[derive(Debug)]
pub(super) struct Rates {
    callers: Buckets<Asker>,
    networks: Buckets<IpAddr>,
}

impl Rates {
    /// All buckets full.
    pub(super) fn new(limits: &RateLimits) -> Self {
        let (capacity, burst) = (limits.max_tracked, limits.caller_burst);
        Self {
            callers: Buckets::new(limits.caller_per_s, burst, capacity),
            networks: Buckets::new(limits.address_per_s, limits.address_burst, capacity),
        }
    }

    /// Somebody who is known asks.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn caller(&self, asker: Asker, now_us: i64) -> Result<(), Duration> {
        self.callers.take(asker, now_us)
    }

    /// Somebody of this network asks who is not known. See [`super::throttle::network`].
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn network(&self, network: IpAddr, now_us: i64) -> Result<(), Duration> {
        self.networks.take(network, now_us)
    }
}

#[derive(Debug)]
struct Buckets<K> {
    /// Time in which one request comes back.
    interval_us: i64,
    /// Time in which an empty bucket is full again.
    whole_us: i64,
    full_at: Mutex<Recent<K, i64>>,
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(per_s: u32, burst: u32, capacity: usize) -> Self {
        let interval_us = 1_000_000 / i64::from(per_s.clamp(1, 1_000_000));
        Self {
            interval_us,
            whole_us: interval_us * i64::from(burst.max(1)),
            full_at: Mutex::new(Recent::new(capacity)),
        }
    }

    fn take(&self, key: K, now_us: i64) -> Result<(), Duration> {
        let mut table = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = table.entry(key, || now_us);
        // No bucket takes longer than that to fill: the clock was set back.
        if *full_at > now_us.saturating_add(self.whole_us) {
            *full_at = now_us;
        }
        let after = (*full_at).max(now_us).saturating_add(self.interval_us);
        let over_us = after.saturating_sub(now_us.saturating_add(self.whole_us));
        if over_us > 0 {
            return Err(Duration::from_micros(over_us.unsigned_abs()));
        }
        *full_at = after;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    fn taken(buckets: &Buckets<u8>, key: u8, now_us: i64) -> usize {
        (0..1_000)
            .filter(|_| buckets.take(key, now_us).is_ok())
            .count()
    }

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let buckets = Buckets::new(10, 30, 100);
        assert_eq!(taken(&buckets, 1, S), 30);
        assert_eq!(buckets.take(1, S), Err(Duration::from_millis(100)));
        assert_eq!(taken(&buckets, 2, S), 30, "each has its own");
        assert_eq!(taken(&buckets, 1, 2 * S), 10);
        assert_eq!(
            taken(&buckets, 1, 100 * S),
            30,
            "no more than the bucket holds"
        );
    }

    #[test]
    fn who_waits_as_told_is_let_in() {
        let buckets = Buckets::new(3, 1, 100);
        let mut now_us = S;
        for _ in 0..100 {
            buckets.take(1, now_us).unwrap();
            let wait = buckets.take(1, now_us).unwrap_err();
            now_us += i64::try_from(wait.as_micros()).unwrap();
        }
        let (hundred_s, gone) = (100 * S / 3, now_us - S);
        assert!((gone - hundred_s).abs() < S, "{gone}");
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let buckets = Buckets::new(10, 30, 100);
        assert_eq!(taken(&buckets, 1, 1_000 * S), 30);
        assert_eq!(taken(&buckets, 1, S), 30);
    }
}
