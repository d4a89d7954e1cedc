//! What comes of a device that was revoked: accounted for, and not taken.
//!
//! Its gateway has ended its link by then; what still comes was on its way, or comes from who must
//! not be believed. The numbers of a batch count as dropped, for that reason; the first batch of a
//! boot is set aside for people to see, so that a device that sends on does not push out what else
//! is in quarantine.

use stencil_protocol::batch::{Batch, DropReason, Dropped};
use stencil_protocol::id::DeviceId;

use super::changes::Changes;
use super::decode::Message;
use super::known::Known;
use super::origin::Origin;
use super::quarantine::Quarantine;
use super::{State, numbered};

/// The most numbers of one run, as batches write it.
const MAX_RUN: u64 = u32::MAX as u64;

/// Refuses a publication of `device`.
pub(super) fn publication(
    origin: &Origin<'_>,
    message: &Message<'_>,
    device: &DeviceId,
    known: Known,
    state: &mut State,
    changes: &mut Changes,
) {
    let is_news = match message {
        Message::Batch(_, batch) | Message::Judged(_, _, batch) => {
            account(origin, device, batch, known, state, changes)
        }
        _ => true,
    };
    if is_news {
        let mut quarantine = Quarantine::new(origin, Some(device));
        quarantine.put(changes, None, format!("device {device} was revoked"));
        quarantine.finish(changes);
    }
}

/// Counts the numbers of a batch as dropped; whether it is the first of its boot.
fn account(
    origin: &Origin<'_>,
    device: &DeviceId,
    batch: &Batch<'_>,
    known: Known,
    state: &mut State,
    changes: &mut Changes,
) -> bool {
    let key = (origin.tenant.clone(), device.clone());
    // One whose data was erased does not become a device again by that.
    if state.known_device(&key).is_none() {
        return true;
    }
    let max_spans = state.bounds.max_ledger_spans;
    let Ok(admitted) = state.admit(&key) else {
        return true;
    };
    numbered::fetched(admitted.device, known);
    let header = batch.header();
    let ledger = admitted.device.boots.entry(header.boot).or_default();
    let is_news = !ledger.dropped.contains_key(&DropReason::Revoked);
    ledger.announce(header.last_given);
    let mut runs = header.dropped.to_vec();
    if !batch.is_empty() {
        runs.push(Dropped {
            first: header.first,
            count: u32::try_from((batch.len() as u64).min(MAX_RUN)).unwrap_or(u32::MAX),
            reason: DropReason::Revoked,
        });
    }
    for run in &runs {
        if let Err(why) = numbered::drop_range(ledger, run, max_spans, changes) {
            tracing::debug!(%device, why, "numbers of a revoked device are not accounted for");
        }
    }
    changes.touched(&key, admitted.device.serial, header.boot);
    is_news
}
