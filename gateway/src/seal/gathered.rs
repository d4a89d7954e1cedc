//! What is not sealed yet: of each device the right edge of a tree. Pure.

use std::collections::BTreeMap;

use stencil_proof::{Chunk, Open, Reading};
use stencil_protocol::{batch::Batch, id::DeviceId};

/// The most devices of a seal, and the most runs of their numbers: a record has room for as many.
const MAX_DEVICES: usize = 200;
const MAX_RUNS: usize = 1_000;

/// Readings that are not sealed yet.
#[derive(Default)]
pub(super) struct Gathered {
    chunks: BTreeMap<DeviceId, Open>,
    readings: u64,
    runs: usize,
}

impl Gathered {
    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many readings there are.
    pub(super) fn readings(&self) -> u64 {
        self.readings
    }

    /// Whether a batch still fits with what is there.
    pub(super) fn has_room(&self, device: &DeviceId, batch: &Batch<'_>) -> bool {
        // Each broken sample may end a run.
        let runs = self.runs + batch.len().div_ceil(2) + 1;
        let is_new = !self.chunks.contains_key(device);
        let chunks = self.chunks.len() + usize::from(is_new);
        runs <= MAX_RUNS
            && chunks <= MAX_DEVICES
            && self.readings + batch.len() as u64 <= stencil_proof::MAX_READINGS
    }

    /// Takes in a batch's readings. A sample that cannot be read is none, at the hub as well.
    pub(super) fn take(&mut self, device: &DeviceId, batch: &Batch<'_>) {
        let boot = batch.header().boot;
        let mut open = None;
        for (seq, sample) in batch.samples() {
            let Ok(sample) = sample else {
                continue;
            };
            let chunk = open.get_or_insert_with(|| self.chunks.remove(device).unwrap_or_default());
            let runs = chunk.runs();
            chunk.push(boot, seq, Reading::leaf_of(device, boot, seq, &sample));
            self.readings += 1;
            self.runs += chunk.runs() - runs;
        }
        if let Some(open) = open {
            self.chunks.insert(device.clone(), open);
        }
    }

    /// All of it, by device; what is gathered next begins anew.
    pub(super) fn close(&mut self) -> Vec<Chunk> {
        let gathered = std::mem::take(self);
        let chunks = gathered.chunks.into_iter();
        chunks.map(|(device, open)| open.close(device)).collect()
    }
}
