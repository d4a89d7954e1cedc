//! Guessing is slow: who shows wrong passwords waits before the next one is looked at, longer each
//! time. Counted for a client's name from one address, for the name from anywhere, and for an
//! address with whatever name.
//!
//! So that who guesses does not keep the device itself out, an address from which a name got in is
//! judged, for that name, by what it did itself: neither what others tried for the name counts
//! against it, nor what others behind the same address tried for other names. Guesses at this name
//! from there are slow all the same.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use stencil_strangers::network;

/// Subjects that are remembered; the one that was seen longest ago makes way.
const CAPACITY: usize = 2_048;
/// Names and addresses from which they got in that are remembered; the one that did so longest ago
/// makes way.
const AT_HOME: usize = 1_024;
/// Addresses of one name: who has a password shall not push out the others.
const HOMES: usize = 8;
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
        let from = network(address);
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
pub(crate) struct Throttle(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    attempts: HashMap<Subject, Attempts>,
    /// When a name got in from an address last.
    homes: HashMap<(String, IpAddr), Instant>,
}

impl Throttle {
    /// Begins an attempt, which counts as failed until [`Throttle::succeeded`].
    ///
    /// # Errors
    /// How long to wait; then it is no attempt.
    pub(crate) fn begin(&self, name: &str, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut table = self.table();
        let subjects = Subject::of(name, address);
        let is_home = table
            .homes
            .contains_key(&(name.to_owned(), network(address)));
        let wait = |subject: &Subject| {
            let attempts = table.attempts.get(subject)?;
            let over = attempts.count.checked_sub(subject.free())?;
            let wait = Duration::from_secs(1 << over.min(6)).min(LONGEST);
            (attempts.last + wait).checked_duration_since(now)
        };
        // The first is the name from this address.
        let judged = if is_home { 1 } else { subjects.len() };
        let longest = subjects.iter().take(judged).filter_map(wait).max();
        if let Some(wait) = longest.filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        for subject in subjects {
            if table.attempts.len() >= CAPACITY && !table.attempts.contains_key(&subject) {
                let is_recent = |it: &Attempts| now.saturating_duration_since(it.last) < FORGET;
                table.attempts.retain(|_, it| is_recent(it));
                forget_oldest(&mut table.attempts, CAPACITY - 1, |it| it.last);
            }
            let fresh = Attempts {
                count: 0,
                last: now,
            };
            let attempts = table.attempts.entry(subject).or_insert(fresh);
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
        let mut table = self.table();
        for subject in Subject::of(name, address) {
            if let Some(attempts) = table.attempts.get_mut(&subject) {
                attempts.count = attempts.count.saturating_sub(1);
            }
        }
    }

    /// The password was right: the attempt is taken back, and with it what was counted for the name
    /// from this address.
    pub(crate) fn succeeded(&self, name: &str, address: IpAddr, now: Instant) {
        let mut table = self.table();
        let [both, of_name, from] = Subject::of(name, address);
        table.attempts.remove(&both);
        for subject in [of_name, from] {
            if let Some(attempts) = table.attempts.get_mut(&subject) {
                attempts.count = attempts.count.saturating_sub(1);
            }
        }
        let home = (name.to_owned(), network(address));
        if table.homes.insert(home, now).is_none() {
            let of_name = table.homes.iter().filter(|((of, _), _)| of == name);
            if of_name.clone().count() > HOMES {
                let oldest = of_name.min_by_key(|(_, at)| **at).map(|(it, _)| it.clone());
                oldest.map(|oldest| table.homes.remove(&oldest));
            }
            forget_oldest(&mut table.homes, AT_HOME, |at| *at);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the one that was seen longest ago, if there are more than `most`.
fn forget_oldest<K: Clone + Eq + Hash, V>(
    table: &mut HashMap<K, V>,
    most: usize,
    at: impl Fn(&V) -> Instant,
) {
    if table.len() > most {
        let oldest = table.iter().min_by_key(|(_, it)| at(it));
        let oldest = oldest.map(|(key, _)| key.clone());
        oldest.map(|oldest| table.remove(&oldest));
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
        throttle.succeeded("plug", from(2), now);
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
        assert!(throttle.table().attempts.len() <= CAPACITY);
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
            throttle.succeeded("good", from(9), now);
        }
    }

    /// Guesses at a name from so many addresses, each as often as it may; from 10.0.0.0 on.
    fn flood(throttle: &Throttle, name: &str, now: Instant) -> usize {
        let addresses = (0..1_000_u32).map(|n| IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        let tried = addresses.filter(|from| throttle.begin(name, *from, now).is_ok());
        tried.count()
    }

    #[test]
    fn wrong_passwords_from_elsewhere_do_not_hold_up_who_got_in_before() {
        let throttle = Throttle::default();
        let mut now = Instant::now();
        throttle.begin("plug", from(2), now).unwrap();
        throttle.succeeded("plug", from(2), now);
        // Guessing is as slow as ever.
        assert_eq!(flood(&throttle, "plug", now), 50);
        assert!(throttle.begin("plug", from(3), now).is_err());
        // The device comes again, as often as it wants.
        for _ in 0..100 {
            assert_eq!(throttle.begin("plug", from(2), now), Ok(()));
            throttle.succeeded("plug", from(2), now);
        }
        // Also beside one that tries many names from its address (NAT).
        for n in 0..20 {
            assert_eq!(throttle.begin(&format!("a{n}"), from(2), now), Ok(()));
        }
        assert!(throttle.begin("b", from(2), now).is_err());
        assert_eq!(throttle.begin("plug", from(2), now), Ok(()));
        throttle.succeeded("plug", from(2), now);
        // Nobody guesses quickly from there for all that.
        let mut tried = 0;
        for _ in 0..1_000 {
            tried += u32::from(throttle.begin("plug", from(2), now).is_ok());
            now += Duration::from_millis(10);
        }
        assert!((5..=9).contains(&tried), "{tried}");
        // It is known for this name alone.
        assert_eq!(flood(&throttle, "other", now), 50);
        assert!(throttle.begin("other", from(2), now).is_err());
    }

    #[test]
    fn what_is_remembered_of_who_got_in_is_bounded() {
        let throttle = Throttle::default();
        let start = Instant::now();
        let home = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        throttle.succeeded("first", from(1), start);
        for n in 0..1_000 {
            let now = start + Duration::from_millis(n.into());
            throttle.succeeded("one", home(n), now);
        }
        // One name does not push out another.
        assert_eq!(throttle.table().homes.len(), 1 + HOMES);
        let newest = ("one".to_owned(), home(999));
        assert!(throttle.table().homes.contains_key(&newest));
        for n in 0..2_000 {
            let now = start + Duration::from_millis(n);
            throttle.succeeded(&n.to_string(), from(1), now);
        }
        assert_eq!(throttle.table().homes.len(), AT_HOME);
    }
}
