//! How much of a price is there, exactly, also where it was paid by several methods.

use alloy_primitives::Uint;

use super::policy::ALL_BPS;
use crate::money::Amount;

/// All of a price, in parts of a thousand million.
pub(super) const ALL_PPB: u32 = 1_000_000_000;

/// Holds a product of 16 due amounts of 192 bits and their sums, with room for a factor.
type Wide = Uint<3_328, 52>;

/// Money that counts by its own measure: a method in time, or late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Which method.
    pub(super) method: usize,
    /// What is there, base units; below 2²⁰⁸.
    pub(super) paid: Amount,
    /// What would be all, base units; more than nothing and below 2¹⁹².
    pub(super) due: Amount,
}

/// The sum of `paid / due` as a fraction.
pub(super) struct Coverage {
    numerator: Wide,
    denominator: Wide,
}

impl Coverage {
    pub(super) fn of(slots: &[Slot]) -> Self {
        let mut sum = Self {
            numerator: Wide::ZERO,
            denominator: Wide::from(1),
        };
        for slot in slots.iter().filter(|slot| !slot.paid.is_zero()) {
            let due = Wide::from(slot.due.0);
            sum.numerator = sum.numerator * due + sum.denominator * Wide::from(slot.paid.0);
            sum.denominator *= due;
        }
        sum
    }

    /// Whether that many parts of a thousand million are there.
    pub(super) fn reaches(&self, ppb: u32) -> bool {
        self.numerator * Wide::from(ALL_PPB) >= self.denominator * Wide::from(ppb)
    }

    /// How many parts of a thousand million are there, rounded down; at most all.
    pub(super) fn ppb(&self) -> u32 {
        if self.reaches(ALL_PPB) {
            return ALL_PPB;
        }
        let parts = self.numerator * Wide::from(ALL_PPB) / self.denominator;
        u32::try_from(parts).unwrap_or(ALL_PPB)
    }

    /// Whether there is more than all.
    pub(super) fn exceeds(&self) -> bool {
        self.numerator > self.denominator
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.numerator.is_zero()
    }

    /// What of `due` is missing, base units rounded up.
    pub(super) fn missing(&self, due: Amount) -> Amount {
        let missing = self.denominator.saturating_sub(self.numerator);
        Amount(
            (missing * Wide::from(due.0))
                .div_ceil(self.denominator)
                .wrapping_to(),
        )
    }

    /// What is too much, by slot: whole base units, rounded down in favour of the payee, taken from
    /// the last slots first. Nothing if it is less than `least_bps` of the price.
    pub(super) fn excess(&self, slots: &[Slot], least_bps: u16) -> Vec<(usize, Amount)> {
        if !self.exceeds() {
            return Vec::new();
        }
        let mut over = self.numerator - self.denominator;
        if over * Wide::from(ALL_BPS) < self.denominator * Wide::from(least_bps) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for (at, slot) in slots
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, slot)| !slot.paid.is_zero())
        {
            let due = Wide::from(slot.due.0);
            let units = (over / (self.denominator / due)).min(Wide::from(slot.paid.0));
            if units.is_zero() {
                continue;
            }
            over -= units * (self.denominator / due);
            taken.push((at, Amount(units.wrapping_to())));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;
    use proptest::prelude::*;

    use super::*;

    fn slot(method: usize, paid: u64, due: u64) -> Slot {
        Slot {
            method,
            paid: Amount::from(paid),
            due: Amount::from(due),
        }
    }

    #[test]
    fn thirds_are_thirds() {
        let slots = [slot(0, 1, 3), slot(1, 2, 3)];
        let coverage = Coverage::of(&slots);
        assert!(coverage.reaches(ALL_PPB) && !coverage.exceeds());
        let less = Coverage::of(&[slot(0, 1, 3), slot(1, 1, 3)]);
        assert_eq!(less.ppb(), 666_666_666);
    }

    #[test]
    fn the_largest_amounts_fit() {
        let most = Slot {
            method: 0,
            paid: Amount((U256::from(1) << 200) - U256::from(1)),
            due: Amount((U256::from(1) << 192) - U256::from(1)),
        };
        let slots = [most; 16];
        let coverage = Coverage::of(&slots);
        assert!(coverage.exceeds() && coverage.reaches(u32::MAX));
        let taken = coverage.excess(&slots, 0);
        assert_eq!(taken.len(), 16);
    }

    proptest! {
        /// What is left after the excess was taken is all, and less than a unit more.
        #[test]
        fn what_is_left_is_the_price(parts in prop::collection::vec((0..5_000_u64, 1..1_000_u64), 1..8)) {
            let mut slots: Vec<_> =
                parts.iter().enumerate().map(|(n, (paid, due))| slot(n, *paid, *due)).collect();
            let coverage = Coverage::of(&slots);
            let taken = coverage.excess(&slots, 0);
            prop_assert!(coverage.exceeds() || taken.is_empty());
            for (at, amount) in &taken {
                slots[*at].paid = slots[*at].paid.checked_sub(*amount).unwrap();
            }
            if coverage.exceeds() {
                prop_assert!(Coverage::of(&slots).reaches(ALL_PPB));
                for at in 0..slots.len() {
                    let mut less = slots.clone();
                    let Some(paid) = less[at].paid.checked_sub(Amount::from(1_u64)) else { continue };
                    less[at].paid = paid;
                    prop_assert!(!Coverage::of(&less).reaches(ALL_PPB), "a unit more could go back");
                }
            }
        }
    }
}
