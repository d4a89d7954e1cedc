//! Guessing is slow: who shows wrong passwords waits before the next one is looked at, longer each
//! time. Counted for a client's name from one address, for the name from anywhere, and for an
//! address with whatever name, so that who guesses does not lock out the device itself.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Subjects that are remembered; the one that was seen longest ago makes way.
const CAPACITY: usize = 2_048;
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// After so long without an attempt all is forgotten.
const FORGET: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    NameFrom(String, IpAddr),
    Name(String),
    From(IpAddr),
}

impl Subject {
    fn of(name: &str, address: IpAddr) -> [Self; 3] {
        let from = match address {
            IpAddr::V4(_) => address,
            // A customer has a /64 at least.
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        };
        [
            Self::NameFrom(name.to_owned(), from),
            Self::Name(name.to_owned()),
            Self::From(from),
        ]
    }

    /// Attempts without a wait.
    fn free(&self) -> u32 {
        match self {
            Self::NameFrom(..) => 5,
            Self::From(_) => 20,
            Self::Name(_) => 50,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Attempts {
    count: u32,
    last: Instant,
}

/// The attempts of late.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<Subject, Attempts>>);

impl Throttle {
    /// Begins an attempt, which counts as failed until [`Throttle::succeeded`].
    ///
    /// # Errors
    /// How long to wait; then it is no attempt.
    pub(crate) fn begin(&self, name: &str, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let subjects = Subject::of(name, address);
        let wait = |subject: &Subject| {
            let attempts = table.get(subject)?;
            let over = attempts.count.checked_sub(subject.free())?;
            let wait = Duration::from_secs(1 << over.min(6)).min(LONGEST);
            (attempts.last + wait).checked_duration_since(now)
        };
        let longest = subjects.iter().filter_map(wait).max();
        if let Some(wait) = longest.filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        for subject in subjects {
            if table.len() >= CAPACITY && !table.contains_key(&subject) {
                table.retain(|_, it| now.saturating_duration_since(it.last) < FORGET);
                let oldest = table.iter().min_by_key(|(_, it)| it.last);
                let oldest = oldest.map(|(subject, _)| subject.clone());
                if let Some(oldest) = oldest.filter(|_| table.len() >= CAPACITY) {
                    table.remove(&oldest);
                }
            }
            let fresh = Attempts {
                count: 0,
                last: now,
            };
            let attempts = table.entry(subject).or_insert(fresh);
            if now.saturating_duration_since(attempts.last) >= FORGET {
                attempts.count = 0;
            }
            attempts.count = attempts.count.saturating_add(1);
            attempts.last = now;
        }
        Ok(())
    }

    /// The password was not looked at: the attempt is taken back.
    pub(crate) fn not_looked_at(&self, name: &str, address: IpAddr) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for subject in Subject::of(name, address) {
            if let Some(attempts) = table.get_mut(&subject) {
                attempts.count = attempts.count.saturating_sub(1);
            }
        }
    }

    /// The password was right: the attempt is taken back, and with it what was counted for the name
    /// from this address.
    pub(crate) fn succeeded(&self, name: &str, address: IpAddr) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [both, name, from] = Subject::of(name, address);
        table.remove(&both);
        for subject in [name, from] {
            if let Some(attempts) = table.get_mut(&subject) {
                attempts.count = attempts.count.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn from(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn who_guesses_waits_longer_each_time_and_nobody_else() {
        let throttle = Throttle::default();
        let mut now = Instant::now();
        for _ in 0..5 {
            assert_eq!(throttle.begin("plug", from(1), now), Ok(()));
        }
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = throttle.begin("plug", from(1), now).unwrap_err();
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(throttle.begin("plug", from(1), now), Ok(()));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        // The device itself comes from elsewhere.
        assert_eq!(throttle.begin("plug", from(2), now), Ok(()));
        throttle.succeeded("plug", from(2));
        // All is forgotten after a while.
        assert!(throttle.begin("plug", from(1), now).is_err());
        assert_eq!(throttle.begin("plug", from(1), now + FORGET), Ok(()));
        assert_eq!(throttle.begin("plug", from(1), now + FORGET), Ok(()));
    }

    #[test]
    fn who_tries_many_names_waits_as_well_and_what_is_kept_is_bounded() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for n in 0..20 {
            assert_eq!(throttle.begin(&format!("a{n}"), from(1), now), Ok(()));
        }
        assert_eq!(throttle.begin("b", from(1), now), Err(SECOND));
        for n in 0..CAPACITY {
            let address = IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
            let _ = throttle.begin(&n.to_string(), address, now);
        }
        assert!(throttle.0.lock().unwrap().len() <= CAPACITY);
        // What was not looked at is no attempt, and makes no other undone.
        let throttle = Throttle::default();
        for _ in 0..5 {
            assert_eq!(throttle.begin("c", from(2), now), Ok(()));
        }
        assert!(throttle.begin("c", from(2), now).is_err());
        throttle.not_looked_at("c", from(2));
        assert_eq!(throttle.begin("c", from(2), now), Ok(()));
        assert!(throttle.begin("c", from(2), now).is_err());
        // Whoever succeeds never waits.
        for _ in 0..100 {
            assert_eq!(throttle.begin("good", from(9), now), Ok(()));
            throttle.succeeded("good", from(9));
        }
    }
}
