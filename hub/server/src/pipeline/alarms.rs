//! The alarms of one tenant that are active: of a workflow and a device at most one.

use std::collections::BTreeMap;

use stencil_protocol::id::DeviceId;
use stencil_store::{ActiveAlarm, AlarmChange, Cleared, Raised};

/// What is active, by workflow and device.
#[derive(Debug, Default)]
pub(super) struct Active {
    by_workflow: BTreeMap<String, BTreeMap<DeviceId, ActiveAlarm>>,
    count: usize,
}

impl Active {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Puts one back that was active at the last commit.
    pub(super) fn restore(&mut self, alarm: ActiveAlarm) {
        let devices = self.by_workflow.entry(alarm.workflow.clone()).or_default();
        let held = devices.insert(alarm.device.clone(), alarm);
        self.count += usize::from(held.is_none());
    }

    /// Raises one, unless one of the same workflow and device is active.
    pub(super) fn raise(&mut self, raised: Raised, changes: &mut Vec<AlarmChange>) {
        let devices = self.by_workflow.entry(raised.workflow.clone()).or_default();
        if devices.contains_key(&raised.device) {
            return;
        }
        let alarm = ActiveAlarm {
            id: raised.id,
            tenant: raised.tenant.clone(),
            workflow: raised.workflow.clone(),
            device: raised.device.clone(),
            severity: raised.severity,
        };
        devices.insert(raised.device.clone(), alarm);
        self.count += 1;
        changes.push(AlarmChange::Raised(raised));
    }

    /// Clears the one of a workflow and a device, if it is active.
    pub(super) fn clear(
        &mut self,
        workflow: &str,
        device: &DeviceId,
        at_us: i64,
        why: impl FnOnce() -> String,
        changes: &mut Vec<AlarmChange>,
    ) {
        let Some(devices) = self.by_workflow.get_mut(workflow) else {
            return;
        };
        let Some(alarm) = devices.remove(device) else {
            return;
        };
        if devices.is_empty() {
            self.by_workflow.remove(workflow);
        }
        self.count -= 1;
        changes.push(cleared(alarm, at_us, why()));
    }

    /// Clears all of a workflow.
    pub(super) fn clear_workflow(
        &mut self,
        workflow: &str,
        at_us: i64,
        why: &str,
        changes: &mut Vec<AlarmChange>,
    ) {
        let devices = self.by_workflow.remove(workflow).unwrap_or_default();
        self.count -= devices.len();
        let all = devices.into_values();
        changes.extend(all.map(|alarm| cleared(alarm, at_us, why.to_owned())));
    }

    /// Clears those of a workflow whose device is one of these.
    pub(super) fn clear_where(
        &mut self,
        workflow: &str,
        which: impl Fn(&DeviceId) -> bool,
        at_us: i64,
        why: &str,
        changes: &mut Vec<AlarmChange>,
    ) {
        let devices = self.by_workflow.get(workflow).into_iter();
        let devices: Vec<DeviceId> = devices
            .flat_map(BTreeMap::keys)
            .filter(|device| which(device))
            .cloned()
            .collect();
        for device in devices {
            self.clear(workflow, &device, at_us, || why.to_owned(), changes);
        }
    }

    /// Lets go of those of a device.
    pub(super) fn forget_device(&mut self, device: &DeviceId) -> Vec<ActiveAlarm> {
        let mut gone = Vec::new();
        self.by_workflow.retain(|_, devices| {
            gone.extend(devices.remove(device));
            !devices.is_empty()
        });
        self.count -= gone.len();
        gone
    }

    /// Lets go of all.
    pub(super) fn forget_all(&mut self) -> Vec<ActiveAlarm> {
        self.count = 0;
        let all = std::mem::take(&mut self.by_workflow);
        all.into_values().flat_map(BTreeMap::into_values).collect()
    }
}

/// The end of an alarm.
pub(super) fn cleared(alarm: ActiveAlarm, at_us: i64, why: String) -> AlarmChange {
    AlarmChange::Cleared(Cleared {
        id: alarm.id,
        tenant: alarm.tenant,
        workflow: alarm.workflow,
        device: alarm.device,
        severity: alarm.severity,
        at_us,
        why,
    })
}
