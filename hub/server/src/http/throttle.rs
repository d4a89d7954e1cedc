//! Guessing is slow: who fails to sign in, or tries claim codes in vain, waits before the next attempt, longer each time.
//!
//! Attempts are counted in three ways, each with some that are free: for an account from one
//! network, for an account from anywhere, and from a network for whatever account. The first slows
//! down who guesses at one account, and nobody else who has it; the second who guesses from many
//! places; the third who tries many accounts. Attempts from a browser that is known
//! ([`super::device_cookie`]) or within a session are counted by that alone: nobody else's count
//! against them, and they count against nobody else.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stencil_protocol::id::TenantId;

use super::recent::Recent;

/// Subjects that are remembered.
const CAPACITY: usize = 32_768;
/// The longest time between two attempts.
const LONGEST: Duration = Duration::from_secs(60);
/// After so long without an attempt all is forgotten.
const FORGET_US: i64 = 15 * 60 * 1_000_000;

/// What attempts are counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// An account, from a network.
    AccountFrom(String, IpAddr),
    /// An account, from anywhere.
    Account(String),
    /// A network, at any account.
    Network(IpAddr),
    /// A browser or session that is the account's own, by its name.
    Own(String),
    /// A user or token of a tenant, at claim codes.
    Claimer(TenantId, String),
    /// A tenant, at claim codes.
    Claiming(TenantId),
}

impl Subject {
    /// What an attempt at `account` from `address` counts for; with `None` one that names no
    /// account.
    pub(super) fn of(account: Option<&str>, address: IpAddr) -> Vec<Self> {
        let network = network(address);
        let mut subjects = vec![Self::Network(network)];
        if let Some(account) = account {
            subjects.push(Self::AccountFrom(account.to_owned(), network));
            subjects.push(Self::Account(account.to_owned()));
        }
        subjects
    }

    /// What an attempt at a claim code counts for.
    pub(super) fn of_claim(tenant: &TenantId, who: String, address: IpAddr) -> Vec<Self> {
        vec![
            Self::Network(network(address)),
            Self::Claimer(tenant.clone(), who),
            Self::Claiming(tenant.clone()),
        ]
    }

    /// Attempts without a wait.
    fn free(&self) -> u32 {
        match self {
            Self::AccountFrom(..) | Self::Own(_) => 5,
            Self::Network(_) => 20,
            Self::Account(_) => 50,
            Self::Claimer(..) => 10,
            Self::Claiming(_) => 30,
        }
    }
}

/// Who shares an address: in IPv6 a customer has a /64 at least.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Attempts that have not succeeded.
#[derive(Debug, Clone, Copy, Default)]
struct Attempts {
    count: u32,
    last_us: i64,
    /// The one before the last.
    before_us: i64,
}

/// The attempts of late.
#[derive(Debug)]
pub(super) struct Throttle {
    table: Mutex<Recent<Subject, Attempts>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            table: Mutex::new(Recent::new(CAPACITY)),
        }
    }
}

impl Throttle {
    /// Begins an attempt, which counts as failed until [`Throttle::succeeded`]: those that run at
    /// the same time count too.
    ///
    /// # Errors
    /// How long to wait; then it is no attempt.
    pub(super) fn begin(&self, subjects: &[Subject], now_us: i64) -> Result<(), Duration> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = subjects.iter().filter_map(|subject| {
            let attempts = table.get(subject)?;
            attempts.wait(subject.free(), now_us)
        });
        if let Some(wait) = waits.max() {
            return Err(wait);
        }
        for subject in subjects {
            let attempts = table.entry(subject.clone(), Attempts::default);
            if attempts.is_over(now_us) {
                attempts.count = 0;
            }
            attempts.count = attempts.count.saturating_add(1);
            attempts.before_us = attempts.last_us;
            attempts.last_us = now_us;
        }
        Ok(())
    }

    /// An attempt that began at `begun_us` has not failed: it is taken back, as if it had not been, and
    /// with it what was counted for the account from this network.
    pub(super) fn succeeded(&self, subjects: &[Subject], begun_us: i64) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for subject in subjects {
            match subject {
                Subject::AccountFrom(..) | Subject::Own(_) | Subject::Claimer(..) => {
                    table.remove(subject);
                }
                Subject::Account(_) | Subject::Network(_) | Subject::Claiming(_) => {
                    let attempts = table.entry(subject.clone(), Attempts::default);
                    attempts.take_back(begun_us);
                }
            }
        }
    }

    /// An attempt that began at `begun_us` was none after all: all is as if it had not been. What
    /// failed before still counts.
    pub(super) fn taken_back(&self, subjects: &[Subject], begun_us: i64) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for subject in subjects {
            let attempts = table.entry(subject.clone(), Attempts::default);
            attempts.take_back(begun_us);
        }
    }
}

impl Attempts {
    fn take_back(&mut self, begun_us: i64) {
        self.count = self.count.saturating_sub(1);
        if self.last_us == begun_us {
            self.last_us = self.before_us;
        }
    }

    fn is_over(self, now_us: i64) -> bool {
        // A clock that was set back does not lock anybody out.
        now_us.saturating_sub(self.last_us) >= FORGET_US || now_us < self.last_us
    }

    /// How long to wait, 1 s with the first attempt that is not free and twice as long each time.
    fn wait(self, free: u32, now_us: i64) -> Option<Duration> {
        if self.count < free || self.is_over(now_us) {
            return None;
        }
        let doubled = 1_u64.checked_shl(self.count - free).unwrap_or(u64::MAX);
        let whole = Duration::from_secs(doubled).min(LONGEST);
        let gone = u64::try_from(now_us.saturating_sub(self.last_us)).unwrap_or(0);
        let left = whole.saturating_sub(Duration::from_micros(gone));
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    fn at(account: &str, address: &str) -> Vec<Subject> {
        Subject::of(Some(account), address.parse().unwrap())
    }

    #[test]
    fn each_further_failure_waits_longer_up_to_a_minute() {
        let throttle = Throttle::default();
        let one = at("acme/ann", "192.0.2.1");
        let mut now_us = S;
        for _ in 0..5 {
            throttle.begin(&one, now_us).unwrap();
        }
        for wait_s in [1, 2, 4, 8, 16, 32, 60, 60] {
            let wait = throttle.begin(&one, now_us).unwrap_err();
            assert_eq!(wait, Duration::from_secs(wait_s));
            now_us += i64::try_from(wait_s).unwrap() * S - 1;
            throttle.begin(&one, now_us).unwrap_err();
            now_us += 1;
            throttle.begin(&one, now_us).unwrap();
        }
        throttle.begin(&one, now_us + FORGET_US).unwrap();
        throttle.begin(&one, now_us + FORGET_US).unwrap();
    }

    #[test]
    fn others_who_have_the_account_and_others_of_the_network_are_let_in() {
        let throttle = Throttle::default();
        let guessing = at("acme/ann", "192.0.2.1");
        for _ in 0..5 {
            throttle.begin(&guessing, S).unwrap();
        }
        throttle.begin(&guessing, S).unwrap_err();
        throttle.begin(&at("acme/ann", "192.0.2.2"), S).unwrap();
        throttle.begin(&at("acme/ben", "192.0.2.1"), S).unwrap();
    }

    #[test]
    fn many_networks_at_one_account_and_many_accounts_from_one_network_wait() {
        let throttle = Throttle::default();
        let networks = (0..=255).map(|n| at("acme/ann", &format!("192.0.2.{n}")));
        let taken = networks.filter(|subjects| throttle.begin(subjects, S).is_ok());
        assert_eq!(taken.count(), 50);
        let accounts = (0..=255).map(|n| at(&format!("acme/{n}"), "2001:db8::1"));
        let taken = accounts.filter(|subjects| throttle.begin(subjects, S).is_ok());
        assert_eq!(taken.count(), 20);
        let neighbour = at("acme/new", "2001:db8::ffff");
        throttle.begin(&neighbour, S).unwrap_err();
        throttle
            .begin(&at("acme/new", "2001:db8:0:1::1"), S)
            .unwrap();
    }

    #[test]
    fn what_is_the_accounts_own_has_its_own_count() {
        let throttle = Throttle::default();
        for n in 0..=255 {
            let _ = throttle.begin(&at("acme/ann", &format!("192.0.2.{n}")), S);
        }
        let own = [Subject::Own("a browser".to_owned())];
        for _ in 0..5 {
            throttle.begin(&own, S).unwrap();
        }
        throttle.begin(&own, S).unwrap_err();
        throttle
            .begin(&[Subject::Own("another".to_owned())], S)
            .unwrap();
    }

    #[test]
    fn who_succeeds_has_not_failed() {
        let throttle = Throttle::default();
        let one = at("acme/ann", "192.0.2.1");
        for _ in 0..1_000 {
            throttle.begin(&one, S).unwrap();
            throttle.succeeded(&one, S);
        }
    }

    /// Of what is counted for the network alone, as with wallets and tokens.
    #[test]
    fn who_succeeds_makes_nobody_wait_and_does_not_renew_what_failed() {
        let throttle = Throttle::default();
        let network = Subject::of(None, "192.0.2.1".parse().unwrap());
        let mut now_us = S;
        for _ in 0..24 {
            while let Err(wait) = throttle.begin(&network, now_us) {
                now_us += i64::try_from(wait.as_micros()).unwrap();
            }
        }
        let failed_us = now_us;
        now_us += 60 * S;
        for _ in 0..100 {
            throttle.begin(&network, now_us).unwrap();
            throttle.succeeded(&network, now_us);
            now_us += 1;
        }
        // What failed counts for its time, from when it failed.
        let forgotten = |at_us: i64| {
            throttle.begin(&network, at_us).unwrap();
            throttle.begin(&network, at_us).is_ok()
        };
        assert!(!forgotten(failed_us + 60 * S + 200));
        let throttle = Throttle::default();
        for _ in 0..20 {
            throttle.begin(&network, S).unwrap();
        }
        for n in 1..5 {
            let at_us = S + n * FORGET_US / 5;
            throttle.begin(&network, at_us).unwrap();
            throttle.succeeded(&network, at_us);
        }
        for _ in 0..20 {
            throttle.begin(&network, S + FORGET_US).unwrap();
        }
    }

    #[test]
    fn what_is_taken_back_neither_counts_nor_forgives() {
        let throttle = Throttle::default();
        let one = at("acme/ann", "192.0.2.1");
        for n in 0..1_000 {
            throttle.begin(&one, S + n).unwrap();
            throttle.taken_back(&one, S + n);
        }
        for _ in 0..5 {
            throttle.begin(&one, 2 * S).unwrap();
        }
        assert_eq!(throttle.begin(&one, 2 * S), Err(Duration::from_secs(1)));
        // When the wait is over, what is right goes on without another, until something fails.
        for n in 0..1_000 {
            throttle.begin(&one, 3 * S + n).unwrap();
            throttle.taken_back(&one, 3 * S + n);
        }
        throttle.begin(&one, 4 * S).unwrap();
        assert_eq!(throttle.begin(&one, 4 * S), Err(Duration::from_secs(2)));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let throttle = Throttle::default();
        let one = at("acme/ann", "192.0.2.1");
        while throttle.begin(&one, 1_000 * S).is_ok() {}
        throttle.begin(&one, 0).unwrap();
    }
}
