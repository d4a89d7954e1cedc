//! What records changed, gathered until the next commit.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use stencil_protocol::batch::DropReason;
use stencil_protocol::id::{Boot, DeviceId, GatewayId, TenantId};
use stencil_store::{
    AlarmChange, CommandStatus, Commit, LinkSeen, Point, Quarantined, RuleState, Trigger,
    TwinUpdate,
};

use super::State;
use crate::metrics::CommitTally;

/// A device within its tenant.
pub(crate) type DeviceKey = (TenantId, DeviceId);

/// What one or more records changed. Points, triggers and the like are in log order; of a latest
/// value only the newest is kept.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) points: Vec<Point>,
    pub(crate) triggers: Vec<Trigger>,
    /// Alarms to raise and to clear, in log order.
    pub(crate) alarms: Vec<AlarmChange>,
    pub(crate) statuses: Vec<CommandStatus>,
    pub(crate) links: Vec<LinkSeen>,
    pub(crate) quarantined: Vec<Quarantined>,
    /// States of rules that the log told to forget or to begin.
    pub(crate) rule_states: Vec<RuleState>,
    pub(crate) twins: BTreeMap<(TenantId, DeviceId, String), TwinUpdate>,
    /// Boots whose ledger changed; the ledgers themselves are in the state.
    pub(crate) ledgers: BTreeSet<(TenantId, DeviceId, Boot)>,
    /// Tenants whose rules saw something.
    pub(crate) observed: BTreeSet<TenantId>,
    /// Points of devices that number nothing, not yet in the store.
    pub(crate) unnumbered: HashSet<(TenantId, DeviceId, String, i64)>,
    /// Gateways that have just heard of a device, and so can take its commands.
    pub(crate) reachable: BTreeSet<(TenantId, GatewayId)>,
    /// For the counters.
    pub(crate) tally: Tally,
}

/// How many of each; grows with each record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) records: u64,
    pub(crate) stored: u64,
    pub(crate) duplicate: u64,
    pub(crate) dropped: BTreeMap<DropReason, u64>,
    pub(crate) quarantined: u64,
    pub(crate) alarms_raised: u64,
    pub(crate) alarms_cleared: u64,
}

impl Changes {
    /// Keeps the newest value of a name by event time; of two of the same time the later one.
    pub(crate) fn twin(&mut self, update: TwinUpdate) {
        let key = (
            update.tenant.clone(),
            update.device.clone(),
            update.name.clone(),
        );
        match self.twins.get(&key) {
            Some(held) if held.time_us > update.time_us => {}
            _ => {
                self.twins.insert(key, update);
            }
        }
    }

    /// The transaction that makes all of this durable together with the log position up to which
    /// it is complete, and what is to be told when it is.
    pub(crate) fn into_commit(mut self, state: &mut State, position: u64) -> (Commit, Aftermath) {
        for tenant in &self.observed {
            state.save_rules(tenant, &mut self.rule_states);
        }
        let mut alarms = state.take_orphans();
        alarms.append(&mut self.alarms);
        let commit = Commit {
            position,
            ledgers: self
                .ledgers
                .iter()
                .filter_map(|key| state.ledger_row(key))
                .collect(),
            twins: self.twins.into_values().collect(),
            points: self.points,
            rule_states: self.rule_states,
            triggers: self.triggers,
            alarms,
            quarantined: self.quarantined,
            statuses: self.statuses,
            links: self.links,
        };
        for change in &commit.alarms {
            match change {
                AlarmChange::Raised(_) => self.tally.alarms_raised += 1,
                AlarmChange::Cleared(_) => self.tally.alarms_cleared += 1,
            }
        }
        (
            commit,
            Aftermath {
                reachable: self.reachable,
                tally: self.tally,
            },
        )
    }
}

/// What is told once a commit is durable.
#[derive(Debug)]
pub(crate) struct Aftermath {
    /// Gateways that have just heard of a device, and so can take its commands.
    pub(crate) reachable: BTreeSet<(TenantId, GatewayId)>,
    tally: Tally,
}

impl Aftermath {
    /// For the counters.
    pub(crate) fn tally(
        &self,
        state: &State,
        position: u64,
        started: u64,
        at_us: i64,
    ) -> CommitTally {
        CommitTally {
            records: self.tally.records,
            stored: self.tally.stored,
            duplicate: self.tally.duplicate,
            dropped: self.tally.dropped.clone(),
            quarantined: self.tally.quarantined,
            started,
            alarms_raised: self.tally.alarms_raised,
            alarms_cleared: self.tally.alarms_cleared,
            alarms_active: state.alarms() as u64,
            devices: state.devices() as u64,
            position,
            at_us,
        }
    }
}
