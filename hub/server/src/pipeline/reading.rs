//! A sample that is new: a point, perhaps the newest value, and something for the rules to see.

use stencil_protocol::sample::OwnedSample;
use stencil_rules::Cause;
use stencil_store::{Point, TwinUpdate};

use super::State;
use super::changes::{Changes, DeviceKey};
use super::origin::Origin;
use super::state::{Device, max_ahead_us};
use crate::PipelineOptions;

/// A new sample with its identity.
pub(super) struct Reading {
    pub(super) sample: OwnedSample,
    pub(super) cause: Cause,
}

/// Whether a sample may enter: its time is not in the far future, its name is not one too many.
pub(super) fn plausible(
    name: &str,
    time_us: i64,
    received_us: i64,
    held: &Device,
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
    if held.newest.len() >= bounds.max_names && !held.newest.contains_key(name) {
        return Err(format!(
            "{name:?} would be the device's sample name {}; {} are allowed",
            held.newest.len() + 1,
            bounds.max_names
        ));
    }
    Ok(())
}

/// Takes a sample in. The caller has made sure that it is new and plausible.
pub(super) fn take(
    origin: &Origin<'_>,
    key: &DeviceKey,
    reading: Reading,
    state: &mut State,
    changes: &mut Changes,
) {
    let Reading { sample, cause } = reading;
    let (tenant, device) = key;
    let newest = state.device(key).is_some_and(|held| newest(held, &sample));
    if let Some(rules) = state.known_rules(tenant) {
        rules.observe(device, &sample, origin.received_us, cause, changes);
        changes.observed.insert(tenant.clone());
    }
    if newest {
        changes.twin(TwinUpdate {
            tenant: tenant.clone(),
            device: device.clone(),
            gateway: origin.gateway().cloned(),
            name: sample.name.clone(),
            value: sample.value.clone(),
            unit: sample.unit.clone(),
            time_us: sample.time_us,
            received_us: origin.received_us,
            link: Some(origin.link.clone()),
        });
    }
    changes.points.push(Point {
        tenant: tenant.clone(),
        device: device.clone(),
        name: sample.name,
        time_us: sample.time_us,
        value: sample.value,
        unit: sample.unit,
    });
}

/// Newest by event time, not by arrival: a resent old value never hides a newer one.
fn newest(held: &mut Device, sample: &OwnedSample) -> bool {
    match held.newest.get_mut(&sample.name) {
        Some(time_us) if *time_us > sample.time_us => false,
        Some(time_us) => {
            *time_us = sample.time_us;
            true
        }
        None => {
            held.newest.insert(sample.name.clone(), sample.time_us);
            true
        }
    }
}
