//! From a rule that fired to the run that it starts.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use stencil_protocol::id::{Boot, DeviceId, Seq, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_rules::{Cause, Condition, Firing};
use stencil_store::{CauseKey, RunId, Trigger};

use crate::definition::Definition;

/// The fields of `event` in templates.
pub(crate) const FIELDS: &[&str] = &[
    "tenant", "device", "name", "value", "unit", "time_us", "since_us", "boot", "seq",
];

/// The fields of `event` in templates where an invoice is paid.
pub(crate) const PAYMENT_FIELDS: &[&str] = &[
    "tenant",
    "invoice",
    "reference",
    "title",
    "metadata",
    "price",
    "payers",
    "time_us",
];

/// The fields of `event` in templates where an admission at a gateway conflicts.
pub(crate) const ACCESS_FIELDS: &[&str] = &[
    "tenant",
    "gateway",
    "device",
    "command",
    "holder",
    "right",
    "receipt",
    "outcome",
    "reason",
    "used_us",
    "changed_us",
    "time_us",
];

/// The fields of `event` in templates where a gateway has begun another chain of receipts.
pub(crate) const NEW_CHAIN_FIELDS: &[&str] = &[
    "tenant", "gateway", "chain", "left", "brought", "missing", "time_us",
];

/// The fields of `event` in templates where a gateway's seal is not what the hub has.
pub(crate) const SEAL_FIELDS: &[&str] = &[
    "tenant", "gateway", "device", "devices", "epoch", "number", "hash", "state", "flaw", "why",
    "time_us",
];

/// The fields of `event` in templates where a contract has emitted an event.
pub(crate) const CHAIN_FIELDS: &[&str] = &[
    "tenant", "chain", "address", "event", "args", "tx", "ordinal", "block", "time_us",
];

/// What happened, as templates see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The device that measured.
    pub device: &'a DeviceId,
    /// The sample's name; null where any sample counts.
    pub name: Option<&'a str>,
    /// What was looked at: the sample's value as it was sent, or the change per
    /// second or aggregate that a limit is on; null for absence.
    pub value: Option<OwnedValue>,
    /// Its unit.
    pub unit: Option<&'a str>,
    /// When it was measured, µs.
    pub time_us: i64,
    /// Since when the condition has held, µs.
    pub since_us: i64,
    /// The device's boot; null where no numbered sample is the cause.
    pub boot: Option<Boot>,
    /// The sample's number in that boot; null where no numbered sample is the cause.
    pub seq: Option<Seq>,
}

/// What happened when a rule fired, as templates see it. `sample` is the value
/// and unit of the sample that made it fire; `None` if time did.
pub fn event<'a>(
    tenant: &'a TenantId,
    definition: &'a Definition,
    device: &'a DeviceId,
    sample: Option<(&OwnedValue, Option<&'a str>)>,
    firing: &Firing,
) -> Event<'a> {
    let (boot, seq) = match firing.cause {
        Cause::Numbered { boot, seq } => (Some(boot), Some(seq)),
        Cause::Timed { .. } | Cause::Silence { .. } | Cause::Window { .. } => (None, None),
    };
    let compared = || firing.value.map(|value| OwnedValue::Number(value.get()));
    let rule = definition.rule();
    let (value, unit) = match (rule.map(|rule| &rule.condition), sample) {
        (Some(Condition::Threshold(_) | Condition::Expression(_)), Some((value, unit))) => {
            (Some(value.clone()), unit)
        }
        // An aggregate or a change per second is in no unit that the device sent.
        _ => (compared(), None),
    };
    Event {
        tenant,
        device,
        name: rule.and_then(|rule| rule.name.as_deref()),
        value,
        unit,
        time_us: firing.at_us,
        since_us: firing.since_us,
        boot,
        seq,
    }
}

/// The trigger of the run that a firing starts. The same firing gives the same
/// run id, so that it starts once, however often it is found. `sample` as in [`event`].
pub fn trigger(
    tenant: &TenantId,
    definition: &Definition,
    device: &DeviceId,
    sample: Option<(&OwnedValue, Option<&str>)>,
    firing: &Firing,
) -> Trigger {
    let event = event(tenant, definition, device, sample, firing);
    Trigger {
        run: run_id(tenant, definition, device, firing.cause),
        tenant: tenant.clone(),
        workflow: definition.id.clone(),
        version: definition.version,
        // Texts and numbers only: this cannot fail.
        event: serde_json::to_value(&event).unwrap_or(Value::Null),
        at_us: firing.at_us,
        not_before_us: None,
    }
}

/// The id of the run that a cause starts: the same at whoever finds the cause
/// ([`stencil_edge::run_id`]).
pub fn run_id(
    tenant: &TenantId,
    definition: &Definition,
    device: &DeviceId,
    cause: Cause,
) -> RunId {
    let (workflow, version) = (&definition.id, definition.version);
    let name = definition.rule().and_then(|rule| rule.name.as_deref());
    RunId(stencil_edge::run_id(
        tenant, workflow, version, name, device, cause,
    ))
}

/// The id of the run that a cause on a chain starts: one, whatever version of the workflow finds the
/// cause. A reorganisation that takes the cause away and brings it back starts no other.
pub fn caused_run_id(tenant: &TenantId, workflow: &str, cause: &CauseKey) -> RunId {
    let mut hash = Sha256::new();
    part(&mut hash, b"stencil caused run 1");
    part(&mut hash, tenant.as_str().as_bytes());
    part(&mut hash, workflow.as_bytes());
    part(&mut hash, cause);
    RunId(hash.finalize().into())
}

/// The key of a step's effect in a run ([`stencil_edge::effect_key`]).
pub fn effect_key(run: &RunId, step: &str) -> String {
    stencil_edge::effect_key(&run.0, step)
}

pub(crate) fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}
