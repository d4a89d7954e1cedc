//! The numbers of what was read. A device of ours numbers what it measures; a field device cannot,
//! so the gateway does it in its place: a boot that is drawn at random when the gateway starts to
//! read the device, numbers from 1, and batches as every device sends them.
//!
//! What waits for the spool is bounded: the oldest is dropped, and its numbers are reported as
//! dropped in the next batch. What waits when the gateway is killed is lost: who spools it notes how
//! far the numbers have come, so that it is missed.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use stencil_protocol::{
    batch::{DropReason, Dropped, Header, Writer},
    id::{Boot, DeviceId, Seq},
    line::Line,
    sample::OwnedSample,
};

/// 2025-01-01 in µs: a clock that says less was not set yet.
const SET_FROM_US: i64 = 1_735_689_600_000_000;
/// The most bytes of a batch: a fraction of what a batch may have, as each is kept in memory.
const MAX_BYTES: usize = 16 << 10;
/// Bytes of a batch's header, with room to spare.
const MIN_BYTES: usize = 1 << 10;

/// What was read and is not in the spool yet.
#[derive(Debug)]
pub struct Numbers {
    devices: BTreeMap<DeviceId, Own>,
    /// How many may wait for each device.
    max_each: usize,
    /// And for all together.
    max_all: usize,
    waiting: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Own {
    boot: Boot,
    line: Line,
    /// The number given last.
    last: u64,
    /// The samples with the numbers up to `last`, without a gap.
    waiting: VecDeque<Waiting>,
    /// The number of the first that was dropped and is not reported, and how many.
    dropped: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Waiting {
    sample: OwnedSample,
    /// Where its time is not one: when it came, to tell its time when the clock is set.
    came: Option<Instant>,
}

/// A batch for the spool. [`Numbers::done`] says that it is there.
#[derive(Debug)]
pub struct Ready {
    /// The device.
    pub device: DeviceId,
    /// The line that it hangs on.
    pub line: Line,
    /// The batch.
    pub batch: Vec<u8>,
    /// How many samples are in it.
    pub samples: usize,
    /// The boot of their numbers.
    pub boot: Boot,
    /// The last of their numbers.
    pub through: Seq,
    reported: Option<(u64, u64)>,
}

impl Numbers {
    /// None yet; at most so many wait for each device, and for all together.
    #[must_use]
    pub fn new(max_each: usize, max_all: usize) -> Self {
        Self {
            devices: BTreeMap::new(),
            max_each: max_each.max(1),
            max_all: max_all.max(1),
            waiting: 0,
            dropped: 0,
        }
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether something of a device waits.
    #[must_use]
    pub fn waits(&self, device: &DeviceId) -> bool {
        self.devices
            .get(device)
            .is_some_and(|own| !own.waiting.is_empty())
    }

    /// How many had to be dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Gives a sample its number, and returns it. `boot` draws one for a device that has none yet.
    pub fn push(
        &mut self,
        device: &DeviceId,
        line: Line,
        sample: OwnedSample,
        boot: impl FnOnce() -> u32,
    ) -> Option<(Boot, Seq)> {
        let own = match self.devices.get_mut(device) {
            Some(own) => own,
            None => self.devices.entry(device.clone()).or_insert_with(|| Own {
                boot: Boot(boot()),
                line,
                last: 0,
                waiting: VecDeque::new(),
                dropped: None,
            }),
        };
        own.line = line;
        if own.waiting.len() >= self.max_each {
            own.drop_oldest();
            self.waiting -= 1;
            self.dropped += 1;
        } else if self.waiting >= self.max_all {
            // Whoever has most can spare one.
            let devices = self.devices.values_mut();
            if let Some(most) = devices.max_by_key(|own| own.waiting.len()) {
                most.drop_oldest();
            }
            self.waiting -= 1;
            self.dropped += 1;
        }
        let own = self.devices.get_mut(device)?;
        own.last += 1;
        let came = (sample.time_us < SET_FROM_US).then(Instant::now);
        own.waiting.push_back(Waiting { sample, came });
        self.waiting += 1;
        Some((own.boot, Seq(own.last)))
    }

    /// The next batch of a device behind `after`, in the order of their ids: who goes round passes
    /// the last one. None when nobody behind it has something to say. `now_us` is there once the
    /// clock was set: what was read before waits for it, and is dated back then.
    pub fn next(&mut self, after: Option<&DeviceId>, now_us: Option<i64>) -> Option<Ready> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let range = self.devices.range_mut::<DeviceId, _>((from, Unbounded));
        for (device, own) in range {
            if let Some(ready) = own.ready(device, now_us) {
                return Some(ready);
            }
        }
        None
    }

    /// A batch is in the spool.
    pub fn done(&mut self, ready: &Ready) {
        let Some(own) = self.devices.get_mut(&ready.device) else {
            return;
        };
        let spooled = ready.samples.min(own.waiting.len());
        own.waiting.drain(..spooled);
        self.waiting -= spooled;
        // Nothing was pushed in between, so nothing more was dropped.
        if own.dropped == ready.reported {
            own.dropped = None;
        }
    }
}

impl Own {
    /// The number of the first that waits.
    fn first(&self) -> u64 {
        self.last + 1 - self.waiting.len() as u64
    }

    fn drop_oldest(&mut self) {
        let first = self.first();
        if self.waiting.pop_front().is_some() {
            let (from, count) = self.dropped.unwrap_or((first, 0));
            self.dropped = Some((from, count + 1));
        }
    }

    fn ready(&mut self, device: &DeviceId, now_us: Option<i64>) -> Option<Ready> {
        self.date(now_us);
        if self
            .waiting
            .front()
            .is_none_or(|first| first.came.is_some())
        {
            return None;
        }
        // A run has a count of 32 bits; nobody drops that many between two batches.
        let dropped = self.dropped.map(|(first, count)| Dropped {
            first: Seq(first),
            count: u32::try_from(count).unwrap_or(u32::MAX),
            reason: DropReason::BufferFull,
        });
        let header = Header {
            boot: self.boot,
            first: Seq(self.first()),
            last_given: Seq(self.last),
            previous: None,
            dropped: dropped.into_iter().collect(),
        };
        let room = (self.waiting.len() * 96 + MIN_BYTES).min(MAX_BYTES);
        let mut bytes = vec![0; room];
        let mut writer = Writer::new(&mut bytes, &header).ok()?;
        let mut samples = 0;
        for waiting in &self.waiting {
            if waiting.came.is_some() || writer.push(&waiting.sample.as_ref()).is_err() {
                break;
            }
            samples += 1;
        }
        let length = writer.finish().ok()?;
        if samples == 0 {
            // One that fits into no batch: there is none, as the mapping bounds names and units.
            return None;
        }
        bytes.truncate(length);
        Some(Ready {
            device: device.clone(),
            line: self.line,
            batch: bytes,
            samples,
            boot: self.boot,
            through: Seq(self.first() + samples as u64 - 1),
            reported: self.dropped,
        })
    }

    /// Dates what came before the clock was set.
    fn date(&mut self, now_us: Option<i64>) {
        let Some(now_us) = now_us else { return };
        for waiting in &mut self.waiting {
            if let Some(came) = waiting.came.take() {
                let ago = i64::try_from(came.elapsed().as_micros()).unwrap_or(i64::MAX);
                waiting.sample.time_us = now_us.saturating_sub(ago);
            }
        }
    }
}

#[cfg(test)]
mod tests;
