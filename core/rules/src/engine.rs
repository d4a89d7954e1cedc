//! All rules of a tenant, with the state of each device.

use std::collections::{BTreeMap, HashMap};

use crate::{Cause, Error, Finite, Firing, Pattern, State, Threshold};

/// One rule: which devices, and what is asked of their samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The devices that it is about; each has a state of its own.
    pub devices: Pattern,
    /// What is asked.
    pub threshold: Threshold,
}

/// A sample as the engine takes it.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Which device measured.
    pub device: &'a str,
    /// The sample's name.
    pub name: &'a str,
    /// Event time, µs since the Unix epoch.
    pub time_us: i64,
    /// When the hub (or gateway) received it, as recorded in the log, µs.
    pub received_us: i64,
    /// The value; see [`Finite::of`].
    pub value: Finite,
    /// The sample's identity.
    pub cause: Cause,
}

/// What an engine may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most rules; more are refused ([`Error::TooManyRules`]). Default 1,000.
    pub max_rules: usize,
    /// The most states (rule × device); samples of further devices are not
    /// watched, and counted ([`Metrics::unwatched`]). Default 1,000,000.
    pub max_states: usize,
    /// Samples further ahead of their reception than this are ignored and
    /// counted, in µs: one reading of a clock that runs years ahead would
    /// otherwise silence a rule for years. Default 10 minutes.
    pub max_ahead_us: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            max_rules: 1_000,
            max_states: 1_000_000,
            max_ahead_us: 600 * 1_000_000,
        }
    }
}

/// What an engine did not look at, counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Samples older than the newest one of their rule and device.
    pub late: u64,
    /// Samples too far ahead of their reception.
    pub ahead: u64,
    /// Samples of devices beyond [`Bounds::max_states`].
    pub unwatched: u64,
    /// Rules that fired.
    pub fired: u64,
}

/// The rules of one tenant, and what they remember. `K` names a rule (for the
/// hub: the workflow's id). Feed it every new sample in log order with
/// [`observe`](Self::observe); save what [`take_changed`](Self::take_changed)
/// hands out together with the log's position; give it back by
/// [`restore`](Self::restore) after a restart.
#[derive(Debug)]
pub struct Engine<K> {
    bounds: Bounds,
    rules: BTreeMap<K, Watch>,
    /// Keys of the rules on samples of a name, in the order of the keys.
    by_name: HashMap<String, Vec<K>>,
    states: usize,
    changed: Vec<(K, String)>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Watch {
    rule: Rule,
    devices: HashMap<String, Held>,
}

#[derive(Debug, Default)]
struct Held {
    state: State,
    /// Listed in `Engine::changed`.
    changed: bool,
}

impl<K: Ord + Clone> Engine<K> {
    /// An engine without rules.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            rules: BTreeMap::new(),
            by_name: HashMap::new(),
            states: 0,
            changed: Vec::new(),
            metrics: Metrics::default(),
        }
    }

    /// Adds a rule, or replaces the one of the same key. State is kept when
    /// the threshold is the same (devices that no longer match lose theirs);
    /// with another threshold every device starts afresh.
    ///
    /// # Errors
    /// [`Error::TooManyRules`].
    pub fn put(&mut self, key: K, rule: Rule) -> Result<(), Error> {
        if !self.rules.contains_key(&key) && self.rules.len() >= self.bounds.max_rules {
            return Err(Error::TooManyRules {
                max_rules: self.bounds.max_rules,
            });
        }
        let mut devices = match self.take(&key) {
            Some(old) if old.rule.threshold == rule.threshold => old.devices,
            _ => HashMap::new(),
        };
        devices.retain(|device, _| rule.devices.matches(device));
        self.states += devices.len();
        let keys = self
            .by_name
            .entry(rule.threshold.name().to_owned())
            .or_default();
        if let Err(place) = keys.binary_search(&key) {
            keys.insert(place, key.clone());
        }
        self.rules.insert(key, Watch { rule, devices });
        Ok(())
    }

    /// Takes a rule away with all its state; false if there was none.
    pub fn remove(&mut self, key: &K) -> bool {
        self.take(key).is_some()
    }

    /// The rules, in the order of their keys.
    pub fn rules(&self) -> impl Iterator<Item = (&K, &Rule)> {
        self.rules.iter().map(|(key, watch)| (key, &watch.rule))
    }

    /// Gives back a state that was saved. Saved state of a rule that is gone,
    /// no longer matches the device, or has another threshold is dropped.
    ///
    /// # Errors
    /// [`Error::SavedState`]; the device then starts afresh.
    pub fn restore(&mut self, key: &K, device: &str, bytes: &[u8]) -> Result<(), Error> {
        let Some(watch) = self.rules.get_mut(key) else {
            return Ok(());
        };
        if !watch.rule.devices.matches(device) {
            return Ok(());
        }
        let state = State::decode(&watch.rule.threshold, bytes)?;
        if watch
            .devices
            .insert(
                device.to_owned(),
                Held {
                    state,
                    changed: false,
                },
            )
            .is_none()
        {
            self.states += 1;
        }
        Ok(())
    }

    /// Takes the next sample in log order; `fire` is called for each rule
    /// that fires, in the order of the rules' keys. Duplicates must have been
    /// sorted out before.
    pub fn observe(&mut self, sample: &Observation<'_>, mut fire: impl FnMut(&K, &Rule, Firing)) {
        let Some(keys) = self.by_name.get(sample.name) else {
            return;
        };
        if sample.time_us.saturating_sub(sample.received_us) > self.bounds.max_ahead_us {
            self.metrics.ahead += 1;
            return;
        }
        for key in keys {
            let Some(watch) = self.rules.get_mut(key) else {
                continue;
            };
            let held = match watch.devices.get_mut(sample.device) {
                Some(held) => held,
                None if !watch.rule.devices.matches(sample.device) => continue,
                None if self.states >= self.bounds.max_states => {
                    self.metrics.unwatched += 1;
                    continue;
                }
                None => {
                    self.states += 1;
                    watch.devices.entry(sample.device.to_owned()).or_default()
                }
            };
            if held.state.is_late(sample.time_us) {
                self.metrics.late += 1;
                continue;
            }
            if !held.changed {
                held.changed = true;
                self.changed.push((key.clone(), sample.device.to_owned()));
            }
            let threshold = &watch.rule.threshold;
            let firing = held
                .state
                .apply(threshold, sample.time_us, sample.value, sample.cause);
            if let Some(firing) = firing {
                self.metrics.fired += 1;
                fire(key, &watch.rule, firing);
            }
        }
    }

    /// Hands out each state that has changed since the last call, encoded.
    pub fn take_changed(&mut self, mut save: impl FnMut(&K, &str, Vec<u8>)) {
        for (key, device) in self.changed.drain(..) {
            let Some(watch) = self.rules.get_mut(&key) else {
                continue;
            };
            let Some(held) = watch.devices.get_mut(&device) else {
                continue;
            };
            // Listed twice when its rule was replaced in between.
            if std::mem::take(&mut held.changed) {
                save(&key, &device, held.state.encode(&watch.rule.threshold));
            }
        }
    }

    /// How many states (rule × device) it holds.
    pub const fn states(&self) -> usize {
        self.states
    }

    /// What it did not look at, and how often rules fired.
    pub const fn metrics(&self) -> Metrics {
        self.metrics
    }

    fn take(&mut self, key: &K) -> Option<Watch> {
        let watch = self.rules.remove(key)?;
        self.states -= watch.devices.len();
        let name = watch.rule.threshold.name();
        if let Some(keys) = self.by_name.get_mut(name) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.by_name.remove(name);
            }
        }
        Some(watch)
    }
}
