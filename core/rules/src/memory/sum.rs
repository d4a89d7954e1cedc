//! A sum that does not depend on the order of its terms.

use minicbor::{Decode, Encode};

use crate::Finite;

/// 2⁻⁶⁴. Terms are scaled by it, so that no sum of fewer than 2⁶³ of them leaves the
/// range of an `f64`; what that takes from numbers below 10⁻²⁸⁸ is lost.
const SCALE: f64 = f64::from_bits((1_023 - 64) << 52);

/// An exact sum: numbers that do not overlap, by rising magnitude (J. R. Shewchuk,
/// "Adaptive Precision Floating-Point Arithmetic", 1997). One or two for readings of
/// one kind, never more than 40.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub(super) struct Sum {
    #[n(0)]
    parts: Vec<f64>,
}

impl Sum {
    pub(super) fn add(&mut self, term: Finite) {
        self.push(term.get() * SCALE);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for part in &other.parts {
            self.push(*part);
        }
    }

    /// The sum over `count`, which is not 0: as near to it as an `f64` can be, but for
    /// one more rounding.
    pub(super) fn mean(&self, count: u64) -> Option<Finite> {
        let mean = self.rounded() / count as f64 / SCALE;
        Finite::new(mean.clamp(f64::MIN, f64::MAX))
    }

    fn push(&mut self, term: f64) {
        let mut sum = term;
        let mut kept = 0;
        for at in 0..self.parts.len() {
            let (mut large, mut small) = (sum, self.parts[at]);
            if large.abs() < small.abs() {
                std::mem::swap(&mut large, &mut small);
            }
            sum = large + small;
            let rest = small - (sum - large);
            if rest != 0.0 {
                self.parts[kept] = rest;
                kept += 1;
            }
        }
        self.parts.truncate(kept);
        if sum != 0.0 {
            self.parts.push(sum);
        }
    }

    /// The nearest `f64`, the even one of two.
    fn rounded(&self) -> f64 {
        let mut rest = self.parts.iter().rev().copied();
        let mut sum = rest.next().unwrap_or(0.0);
        while let Some(part) = rest.next() {
            let before = sum;
            sum = before + part;
            let error = part - (sum - before);
            if error == 0.0 {
                continue;
            }
            // Halfway between two, what is below decides.
            if let Some(below) = rest.next()
                && (below < 0.0) == (error < 0.0)
            {
                let twice = error * 2.0;
                let other = sum + twice;
                if other - sum == twice {
                    sum = other;
                }
            }
            break;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mean(values: &[f64]) -> f64 {
        let mut sum = Sum::default();
        for value in values {
            sum.add(Finite::new(*value).unwrap());
        }
        sum.mean(values.len() as u64).unwrap().get()
    }

    #[test]
    fn nothing_is_lost_on_the_way() {
        assert_eq!(mean(&[1e16, 1.0, -1e16, 1.0]), 0.5);
        assert_eq!(mean(&[0.1; 10]), 0.1);
        assert_eq!(mean(&[f64::MAX, f64::MAX, f64::MAX]), f64::MAX);
        assert_eq!(mean(&[f64::MAX, f64::MIN]), 0.0);
        assert_eq!(mean(&[5.0, -5.0, 0.0]), 0.0);
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter(
            values in prop::collection::vec(prop_oneof![
                any::<f64>().prop_filter("finite", |value| value.is_finite()),
                -100.0..100.0_f64,
            ], 1..40),
            cut in 0_usize..40,
            swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..80),
        ) {
            let mut other = values.clone();
            let length = other.len() as u64;
            for (one, another) in swaps {
                other.swap(one.index(values.len()), another.index(values.len()));
            }
            prop_assert_eq!(mean(&values).to_bits(), mean(&other).to_bits());

            let (mut one, mut two) = (Sum::default(), Sum::default());
            for (at, value) in values.iter().enumerate() {
                let half = if at < cut { &mut one } else { &mut two };
                half.add(Finite::new(*value).unwrap());
            }
            let saved = minicbor::to_vec(&two).unwrap();
            one.merge(&minicbor::decode(&saved).unwrap());
            prop_assert_eq!(one.mean(length).unwrap().get().to_bits(), mean(&values).to_bits());
            prop_assert!(one.parts.len() <= 40);
        }

        #[test]
        fn whole_numbers_are_summed_as_such(values in prop::collection::vec(any::<i32>(), 1..50)) {
            let sum: i64 = values.iter().map(|value| i64::from(*value)).sum();
            let numbers: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            prop_assert_eq!(mean(&numbers), sum as f64 / values.len() as f64);
        }
    }
}
