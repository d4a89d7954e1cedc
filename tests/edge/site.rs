//! A gateway with its spool in memory, and the hub to which it publishes.

use std::collections::BTreeMap;

use stencil_edge::{Done, Judged, Placed, Record, Told, What, command_id, effect_key};
use stencil_gateway::edge::{Desk, Do, Now, Writer};
use stencil_protocol::batch::{Header, MAX_LINK_BYTES, Writer as BatchWriter};
use stencil_protocol::id::{Boot, CommandId, DeviceId, GatewayId, Seq, TenantId};
use stencil_protocol::sample::{OwnedValue, Sample};
use stencil_protocol::topic::Topic;
use stencil_rules::Change;
use stencil_server::{Found, PipelineOptions, Replay};
use stencil_store::Trigger;
use stencil_workflow::{Definition, definition};

pub(crate) const MAX_STATES: u32 = 10_000;
pub(crate) const MAX_AHEAD_US: i64 = 600_000_000;

pub(crate) fn tenant() -> TenantId {
    TenantId::parse("acme").unwrap()
}

pub(crate) fn gateway() -> GatewayId {
    GatewayId::parse("site-1").unwrap()
}

/// A gateway: its writer, its desk, and what it has spooled.
pub(crate) struct Site {
    writer: Writer,
    desk: Desk,
    /// Topic, device and payload of each entry.
    pub(crate) spool: Vec<(Topic, Vec<u8>)>,
    /// Up to where the desk has read.
    read: usize,
    saved: (usize, Vec<u8>),
    /// How often each command was given to its device.
    pub(crate) given: BTreeMap<CommandId, u32>,
}

impl Site {
    pub(crate) fn new(epoch: u64) -> Self {
        let mut desk = Desk::new(tenant());
        let saved = (0, desk.save());
        Self {
            writer: Writer::new(epoch),
            desk,
            spool: Vec::new(),
            read: 0,
            saved,
            given: BTreeMap::new(),
        }
    }

    /// The rules from now on.
    pub(crate) fn place(&mut self, definitions: &[&Definition], now_us: i64) {
        let placed: Vec<Placed> = definitions.iter().filter_map(|it| it.placed()).collect();
        if let Some(what) = self.writer.change(&placed, MAX_STATES, MAX_AHEAD_US) {
            self.write(what, now_us);
        }
    }

    pub(crate) fn batch(&mut self, device: &DeviceId, batch: &[u8], now_us: i64) {
        match self.writer.batch(now_us, device, batch) {
            Some(judged) => {
                self.spool.push((Topic::Judged(device.clone()), judged));
                self.writer.written(now_us, None);
            }
            None => self
                .spool
                .push((Topic::Batch(device.clone()), batch.to_vec())),
        }
    }

    pub(crate) fn mark(&mut self, now_us: i64) {
        if self.desk.judge().mark_every_us().is_some() {
            self.write(What::Mark, now_us);
        }
    }

    fn write(&mut self, what: What, now_us: i64) {
        let record = self.writer.record(now_us, what.clone());
        self.spool.push((Topic::GatewayStream(gateway()), record));
        self.writer.written(now_us, Some(&what));
    }

    /// Judges up to so many entries.
    pub(crate) fn judge(&mut self, entries: usize, now_us: i64) {
        for _ in 0..entries {
            let Some((topic, payload)) = self.spool.get(self.read).cloned() else {
                return;
            };
            self.read += 1;
            let now = Now {
                at_us: now_us,
                reaches: &|_| true,
            };
            let todo = match topic {
                Topic::Judged(device) => self.desk.batch(&device, &payload, &now),
                Topic::GatewayStream(_) => self.desk.record(&payload, &now),
                _ => Vec::new(),
            };
            for one in todo {
                self.act(one, now_us);
            }
        }
    }

    /// All there is, what comes of it included.
    pub(crate) fn judge_all(&mut self, now_us: i64) {
        while self.read < self.spool.len() {
            self.judge(usize::MAX, now_us);
        }
    }

    fn act(&mut self, one: Do, now_us: i64) {
        match one {
            Do::Tell(told) => self.write(What::Told(told), now_us),
            Do::Give { id, .. } => *self.given.entry(id).or_default() += 1,
        }
    }

    pub(crate) fn save(&mut self) {
        self.saved = (self.read, self.desk.save());
    }

    /// The process is killed, and starts from what it has saved.
    pub(crate) fn kill(&mut self, now_us: i64) {
        let (read, body) = &self.saved;
        self.read = *read;
        self.desk = Desk::restore(tenant(), body).unwrap();
        let mut writer = Writer::new(self.writer.place().epoch);
        writer.resume(self.desk.judge());
        for (topic, payload) in &self.spool[self.read..] {
            match topic {
                Topic::GatewayStream(_) => {
                    let record = Record::decode(payload).unwrap();
                    writer.read(record.place, record.at_us, Some(&record.what));
                    self.desk.look_ahead(&record);
                }
                Topic::Judged(_) => {
                    let judged = Judged::decode(payload).unwrap();
                    writer.read(judged.place, judged.received_us, None);
                }
                _ => {}
            }
        }
        assert_eq!(writer.place(), self.writer.place(), "numbers go on");
        self.writer = writer;
        for open in self.desk.open(now_us) {
            self.act(open, now_us);
        }
    }

    /// Judges all, and tells the hub in which state its judge is.
    pub(crate) fn tell_state(&mut self, now_us: i64) {
        self.judge_all(now_us);
        for what in self.desk.here() {
            self.write(what, now_us);
        }
        self.judge_all(now_us);
    }

    /// What its rules told.
    pub(crate) fn told(&self) -> Vec<Told> {
        let records = self
            .spool
            .iter()
            .filter_map(|(topic, payload)| match topic {
                Topic::GatewayStream(_) => Some(Record::decode(payload).unwrap()),
                _ => None,
            });
        records
            .filter_map(|record| match record.what {
                What::Told(told) => Some(told),
                _ => None,
            })
            .collect()
    }
}

/// The runs that follow from what was told, as the hub writes them.
pub(crate) fn runs(
    told: &[Told],
    definitions: &BTreeMap<(String, u32), Definition>,
) -> Vec<Trigger> {
    let run = |told: &Told| {
        let Change::Fired(firing) = told.change else {
            return None;
        };
        let definition = &definitions[&(told.workflow.clone(), told.version)];
        let sample = told.sample.clone();
        let sample = sample.map(|(value, unit)| (OwnedValue::from(value), unit));
        let seen = sample
            .as_ref()
            .map(|(value, unit)| (value, unit.as_deref()));
        let (tenant, device) = (tenant(), &told.device);
        Some(stencil_workflow::trigger(
            &tenant, definition, device, seen, &firing,
        ))
    };
    told.iter().filter_map(run).collect()
}

/// The commands that were given, by what was told.
pub(crate) fn commands(
    told: &[Told],
    definitions: &BTreeMap<(String, u32), Definition>,
) -> Vec<CommandId> {
    let given = told
        .iter()
        .filter(|told| matches!(told.done, Done::Given(_)));
    let given: Vec<Told> = given.cloned().collect();
    let runs = runs(&given, definitions);
    let ids = given.iter().zip(runs).map(|(told, run)| {
        let Done::Given(command) = &told.done else {
            unreachable!("filtered");
        };
        command_id(&effect_key(&run.run.0, &command.step))
    });
    ids.collect()
}

/// The hub's pipeline, and what it has found.
pub(crate) struct HubSide {
    replay: Replay,
    next: usize,
    /// Of which it found itself that they are due, in its order.
    pub(crate) judged: Vec<Trigger>,
    pub(crate) all: Vec<Found>,
}

impl HubSide {
    pub(crate) fn new(yaml: &[&str]) -> Self {
        let options = PipelineOptions {
            min_time_s: 0,
            max_ahead_s: 1_000_000_000,
            ..PipelineOptions::default()
        };
        Self {
            replay: Replay::new(tenant(), gateway(), options, yaml).unwrap(),
            next: 0,
            judged: Vec::new(),
            all: Vec::new(),
        }
    }

    pub(crate) fn activate(&mut self, definition: &Definition, now_us: i64) {
        let (workflow, version) = (definition.id.clone(), definition.version);
        let found = self.replay.activate(&workflow, version, now_us);
        self.take(found);
    }

    /// Publishes the next entries; false when there are no more.
    pub(crate) fn publish(&mut self, site: &Site, entries: usize, now_us: i64) -> bool {
        for _ in 0..entries {
            let Some((topic, payload)) = site.spool.get(self.next) else {
                return false;
            };
            self.next += 1;
            let found = self.replay.publish(&topic.to_string(), payload, now_us);
            assert!(found.quarantined.is_empty(), "{:?}", found.quarantined);
            self.take(found);
        }
        true
    }

    /// Some never comes.
    pub(crate) fn miss(&mut self, entries: usize) -> std::ops::Range<usize> {
        let missed = self.next..self.next + entries;
        self.next += entries;
        missed
    }

    /// These entries, whatever else has come.
    pub(crate) fn publish_these(&mut self, site: &Site, at: std::ops::Range<usize>, now_us: i64) {
        let (next, end) = (self.next, at.end.min(site.spool.len()));
        self.next = at.start.min(end);
        self.publish(site, end.saturating_sub(self.next), now_us);
        self.next = next.max(self.next);
    }

    /// The connection is lost: some is published again.
    pub(crate) fn back(&mut self, entries: usize) {
        self.next = self.next.saturating_sub(entries);
    }

    pub(crate) fn tick(&mut self, now_us: i64) {
        let found = self.replay.tick(now_us);
        self.take(found);
    }

    pub(crate) fn restart(&mut self) {
        self.replay.restart();
    }

    fn take(&mut self, mut found: Found) {
        for trigger in &mut found.triggers {
            if trigger.not_before_us.take().is_some() {
                self.judged.push(trigger.clone());
            }
        }
        self.all.push(found);
    }
}

pub(crate) fn definitions(yaml: &[&str]) -> BTreeMap<(String, u32), Definition> {
    let parsed = yaml.iter().map(|text| definition::parse(text).unwrap());
    parsed.map(|it| ((it.id.clone(), it.version), it)).collect()
}

/// A device's batch.
pub(crate) fn batch(boot: u32, first: u64, samples: &[(i64, OwnedValue)], name: &str) -> Vec<u8> {
    let mut bytes = [0; MAX_LINK_BYTES];
    let header = Header {
        boot: Boot(boot),
        first: Seq(first),
        last_given: Seq(first + samples.len() as u64 - 1),
        previous: None,
        dropped: [].into_iter().collect(),
    };
    let mut writer = BatchWriter::new(&mut bytes, &header).unwrap();
    for (time_us, value) in samples {
        writer
            .push(&Sample {
                name,
                value: value.as_ref(),
                unit: Some("degC"),
                time_us: *time_us,
            })
            .unwrap();
    }
    let length = writer.finish().unwrap();
    bytes[..length].to_vec()
}
