//! Writes the stream: gives each record its number.

use stencil_edge::{Judged, Place, Placed, Record, Rules, Since, What};
use stencil_protocol::id::DeviceId;
use stencil_rules::Pattern;

/// Numbers the records of a stream. Pure: a record counts once it was [written](Self::written).
#[derive(Debug)]
pub struct Writer {
    epoch: u64,
    next: u64,
    at_us: i64,
    rules: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    since: Since,
    placed: Placed,
    devices: Pattern,
}

impl Writer {
    /// Begins a stream that has no records yet.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            next: 1,
            at_us: i64::MIN,
            rules: Vec::new(),
        }
    }

    /// Goes on after this record, which was read.
    pub fn read(&mut self, place: Place, at_us: i64, what: Option<&What>) {
        self.epoch = place.epoch;
        self.next = self.next.max(place.number + 1);
        self.at_us = self.at_us.max(at_us);
        if let Some(What::Rules(rules)) = what {
            self.watch(rules);
        }
    }

    /// Goes on where a judge is.
    pub fn resume(&mut self, judge: &stencil_edge::Judge) {
        if let Some(place) = judge.place() {
            self.read(place, judge.time_us(), None);
        }
        let rules = judge.running();
        self.rules = rules
            .filter_map(|(placed, since, _)| watched(since, placed.clone()))
            .collect();
    }

    /// The place of the next record.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            epoch: self.epoch,
            number: self.next,
        }
    }

    /// The time of the record that was written last: no later one has an earlier time.
    #[must_use]
    pub fn at_us(&self) -> i64 {
        self.at_us
    }

    /// The rules that are judged.
    pub fn rules(&self) -> impl Iterator<Item = &Placed> {
        self.rules.iter().map(|rule| &rule.placed)
    }

    /// A device's batch as the next record, if a rule watches the device.
    #[must_use]
    pub fn batch(&self, received_us: i64, device: &DeviceId, batch: &[u8]) -> Option<Vec<u8>> {
        let mut rules = self.rules.iter();
        rules
            .any(|rule| rule.devices.matches(device.as_str()))
            .then(|| {
                let received_us = received_us.max(self.at_us);
                let place = self.place();
                Judged {
                    place,
                    received_us,
                    batch,
                }
                .encode()
            })
    }

    /// The next record.
    #[must_use]
    pub fn record(&self, at_us: i64, what: What) -> Vec<u8> {
        Record {
            place: self.place(),
            at_us: at_us.max(self.at_us),
            what,
        }
        .encode()
    }

    /// The record by which these are the rules from here on; `None` if they are already.
    #[must_use]
    pub fn change(&self, placed: &[Placed], max_states: u32, max_ahead_us: i64) -> Option<What> {
        let same = placed.len() == self.rules.len()
            && placed
                .iter()
                .zip(&self.rules)
                .all(|(new, held)| *new == held.placed);
        if same {
            return None;
        }
        let since = |new: &Placed| {
            let mut held = self.rules.iter();
            let asks_the_same = |held: &&Watched| {
                let held = &held.placed;
                held.workflow == new.workflow && held.name == new.name && held.when == new.when
            };
            held.find(asks_the_same)
                .map_or(self.next, |held| held.since)
        };
        let placed = placed
            .iter()
            // Of texts and numbers: this cannot fail.
            .filter_map(|new| Some((since(new), serde_json::to_string(new).ok()?)))
            .collect();
        Some(What::Rules(Rules {
            max_states,
            max_ahead_us,
            placed,
        }))
    }

    /// The next record was written, at this time.
    pub fn written(&mut self, at_us: i64, what: Option<&What>) {
        self.next += 1;
        self.at_us = self.at_us.max(at_us);
        if let Some(What::Rules(rules)) = what {
            self.watch(rules);
        }
    }

    fn watch(&mut self, rules: &Rules) {
        let read =
            |(since, json): &(Since, String)| watched(*since, serde_json::from_str(json).ok()?);
        self.rules = rules.placed.iter().filter_map(read).collect();
    }
}

fn watched(since: Since, placed: Placed) -> Option<Watched> {
    let devices = Pattern::parse(&placed.devices).ok()?;
    Some(Watched {
        since,
        placed,
        devices,
    })
}
