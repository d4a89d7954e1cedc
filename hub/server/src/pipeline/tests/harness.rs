//! A pipeline over a store in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use stencil_protocol::batch::{DropReason, PreviousBoot};
use stencil_protocol::id::{Boot, DeviceId, GatewayId, Seq, TenantId};
use stencil_protocol::ledger::BootLedger;
use stencil_protocol::topic::Topic;
use stencil_store::{
    ActiveAlarm, AlarmChange, AlarmId, Candidate, Commit, Erased, Loaded, Quarantined, Raised,
    RolloutDevice, RolloutHead, RuleState, RunId, StoredRollout, Trigger, TwinUpdate,
};
use stencil_workflow::definition;

use super::super::changes::Changes;
use super::super::decode::Message;
use super::super::known::{Known, Questions};
use super::super::origin::{Origin, Sender};
use super::super::rollouts::Starting;
use super::super::rules::{self, InForce};
use super::super::{State, apply};
use crate::ingest::{
    Activation, Admission, Ask, Body, Erase, GatewayGone, Messages, Publication, Publications,
    Published, Record, Step, Transport,
};
use crate::{PipelineOptions, Principal, Role};

pub(super) const RECEIVED_US: i64 = 1_700_000_000_000_000;
const MAX_RULES: usize = 16;

/// A log record with what it needs to live.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Publish {
        from: Role,
        topic: String,
        payload: Vec<u8>,
    },
    Activate {
        workflow: String,
        version: Option<u32>,
    },
    /// Of a device.
    Erase(DeviceId),
    /// A device is refused from here on, or taken again.
    Admit(DeviceId, bool),
    /// That it is so late, µs.
    Tick(i64),
    /// Of the one roll-out, whose plan the harness holds.
    Rollout(Step),
    /// All of them.
    GatewaysGone,
}

/// The id of the one roll-out.
pub(super) const ROLLOUT: [u8; 16] = [9; 16];

/// An alarm as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Episode {
    pub(super) raised: Raised,
    /// When it ended, and why.
    pub(super) cleared: Option<(i64, String)>,
}

/// What survives a kill.
#[derive(Debug, Default, Clone)]
pub(super) struct Disk {
    pub(super) next: usize,
    pub(super) ledgers: BTreeMap<(DeviceId, Boot), BootLedger>,
    pub(super) twins: BTreeMap<(DeviceId, String), TwinUpdate>,
    pub(super) points: Vec<stencil_store::Point>,
    pub(super) rule_states: BTreeMap<(String, DeviceId), RuleState>,
    pub(super) triggers: BTreeMap<RunId, Trigger>,
    pub(super) alarms: BTreeMap<AlarmId, Episode>,
    pub(super) quarantined: Vec<Quarantined>,
    refused: BTreeMap<DeviceId, bool>,
    /// Gateways that seal.
    sealing: BTreeSet<(TenantId, GatewayId)>,
    /// What was kept for proofs.
    pub(super) batches: Vec<stencil_store::SealedBatch>,
    pub(super) rollout: Option<RolloutHead>,
    pub(super) rollout_devices: BTreeMap<DeviceId, RolloutDevice>,
    pub(super) notices: Vec<String>,
}

/// A pipeline that works through a log.
pub(super) struct Harness {
    pub(super) bounds: PipelineOptions,
    definitions: HashMap<(String, u32), String>,
    log: Vec<Bytes>,
    pub(super) disk: Disk,
    /// The plan of the roll-out, and the devices that it meets.
    pub(super) rollout: Option<(String, Vec<Candidate>)>,
    state: State,
    changes: Changes,
    next: usize,
    /// How many ledgers were asked of the store.
    pub(super) fetched: usize,
}

/// Bounds for readings whose times begin at 0.
pub(super) fn since_1970() -> PipelineOptions {
    PipelineOptions {
        min_time_s: 0,
        ..PipelineOptions::default()
    }
}

pub(super) fn tenant() -> TenantId {
    TenantId::parse("acme").unwrap()
}

pub(super) fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

pub(super) fn gateway() -> Role {
    Role::Gateway(GatewayId::parse("gw-1").unwrap())
}

impl Harness {
    pub(super) fn new(log: &[Entry]) -> Self {
        Self::with(log, since_1970(), &[])
    }

    pub(super) fn with(log: &[Entry], bounds: PipelineOptions, definitions: &[&str]) -> Self {
        let definitions = definitions
            .iter()
            .map(|yaml| {
                let definition = definition::parse(yaml).unwrap();
                ((definition.id, definition.version), (*yaml).to_owned())
            })
            .collect();
        let mut harness = Self {
            state: State::new(bounds.clone(), MAX_RULES),
            bounds,
            definitions,
            log: Vec::new(),
            disk: Disk::default(),
            rollout: None,
            changes: Changes::default(),
            next: 0,
            fetched: 0,
        };
        for entry in log {
            harness.append(entry);
        }
        harness
    }

    pub(super) fn append(&mut self, entry: &Entry) {
        let mut bytes = Vec::new();
        // Each at a time of its own, as a clock has it.
        let mut received_us = RECEIVED_US + i64::try_from(self.log.len()).unwrap();
        let mut messages = Messages::default();
        let body = match entry {
            Entry::Tick(at_us) => {
                received_us = *at_us;
                Body::Tick
            }
            Entry::Publish {
                from,
                topic,
                payload,
            } => {
                let from = Principal {
                    tenant: tenant(),
                    role: from.clone(),
                };
                let transport = Transport::Tls {
                    group: "X25519MLKEM768",
                    post_quantum: true,
                };
                let published = Published {
                    link_suite: None,
                    topic,
                    payload,
                };
                messages.push(&published);
                // Both forms, of which the first release wrote the one and we write the other.
                if self.log.len().is_multiple_of(2) {
                    Body::Publication(Publication::new(from, transport, &published))
                } else {
                    Body::Publications(Publications {
                        from,
                        transport,
                        messages: messages.as_bytes(),
                    })
                }
            }
            Entry::Rollout(what) => Body::Rollout(Ask {
                tenant: tenant(),
                rollout: ROLLOUT,
                what: what.clone(),
                question: [0; 16],
            }),
            Entry::GatewaysGone => Body::GatewayGone(GatewayGone { of: None }),
            Entry::Erase(device) => Body::Erase(Erase {
                tenant: tenant(),
                device: Some(device.clone()),
            }),
            Entry::Admit(device, refused) => Body::Admission(Admission {
                tenant: tenant(),
                device: device.clone(),
                refused: *refused,
            }),
            Entry::Activate { workflow, version } => Body::Activation(Activation {
                tenant: tenant(),
                workflow,
                version: *version,
            }),
        };
        Record { received_us, body }.encode_into(&mut bytes);
        self.log.push(bytes.into());
    }

    /// Applies the next `records` records without a commit.
    pub(super) fn apply(&mut self, records: usize) {
        for _ in 0..records {
            let Some(bytes) = self.log.get(self.next).cloned() else {
                return;
            };
            self.one(&bytes, self.next as u64);
            self.next += 1;
        }
    }

    /// Whether these bytes lie in a record of the log, and are no copy.
    pub(super) fn is_of_the_log(&self, bytes: &[u8]) -> bool {
        let of = |record: &Bytes| record.as_ptr_range().contains(&bytes.as_ptr());
        self.log.iter().any(of)
    }

    /// Whether a rule in force waits for the time.
    pub(super) fn waits(&self) -> bool {
        self.state.waits()
    }

    /// Applies what is left and commits.
    pub(super) fn finish(&mut self) -> &Disk {
        self.apply(self.log.len());
        self.commit();
        &self.disk
    }

    pub(super) fn commit(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        let (commit, _) = changes.into_commit(&mut self.state, self.next as u64);
        let crowded = self.state.hear(&commit.ledgers);
        self.state.let_go(crowded);
        self.disk.take(commit, self.next);
    }

    /// Forgets what was not committed, and goes on from the disk.
    pub(super) fn kill(&mut self) {
        assert_eq!(self.restart(), 0);
    }

    /// [`Self::kill`]; says how many states of rules could not be read.
    pub(super) fn restart(&mut self) -> usize {
        let disk = &self.disk;
        let loaded = Loaded {
            position: disk.next as u64,
            ledgers: newest_boots(disk, self.bounds.max_boots),
            rule_states: disk.rule_states.values().cloned().collect(),
            twins: disk.twins.values().cloned().collect(),
            alarms: Vec::new(),
            refused: disk
                .refused
                .iter()
                .filter(|(_, refused)| **refused)
                .map(|(device, _)| (tenant(), device.clone()))
                .collect(),
            sealing: disk.sealing.iter().cloned().collect(),
        };
        let alarms = disk.active().collect();
        let mut state = State::load(self.bounds.clone(), MAX_RULES, &loaded);
        let (rows, saved) = rules::split(loaded.rule_states);
        let in_force = rows
            .into_iter()
            .map(|(tenant, workflow, row)| InForce {
                tenant,
                definition: Arc::new(self.definition(&workflow, row.version)),
                since: row.since,
            })
            .collect();
        let unreadable = state.restore_rules(in_force, &saved, alarms, RECEIVED_US);
        if let (Some(head), Some((plan, _))) = (&self.disk.rollout, &self.rollout)
            && !head.is_over
        {
            let stored = stored(plan, Some(head.head.clone()));
            let devices = self.disk.rollout_devices.values().cloned().collect();
            state.rollouts.restore(vec![(tenant(), stored, devices)]);
        }
        self.state = state;
        self.changes = Changes::default();
        self.next = disk.next;
        unreadable
    }

    fn definition(&self, workflow: &str, version: u32) -> definition::Definition {
        definition::parse(&self.definitions[&(workflow.to_owned(), version)]).unwrap()
    }

    fn one(&mut self, bytes: &Bytes, position: u64) {
        let record = Record::decode(bytes).unwrap();
        match record.body {
            Body::Publication(one) => {
                let (from, at_us) = (&one.from, record.received_us);
                let mut sender = Sender::new(from, &one.transport, at_us, position, bytes);
                self.publication(&sender.origin(&one.published()));
            }
            Body::Publications(many) => {
                let (from, at_us) = (&many.from, record.received_us);
                let mut sender = Sender::new(from, &many.transport, at_us, position, bytes);
                for message in many.iter() {
                    self.publication(&sender.origin(&message.unwrap()));
                }
            }
            Body::Rollout(ask) => {
                let mut starting = None;
                if matches!(ask.what, Step::Start(_)) {
                    self.commit();
                    let (plan, candidates) = self.rollout.clone().expect("a plan");
                    starting = self.disk.rollout.is_none().then(|| Starting {
                        stored: stored(&plan, None),
                        candidates,
                    });
                }
                let (state, changes) = (&mut self.state, &mut self.changes);
                apply::asked(&ask, starting, record.received_us, state, changes);
            }
            Body::GatewayGone(gone) => {
                let (state, changes) = (&mut self.state, &mut self.changes);
                apply::gateway_gone(&gone, record.received_us, state, changes);
            }
            Body::Tick => apply::tick(record.received_us, &mut self.state, &mut self.changes),
            Body::Erase(erase) => self.erase(erase),
            Body::Admission(admission) => {
                let (state, changes) = (&mut self.state, &mut self.changes);
                apply::admission(&admission, record.received_us, state, changes);
            }
            Body::Activation(activation) => {
                let definition = activation
                    .version
                    .map(|version| self.definition(activation.workflow, version));
                let known = Known {
                    definition,
                    ..Known::default()
                };
                apply::activation(
                    &activation,
                    position,
                    record.received_us,
                    known,
                    &mut self.state,
                    &mut self.changes,
                );
            }
        }
    }

    /// As the driver does: what is before it is committed, then the store erases, then the state.
    fn erase(&mut self, erase: Erase) {
        self.commit();
        let device = erase.device.expect("of a device");
        self.disk.erase(&device, self.next + 1);
        self.state.forget(&Erased::Device(erase.tenant, device));
    }

    fn publication(&mut self, origin: &Origin<'_>) {
        let message = Message::decode(origin);
        let questions = Questions::of(origin, &message, &self.state, &self.changes);
        self.fetched += questions.boots.len();
        let known = self.answer(message.device(), &questions);
        apply::publication(origin, &message, known, &mut self.state, &mut self.changes);
    }

    fn answer(&self, device: Option<&DeviceId>, questions: &Questions) -> Known {
        let mut known = Known::default();
        let Some(device) = device else { return known };
        for boot in &questions.boots {
            if let Some(ledger) = self.disk.ledgers.get(&(device.clone(), *boot)) {
                known.ledgers.push((*boot, ledger.clone()));
            }
        }
        for (name, time_us) in &questions.points {
            let held = |point: &&stencil_store::Point| {
                point.device == *device && point.name == *name && point.time_us == *time_us
            };
            if self.disk.points.iter().any(|point| held(&point)) {
                known.points.insert((name.clone(), *time_us));
            }
        }
        known
    }
}

fn stored(plan: &str, head: Option<String>) -> StoredRollout {
    StoredRollout {
        id: ROLLOUT,
        image: [0; 32],
        plan: plan.to_owned(),
        status: String::new(),
        head,
        created_us: 0,
        changed_us: 0,
    }
}

impl Disk {
    fn take(&mut self, commit: Commit, next: usize) {
        for (_, sealing) in &commit.proofs.sealing {
            let key = (sealing.tenant.clone(), sealing.gateway.clone());
            match sealing.certificate {
                Some(_) => self.sealing.insert(key),
                None => self.sealing.remove(&key),
            };
        }
        self.batches.extend(commit.proofs.batches.iter().cloned());
        self.next = next;
        for head in commit.rollouts.heads {
            self.rollout = Some(head);
        }
        for (_, _, row) in commit.rollouts.devices {
            self.rollout_devices.insert(row.device.clone(), row);
        }
        let notices = commit.rollouts.notices.into_iter();
        self.notices
            .extend(notices.map(|(_, _, notice)| notice.body));
        for (_, device, boot, ledger) in commit.ledgers {
            self.ledgers.insert((device, boot), ledger);
        }
        for twin in commit.twins {
            let key = (twin.device.clone(), twin.name.clone());
            if self
                .twins
                .get(&key)
                .is_none_or(|held| held.time_us <= twin.time_us)
            {
                self.twins.insert(key, twin);
            }
        }
        self.points.extend(commit.points.iter());
        for state in commit.rule_states {
            let key = (state.workflow.clone(), state.device.clone());
            if state.bytes.is_empty() {
                self.rule_states.remove(&key);
            } else {
                self.rule_states.insert(key, state);
            }
        }
        for trigger in commit.triggers {
            self.triggers.entry(trigger.run).or_insert(trigger);
        }
        for change in commit.alarms {
            self.take_alarm(change);
        }
        self.quarantined.extend(commit.quarantined);
        for admission in commit.admissions {
            self.refused.insert(admission.device, admission.refused);
        }
    }

    /// The pipeline is to say nothing that the store would leave alone.
    fn take_alarm(&mut self, change: AlarmChange) {
        match change {
            AlarmChange::Raised(raised) => {
                let (workflow, device) = (&raised.workflow, &raised.device);
                let mut active = self.active();
                assert!(
                    !active.any(|it| it.workflow == *workflow && it.device == *device),
                    "raised while one is active: {raised:?}"
                );
                drop(active);
                let cleared = None;
                let before = self.alarms.insert(raised.id, Episode { raised, cleared });
                assert_eq!(before, None, "raised twice");
            }
            AlarmChange::Cleared(cleared) => {
                let episode = self.alarms.get_mut(&cleared.id).expect("raised before");
                let end = Some((cleared.at_us, cleared.why));
                let before = std::mem::replace(&mut episode.cleared, end);
                assert_eq!(before, None, "cleared twice");
            }
        }
    }

    /// The alarms that have not ended.
    fn active(&self) -> impl Iterator<Item = ActiveAlarm> {
        let active = self.alarms.values().filter(|it| it.cleared.is_none());
        active.map(|Episode { raised, .. }| ActiveAlarm {
            id: raised.id,
            tenant: raised.tenant.clone(),
            workflow: raised.workflow.clone(),
            device: raised.device.clone(),
            severity: raised.severity,
        })
    }

    fn erase(&mut self, device: &DeviceId, next: usize) {
        self.next = next;
        self.ledgers.retain(|(of, _), _| of != device);
        self.twins.retain(|(of, _), _| of != device);
        self.rollout_devices.remove(device);
        self.points.retain(|point| point.device != *device);
        self.rule_states.retain(|(_, of), _| of != device);
        self.alarms
            .retain(|_, alarm| alarm.raised.device != *device);
        self.quarantined
            .retain(|one| one.device.as_ref() != Some(device));
    }

    /// Dropped numbers of a boot for a reason.
    pub(super) fn dropped(&self, device: &DeviceId, boot: u32, reason: DropReason) -> Vec<u64> {
        self.ledgers[&(device.clone(), Boot(boot))]
            .dropped
            .get(&reason)
            .map(|numbers| numbers.iter().flatten().collect())
            .unwrap_or_default()
    }
}

fn newest_boots(disk: &Disk, max: usize) -> Vec<(TenantId, DeviceId, Boot, BootLedger)> {
    let mut by_device: BTreeMap<&DeviceId, Vec<(Boot, &BootLedger)>> = BTreeMap::new();
    for ((device, boot), ledger) in &disk.ledgers {
        by_device.entry(device).or_default().push((*boot, ledger));
    }
    let newest = by_device.into_iter().flat_map(|(device, boots)| {
        let skip = boots.len().saturating_sub(max);
        boots
            .into_iter()
            .skip(skip)
            .map(move |(boot, ledger)| (device, boot, ledger))
    });
    newest
        .map(|(device, boot, ledger)| (tenant(), device.clone(), boot, ledger.clone()))
        .collect()
}

/// A sample as it is written into a batch.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Number(&'static str, i64, f64),
    /// A value that no sample may have.
    Null(i64),
}

/// A batch by its documented form, so that it may also break the rules.
pub(super) fn batch(
    boot: u32,
    first: u64,
    last_given: u64,
    previous: Option<PreviousBoot>,
    items: &[Item],
) -> Vec<u8> {
    let mut e = minicbor::Encoder::new(Vec::new());
    let fields = 3 + u64::from(previous.is_some()) + 1 + u64::from(!items.is_empty());
    e.map(fields).unwrap();
    e.u8(0).unwrap().u32(boot).unwrap();
    e.u8(1).unwrap().u64(first).unwrap();
    e.u8(2).unwrap().u64(last_given).unwrap();
    if let Some(previous) = previous {
        e.u8(3)
            .unwrap()
            .array(3)
            .unwrap()
            .u32(previous.boot.0)
            .unwrap();
        e.u64(previous.last.0)
            .unwrap()
            .u64(previous.acked.0)
            .unwrap();
    }
    if !items.is_empty() {
        e.u8(5).unwrap().i64(0).unwrap();
    }
    e.u8(6).unwrap().array(items.len() as u64).unwrap();
    for item in items {
        e.array(3).unwrap();
        match item {
            Item::Number(name, time_us, value) => {
                e.str(name)
                    .unwrap()
                    .i64(*time_us)
                    .unwrap()
                    .f64(*value)
                    .unwrap();
            }
            Item::Null(time_us) => {
                e.str("broken")
                    .unwrap()
                    .i64(*time_us)
                    .unwrap()
                    .null()
                    .unwrap();
            }
        }
    }
    e.into_writer()
}

pub(super) fn publish_batch(device: &DeviceId, payload: Vec<u8>) -> Entry {
    Entry::Publish {
        from: gateway(),
        topic: Topic::Batch(device.clone()).to_string(),
        payload,
    }
}

pub(super) fn previous(boot: u32, last: u64, acked: u64) -> PreviousBoot {
    PreviousBoot {
        boot: Boot(boot),
        last: Seq(last),
        acked: Seq(acked),
    }
}
