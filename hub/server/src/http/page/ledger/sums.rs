//! The sums over ledgers: given = stored + dropped + missing.

use std::collections::BTreeMap;

use stencil_protocol::batch::DropReason;
use stencil_protocol::id::DeviceId;
use stencil_store::LedgerRow;

/// Boots with a gap that are listed.
pub(super) const MAX_FAULTS: usize = 50;

/// What became of the numbers of several boots.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) devices: u64,
    pub(super) boots: u64,
    /// Numbers that were given.
    pub(super) given: u64,
    pub(super) stored: u64,
    /// Dropped, by reason.
    pub(super) reasons: BTreeMap<DropReason, u64>,
    /// Stored numbers that came again.
    pub(super) duplicate: u64,
    /// Given, and neither stored nor dropped.
    pub(super) gaps: u64,
    /// The first boots with a gap; at most [`MAX_FAULTS`].
    pub(super) faults: Vec<LedgerRow>,
    /// How many boots have a gap.
    pub(super) faulty: u64,
    /// Whether there are boots that were not looked at.
    pub(super) cut: bool,
    last: Option<DeviceId>,
}

impl Sums {
    /// Adds a boot; those of a device follow each other.
    pub(super) fn add(&mut self, row: &LedgerRow) {
        let ledger = &row.ledger;
        self.boots += 1;
        if self.last.as_ref() != Some(&row.device) {
            self.devices += 1;
            self.last = Some(row.device.clone());
        }
        // What a device claims may be as large as a number can be.
        let add = |sum: &mut u64, number: u64| *sum = sum.saturating_add(number);
        add(&mut self.given, ledger.last_given.0);
        add(&mut self.stored, ledger.stored.len());
        add(&mut self.duplicate, ledger.duplicate);
        for (reason, number) in ledger.dropped_by_reason() {
            add(self.reasons.entry(reason).or_default(), number);
        }
        let gaps = ledger.gaps().len();
        add(&mut self.gaps, gaps);
        if gaps > 0 {
            self.faulty += 1;
            if self.faults.len() < MAX_FAULTS {
                self.faults.push(row.clone());
            }
        }
    }

    /// How many were dropped, for whatever reason.
    pub(super) fn dropped(&self) -> u64 {
        let all = self.reasons.values();
        all.fold(0, |sum, number| sum.saturating_add(*number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stencil_protocol::batch::Dropped;
    use stencil_protocol::id::{Boot, Seq};
    use stencil_protocol::ledger::BootLedger;

    fn row(device: &str, boot: u32, stored: u64, dropped: u32, last: u64) -> LedgerRow {
        let mut ledger = BootLedger::default();
        (1..=stored).for_each(|n| {
            ledger.store(Seq(n));
        });
        if dropped > 0 {
            ledger.drop(Dropped {
                first: Seq(stored + 1),
                count: dropped,
                reason: DropReason::BufferFull,
            });
        }
        ledger.announce(Seq(last));
        LedgerRow {
            device: device.parse().unwrap(),
            boot: Boot(boot),
            ledger,
        }
    }

    #[test]
    fn what_was_given_is_stored_dropped_or_missing() {
        let mut sums = Sums::default();
        for row in [
            row("a", 1, 10, 2, 12),
            row("a", 2, 5, 0, 8),
            row("b", 1, 1, 0, 1),
        ] {
            sums.add(&row);
        }
        assert_eq!((sums.devices, sums.boots), (2, 3));
        assert_eq!(
            (sums.given, sums.stored, sums.dropped(), sums.gaps),
            (21, 16, 2, 3)
        );
        assert_eq!(sums.faulty, 1);
        assert_eq!(
            (sums.faults[0].device.as_str(), sums.faults[0].boot),
            ("a", Boot(2))
        );
    }

    #[test]
    fn the_largest_claims_do_not_overflow_the_sums() {
        let mut sums = Sums::default();
        for boot in 0..3 {
            sums.add(&row("a", boot, 0, 0, u64::MAX));
        }
        assert_eq!((sums.given, sums.gaps), (u64::MAX, u64::MAX));
    }
}
