//! The workflows of one tenant that are in force, and what their rules remember.

use std::collections::BTreeMap;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use stencil_edge::{Place, Record};
use stencil_protocol::batch::Batch;
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_protocol::sample::{OwnedValue, Sample};
use stencil_rules::{Bounds, Cause, Change, Condition, Engine, Observation, SubjectId};
use stencil_store::{ActiveAlarm, CommandStatus, RuleState};
use stencil_workflow::Definition;

use super::alarms::Active;
use super::changes::Changes;
use super::origin::Origin;
use super::streams::{Around, SavedStream, Streams};

/// Marks the rows in which the pipeline keeps which version is in force: they are committed with
/// the position, so that a replay judges each record by the version that ruled at its place. No
/// workflow id has this character.
const IN_FORCE: char = '@';

/// The device of rows that are of none.
pub(super) const IN_FORCE_DEVICE: &str = "in-force";

/// A workflow version in force.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    pub(crate) tenant: TenantId,
    pub(crate) definition: Arc<Definition>,
    /// The log position at which the rule began to be what it is: states that were gathered under
    /// another rule mean nothing.
    pub(crate) since: u64,
}

/// The value of an in-force row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct InForceRow {
    #[n(0)]
    pub(crate) version: u32,
    #[n(1)]
    pub(crate) since: u64,
}

/// The value of a state row.
#[derive(Encode, Decode)]
struct StateRow<'a> {
    #[n(0)]
    since: u64,
    #[cbor(b(1), with = "minicbor::bytes")]
    state: &'a [u8],
}

/// What became of a saved state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restored {
    /// The rule has it again.
    Back,
    /// It is of a rule that is no longer in force.
    OfAnother,
    /// It cannot be read: the device starts afresh.
    Unreadable,
}

/// Rules of one tenant.
#[derive(Debug)]
pub(crate) struct Rules {
    engine: Engine<String>,
    in_force: BTreeMap<String, InForce>,
    alarms: Active,
    /// What gateways judge by themselves.
    streams: Streams,
    max_rules: usize,
}

impl Rules {
    /// No rules yet, and at most `max_rules`. What the pipeline takes in, rules see: they share the
    /// bound on how far a sample's clock may be ahead.
    pub(super) fn new(max_rules: usize, max_ahead_us: i64) -> Self {
        let bounds = Bounds {
            max_rules,
            max_ahead_us,
            ..Bounds::default()
        };
        Self {
            engine: Engine::new(bounds),
            in_force: BTreeMap::new(),
            alarms: Active::default(),
            streams: Streams::default(),
            max_rules,
        }
    }

    /// The version in force of each workflow.
    pub(super) fn in_force(&self) -> impl Iterator<Item = (&str, u32)> {
        self.in_force
            .values()
            .map(|held| (held.definition.id.as_str(), held.definition.version))
    }

    /// Whether a rule in force waits for something not to happen, so that it must be told the time.
    pub(super) fn waits(&self) -> bool {
        let mut rules = self.engine.rules();
        rules
            .any(|(_, rule)| matches!(rule.condition, Condition::Absence(_) | Condition::Window(_)))
    }

    /// How many alarms are active.
    pub(super) fn alarms(&self) -> usize {
        self.alarms.len()
    }

    /// Puts a rule back that was in force at the last commit.
    pub(super) fn restore_rule(&mut self, one: InForce) {
        let workflow = one.definition.id.clone();
        match self.put_rule(&one.definition) {
            Ok(()) => {
                self.in_force.insert(workflow, one);
            }
            Err(error) => tracing::error!(tenant = %one.tenant, workflow, %error,
                "a workflow that was in force cannot be"),
        }
    }

    /// Gives a rule back what it remembered of a device.
    pub(super) fn restore_state(&mut self, saved: &RuleState) -> Restored {
        let Some(held) = self.in_force.get(&saved.workflow) else {
            return Restored::OfAnother;
        };
        let Ok(row) = minicbor::decode::<StateRow<'_>>(&saved.bytes) else {
            return Restored::Unreadable;
        };
        if row.since != held.since {
            return Restored::OfAnother;
        }
        let (workflow, device) = (&saved.workflow, saved.device.as_str());
        match self.engine.restore(workflow, device, row.state) {
            Ok(()) => Restored::Back,
            Err(_) => Restored::Unreadable,
        }
    }

    /// Puts an alarm back that was active at the last commit.
    pub(super) fn restore_alarm(&mut self, alarm: ActiveAlarm) {
        self.alarms.restore(alarm);
    }

    /// Puts a version in force from `position` on, in place of the one that was. What the rule
    /// remembers stays if the rule is the same, and so do its alarms; else they end.
    pub(super) fn activate(
        &mut self,
        tenant: &TenantId,
        definition: Arc<Definition>,
        position: u64,
        at_us: i64,
        changes: &mut Changes,
    ) -> Result<(), String> {
        let workflow = definition.id.clone();
        let held = self.in_force.get(&workflow);
        if held.is_none() && self.in_force.len() >= self.max_rules {
            return Err(format!(
                "{} workflows are in force, which is the limit",
                self.max_rules
            ));
        }
        let kept = held.filter(|held| held.definition.source == definition.source);
        let since = kept.map_or(position, |held| held.since);
        let same_rule = kept.is_some();
        if !same_rule {
            self.engine.remove(&workflow);
        }
        self.put_rule(&definition)
            .map_err(|error| error.to_string())?;
        let version = definition.version;
        let ended = match (same_rule, &definition.alarm) {
            (false, _) => Some(format!(
                "version {version} of the workflow has another rule"
            )),
            (true, None) => Some(format!("version {version} of the workflow raises no alarm")),
            (true, Some(_)) => None,
        };
        if let Some(why) = ended {
            let out = &mut changes.alarms;
            self.alarms.clear_workflow(&workflow, at_us, &why, out);
        }
        let row = in_force_row(
            tenant,
            &workflow,
            Some(InForceRow {
                version: definition.version,
                since,
            }),
        );
        self.in_force.insert(
            workflow,
            InForce {
                tenant: tenant.clone(),
                definition,
                since,
            },
        );
        changes.rule_states.push(row);
        Ok(())
    }

    /// Judges by a definition's rule from now on. One that is about what is on a chain has none: it is in
    /// force here only in that it counts, and in that the version before is not.
    fn put_rule(&mut self, definition: &Definition) -> Result<(), stencil_rules::Error> {
        match definition.rule() {
            Some(rule) => self.engine.put(definition.id.clone(), rule.clone()),
            None => Ok(()),
        }
    }

    /// Takes a workflow out of force; its alarms end.
    pub(super) fn deactivate(
        &mut self,
        tenant: &TenantId,
        workflow: &str,
        at_us: i64,
        changes: &mut Changes,
    ) {
        self.engine.remove(&workflow.to_owned());
        self.in_force.remove(workflow);
        let (why, out) = ("the workflow was taken out of force", &mut changes.alarms);
        self.alarms.clear_workflow(workflow, at_us, why, out);
        let row = in_force_row(tenant, workflow, None);
        changes.rule_states.push(row);
    }

    /// Puts a gateway's stream back as it was at the last commit.
    pub(super) fn restore_stream(&mut self, saved: SavedStream) {
        self.streams.restore(saved);
    }

    /// The definition that a gateway judges by.
    pub(super) fn judged_by(&self, gateway: &GatewayId, workflow: &str) -> Option<&Definition> {
        self.streams.definition(gateway, workflow)
    }

    /// Shows a batch of a gateway's stream to the rules that it judges.
    pub(super) fn judged(
        &mut self,
        origin: &Origin<'_>,
        device: &DeviceId,
        at: (Place, i64),
        batch: &Batch<'_>,
        is_believed: bool,
        changes: &mut Changes,
    ) {
        let mut around = Around {
            alarms: &mut self.alarms,
            changes,
        };
        let streams = &mut self.streams;
        streams.batch(origin, device, at, batch, is_believed, &mut around);
    }

    /// Keeps what a device said of a command that its gateway may have given by itself.
    pub(super) fn keep_early(
        &mut self,
        gateway: &GatewayId,
        device: &DeviceId,
        status: CommandStatus,
    ) -> bool {
        self.streams.keep_early(gateway, device, status)
    }

    /// Takes another record of a gateway's stream; says why it cannot be taken, if so.
    pub(super) fn stream(
        &mut self,
        origin: &Origin<'_>,
        gateway: &GatewayId,
        record: &Record,
        extra: Vec<Definition>,
        changes: &mut Changes,
    ) -> Result<(), String> {
        let mut around = Around {
            alarms: &mut self.alarms,
            changes,
        };
        let engine = &self.engine;
        let has_fired = |workflow: &str, device: &DeviceId| {
            engine.has_fired(&workflow.to_owned(), device.as_str())
        };
        let streams = &mut self.streams;
        streams.record(origin, gateway, record, extra, has_fired, &mut around)
    }

    /// Forgets a device; returns the alarms that were active for it.
    pub(super) fn forget_device(&mut self, device: &DeviceId) -> Vec<ActiveAlarm> {
        self.streams.forget_device(device);
        self.engine.forget_device(device.as_str());
        self.alarms.forget_device(device)
    }

    /// The alarms that were active, of rules that are let go of.
    pub(super) fn into_alarms(mut self) -> Vec<ActiveAlarm> {
        self.alarms.forget_all()
    }

    /// Shows a new sample to the rules; what comes of it is pushed to `changes`. `subject` is the
    /// rules' handle of device and name: `None` at first, and then what this has left there.
    pub(super) fn observe(
        &mut self,
        device: &DeviceId,
        subject: &mut Option<SubjectId>,
        sample: &Sample<'_>,
        (received_us, gateway): (i64, Option<&GatewayId>),
        cause: Cause,
        changes: &mut Changes,
    ) {
        let observation = Observation {
            device: device.as_str(),
            name: sample.name,
            time_us: sample.time_us,
            received_us,
            value: sample.value,
            unit: sample.unit,
            cause,
        };
        let (in_force, alarms, streams) = (&self.in_force, &mut self.alarms, &self.streams);
        // By none, unless it is judged there.
        let gateway = gateway.filter(|_| !streams.is_empty());
        let mut tell = |workflow: &String, change| {
            if gateway.is_some_and(|it| streams.leaves(Some(it), workflow, device, &change)) {
                return;
            }
            if let Some(held) = in_force.get(workflow) {
                let value = OwnedValue::from(sample.value);
                let seen = Some((&value, sample.unit));
                apply(held, device, seen, change, alarms, changes);
            }
        };
        let engine = &mut self.engine;
        let mut known = subject.is_some_and(|subject| {
            engine.observe_subject(subject, &observation, |key, _, change| tell(key, change))
        });
        if !known {
            let fresh = engine.subject(device.as_str(), sample.name);
            *subject = Some(fresh);
            known = engine.observe_subject(fresh, &observation, |key, _, change| tell(key, change));
        }
        debug_assert!(known, "a handle that was given out just now");
    }

    /// Lets time pass up to `now_us`; what comes of it is pushed to `changes`.
    pub(super) fn advance(&mut self, now_us: i64, changes: &mut Changes) {
        let (in_force, alarms, streams) = (&self.in_force, &mut self.alarms, &self.streams);
        self.engine.advance(now_us, |workflow, device, _, change| {
            if let (Some(held), Ok(device)) = (in_force.get(workflow), DeviceId::parse(device)) {
                if streams.leaves(None, workflow, &device, &change) {
                    return;
                }
                apply(held, &device, None, change, alarms, changes);
            }
        });
    }

    /// Adds each state that has changed since the last call.
    pub(super) fn save(&mut self, tenant: &TenantId, out: &mut Vec<RuleState>) {
        self.streams.save(tenant, out);
        let in_force = &self.in_force;
        self.engine.take_changed(|workflow, device, state| {
            let (Some(held), Ok(device)) = (in_force.get(workflow), DeviceId::parse(device)) else {
                return;
            };
            let mut bytes = Vec::with_capacity(state.len() + 8);
            // Writing to a Vec cannot fail.
            let _ = minicbor::encode(
                StateRow {
                    since: held.since,
                    state: &state,
                },
                &mut bytes,
            );
            out.push(RuleState {
                tenant: tenant.clone(),
                workflow: workflow.clone(),
                device,
                bytes,
            });
        });
    }
}

/// What a change of a rule on a device comes to: a run, an alarm, or its end.
fn apply(
    held: &InForce,
    device: &DeviceId,
    sample: Option<(&OwnedValue, Option<&str>)>,
    change: Change,
    alarms: &mut Active,
    changes: &mut Changes,
) {
    let (tenant, definition) = (&held.tenant, &*held.definition);
    match change {
        Change::Fired(firing) => {
            let raised =
                stencil_workflow::raised(tenant, definition, held.since, device, sample, &firing);
            if let Some(raised) = raised {
                alarms.raise(raised, &mut changes.alarms);
            }
            if !definition.steps.is_empty() {
                let trigger =
                    stencil_workflow::trigger(tenant, definition, device, sample, &firing);
                changes.triggers.push(trigger);
            }
        }
        Change::Cleared(clearing) => {
            let why = || stencil_workflow::why_cleared(definition, &clearing);
            let (workflow, out) = (&definition.id, &mut changes.alarms);
            alarms.clear(workflow, device, clearing.at_us, why, out);
        }
    }
}

/// Splits the saved rows of all tenants into what is in force and what rules remember.
pub(crate) fn split(rows: Vec<RuleState>) -> (Vec<(TenantId, String, InForceRow)>, Vec<RuleState>) {
    let mut in_force = Vec::new();
    let mut states = Vec::new();
    for row in rows {
        match row.workflow.strip_prefix(IN_FORCE) {
            None => states.push(row),
            Some(workflow) => {
                if let Ok(held) = minicbor::decode::<InForceRow>(&row.bytes) {
                    in_force.push((row.tenant.clone(), workflow.to_owned(), held));
                }
            }
        }
    }
    (in_force, states)
}

fn in_force_row(tenant: &TenantId, workflow: &str, row: Option<InForceRow>) -> RuleState {
    let mut bytes = Vec::new();
    if let Some(row) = row {
        // Writing to a Vec cannot fail.
        let _ = minicbor::encode(row, &mut bytes);
    }
    RuleState {
        tenant: tenant.clone(),
        workflow: format!("{IN_FORCE}{workflow}"),
        device: in_force_device(),
        bytes,
    }
}

/// The device of an in-force row; the rows have no device of their own, the column needs one.
#[expect(
    clippy::expect_used,
    reason = "a constant that keeps to the grammar; tested"
)]
pub(super) fn in_force_device() -> DeviceId {
    DeviceId::parse(IN_FORCE_DEVICE).expect("an id by its grammar")
}
