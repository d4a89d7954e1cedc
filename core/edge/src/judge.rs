//! Judges a stream: at the gateway that writes it, and at the hub that reads it.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};
use stencil_protocol::batch::Batch;
use stencil_protocol::id::DeviceId;
use stencil_protocol::sample::{OwnedValue, Sample};
use stencil_rules::{Bounds, Cause, Change, Condition, Engine, Observation};

use crate::numbers::Numbers;
use crate::{Error, Place, Placed, Rules, Since};

/// The most states (rule × device) of a stream, whatever it says: it may be a stranger's.
const MAX_STATES: usize = 100_000;
/// The most rules.
const MAX_RULES: usize = 1_000;
/// The version of what is saved.
const VERSION: u8 = 1;

/// How a record stands to those that were taken before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is the next one.
    Next,
    /// It was taken before.
    Again,
    /// There are others before it, which did not come.
    Gap,
}

/// What a rule told of a device.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The rule.
    pub placed: &'a Placed,
    /// From which record on it is what it is.
    pub since: Since,
    /// The device.
    pub device: &'a DeviceId,
    /// What happened.
    pub change: Change,
    /// The sample that made it happen; time did, if there is none.
    pub sample: Option<&'a Sample<'a>>,
    single: bool,
}

impl Told<'_> {
    /// What the rule looked at, as `event.value` has it: the sample's value, or what was made of
    /// several samples.
    pub fn event_value(&self) -> Option<OwnedValue> {
        let compared = match self.change {
            Change::Fired(it) => it.value,
            Change::Cleared(it) => it.value,
        };
        match self.sample {
            Some(sample) if self.single => Some(OwnedValue::from(sample.value)),
            _ => compared.map(|value| OwnedValue::Number(value.get())),
        }
    }
}

/// What is to be saved beside [`Judge::head`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Row {
    /// The device.
    #[n(0)]
    pub device: DeviceId,
    /// The workflow whose rule remembers this; none: it is which samples have been judged.
    #[n(1)]
    pub workflow: Option<String>,
    /// The bytes.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// A rule that is judged.
#[derive(Debug)]
struct Running {
    placed: Placed,
    json: String,
    since: Since,
    /// All of the stream since has come.
    followed: bool,
}

/// The judge of one stream. Pure: the same records in the same order tell the same.
#[derive(Debug)]
pub struct Judge {
    place: Option<Place>,
    time_us: i64,
    max_states: usize,
    max_ahead_us: i64,
    rules: BTreeMap<String, Running>,
    engine: Engine<String>,
    numbers: BTreeMap<DeviceId, Numbers>,
    changed: BTreeSet<DeviceId>,
    /// Rows that were taken over, and are to be saved here, too.
    adopted: Vec<Row>,
}

#[derive(Encode, Decode)]
struct Head {
    #[n(0)]
    version: u8,
    #[n(1)]
    place: Option<Place>,
    #[n(2)]
    time_us: i64,
    #[n(3)]
    max_states: u64,
    #[n(4)]
    max_ahead_us: i64,
    #[n(5)]
    rules: Vec<(Since, bool, String)>,
}

impl Default for Judge {
    fn default() -> Self {
        Self::new()
    }
}

impl Judge {
    /// Of a stream of which nothing has come.
    pub fn new() -> Self {
        Self {
            place: None,
            time_us: i64::MIN,
            max_states: 0,
            max_ahead_us: 0,
            rules: BTreeMap::new(),
            engine: Engine::new(bounds(0, 0)),
            numbers: BTreeMap::new(),
            changed: BTreeSet::new(),
            adopted: Vec::new(),
        }
    }

    /// The place of the record that was taken last.
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    /// The clock of the stream, as far as it was read.
    pub fn time_us(&self) -> i64 {
        self.time_us
    }

    /// How a record stands to those before.
    pub fn arrives(&self, place: Place) -> Arrival {
        match self.place {
            Some(last) if last.epoch == place.epoch && place.number <= last.number => {
                Arrival::Again
            }
            Some(last) if last.epoch == place.epoch && place.number == last.number + 1 => {
                Arrival::Next
            }
            None if place.number == 1 => Arrival::Next,
            _ => Arrival::Gap,
        }
    }

    /// Takes note that records are missing: what its rules remember is not to be known until they
    /// begin anew.
    pub fn lose(&mut self) {
        for (workflow, rule) in &mut self.rules {
            rule.followed = false;
            self.engine.remove(workflow);
        }
    }

    /// Takes the rules that are judged from here on. Says which cannot be used, and why.
    pub fn rules(&mut self, place: Place, at_us: i64, rules: &Rules) -> Vec<(String, String)> {
        if self.place.is_none_or(|last| last.epoch != place.epoch) {
            *self = Self::new();
        }
        self.take(place, at_us);
        self.max_states = (rules.max_states as usize).min(MAX_STATES);
        self.max_ahead_us = rules.max_ahead_us;
        self.engine
            .set_bounds(bounds(self.max_states, self.max_ahead_us));
        let mut before = std::mem::take(&mut self.rules);
        let mut unusable = Vec::new();
        for (since, json) in rules.placed.iter().take(MAX_RULES) {
            let placed: Placed = match serde_json::from_str(json) {
                Ok(placed) => placed,
                Err(error) => {
                    unusable.push((String::new(), error.to_string()));
                    continue;
                }
            };
            let workflow = placed.workflow.clone();
            let was = before.remove(&workflow);
            let begins = *since == place.number;
            let followed = begins || was.is_some_and(|was| was.followed && was.since == *since);
            if begins || !followed {
                self.engine.remove(&workflow);
            }
            if followed {
                let put = placed.rule().map_err(|error| error.to_string());
                let put = put.and_then(|rule| {
                    let put = self.engine.put(workflow.clone(), rule);
                    put.map_err(|error| error.to_string())
                });
                if let Err(why) = put {
                    unusable.push((workflow, why));
                    continue;
                }
            }
            let running = Running {
                placed,
                json: json.clone(),
                since: *since,
                followed,
            };
            self.rules.insert(workflow, running);
        }
        for gone in before.keys() {
            self.engine.remove(gone);
        }
        unusable
    }

    /// Takes a device's batch; `tell` is called for each change, sample by sample.
    pub fn batch(
        &mut self,
        place: Place,
        device: &DeviceId,
        received_us: i64,
        batch: &Batch<'_>,
        mut tell: impl FnMut(Told<'_>),
    ) {
        self.take(place, received_us);
        if self.rules.is_empty() {
            return;
        }
        if !self.numbers.contains_key(device) && self.numbers.len() >= self.max_states {
            return;
        }
        let received_us = self.time_us;
        let numbers = self.numbers.entry(device.clone()).or_default();
        let (engine, rules) = (&mut self.engine, &self.rules);
        let boot = batch.header().boot;
        for (seq, item) in batch.samples() {
            if !numbers.take(boot, seq) {
                continue;
            }
            // One that breaks a limit costs itself.
            let Ok(sample) = item else { continue };
            let observation = Observation {
                device: device.as_str(),
                name: sample.name,
                time_us: sample.time_us,
                received_us,
                value: sample.value,
                unit: sample.unit,
                cause: Cause::Numbered { boot, seq },
            };
            engine.observe(&observation, |workflow, rule, change| {
                if let Some(running) = rules.get(workflow) {
                    tell(Told {
                        placed: &running.placed,
                        since: running.since,
                        device,
                        change,
                        sample: Some(&sample),
                        single: is_single(&rule.condition),
                    });
                }
            });
        }
        self.changed.insert(device.clone());
    }

    /// Lets time pass, up to when the mark was written.
    pub fn mark(&mut self, place: Place, at_us: i64, mut tell: impl FnMut(Told<'_>)) {
        self.take(place, at_us);
        let rules = &self.rules;
        self.engine
            .advance(self.time_us, |workflow, device, rule, change| {
                if let (Some(running), Ok(device)) = (rules.get(workflow), DeviceId::parse(device))
                {
                    tell(Told {
                        placed: &running.placed,
                        since: running.since,
                        device: &device,
                        change,
                        sample: None,
                        single: is_single(&rule.condition),
                    });
                }
            });
    }

    /// Takes a record by which nothing is judged.
    pub fn pass(&mut self, place: Place, at_us: i64) {
        self.take(place, at_us);
    }

    /// Forgets a device. What its rules remember is not what the gateway's do any more.
    pub fn forget(&mut self, device: &DeviceId) {
        if self.numbers.remove(device).is_some() {
            self.lose();
        }
        self.changed.remove(device);
    }

    /// The rules, by workflow: each with where it began, and whether it is followed.
    pub fn running(&self) -> impl Iterator<Item = (&Placed, Since, bool)> {
        let rules = self.rules.values();
        rules.map(|rule| (&rule.placed, rule.since, rule.followed))
    }

    /// The version of a workflow whose rule is judged.
    pub fn version(&self, workflow: &str) -> Option<u32> {
        Some(self.rules.get(workflow)?.placed.version)
    }

    /// Whether a workflow's rule is judged, and all of the stream has come since it began.
    pub fn follows(&self, workflow: &str) -> bool {
        self.rules.get(workflow).is_some_and(|rule| rule.followed)
    }

    /// Whether a rule has fired on a device and not cleared since.
    pub fn has_fired(&self, workflow: &str, device: &DeviceId) -> bool {
        self.engine.has_fired(&workflow.to_owned(), device.as_str())
    }

    /// Whether anything of the device has come.
    pub fn knows(&self, device: &DeviceId) -> bool {
        self.numbers.contains_key(device)
    }

    /// How often marks are needed, in µs; none: no rule waits for the time.
    pub fn mark_every_us(&self) -> Option<i64> {
        let rules = self.engine.rules();
        let spans = rules.filter_map(|(_, rule)| match &rule.condition {
            Condition::Absence(absence) => Some(absence.silence_us() / 20),
            Condition::Window(window) => Some(window.over_us() / stencil_rules::PANES),
            Condition::Threshold(_) | Condition::Rate(_) | Condition::Expression(_) => None,
        });
        spans.min().map(|us| us.clamp(1_000_000, 30_000_000))
    }

    /// What is to be saved of it as a whole.
    pub fn head(&self) -> Vec<u8> {
        let rules = self.rules.values();
        let head = Head {
            version: VERSION,
            place: self.place,
            time_us: self.time_us,
            max_states: self.max_states as u64,
            max_ahead_us: self.max_ahead_us,
            rules: rules
                .map(|rule| (rule.since, rule.followed, rule.json.clone()))
                .collect(),
        };
        let mut bytes = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = minicbor::encode(&head, &mut bytes);
        bytes
    }

    /// Hands out what is to be saved of each device and has changed since the last call.
    pub fn take_changed(&mut self, mut save: impl FnMut(Row)) {
        // First: what has changed since is the newer.
        self.adopted.drain(..).for_each(&mut save);
        for device in std::mem::take(&mut self.changed) {
            if let Some(numbers) = self.numbers.get(&device) {
                let mut bytes = Vec::new();
                // Writing to a Vec cannot fail.
                let _ = minicbor::encode(numbers, &mut bytes);
                save(Row {
                    device,
                    workflow: None,
                    bytes,
                });
            }
        }
        let rules = &self.rules;
        self.engine.take_changed(|workflow, device, state| {
            if let (Some(rule), Ok(device)) = (rules.get(workflow), DeviceId::parse(device)) {
                let mut bytes = Vec::new();
                let state = minicbor::bytes::ByteVec::from(state);
                // Writing to a Vec cannot fail.
                let _ = minicbor::encode((rule.since, state), &mut bytes);
                save(Row {
                    device,
                    workflow: Some(workflow.clone()),
                    bytes,
                });
            }
        });
    }

    /// The judge of which this head was saved, before its rows.
    ///
    /// # Errors
    /// [`Error`].
    pub fn restore(head: &[u8]) -> Result<Self, Error> {
        let head: Head = minicbor::decode(head)?;
        if head.version != VERSION {
            let why = "saved by another release";
            return Err(minicbor::decode::Error::message(why).into());
        }
        let mut judge = Self::new();
        judge.place = head.place;
        judge.time_us = head.time_us;
        judge.max_states = usize::try_from(head.max_states).unwrap_or(usize::MAX);
        judge.max_ahead_us = head.max_ahead_us;
        let bounds = bounds(judge.max_states, judge.max_ahead_us);
        judge.engine.set_bounds(bounds);
        for (since, followed, json) in head.rules {
            let wrong = |why: String| Error(minicbor::decode::Error::message(why));
            let placed: Placed =
                serde_json::from_str(&json).map_err(|error| wrong(error.to_string()))?;
            if followed {
                let rule = placed.rule().map_err(|error| wrong(error.to_string()))?;
                let put = judge.engine.put(placed.workflow.clone(), rule);
                put.map_err(|error| wrong(error.to_string()))?;
            }
            let workflow = placed.workflow.clone();
            let running = Running {
                placed,
                json,
                since,
                followed,
            };
            judge.rules.insert(workflow, running);
        }
        Ok(judge)
    }

    /// The judge that is in this state, for one to which records are missing: at the last record by
    /// which it was told.
    ///
    /// # Errors
    /// [`Error`].
    pub fn adopt(place: Place, at_us: i64, head: &[u8], rows: &[Row]) -> Result<Self, Error> {
        let mut judge = Self::restore(head)?;
        judge.max_states = judge.max_states.min(MAX_STATES);
        let bounds = bounds(judge.max_states, judge.max_ahead_us);
        judge.engine.set_bounds(bounds);
        for row in rows.iter().take(judge.max_states.saturating_mul(2)) {
            judge.restore_row(row)?;
            judge.adopted.push(row.clone());
        }
        judge.take(place, at_us);
        Ok(judge)
    }

    /// Gives back what was saved of a device. What is of a rule that is no longer what it was is
    /// dropped.
    ///
    /// # Errors
    /// [`Error`].
    pub fn restore_row(&mut self, row: &Row) -> Result<(), Error> {
        let Some(workflow) = &row.workflow else {
            let numbers = minicbor::decode(&row.bytes)?;
            self.numbers.insert(row.device.clone(), numbers);
            return Ok(());
        };
        let (since, state): (Since, minicbor::bytes::ByteVec) = minicbor::decode(&row.bytes)?;
        match self.rules.get(workflow) {
            Some(rule) if rule.followed && rule.since == since => {}
            _ => return Ok(()),
        }
        let restored = self.engine.restore(workflow, row.device.as_str(), &state);
        restored.map_err(|error| Error(minicbor::decode::Error::message(error.to_string())))
    }

    fn take(&mut self, place: Place, at_us: i64) {
        self.place = Some(place);
        self.time_us = self.time_us.max(at_us);
    }
}

/// Whether what is looked at is a single sample's value.
fn is_single(condition: &Condition) -> bool {
    matches!(
        condition,
        Condition::Threshold(_) | Condition::Expression(_)
    )
}

fn bounds(max_states: usize, max_ahead_us: i64) -> Bounds {
    Bounds {
        max_rules: MAX_RULES,
        max_states,
        max_subjects: max_states.saturating_mul(4).clamp(64, 100_000),
        max_ahead_us,
    }
}
