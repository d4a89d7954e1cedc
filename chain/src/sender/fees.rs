//! Fees of EIP-1559, in wei a unit of gas. Pure.

/// What a transaction offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// `maxFeePerGas`.
    pub max: u128,
    /// `maxPriorityFeePerGas`.
    pub priority: u128,
}

impl Fees {
    /// What is right now, for a base fee and a tip that are asked for: the base fee may double before
    /// it is too little (it rises by at most an eighth a block).
    pub fn market(base: u128, tip: u128) -> Self {
        Self {
            max: base.saturating_mul(2).saturating_add(tip),
            priority: tip,
        }
    }

    /// Not beyond this.
    #[must_use]
    pub fn within(self, most: u128) -> Self {
        Self {
            max: self.max.min(most),
            priority: self.priority.min(most),
        }
    }

    /// What nodes take in the place of a transaction with these fees: an eighth more of both (12.5 %,
    /// the most that a node asks for), and what is right now if that is more. `None`: that is beyond
    /// what may be paid.
    pub fn bumped(self, market: Self, most: u128) -> Option<Self> {
        let eighth_more = |fee: u128| fee.checked_add(fee.div_ceil(8).max(1));
        let least = Self {
            max: eighth_more(self.max)?,
            priority: eighth_more(self.priority)?,
        };
        if least.max > most {
            return None;
        }
        let max = least.max.max(market.max).min(most);
        Some(Self {
            max,
            priority: least.priority.max(market.priority).min(max),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bump_is_one_that_nodes_take_and_never_beyond_what_may_be_paid(
            max in 0..u128::from(u64::MAX), tip in 0..u128::from(u64::MAX),
            base in 0..u128::from(u64::MAX), now in 0..u128::from(u64::MAX), most in any::<u128>(),
        ) {
            let old = Fees { max, priority: tip.min(max) };
            if let Some(new) = old.bumped(Fees::market(base, now), most) {
                // In eighths, so that nothing is rounded away.
                prop_assert!(new.max * 8 >= old.max * 9 && new.priority * 8 >= old.priority * 9);
                prop_assert!(new.max > old.max && new.priority > old.priority);
                prop_assert!(new.max <= most && new.priority <= new.max);
            } else {
                prop_assert!(most < max + max.div_ceil(8).max(1));
            }
        }
    }

    #[test]
    fn bumps_end_where_no_more_may_be_paid() {
        let mut fees = Fees {
            max: 100,
            priority: 1,
        };
        let mut bumps = 0;
        while let Some(bumped) = fees.bumped(Fees::market(0, 0), 1_000) {
            fees = bumped;
            bumps += 1;
        }
        assert!((15..30).contains(&bumps) && fees.max <= 1_000 && fees.max > 880);
    }
}
