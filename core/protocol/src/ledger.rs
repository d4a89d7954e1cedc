//! The loss ledger of one boot of one device: what became of each number.
//!
//! A number is stored, or dropped for one reason, or missing: a gap. What is
//! stored wins over what was said to be dropped, whichever came first; of two
//! reasons the first one said stays. So `given = stored + dropped + gaps`
//! always holds, and without gaps all is explained. Only what was erased wins
//! over all: its number is never stored again.

use alloc::collections::BTreeMap;
use core::ops::RangeInclusive;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::batch::{DropReason, Dropped, PreviousBoot};
use crate::id::Seq;
use crate::ranges::RangeSet;

/// What became of the numbers of one boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
pub struct BootLedger {
    /// Numbers that are stored.
    pub stored: RangeSet,
    /// Numbers that will never come, by reason; none is stored, none has two reasons.
    pub dropped: BTreeMap<DropReason, RangeSet>,
    /// How often a stored number came again.
    pub duplicate: u64,
    /// The highest number that is known to have been given.
    pub last_given: Seq,
}

/// What [`BootLedger::store`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The number is new: its sample is to be stored.
    New,
    /// The number was stored before: its sample is to be left alone.
    Duplicate,
    /// The number was erased: its sample is to be left alone.
    Erased,
}

impl BootLedger {
    /// A sample with this number arrived.
    pub fn store(&mut self, seq: Seq) -> Arrival {
        if self.has_erased(seq) {
            return Arrival::Erased;
        }
        self.announce(seq);
        if self.stored.insert(seq.0..=seq.0) == 0 {
            self.duplicate = self.duplicate.saturating_add(1);
            return Arrival::Duplicate;
        }
        self.dropped.retain(|_, numbers| {
            numbers.remove(seq.0..=seq.0);
            !numbers.is_empty()
        });
        Arrival::New
    }

    /// Somebody on the way reports a run of numbers as dropped.
    pub fn drop(&mut self, dropped: Dropped) {
        self.announce(dropped.last());
        self.give_up(dropped.first.0..=dropped.last().0, dropped.reason);
    }

    /// The device has given numbers up to this one.
    pub fn announce(&mut self, last: Seq) {
        self.last_given = self.last_given.max(last);
    }

    /// The device reports, in a later boot, how this boot ended: what the
    /// gateway had not acknowledged went with its memory, as far as it did not
    /// arrive nonetheless.
    pub fn close(&mut self, previous: &PreviousBoot) {
        self.announce(previous.last);
        if let Some(first) = previous.acked.0.checked_add(1) {
            self.give_up(first..=previous.last.0, DropReason::Reboot);
        }
    }

    /// All that is known of the boot is erased: nothing stays but up to which
    /// number it had counted, so that what was given before is explained, and
    /// not taken for new when it comes late.
    pub fn erase(&mut self) {
        let mut numbers = RangeSet::new();
        if self.last_given.0 > 0 {
            numbers.insert(1..=self.last_given.0);
        }
        *self = BootLedger {
            last_given: self.last_given,
            ..BootLedger::default()
        };
        if !numbers.is_empty() {
            self.dropped.insert(DropReason::Erased, numbers);
        }
    }

    /// Whether the number was erased.
    pub fn has_erased(&self, seq: Seq) -> bool {
        self.dropped
            .get(&DropReason::Erased)
            .is_some_and(|numbers| numbers.contains(seq.0))
    }

    /// Whether nothing has come since the boot was erased.
    pub fn is_erased(&self) -> bool {
        self.stored.is_empty()
            && self.dropped.len() == 1
            && self.last_given.0 > 0
            && self.has_erased(self.last_given)
    }

    /// Numbers that were given, and of which nothing is known.
    pub fn gaps(&self) -> RangeSet {
        let mut open = RangeSet::new();
        if self.last_given.0 > 0 {
            open.insert(1..=self.last_given.0);
        }
        open = open.subtract(&self.stored);
        for numbers in self.dropped.values() {
            open = open.subtract(numbers);
        }
        open
    }

    /// How many numbers were dropped for each reason.
    pub fn dropped_by_reason(&self) -> BTreeMap<DropReason, u64> {
        self.dropped
            .iter()
            .map(|(&reason, numbers)| (reason, numbers.len()))
            .collect()
    }

    /// What the ledger costs, in spans; for a bound.
    pub fn spans(&self) -> usize {
        self.stored.spans() + self.dropped.values().map(RangeSet::spans).sum::<usize>()
    }

    fn give_up(&mut self, numbers: RangeInclusive<u64>, reason: DropReason) {
        let mut open = RangeSet::new();
        open.insert(numbers);
        open = open.subtract(&self.stored);
        for known in self.dropped.values() {
            open = open.subtract(known);
        }
        if !open.is_empty() {
            let numbers = self.dropped.entry(reason).or_default();
            *numbers = numbers.union(&open);
        }
    }
}

/// `[stored, {reason: numbers}, duplicate, last given]`
impl<C> Encode<C> for BootLedger {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        c: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.array(4)?.encode_with(&self.stored, c)?;
        e.map(self.dropped.len() as u64)?;
        for (reason, numbers) in &self.dropped {
            e.u8(reason.code())?.encode_with(numbers, c)?;
        }
        e.u64(self.duplicate)?.u64(self.last_given.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for BootLedger {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let bad = |why: &'static str| decode::Error::message(why).at(at);
        if d.array()? != Some(4) {
            return Err(bad("a ledger has four parts"));
        }
        let stored = d.decode_with(c)?;
        let mut dropped = BTreeMap::new();
        for _ in 0..d.map()?.ok_or_else(|| bad("a map of definite length"))? {
            let reason = DropReason::from_code(d.u8()?).ok_or_else(|| bad("unknown reason"))?;
            dropped.insert(reason, d.decode_with(c)?);
        }
        Ok(BootLedger {
            stored,
            dropped,
            duplicate: d.u64()?,
            last_given: Seq(d.u64()?),
        })
    }
}
