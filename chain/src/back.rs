//! A walk back along another branch, for as long as nobody knows where that one leaves ours: pure.
//!
//! Meanwhile it is not known what of our branch the chain still has. A reorganisation of a block or two is over
//! within as many calls, many times a day, and nobody is told of it. One that has reached what was final, or that
//! has no end after some seconds, is trouble until it has ended.

/// Blocks that reorganisations take away every day, also where a chain's policy calls fewer final.
const ORDINARY: u64 = 2;
/// How long a walk back may last before it is told, whatever its depth, µs.
const LONG_US: i64 = 5_000_000;

/// How far a walk back has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Back {
    /// How many blocks of our branch the chain has no more, as far as that is known.
    pub blocks: u64,
    /// The lowest of them.
    pub at: u64,
    /// What was final is among them, or was when this branch was gone down before.
    is_deep: bool,
    /// When it began, µs since the epoch.
    since_us: i64,
}

impl Back {
    /// A walk that goes on, or begins where there was none `before`: block `at` of our branch, which ends with
    /// block `tip`, is not the chain's, and up to block `finalized` ours was final.
    pub(crate) fn at(
        at: u64,
        tip: u64,
        finalized: Option<u64>,
        before: Option<Self>,
        now_us: i64,
    ) -> Self {
        let blocks = tip.saturating_sub(at).saturating_add(1);
        let was_final = finalized.is_some_and(|finalized| at <= finalized);
        Self {
            blocks,
            at,
            // It may begin anew from its end: what was found out stays so until it has ended.
            is_deep: before.is_some_and(|before| before.is_deep)
                || (was_final && blocks > ORDINARY),
            since_us: before.map_or(now_us, |before| before.since_us),
        }
    }

    /// Whether it is more than an ordinary reorganisation by now.
    pub fn is_told(&self, now_us: i64) -> bool {
        self.is_deep || now_us.saturating_sub(self.since_us) > LONG_US
    }

    /// Since when it lasts, in whole seconds.
    pub fn lasts_s(&self, now_us: i64) -> u64 {
        let lasts_us = now_us.saturating_sub(self.since_us);
        lasts_us.max(0).unsigned_abs() / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ordinary_is_not_told_and_what_is_deep_or_lasts_is() {
        for (at, finalized, is_told) in [
            (100, Some(98), false),
            (99, Some(98), false),
            (98, Some(98), true),
            (97, Some(98), true),
            // A chain may call its newest block final.
            (100, Some(100), false),
            (99, Some(100), false),
            (98, Some(100), true),
            // Where nothing is final time decides.
            (10, None, false),
        ] {
            let back = Back::at(at, 100, finalized, None, 7);
            assert_eq!(back.is_told(7), is_told, "{at}, {finalized:?}");
            assert_eq!((back.at, back.blocks), (at, 101 - at));
            assert!(back.is_told(7 + LONG_US + 1));
        }
        let begun = Back::at(100, 100, Some(90), None, 7);
        assert!(!begun.is_told(7 + LONG_US));
        // From its end again: neither since when it lasts nor what was found out is forgotten.
        let deep = Back::at(90, 100, Some(90), Some(begun), LONG_US);
        let again = Back::at(100, 100, Some(90), Some(deep), LONG_US);
        assert!(deep.is_told(LONG_US) && again.is_told(LONG_US));
        assert_eq!((again.blocks, again.lasts_s(4_000_007)), (1, 4));
        let long = Back::at(100, 100, Some(90), Some(begun), 2 * LONG_US);
        assert!(long.is_told(2 * LONG_US));
    }
}
