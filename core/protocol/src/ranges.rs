//! Sets of numbers that mostly follow each other: a million stored samples in
//! a row are one span.

use alloc::vec::Vec;
use core::cmp::{max, min};
use core::ops::RangeInclusive;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// A set of `u64`, held as ordered spans that neither overlap nor touch.
///
/// Adding at the end is O(1), elsewhere O(spans). A caller that takes numbers
/// from strangers bounds [`RangeSet::spans`].
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct RangeSet {
    /// First and last number of each span, both in the set.
    spans: Vec<(u64, u64)>,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        RangeSet { spans: Vec::new() }
    }

    /// Adds all numbers of a range; says how many of them were new. An empty
    /// range (start beyond end) adds nothing.
    pub fn insert(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (mut first, mut last) = range.into_inner();
        if first > last {
            return 0;
        }
        let asked = width(first, last);
        // The usual case: what follows the last one.
        if let Some(end) = self.spans.last_mut()
            && end.1.checked_add(1) == Some(first)
        {
            end.1 = last;
            return asked;
        }
        // The spans that overlap or touch [first, last].
        let from = self
            .spans
            .partition_point(|&(_, end)| end < first.saturating_sub(1));
        let until = match last.checked_add(1) {
            Some(after) => self.spans.partition_point(|&(start, _)| start <= after),
            None => self.spans.len(),
        };
        let mut known = 0;
        for &(start, end) in self.spans.get(from..until).unwrap_or_default() {
            known += overlap((start, end), (first, last)).map_or(0, |(a, b)| width(a, b));
        }
        if let (Some(&(start, _)), Some(&(_, end))) = (
            self.spans.get(from),
            until.checked_sub(1).and_then(|i| self.spans.get(i)),
        ) && from < until
        {
            (first, last) = (min(first, start), max(last, end));
        }
        self.spans.splice(from..until, [(first, last)]);
        asked.saturating_sub(known)
    }

    /// Takes all numbers of a range out; says how many were in.
    pub fn remove(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (first, last) = range.into_inner();
        if first > last {
            return 0;
        }
        let from = self.spans.partition_point(|&(_, end)| end < first);
        let until = self.spans.partition_point(|&(start, _)| start <= last);
        let mut left: [Option<(u64, u64)>; 2] = [None, None];
        let mut taken = 0u64;
        for &(start, end) in self.spans.get(from..until).unwrap_or_default() {
            taken += overlap((start, end), (first, last)).map_or(0, |(a, b)| width(a, b));
            if start < first {
                left[0] = Some((start, first - 1));
            }
            if end > last {
                left[1] = Some((last + 1, end));
            }
        }
        if from < until {
            self.spans.splice(from..until, left.into_iter().flatten());
        }
        taken
    }

    /// Whether the number is in the set.
    pub fn contains(&self, number: u64) -> bool {
        let at = self.spans.partition_point(|&(_, end)| end < number);
        self.spans
            .get(at)
            .is_some_and(|&(start, _)| start <= number)
    }

    /// How many numbers are in the set; `u64::MAX` also for all 2^64.
    pub fn len(&self) -> u64 {
        self.spans
            .iter()
            .fold(0, |sum, &(a, b)| u64::saturating_add(sum, width(a, b)))
    }

    /// Whether no number is in the set.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many spans the set has: what it costs.
    pub fn spans(&self) -> usize {
        self.spans.len()
    }

    /// The spans in ascending order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RangeInclusive<u64>> + '_ {
        self.spans.iter().map(|&(first, last)| first..=last)
    }

    /// The highest number.
    pub fn last(&self) -> Option<u64> {
        self.spans.last().map(|&(_, last)| last)
    }

    /// The numbers of this set that are not in the other.
    pub fn subtract(&self, other: &RangeSet) -> RangeSet {
        let mut result = RangeSet::new();
        let mut holes = other.spans.iter().peekable();
        for &(first, last) in &self.spans {
            let mut next = Some(first);
            while let (Some(from), Some(&&(start, end))) = (next, holes.peek()) {
                if end < from {
                    holes.next();
                    continue;
                }
                if start > last {
                    break;
                }
                if start > from {
                    result.spans.push((from, start - 1));
                }
                next = end.checked_add(1).filter(|&after| after <= last);
            }
            if let Some(from) = next {
                result.spans.push((from, last));
            }
        }
        result
    }

    /// The numbers of either set.
    pub fn union(&self, other: &RangeSet) -> RangeSet {
        let mut result = RangeSet::new();
        let (mut left, mut right) = (self.spans.iter().peekable(), other.spans.iter().peekable());
        loop {
            let from_left = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) => a.0 <= b.0,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => return result,
            };
            // In ascending order, so each insert is at the end.
            if let Some(&(first, last)) = if from_left { left.next() } else { right.next() } {
                result.insert(first..=last);
            }
        }
    }

    /// The numbers of both sets.
    pub fn intersect(&self, other: &RangeSet) -> RangeSet {
        let mut result = RangeSet::new();
        let (mut i, mut j) = (0, 0);
        while let (Some(&a), Some(&b)) = (self.spans.get(i), other.spans.get(j)) {
            result.spans.extend(overlap(a, b));
            if a.1 < b.1 { i += 1 } else { j += 1 }
        }
        result
    }
}

/// 2^64 counts as `u64::MAX`.
fn width(first: u64, last: u64) -> u64 {
    (last - first).saturating_add(1)
}

fn overlap(a: (u64, u64), b: (u64, u64)) -> Option<(u64, u64)> {
    let (first, last) = (max(a.0, b.0), min(a.1, b.1));
    (first <= last).then_some((first, last))
}

impl core::fmt::Debug for RangeSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<RangeInclusive<u64>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u64>>>(ranges: I) -> Self {
        let mut set = RangeSet::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

/// `[gap, width - 1, gap, width - 1, …]`: the gap to the span before (at least
/// 2, but for the first), so that small numbers stay small.
impl<C> Encode<C> for RangeSet {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.array(2 * self.spans.len() as u64)?;
        let mut before = 0;
        for &(first, last) in &self.spans {
            e.u64(first - before)?.u64(last - first)?;
            before = last;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for RangeSet {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let bad = || decode::Error::message("not an ordered list of spans").at(at);
        let length = d.array()?.ok_or_else(bad)?;
        if length % 2 == 1 {
            return Err(bad());
        }
        // Grows with what is read, not with what is claimed.
        let mut spans: Vec<(u64, u64)> = Vec::new();
        let mut before = None;
        for _ in 0..length / 2 {
            let gap = d.u64()?;
            let first = match before {
                None => gap,
                Some(last) if gap >= 2 => u64::checked_add(last, gap).ok_or_else(bad)?,
                Some(_) => return Err(bad()),
            };
            let last = first.checked_add(d.u64()?).ok_or_else(bad)?;
            spans.push((first, last));
            before = Some(last);
        }
        Ok(RangeSet { spans })
    }
}

/// `[[first, last], …]`
#[cfg(feature = "std")]
impl serde::Serialize for RangeSet {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(&self.spans)
    }
}

#[cfg(feature = "std")]
impl<'de> serde::Deserialize<'de> for RangeSet {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let spans = Vec::<(u64, u64)>::deserialize(d)?;
        Ok(spans
            .into_iter()
            .map(|(first, last)| first..=last)
            .collect())
    }
}
