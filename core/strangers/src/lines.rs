//! Lines of the log that strangers cause: one of each address and cause, and then a count.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::network;

/// Addresses and causes that are told apart; what comes beyond is counted together.
const CAPACITY: usize = 64;
/// After how long it is first said how often something came again; then after twice as long.
const FIRST: Duration = Duration::from_secs(60);
/// At most.
const LONGEST: Duration = Duration::from_secs(3_600);
/// First lines that may be written at once, over all addresses and causes.
const BURST: u32 = 30;
/// After how long one more may be.
const REFILL: Duration = Duration::from_secs(60);

/// Who causes a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// Whoever is behind an address.
    Address(IpAddr),
    /// Something that has a name here.
    Named(Arc<str>),
    /// All others together.
    Others,
}

impl From<IpAddr> for Who {
    fn from(address: IpAddr) -> Self {
        Self::Address(network(address))
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address @ IpAddr::V4(_)) => write!(f, "{address}"),
            Self::Address(address @ IpAddr::V6(_)) => write!(f, "{address}/64"),
            Self::Named(name) => f.write_str(name),
            Self::Others => f.write_str("others"),
        }
    }
}

/// What was said of late, and how often it came again. What is kept has a bound.
#[derive(Debug, Default)]
pub struct Lines(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    said: HashMap<(Who, &'static str), Said>,
    /// First lines that have been written, less those that are forgiven, and since when.
    spent: u32,
    since: Option<Instant>,
}

#[derive(Debug)]
struct Said {
    /// Lines that were written.
    lines: u32,
    /// How often it came again since it was last said.
    again: u64,
    at: Instant,
    pause: Duration,
}

/// How often something came again.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    who: Who,
    cause: &'static str,
    again: u64,
    seconds: u64,
}

impl Lines {
    /// How often to call [`Lines::say_counts`].
    pub const EVERY: Duration = Duration::from_secs(15);

    /// Whether to write a line of this cause; else it is counted.
    pub fn may_write(&self, who: impl Into<Who>, cause: &'static str) -> bool {
        self.take(who.into(), cause, 1, Instant::now())
    }

    /// As [`Lines::may_write`], for what may be said `most` times before it is counted.
    pub fn may_write_up_to(&self, most: u32, who: impl Into<Who>, cause: &'static str) -> bool {
        self.take(who.into(), cause, most, Instant::now())
    }

    /// Says how often what was counted came again, where it is time. Call it now and then: whoever
    /// listens does, about once in [`Lines::EVERY`].
    pub fn say_counts(&self) {
        for Count {
            who,
            cause,
            again,
            seconds,
        } in self.due(Instant::now())
        {
            tracing::warn!(from = %who, cause, times = again, seconds, "the same again, not logged one by one");
        }
    }

    fn take(&self, who: Who, cause: &'static str, most: u32, now: Instant) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (who, cause);
        if let Some(said) = state.said.get_mut(&key)
            && said.lines >= most
        {
            said.again = said.again.saturating_add(1);
            return false;
        }
        if state.said.contains_key(&key) || state.said.len() < CAPACITY {
            let may = state.spend(now);
            let fresh = || Said {
                lines: 0,
                again: 0,
                at: now,
                pause: FIRST,
            };
            if may {
                state.said.entry(key).or_insert_with(fresh).lines += 1;
                return true;
            }
        }
        // At most one a cause, of which there are few.
        let fresh = || Said {
            lines: most,
            again: 0,
            at: now,
            pause: FIRST,
        };
        let others = state.said.entry((Who::Others, cause)).or_insert_with(fresh);
        others.again = others.again.saturating_add(1);
        false
    }

    fn due(&self, now: Instant) -> Vec<Count> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = Vec::new();
        state.said.retain(|(who, cause), said| {
            let since = now.saturating_duration_since(said.at);
            if since < said.pause {
                return true;
            }
            if said.again == 0 {
                // Quiet for the whole time: should it come again, it is news.
                return false;
            }
            counts.push(Count {
                who: who.clone(),
                cause,
                again: std::mem::take(&mut said.again),
                seconds: since.as_secs(),
            });
            said.at = now;
            said.pause = (said.pause * 2).min(LONGEST);
            true
        });
        counts.sort_by(|a, b| (b.again, a.cause).cmp(&(a.again, b.cause)));
        counts
    }
}

impl State {
    /// Whether one more first line may be written.
    fn spend(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let refills = now.saturating_duration_since(since).as_secs() / REFILL.as_secs();
        let refills = u32::try_from(refills).unwrap_or(u32::MAX);
        if refills > 0 {
            self.spent = self.spent.saturating_sub(refills);
            self.since = Some(since + REFILL.saturating_mul(refills));
        }
        if self.spent == 0 {
            self.since = Some(now);
        }
        if self.spent >= BURST {
            return false;
        }
        self.spent += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECT: &str = "CONNECT refused";

    fn from(n: u32) -> Who {
        IpAddr::V4(n.to_be_bytes().into()).into()
    }

    fn counts(lines: &Lines, now: Instant) -> Vec<(String, u64, u64)> {
        let due = lines.due(now).into_iter();
        due.map(|it| (it.who.to_string(), it.again, it.seconds))
            .collect()
    }

    #[test]
    fn one_line_of_an_address_and_a_cause_and_then_counts_further_and_further_apart() {
        let (lines, start) = (Lines::default(), Instant::now());
        let mut written = 0;
        let mut told = Vec::new();
        for s in 0..7_200 {
            let now = start + Duration::from_secs(s);
            written += u32::from(lines.take(from(1), CONNECT, 1, now));
            told.extend(lines.due(now).into_iter().map(|it| (s, it.again)));
        }
        assert_eq!(written, 1);
        let at: Vec<_> = told.iter().map(|(s, _)| *s).collect();
        assert_eq!(at, [60, 180, 420, 900, 1_860, 3_780]);
        assert_eq!(told.iter().map(|(_, again)| again).sum::<u64>(), 3_780);
        // Another cause and another address are news.
        let now = start + Duration::from_secs(7_200);
        assert!(lines.take(from(1), "TLS handshake refused", 1, now));
        assert!(lines.take(from(2), CONNECT, 1, now));
        // Once it has been quiet it is news, too.
        let later = now + LONGEST;
        assert_eq!(
            counts(&lines, later),
            [("0.0.0.1".to_owned(), 3_419, 7_020)]
        );
        assert!(lines.due(later + LONGEST).is_empty());
        assert!(lines.take(from(1), CONNECT, 1, later + LONGEST));
    }

    #[test]
    fn a_flood_from_many_addresses_writes_few_lines_and_each_is_counted() {
        let (lines, start) = (Lines::default(), Instant::now());
        let (mut written, mut counted, mut told) = (0_u64, 0, 0_u64);
        let mut n = 0;
        for minute in 0..60 {
            let now = start + Duration::from_secs(60 * minute);
            for _ in 0..10_000 {
                n += 1;
                written += u64::from(lines.take(from(n), CONNECT, 1, now));
            }
            let due = lines.due(now);
            told += due.len() as u64;
            counted += due.iter().map(|it| it.again).sum::<u64>();
            assert!(lines.0.lock().unwrap().said.len() <= CAPACITY + 1);
        }
        // A log holds thousands of lines: most of them are of others.
        assert!((BURST.into()..=100).contains(&written), "{written}");
        assert!(told <= 10, "{told}");
        counted += counts(&lines, start + 3 * LONGEST)
            .iter()
            .map(|it| it.1)
            .sum::<u64>();
        assert_eq!(written + counted, u64::from(n));
    }

    #[test]
    fn some_causes_may_be_said_more_than_once() {
        let (lines, start) = (Lines::default(), Instant::now());
        let written = (0..100).filter(|_| lines.take(from(1), "PUBLISH refused", 3, start));
        assert_eq!(written.count(), 3);
        let after = start + FIRST;
        assert_eq!(counts(&lines, after), [("0.0.0.1".to_owned(), 97, 60)]);
    }

    #[test]
    fn neighbours_of_one_network_are_one_and_names_are_apart() {
        let lines = Lines::default();
        let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(lines.may_write(v6("2001:db8::1"), CONNECT));
        assert!(!lines.may_write(v6("2001:db8::2"), CONNECT));
        assert!(lines.may_write(v6("2001:db8:0:1::1"), CONNECT));
        assert!(lines.may_write(Who::Named("/dev/ttyS0".into()), CONNECT));
        assert_eq!(Who::from(v6("2001:db8::1")).to_string(), "2001:db8::/64");
    }
}
