//! After a commit: wakes those who wait for it, and shows it to those who watch.

use std::collections::BTreeSet;

use stencil_protocol::id::TenantId;
use stencil_store::{ActiveAlarm, AlarmChange, AlarmEventKind, Commit, Committed, GatewayRekeyed};

use super::changes::Aftermath;
use super::driver::Driver;
use crate::{Live, LiveEvent};

/// Tells of one commit.
pub(super) fn all(
    commit: &Commit,
    aftermath: &Aftermath,
    committed: &Committed,
    Driver {
        live,
        wakes,
        links,
        clock,
        refused,
        rollouts,
        desires,
        ..
    }: &Driver,
) {
    let now_us = clock.now_us();
    let series = commit.points.series();
    for of_tenant in series.chunk_by(|a, b| a.tenant == b.tenant) {
        if let Some(first) = of_tenant.first() {
            let points: usize = of_tenant.iter().map(|series| series.points.len()).sum();
            live.rates().add(&first.tenant, points as u64, now_us);
        }
    }
    if committed.started > 0 || committed.woken > 0 {
        wakes.runner();
    }
    for GatewayRekeyed {
        tenant,
        gateway,
        added_again,
    } in &committed.rekeyed
    {
        match added_again {
            true => tracing::info!(%tenant, %gateway, "a gateway that was added again has another \
                key: its devices' keys are sealed to that"),
            false => tracing::warn!(%tenant, %gateway, "a gateway has another key than before \
                without having been added again, and its devices' keys are sealed to that: if it \
                was not set up anew, somebody else has its certificate"),
        }
    }
    for admission in &commit.admissions {
        refused.set(&admission.tenant, &admission.device, admission.refused);
    }
    if !(commit.holds.is_empty() && commit.admissions.is_empty() && commit.keys_used.is_empty()) {
        wakes.keys();
    }
    for (tenant, gateway) in &aftermath.reachable {
        wakes.gateway(tenant, gateway);
    }
    rollouts.answer(&aftermath.answers);
    for (tenant, gateway) in &aftermath.wanted {
        rollouts.wanted(tenant, gateway);
    }
    for (tenant, gateway, fetch) in &aftermath.fetches {
        rollouts.fetch(tenant, gateway, *fetch);
    }
    if !commit.gateways.is_empty() {
        desires.changed();
    }
    for asked in &aftermath.texts_asked {
        desires.fetch(asked.clone());
    }
    for asked in &aftermath.renewals {
        desires.renew(asked.clone());
    }
    if !live.is_watched() {
        return;
    }
    for (tenant, rollout) in rolled(commit) {
        let rollout = stencil_rollout::Id(rollout);
        live.send(tenant, LiveEvent::Rollout { rollout });
    }
    for twin in &commit.twins {
        let event = LiveEvent::Reading {
            device: twin.device.clone(),
            name: twin.name.clone(),
            value: twin.value.clone(),
            unit: twin.unit.clone(),
            time_us: twin.time_us,
            post_quantum: twin.link.as_ref().is_some_and(|link| link.post_quantum),
        };
        live.send(&twin.tenant, event);
    }
    for link in &commit.links {
        let event = LiveEvent::Link {
            device: link.device.clone(),
            gateway: link.gateway.clone(),
            // Unless its gateway has gone since.
            connected: link.connected
                && links.stands(&link.tenant, link.gateway.as_ref(), Some(link.received_us)),
            at_us: link.at_us,
        };
        live.send(&link.tenant, event);
    }
    for trigger in &commit.triggers {
        let event = LiveEvent::Run {
            run: trigger.run,
            workflow: trigger.workflow.clone(),
            at_us: trigger.at_us,
        };
        live.send(&trigger.tenant, event);
    }
    for change in &commit.alarms {
        let (tenant, event) = alarm(change);
        live.send(tenant, event);
    }
    for status in &commit.statuses {
        let event = LiveEvent::Command {
            command: status.command,
            state: status.state,
            at_us: status.at_us,
        };
        live.send(&status.tenant, event);
    }
}

/// The roll-outs that a commit changed, each once.
fn rolled(commit: &Commit) -> BTreeSet<(&TenantId, [u8; 16])> {
    let rollouts = &commit.rollouts;
    let heads = rollouts.heads.iter().map(|head| (&head.tenant, head.id));
    let devices = rollouts.devices.iter().map(|(tenant, id, _)| (tenant, *id));
    heads.chain(devices).collect()
}

/// Tells of alarms that are gone with the device or tenant that they were of.
pub(super) fn gone(alarms: &[ActiveAlarm], at_us: i64, live: &Live) {
    for alarm in alarms {
        let event = LiveEvent::Alarm {
            alarm: alarm.id,
            workflow: alarm.workflow.clone(),
            device: alarm.device.clone(),
            severity: alarm.severity,
            state: AlarmEventKind::Cleared,
            at_us,
        };
        live.send(&alarm.tenant, event);
    }
}

fn alarm(change: &AlarmChange) -> (&TenantId, LiveEvent) {
    let (tenant, alarm, workflow, device, severity, state, at_us) = match change {
        AlarmChange::Raised(it) => (
            &it.tenant,
            it.id,
            &it.workflow,
            &it.device,
            it.severity,
            AlarmEventKind::Raised,
            it.at_us,
        ),
        AlarmChange::Cleared(it) => (
            &it.tenant,
            it.id,
            &it.workflow,
            &it.device,
            it.severity,
            AlarmEventKind::Cleared,
            it.at_us,
        ),
    };
    let event = LiveEvent::Alarm {
        alarm,
        workflow: workflow.clone(),
        device: device.clone(),
        severity,
        state,
        at_us,
    };
    (tenant, event)
}
