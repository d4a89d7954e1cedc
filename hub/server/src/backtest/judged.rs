//! A rule over a stream of samples, and when it fires.

use std::collections::HashMap;
use std::ops::Range;

use stencil_protocol::id::DeviceId;
use stencil_protocol::sample::OwnedValue;
use stencil_rules::{Bounds, Cause, Change, Engine, Error, Observation, Rule};
use stencil_store::SeriesPoint;
use stencil_workflow::Definition;

use super::{Backtest, BacktestFiring};

/// Firings that are listed; all of them are counted.
const MAX_FIRINGS: usize = 1_000;

/// The engine with one rule, and what it has said.
pub(super) struct Judged<'a> {
    engine: Engine<()>,
    devices: &'a [DeviceId],
    range: Range<i64>,
    found: Found,
}

#[derive(Debug, Default)]
struct Found {
    firings: Vec<BacktestFiring>,
    /// All of them, also those that are not listed.
    count: u64,
    /// Which listed firing of a device has not ended.
    open: HashMap<String, usize>,
}

impl<'a> Judged<'a> {
    pub(super) fn new(
        rule: Rule,
        devices: &'a [DeviceId],
        range: Range<i64>,
    ) -> Result<Self, Error> {
        let mut engine = Engine::new(Bounds::default());
        engine.put((), rule)?;
        Ok(Self {
            engine,
            devices,
            range,
            found: Found::default(),
        })
    }

    /// Takes the next sample by event time. As far as anybody knows it was received when it was
    /// measured.
    pub(super) fn sample(
        &mut self,
        device: usize,
        name: &str,
        unit: Option<&str>,
        point: &SeriesPoint,
    ) {
        let (devices, range, found) = (self.devices, &self.range, &mut self.found);
        let time_us = point.time_us;
        self.engine.advance(time_us, |(), device, _, change| {
            found.take(device, range, change);
        });
        let device = devices[device].as_str();
        let observation = Observation {
            device,
            name,
            time_us,
            received_us: time_us,
            value: OwnedValue::as_ref(&point.value),
            unit,
            cause: Cause::Timed { time_us },
        };
        self.engine.observe(&observation, |(), _, change| {
            found.take(device, range, change);
        });
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, to_us: i64) {
        let (range, found) = (&self.range, &mut self.found);
        self.engine.advance(to_us, |(), device, _, change| {
            found.take(device, range, change);
        });
    }

    /// What came of it. Devices, end and what really happened are the caller's to add.
    pub(super) fn report(self, definition: &Definition, samples: u64) -> Backtest {
        let Found { firings, count, .. } = self.found;
        let runs = if definition.steps.is_empty() {
            0
        } else {
            count
        };
        let alarms = if definition.alarm.is_none() { 0 } else { count };
        Backtest {
            workflow: definition.id.clone(),
            version: definition.version,
            rule: definition.source.to_string(),
            from_us: self.range.start,
            to_us: self.range.end,
            through_us: self.range.end,
            samples,
            devices: 0,
            truncated: (count > MAX_FIRINGS as u64)
                .then(|| format!("only the first {MAX_FIRINGS} of {count} firings")),
            firings,
            would_run: runs,
            would_raise: alarms,
            active_version: None,
            actual: Vec::new(),
        }
    }
}

impl Found {
    fn take(&mut self, device: &str, range: &Range<i64>, change: Change) {
        match change {
            Change::Fired(firing) if range.contains(&firing.at_us) => {
                self.count += 1;
                if self.firings.len() >= MAX_FIRINGS {
                    return;
                }
                let Ok(id) = DeviceId::parse(device) else {
                    return;
                };
                self.open.insert(device.to_owned(), self.firings.len());
                self.firings.push(BacktestFiring {
                    device: id,
                    since_us: firing.since_us,
                    at_us: firing.at_us,
                    cleared_us: None,
                    value: firing.value.map(stencil_rules::Finite::get),
                });
            }
            Change::Fired(_) => {}
            Change::Cleared(clearing) => {
                if let Some(listed) = self.open.remove(device) {
                    self.firings[listed].cleared_us = Some(clearing.at_us);
                }
            }
        }
    }
}
