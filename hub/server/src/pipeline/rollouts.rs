//! Roll-outs in the pipeline: what devices say, in the order of the log, and what follows.
//!
//! The machines are [`stencil_rollout`]'s. Here they are told what the log says, and what that
//! changed goes into the same commit as the log's position.

use std::collections::HashMap;

use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_protocol::image::{Told, What};
use stencil_rollout::{Digest, Event, Fleet, Id, Member, Phase, Plan, Refusal, Report, Rollout};
use stencil_store::{
    Candidate, DeviceImage, DeviceVerdict, OpenRollout, RolloutChange, RolloutDevice, RolloutHead,
    RolloutNotice, StoredRollout,
};

use super::changes::Changes;
use super::decode::Message;
use super::origin::Origin;
use super::quarantine::Quarantine;
use super::state::State;
use crate::ingest::{Ask, Step};

/// The roll-outs of all tenants that are not over.
#[derive(Debug, Default)]
pub(super) struct Rollouts {
    fleets: HashMap<TenantId, Fleet>,
}

/// What a roll-out that is to begin needs of the store.
#[derive(Debug)]
pub(super) struct Starting {
    pub(super) stored: StoredRollout,
    pub(super) candidates: Vec<Candidate>,
}

impl Rollouts {
    /// Puts those in force that were so at the last commit. Those that had not begun are not among
    /// them: they are asked to begin again.
    pub(crate) fn restore(&mut self, open: Vec<OpenRollout>) {
        for (tenant, stored, devices) in open {
            let Some(head) = &stored.head else { continue };
            let id = Id(stored.id);
            match restored(&stored, head, devices) {
                Ok(rollout) => self.fleets.entry(tenant).or_default().restore(rollout),
                Err(why) => {
                    tracing::error!(%tenant, rollout = %id, why, "a roll-out cannot be read");
                }
            }
        }
    }

    /// There is one that is not over.
    pub(super) fn any(&self) -> bool {
        !self.fleets.is_empty()
    }

    /// This tenant has one that is not over.
    pub(super) fn of(&self, tenant: &TenantId) -> bool {
        !self.fleets.is_empty() && self.fleets.contains_key(tenant)
    }

    /// All that has to be asked to begin: which are under way is known.
    pub(crate) fn has(&self, tenant: &TenantId, id: &Id) -> bool {
        let fleet = self.fleets.get(tenant);
        fleet.is_some_and(|fleet| fleet.rollout(id).is_some())
    }

    /// Takes in what happened to a tenant's devices.
    pub(super) fn happens(
        &mut self,
        tenant: &TenantId,
        event: &Event,
        at_us: i64,
        changes: &mut Changes,
    ) {
        if let Some(fleet) = self.fleets.get_mut(tenant) {
            let changed = changes.rollouts.entry(tenant.clone()).or_default();
            fleet.apply(event, at_us, changed);
        }
    }

    /// Takes in what happened to all.
    pub(super) fn happens_to_all(&mut self, event: &Event, at_us: i64, changes: &mut Changes) {
        for (tenant, fleet) in &mut self.fleets {
            let changed = changes.rollouts.entry(tenant.clone()).or_default();
            fleet.apply(event, at_us, changed);
        }
    }

    /// Begins a roll-out, once.
    pub(super) fn start(
        &mut self,
        tenant: &TenantId,
        starting: Starting,
        linked: &[GatewayId],
        is_refused: impl Fn(&DeviceId) -> bool,
        at_us: i64,
        changes: &mut Changes,
    ) {
        let id = Id(starting.stored.id);
        let began = begun(starting, linked, is_refused, at_us).and_then(|rollout| {
            let devices: Vec<DeviceId> = rollout.members().map(|(it, _)| it.clone()).collect();
            let changed = changes.rollouts.entry(tenant.clone()).or_default();
            let fleet = self.fleets.entry(tenant.clone()).or_default();
            let added = fleet.add(rollout, at_us, changed);
            added.map_err(|error| error.to_string())?;
            let devices = devices.into_iter().map(|device| (id, device));
            changed.members.extend(devices);
            Ok(())
        });
        match began {
            Ok(()) => tracing::info!(%tenant, rollout = %id, "a roll-out has begun"),
            Err(why) => {
                // It was checked when it was asked for; what is wrong came up since.
                tracing::error!(%tenant, rollout = %id, why, "a roll-out cannot begin");
                changes.failed_rollouts.push(RolloutHead {
                    tenant: tenant.clone(),
                    id: id.0,
                    status: "failed".to_owned(),
                    is_over: true,
                    head: serde_json::json!({ "why": why }).to_string(),
                    changed_us: at_us,
                });
                self.drop_if_empty(tenant);
            }
        }
    }

    /// Does what somebody asks of a roll-out that has begun.
    pub(super) fn ask(&mut self, ask: &Ask, at_us: i64, changes: &mut Changes) {
        let id = Id(ask.rollout);
        let changed = changes.rollouts.entry(ask.tenant.clone()).or_default();
        let answer = match self.fleets.get_mut(&ask.tenant) {
            None => Err(Refusal::Unknown),
            Some(fleet) => match ask.what {
                Step::Start(_) => Ok(()),
                Step::Pause => fleet.pause(&id, at_us, changed),
                Step::Resume => fleet.resume(&id, at_us, changed),
                Step::Retry => fleet.retry(&id, at_us, changed),
                Step::Abort => fleet.abort(&id, at_us, changed),
            },
        };
        changes.answers.push((ask.question, answer));
    }

    /// Forgets a device that is erased.
    pub(super) fn forget_device(&mut self, tenant: &TenantId, device: &DeviceId) {
        if let Some(fleet) = self.fleets.get_mut(tenant) {
            fleet.forget(device);
        }
    }

    /// Forgets a tenant that is erased.
    pub(super) fn forget_tenant(&mut self, tenant: &TenantId) {
        self.fleets.remove(tenant);
    }

    /// The rows of what changed; lets go of what is over.
    pub(super) fn rows(&mut self, changes: &mut Changes) -> RolloutChange {
        let mut rows = RolloutChange {
            images: std::mem::take(&mut changes.images),
            verdicts: std::mem::take(&mut changes.verdicts),
            heads: std::mem::take(&mut changes.failed_rollouts),
            ..RolloutChange::default()
        };
        for (tenant, changed) in &changes.rollouts {
            let Some(fleet) = self.fleets.get_mut(tenant) else {
                continue;
            };
            for id in &changed.heads {
                if let Some(rollout) = fleet.rollout(id) {
                    rows.heads.push(head_row(tenant, rollout));
                }
            }
            for (id, device) in &changed.members {
                let member = fleet.rollout(id).and_then(|rollout| rollout.member(device));
                if let Some(member) = member {
                    rows.devices
                        .push((tenant.clone(), id.0, device_row(device, member)));
                }
            }
            for (id, at_us, notice) in &changed.notices {
                let body = serde_json::json!(notice).to_string();
                let notice = RolloutNotice {
                    at_us: *at_us,
                    body,
                };
                rows.notices.push((tenant.clone(), id.0, notice));
            }
            // One that ends with its last device has had no change of its own since.
            for id in fleet.let_go_of_over(&mut rows, tenant) {
                tracing::info!(%tenant, rollout = %id, "a roll-out is over");
            }
        }
        let tenants: Vec<TenantId> = changes.rollouts.keys().cloned().collect();
        for tenant in &tenants {
            self.drop_if_empty(tenant);
        }
        rows
    }

    fn drop_if_empty(&mut self, tenant: &TenantId) {
        if self.fleets.get(tenant).is_some_and(Fleet::is_empty) {
            self.fleets.remove(tenant);
        }
    }
}

/// Letting go with a last row: whether it is over is in the row, too.
trait LetGo {
    fn let_go_of_over(&mut self, rows: &mut RolloutChange, tenant: &TenantId) -> Vec<Id>;
}

impl LetGo for Fleet {
    fn let_go_of_over(&mut self, rows: &mut RolloutChange, tenant: &TenantId) -> Vec<Id> {
        let over = self.rollouts().filter(|rollout| rollout.is_over());
        let last: Vec<RolloutHead> = over.map(|rollout| head_row(tenant, rollout)).collect();
        rows.heads.extend(last);
        self.let_go()
    }
}

/// What follows from a publication for roll-outs.
pub(super) fn publication(
    origin: &Origin<'_>,
    message: &Message<'_>,
    state: &mut State,
    changes: &mut Changes,
) {
    if !state.rollouts.of(origin.tenant) {
        return;
    }
    let event = match message {
        // What a gateway says by itself does not show that the device is on.
        Message::Status(..) if origin.own_word().is_some() => return,
        Message::Batch(device, _)
        | Message::Judged(device, ..)
        | Message::Unnumbered(device, _)
        | Message::Status(device, _) => heard(origin, device),
        Message::Link(event) => match event.event {
            stencil_protocol::report::Link::Connected { .. } => heard(origin, &event.device),
            stencil_protocol::report::Link::Disconnected => Event::Gone {
                device: event.device.clone(),
            },
        },
        Message::Image(told) => image_event(origin, told),
        _ => return,
    };
    let rollouts = &mut state.rollouts;
    rollouts.happens(origin.tenant, &event, origin.received_us, changes);
}

/// What a device says of an image: what it runs, and what it does not take, also outside of a
/// roll-out.
pub(super) fn told(origin: &Origin<'_>, told: &Told, changes: &mut Changes) {
    if let What::GaveUp { digest, reason } = &told.what {
        let verdict = DeviceVerdict {
            device: told.device.clone(),
            digest: *digest,
            reason: reason.clone(),
            reported_us: origin.received_us,
        };
        changes.verdicts.push((origin.tenant.clone(), verdict));
    }
    let What::Runs {
        digest,
        sequence,
        class,
        trial,
        version,
    } = &told.what
    else {
        return;
    };
    if i64::try_from(*sequence).is_err() {
        let mut quarantine = Quarantine::new(origin, Some(&told.device));
        let why = format!("the sequence number {sequence} is beyond what can be kept");
        quarantine.put(changes, Some("sequence".to_owned()), why);
        return quarantine.finish(changes);
    }
    let image = DeviceImage {
        device: told.device.clone(),
        gateway: origin.gateway().cloned(),
        digest: *digest,
        sequence: *sequence,
        class: class.clone(),
        version: version.clone(),
        trial: *trial,
        reported_us: origin.received_us,
    };
    changes.images.push((origin.tenant.clone(), image));
}

fn heard(origin: &Origin<'_>, device: &DeviceId) -> Event {
    Event::Heard {
        device: device.clone(),
        gateway: origin.gateway().cloned(),
    }
}

fn image_event(origin: &Origin<'_>, told: &Told) -> Event {
    let device = told.device.clone();
    match &told.what {
        What::Runs {
            digest,
            sequence,
            class,
            trial,
            ..
        } => Event::Report(Report {
            device,
            gateway: origin.gateway().cloned(),
            digest: Digest(*digest),
            sequence: *sequence,
            class: class.clone(),
            trial: *trial,
        }),
        What::Has { digest, have, of } => {
            let percent = u64::from(*have) * 100 / u64::from((*of).max(1));
            Event::Progress {
                device,
                digest: Digest(*digest),
                percent: u8::try_from(percent).unwrap_or(100).min(100),
            }
        }
        What::Installs { digest } => Event::Installed {
            device,
            digest: Digest(*digest),
        },
        What::GaveUp { digest, reason } => Event::Failed {
            device,
            digest: Digest(*digest),
            reason: reason.clone(),
        },
    }
}

fn restored(
    stored: &StoredRollout,
    head: &str,
    devices: Vec<RolloutDevice>,
) -> Result<Rollout, String> {
    let text = |error: serde_json::Error| error.to_string();
    let plan: Plan = serde_json::from_str(&stored.plan).map_err(text)?;
    let head = serde_json::from_str(head).map_err(text)?;
    let mut members = Vec::with_capacity(devices.len());
    for row in devices {
        let member: Member = serde_json::from_str(&row.body).map_err(text)?;
        members.push((row.device, member));
    }
    let rollout = Rollout::restore(Id(stored.id), plan, head, members);
    rollout.map_err(|error| error.to_string())
}

fn begun(
    starting: Starting,
    linked: &[GatewayId],
    is_refused: impl Fn(&DeviceId) -> bool,
    at_us: i64,
) -> Result<Rollout, String> {
    let plan: Plan =
        serde_json::from_str(&starting.stored.plan).map_err(|error| error.to_string())?;
    let text = |error: stencil_rollout::Error| error.to_string();
    let mut rollout = Rollout::new(Id(starting.stored.id), plan).map_err(text)?;
    for candidate in starting.candidates {
        let report = candidate.image.map(|image| Report {
            device: image.device,
            gateway: image.gateway,
            digest: Digest(image.digest),
            sequence: image.sequence,
            class: image.class,
            trial: image.trial,
        });
        let gateway = candidate.gateway.as_ref();
        let on = candidate.connected && gateway.is_none_or(|gateway| linked.contains(gateway));
        rollout
            .expect(&candidate.device, gateway, on, report.as_ref(), at_us)
            .map_err(text)?;
        if is_refused(&candidate.device) {
            rollout.leave_out(&candidate.device, at_us);
        }
    }
    Ok(rollout)
}

fn head_row(tenant: &TenantId, rollout: &Rollout) -> RolloutHead {
    let head = rollout.head();
    RolloutHead {
        tenant: tenant.clone(),
        id: rollout.id().0,
        status: head.status.as_str().to_owned(),
        is_over: rollout.is_over(),
        head: serde_json::json!(head).to_string(),
        changed_us: head.changed_us(),
    }
}

fn device_row(device: &DeviceId, member: &Member) -> RolloutDevice {
    RolloutDevice {
        device: device.clone(),
        gateway: member.gateway.clone(),
        phase: member.phase.as_str().to_owned(),
        percent: match member.phase {
            Phase::Downloading { percent } => Some(percent),
            _ => None,
        },
        detail: member.detail().map(str::to_owned),
        since_us: member.since_us,
        body: serde_json::json!(member).to_string(),
    }
}
