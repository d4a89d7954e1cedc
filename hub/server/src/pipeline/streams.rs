//! Rules that gateways judge: the hub judges their streams after them.
//!
//! A gateway's stream says all that its rules see, in order ([`stencil_edge`]). The same judge as
//! there takes it here, and so finds the same firings, runs and commands. What the gateway did
//! about a firing comes in the stream behind it: until then the run waits, and when the gateway
//! never says, the hub does the step itself. Where records of a stream are missing the hub judges
//! no more by itself: then the gateway's word is all there is, and it is enough.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use minicbor::{Decode, Encode};
use stencil_edge::{Arrival, Done, Judge, Place, Record, Row, Told, What};
use stencil_protocol::batch::Batch;
use stencil_protocol::command::{Command, State as CommandState};
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_rules::Change;
use stencil_store::{CommandStatus, GatewayRules, Given, NewCommand, RuleState, RunId};
use stencil_workflow::Definition;
use stencil_workflow::definition::{Action, Otherwise};

use super::alarms::Active;
use super::changes::Changes;
use super::origin::Origin;
use super::rules::{IN_FORCE_DEVICE, in_force_device};

/// Marks the rows in which the pipeline keeps what is known of streams. No workflow id has this
/// character, and no gateway's.
const STREAM: char = '~';
/// How much longer than its command may take a firing waits for its gateway's word.
const GRACE_US: i64 = 10_000_000;
/// The most firings of one gateway of which it is remembered that its word is awaited.
const MAX_AWAITED: usize = 256;

/// The streams of one tenant's gateways.
#[derive(Debug, Default)]
pub(super) struct Streams {
    by_gateway: BTreeMap<GatewayId, Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    judge: Judge,
    /// What is judged, and from which log position on.
    definitions: BTreeMap<String, (u64, Arc<Definition>)>,
    /// Firings that the gateway has not said anything of.
    awaited: VecDeque<[u8; 32]>,
    changed: bool,
}

/// The value of a stream's row.
#[derive(Encode, Decode)]
struct StreamRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    judge: Vec<u8>,
    #[n(1)]
    definitions: Vec<(String, u32, u64)>,
    #[n(2)]
    awaited: Vec<minicbor::bytes::ByteArray<32>>,
}

/// A stream as it was saved, with the definitions that it needs.
#[derive(Debug)]
pub(crate) struct SavedStream {
    pub(crate) tenant: TenantId,
    pub(crate) gateway: GatewayId,
    judge: Judge,
    awaited: VecDeque<[u8; 32]>,
    /// Workflow, version, log position.
    pub(crate) wanted: Vec<(String, u32, u64)>,
    /// Filled in by who has the store.
    pub(crate) definitions: BTreeMap<String, (u64, Arc<Definition>)>,
}

/// What is applied beside the streams themselves.
pub(super) struct Around<'a, 'b> {
    pub(super) alarms: &'a mut Active,
    pub(super) changes: &'b mut Changes,
}

impl Streams {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_gateway.is_empty()
    }

    /// The definition that a gateway judges by.
    pub(super) fn definition(&self, gateway: &GatewayId, workflow: &str) -> Option<&Definition> {
        let (_, definition) = self.by_gateway.get(gateway)?.definitions.get(workflow)?;
        Some(definition)
    }

    /// Whether a change that the hub found by itself is for the gateway to say: one of a device
    /// behind it. `gateway` is the one that the device's sample came through; time came, if there
    /// is none.
    pub(super) fn leaves(
        &self,
        gateway: Option<&GatewayId>,
        workflow: &str,
        device: &DeviceId,
        change: &Change,
    ) -> bool {
        if self.is_empty() {
            return false;
        }
        let is_its = |stream: &Stream| {
            let judges = stream.definitions.contains_key(workflow);
            match change {
                Change::Fired(_) => judges,
                // The end of what was raised before the gateway took it over is not for it to say.
                Change::Cleared(_) => judges && stream.judge.has_fired(workflow, device),
            }
        };
        match gateway {
            Some(gateway) => self.by_gateway.get(gateway).is_some_and(is_its),
            None => {
                let mut streams = self.by_gateway.values();
                streams.any(|stream| stream.judge.knows(device) && is_its(stream))
            }
        }
    }

    /// Takes a batch of a stream. One whose device is not believed is judged, so that the stream
    /// is followed, and nothing comes of it.
    pub(super) fn batch(
        &mut self,
        origin: &Origin<'_>,
        device: &DeviceId,
        (place, received_us): (Place, i64),
        batch: &Batch<'_>,
        is_believed: bool,
        around: &mut Around<'_, '_>,
    ) {
        let Some(gateway) = origin.gateway() else {
            return;
        };
        let stream = self.by_gateway.entry(gateway.clone()).or_default();
        if !stream.comes(origin, place) {
            return;
        }
        let Stream {
            judge,
            definitions,
            awaited,
            ..
        } = stream;
        judge.batch(place, device, received_us, batch, |told| {
            if is_believed {
                found(origin, definitions, awaited, &told, around);
            }
        });
    }

    /// Takes any other record of a stream; says why it cannot be taken, if so. `extra` are
    /// definitions that the stream does not hold yet.
    pub(super) fn record(
        &mut self,
        origin: &Origin<'_>,
        gateway: &GatewayId,
        record: &Record,
        extra: Vec<Definition>,
        has_fired: impl Fn(&str, &DeviceId) -> bool,
        around: &mut Around<'_, '_>,
    ) -> Result<(), String> {
        if let What::Verdicts(verdicts) = &record.what {
            around.changes.gateway_rules.push(GatewayRules {
                tenant: origin.tenant.clone(),
                gateway: gateway.clone(),
                verdicts: verdicts
                    .iter()
                    .map(|it| (it.workflow.clone(), it.version, it.refused.clone()))
                    .collect(),
                at_us: origin.received_us,
            });
            return Ok(());
        }
        let stream = self.by_gateway.entry(gateway.clone()).or_default();
        let place = record.place;
        if let What::Told(told) = &record.what {
            let is_new =
                stream.judge.arrives(place) != Arrival::Again && stream.comes(origin, place);
            if is_new {
                stream.judge.pass(place, record.at_us);
            }
            // Also when it comes again: what comes of it has a name, and comes once.
            return stream.told(origin, gateway, told, &extra, is_new, around);
        }
        if !stream.comes(origin, place) {
            return Ok(());
        }
        match &record.what {
            What::Told(_) | What::Verdicts(_) => {}
            What::Mark => {
                let Stream {
                    judge,
                    definitions,
                    awaited,
                    ..
                } = stream;
                judge.mark(place, record.at_us, |told| {
                    found(origin, definitions, awaited, &told, around);
                });
            }
            What::Rules(rules) => {
                let unusable = stream.judge.rules(place, record.at_us, rules);
                for (workflow, why) in unusable {
                    tracing::error!(tenant = %origin.tenant, %gateway, workflow, why,
                        "a rule that a gateway judges cannot be judged here");
                }
                stream.take_definitions(origin, gateway, extra, has_fired, around);
                if stream.definitions.is_empty() {
                    tracing::info!(tenant = %origin.tenant, %gateway, "it judges no rules any more");
                }
            }
        }
        Ok(())
    }

    /// Forgets a device.
    pub(super) fn forget_device(&mut self, device: &DeviceId) {
        for stream in self.by_gateway.values_mut() {
            stream.judge.forget(device);
            stream.changed = true;
        }
    }

    /// Adds what has changed since the last call.
    pub(super) fn save(&mut self, tenant: &TenantId, out: &mut Vec<RuleState>) {
        for (gateway, stream) in &mut self.by_gateway {
            if !std::mem::take(&mut stream.changed) {
                continue;
            }
            let definitions = stream.definitions.iter();
            let row = StreamRow {
                judge: stream.judge.head(),
                definitions: definitions
                    .map(|(workflow, (since, held))| (workflow.clone(), held.version, *since))
                    .collect(),
                awaited: stream.awaited.iter().map(|run| (*run).into()).collect(),
            };
            let mut bytes = Vec::new();
            // Writing to a Vec cannot fail.
            let _ = minicbor::encode(&row, &mut bytes);
            out.push(RuleState {
                tenant: tenant.clone(),
                workflow: format!("{STREAM}{gateway}"),
                device: in_force_device(),
                bytes,
            });
            stream.judge.take_changed(|row| {
                let workflow = row.workflow.unwrap_or_default();
                out.push(RuleState {
                    tenant: tenant.clone(),
                    workflow: format!("{STREAM}{gateway}{STREAM}{workflow}"),
                    device: row.device,
                    bytes: row.bytes,
                });
            });
        }
    }

    /// Puts a stream back that was saved.
    pub(super) fn restore(&mut self, saved: SavedStream) {
        let stream = Stream {
            judge: saved.judge,
            definitions: saved.definitions,
            awaited: saved.awaited,
            changed: false,
        };
        self.by_gateway.insert(saved.gateway, stream);
    }
}

impl Stream {
    /// Whether a record is to be taken. If others before it are missing, that is noted.
    fn comes(&mut self, origin: &Origin<'_>, place: Place) -> bool {
        match self.judge.arrives(place) {
            Arrival::Again => return false,
            Arrival::Next => {}
            Arrival::Gap => {
                if self.judge.running().any(|(_, _, followed)| followed) {
                    tracing::warn!(tenant = %origin.tenant, gateway = origin.gateway().map(tracing::field::display),
                        %place, "records of a rule stream are missing: the gateway's word counts \
                        alone until its rules begin anew");
                }
                self.judge.lose();
            }
        }
        self.changed = true;
        true
    }

    /// After the rules of the stream have changed.
    fn take_definitions(
        &mut self,
        origin: &Origin<'_>,
        gateway: &GatewayId,
        extra: Vec<Definition>,
        has_fired: impl Fn(&str, &DeviceId) -> bool,
        around: &mut Around<'_, '_>,
    ) {
        let mut extra: BTreeMap<(String, u32), Definition> = extra
            .into_iter()
            .map(|definition| ((definition.id.clone(), definition.version), definition))
            .collect();
        let mut before = std::mem::take(&mut self.definitions);
        for (placed, _, _) in self.judge.running() {
            let (workflow, version) = (placed.workflow.clone(), placed.version);
            let was = before.remove(&workflow);
            let held = match was {
                Some((since, held)) if held.version == version => Some((since, held)),
                other => {
                    // As long as the rule is the same its alarms go on.
                    let same = other
                        .as_ref()
                        .map(|(since, held)| (*since, held.rule.clone()));
                    let found = extra.remove(&(workflow.clone(), version));
                    found.map(|found| {
                        let since = match same {
                            Some((since, rule)) if rule == found.rule => since,
                            _ => origin.position,
                        };
                        (since, Arc::new(found))
                    })
                }
            };
            match held {
                Some(held) => {
                    self.definitions.insert(workflow, held);
                }
                None => tracing::error!(tenant = %origin.tenant, %gateway, workflow, version,
                    "a gateway judges a version that is not in the store"),
            }
        }
        let Around { alarms, changes } = around;
        for workflow in before.keys() {
            let why = format!("gateway {gateway} no longer judges it");
            let gone = |device: &DeviceId| self.judge.knows(device) && !has_fired(workflow, device);
            let out = &mut changes.alarms;
            alarms.clear_where(workflow, gone, origin.received_us, &why, out);
        }
    }

    /// What the gateway says that a rule told, and what it did.
    fn told(
        &mut self,
        origin: &Origin<'_>,
        gateway: &GatewayId,
        told: &Told,
        extra: &[Definition],
        is_new: bool,
        around: &mut Around<'_, '_>,
    ) -> Result<(), String> {
        let held = self.definitions.get(&told.workflow);
        let held = held.filter(|(_, held)| held.version == told.version);
        let (since, definition) = match held {
            Some((since, held)) => (*since, &**held),
            None => {
                let mut extra = extra.iter();
                let of = |it: &&Definition| it.id == told.workflow && it.version == told.version;
                let found = extra.find(of).ok_or_else(|| {
                    format!("there is no version {} of {}", told.version, told.workflow)
                })?;
                (origin.position, found)
            }
        };
        let follows = self.judge.follows(&told.workflow);
        let sample = told.sample.clone();
        let sample = sample.map(|(value, unit)| (OwnedValue::from(value), unit));
        let seen = sample
            .as_ref()
            .map(|(value, unit)| (value, unit.as_deref()));
        let (tenant, device) = (origin.tenant, &told.device);
        let firing = match told.change {
            Change::Fired(firing) => firing,
            Change::Cleared(clearing) => {
                if is_new && !follows {
                    let why = || stencil_workflow::why_cleared(definition, &clearing);
                    let (workflow, out) = (&definition.id, &mut around.changes.alarms);
                    around
                        .alarms
                        .clear(workflow, device, clearing.at_us, why, out);
                }
                return Ok(());
            }
        };
        let run = stencil_workflow::run_id(tenant, definition, device, firing.cause);
        let given = given(origin, gateway, definition, run, told, around.changes)?;
        let was_awaited = match self.awaited.iter().position(|held| *held == run.0) {
            Some(at) => self.awaited.remove(at).is_some(),
            None => false,
        };
        self.changed |= was_awaited;
        if is_new && follows && !was_awaited {
            tracing::error!(%tenant, %gateway, workflow = told.workflow, %device, ?firing,
                "a gateway says that a rule fired, which it has not here");
        }
        if is_new && !follows {
            let raised = stencil_workflow::raised(tenant, definition, since, device, seen, &firing);
            if let Some(raised) = raised {
                around.alarms.raise(raised, &mut around.changes.alarms);
            }
        }
        // Nothing new, where the hub has found it before.
        let trigger = stencil_workflow::trigger(tenant, definition, device, seen, &firing);
        around.changes.triggers.push(trigger);
        around.changes.given.push(given);
        Ok(())
    }
}

/// What the judge has found: a run that waits for its gateway's word, and an alarm or its end.
fn found(
    origin: &Origin<'_>,
    definitions: &BTreeMap<String, (u64, Arc<Definition>)>,
    awaited: &mut VecDeque<[u8; 32]>,
    told: &stencil_edge::Change<'_>,
    Around { alarms, changes }: &mut Around<'_, '_>,
) {
    let Some((since, definition)) = definitions.get(&told.placed.workflow) else {
        return;
    };
    let (tenant, device) = (origin.tenant, told.device);
    let value = told.sample.map(|sample| OwnedValue::from(sample.value));
    let unit = told.sample.and_then(|sample| sample.unit);
    let seen = value.as_ref().map(|value| (value, unit));
    match told.change {
        Change::Fired(firing) => {
            let raised =
                stencil_workflow::raised(tenant, definition, *since, device, seen, &firing);
            if let Some(raised) = raised {
                alarms.raise(raised, &mut changes.alarms);
            }
            let mut trigger = stencil_workflow::trigger(tenant, definition, device, seen, &firing);
            let patience_us = told.placed.action.expires_us.saturating_add(GRACE_US);
            trigger.not_before_us = Some(origin.received_us.saturating_add(patience_us));
            if awaited.len() >= MAX_AWAITED {
                awaited.pop_front();
            }
            awaited.push_back(trigger.run.0);
            changes.triggers.push(trigger);
        }
        Change::Cleared(clearing) => {
            let why = || stencil_workflow::why_cleared(definition, &clearing);
            let (workflow, out) = (&definition.id, &mut changes.alarms);
            alarms.clear(workflow, device, clearing.at_us, why, out);
        }
    }
}

/// What the gateway did about a run's first step.
fn given(
    origin: &Origin<'_>,
    gateway: &GatewayId,
    definition: &Definition,
    run: RunId,
    told: &Told,
    changes: &mut Changes,
) -> Result<Given, String> {
    let Some(placed) = definition.placed() else {
        return Err(format!(
            "version {} of {} is not placed at gateways",
            told.version, told.workflow
        ));
    };
    let effect_key = stencil_workflow::effect_key(&run, &placed.action.step);
    let id = stencil_edge::command_id(&effect_key);
    let command = |device: DeviceId, name: String, argument, expires_us| NewCommand {
        id,
        tenant: origin.tenant.clone(),
        device,
        name,
        argument,
        expires_us,
        effect_key: Some(effect_key.clone()),
    };
    let command = match &told.done {
        Done::Given(given) => {
            if given.step != placed.action.step || given.name != placed.action.command {
                return Err(format!(
                    "it gave `{}` for step `{}`, which is `{}` of step `{}`",
                    given.name, given.step, placed.action.command, placed.action.step
                ));
            }
            let argument = given.argument.clone().map(OwnedValue::from);
            Command {
                id,
                device: given.device.clone(),
                name: &given.name,
                argument: argument.as_ref().map(OwnedValue::as_ref),
                expires_us: given.expires_us,
            }
            .check()
            .map_err(|error| format!("the command that it gave: {error}"))?;
            let (device, name) = (given.device.clone(), given.name.clone());
            Some(command(device, name, argument, given.expires_us))
        }
        Done::Nothing | Done::Declined(_) => {
            let why = match &told.done {
                Done::Declined(why) => why.as_str(),
                _ => "it did nothing about it",
            };
            tracing::info!(tenant = %origin.tenant, %gateway, workflow = told.workflow,
                device = %told.device, why, "a gateway could not do the first step of a run");
            let nobody = definition
                .place
                .as_ref()
                .is_some_and(|place| place.otherwise == Otherwise::Nobody);
            let to = placed.command(&told.device, None).ok();
            nobody.then_some(to).flatten().map(|(device, _)| {
                changes.statuses.push(CommandStatus {
                    tenant: origin.tenant.clone(),
                    command: id,
                    state: CommandState::Failed,
                    at_us: origin.received_us,
                    detail: Some(format!("gateway {gateway}: {why}")),
                    gateway: Some(gateway.clone()),
                });
                let name = placed.action.command.clone();
                command(device, name, None, origin.received_us)
            })
        }
    };
    debug_assert!(matches!(
        definition.steps.first().map(|step| &step.action),
        Some(Action::DeviceCommand { .. })
    ));
    Ok(Given {
        tenant: origin.tenant.clone(),
        gateway: gateway.clone(),
        run,
        command,
        received_us: origin.received_us,
    })
}

/// Takes the rows of streams out of those of rules.
pub(crate) fn split(rows: &mut Vec<RuleState>) -> Vec<SavedStream> {
    let mut of_streams = Vec::new();
    rows.retain(|row| {
        let is_one = row.workflow.starts_with(STREAM);
        if is_one {
            of_streams.push(row.clone());
        }
        !is_one
    });
    let mut heads = BTreeMap::new();
    for row in &of_streams {
        if row.device.as_str() == IN_FORCE_DEVICE
            && let Some(gateway) = row.workflow.strip_prefix(STREAM)
            && let Ok(gateway) = GatewayId::parse(gateway)
        {
            match read(&row.tenant, &gateway, &row.bytes) {
                Ok(saved) => {
                    heads.insert((row.tenant.clone(), gateway), saved);
                }
                Err(error) => tracing::error!(tenant = %row.tenant, %gateway, error,
                    "a rule stream cannot be read: the gateway's word counts alone"),
            }
        }
    }
    for row in of_streams {
        let Some((gateway, workflow)) = row.workflow[1..].split_once(STREAM) else {
            continue;
        };
        let Ok(gateway) = GatewayId::parse(gateway) else {
            continue;
        };
        if let Some(saved) = heads.get_mut(&(row.tenant.clone(), gateway)) {
            let restored = saved.judge.restore_row(&Row {
                device: row.device,
                workflow: (!workflow.is_empty()).then(|| workflow.to_owned()),
                bytes: row.bytes,
            });
            if restored.is_err() {
                saved.judge.lose();
            }
        }
    }
    heads.into_values().collect()
}

fn read(tenant: &TenantId, gateway: &GatewayId, bytes: &[u8]) -> Result<SavedStream, String> {
    let row: StreamRow = minicbor::decode(bytes).map_err(|error| error.to_string())?;
    Ok(SavedStream {
        tenant: tenant.clone(),
        gateway: gateway.clone(),
        judge: Judge::restore(&row.judge).map_err(|error| error.to_string())?,
        awaited: row.awaited.iter().map(|run| **run).collect(),
        wanted: row.definitions,
        definitions: BTreeMap::new(),
    })
}
