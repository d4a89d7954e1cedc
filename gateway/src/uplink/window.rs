//! How much of what is old may be under way at once, so that what is new does not wait behind it.
//!
//! The less the uplink carries, the sooner what is sent begins to queue, and what is new would stand
//! in that queue. So the window grows as long as acknowledgements come soon, and is halved when they
//! take [`QUEUE`] longer than the quickest did: the delay is the sign of the queue, as in RFC 6817
//! (LEDBAT), not a lost packet.

use std::time::{Duration, Instant};

/// How much longer than the quickest an acknowledgement may take.
const QUEUE: Duration = Duration::from_millis(250);
/// For how long the quickest is remembered: the way may have become longer.
const MEMORY: Duration = Duration::from_secs(60);
/// What it starts with.
const FIRST: usize = 4;

/// Messages that may be under way.
pub(super) struct Window {
    size: usize,
    max: usize,
    /// Below it the window grows by one with each acknowledgement, above it with each full one.
    threshold: usize,
    /// Acknowledgements since it last grew.
    came: usize,
    /// Until what was sent before this is acknowledged, it is not halved again.
    halved_at: Option<Instant>,
    quickest: Option<(Duration, Instant)>,
    before: Option<Duration>,
}

impl Window {
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1);
        Self {
            size: FIRST.min(max),
            max,
            threshold: max,
            came: 0,
            halved_at: None,
            quickest: None,
            before: None,
        }
    }

    /// How many may be under way now.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// What was sent at a time is acknowledged now.
    pub(super) fn acknowledged(&mut self, sent: Instant, now: Instant) {
        let took = now.saturating_duration_since(sent);
        if took > self.least(took, now) + QUEUE {
            if self.halved_at.is_none_or(|halved| sent >= halved) {
                self.size = (self.size / 2).max(1);
                self.threshold = self.size;
                self.came = 0;
                self.halved_at = Some(now);
            }
            return;
        }
        self.came += 1;
        let step = if self.size < self.threshold {
            1
        } else {
            self.size
        };
        if self.came >= step {
            self.came = 0;
            self.size = (self.size + 1).min(self.max);
        }
    }

    /// The quickest of the last minute or two, this one included.
    fn least(&mut self, took: Duration, now: Instant) -> Duration {
        let (quickest, since) = match self.quickest {
            Some((quickest, since)) if now.saturating_duration_since(since) < MEMORY => {
                (quickest.min(took), since)
            }
            Some((quickest, _)) => {
                self.before = Some(quickest);
                (took, now)
            }
            None => (took, now),
        };
        self.quickest = Some((quickest, since));
        self.before.map_or(quickest, |before| before.min(quickest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_grows_while_acknowledgements_come_soon() {
        let start = Instant::now();
        let mut window = Window::new(192);
        for n in 0..500 {
            window.acknowledged(start + ms(n), start + ms(n + 20));
        }
        assert_eq!(window.size(), 192);
    }

    #[test]
    fn it_is_halved_once_for_what_waited_in_one_queue() {
        let start = Instant::now();
        let mut window = Window::new(192);
        for n in 0..500 {
            window.acknowledged(start + ms(n), start + ms(n + 20));
        }
        let later = start + ms(1_000);
        // All of a window's worth that was under way comes late.
        for n in 0..192 {
            window.acknowledged(later, later + ms(400 + n));
        }
        assert_eq!(window.size(), 96);
        window.acknowledged(later + ms(700), later + ms(1_100));
        assert_eq!(window.size(), 48);
        for n in 0..40 {
            let sent = later + ms(2_000 + n * 1_000);
            window.acknowledged(sent, sent + ms(900));
        }
        assert_eq!(window.size(), 1, "never nothing");
    }

    #[test]
    fn a_way_that_has_become_longer_is_no_queue_for_ever() {
        let start = Instant::now();
        let mut window = Window::new(64);
        window.acknowledged(start, start + ms(10));
        for n in 1..400 {
            let sent = start + ms(n * 1_000);
            window.acknowledged(sent, sent + ms(600));
        }
        assert!(window.size() > 8, "{}", window.size());
    }
}
