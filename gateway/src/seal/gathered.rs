//! What is not sealed yet: of each device the right edge of a tree. Pure.

use std::collections::BTreeMap;

use stencil_proof::{Chunk, Open, Secret};
use stencil_protocol::{batch::Batch, id::DeviceId};

/// The most devices of a seal, and the most runs of their numbers: a record has room for as many.
const MAX_DEVICES: usize = 200;
const MAX_RUNS: usize = 1_000;

/// Readings that are not sealed yet.
pub(super) struct Gathered {
    secret: Secret,
    chunks: BTreeMap<DeviceId, Open>,
    readings: u64,
    runs: usize,
}

impl Gathered {
    /// Nothing yet, for a seal with this secret.
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            secret,
            chunks: BTreeMap::new(),
            readings: 0,
            runs: 0,
        }
    }

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
            let chunk = open.get_or_insert_with(|| {
                let begun = self.chunks.remove(device);
                begun.unwrap_or_else(|| Open::new(device.clone(), &self.secret))
            });
            let runs = chunk.runs();
            chunk.take(boot, seq, &sample);
            self.readings += 1;
            self.runs += chunk.runs() - runs;
        }
        if let Some(open) = open {
            self.chunks.insert(device.clone(), open);
        }
    }

    /// All of it, by device, and the secret of its salts; what is gathered next begins anew, with `next`.
    pub(super) fn close(&mut self, next: Secret) -> (Secret, Vec<Chunk>) {
        let gathered = std::mem::replace(self, Self::new(next));
        let chunks = gathered.chunks.into_values().map(Open::close);
        (gathered.secret, chunks.collect())
    }
}
