//! What gateways and devices tell besides samples: commands' states, losses, links.

use stencil_crypto::suite::Suite;
use stencil_edge::Record;
use stencil_protocol::command::Status;
use stencil_protocol::desired::Said;
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_protocol::image::Fetch;
use stencil_protocol::keys::{Holds, Used};
use stencil_protocol::line::Line;
use stencil_protocol::renewal::Renew;
use stencil_protocol::report::{Link, LinkEvent, LossReport};
use stencil_store::{CommandStatus, GatewayHolds, GatewaySaid, KeyUsed, LinkInfo, LinkSeen};

use super::State;
use super::changes::Changes;
use super::known::Known;
use super::numbered;
use super::origin::Origin;
use super::quarantine::Quarantine;

/// A command's state, if the command is this device's.
pub(super) fn status(
    origin: &Origin<'_>,
    device: &DeviceId,
    status: &Status<'_>,
    known: &Known,
    state: &mut State,
    changes: &mut Changes,
) {
    // One that its gateway gave by itself may not be in the store yet.
    let given = changes
        .given
        .iter()
        .filter_map(|given| given.command.as_ref());
    let mut given = given.filter(|it| it.tenant == *origin.tenant && it.id == status.id);
    let of = given.next_back().map(|it| it.device.clone());
    let said = || CommandStatus {
        tenant: origin.tenant.clone(),
        command: status.id,
        state: status.state,
        at_us: origin.moment(status.at_us),
        detail: status.detail.map(str::to_owned),
        gateway: origin.own_word(),
    };
    let why = match of.as_ref().or(known.command_device.as_ref()) {
        Some(of) if of == device => return changes.statuses.push(said()),
        Some(_) => format!("command {} is not one of this device", status.id),
        None => {
            let rules = state.rules(origin.tenant);
            if let Some(gateway) = origin.gateway()
                && rules.keep_early(gateway, device, said())
            {
                return;
            }
            format!("there is no command {}", status.id)
        }
    };
    reject(origin, device, changes, why);
}

/// What a gateway's spool had to give up.
pub(super) fn loss(
    origin: &Origin<'_>,
    report: &LossReport,
    known: Known,
    state: &mut State,
    changes: &mut Changes,
) {
    let mut quarantine = Quarantine::new(origin, Some(&report.device));
    let key = (origin.tenant.clone(), report.device.clone());
    let mut dropped = report.dropped.iter();
    if state.known_device(&key).is_none()
        && dropped.all(|dropped| known.has_erased(report.boot, dropped.last()))
    {
        return;
    }
    let max_spans = state.bounds.max_ledger_spans;
    let held = match state.admit(&key) {
        Ok(admitted) => admitted.device,
        Err(why) => {
            quarantine.put(changes, None, why);
            return quarantine.finish(changes);
        }
    };
    numbered::fetched(held, known);
    let ledger = held.boots.entry(report.boot).or_default();
    for dropped in &report.dropped {
        if let Err(why) = numbered::drop_range(ledger, dropped, max_spans, changes) {
            quarantine.put(changes, Some("dropped".to_owned()), why);
        }
    }
    changes.touched(&key, held.serial, report.boot);
    quarantine.finish(changes);
}

/// A record of a gateway's rule stream.
pub(super) fn stream(
    origin: &Origin<'_>,
    gateway: &GatewayId,
    record: &Record,
    known: Known,
    state: &mut State,
    changes: &mut Changes,
) {
    let taken = if origin.gateway() == Some(gateway) {
        let rules = state.rules(origin.tenant);
        rules.stream(origin, gateway, record, known.definitions, changes)
    } else {
        Err(format!(
            "it is about gateway {gateway}, which did not send it"
        ))
    };
    if let Err(why) = taken {
        let mut quarantine = Quarantine::new(origin, None);
        quarantine.put(changes, None, why);
        quarantine.finish(changes);
    }
}

/// A link that came or went, as its own gateway says.
pub(super) fn link(origin: &Origin<'_>, event: &LinkEvent, changes: &mut Changes) {
    let Some(gateway) = origin.gateway().filter(|own| **own == event.gateway) else {
        let why = format!(
            "the event names gateway {}, which did not send it",
            event.gateway
        );
        return reject(origin, &event.device, changes, why);
    };
    let (connected, link) = match event.event {
        Link::Connected { suite } => {
            changes
                .reachable
                .insert((origin.tenant.clone(), gateway.clone()));
            let line = Line::from_id(suite);
            let suite = Suite::from_id(suite);
            let name = suite.map(Suite::name).or(line.map(Line::name));
            let link = LinkInfo {
                suite: name.map(str::to_owned),
                group: origin.link.group.clone(),
                post_quantum: origin.hub_hop
                    && (suite.is_some_and(Suite::post_quantum)
                        || line.is_some_and(Line::post_quantum)),
            };
            (true, Some(link))
        }
        Link::Disconnected => (false, None),
    };
    changes.links.push(LinkSeen {
        tenant: origin.tenant.clone(),
        device: event.device.clone(),
        gateway: Some(gateway.clone()),
        at_us: origin.moment(event.at_us),
        received_us: origin.received_us,
        connected,
        link,
    });
}

/// What a gateway holds of devices' keys, as it says itself.
pub(super) fn holds(
    origin: &Origin<'_>,
    gateway: &GatewayId,
    holds: &Holds,
    changes: &mut Changes,
) {
    if origin.gateway() != Some(gateway) {
        let why = format!("it is about gateway {gateway}, which did not send it");
        let mut quarantine = Quarantine::new(origin, None);
        quarantine.put(changes, None, why);
        return quarantine.finish(changes);
    }
    changes.holds.push(GatewayHolds {
        tenant: origin.tenant.clone(),
        gateway: gateway.clone(),
        epoch: holds.epoch,
        revision: holds.revision,
        public_key: holds.public_key.clone(),
        received_us: origin.received_us,
    });
}

/// A device has used a key, as its gateway says. The store takes the word of the one that has its keys
/// from the hub, and of no other.
pub(super) fn key_used(origin: &Origin<'_>, used: &Used, changes: &mut Changes) {
    let Some(gateway) = origin.gateway() else {
        let why = "which key a device has used is its gateway's to say".to_owned();
        return reject(origin, &used.device, changes, why);
    };
    changes.keys_used.push(KeyUsed {
        tenant: origin.tenant.clone(),
        gateway: gateway.clone(),
        device: used.device.clone(),
        generation: used.generation,
        at_us: origin.moment(used.at_us),
    });
}

/// A piece of an image that a gateway asks for.
pub(super) fn fetch(origin: &Origin<'_>, gateway: &GatewayId, fetch: Fetch, changes: &mut Changes) {
    if origin.gateway() != Some(gateway) {
        let why = format!("it is about gateway {gateway}, which did not send it");
        let mut quarantine = Quarantine::new(origin, None);
        quarantine.put(changes, None, why);
        return quarantine.finish(changes);
    }
    let fetch = (origin.tenant.clone(), gateway.clone(), fetch);
    changes.fetches.push(fetch);
}

/// A gateway asks for the successor of its certificate.
pub(super) fn renew(
    origin: &Origin<'_>,
    gateway: &GatewayId,
    renew: &Renew,
    changes: &mut Changes,
) {
    if origin.gateway() != Some(gateway) {
        let why = format!("it is about gateway {gateway}, which did not send it");
        let mut quarantine = Quarantine::new(origin, None);
        quarantine.put(changes, None, why);
        return quarantine.finish(changes);
    }
    let asked = (origin.tenant.clone(), gateway.clone(), renew.clone());
    changes.renewals.push(asked);
}

/// What a gateway says of itself.
pub(super) fn said(origin: &Origin<'_>, gateway: &GatewayId, said: &Said, changes: &mut Changes) {
    if origin.gateway() != Some(gateway) {
        let why = format!("it is about gateway {gateway}, which did not send it");
        let mut quarantine = Quarantine::new(origin, None);
        quarantine.put(changes, None, why);
        return quarantine.finish(changes);
    }
    match said {
        Said::State(state) => changes.gateways.push(GatewaySaid {
            tenant: origin.tenant.clone(),
            gateway: gateway.clone(),
            state: state.clone(),
            link: LinkInfo {
                suite: None,
                group: origin.link.group.clone(),
                post_quantum: origin.hub_hop,
            },
            received_us: origin.received_us,
        }),
        Said::Fetch { digest, offset } => {
            let asked = (origin.tenant.clone(), gateway.clone(), *digest, *offset);
            changes.texts_asked.push(asked);
        }
    }
}

fn reject(origin: &Origin<'_>, device: &DeviceId, changes: &mut Changes, why: String) {
    let mut quarantine = Quarantine::new(origin, Some(device));
    quarantine.put(changes, None, why);
    quarantine.finish(changes);
}
