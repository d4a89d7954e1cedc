//! The sum: given = stored + dropped, number by number.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use stencil_protocol::ledger::BootLedger;
use stencil_protocol::ranges::RangeSet;

use crate::output::{self, say};

/// A device and one of its boots.
pub(crate) type Key = (String, u32);

/// What reconciliation found.
#[derive(Debug, Serialize)]
pub(crate) struct Account {
    /// Whether there is neither a gap nor a number that no device gave.
    pub held: bool,
    /// Numbers that the devices gave.
    pub sent: u64,
    /// Of these, stored.
    pub stored: u64,
    /// Came once more.
    pub duplicate: u64,
    /// Dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Boots in which numbers are missing, or were never given.
    pub faults: Vec<Fault>,
    /// Each device: its boots taken together.
    pub devices: Vec<Device>,
    /// Devices that don't number what they send: de-duplicated by device, key and time, and
    /// nobody can know of a gap.
    pub unnumbered: Vec<String>,
}

/// What is wrong with one boot of one device.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Fault {
    /// The device.
    pub device: String,
    /// Its boot.
    pub boot: u32,
    /// Given, and neither stored nor dropped with a reason.
    pub missing: RangeSet,
    /// Stored or dropped, and never given.
    pub never_given: RangeSet,
}

/// A device's sums.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Device {
    /// The device.
    pub device: String,
    /// How many boots.
    pub boots: u32,
    /// Numbers given.
    pub sent: u64,
    /// Stored.
    pub stored: u64,
    /// Dropped, for whatever reason.
    pub dropped: u64,
    /// Came once more.
    pub duplicate: u64,
    /// Neither stored nor dropped.
    pub missing: u64,
}

impl Account {
    /// Holds `ledgers` against `given`; without `given`, against the highest number that each
    /// device told of.
    pub(crate) fn of(
        ledgers: &BTreeMap<Key, BootLedger>,
        given: Option<&BTreeMap<Key, RangeSet>>,
        unnumbered: Vec<String>,
    ) -> Self {
        let empty = BootLedger::default();
        let mut keys: BTreeSet<&Key> = ledgers.keys().collect();
        keys.extend(given.into_iter().flat_map(BTreeMap::keys));
        let mut account = Self {
            held: true,
            sent: 0,
            stored: 0,
            duplicate: 0,
            dropped: BTreeMap::new(),
            faults: Vec::new(),
            devices: Vec::new(),
            unnumbered,
        };
        for key in keys {
            let ledger = ledgers.get(key).unwrap_or(&empty);
            let told = up_to(ledger.last_given.0);
            let given = match given {
                Some(journals) => journals.get(key).cloned().unwrap_or_default(),
                None => told,
            };
            account.add(key, ledger, &given);
        }
        account
    }

    fn add(&mut self, (device, boot): &Key, ledger: &BootLedger, given: &RangeSet) {
        let mut accounted = ledger.stored.clone();
        let mut dropped = 0;
        for (reason, numbers) in &ledger.dropped {
            *self.dropped.entry(reason.as_str().to_owned()).or_default() += numbers.len();
            dropped += numbers.len();
            accounted = accounted.union(numbers);
        }
        let missing = given.subtract(&accounted);
        let never_given = accounted.subtract(given);
        if self
            .devices
            .last()
            .is_none_or(|last| last.device != *device)
        {
            self.devices.push(Device {
                device: device.clone(),
                ..Device::default()
            });
        }
        if let Some(sums) = self.devices.last_mut() {
            sums.boots += 1;
            sums.sent += given.len();
            sums.stored += ledger.stored.len();
            sums.dropped += dropped;
            sums.duplicate += ledger.duplicate;
            sums.missing += missing.len();
        }
        self.sent += given.len();
        self.stored += ledger.stored.len();
        self.duplicate += ledger.duplicate;
        if !missing.is_empty() || !never_given.is_empty() {
            self.held = false;
            let device = device.clone();
            self.faults.push(Fault {
                device,
                boot: *boot,
                missing,
                never_given,
            });
        }
    }

    /// Whether something that was given is neither stored nor dropped.
    pub(crate) fn is_missing(&self) -> bool {
        self.faults.iter().any(|fault| !fault.missing.is_empty())
    }

    /// How many numbers were dropped, over all reasons.
    pub(crate) fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// In one line.
    pub(crate) fn summary(&self) -> String {
        let reasons: Vec<String> = self
            .dropped
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        let reasons = if reasons.is_empty() {
            String::new()
        } else {
            format!(" ({})", reasons.join(", "))
        };
        let verdict = if self.held {
            format!("no gap in {} devices", self.devices.len())
        } else {
            format!("{} boots with a gap", self.faults.len())
        };
        format!(
            "sent {}, stored {}, dropped {}{reasons}; {} came twice; {verdict}",
            self.sent,
            self.stored,
            self.dropped_total(),
            self.duplicate,
        )
    }

    /// Prints it for people.
    pub(crate) fn print(&self) {
        let head = [
            "device",
            "boots",
            "sent",
            "stored",
            "dropped",
            "duplicate",
            "missing",
        ];
        let mut rows = vec![
            head.iter()
                .map(|cell| (*cell).to_owned())
                .collect::<Vec<_>>(),
        ];
        for device in &self.devices {
            rows.push(vec![
                device.device.clone(),
                device.boots.to_string(),
                device.sent.to_string(),
                device.stored.to_string(),
                device.dropped.to_string(),
                device.duplicate.to_string(),
                device.missing.to_string(),
            ]);
        }
        output::table(&rows);
        say!("");
        for fault in &self.faults {
            say!("{}", fault.describe());
        }
        for device in &self.unnumbered {
            say!("{device}: unnumbered (de-duplicated by device, key and time)");
        }
        say!("{}", self.summary());
    }
}

/// What a later look at the ledgers says of the numbers in `given`, and of those that the
/// `first` look showed; devices that go on give others meanwhile, which count nowhere.
pub(crate) fn later(
    first: &BTreeMap<Key, BootLedger>,
    mut now: BTreeMap<Key, BootLedger>,
    given: &BTreeMap<Key, RangeSet>,
) -> BTreeMap<Key, BootLedger> {
    now.retain(|key, ledger| {
        let mut counted = given.get(key).cloned().unwrap_or_default();
        if let Some(first) = first.get(key) {
            counted = first
                .dropped
                .values()
                .fold(counted.union(&first.stored), |sum, dropped| {
                    sum.union(dropped)
                });
        }
        ledger.stored = ledger.stored.intersect(&counted);
        for dropped in ledger.dropped.values_mut() {
            *dropped = dropped.intersect(&counted);
        }
        ledger.dropped.retain(|_, dropped| !dropped.is_empty());
        !counted.is_empty()
    });
    now
}

impl Fault {
    /// In words.
    pub(crate) fn describe(&self) -> String {
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            parts.push(format!("missing {}", spans(&self.missing)));
        }
        if !self.never_given.is_empty() {
            parts.push(format!("never given {}", spans(&self.never_given)));
        }
        format!("{} boot {}: {}", self.device, self.boot, parts.join("; "))
    }
}

fn up_to(last: u64) -> RangeSet {
    let mut numbers = RangeSet::new();
    if last > 0 {
        numbers.insert(1..=last);
    }
    numbers
}

/// The first few spans; a long list helps nobody.
fn spans(numbers: &RangeSet) -> String {
    const SHOWN: usize = 8;
    let mut shown: Vec<String> = numbers
        .iter()
        .take(SHOWN)
        .map(|span| match (span.start(), span.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        })
        .collect();
    if numbers.spans() > SHOWN {
        shown.push(format!(
            "… ({} numbers in {} spans)",
            numbers.len(),
            numbers.spans()
        ));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use stencil_protocol::batch::{DropReason, Dropped};
    use stencil_protocol::id::Seq;

    use super::*;

    fn key(device: &str) -> Key {
        (device.to_owned(), 1)
    }

    fn ledger(stored: std::ops::RangeInclusive<u64>, last: u64) -> BootLedger {
        let mut ledger = BootLedger::default();
        stored.for_each(|number| {
            ledger.store(Seq(number));
        });
        ledger.announce(Seq(last));
        ledger
    }

    #[test]
    fn a_number_that_is_neither_stored_nor_dropped_is_named() {
        let mut known = ledger(1..=5, 8);
        known.drop(Dropped {
            first: Seq(6),
            count: 2,
            reason: DropReason::BufferFull,
        });
        let account = Account::of(&BTreeMap::from([(key("a"), known)]), None, Vec::new());
        assert!(!account.held);
        assert_eq!(account.faults[0].describe(), "a boot 1: missing 8");
        assert_eq!(
            (account.sent, account.stored, account.dropped_total()),
            (8, 5, 2)
        );
    }

    #[test]
    fn a_number_that_never_left_the_device_counts_when_the_journal_knows_it() {
        let ledgers = BTreeMap::from([(key("a"), ledger(1..=5, 5))]);
        assert!(Account::of(&ledgers, None, Vec::new()).held);
        let journal = BTreeMap::from([(key("a"), up_to(6))]);
        let account = Account::of(&ledgers, Some(&journal), Vec::new());
        assert_eq!(account.faults[0].describe(), "a boot 1: missing 6");
    }

    #[test]
    fn a_device_of_which_the_hub_never_heard_is_missing_whole() {
        let journal = BTreeMap::from([(key("a"), up_to(3))]);
        let account = Account::of(&BTreeMap::new(), Some(&journal), Vec::new());
        assert_eq!(account.faults[0].describe(), "a boot 1: missing 1-3");
    }

    #[test]
    fn a_number_that_no_journal_gave_is_a_fault_too() {
        let ledgers = BTreeMap::from([(key("a"), ledger(1..=5, 5))]);
        let journal = BTreeMap::from([(key("a"), up_to(4))]);
        let account = Account::of(&ledgers, Some(&journal), Vec::new());
        assert_eq!(account.faults[0].describe(), "a boot 1: never given 5");
    }

    #[test]
    fn a_later_look_counts_what_arrived_and_not_what_was_given_since() {
        let first = BTreeMap::from([(key("a"), ledger(1..=5, 5))]);
        let journal = BTreeMap::from([(key("a"), up_to(8))]);
        assert!(Account::of(&first, Some(&journal), Vec::new()).is_missing());
        let now = BTreeMap::from([(key("a"), ledger(1..=12, 12)), (key("b"), ledger(1..=2, 2))]);
        let account = Account::of(&later(&first, now, &journal), Some(&journal), Vec::new());
        assert!(account.held, "{:?}", account.faults);
        assert_eq!((account.sent, account.stored), (8, 8));
        let still = BTreeMap::from([(key("a"), ledger(1..=7, 7))]);
        let account = Account::of(&later(&first, still, &journal), Some(&journal), Vec::new());
        assert_eq!(account.faults[0].describe(), "a boot 1: missing 8");
    }

    #[test]
    fn a_number_that_no_journal_gave_stays_a_fault_in_a_later_look() {
        let first = BTreeMap::from([(key("a"), ledger(1..=5, 5))]);
        let journal = BTreeMap::from([(key("a"), up_to(4))]);
        let account = Account::of(
            &later(&first, first.clone(), &journal),
            Some(&journal),
            Vec::new(),
        );
        assert_eq!(account.faults[0].describe(), "a boot 1: never given 5");
    }
}
