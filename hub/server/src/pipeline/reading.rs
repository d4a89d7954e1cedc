//! A sample that is new: a point, perhaps the newest value, and something for the rules to see.

use stencil_protocol::sample::Sample;
use stencil_rules::Cause;

use super::changes::{Changes, DeviceKey};
use super::origin::Origin;
use super::state::{Admitted, Device, max_ahead_us};
use crate::PipelineOptions;

/// Whether a sample may enter: its time is neither in the far future nor before there was such a
/// device, its name is not one too many.
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
    let least_us = i64::try_from(bounds.min_time_s.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
    if time_us < least_us {
        return Err(format!(
            "its time, {}, is before {}: is the clock set, and is it the right unit?",
            shown(time_us),
            shown(least_us)
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

/// A time for people; as a number where no calendar has it.
fn shown(time_us: i64) -> String {
    const YEAR_0: i64 = -62_167_219_200_000_000;
    if time_us >= YEAR_0 {
        format!("{} UTC", stencil_protocol::moment::utc(time_us))
    } else {
        format!("{time_us} µs since 1970")
    }
}

/// Takes a sample in. The caller has made sure that it is new and plausible. In its series it is
/// `apart_us` behind its time, as others of the same time are there.
pub(super) fn take(
    origin: &Origin<'_>,
    key: &DeviceKey,
    admitted: &mut Admitted<'_>,
    sample: &Sample<'_>,
    cause: Cause,
    apart_us: i64,
    changes: &mut Changes,
) {
    let serial = admitted.device.serial;
    let name = admitted.device.names.make(sample.name);
    if let Some(rules) = &mut admitted.rules {
        let (by, subject) = ((origin.received_us, origin.gateway()), &mut name.subject);
        rules.observe(&key.1, subject, sample, by, cause, changes);
    }
    // By event time, not by arrival: a resent old value never hides a newer one.
    let newest = name.newest_us <= sample.time_us;
    if newest {
        name.newest_us = sample.time_us;
    }
    changes.take(origin, key, serial, name, sample, (newest, apart_us));
}
