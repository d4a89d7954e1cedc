//! The pure middle of the pipeline: one record, in log order, changes the state.

use std::sync::Arc;

use stencil_protocol::id::TenantId;
use stencil_rollout::Event;

use super::changes::Changes;
use super::decode::Message;
use super::known::Known;
use super::origin::Origin;
use super::quarantine::Quarantine;
use super::rollouts::Starting;
use super::{State, numbered, refused, reports, rollouts, seals, unnumbered};
use crate::ingest::{Activation, Admission, Ask, GatewayGone, Step};

/// Applies one publication. Deterministic: the same state, record and answers give the same
/// changes; nothing is asked of a clock, a disk or a network.
pub(super) fn publication(
    origin: &Origin<'_>,
    message: &Message<'_>,
    known: Known,
    state: &mut State,
    changes: &mut Changes,
) {
    changes.tally.records += 1;
    if let Some(device) = message.of_device()
        && state.is_refused(origin.tenant, device)
    {
        refused::publication(origin, message, device, known, state, changes);
        if let Message::Judged(device, at, batch) = message {
            let rules = state.rules(origin.tenant);
            rules.judged(origin, device, *at, batch, false, changes);
        }
        return;
    }
    rollouts::publication(origin, message, state, changes);
    match message {
        Message::Batch(device, batch) => {
            let brought = numbered::batch(origin, device, batch, known, state, changes);
            seals::keep(origin, device, batch, &brought, state, changes);
        }
        Message::Judged(device, at, batch) => {
            let brought = numbered::batch(origin, device, batch, known, state, changes);
            seals::keep(origin, device, batch, &brought, state, changes);
            let rules = state.rules(origin.tenant);
            rules.judged(origin, device, *at, batch, true, changes);
        }
        Message::Stream(gateway, record) => {
            reports::stream(origin, gateway, record, known, state, changes);
        }
        Message::Unnumbered(device, parsed) => {
            unnumbered::telemetry(origin, device, parsed, &known, state, changes);
        }
        Message::Status(device, status) => {
            reports::status(origin, device, status, &known, state, changes);
        }
        Message::Loss(report) => reports::loss(origin, report, known, state, changes),
        Message::Link(event) => reports::link(origin, event, changes),
        Message::Holds(gateway, holds) => reports::holds(origin, gateway, holds, changes),
        Message::KeyUsed(used) => reports::key_used(origin, used, changes),
        Message::Image(told) => rollouts::told(origin, told, changes),
        Message::Fetch(gateway, fetch) => reports::fetch(origin, gateway, *fetch, changes),
        Message::Renew(gateway, renew) => reports::renew(origin, gateway, renew, changes),
        Message::Said(gateway, said) => reports::said(origin, gateway, said, changes),
        Message::Seals(gateway, record) => seals::told(origin, gateway, record, state, changes),
        Message::Malformed(device, reason) => {
            let mut quarantine = Quarantine::new(origin, device.as_ref());
            quarantine.put(changes, None, reason);
            quarantine.finish(changes);
        }
    }
}

/// Refuses a device from here on, or takes it again.
pub(super) fn admission(
    admission: &Admission,
    received_us: i64,
    state: &mut State,
    changes: &mut Changes,
) {
    changes.tally.records += 1;
    let Admission {
        tenant,
        device,
        refused,
    } = admission.clone();
    state.refuse(&tenant, &device, refused);
    let event = match refused {
        true => Event::Revoked {
            device: device.clone(),
        },
        false => Event::Admitted {
            device: device.clone(),
        },
    };
    let rollouts = &mut state.rollouts;
    rollouts.happens(&tenant, &event, received_us, changes);
    changes.admissions.push(stencil_store::Admission {
        tenant,
        device,
        refused,
    });
}

/// Lets time pass for the rules that wait for something not to happen.
pub(super) fn tick(at_us: i64, state: &mut State, changes: &mut Changes) {
    changes.tally.records += 1;
    state.advance(at_us, changes);
    state.rollouts.happens_to_all(&Event::Tick, at_us, changes);
}

/// Begins a roll-out with the devices that were known when it was asked for, or does what else is
/// asked of one.
pub(super) fn asked(
    ask: &Ask,
    starting: Option<Starting>,
    received_us: i64,
    state: &mut State,
    changes: &mut Changes,
) {
    changes.tally.records += 1;
    if let (Step::Start(linked), Some(starting)) = (&ask.what, starting) {
        state.start_rollout(&ask.tenant, starting, linked, received_us, changes);
    }
    state.rollouts.ask(ask, received_us, changes);
}

/// A gateway is cut off, or all are.
pub(super) fn gateway_gone(
    gone: &GatewayGone,
    received_us: i64,
    state: &mut State,
    changes: &mut Changes,
) {
    changes.tally.records += 1;
    let rollouts = &mut state.rollouts;
    match &gone.of {
        None => {
            let event = Event::GatewayGone { gateway: None };
            rollouts.happens_to_all(&event, received_us, changes);
        }
        Some((tenant, gateway)) => {
            let gateway = Some(gateway.clone());
            let event = Event::GatewayGone { gateway };
            rollouts.happens(tenant, &event, received_us, changes);
        }
    }
}

/// Puts a workflow version in force, or takes the workflow out of force. All records before this
/// one were judged by what was in force then, all after it are judged by this.
pub(super) fn activation(
    activation: &Activation<'_>,
    position: u64,
    received_us: i64,
    known: Known,
    state: &mut State,
    changes: &mut Changes,
) {
    changes.tally.records += 1;
    let tenant: &TenantId = &activation.tenant;
    // What the old rule remembers of records before this one belongs into the same commit, and is
    // gone from memory afterwards.
    state.save_rules(tenant, &mut changes.rule_states);
    let rules = state.rules(tenant);
    let done = match (activation.version, known.definition) {
        (None, _) => {
            rules.deactivate(tenant, activation.workflow, received_us, changes);
            Ok(())
        }
        (Some(_), Some(definition)) => {
            let definition = Arc::new(definition);
            rules.activate(tenant, definition, position, received_us, changes)
        }
        (Some(_), None) => Err("the version is not in the store".to_owned()),
    };
    match done {
        Ok(()) => {
            tracing::info!(%tenant, workflow = activation.workflow, version = activation.version,
                position, "workflow version in force");
        }
        Err(why) => {
            tracing::error!(%tenant, workflow = activation.workflow, version = activation.version,
                position, why, "workflow version not in force");
        }
    }
}
