//! Proof of data: what gateways have sealed is recomputed from what the hub has taken in itself, anchored
//! on a chain, and given to whoever asks as a document that needs no hub ([`stencil_proof`]).
//!
//! ```text
//! pipeline: seals, and batches of gateways that seal → the store
//!   → verify: signature, chain of seals, each chunk's root → verified, or told why not
//!   → anchor: a root over verified seals → the hub's account → final → header and receipt
//!   → prove: a path from a reading up to there
//! ```

mod anchor;
mod anchoring;
mod distrust;
mod prove;
mod step;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use stencil_proof::{Chunk, Said, Secret};
use stencil_protocol::batch::Batch;
use stencil_protocol::id::{DeviceId, Seq, TenantId};
use stencil_store::{Certificates, Error, SealedBatch, Store, Workflows};
use tokio::sync::watch;

use crate::chains::Chains;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::parts::{Parts, told_to_end};
use crate::wake::Wakes;

pub(crate) use anchoring::{due_s, held_up};
use distrust::Had;
pub(crate) use distrust::{Differs, KeptBatch, Numbers};
pub(crate) use prove::{NotProven, Until, Which};

/// How often it is looked for what is to be done.
const LOOK: Duration = Duration::from_millis(500);
/// How long it rests after the store has failed.
const REST: Duration = Duration::from_secs(5);
/// How many numbers are asked for at once.
const NUMBERS_AT_ONCE: u64 = 4_096;

/// Everything about seals and proofs that the hub does. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proofs {
    store: Arc<dyn stencil_store::Proofs>,
    certificates: Arc<dyn Certificates>,
    workflows: Arc<dyn Workflows>,
    chains: Chains,
    clock: Clock,
}

/// Where it is told what was found.
#[derive(Clone)]
pub(crate) struct Telling {
    pub(crate) metrics: Arc<Metrics>,
    /// The most entries of a tenant's audit log.
    pub(crate) audit_entries: u32,
    /// For the runs that a seal has started.
    pub(crate) wakes: Wakes,
}

impl Proofs {
    pub(crate) fn new(store: &Store, chains: &Chains, clock: &Clock) -> Self {
        Self {
            store: Arc::clone(&store.proofs),
            certificates: Arc::clone(&store.certificates),
            workflows: Arc::clone(&store.workflows),
            chains: chains.clone(),
            clock: clock.clone(),
        }
    }

    /// Verifies and anchors, beside each other: a chain that is silent holds up no seal.
    pub(crate) fn run(
        &self,
        telling: Telling,
        mut applied: watch::Receiver<u64>,
        parts: &mut Parts,
    ) {
        let this = self.clone();
        parts.effect("seals", |mut stop| async move {
            let verifying = async {
                let mut waiting = verify::Waiting::default();
                loop {
                    let rest = this.verify_pending(&telling, &mut waiting).await;
                    // What is new comes with a commit; what waits for it is looked at now and then.
                    tokio::select! {
                        changed = applied.changed() => {
                            if changed.is_err() {
                                std::future::pending::<()>().await;
                            }
                            tokio::time::sleep(LOOK).await;
                        }
                        () = tokio::time::sleep(rest) => {}
                    }
                }
            };
            tokio::select! {
                () = verifying => {}
                () = told_to_end(&mut stop) => {}
            }
            Ok(())
        });
        let this = self.clone();
        parts.effect("anchors", |mut stop| async move {
            let anchoring = async {
                loop {
                    let rest = this.anchor_due().await;
                    tokio::time::sleep(rest).await;
                }
            };
            tokio::select! {
                () = anchoring => {}
                () = told_to_end(&mut stop) => {}
            }
            Ok(())
        });
    }

    /// The leaves of a chunk, from what the hub has taken in; `None`: not all of it is here. Of a number
    /// that came twice the first counts, as in the series. Without a secret the leaves have no salts.
    async fn leaves(
        &self,
        tenant: &TenantId,
        chunk: &Chunk,
        secret: Option<&Secret>,
    ) -> Result<Option<Had>, Error> {
        let salts = secret.map(|secret| secret.salts(&chunk.device));
        let mut had = Had::default();
        for run in &chunk.runs {
            let end = run.first.0.saturating_add(run.count);
            let mut from = run.first.0;
            while from < end {
                let to = end.min(from.saturating_add(NUMBERS_AT_ONCE));
                let (first, last) = (Seq(from), Seq(to - 1));
                let batches = self
                    .store
                    .sealed_batches(tenant, &chunk.device, run.boot, first, last)
                    .await?;
                let mut found: HashMap<u64, Said> = HashMap::new();
                for batch in &batches {
                    each(&chunk.device, &batch.body, |seq, said| {
                        if !(from..to).contains(&seq) {
                            return;
                        }
                        match found.entry(seq) {
                            Entry::Vacant(place) => {
                                place.insert(said());
                            }
                            Entry::Occupied(first) if *first.get() != said() => {
                                had.twice(run.boot, Seq(seq));
                            }
                            Entry::Occupied(_) => {}
                        }
                    });
                }
                // Not again where it was asked for numbers before these.
                let begins_here = |batch: &&SealedBatch| batch.first.0.max(run.first.0) >= from;
                had.came_in(batches.iter().filter(begins_here));
                for number in from..to {
                    let Some(said) = found.get(&number) else {
                        return Ok(None);
                    };
                    let place = had.leaves.len() as u64;
                    had.leaves.push(match &salts {
                        Some(salts) => said.leaf(&salts.at(place)),
                        None => said.plain_leaf(),
                    });
                }
                from = to;
            }
        }
        Ok(Some(had))
    }
}

/// Each sample of a batch that can be read: its number, and what its leaf is made of.
fn each(device: &DeviceId, body: &[u8], mut take: impl FnMut(u64, &dyn Fn() -> Said)) {
    let Ok(batch) = Batch::decode(body) else {
        return;
    };
    let boot = batch.header().boot;
    for (seq, sample) in batch.samples() {
        if let Ok(sample) = sample {
            take(seq.0, &|| Said::of(device, boot, seq, &sample));
        }
    }
}
