//! A sample that is new: a point, perhaps the newest value, and something for the rules to see.

use stencil_protocol::sample::Sample;
use stencil_rules::Cause;

use super::changes::{Changes, DeviceKey};
use super::origin::Origin;
use super::state::{Admitted, Device, max_ahead_us};
use crate::PipelineOptions;

/// Whether a sample may enter: its time is not in the far future, its name is not one too many.
pub(super) fn plausible(
    name: &str,
    time_us: i64,
    received_us: i64,
    held: &mut Device,
    bounds: &PipelineOptions,
) -> Result<(), String> {
    let ahead_us = time_us.saturating_sub(received_us);
    if ahead_us > max_ahead_us(bounds) {
        return Err(format!(
            "its time is {} s ahead of its receipt; {} s are allowed: is the clock right?",
            ahead_us / 1_000_000,
            bounds.max_ahead_s
        ));
    }
    if held.names.len() >= bounds.max_names && !held.names.contains(name) {
        return Err(format!(
            "{name:?} would be the device's sample name {}; {} are allowed",
            held.names.len() + 1,
            bounds.max_names
        ));
    }
    Ok(())
}

/// Takes a sample in. The caller has made sure that it is new and plausible.
pub(super) fn take(
    origin: &Origin<'_>,
    key: &DeviceKey,
    admitted: &mut Admitted<'_>,
    sample: &Sample<'_>,
    cause: Cause,
    changes: &mut Changes,
) {
    let (tenant, device) = key;
    let serial = admitted.device.serial;
    let name = admitted.device.names.make(sample.name);
    if let Some(rules) = &mut admitted.rules {
        let (received_us, subject) = (origin.received_us, &mut name.subject);
        rules.observe(device, subject, sample, received_us, cause, changes);
        if !changes.observed.contains(tenant) {
            changes.observed.insert(tenant.clone());
        }
    }
    // By event time, not by arrival: a resent old value never hides a newer one.
    let newest = name.newest_us <= sample.time_us;
    if newest {
        name.newest_us = sample.time_us;
    }
    changes.take(origin, key, serial, name, sample, newest);
}
