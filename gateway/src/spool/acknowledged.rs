//! What the hub has acknowledged: all up to a position, and stretches beyond it, where what is new
//! was brought before what is old.

use std::ops::Range;

use stencil_log::Position;
use stencil_protocol::ranges::RangeSet;

/// The most stretches that are remembered. Each outage during a back-fill makes one more; of the
/// one that is forgotten then, what is in it is published again.
pub(crate) const MAX_AHEAD: usize = 64;

/// Up to where the hub has acknowledged, and what of the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    through: Position,
    /// Bytes beyond `through`; spans begin and end where records do.
    ahead: RangeSet,
}

impl Acknowledged {
    /// All up to a position, and nothing beyond.
    pub(crate) fn up_to(through: Position) -> Self {
        Self {
            through,
            ahead: RangeSet::new(),
        }
    }

    /// Everything below is acknowledged.
    pub(crate) fn through(&self) -> Position {
        self.through
    }

    /// The stretches beyond, in order.
    pub(crate) fn ahead(&self) -> impl Iterator<Item = Range<Position>> + '_ {
        let spans = self.ahead.iter();
        spans.map(|span| Position(*span.start())..Position(span.end().saturating_add(1)))
    }

    /// Nothing is acknowledged beyond this.
    pub(crate) fn furthest(&self) -> Position {
        let last = self.ahead.last().map(|last| last.saturating_add(1));
        Position(last.unwrap_or(0)).max(self.through)
    }

    /// Whether the record that starts there is acknowledged.
    pub(crate) fn holds(&self, start: Position) -> bool {
        start < self.through || self.ahead.contains(start.0)
    }

    /// Bytes between two positions that are not acknowledged.
    pub(crate) fn waiting_bytes(&self, from: Position, to: Position) -> u64 {
        let from = from.max(self.through);
        let Some(last) = to.0.checked_sub(1).filter(|last| *last >= from.0) else {
            return 0;
        };
        let mut between = RangeSet::new();
        between.insert(from.0..=last);
        between.subtract(&self.ahead).len()
    }

    /// These records are acknowledged. Returns whether that is news.
    pub(crate) fn take(&mut self, records: Range<Position>) -> bool {
        let Range { start, end } = records;
        if end <= self.through || end <= start {
            return false;
        }
        if start > self.through {
            let news = self.ahead.insert(start.0..=end.0 - 1) > 0;
            self.forget_one();
            return news;
        }
        self.through = end;
        self.catch_up();
        true
    }

    fn catch_up(&mut self) {
        let mut through = self.through.0;
        for span in self.ahead.iter() {
            if *span.start() > through {
                break;
            }
            through = through.max(span.end().saturating_add(1));
        }
        if through > 0 {
            self.ahead.remove(0..=through - 1);
        }
        self.through = Position(through);
    }

    fn forget_one(&mut self) {
        if self.ahead.spans() <= MAX_AHEAD {
            return;
        }
        let smallest = self
            .ahead
            .iter()
            .min_by_key(|span| span.end() - span.start());
        if let Some(span) = smallest {
            self.ahead.remove(span);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, end: u64) -> Range<Position> {
        Position(start)..Position(end)
    }

    #[test]
    fn a_gap_holds_up_the_position_until_it_is_filled() {
        let mut acknowledged = Acknowledged::up_to(Position(10));
        assert!(acknowledged.take(range(100, 120)));
        assert!(acknowledged.take(range(120, 130)));
        assert!(acknowledged.take(range(10, 40)));
        assert_eq!(acknowledged.through(), Position(40));
        assert_eq!(acknowledged.furthest(), Position(130));
        assert_eq!(acknowledged.ahead().collect::<Vec<_>>(), [range(100, 130)]);
        assert_eq!(
            acknowledged.waiting_bytes(Position(0), Position(200)),
            60 + 70
        );
        assert!(acknowledged.holds(Position(129)) && !acknowledged.holds(Position(130)));
        assert!(acknowledged.take(range(40, 100)));
        assert_eq!(acknowledged, Acknowledged::up_to(Position(130)));
        assert!(!acknowledged.take(range(50, 60)));
    }

    #[test]
    fn of_too_many_stretches_the_smallest_is_forgotten() {
        let mut acknowledged = Acknowledged::default();
        for n in 1..=MAX_AHEAD as u64 {
            acknowledged.take(range(n * 100, n * 100 + 50));
        }
        acknowledged.take(range(90_000, 90_010));
        assert_eq!(acknowledged.ahead().count(), MAX_AHEAD);
        assert!(!acknowledged.holds(Position(90_000)));
        assert!(acknowledged.holds(Position(100)));
    }

    proptest! {
        #[test]
        fn nothing_counts_as_acknowledged_that_was_not(
            taken in proptest::collection::vec((0_u64..60, 1_u64..8), 0..40),
        ) {
            let mut acknowledged = Acknowledged::default();
            let mut known = [false; 80];
            for (start, bytes) in taken {
                acknowledged.take(range(start, start + bytes));
                for at in start..start + bytes {
                    known[usize::try_from(at).unwrap()] = true;
                }
            }
            for (at, known) in known.into_iter().enumerate() {
                prop_assert_eq!(acknowledged.holds(Position(at as u64)), known, "{}", at);
            }
        }
    }
}
