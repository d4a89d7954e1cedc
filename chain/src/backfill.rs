//! How many blocks a range has: grows while it goes well, shrinks when an endpoint says that it is
//! too much. Pure.

/// Bounds of a range, in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first range.
    pub first: u64,
    /// The largest.
    pub max: u64,
}

/// The size of the next range.
#[derive(Debug, Clone)]
pub struct Ranges {
    bounds: Bounds,
    size: u64,
    /// The largest that went well since the last one below it that did not; 0: none.
    good: u64,
    /// A size that was refused: what is tried lies between the two, until a while has gone well.
    refused: Option<u64>,
    since_refused: u32,
}

/// After so many ranges that went well a size that was refused is tried again: what an endpoint
/// bounds is often the logs, of which other blocks have fewer.
const TRY_AGAIN_AFTER: u32 = 32;

impl Ranges {
    /// Begins with the first size.
    pub fn new(bounds: Bounds) -> Self {
        let max = bounds.max.max(1);
        Self {
            bounds: Bounds { max, ..bounds },
            size: bounds.first.clamp(1, max),
            good: 0,
            refused: None,
            since_refused: 0,
        }
    }

    /// The next range from `first` on, up to `last` at most; `None`: there is nothing to do.
    pub fn next(&self, first: u64, last: u64) -> Option<(u64, u64)> {
        (first <= last).then(|| (first, last.min(first.saturating_add(self.size - 1))))
    }

    /// The range of this many blocks went well.
    pub fn went_well(&mut self, blocks: u64) {
        self.since_refused = self.since_refused.saturating_add(1);
        if self.since_refused >= TRY_AGAIN_AFTER {
            self.refused = None;
        }
        // A range that ended at its last block says nothing about a larger one.
        if blocks < self.size {
            return;
        }
        self.good = self.size;
        let grown = self.size + self.size / 2 + 1;
        self.size = match self.refused {
            None => grown,
            Some(refused) if refused - self.good <= self.good / 8 + 1 => self.good,
            Some(refused) => self.good + (refused - self.good) / 2,
        }
        .min(self.bounds.max);
    }

    /// The range of this many blocks was too much. `false`: it was one block, and can't be less.
    pub fn too_much(&mut self, blocks: u64) -> bool {
        if blocks <= 1 {
            return false;
        }
        if self.good >= blocks {
            // Other blocks than those before.
            self.good = 0;
        }
        self.refused = Some(blocks);
        self.since_refused = 0;
        self.size = if self.good > 0 { self.good } else { blocks / 2 };
        true
    }

    /// The size now.
    pub fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An endpoint that takes at most `limit` blocks: how many questions for `blocks`.
    fn questions(bounds: Bounds, limit: u64, blocks: u64) -> u64 {
        let (mut ranges, mut next, mut asked) = (Ranges::new(bounds), 1, 0);
        while let Some((first, last)) = ranges.next(next, blocks) {
            asked += 1;
            assert!(asked < 10 * blocks + 100, "it does not come to an end");
            assert!(first == next && last >= first && last <= blocks);
            let size = last - first + 1;
            if size > limit {
                assert!(ranges.too_much(size));
            } else {
                ranges.went_well(size);
                next = last + 1;
            }
        }
        assert_eq!(next, blocks + 1, "each block once");
        asked
    }

    #[test]
    fn finds_the_size_that_an_endpoint_takes_and_stays_there() {
        let bounds = Bounds {
            first: 100,
            max: 10_000,
        };
        // At 500 a question, 100,000 blocks want at least 200 of them.
        let asked = questions(bounds, 500, 100_000);
        assert!((200..260).contains(&asked), "{asked}");
        let asked = questions(bounds, u64::MAX, 100_000);
        assert!(asked < 30, "{asked}");
    }

    proptest! {
        #[test]
        fn each_block_is_asked_for_once_whatever_an_endpoint_takes(
            first in 1..5_000_u64, max in 1..5_000_u64, limit in 1..3_000_u64, blocks in 1..20_000_u64,
        ) {
            let asked = questions(Bounds { first, max }, limit, blocks);
            prop_assert!(asked >= blocks.div_ceil(limit.min(max)));
        }
    }
}
