//! What records changed, gathered until the next commit.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use stencil_protocol::batch::DropReason;
use stencil_protocol::id::{Boot, DeviceId, GatewayId, TenantId};
use stencil_protocol::image::Fetch;
use stencil_protocol::sample::{OwnedValue, Sample};
use stencil_store::{
    Admission, AlarmChange, CommandStatus, Commit, DeviceImage, DeviceVerdict, GatewayHolds,
    GatewayRules, GatewaySaid, Given, KeyUsed, LinkSeen, Points, ProofChanges, Quarantined,
    RolloutHead, RuleState, SeriesPoint, SeriesPoints, Trigger, TwinUpdate,
};

use super::State;
use super::origin::Origin;
use super::state::Name;
use crate::desired;
use crate::metrics::CommitTally;

/// A device within its tenant.
pub(crate) type DeviceKey = (TenantId, DeviceId);

/// What one or more records changed. Points, triggers and the like are in log order; of a latest
/// value only the newest is kept.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) series: Vec<SeriesChange>,
    /// How many points are in there.
    pub(crate) points: usize,
    pub(crate) triggers: Vec<Trigger>,
    /// What gateways did by themselves about runs.
    pub(crate) given: Vec<Given>,
    /// What gateways say of the rules that are placed at them.
    pub(crate) gateway_rules: Vec<GatewayRules>,
    /// Alarms to raise and to clear, in log order.
    pub(crate) alarms: Vec<AlarmChange>,
    pub(crate) statuses: Vec<CommandStatus>,
    pub(crate) links: Vec<LinkSeen>,
    /// Devices that are refused from here on, or taken again.
    pub(crate) admissions: Vec<Admission>,
    /// What gateways hold of devices' keys.
    pub(crate) holds: Vec<GatewayHolds>,
    /// Keys that devices have used.
    pub(crate) keys_used: Vec<KeyUsed>,
    pub(crate) quarantined: Vec<Quarantined>,
    /// States of rules that the log told to forget or to begin.
    pub(crate) rule_states: Vec<RuleState>,
    /// Boots whose ledger changed; the ledgers themselves are in the state.
    pub(crate) ledgers: BTreeSet<(TenantId, DeviceId, Boot)>,
    /// The one that was noted last, by the device's serial number: mostly the next one, too.
    touched: Option<(u64, Boot)>,
    /// Points of devices that number nothing, not yet in the store.
    pub(crate) unnumbered: HashSet<(TenantId, DeviceId, String, i64)>,
    /// Gateways that have just heard of a device, and so can take its commands.
    pub(crate) reachable: BTreeSet<(TenantId, GatewayId)>,
    /// What changed of roll-outs; their states themselves are in the state.
    pub(crate) rollouts: BTreeMap<TenantId, stencil_rollout::Changes>,
    /// Roll-outs that could not begin.
    pub(crate) failed_rollouts: Vec<RolloutHead>,
    /// What devices said that they run.
    pub(crate) images: Vec<(TenantId, DeviceImage)>,
    /// What devices did not take, or went back from.
    pub(crate) verdicts: Vec<(TenantId, DeviceVerdict)>,
    /// What became of what was asked of roll-outs.
    pub(crate) answers: Vec<Answer>,
    /// Pieces of images that gateways ask for.
    pub(crate) fetches: Vec<(TenantId, GatewayId, Fetch)>,
    /// What gateways say that they are like.
    pub(crate) gateways: Vec<GatewaySaid>,
    /// Pieces of desired states that gateways ask for.
    pub(crate) texts_asked: Vec<desired::Asked>,
    /// Certificates that gateways ask to have renewed.
    pub(crate) renewals: Vec<desired::RenewalAsked>,
    /// Seals, and what they are over.
    pub(crate) proofs: ProofChanges,
    /// For the counters.
    pub(crate) tally: Tally,
}

/// What became of what was asked of a roll-out: which question, and why not.
pub(crate) type Answer = ([u8; 16], Result<(), stencil_rollout::Refusal>);

/// What samples of one name of one device changed.
#[derive(Debug)]
pub(crate) struct SeriesChange {
    /// The device's serial number.
    serial: u64,
    points: SeriesPoints,
    /// The newest value, if one of the points is that.
    twin: Option<TwinUpdate>,
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
    /// Notes that a ledger has to be committed.
    pub(crate) fn touched(&mut self, key: &DeviceKey, serial: u64, boot: Boot) {
        if self.touched != Some((serial, boot)) {
            self.touched = Some((serial, boot));
            self.ledgers.insert((key.0.clone(), key.1.clone(), boot));
        }
    }

    /// Takes in a sample that is stored, whether it is the newest of its name, and how far behind its
    /// time its point is.
    pub(super) fn take(
        &mut self,
        origin: &Origin<'_>,
        key: &DeviceKey,
        serial: u64,
        name: &mut Name,
        sample: &Sample<'_>,
        (newest, apart_us): (bool, i64),
    ) {
        let held = self.series.get(name.place);
        if held.is_none_or(|held| held.serial != serial || *held.points.name != *name.name) {
            name.place = self.series.len();
            self.series.push(SeriesChange {
                serial,
                points: SeriesPoints {
                    tenant: key.0.clone(),
                    device: key.1.clone(),
                    name: name.name.to_string(),
                    unit: None,
                    points: Vec::new(),
                },
                twin: None,
            });
        }
        // It is there: found, or made just now.
        let SeriesChange { points, twin, .. } = &mut self.series[name.place];
        let value = OwnedValue::from(sample.value);
        if newest {
            match twin {
                Some(twin) => renew(twin, origin, sample, &value),
                None => *twin = Some(first_twin(origin, key, sample, &value)),
            }
        }
        if let Some(unit) = sample.unit {
            same_text(&mut points.unit, unit);
        }
        points.points.push(SeriesPoint {
            time_us: sample.time_us.saturating_add(apart_us),
            value,
        });
        self.points += 1;
    }

    /// The transaction that makes all of this durable together with the log position up to which
    /// it is complete, and what is to be told when it is.
    pub(crate) fn into_commit(mut self, state: &mut State, position: u64) -> (Commit, Aftermath) {
        state.save_all_rules(&mut self.rule_states);
        let mut alarms = state.take_orphans();
        alarms.append(&mut self.alarms);
        let mut points = Vec::with_capacity(self.series.len());
        let mut twins = Vec::with_capacity(self.series.len());
        for series in std::mem::take(&mut self.series) {
            points.push(series.points);
            twins.extend(series.twin);
        }
        let rollouts = state.rollouts.rows(&mut self);
        let of = |(tenant, changed): (TenantId, stencil_rollout::Changes)| {
            let gateways = changed.gateways.into_iter().flatten();
            gateways.map(move |gateway| (tenant.clone(), gateway))
        };
        let wanted = std::mem::take(&mut self.rollouts)
            .into_iter()
            .flat_map(of)
            .collect();
        let commit = Commit {
            position,
            rollouts,
            ledgers: self
                .ledgers
                .iter()
                .filter_map(|key| state.ledger_row(key))
                .collect(),
            twins,
            points: Points::from(points),
            rule_states: self.rule_states,
            triggers: self.triggers,
            given: self.given,
            gateway_rules: self.gateway_rules,
            alarms,
            quarantined: self.quarantined,
            statuses: self.statuses,
            links: self.links,
            admissions: self.admissions,
            holds: self.holds,
            gateways: self.gateways,
            keys_used: self.keys_used,
            proofs: self.proofs,
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
                wanted,
                answers: self.answers,
                fetches: self.fetches,
                texts_asked: self.texts_asked,
                renewals: self.renewals,
                tally: self.tally,
                held: Held {
                    devices: state.devices(),
                    alarms: state.alarms(),
                },
            },
        )
    }
}

fn first_twin(
    origin: &Origin<'_>,
    key: &DeviceKey,
    sample: &Sample<'_>,
    value: &OwnedValue,
) -> TwinUpdate {
    TwinUpdate {
        tenant: key.0.clone(),
        device: key.1.clone(),
        gateway: origin.gateway().cloned(),
        name: sample.name.to_owned(),
        value: value.clone(),
        unit: sample.unit.map(str::to_owned),
        time_us: sample.time_us,
        received_us: origin.received_us,
        link: Some(origin.link.clone()),
    }
}

/// Puts a newer value in the place of the one before; mostly nothing else is different.
fn renew(twin: &mut TwinUpdate, origin: &Origin<'_>, sample: &Sample<'_>, value: &OwnedValue) {
    twin.value = value.clone();
    twin.time_us = sample.time_us;
    twin.received_us = origin.received_us;
    match sample.unit {
        Some(unit) => same_text(&mut twin.unit, unit),
        None => twin.unit = None,
    }
    if twin.gateway.as_ref() != origin.gateway() {
        twin.gateway = origin.gateway().cloned();
    }
    if twin.link.as_ref() != Some(origin.link) {
        twin.link = Some(origin.link.clone());
    }
}

fn same_text(held: &mut Option<String>, text: &str) {
    if held.as_deref() != Some(text) {
        *held = Some(text.to_owned());
    }
}

/// What is told once a commit is durable.
#[derive(Debug)]
pub(crate) struct Aftermath {
    /// Gateways that have just heard of a device, and so can take its commands.
    pub(crate) reachable: BTreeSet<(TenantId, GatewayId)>,
    /// Gateways whose devices are to run other images now.
    pub(crate) wanted: BTreeSet<(TenantId, GatewayId)>,
    /// What became of what was asked of roll-outs.
    pub(crate) answers: Vec<Answer>,
    /// Pieces of images that gateways ask for.
    pub(crate) fetches: Vec<(TenantId, GatewayId, Fetch)>,
    /// Pieces of desired states that gateways ask for.
    pub(crate) texts_asked: Vec<desired::Asked>,
    /// Certificates that gateways ask to have renewed.
    pub(crate) renewals: Vec<desired::RenewalAsked>,
    tally: Tally,
    held: Held,
}

/// What the state held when the commit was made up.
#[derive(Debug)]
struct Held {
    devices: usize,
    alarms: usize,
}

impl Aftermath {
    /// For the counters.
    pub(crate) fn tally(&self, position: u64, started: u64, at_us: i64) -> CommitTally {
        CommitTally {
            records: self.tally.records,
            stored: self.tally.stored,
            duplicate: self.tally.duplicate,
            dropped: self.tally.dropped.clone(),
            quarantined: self.tally.quarantined,
            started,
            alarms_raised: self.tally.alarms_raised,
            alarms_cleared: self.tally.alarms_cleared,
            alarms_active: self.held.alarms as u64,
            devices: self.held.devices as u64,
            position,
            at_us,
        }
    }
}
