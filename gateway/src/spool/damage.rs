//! What was in a damaged part of the spool. Its records cannot be read; but a device's numbers
//! follow each other, so what it sent before the damage and what it sent after it say which are
//! gone.

use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    ops::RangeInclusive,
};

use stencil_log::{Error, Log, Position};
use stencil_protocol::{
    batch::{Batch, DropReason, Header},
    id::{Boot, DeviceId},
    ranges::RangeSet,
};

use super::{
    entry::{Entry, Kind},
    loss::{Losses, judged},
};

/// The most devices whose numbers are followed; of others nothing can be said.
const MAX_DEVICES: usize = 65_536;

/// How far devices had come before the damage, and what of them is missing after it.
#[derive(Default)]
pub(crate) struct Continuity {
    devices: HashMap<DeviceId, Reached>,
    /// Damaged parts so far.
    parts: u64,
    /// Devices that have not been heard since the last one.
    unheard: usize,
}

struct Reached {
    boot: Boot,
    next: u64,
    /// How many damaged parts lay before what was heard last.
    heard_after: u64,
}

impl Continuity {
    /// Reads what the log still has before a damaged part that begins at `damage`. Blocks.
    pub(crate) fn before(log: &Log, damage: Position) -> Self {
        let mut continuity = Self::default();
        let Ok(mut reader) = log.reader(log.oldest()) else {
            return continuity;
        };
        while reader.position() < damage {
            match reader.next() {
                Ok(Some(record)) => {
                    if let Some(entry) = Entry::parse(&record.payload) {
                        let _ = continuity.read(&entry);
                    }
                }
                Ok(None) => break,
                Err(Error::Trimmed { oldest }) => {
                    if reader.seek(oldest).is_err() {
                        break;
                    }
                }
                // An earlier one, which was dealt with when it was come to.
                Err(_) => match reader.skip_corrupt() {
                    Ok(Some(_)) => continuity.parts += 1,
                    Ok(None) => {}
                    Err(_) => break,
                },
            }
        }
        for device in continuity.devices.values_mut() {
            device.heard_after = continuity.parts;
        }
        continuity
    }

    /// Here is a damaged part.
    pub(crate) fn damaged(&mut self) {
        self.parts += 1;
        self.unheard = self.devices.len();
    }

    /// Whether all devices that were heard before the last damage have been heard since: nothing
    /// more can be found out.
    pub(crate) fn is_settled(&self) -> bool {
        self.unheard == 0
    }

    /// Takes in what stands behind the damage. Returns what it shows to be lost.
    pub(crate) fn read(&mut self, entry: &Entry<'_>) -> Losses {
        let mut losses = Losses::default();
        let batch = match entry.kind {
            Kind::Batch => Batch::decode(entry.payload).ok(),
            Kind::Judged => judged(entry.payload),
            _ => None,
        };
        let Some(batch) = batch else {
            return losses;
        };
        let header = batch.header();
        let next = header.first.0.saturating_add(batch.len() as u64);
        let reached = self.devices.get(&entry.device);
        if batch.is_empty()
            && header.previous.is_none()
            && reached.is_some_and(|reached| reached.boot != header.boot)
        {
            // How far an older boot had come says nothing about the one that was heard last.
            return losses;
        }
        let full = self.devices.len() >= MAX_DEVICES;
        match self.devices.entry(entry.device.clone()) {
            Slot::Occupied(mut reached) => {
                let reached = reached.get_mut();
                if reached.heard_after < self.parts {
                    self.unheard = self.unheard.saturating_sub(1);
                    missing(&entry.device, reached, header, &mut losses);
                }
                reached.next = match reached.boot == header.boot {
                    true => reached.next.max(next),
                    false => next,
                };
                reached.boot = header.boot;
                reached.heard_after = self.parts;
            }
            Slot::Vacant(vacant) if !full => {
                vacant.insert(Reached {
                    boot: header.boot,
                    next,
                    heard_after: self.parts,
                });
            }
            Slot::Vacant(_) => {}
        }
        losses
    }
}

/// What lies between what a device had sent and what it sends now: it was acknowledged to the
/// device, or it would have been sent again.
fn missing(device: &DeviceId, reached: &Reached, now: &Header, losses: &mut Losses) {
    let before_first = now.first.0.saturating_sub(1);
    if reached.boot == now.boot {
        add(device, now, reached.next..=before_first, losses);
        return;
    }
    // A boot has begun within the damage, or directly behind it.
    add(device, now, 1..=before_first, losses);
    if let Some(previous) = now
        .previous
        .filter(|previous| previous.boot == reached.boot)
    {
        losses.add_numbers(
            device,
            previous.boot,
            reached.next..=previous.acked.0,
            DropReason::SpoolDamaged,
        );
    }
}

/// Numbers of the boot that is now, but for those of which the device itself says that they are
/// lost.
fn add(device: &DeviceId, now: &Header, numbers: RangeInclusive<u64>, losses: &mut Losses) {
    let mut missing = RangeSet::new();
    if !numbers.is_empty() {
        missing.insert(numbers);
    }
    for dropped in &now.dropped {
        missing.remove(dropped.first.0..=dropped.last().0);
    }
    for span in missing.iter() {
        losses.add_numbers(device, now.boot, span, DropReason::SpoolDamaged);
    }
}

#[cfg(test)]
mod tests {
    use stencil_protocol::{
        batch::{Dropped, PreviousBoot, Writer},
        id::Seq,
        report::LossReport,
        sample::{Sample, Value},
    };

    use super::*;

    fn header(boot: u32, first: u64) -> Header {
        Header {
            boot: Boot(boot),
            first: Seq(first),
            last_given: Seq(first + 1_000),
            previous: None,
            dropped: heapless::Vec::new(),
        }
    }

    fn payload(header: &Header, samples: u64) -> Vec<u8> {
        let mut bytes = [0; 1024];
        let mut writer = Writer::new(&mut bytes, header).unwrap();
        for _ in 0..samples {
            let sample = Sample {
                name: "n",
                value: Value::Integer(1),
                unit: None,
                time_us: 0,
            };
            writer.push(&sample).unwrap();
        }
        let length = writer.finish().unwrap();
        bytes[..length].to_vec()
    }

    /// What is lost by what a device sends next: boot, first, count.
    fn send(continuity: &mut Continuity, header: &Header, samples: u64) -> Vec<(u32, u64, u32)> {
        let payload = payload(header, samples);
        let entry = Entry {
            kind: Kind::Batch,
            device: DeviceId::parse("freezer-07").unwrap(),
            suite: None,
            payload: &payload,
        };
        let entries = continuity.read(&entry).into_entries();
        let mut lost = Vec::new();
        for bytes in entries {
            let entry = Entry::parse(&bytes).unwrap();
            let report = LossReport::decode(entry.payload).unwrap();
            for dropped in report.dropped {
                assert_eq!(dropped.reason, DropReason::SpoolDamaged);
                lost.push((report.boot.0, dropped.first.0, dropped.count));
            }
        }
        lost
    }

    #[test]
    fn numbers_between_what_came_before_and_after_are_lost() {
        let mut continuity = Continuity::default();
        assert_eq!(send(&mut continuity, &header(1, 1), 10), []);
        continuity.damaged();
        assert!(!continuity.is_settled());
        assert_eq!(send(&mut continuity, &header(1, 31), 10), [(1, 11, 20)]);
        assert!(continuity.is_settled());
        // Without damage in between a jump is somebody else's: the device was elsewhere.
        assert_eq!(send(&mut continuity, &header(1, 61), 10), []);
        continuity.damaged();
        assert_eq!(send(&mut continuity, &header(1, 71), 10), []);
    }

    #[test]
    fn what_the_device_says_of_its_own_losses_is_left_to_it() {
        let mut continuity = Continuity::default();
        send(&mut continuity, &header(1, 1), 10);
        continuity.damaged();
        let mut next = header(1, 31);
        next.dropped
            .push(Dropped {
                first: Seq(15),
                count: 6,
                reason: DropReason::BufferFull,
            })
            .unwrap();
        assert_eq!(send(&mut continuity, &next, 5), [(1, 11, 4), (1, 21, 10)]);
    }

    #[test]
    fn a_boot_that_ended_within_the_damage_is_accounted_for_as_far_as_it_was_acknowledged() {
        let mut continuity = Continuity::default();
        send(&mut continuity, &header(1, 1), 10);
        continuity.damaged();
        let mut next = header(2, 4);
        next.previous = Some(PreviousBoot {
            boot: Boot(1),
            last: Seq(90),
            acked: Seq(25),
        });
        assert_eq!(send(&mut continuity, &next, 5), [(1, 11, 15), (2, 1, 3)]);
    }

    #[test]
    fn where_boots_ended_is_told_after_the_damage_and_older_ones_are_left_out() {
        let mut continuity = Continuity::default();
        send(&mut continuity, &header(1, 1), 10);
        send(&mut continuity, &header(2, 1), 10);
        continuity.damaged();
        let ended = |boot, kept: u64, last: u64| {
            let mut header = header(boot, last + 1);
            header.last_given = Seq(last);
            let lost = Dropped {
                first: Seq(kept + 1),
                count: u32::try_from(last - kept).unwrap(),
                reason: DropReason::Reboot,
            };
            header.dropped.push(lost).unwrap();
            header
        };
        assert_eq!(send(&mut continuity, &ended(2, 25, 30), 0), [(2, 11, 15)]);
        assert_eq!(send(&mut continuity, &ended(1, 40, 41), 0), []);
        assert_eq!(send(&mut continuity, &header(3, 1), 5), []);
        assert!(continuity.is_settled());
    }

    #[test]
    fn of_a_device_that_was_never_heard_before_nothing_is_said() {
        let mut continuity = Continuity::default();
        continuity.damaged();
        assert_eq!(send(&mut continuity, &header(1, 31), 5), []);
    }
}
