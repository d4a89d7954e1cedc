//! What the pipeline holds in memory, a function of the log and nothing else.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use stencil_protocol::id::{Boot, DeviceId, GatewayId, TenantId};
use stencil_protocol::ledger::BootLedger;
use stencil_rules::SubjectId;
use stencil_store::{ActiveAlarm, AlarmChange, Erased, Loaded, RuleState};
use stencil_workflow::Definition;

use super::alarms;
use super::changes::{Changes, DeviceKey};
use super::rollouts::{Rollouts, Starting};
use super::rules::{InForce, Restored, Rules};
use super::streams::SavedStream;
use crate::PipelineOptions;

/// Ledgers, newest times and rules of all tenants.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) bounds: Arc<PipelineOptions>,
    pub(super) max_rules: usize,
    devices: HashMap<DeviceKey, Device>,
    /// The serial number of the next device.
    next_serial: u64,
    /// Whether some device has more boots in the store.
    more_boots: bool,
    /// Tenants of which devices were erased: there may be ledgers in the store that say nothing but
    /// that, also of a device that is not known.
    erased: HashSet<TenantId>,
    /// Devices that are refused.
    refused: HashSet<DeviceKey>,
    /// Gateways that seal what their devices say.
    sealing: HashSet<(TenantId, GatewayId)>,
    /// How many devices each tenant has.
    counts: HashMap<TenantId, usize>,
    rules: HashMap<TenantId, Rules>,
    /// Ends of alarms whose rules could not be restored.
    orphans: Vec<AlarmChange>,
    pub(super) rollouts: Rollouts,
}

/// What is held of one device.
#[derive(Debug, Default)]
pub(super) struct Device {
    /// No other device that this state has ever held has the same.
    pub(super) serial: u64,
    /// Ledgers of boots, of all or of those that were heard of last.
    pub(super) boots: BTreeMap<Boot, BootLedger>,
    /// The boots of committed ledgers, the one that was heard of last at the end: a boot's number
    /// does not say when it was.
    heard: Vec<Boot>,
    /// Whether the store may have other boots than these.
    more_boots: bool,
    /// The names of its samples.
    pub(super) names: Names,
}

/// The sample names of one device.
#[derive(Debug, Default)]
pub(super) struct Names {
    list: Vec<Name>,
    by_name: HashMap<Box<str>, usize>,
    /// The one that was asked for last: mostly the next one, too.
    recent: usize,
}

/// What is held of one name of a device.
#[derive(Debug, Default)]
pub(super) struct Name {
    pub(super) name: Box<str>,
    /// The newest event time.
    pub(super) newest_us: i64,
    /// The rules' handle of it.
    pub(super) subject: Option<SubjectId>,
    /// Where its points were put last; whether they are there still is for `changes` to say.
    pub(super) place: usize,
}

/// A device with what its samples meet.
pub(super) struct Admitted<'a> {
    pub(super) device: &'a mut Device,
    /// The rules of its tenant, if it has any.
    pub(super) rules: Option<&'a mut Rules>,
    pub(super) bounds: &'a PipelineOptions,
}

impl State {
    /// An empty state: that of a new hub.
    pub(crate) fn new(bounds: PipelineOptions, max_rules: usize) -> Self {
        Self {
            bounds: Arc::new(bounds),
            max_rules,
            devices: HashMap::new(),
            next_serial: 1,
            more_boots: false,
            erased: HashSet::new(),
            refused: HashSet::new(),
            sealing: HashSet::new(),
            counts: HashMap::new(),
            rules: HashMap::new(),
            orphans: Vec::new(),
            rollouts: Rollouts::default(),
        }
    }

    /// The state as of the last commit, without rules ([`State::restore_rules`]).
    pub(crate) fn load(bounds: PipelineOptions, max_rules: usize, loaded: &Loaded) -> Self {
        let mut state = Self::new(bounds, max_rules);
        state.refused = loaded.refused.iter().cloned().collect();
        state.sealing = loaded.sealing.iter().cloned().collect();
        for (tenant, device, boot, ledger) in &loaded.ledgers {
            // What was erased counts for no device, and stays in the store until it is asked for.
            if ledger.is_erased() {
                state.note_erased(tenant);
                continue;
            }
            let device = state.loaded((tenant.clone(), device.clone()));
            device.boots.insert(*boot, ledger.clone());
        }
        for twin in &loaded.twins {
            let device = state.loaded((twin.tenant.clone(), twin.device.clone()));
            device.names.make(&twin.name).newest_us = twin.time_us;
        }
        for ((tenant, _), device) in &mut state.devices {
            let full = device.boots.len() >= state.bounds.max_boots;
            device.more_boots = full || state.erased.contains(tenant);
            state.more_boots |= device.more_boots;
        }
        for (tenant, _) in state.devices.keys() {
            *state.counts.entry(tenant.clone()).or_default() += 1;
        }
        state
    }

    /// Puts the rules in force that were so at the last commit, with their states and alarms.
    /// Returns how many of the saved states could not be read (those devices start afresh).
    ///
    /// An alarm whose rule cannot go on where it was would never end by itself; the next commit
    /// clears it, at `now_us`.
    pub(crate) fn restore_rules(
        &mut self,
        in_force: Vec<InForce>,
        saved: &[RuleState],
        alarms: Vec<ActiveAlarm>,
        now_us: i64,
    ) -> usize {
        for one in in_force {
            self.rules(&one.tenant.clone()).restore_rule(one);
        }
        let (mut unreadable, mut back) = (0, HashSet::new());
        for state in saved {
            let Some(rules) = self.rules.get_mut(&state.tenant) else {
                continue;
            };
            match rules.restore_state(state) {
                Restored::Back => {
                    back.insert((&state.tenant, state.workflow.as_str(), &state.device));
                }
                Restored::OfAnother => {}
                Restored::Unreadable => unreadable += 1,
            }
        }
        for alarm in alarms {
            if back.contains(&(&alarm.tenant, alarm.workflow.as_str(), &alarm.device)) {
                self.rules(&alarm.tenant.clone()).restore_alarm(alarm);
            } else {
                let why = "what its rule remembered of the device was lost".to_owned();
                self.orphans.push(alarms::cleared(alarm, now_us, why));
            }
        }
        unreadable
    }

    /// Forgets a device, or a tenant with all of its devices and rules; returns the alarms that
    /// were active. To be called when the store has erased it and nothing is uncommitted.
    pub(crate) fn forget(&mut self, erased: &Erased) -> Vec<ActiveAlarm> {
        match erased {
            Erased::Device(tenant, device) => {
                self.note_erased(tenant);
                if self
                    .devices
                    .remove(&(tenant.clone(), device.clone()))
                    .is_some()
                    && let Some(count) = self.counts.get_mut(tenant)
                {
                    *count -= 1;
                }
                self.rollouts.forget_device(tenant, device);
                let rules = self.rules.get_mut(tenant);
                rules.map_or_else(Vec::new, |rules| rules.forget_device(device))
            }
            Erased::Tenant(tenant) => {
                self.devices.retain(|(of, _), _| of != tenant);
                self.refused.retain(|(of, _)| of != tenant);
                self.sealing.retain(|(of, _)| of != tenant);
                self.counts.remove(tenant);
                self.erased.remove(tenant);
                self.rollouts.forget_tenant(tenant);
                let rules = self.rules.remove(tenant);
                rules.map_or_else(Vec::new, Rules::into_alarms)
            }
        }
    }

    /// Whether what a device sends is refused.
    pub(super) fn is_refused(&self, tenant: &TenantId, device: &DeviceId) -> bool {
        // Mostly nobody is: nothing is copied to find that out.
        !self.refused.is_empty() && self.refused.contains(&(tenant.clone(), device.clone()))
    }

    /// Refuses a device from now on, or takes it again.
    pub(super) fn refuse(&mut self, tenant: &TenantId, device: &DeviceId, refused: bool) {
        let key = (tenant.clone(), device.clone());
        if refused {
            self.refused.insert(key);
        } else {
            self.refused.remove(&key);
        }
    }

    /// Whether a gateway seals what its devices say.
    pub(super) fn seals(&self, tenant: &TenantId, gateway: &GatewayId) -> bool {
        // Mostly none does: nothing is copied to find that out.
        !self.sealing.is_empty() && self.sealing.contains(&(tenant.clone(), gateway.clone()))
    }

    /// It does from now on, or does not any more.
    pub(super) fn set_seals(&mut self, tenant: &TenantId, gateway: &GatewayId, seals: bool) {
        let key = (tenant.clone(), gateway.clone());
        if seals {
            self.sealing.insert(key);
        } else {
            self.sealing.remove(&key);
        }
    }

    /// Begins a roll-out, without the devices that are refused.
    pub(super) fn start_rollout(
        &mut self,
        tenant: &TenantId,
        starting: Starting,
        linked: &[GatewayId],
        at_us: i64,
        changes: &mut Changes,
    ) {
        let refused = &self.refused;
        let is_refused = |device: &DeviceId| refused.contains(&(tenant.clone(), device.clone()));
        let rollouts = &mut self.rollouts;
        rollouts.start(tenant, starting, linked, is_refused, at_us, changes);
    }

    /// Devices that are refused.
    pub(crate) fn refused(&self) -> impl Iterator<Item = &DeviceKey> {
        self.refused.iter()
    }

    /// Alarms that the next commit has to clear, whatever else it holds.
    pub(super) fn take_orphans(&mut self) -> Vec<AlarmChange> {
        std::mem::take(&mut self.orphans)
    }

    /// How many alarms are active.
    pub(super) fn alarms(&self) -> usize {
        self.rules.values().map(Rules::alarms).sum()
    }

    /// Whether a rule in force, or a roll-out, must be told the time.
    pub(crate) fn waits(&self) -> bool {
        self.rollouts.any() || self.rules.values().any(Rules::waits)
    }

    /// Whether there is a roll-out that is not over.
    pub(crate) fn rolls_out(&self) -> bool {
        self.rollouts.any()
    }

    /// Whether this roll-out has begun and is not over.
    pub(crate) fn has_rollout(&self, tenant: &TenantId, id: [u8; 16]) -> bool {
        self.rollouts.has(tenant, &stencil_rollout::Id(id))
    }

    fn loaded(&mut self, key: DeviceKey) -> &mut Device {
        self.devices.entry(key).or_insert_with(|| {
            self.next_serial += 1;
            Device::new(self.next_serial - 1)
        })
    }

    /// The device, made at its first word; the reason when there are as many as are allowed.
    pub(super) fn admit(&mut self, key: &DeviceKey) -> Result<Admitted<'_>, String> {
        let known = self.devices.len();
        let device = match self.devices.entry(key.clone()) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(place) => {
                let (max, max_tenant) = (self.bounds.max_devices, self.bounds.max_tenant_devices);
                let count = self.counts.entry(key.0.clone()).or_default();
                if known >= max {
                    return Err(format!("the hub knows {max} devices, which is the limit"));
                }
                if *count >= max_tenant {
                    return Err(format!(
                        "the tenant has {max_tenant} devices, which is the limit"
                    ));
                }
                *count += 1;
                self.next_serial += 1;
                let device = place.insert(Device::new(self.next_serial - 1));
                device.more_boots = self.erased.contains(&key.0);
                device
            }
        };
        Ok(Admitted {
            device,
            rules: self.rules.get_mut(&key.0),
            bounds: &self.bounds,
        })
    }

    /// Notes that the store may have ledgers of this tenant that belong to no known device.
    fn note_erased(&mut self, tenant: &TenantId) {
        self.more_boots = true;
        if self.erased.contains(tenant) {
            return;
        }
        self.erased.insert(tenant.clone());
        for ((of, _), device) in &mut self.devices {
            device.more_boots |= of == tenant;
        }
    }

    /// Whether the ledger of a boot of this device may be in the store but is not at hand.
    pub(super) fn must_fetch(&self, key: &DeviceKey, boot: Boot) -> bool {
        match self.devices.get(key) {
            Some(held) => held.must_fetch(boot),
            None => self.erased.contains(&key.0),
        }
    }

    /// The device, if it is known.
    pub(super) fn known_device(&self, key: &DeviceKey) -> Option<&Device> {
        self.devices.get(key)
    }

    /// The rules of a tenant.
    pub(super) fn rules(&mut self, tenant: &TenantId) -> &mut Rules {
        let (max_rules, max_ahead_us) = (self.max_rules, max_ahead_us(&self.bounds));
        self.rules
            .entry(tenant.clone())
            .or_insert_with(|| Rules::new(max_rules, max_ahead_us))
    }

    /// The definition by which a gateway judges a workflow's rule.
    pub(super) fn judged_by(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        workflow: &str,
    ) -> Option<&Definition> {
        self.rules.get(tenant)?.judged_by(gateway, workflow)
    }

    /// Puts the streams of gateways back that were there at the last commit.
    pub(crate) fn restore_streams(&mut self, saved: Vec<SavedStream>) {
        for one in saved {
            self.rules(&one.tenant.clone()).restore_stream(one);
        }
    }

    /// Tells the rules of all tenants how late it is.
    pub(super) fn advance(&mut self, at_us: i64, changes: &mut Changes) {
        for rules in self.rules.values_mut() {
            rules.advance(at_us, changes);
        }
    }

    /// The version in force of each workflow of each tenant.
    pub(crate) fn in_force(&self) -> impl Iterator<Item = (&TenantId, &str, u32)> {
        self.rules.iter().flat_map(|(tenant, rules)| {
            rules
                .in_force()
                .map(move |(workflow, version)| (tenant, workflow, version))
        })
    }

    /// A ledger as it is committed.
    pub(super) fn ledger_row(
        &self,
        key: &(TenantId, DeviceId, Boot),
    ) -> Option<(TenantId, DeviceId, Boot, BootLedger)> {
        let (tenant, device, boot) = key;
        let held = self.devices.get(&(tenant.clone(), device.clone()))?;
        let ledger = held.boots.get(boot)?.clone();
        Some((tenant.clone(), device.clone(), *boot, ledger))
    }

    /// Adds the changed states of all rules to a commit. What changed is asked of the rules
    /// themselves: a window that was judged without an alarm is not to be judged again, either.
    pub(super) fn save_all_rules(&mut self, out: &mut Vec<RuleState>) {
        for (tenant, rules) in &mut self.rules {
            rules.save(tenant, out);
        }
    }

    /// Adds the changed states of a tenant's rules to a commit.
    pub(super) fn save_rules(&mut self, tenant: &TenantId, out: &mut Vec<RuleState>) {
        if let Some(rules) = self.rules.get_mut(tenant) {
            rules.save(tenant, out);
        }
    }

    /// Notes of which boots was heard last. Names the devices that hold more of them than the bound.
    pub(super) fn hear(
        &mut self,
        committed: &[(TenantId, DeviceId, Boot, BootLedger)],
    ) -> Vec<DeviceKey> {
        let mut crowded = Vec::new();
        for (tenant, device, boot, _) in committed {
            let key = (tenant.clone(), device.clone());
            if let Some(held) = self.devices.get_mut(&key) {
                held.hear(*boot);
                if held.boots.len() > self.bounds.max_boots {
                    crowded.push(key);
                }
            }
        }
        crowded
    }

    /// Lets go of the boots of these devices that were not heard of for longest, beyond the bound;
    /// the store has them. To be called after the commit of all changes, never before.
    pub(super) fn let_go(&mut self, crowded: Vec<DeviceKey>) {
        for key in crowded {
            if let Some(held) = self.devices.get_mut(&key) {
                held.trim(self.bounds.max_boots);
                self.more_boots |= held.more_boots;
            }
        }
    }

    /// Whether some device may have ledgers in the store that are not at hand.
    pub(super) fn has_more_boots(&self) -> bool {
        self.more_boots
    }

    /// How many devices are known.
    pub(crate) fn devices(&self) -> usize {
        self.devices.len()
    }
}

/// The bound on how far a sample's time may be ahead of its receipt, in µs.
pub(super) fn max_ahead_us(bounds: &PipelineOptions) -> i64 {
    i64::try_from(bounds.max_ahead_s.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}

impl Names {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The newest event time of a name.
    pub(super) fn newest_us(&self, name: &str) -> Option<i64> {
        let place = self.by_name.get(name)?;
        self.list.get(*place).map(|held| held.newest_us)
    }

    /// Whether the name came before.
    pub(super) fn contains(&mut self, name: &str) -> bool {
        if self
            .list
            .get(self.recent)
            .is_some_and(|held| *held.name == *name)
        {
            return true;
        }
        match self.by_name.get(name) {
            Some(place) => {
                self.recent = *place;
                true
            }
            None => false,
        }
    }

    /// The name, made if it comes first: then there is no newest time before its own.
    pub(super) fn make(&mut self, name: &str) -> &mut Name {
        if !self.contains(name) {
            self.recent = self.list.len();
            self.by_name.insert(Box::from(name), self.recent);
            self.list.push(Name {
                name: Box::from(name),
                newest_us: i64::MIN,
                ..Name::default()
            });
        }
        // It is there: found, or made just now.
        &mut self.list[self.recent]
    }
}

impl Device {
    fn new(serial: u64) -> Self {
        Self {
            serial,
            ..Self::default()
        }
    }

    /// Whether the ledger of `boot` may be in the store but is not at hand.
    fn must_fetch(&self, boot: Boot) -> bool {
        self.more_boots && !self.boots.contains_key(&boot)
    }

    fn hear(&mut self, boot: Boot) {
        if self.heard.last() != Some(&boot) {
            self.heard.retain(|other| *other != boot);
            self.heard.push(boot);
        }
    }

    fn trim(&mut self, max_boots: usize) {
        if self.boots.len() <= max_boots {
            return;
        }
        let excess = self.boots.len() - max_boots;
        // First those that were loaded or fetched, and never changed.
        let unheard = self.boots.keys().filter(|boot| !self.heard.contains(boot));
        let mut gone: Vec<Boot> = unheard.take(excess).copied().collect();
        gone.extend(self.heard.drain(..excess - gone.len()));
        for boot in gone {
            self.boots.remove(&boot);
        }
        self.more_boots = true;
    }
}
