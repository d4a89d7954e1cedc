//! What a gateway says that its rules told, and what it did; and what the judge here has found.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use stencil_edge::{Done, Told};
use stencil_protocol::command::{Command, State as CommandState};
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_protocol::sample::OwnedValue;
use stencil_rules::Change;
use stencil_store::{CommandStatus, Given, NewCommand, RunId};
use stencil_workflow::Definition;
use stencil_workflow::definition::{Action, Otherwise};

use super::super::changes::Changes;
use super::super::origin::Origin;
use super::{Around, Early, MAX_SPOKEN, Stream};

/// How much longer than its command may take a firing waits for its gateway's word.
const GRACE_US: i64 = 10_000_000;
/// The most firings of one gateway of which it is remembered that its word is awaited.
const MAX_AWAITED: usize = 256;

impl Stream {
    /// What the gateway says that a rule told, and what it did.
    pub(super) fn told(
        &mut self,
        origin: &Origin<'_>,
        gateway: &GatewayId,
        (told, number): (&Told, u64),
        extra: &[Definition],
        is_new: bool,
        around: &mut Around<'_, '_>,
    ) -> Result<(), String> {
        let held = self.definitions.get(&told.workflow);
        let held = held.filter(|(_, held)| held.version == told.version);
        let held = held.cloned();
        let (since, definition) = match &held {
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
        // Where the stream is not followed words may come in another order: of a rule and a device
        // the one with the highest number counts.
        let counts = !follows && self.counts(told, number);
        let firing = match told.change {
            Change::Fired(firing) => firing,
            Change::Cleared(clearing) => {
                if counts {
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
        if counts {
            let raised = stencil_workflow::raised(tenant, definition, since, device, seen, &firing);
            if let Some(raised) = raised {
                around.alarms.raise(raised, &mut around.changes.alarms);
            }
        }
        // Nothing new, where the hub has found it before.
        let trigger = stencil_workflow::trigger(tenant, definition, device, seen, &firing);
        around.changes.triggers.push(trigger);
        if let Some(command) = &given.command {
            self.changed |= self.take_early(command, around.changes);
        }
        around.changes.given.push(given);
        Ok(())
    }

    /// Whether this is the newest word on its rule and device; it is noted.
    fn counts(&mut self, told: &Told, number: u64) -> bool {
        let key = (told.workflow.clone(), told.device.clone());
        let before = self.spoken.get(&key).copied();
        if before.is_some_and(|before| number <= before)
            || (before.is_none() && self.spoken.len() >= MAX_SPOKEN)
        {
            return false;
        }
        self.spoken.insert(key, number);
        self.changed = true;
        true
    }

    /// What the device has said of a command before the hub knew of it.
    fn take_early(&mut self, command: &NewCommand, changes: &mut Changes) -> bool {
        let is_of =
            |early: &Early| early.status.command == command.id && early.device == command.device;
        let (of, others) = std::mem::take(&mut self.early)
            .into_iter()
            .partition::<VecDeque<_>, _>(is_of);
        self.early = others;
        let any = !of.is_empty();
        changes
            .statuses
            .extend(of.into_iter().map(|early| early.status));
        any
    }
}

/// What the judge has found: a run that waits for its gateway's word, and an alarm or its end.
pub(super) fn found(
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
