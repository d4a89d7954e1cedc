//! When a connection is given up: when nothing has moved on it for the idle time, or when the head
//! of a request does not come in time, however steadily it trickles.
//!
//! The time for a head begins as the connection is accepted, which a TLS handshake is part of, and
//! for each further request with its first byte.

use std::time::Duration;

use tokio::time::Instant;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The head of a request.
    Head,
    /// Anything.
    Motion,
}

/// The deadlines of one connection.
#[derive(Debug)]
pub(super) struct Deadlines {
    idle: Duration,
    head: Duration,
    moved: Instant,
    head_began: Option<Instant>,
    /// Requests that had begun to be answered when it was last looked at.
    begun: u64,
}

impl Deadlines {
    /// Of a connection that is accepted now.
    pub(super) fn new(idle: Duration, head: Duration, now: Instant) -> Self {
        Self {
            idle,
            head,
            moved: now,
            head_began: Some(now),
            begun: 0,
        }
    }

    /// Something moved.
    pub(super) fn moved(&mut self, now: Instant) {
        self.moved = now;
    }

    /// Bytes came; with no request being answered they begin one.
    pub(super) fn came(&mut self, busy: bool, begun: u64, now: Instant) {
        self.see(busy, begun);
        if !busy {
            self.head_began.get_or_insert(now);
        }
    }

    /// The next deadline, and what has to happen until then; `busy`: a request is being answered,
    /// and so many have begun to be since the connection was accepted.
    pub(super) fn next(&mut self, busy: bool, begun: u64) -> (Instant, Awaited) {
        self.see(busy, begun);
        let idle = (self.moved + self.idle, Awaited::Motion);
        match self.head_began {
            Some(began) if began + self.head < idle.0 => (began + self.head, Awaited::Head),
            _ => idle,
        }
    }

    /// A head that was answered has come.
    fn see(&mut self, busy: bool, begun: u64) {
        if busy || begun != self.begun {
            self.begun = begun;
            self.head_began = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_head_that_trickles_is_late_and_an_answered_one_is_not() {
        let began = Instant::now();
        let mut deadlines = Deadlines::new(60 * S, 10 * S, began);
        for second in 1..10 {
            let now = began + second * S;
            deadlines.moved(now);
            deadlines.came(false, 0, now);
            assert_eq!(deadlines.next(false, 0), (began + 10 * S, Awaited::Head));
        }
        // It is there, and is being answered for a long time.
        let asked = began + 9 * S;
        assert_eq!(deadlines.next(true, 1), (asked + 60 * S, Awaited::Motion));
        let written = asked + 50 * S;
        deadlines.moved(written);
        assert_eq!(deadlines.next(true, 1), (written + 60 * S, Awaited::Motion));
        // Kept alive it may be idle longer than a head may take …
        assert_eq!(
            deadlines.next(false, 1),
            (written + 60 * S, Awaited::Motion)
        );
        // … until the next head begins.
        let next = written + 30 * S;
        deadlines.moved(next);
        deadlines.came(false, 1, next);
        deadlines.came(false, 1, next + S);
        assert_eq!(deadlines.next(false, 1), (next + 10 * S, Awaited::Head));
    }

    #[test]
    fn a_request_that_was_over_between_two_looks_counts() {
        let began = Instant::now();
        let mut deadlines = Deadlines::new(60 * S, 10 * S, began);
        deadlines.came(false, 0, began);
        assert_eq!(deadlines.next(false, 1), (began + 60 * S, Awaited::Motion));
    }

    #[test]
    fn bytes_of_a_body_begin_no_head() {
        let began = Instant::now();
        let mut deadlines = Deadlines::new(60 * S, 10 * S, began);
        deadlines.came(true, 1, began + S);
        assert_eq!(deadlines.next(false, 1).1, Awaited::Motion);
    }
}
