//! Samples of a device that numbers what it sends.

use stencil_protocol::batch::{Batch, DropReason, Dropped, Header};
use stencil_protocol::id::{DeviceId, Seq};
use stencil_protocol::ledger::{Arrival, BootLedger};
use stencil_protocol::sample::Sample;
use stencil_rules::Cause;

use super::changes::Changes;
use super::known::Known;
use super::origin::Origin;
use super::quarantine::Quarantine;
use super::state::{Admitted, Device};
use super::{State, changes::DeviceKey, reading};

/// What a batch brought, for who keeps it for proofs.
#[derive(Debug, Default)]
pub(super) struct Brought {
    /// Whether anything in it was not here before.
    pub(super) is_new: bool,
    /// The earliest and the latest time of the samples that can be read.
    pub(super) times: Option<(i64, i64)>,
}

impl Brought {
    fn note(&mut self, time_us: i64) {
        let (from, to) = self.times.unwrap_or((time_us, time_us));
        self.times = Some((from.min(time_us), to.max(time_us)));
    }
}

/// Applies a batch: each number is stored once, whatever comes twice, late or out of order.
pub(super) fn batch(
    origin: &Origin<'_>,
    device: &DeviceId,
    batch: &Batch<'_>,
    known: Known,
    state: &mut State,
    changes: &mut Changes,
) -> Brought {
    let (mut brought, before) = (Brought::default(), changes.tally.duplicate);
    let mut quarantine = Quarantine::new(origin, Some(device));
    let key = (origin.tenant.clone(), device.clone());
    if state.known_device(&key).is_none() && is_erased(batch.header(), &known) {
        changes.tally.duplicate += batch.len() as u64;
        return brought;
    }
    match state.admit(&key) {
        Ok(mut admitted) => {
            account(
                &key,
                batch.header(),
                known,
                &mut admitted,
                changes,
                &mut quarantine,
            );
            let within = (&mut *changes, &mut quarantine, &mut brought);
            samples(origin, &key, batch, &mut admitted, within);
        }
        Err(why) => {
            quarantine.put(changes, None, why);
            for sample in batch.samples().filter_map(|(_, sample)| sample.ok()) {
                brought.note(sample.time_us);
            }
        }
    }
    quarantine.finish(changes);
    brought.is_new = changes.tally.duplicate - before < batch.len() as u64;
    brought
}

/// Whether all that a batch says is of numbers that were erased. Of a device of which nothing else
/// has come since, that makes no device.
fn is_erased(header: &Header, known: &Known) -> bool {
    let previous = header.previous.as_ref();
    known.has_erased(header.boot, header.last_given)
        && previous.is_none_or(|previous| known.has_erased(previous.boot, previous.last))
}

/// What the header says: how far the device has counted, what it lost, how its last boot ended.
fn account(
    key: &DeviceKey,
    header: &Header,
    known: Known,
    admitted: &mut Admitted<'_>,
    changes: &mut Changes,
    quarantine: &mut Quarantine<'_>,
) {
    let max_spans = admitted.bounds.max_ledger_spans;
    let held = &mut *admitted.device;
    fetched(held, known);

    // Which boot has the higher number says nothing: a device that lost its memory began anew.
    if let Some(previous) = &header.previous {
        let ledger = held.boots.entry(previous.boot).or_default();
        if has_room(ledger, max_spans) {
            ledger.close(previous);
            changes.touched(key, held.serial, previous.boot);
        } else {
            quarantine.put(changes, Some("previous".to_owned()), no_room(max_spans));
        }
    }
    let ledger = held.boots.entry(header.boot).or_default();
    ledger.announce(header.last_given);
    for dropped in &header.dropped {
        if let Err(why) = drop_range(ledger, dropped, max_spans, changes) {
            quarantine.put(changes, Some("dropped".to_owned()), why);
        }
    }
    changes.touched(key, held.serial, header.boot);
}

fn samples(
    origin: &Origin<'_>,
    key: &DeviceKey,
    batch: &Batch<'_>,
    admitted: &mut Admitted<'_>,
    (changes, quarantine, brought): (&mut Changes, &mut Quarantine<'_>, &mut Brought),
) {
    let boot = batch.header().boot;
    let bounds = admitted.bounds;
    let mut ties = Ties::default();
    for (seq, item) in batch.samples() {
        let apart_us = item.as_ref().map_or(0, |sample| {
            brought.note(sample.time_us);
            ties.next(sample)
        });
        let held = &mut *admitted.device;
        let ledger = held.boots.entry(boot).or_default();
        if ledger.stored.contains(seq.0) {
            ledger.store(seq);
            changes.tally.duplicate += 1;
            continue;
        }
        if ledger.has_erased(seq) {
            changes.tally.duplicate += 1;
            continue;
        }
        if !has_room(ledger, bounds.max_ledger_spans) && !touches_a_span(ledger, seq) {
            let path = Some(format!("sample {seq}"));
            quarantine.put(changes, path, no_room(bounds.max_ledger_spans));
            continue;
        }
        match accept(origin, held, item, bounds) {
            Ok(sample) => {
                let cause = Cause::Numbered { boot, seq };
                let ledger = held.boots.entry(boot).or_default();
                if ledger.store(seq) == Arrival::New {
                    changes.tally.stored += 1;
                    reading::take(origin, key, admitted, &sample, cause, apart_us, changes);
                }
            }
            Err((reason, why)) => {
                let ledger = held.boots.entry(boot).or_default();
                let one = Dropped {
                    first: seq,
                    count: 1,
                    reason,
                };
                // Said once, however often the batch comes.
                if drop_range(ledger, &one, usize::MAX, changes) == Ok(1) {
                    quarantine.put(changes, Some(format!("sample {seq}")), why);
                }
            }
        }
    }
}

/// Samples of one name and time, one behind the other in a batch: a series has one point a time, and
/// keeps them in the order of their numbers, a microsecond apart. What came for one time in several
/// batches the store keeps as well, in an order of its own.
#[derive(Default)]
struct Ties<'a> {
    time_us: i64,
    /// Those that were seen of this time.
    names: Vec<&'a str>,
}

impl<'a> Ties<'a> {
    /// How many there were of this name and time, as far as they are looked at.
    fn next(&mut self, sample: &Sample<'a>) -> i64 {
        const MAX_NAMES: usize = 64;
        if sample.time_us != self.time_us {
            self.time_us = sample.time_us;
            self.names.clear();
        }
        let same = self.names.iter().filter(|name| **name == sample.name);
        let before = i64::try_from(same.count()).unwrap_or(i64::MAX);
        if self.names.len() < MAX_NAMES {
            self.names.push(sample.name);
        }
        before
    }
}

/// Whether a sample may be stored; else how its number is accounted for, and why.
fn accept<'a>(
    origin: &Origin<'_>,
    held: &mut Device,
    item: Result<Sample<'a>, stencil_protocol::sample::Error>,
    bounds: &crate::PipelineOptions,
) -> Result<Sample<'a>, (DropReason, String)> {
    let sample = item.map_err(|error| (DropReason::Malformed, error.to_string()))?;
    reading::plausible(
        sample.name,
        sample.time_us,
        origin.received_us,
        held,
        bounds,
    )
    .map_err(|why| (DropReason::Quarantined, why))?;
    Ok(sample)
}

/// Enters numbers as dropped; returns how many were not accounted for before.
pub(super) fn drop_range(
    ledger: &mut BootLedger,
    dropped: &Dropped,
    max_spans: usize,
    changes: &mut Changes,
) -> Result<u64, String> {
    if !has_room(ledger, max_spans) {
        return Err(no_room(max_spans));
    }
    let known = |ledger: &BootLedger| {
        ledger
            .dropped
            .get(&dropped.reason)
            .map_or(0, |numbers| numbers.len())
    };
    let before = known(ledger);
    ledger.drop(*dropped);
    let new = known(ledger).saturating_sub(before);
    if new > 0 {
        *changes.tally.dropped.entry(dropped.reason).or_default() += new;
    }
    Ok(new)
}

/// Takes in ledgers that had to be fetched from the store.
pub(super) fn fetched(held: &mut Device, known: Known) {
    for (boot, ledger) in known.ledgers {
        held.boots.entry(boot).or_insert(ledger);
    }
}

fn has_room(ledger: &BootLedger, max_spans: usize) -> bool {
    ledger.spans() < max_spans
}

fn touches_a_span(ledger: &BootLedger, seq: Seq) -> bool {
    ledger.stored.contains(seq.0.saturating_sub(1)) || ledger.stored.contains(seq.0 + 1)
}

fn no_room(max_spans: usize) -> String {
    format!("the ledger of this boot has {max_spans} separate spans, which is the limit")
}
