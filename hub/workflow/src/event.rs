//! From a rule that fired to the run that it starts.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use stencil_protocol::id::{Boot, DeviceId, Seq, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_rules::{Cause, Firing};
use stencil_store::{RunId, Trigger};

use crate::definition::Definition;

/// The fields of `event` in templates.
pub(crate) const FIELDS: &[&str] = &[
    "tenant", "device", "name", "value", "unit", "time_us", "since_us", "boot", "seq",
];

/// What happened, as templates see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The device that measured.
    pub device: &'a DeviceId,
    /// The sample's name.
    pub name: &'a str,
    /// The sample's value, as it was sent.
    pub value: &'a OwnedValue,
    /// Its unit.
    pub unit: Option<&'a str>,
    /// When it was measured, µs.
    pub time_us: i64,
    /// Since when the condition has held, µs.
    pub since_us: i64,
    /// The device's boot; null for devices that number nothing.
    pub boot: Option<Boot>,
    /// The sample's number in that boot; null for devices that number nothing.
    pub seq: Option<Seq>,
}

/// The trigger of the run that a firing starts. The same firing gives the same
/// run id, so that it starts once, however often it is found.
pub fn trigger(
    tenant: &TenantId,
    definition: &Definition,
    device: &DeviceId,
    value: &OwnedValue,
    unit: Option<&str>,
    firing: &Firing,
) -> Trigger {
    let (boot, seq) = match firing.cause {
        Cause::Numbered { boot, seq } => (Some(boot), Some(seq)),
        Cause::Timed { .. } => (None, None),
    };
    let name = definition.rule.threshold.name();
    let (time_us, since_us) = (firing.at_us, firing.since_us);
    let event = Event {
        tenant,
        device,
        name,
        value,
        unit,
        time_us,
        since_us,
        boot,
        seq,
    };
    Trigger {
        run: run_id(tenant, definition, device, firing.cause),
        tenant: tenant.clone(),
        workflow: definition.id.clone(),
        version: definition.version,
        // Texts and numbers only: this cannot fail.
        event: serde_json::to_value(&event).unwrap_or(Value::Null),
        at_us: firing.at_us,
    }
}

/// The id of the run that a cause starts: SHA-256 over tenant, workflow,
/// version, device and cause, each with its length.
pub fn run_id(
    tenant: &TenantId,
    definition: &Definition,
    device: &DeviceId,
    cause: Cause,
) -> RunId {
    let mut hash = Sha256::new();
    part(&mut hash, b"stencil run 1");
    part(&mut hash, tenant.as_str().as_bytes());
    part(&mut hash, definition.id.as_bytes());
    part(&mut hash, &definition.version.to_be_bytes());
    part(&mut hash, device.as_str().as_bytes());
    match cause {
        Cause::Numbered { boot, seq } => {
            part(&mut hash, b"numbered");
            part(&mut hash, &boot.0.to_be_bytes());
            part(&mut hash, &seq.0.to_be_bytes());
        }
        Cause::Timed { time_us } => {
            part(&mut hash, b"timed");
            part(&mut hash, definition.rule.threshold.name().as_bytes());
            part(&mut hash, &time_us.to_be_bytes());
        }
    }
    RunId(hash.finalize().into())
}

/// The key of a step's effect in a run: hexadecimal SHA-256 over both.
pub fn effect_key(run: &RunId, step: &str) -> String {
    let mut hash = Sha256::new();
    part(&mut hash, b"stencil effect 1");
    part(&mut hash, &run.0);
    part(&mut hash, step.as_bytes());
    hex::encode(hash.finalize())
}

fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}
