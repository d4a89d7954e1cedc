//! Chains whose clock is ahead of the hub's.
//!
//! Whether an invoice was paid in time, and when it is over, is judged by the time of the chain's blocks: what
//! was not read yet may still be a payment. But a block may say what it wants, and the hub's own clock may be
//! behind. So a block's time counts within a bound beyond the hub's clock ([`Chain::max_ahead_us`]), when it was
//! first seen; of one that says it is later still, the hub's own clock then counts. Nobody is late who was seen in
//! time, and an invoice that can be paid for a minute is not over at once where a chain's clock is wrong.

use stencil_payments::port::Chain;

use super::Cashier;
use super::cashier::micros;

/// A block's time, in seconds since the epoch, as far as it is believed that was seen at `seen_us`.
pub(super) fn believed_s(time_s: u64, seen_us: i64, max_ahead_us: i64) -> u64 {
    let whole_s = |us: i64| us.max(0).unsigned_abs().div_ceil(1_000_000);
    match time_s <= whole_s(seen_us.saturating_add(max_ahead_us)) {
        true => time_s,
        false => whole_s(seen_us),
    }
}

/// What is told of a chain whose clock is further ahead than is believed.
pub(super) fn told(ahead_us: i64, max_ahead_us: i64) -> Option<String> {
    (ahead_us > max_ahead_us).then(|| {
        format!(
            "its newest block is of {} s ahead of the hub's clock, more than `follow.max_ahead_s` ({}): one of the \
             two clocks is wrong, and no invoice is over before the hub's says so",
            ahead_us / 1_000_000,
            max_ahead_us / 1_000_000
        )
    })
}

impl Cashier {
    /// How far the clock of a chain is believed ahead of the hub's.
    pub(super) fn max_ahead_us(&self, chain: u64) -> i64 {
        let chain = self.chains().by_id(chain);
        chain.map_or(0, |chain| chain.max_ahead_us())
    }

    /// A chain was read up to a block of this time.
    pub(super) fn read_up_to(&self, chain: u64, time_s: u64) {
        let (now_us, max_ahead_us) = (self.0.clock.now_us(), self.max_ahead_us(chain));
        let believed_s = believed_s(time_s, now_us, max_ahead_us);
        let ahead_us = micros(time_s).saturating_sub(now_us);
        let before = {
            let mut till = self.till();
            till.read_up_to(chain, micros(believed_s));
            till.is_ahead(chain, ahead_us)
        };
        if told(before, max_ahead_us).is_none()
            && let Some(why) = told(ahead_us, max_ahead_us)
        {
            let name = self.chains().by_id(chain).map(|chain| chain.name());
            tracing::warn!(chain = name, why, "a chain's clock is ahead");
        }
    }

    /// How far the clock of a chain was ahead of the hub's when its newest block was read, in seconds; 0 where it
    /// was behind, as it mostly is.
    pub(crate) fn ahead_s(&self, chain: &dyn Chain) -> u64 {
        let ahead_us = self.till().ahead_us(chain.id());
        ahead_us.max(0).unsigned_abs() / 1_000_000
    }

    /// How far the newest block of a chain is behind the hub's clock, in seconds; `None`: none was heard of.
    pub(crate) fn behind_s(&self, chain: &dyn Chain) -> Option<u64> {
        let head = chain.head()?;
        let behind_us = self.0.clock.now_us().saturating_sub(micros(head.time_s));
        Some(behind_us.max(0).unsigned_abs() / 1_000_000)
    }

    /// Why a chain's clock is not believed; `None`: it is.
    pub(crate) fn clock_trouble(&self, chain: &dyn Chain) -> Option<String> {
        let ahead_us = self.till().ahead_us(chain.id());
        told(ahead_us, chain.max_ahead_us())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_believed_up_to_a_bound_beyond_the_hubs_clock() {
        let minute_us = 60_000_000;
        for (time_s, seen_us, believed) in [
            (100, 200_000_000, 100),
            (160, 100_000_000, 160),
            (161, 100_000_000, 100),
            (161, 100_000_001, 161),
            (u64::MAX, 100_000_000, 100),
            (
                u64::MAX,
                i64::MAX,
                i64::MAX.unsigned_abs().div_ceil(1_000_000),
            ),
            (5, i64::MIN, 0),
        ] {
            assert_eq!(believed_s(time_s, seen_us, minute_us), believed, "{time_s}");
        }
        assert_eq!(told(minute_us, minute_us), None);
        let why = told(1_200_000_000, minute_us).unwrap();
        assert!(
            why.contains("1200 s ahead") && why.contains("(60)"),
            "{why}"
        );
    }
}
