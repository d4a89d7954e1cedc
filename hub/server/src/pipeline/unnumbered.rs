//! Samples of a device that numbers nothing: known by device, name and time.

use stencil_protocol::foreign::Parsed;
use stencil_protocol::id::DeviceId;
use stencil_rules::Cause;

use super::State;
use super::changes::Changes;
use super::known::Known;
use super::origin::Origin;
use super::quarantine::Quarantine;
use super::reading;

/// Applies foreign telemetry: what is there already is a duplicate, what makes no sense is set
/// aside by its path, the rest is kept.
pub(super) fn telemetry(
    origin: &Origin<'_>,
    device: &DeviceId,
    parsed: &Parsed,
    known: &Known,
    state: &mut State,
    changes: &mut Changes,
) {
    let mut quarantine = Quarantine::new(origin, Some(device));
    for rejected in &parsed.rejected {
        quarantine.put(changes, Some(rejected.path.clone()), &rejected.reason);
    }
    let key = (origin.tenant.clone(), device.clone());
    let mut admitted = None;
    for sample in &parsed.samples {
        let point = (sample.name.clone(), sample.time_us);
        let identity = (key.0.clone(), key.1.clone(), point.0.clone(), point.1);
        if known.points.contains(&point) || changes.unnumbered.contains(&identity) {
            changes.tally.duplicate += 1;
            continue;
        }
        if admitted.is_none() {
            match state.admit(&key) {
                Ok(device) => admitted = Some(device),
                Err(why) => {
                    quarantine.put(changes, None, why);
                    break;
                }
            }
        }
        let Some(held) = &mut admitted else { break };
        let (name, time_us) = (&sample.name, sample.time_us);
        match reading::plausible(name, time_us, origin.received_us, held.device, held.bounds) {
            Err(why) => quarantine.put(changes, Some(name.clone()), why),
            Ok(()) => {
                changes.unnumbered.insert(identity);
                changes.tally.stored += 1;
                let cause = Cause::Timed { time_us };
                reading::take(origin, &key, held, &sample.as_ref(), cause, 0, changes);
            }
        }
    }
    quarantine.finish(changes);
}
