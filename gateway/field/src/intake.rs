//! What of all that sources say is said to the hub: values scaled and judged, changes rather than
//! repetitions, faults once. Pure: times come with the events.

use std::{collections::HashMap, sync::Arc};

use stencil_protocol::{
    id::DeviceId,
    line::Line,
    sample::{MAX_TEXT, OwnedSample, OwnedValue},
};

use crate::{
    Fault,
    mapping::{Deadband, Device, Mapping, Point, Report},
    port::{Event, Quality},
    run::Counts,
};

/// The reading by which a device's own state is told.
const STATUS: &str = "field.status";
/// What is behind the name of a point that fails.
const FAULT: &str = ".fault";
/// What is said where nothing is wrong.
const OK: &str = "ok";
/// How soon the same fault of the same device or point is logged again.
const LOG_AGAIN_US: i64 = 600 * 1_000_000;
/// The longest text of a fault in a reading.
const MAX_SAID: usize = MAX_TEXT;

/// What is said to the hub.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Said {
    /// A device answers; before its first reading, and again when it was silent.
    Linked {
        /// The device.
        device: DeviceId,
        /// The line it hangs on.
        line: Line,
        /// When: microseconds since the Unix epoch.
        at_us: i64,
    },
    /// A device does not answer, or is in the mapping no more.
    Gone {
        /// The device.
        device: DeviceId,
        /// When.
        at_us: i64,
    },
    /// A reading, or what is told of faults.
    Sample {
        /// The device.
        device: DeviceId,
        /// The line it hangs on.
        line: Line,
        /// The reading.
        sample: OwnedSample,
    },
    /// All that was read of the MQTT messages with tickets up to this one has been said.
    Ticket(u64),
}

/// Whether a device answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// It was not asked yet.
    New,
    Answers,
    Silent(Fault),
}

/// The devices of one mapping.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    devices: HashMap<DeviceId, Known>,
}

#[derive(Debug)]
pub(crate) struct Known {
    device: Arc<Device>,
    line: Line,
    /// The line by the mapping; messages of MQTT devices tell theirs.
    written: Line,
    /// Which start of its source is heard.
    epoch: u64,
    pub(crate) state: State,
    logged: Logged,
    points: HashMap<Arc<str>, Told>,
}

/// What of a point was told last.
#[derive(Debug)]
struct Told {
    /// Where it is in the device's list.
    index: usize,
    sent: Option<(OwnedValue, i64)>,
    /// The time that its last reading came with, and the one that was said of it.
    stamped: Option<(i64, i64)>,
    fault: Option<Fault>,
    /// Nothing was heard of it since the start: what was said of it before may be a fault.
    is_new: bool,
    logged: Logged,
}

/// The fault that was logged last, and when.
#[derive(Debug, Default)]
struct Logged(Option<(Fault, i64)>);

impl Logged {
    /// Whether to log it. A device that comes and goes would fill the log.
    fn is_news(&mut self, fault: &Fault, at_us: i64) -> bool {
        let known = self.0.as_ref().is_some_and(|(last, since_us)| {
            last.is_like(fault) && at_us.saturating_sub(*since_us) < LOG_AGAIN_US
        });
        if !known {
            self.0 = Some((fault.clone(), at_us));
        }
        !known
    }
}

impl Intake {
    /// Takes over to another mapping. Of devices that stay as they are, what was told is still
    /// known. Those that are gone are said to be. `epochs` has the start of each connection's
    /// source.
    pub(crate) fn replace(
        &mut self,
        mapping: &Mapping,
        epochs: &[u64],
        at_us: i64,
        said: &mut Vec<Said>,
    ) {
        let mut before = std::mem::take(&mut self.devices);
        for (connection, epoch) in mapping.connections.iter().zip(epochs) {
            let line = connection.protocol.line();
            for device in &connection.devices {
                let kept = before
                    .remove(&device.id)
                    .filter(|known| known.device == *device && known.written == line);
                let known = match kept {
                    Some(known) => Known {
                        epoch: *epoch,
                        ..known
                    },
                    None => Known::new(Arc::clone(device), line, *epoch),
                };
                self.devices.insert(device.id.clone(), known);
            }
        }
        for (device, known) in before {
            if known.state == State::Answers {
                said.push(Said::Gone { device, at_us });
            }
        }
    }

    /// Takes note of the line over which a device speaks now.
    pub(crate) fn hung_on(
        &mut self,
        epoch: u64,
        device: &DeviceId,
        line: Line,
        at_us: i64,
        said: &mut Vec<Said>,
    ) {
        let known = self.devices.get_mut(device);
        let Some(known) = known.filter(|known| known.epoch == epoch && known.line != line) else {
            return;
        };
        known.line = line;
        if known.state == State::Answers {
            said.push(Said::Linked {
                device: device.clone(),
                line,
                at_us,
            });
        }
    }

    /// Takes what a source says; appends what is said to the hub. That a device answers is so `now_us`,
    /// however old its reading is: a link of the past would be nothing to a hub that knows of a later
    /// silence.
    pub(crate) fn take(
        &mut self,
        epoch: u64,
        event: Event,
        now_us: i64,
        counts: &Counts,
        said: &mut Vec<Said>,
    ) {
        let device = match &event {
            Event::Reading(reading) => &reading.device,
            Event::Fault { device, .. }
            | Event::Answers { device, .. }
            | Event::Silent { device, .. } => device,
        };
        let Some(known) = self.devices.get_mut(device).filter(|it| it.epoch == epoch) else {
            return;
        };
        match event {
            Event::Answers { at_us, .. } => known.answers(at_us, said),
            Event::Silent { fault, at_us, .. } => known.silent(fault, at_us, counts, said),
            Event::Fault {
                point,
                fault,
                at_us,
                ..
            } => {
                known.answers(now_us, said);
                known.fault(&point, fault, at_us, counts, said);
            }
            Event::Reading(reading) => {
                known.answers(now_us, said);
                counts.readings.add(1);
                let Some(point) = known.point(&reading.point) else {
                    return;
                };
                match point.judge(&reading.value) {
                    Err(fault) => {
                        known.fault(&reading.point, fault, reading.at_us, counts, said);
                    }
                    Ok(value) => {
                        let at_us = reading.at_us;
                        match reading.quality {
                            Quality::Good => known.well(&reading.point, at_us, said),
                            Quality::Uncertain(why) => {
                                let fault = Fault::Uncertain(why);
                                known.fault(&reading.point, fault, at_us, counts, said);
                            }
                        }
                        known.value(&reading.point, value, at_us, counts, said);
                    }
                }
            }
        }
    }

    pub(crate) fn devices(&self) -> impl Iterator<Item = &Known> {
        self.devices.values()
    }
}

impl Known {
    fn new(device: Arc<Device>, line: Line, epoch: u64) -> Self {
        let points = device.points.iter().enumerate().map(|(index, point)| {
            let told = Told {
                index,
                sent: None,
                stamped: None,
                fault: None,
                is_new: true,
                logged: Logged::default(),
            };
            (Arc::clone(&point.name), told)
        });
        Self {
            points: points.collect(),
            device,
            line,
            written: line,
            epoch,
            state: State::New,
            logged: Logged::default(),
        }
    }

    pub(crate) fn id(&self) -> &DeviceId {
        &self.device.id
    }

    /// The points that have no value, with the reason.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (&Arc<str>, &Fault)> {
        self.points
            .iter()
            .filter_map(|(name, told)| Some((name, told.fault.as_ref()?)))
    }

    fn point(&self, name: &str) -> Option<&Point> {
        self.device.points.get(self.points.get(name)?.index)
    }

    fn answers(&mut self, at_us: i64, said: &mut Vec<Said>) {
        let before = std::mem::replace(&mut self.state, State::Answers);
        if before == State::Answers {
            return;
        }
        let device = self.device.id.clone();
        tracing::info!(%device, line = %self.line, "the field device answers");
        said.push(Said::Linked {
            device,
            line: self.line,
            at_us,
        });
        self.tell(STATUS.to_owned(), OK.to_owned(), at_us, said);
    }

    fn silent(&mut self, fault: Fault, at_us: i64, counts: &Counts, said: &mut Vec<Said>) {
        let before = std::mem::replace(&mut self.state, State::Silent(fault.clone()));
        if matches!(&before, State::Silent(last) if last.is_like(&fault)) {
            return;
        }
        counts.faults.add(1);
        let device = self.device.id.clone();
        if self.logged.is_news(&fault, at_us) {
            let right = fault.right();
            tracing::warn!(%device, line = %self.line, %fault, right, "the field device is silent");
        }
        self.tell(STATUS.to_owned(), fault.to_string(), at_us, said);
        if before == State::Answers {
            said.push(Said::Gone { device, at_us });
        }
        // What it had before the silence may not be what it has after it.
        for told in self.points.values_mut() {
            told.sent = None;
        }
    }

    fn fault(
        &mut self,
        name: &Arc<str>,
        fault: Fault,
        at_us: i64,
        counts: &Counts,
        said: &mut Vec<Said>,
    ) {
        let Some(told) = self.points.get_mut(name) else {
            return;
        };
        if told.fault.as_ref().is_some_and(|last| last.is_like(&fault)) {
            return;
        }
        told.fault = Some(fault.clone());
        told.is_new = false;
        // The first good value after it is sent, whatever the deadband says.
        told.sent = None;
        counts.faults.add(1);
        if told.logged.is_news(&fault, at_us) {
            let right = fault.right();
            let device = &self.device.id;
            tracing::warn!(%device, point = %name, %fault, right, "a point has no good value");
        }
        self.tell(format!("{name}{FAULT}"), fault.to_string(), at_us, said);
    }

    /// A point that failed does so no more; or it may have failed before the start.
    fn well(&mut self, name: &Arc<str>, at_us: i64, said: &mut Vec<Said>) {
        let Some(told) = self.points.get_mut(name) else {
            return;
        };
        let failed = told.fault.take().is_some();
        if failed {
            tracing::info!(device = %self.device.id, point = %name, "the point is well again");
        }
        if std::mem::take(&mut told.is_new) || failed {
            self.tell(format!("{name}{FAULT}"), OK.to_owned(), at_us, said);
        }
    }

    fn value(
        &mut self,
        name: &Arc<str>,
        value: OwnedValue,
        at_us: i64,
        counts: &Counts,
        said: &mut Vec<Said>,
    ) {
        let Some(told) = self.points.get_mut(name) else {
            return;
        };
        let Some(point) = self.device.points.get(told.index) else {
            return;
        };
        if !is_due(&point.report, told.sent.as_ref(), &value, at_us) {
            return;
        }
        // The same message again, whose acknowledgement was lost.
        if told
            .sent
            .as_ref()
            .is_some_and(|sent| *sent == (value.clone(), at_us))
        {
            return;
        }
        told.sent = Some((value.clone(), at_us));
        // A series has one value at a time: of a device that tells seconds, each in the same second
        // comes a microsecond after the one before it, so that all are kept.
        let time_us = match told.stamped {
            Some((given_us, said_us)) if given_us == at_us => said_us.saturating_add(1),
            _ => at_us,
        };
        told.stamped = Some((at_us, time_us));
        counts.samples.add(1);
        said.push(Said::Sample {
            device: self.device.id.clone(),
            line: self.line,
            sample: OwnedSample {
                name: name.to_string(),
                value,
                unit: point.unit.as_deref().map(str::to_owned),
                time_us,
            },
        });
    }

    fn tell(&self, name: String, text: String, at_us: i64, said: &mut Vec<Said>) {
        said.push(Said::Sample {
            device: self.device.id.clone(),
            line: self.line,
            sample: OwnedSample {
                name,
                value: OwnedValue::Text(shortened(text)),
                unit: None,
                time_us: at_us,
            },
        });
    }
}

/// Whether a value is to be sent.
fn is_due(
    report: &Report,
    sent: Option<&(OwnedValue, i64)>,
    value: &OwnedValue,
    at_us: i64,
) -> bool {
    let (
        Report::Changes {
            deadband,
            max_silence,
        },
        Some((last, since_us)),
    ) = (report, sent)
    else {
        return true;
    };
    let silent_us = at_us.saturating_sub(*since_us);
    // A clock that was set back must not hold it up either.
    if silent_us < 0 || u128::from(silent_us.unsigned_abs()) >= max_silence.as_micros() {
        return true;
    }
    let numbers = match (last, value) {
        (OwnedValue::Text(_) | OwnedValue::Bool(_), _)
        | (_, OwnedValue::Text(_) | OwnedValue::Bool(_)) => None,
        (last, value) => last.as_ref().as_f64().zip(value.as_ref().as_f64()),
    };
    let Some((last_number, number)) = numbers else {
        return last != value;
    };
    let least = match deadband {
        Deadband::Absolute(least) => *least,
        Deadband::Percent(percent) => last_number.abs() * percent / 100.0,
    };
    let change = (number - last_number).abs();
    // Of zero, every change is more.
    change > least || (last != value && least == 0.0)
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_SAID {
        let mut end = MAX_SAID - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    // A device may have chosen a part of it.
    text.retain(|character| !character.is_control());
    text
}

#[cfg(test)]
mod tests;
