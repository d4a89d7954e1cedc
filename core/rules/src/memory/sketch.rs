//! A percentile from a bounded summary.

use minicbor::decode::{self, Decode, Decoder};
use minicbor::encode::{self, Encode, Encoder, Write};

use crate::Finite;

/// The most buckets that are not empty.
pub(super) const BUCKETS: usize = 128;

/// At the finest, a bucket is as wide as 1/64 of the numbers in it: the upper six
/// bits of the mantissa, beside the exponent, tell which it is.
const FINEST: u8 = 52 - 6;

/// At the coarsest, four buckets hold all that is not zero.
const COARSEST: u8 = 62;

/// How many numbers fell into which bucket. Buckets are cut by the leading bits of
/// a number, so that each is as wide as a fixed part of the numbers in it: 1/64 at
/// first, twice that each time more than [`BUCKETS`] would not be empty. What comes
/// out depends on the numbers alone, not on their order, and sketches can be merged.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sketch {
    /// How many of a number's low bits do not count.
    shift: u8,
    /// By rising index, none empty.
    buckets: Vec<(i32, u64)>,
}

impl Default for Sketch {
    fn default() -> Self {
        Self {
            shift: FINEST,
            buckets: Vec::new(),
        }
    }
}

impl Sketch {
    pub(super) fn add(&mut self, value: Finite) {
        let index = index(value.get(), self.shift);
        match self
            .buckets
            .binary_search_by_key(&index, |(index, _)| *index)
        {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(1),
            Err(at) => self.buckets.insert(at, (index, 1)),
        }
        while self.buckets.len() > BUCKETS && self.shift < COARSEST {
            self.shift += 1;
            self.buckets = coarser(&self.buckets, 1);
        }
    }

    /// The number with `rank` (from 1) of all numbers of all sketches, off by at most
    /// half a bucket; `None` if there are fewer.
    pub(super) fn ranked<'a>(
        sketches: impl Iterator<Item = &'a Self> + Clone,
        rank: u64,
    ) -> Option<f64> {
        let shift = sketches.clone().map(|sketch| sketch.shift).max()?;
        let mut all: Vec<(i32, u64)> = Vec::new();
        for sketch in sketches {
            match shift - sketch.shift {
                0 => all.extend_from_slice(&sketch.buckets),
                by => all.extend(coarser(&sketch.buckets, by)),
            }
        }
        all.sort_unstable();
        let mut seen = 0_u64;
        let found = all.into_iter().find(|(_, count)| {
            seen = seen.saturating_add(*count);
            seen >= rank
        });
        found.map(|(index, _)| middle(index, shift))
    }
}

/// 0 for zero (and what is too small for a normal `f64`), else rising with the number.
fn index(value: f64, shift: u8) -> i32 {
    if value.abs() < f64::MIN_POSITIVE {
        return 0;
    }
    // At most 2¹⁷.
    let magnitude = i32::try_from(value.abs().to_bits() >> shift).unwrap_or(i32::MAX - 1) + 1;
    if value < 0.0 { -magnitude } else { magnitude }
}

/// The same counts in buckets that are 2^`by` times as wide.
fn coarser(buckets: &[(i32, u64)], by: u8) -> Vec<(i32, u64)> {
    let mut wide: Vec<(i32, u64)> = Vec::with_capacity(buckets.len());
    for &(index, count) in buckets {
        let magnitude = ((index.unsigned_abs().max(1) - 1) >> by).cast_signed() + 1;
        let index = index.signum() * magnitude;
        match wide.last_mut() {
            Some((last, sum)) if *last == index => *sum = sum.saturating_add(count),
            _ => wide.push((index, count)),
        }
    }
    wide
}

/// The middle of a bucket.
fn middle(index: i32, shift: u8) -> f64 {
    if index == 0 {
        return 0.0;
    }
    let magnitude = u64::from(index.unsigned_abs() - 1);
    let low = f64::from_bits(magnitude << shift);
    let high = f64::from_bits((magnitude + 1) << shift);
    let middle = if high.is_finite() {
        low / 2.0 + high / 2.0
    } else {
        low
    };
    if index < 0 { -middle } else { middle }
}

/// The shift, and for each bucket the distance to the one before and its count.
impl<C> Encode<C> for Sketch {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.array(1 + 2 * self.buckets.len() as u64)?.u8(self.shift)?;
        let mut before = 0_i32;
        for &(index, count) in &self.buckets {
            e.i32(index - before)?.u64(count)?;
            before = index;
        }
        e.ok()
    }
}

impl<'b, C> Decode<'b, C> for Sketch {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let wrong = |what| decode::Error::message(what).at(at);
        let items = d.array()?.ok_or_else(|| wrong("a sketch without length"))?;
        let shift = d.u8()?;
        if !(FINEST..=COARSEST).contains(&shift) || items % 2 == 0 || items / 2 > BUCKETS as u64 {
            return Err(wrong("not a sketch"));
        }
        let mut buckets = Vec::new();
        let mut index = 0_i32;
        for bucket in 0..items / 2 {
            let step = d.i32()?;
            index = index
                .checked_add(step)
                .filter(|index| (bucket == 0 || step > 0) && index.unsigned_abs() <= 1 << 18)
                .ok_or_else(|| wrong("not the next bucket of a sketch"))?;
            buckets.push((index, d.u64()?));
        }
        Ok(Self { shift, buckets })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sketch(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        for value in values {
            sketch.add(Finite::new(*value).unwrap());
        }
        sketch
    }

    /// Half a bucket's width, as a part of the number.
    fn error(sketch: &Sketch) -> f64 {
        1.0 / f64::from(1_u32 << (53 - u32::from(sketch.shift).min(52)))
    }

    #[test]
    fn numbers_within_two_octaves_are_told_within_a_hundredth() {
        let values: Vec<f64> = (0..10_000).map(|at| 10.0 + f64::from(at) * 0.003).collect();
        let sketch = sketch(&values);
        assert_eq!(sketch.shift, FINEST);
        for rank in [1_usize, 5_000, 9_500, 10_000] {
            let told = Sketch::ranked([&sketch].into_iter(), rank as u64).unwrap();
            let exact = values[rank - 1];
            assert!((told - exact).abs() <= exact / 128.0, "{told} {exact}");
        }
        assert_eq!(Sketch::ranked([&sketch].into_iter(), 10_001), None);
    }

    #[test]
    fn memory_stays_bounded_over_the_whole_range() {
        let mut values = vec![0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324];
        values.extend((-300..300).map(|exponent| 10_f64.powi(exponent)));
        values.extend((-300..300).map(|exponent| -(10_f64.powi(exponent))));
        let sketch = sketch(&values);
        assert!(sketch.buckets.len() <= BUCKETS && sketch.shift > FINEST);
        assert_eq!(
            sketch.buckets.iter().map(|(_, count)| count).sum::<u64>(),
            values.len() as u64
        );
        for rank in 1..=values.len() as u64 {
            let told = Sketch::ranked([&sketch].into_iter(), rank).unwrap();
            assert!(told.is_finite());
        }
    }

    #[test]
    fn what_is_no_sketch_is_refused() {
        for bad in [
            &[0x83, 0x18, 0x2e, 0x01][..],
            &[0x82, 0x18, 0x2e, 0x01],
            &[0x81, 0x01],
            &[0x85, 0x18, 0x2e, 0x02, 0x01, 0x20, 0x01],
        ] {
            assert!(minicbor::decode::<Sketch>(bad).is_err(), "{bad:x?}");
        }
        let good: Sketch = minicbor::decode(&[0x83, 0x18, 0x2e, 0x02, 0x01]).unwrap();
        assert_eq!(good.buckets, [(2, 1)]);
    }

    proptest! {
        #[test]
        fn it_is_as_near_as_it_says_whatever_the_order_and_cut(
            mut values in prop::collection::vec(
                prop_oneof![-100.0..100.0_f64, -1e9..1e9_f64, Just(0.0)], 1..300),
            cut in 0_usize..300,
        ) {
            let (one, two) = values.split_at(cut.min(values.len()));
            let parts = [sketch(one), sketch(two)];
            for part in &parts {
                let again: Sketch = minicbor::decode(&minicbor::to_vec(part).unwrap()).unwrap();
                prop_assert_eq!(&again, part);
            }
            let mut backwards = values.clone();
            backwards.reverse();
            prop_assert_eq!(sketch(&backwards), sketch(&values));

            values.sort_by(f64::total_cmp);
            let within = parts.iter().map(error).fold(0.0, f64::max);
            for rank in 1..=values.len() {
                let told = Sketch::ranked(parts.iter(), rank as u64).unwrap();
                let exact = values[rank - 1];
                prop_assert!((told - exact).abs() <= exact.abs() * within * 1.000_001, "{} {} {}", told, exact, within);
            }
        }
    }
}
