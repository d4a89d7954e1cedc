//! What is lost when a spooled message is dropped: its samples' numbers, and what the message
//! itself said about other numbers. All of it goes into loss reports, so that the hub's ledger
//! has no gap.

use std::{collections::BTreeMap, ops::RangeInclusive};

use stencil_edge::{Judged, Record, What};
use stencil_protocol::{
    batch::{Batch, DropReason, Dropped, Header, Writer},
    command::Status,
    id::{Boot, CommandId, DeviceId, Seq},
    ranges::RangeSet,
    report::{LossReport, MAX_DROPPED},
};

use super::entry::{Entry, Kind};

/// The most statuses of commands that are kept from what is dropped; the hub expires the rest.
const MAX_KEPT_STATUSES: usize = 4_096;

/// More than a batch has that holds neither samples nor drops.
const MAX_REPORTING_BATCH_BYTES: usize = 128;

/// Gathers what is lost.
#[derive(Default)]
pub(crate) struct Losses {
    numbers: BTreeMap<(DeviceId, Boot, DropReason), RangeSet>,
    /// What was told about the boot before, or about one that has ended.
    headers: BTreeMap<(DeviceId, Boot), (Header, Option<u16>)>,
    /// How a command ended is small and matters: it is spooled again.
    statuses: BTreeMap<(DeviceId, CommandId), Vec<u8>>,
    /// So is what rules told, in their order.
    told: Vec<Vec<u8>>,
    /// Numbers of samples that were in dropped batches.
    pub(crate) samples: u64,
    /// Messages that are dropped without a report: links coming and going, and what cannot be
    /// read.
    pub(crate) unreported: u64,
}

impl Losses {
    /// Takes in what is lost with this message, whose samples are lost for `reason`.
    pub(crate) fn add(&mut self, entry: &Entry<'_>, reason: DropReason) {
        let device = &entry.device;
        match entry.kind {
            Kind::Batch => match Batch::decode(entry.payload) {
                Ok(batch) => self.add_batch(entry, &batch, reason),
                Err(_) => self.unreported += 1,
            },
            Kind::Judged => match judged(entry.payload) {
                Some(batch) => self.add_batch(entry, &batch, reason),
                None => self.unreported += 1,
            },
            // What a rule made the gateway do matters as much as how it ended.
            Kind::Stream => match Record::decode(entry.payload) {
                Ok(Record {
                    what: What::Told(_),
                    ..
                }) if self.told.len() < MAX_KEPT_STATUSES => self.told.push(entry.to_bytes()),
                _ => self.unreported += 1,
            },
            Kind::Loss => match LossReport::decode(entry.payload) {
                Ok(report) => {
                    for dropped in report.dropped {
                        self.add_run(&report.device, report.boot, dropped);
                    }
                }
                Err(_) => self.unreported += 1,
            },
            Kind::Status => match Status::decode(entry.payload) {
                Ok(status) if self.statuses.len() < MAX_KEPT_STATUSES => {
                    self.statuses
                        .insert((device.clone(), status.id), entry.to_bytes());
                }
                _ => self.unreported += 1,
            },
            // It is said again with the next link.
            Kind::Link | Kind::Key | Kind::Image => self.unreported += 1,
            // What it was over stays unsealed.
            Kind::Seal => self.unreported += 1,
            Kind::Damage => {}
        }
    }

    /// Takes in a message that the hub will never take: to spool it again would go round and
    /// round.
    pub(crate) fn add_refused(&mut self, entry: &Entry<'_>, reason: DropReason) {
        match entry.kind {
            Kind::Batch => {
                self.add(entry, reason);
                if let Ok(batch) = Batch::decode(entry.payload)
                    && batch.is_empty()
                {
                    let key = (entry.device.clone(), batch.header().boot);
                    self.headers.remove(&key);
                }
            }
            Kind::Judged => {
                self.add(entry, reason);
                if let Some(batch) = judged(entry.payload)
                    && batch.is_empty()
                {
                    let key = (entry.device.clone(), batch.header().boot);
                    self.headers.remove(&key);
                }
            }
            Kind::Status
            | Kind::Loss
            | Kind::Link
            | Kind::Key
            | Kind::Image
            | Kind::Stream
            | Kind::Seal
            | Kind::Damage => {
                self.unreported += 1;
            }
        }
    }

    /// Adds numbers of samples that are gone, whoever held them.
    pub(super) fn add_numbers(
        &mut self,
        device: &DeviceId,
        boot: Boot,
        numbers: RangeInclusive<u64>,
        reason: DropReason,
    ) {
        if !numbers.is_empty() {
            let key = (device.clone(), boot, reason);
            self.samples += self.numbers.entry(key).or_default().insert(numbers);
        }
    }

    /// Adds a message that cannot be read at all.
    pub(crate) fn add_unreadable(&mut self) {
        self.unreported += 1;
    }

    /// The messages to spool in the place of what is dropped.
    pub(crate) fn into_entries(self) -> Vec<Vec<u8>> {
        let mut runs: BTreeMap<(DeviceId, Boot), Vec<Dropped>> = BTreeMap::new();
        for ((device, boot, reason), numbers) in self.numbers {
            let runs = runs.entry((device, boot)).or_default();
            for span in numbers.iter() {
                push_span(runs, *span.start(), *span.end(), reason);
            }
        }
        // What was given before how it ended.
        let mut entries = self.told;
        entries.extend(self.statuses.into_values());
        for ((device, _), (header, suite)) in self.headers {
            entries.extend(without_samples(device, &header, suite));
        }
        for ((device, boot), runs) in runs {
            for runs in runs.chunks(MAX_DROPPED) {
                let report = LossReport {
                    device: device.clone(),
                    boot,
                    dropped: runs.to_vec(),
                };
                // Too long it cannot be: it was cut to the bound.
                let Ok(payload) = report.encode() else {
                    continue;
                };
                let entry = Entry {
                    kind: Kind::Loss,
                    device: device.clone(),
                    suite: None,
                    payload: &payload,
                };
                entries.push(entry.to_bytes());
            }
        }
        entries
    }

    fn add_batch(&mut self, entry: &Entry<'_>, batch: &Batch<'_>, reason: DropReason) {
        let (device, header) = (&entry.device, batch.header());
        for dropped in &header.dropped {
            self.add_run(device, header.boot, *dropped);
        }
        let key = (device.clone(), header.boot);
        if header.previous.is_some() {
            self.headers.insert(key, (header.clone(), entry.suite));
        } else if batch.is_empty() {
            // How far the numbers had come, from who will say no more of them.
            let kept = self.headers.entry(key);
            let kept = kept.or_insert_with(|| (header.clone(), entry.suite));
            kept.0.last_given = kept.0.last_given.max(header.last_given);
        }
        let samples = batch.len() as u64;
        if samples > 0 {
            let lost = header.first.0..=header.first.0.saturating_add(samples - 1);
            self.add_numbers(device, header.boot, lost, reason);
        }
    }

    fn add_run(&mut self, device: &DeviceId, boot: Boot, dropped: Dropped) {
        let key = (device.clone(), boot, dropped.reason);
        self.numbers
            .entry(key)
            .or_default()
            .insert(dropped.first.0..=dropped.last().0);
    }
}

/// What a device has told about the boot before, in its own words, as a batch that only reports:
/// it is the hub that knows which of those numbers have come by another way.
/// The batch of one in the stream.
pub(crate) fn judged(payload: &[u8]) -> Option<Batch<'_>> {
    Batch::decode(Judged::decode(payload).ok()?.batch).ok()
}

fn without_samples(device: DeviceId, header: &Header, suite: Option<u16>) -> Option<Vec<u8>> {
    let mut header = header.clone();
    header.dropped.clear();
    let mut payload = [0; MAX_REPORTING_BATCH_BYTES];
    let length = Writer::new(&mut payload, &header).ok()?.finish().ok()?;
    let entry = Entry {
        kind: Kind::Batch,
        device,
        suite,
        payload: &payload[..length],
    };
    Some(entry.to_bytes())
}

/// A run's count has 32 bits.
fn push_span(runs: &mut Vec<Dropped>, first: u64, last: u64, reason: DropReason) {
    let mut first = first;
    while first <= last {
        let count = u32::try_from(last - first + 1).unwrap_or(u32::MAX);
        runs.push(Dropped {
            first: Seq(first),
            count,
            reason,
        });
        first = match first.checked_add(u64::from(count)) {
            Some(next) => next,
            None => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use stencil_protocol::{
        batch::PreviousBoot,
        command::State,
        sample::{Sample, Value},
    };

    use super::*;

    fn batch(
        first: u64,
        samples: u64,
        dropped: &[Dropped],
        previous: Option<PreviousBoot>,
    ) -> Vec<u8> {
        let mut bytes = [0; 1024];
        let header = Header {
            boot: Boot(3),
            first: Seq(first),
            last_given: Seq(first + samples + 50),
            previous,
            dropped: dropped.iter().copied().collect(),
        };
        let mut writer = Writer::new(&mut bytes, &header).unwrap();
        for n in 0..samples {
            let value = Value::Integer(i64::try_from(n).unwrap());
            writer
                .push(&Sample {
                    name: "n",
                    value,
                    unit: None,
                    time_us: 0,
                })
                .unwrap();
        }
        let length = writer.finish().unwrap();
        bytes[..length].to_vec()
    }

    fn entry<'a>(kind: Kind, payload: &'a [u8]) -> Entry<'a> {
        Entry {
            kind,
            device: DeviceId::parse("freezer-07").unwrap(),
            suite: Some(1),
            payload,
        }
    }

    fn reports(losses: Losses) -> Vec<LossReport> {
        let entries = losses.into_entries();
        entries
            .iter()
            .map(|bytes| Entry::parse(bytes).unwrap())
            .filter(|entry| entry.kind == Kind::Loss)
            .map(|entry| LossReport::decode(entry.payload).unwrap())
            .collect()
    }

    fn run(first: u64, count: u32, reason: DropReason) -> Dropped {
        Dropped {
            first: Seq(first),
            count,
            reason,
        }
    }

    #[test]
    fn a_dropped_batch_leaves_all_that_it_said_about_numbers() {
        let mut losses = Losses::default();
        let previous = PreviousBoot {
            boot: Boot(2),
            last: Seq(90),
            acked: Seq(80),
        };
        let overflow = run(1, 4, DropReason::BufferFull);
        losses.add(
            &entry(Kind::Batch, &batch(5, 6, &[overflow], Some(previous))),
            DropReason::SpoolFull,
        );
        losses.add(
            &entry(Kind::Batch, &batch(11, 2, &[overflow], None)),
            DropReason::SpoolFull,
        );
        assert_eq!((losses.samples, losses.unreported), (8, 0));
        let entries = losses.into_entries();
        let entries: Vec<_> = entries.iter().map(|e| Entry::parse(e).unwrap()).collect();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].kind, entries[0].suite), (Kind::Batch, Some(1)));
        let told = Batch::decode(entries[0].payload).unwrap();
        assert_eq!(told.len(), 0);
        assert_eq!(
            (told.header().boot, told.header().previous),
            (Boot(3), Some(previous))
        );
        let report = LossReport::decode(entries[1].payload).unwrap();
        assert_eq!(report.boot, Boot(3));
        assert_eq!(report.dropped, [overflow, run(5, 8, DropReason::SpoolFull)]);
    }

    #[test]
    fn where_a_boot_ended_is_told_again_when_that_is_dropped() {
        let mut losses = Losses::default();
        let lost = run(60, 1, DropReason::Reboot);
        losses.add(
            &entry(Kind::Batch, &batch(10, 0, &[lost], None)),
            DropReason::SpoolFull,
        );
        let entries = losses.into_entries();
        let told = Entry::parse(&entries[0]).unwrap();
        let told = Batch::decode(told.payload).unwrap();
        assert_eq!(told.header().last_given, Seq(60));
        let report = Entry::parse(&entries[1]).unwrap();
        let report = LossReport::decode(report.payload).unwrap();
        assert_eq!(report.dropped, [lost]);
    }

    #[test]
    fn a_device_cannot_make_a_report_that_fills_the_memory() {
        let previous = PreviousBoot {
            boot: Boot(2),
            last: Seq::MAX,
            acked: Seq(0),
        };
        let mut losses = Losses::default();
        for _ in 0..2 {
            let told = batch(1, 0, &[], Some(previous));
            losses.add(&entry(Kind::Batch, &told), DropReason::SpoolFull);
        }
        let entries = losses.into_entries();
        assert!(entries.iter().map(Vec::len).sum::<usize>() < 200);
        let told = Entry::parse(&entries[0]).unwrap();
        let told = Batch::decode(told.payload).unwrap();
        assert_eq!(told.header().previous, Some(previous));
    }

    #[test]
    fn a_dropped_loss_report_is_reported_again() {
        let mut losses = Losses::default();
        let report = LossReport {
            device: DeviceId::parse("freezer-07").unwrap(),
            boot: Boot(1),
            dropped: vec![run(7, 3, DropReason::SpoolAge)],
        };
        losses.add(
            &entry(Kind::Loss, &report.encode().unwrap()),
            DropReason::SpoolFull,
        );
        assert_eq!(reports(losses), [report]);
    }

    #[test]
    fn the_last_status_of_a_command_is_kept() {
        let mut losses = Losses::default();
        let id = CommandId([7; 16]);
        for state in [State::Acknowledged, State::Done] {
            let mut bytes = [0; 128];
            let status = Status {
                id,
                state,
                at_us: 5,
                detail: None,
            };
            let length = status.encode(&mut bytes).unwrap();
            losses.add(
                &entry(Kind::Status, &bytes[..length]),
                DropReason::SpoolFull,
            );
        }
        let entries = losses.into_entries();
        assert_eq!(entries.len(), 1);
        let kept = Entry::parse(&entries[0]).unwrap();
        assert_eq!(Status::decode(kept.payload).unwrap().state, State::Done);
    }

    #[test]
    fn many_runs_make_many_reports_and_long_ones_are_split() {
        let mut losses = Losses::default();
        for n in 0..2_500 {
            let device = DeviceId::parse("a").unwrap();
            losses.add_run(&device, Boot(1), run(1 + 2 * n, 1, DropReason::SpoolFull));
        }
        let lengths: Vec<_> = reports(losses)
            .iter()
            .map(|report| report.dropped.len())
            .collect();
        assert_eq!(lengths, [1024, 1024, 452]);

        let mut runs = Vec::new();
        push_span(&mut runs, 1, 1 << 33, DropReason::Reboot);
        let all: u64 = runs.iter().map(|run| u64::from(run.count)).sum();
        assert_eq!((runs.len(), all), (3, 1 << 33));
    }
}
