//! All rules of a tenant, with the state of each device.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::index::Index;
use crate::memory::{Memory, Seen};
use crate::states::{Held, States};
use crate::subject::{Entry, NO_STATE, Subjects};
use crate::{Bounds, Change, Error, Metrics, Observation, Rule, SubjectId};

/// The rules of one tenant, and what they remember. `K` names a rule (for the
/// hub: the workflow's id). Feed it every new sample in log order with
/// [`observe`](Self::observe), and the passing of time with
/// [`advance`](Self::advance); save what [`take_changed`](Self::take_changed)
/// hands out together with the log's position; give it back by
/// [`restore`](Self::restore) after a restart.
#[derive(Debug)]
pub struct Engine<K> {
    bounds: Bounds,
    keys: BTreeMap<K, u32>,
    watches: Vec<Option<Watch<K>>>,
    free: Vec<u32>,
    index: Index,
    /// Grows with each change of the rules: what was looked up before is out of date.
    epoch: u64,
    subjects: Subjects,
    states: States,
    /// States that `advance` has to look at, by when.
    queue: BTreeSet<(i64, u32)>,
    changed: Vec<u32>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Watch<K> {
    key: K,
    rule: Rule,
    /// The places of the states of its devices.
    devices: HashMap<Box<str>, u32>,
}

impl<K: Ord + Clone> Engine<K> {
    /// An engine without rules.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            keys: BTreeMap::new(),
            watches: Vec::new(),
            free: Vec::new(),
            index: Index::default(),
            epoch: 0,
            subjects: Subjects::default(),
            states: States::default(),
            queue: BTreeSet::new(),
            changed: Vec::new(),
            metrics: Metrics::default(),
        }
    }

    /// Adds a rule, or replaces the one of the same key. State is kept when
    /// name and condition are the same (devices that no longer match lose
    /// theirs); with another question every device starts afresh.
    ///
    /// # Errors
    /// [`Error::TooManyRules`], and what [`Rule::new`] refuses.
    pub fn put(&mut self, key: K, rule: Rule) -> Result<(), Error> {
        rule.check()?;
        if !self.keys.contains_key(&key) && self.keys.len() >= self.bounds.max_rules {
            return Err(Error::TooManyRules {
                max_rules: self.bounds.max_rules,
            });
        }
        let same =
            |old: &Watch<K>| old.rule.name == rule.name && old.rule.condition == rule.condition;
        let kept = match self.keys.get(&key).copied() {
            Some(place) if self.watch(place).is_some_and(same) => Some(place),
            Some(_) => {
                self.remove(&key);
                None
            }
            None => None,
        };
        self.epoch += 1;
        match kept {
            Some(place) => self.narrow(place, rule),
            None => {
                let place = self.free.pop().unwrap_or_else(|| {
                    self.watches.push(None);
                    u32::try_from(self.watches.len() - 1).unwrap_or(u32::MAX)
                });
                self.index.insert(place, &rule);
                self.keys.insert(key.clone(), place);
                self.watches[place as usize] = Some(Watch {
                    key,
                    rule,
                    devices: HashMap::new(),
                });
            }
        }
        Ok(())
    }

    /// Takes a rule away with all its state; false if there was none.
    pub fn remove(&mut self, key: &K) -> bool {
        let Some(place) = self.keys.remove(key) else {
            return false;
        };
        self.epoch += 1;
        if let Some(watch) = self.watches[place as usize].take() {
            self.index.remove(place, &watch.rule);
            for state in watch.devices.into_values() {
                self.forget(state);
            }
        }
        self.free.push(place);
        true
    }

    /// Forgets what all rules remember of a device, as if it had never been heard of.
    pub fn forget_device(&mut self, device: &str) {
        let watches = self.watches.iter_mut().flatten();
        let gone: Vec<u32> = watches
            .filter_map(|watch| watch.devices.remove(device))
            .collect();
        // Subjects may have looked the states up before.
        self.epoch += 1;
        for state in gone {
            self.forget(state);
        }
    }

    /// Changes what it may cost. What is held beyond a lower bound stays.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Whether a rule has fired on a device and not cleared since.
    pub fn has_fired(&self, key: &K, device: &str) -> bool {
        let place = self.keys.get(key).and_then(|&place| self.watch(place));
        let state = place.and_then(|watch| watch.devices.get(device));
        let held = state.and_then(|&state| self.states.get(state));
        held.is_some_and(|held| held.memory.has_fired())
    }

    /// The rules, in the order of their keys.
    pub fn rules(&self) -> impl Iterator<Item = (&K, &Rule)> {
        let watches = self.keys.values().filter_map(|&place| self.watch(place));
        watches.map(|watch| (&watch.key, &watch.rule))
    }

    /// Gives back a state that was saved. Saved state of a rule that is gone,
    /// no longer matches the device, or has another condition is dropped.
    ///
    /// # Errors
    /// [`Error::SavedState`]; the device then starts afresh.
    pub fn restore(&mut self, key: &K, device: &str, bytes: &[u8]) -> Result<(), Error> {
        let Some(&place) = self.keys.get(key) else {
            return Ok(());
        };
        let Some(watch) = self.watches[place as usize].as_mut() else {
            return Ok(());
        };
        if !watch.rule.devices.matches(device) {
            return Ok(());
        }
        let memory = Memory::decode(&watch.rule.condition, bytes)?;
        if let Some(state) = watch.devices.remove(device) {
            self.forget(state);
        }
        if let Some(state) = self.watched(place, device, Some(memory)) {
            self.schedule(state);
        }
        // Subjects may have looked the state up before.
        self.epoch += 1;
        Ok(())
    }

    /// A handle for a device and name, with which a sample of theirs costs no
    /// look-up: see [`observe_subject`](Self::observe_subject).
    pub fn subject(&mut self, device: &str, name: &str) -> SubjectId {
        self.subjects.find(device, name, self.bounds.max_subjects)
    }

    /// Takes the next sample in log order; `tell` is called for each change, in
    /// the order of the rules' keys. Duplicates must have been sorted out before.
    pub fn observe(&mut self, sample: &Observation<'_>, tell: impl FnMut(&K, &Rule, Change)) {
        let subject = self.subject(sample.device, sample.name);
        self.observe_subject(subject, sample, tell);
    }

    /// [`observe`](Self::observe) for a sample of the device and name that the
    /// handle was given out for. False, and nothing is done, if the handle is
    /// no longer known: then ask for a new one.
    pub fn observe_subject(
        &mut self,
        subject: SubjectId,
        sample: &Observation<'_>,
        mut tell: impl FnMut(&K, &Rule, Change),
    ) -> bool {
        if !self.subjects.is_known(subject) {
            return false;
        }
        let at = subject.index as usize;
        if self.subjects.list[at].epoch != self.epoch {
            self.look_up(at);
        }
        let count = self.subjects.list[at].entries.len();
        if count == 0 {
            return true;
        }
        debug_assert_eq!(&*self.subjects.list[at].device, sample.device);
        debug_assert_eq!(&*self.subjects.list[at].name, sample.name);
        if sample.time_us.saturating_sub(sample.received_us) > self.bounds.max_ahead_us {
            self.metrics.ahead += 1;
            return true;
        }
        for turn in 0..count {
            let Entry { rule, mut state } = self.subjects.list[at].entries[turn];
            if state == NO_STATE {
                let Some(made) = self.watched(rule, sample.device, None) else {
                    self.metrics.unwatched += 1;
                    continue;
                };
                self.subjects.list[at].entries[turn].state = made;
                state = made;
            }
            self.judge(state, sample, &mut tell);
        }
        true
    }

    /// Lets time pass up to `now_us`, µs: what is due by then changes, in the
    /// order of event time, then of keys, then of devices. Time that goes back
    /// changes nothing.
    pub fn advance(&mut self, now_us: i64, mut tell: impl FnMut(&K, &str, &Rule, Change)) {
        let mut told: Vec<(u32, Change)> = Vec::new();
        while let Some(&(due_us, state)) = self.queue.first()
            && due_us <= now_us
        {
            self.queue.pop_first();
            let Some(held) = self.states.get_mut(state) else {
                continue;
            };
            held.queued_us = None;
            let condition = &held.condition;
            // Not so when samples have come since it was queued.
            if held.memory.due_us(condition).is_some_and(|us| us <= now_us) {
                let tell = &mut |change| told.push((state, change));
                held.memory.advance(condition, now_us, tell);
                if !std::mem::replace(&mut held.changed, true) {
                    self.changed.push(state);
                }
                // Only at the end of what an i64 can say: then it is due for ever.
                if held.memory.due_us(condition).is_some_and(|us| us <= now_us) {
                    continue;
                }
            }
            self.schedule(state);
        }
        // Each state's own changes are in order already.
        let of = |&(state, change): &(u32, Change)| {
            let held = self.states.get(state)?;
            let watch = self.watch(held.rule)?;
            Some((change.at_us(), &watch.key, &held.device, &watch.rule))
        };
        told.sort_by(|a, b| match (of(a), of(b)) {
            (Some((at, key, device, _)), Some(other)) => {
                (at, key, device).cmp(&(other.0, other.1, other.2))
            }
            _ => Ordering::Equal,
        });
        for one in &told {
            if let Some((_, key, device, rule)) = of(one) {
                tell(key, device, rule, one.1);
            }
        }
        for (_, change) in told {
            self.metrics.count(change);
        }
    }

    /// Hands out each state that has changed since the last call, encoded.
    pub fn take_changed(&mut self, mut save: impl FnMut(&K, &str, Vec<u8>)) {
        for state in self.changed.drain(..) {
            let Some(held) = self.states.get_mut(state) else {
                continue;
            };
            // Listed twice when its place was used again in between.
            if !std::mem::take(&mut held.changed) {
                continue;
            }
            if let Some(Some(watch)) = self.watches.get(held.rule as usize) {
                let bytes = held.memory.encode(&held.condition);
                save(&watch.key, &held.device, bytes);
            }
        }
    }

    /// How many states (rule × device) it holds.
    pub fn states(&self) -> usize {
        self.states.len()
    }

    /// What it did and did not look at.
    pub const fn metrics(&self) -> Metrics {
        self.metrics
    }

    fn watch(&self, place: u32) -> Option<&Watch<K>> {
        self.watches.get(place as usize)?.as_ref()
    }

    /// Replaces a rule by one that asks the same of perhaps other devices.
    fn narrow(&mut self, place: u32, rule: Rule) {
        let Some(watch) = self.watches[place as usize].as_mut() else {
            return;
        };
        let mut gone = Vec::new();
        watch.devices.retain(|device, state| {
            let stays = rule.devices.matches(device);
            if !stays {
                gone.push(*state);
            }
            stays
        });
        self.index.remove(place, &watch.rule);
        self.index.insert(place, &rule);
        watch.rule = rule;
        for state in gone {
            self.forget(state);
        }
    }

    fn forget(&mut self, state: u32) {
        if let Some(Held {
            queued_us: Some(due_us),
            ..
        }) = self.states.remove(state)
        {
            self.queue.remove(&(due_us, state));
        }
    }

    /// Looks up which rules concern a subject.
    fn look_up(&mut self, at: usize) {
        let subject = &self.subjects.list[at];
        let (device, name) = (&*subject.device, &*subject.name);
        let mut found: Vec<(&K, Entry)> = Vec::new();
        for rule in self.index.candidates(device, name) {
            if let Some(watch) = self.watch(rule)
                && watch.rule.devices.matches(device)
            {
                let state = watch.devices.get(device).copied().unwrap_or(NO_STATE);
                found.push((&watch.key, Entry { rule, state }));
            }
        }
        found.sort_unstable_by_key(|(key, _)| *key);
        let entries = found.into_iter().map(|(_, entry)| entry).collect();
        let epoch = self.epoch;
        let subject = &mut self.subjects.list[at];
        subject.entries = entries;
        subject.epoch = epoch;
    }

    /// The place of a rule's state on a device, made if there is room.
    fn watched(&mut self, rule: u32, device: &str, memory: Option<Memory>) -> Option<u32> {
        let watch = self.watches.get_mut(rule as usize)?.as_mut()?;
        if let Some(&state) = watch.devices.get(device) {
            return Some(state);
        }
        let most = self.bounds.max_states.min(NO_STATE as usize);
        if self.states.len() >= most {
            return None;
        }
        let condition = watch.rule.condition.clone();
        let memory = memory.unwrap_or_else(|| Memory::fresh(&condition));
        let state = self.states.insert(Held {
            rule,
            device: device.into(),
            condition,
            memory,
            queued_us: None,
            changed: false,
        });
        watch.devices.insert(device.into(), state);
        Some(state)
    }

    fn judge(
        &mut self,
        state: u32,
        sample: &Observation<'_>,
        tell: &mut impl FnMut(&K, &Rule, Change),
    ) {
        let Some(held) = self.states.get_mut(state) else {
            return;
        };
        let (rule, watches, metrics) = (held.rule, &self.watches, &mut self.metrics);
        let told = &mut |change| {
            if let Some(Some(watch)) = watches.get(rule as usize) {
                metrics.count(change);
                tell(&watch.key, &watch.rule, change);
            }
        };
        let seen = held.memory.observe(&held.condition, sample, told);
        let metrics = &mut self.metrics;
        metrics.errors += u64::from(seen == Seen::Failed);
        match seen {
            Seen::Taken | Seen::Failed => {
                if !held.changed {
                    held.changed = true;
                    self.changed.push(state);
                }
                self.schedule(state);
            }
            Seen::Late => self.metrics.late += 1,
            Seen::PassedOver => {}
        }
    }

    /// Notes when `advance` has to look at a state.
    fn schedule(&mut self, state: u32) {
        let Some(held) = self.states.get_mut(state) else {
            return;
        };
        let Some(due_us) = held.memory.due_us(&held.condition) else {
            return;
        };
        match held.queued_us {
            // It is asked again then; each sample that puts it off costs nothing here.
            Some(queued_us) if queued_us <= due_us => return,
            Some(queued_us) => {
                self.queue.remove(&(queued_us, state));
            }
            None => {}
        }
        held.queued_us = Some(due_us);
        self.queue.insert((due_us, state));
    }
}
