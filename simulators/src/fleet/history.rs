//! What a fleet would have measured over a long time, at once: the same physics, noise and chips as
//! a fleet that runs, without links and without waiting.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use serde::{Deserialize, Serialize};
use stencil_firmware::model::{Air, Fault, ModelDelay, Sht4xModel};
use stencil_firmware::sensor::Reading;
use stencil_firmware::{Sht4x, sensor};
use stencil_protocol::sample::Value;

use super::freezer::Freezer;
use super::kind::Kind;
use super::options::Options;
use super::world::{freezer_air, room_air};
use crate::Error;
use crate::random::Random;

/// The longest history in days.
const MAX_DAYS: u32 = 3_660;
/// Days are counted from here: 2023-11-14T22:13:20Z.
const BEGAN_US: i64 = 1_700_000_000_000_000;
/// A device stamps a measurement when it wakes for it. The timer that wakes it has ticks of a
/// millisecond, and so has the wait for the next tick (epoll); each rounds up. A fleet that runs
/// was measured: half of its stamps lie within 0.75 ms, which is this and some more.
const TICK_US: f64 = 1_000.0;
const DAY_S: f64 = 24.0 * 3_600.0;
/// A door is left open about so often and so long, in seconds.
const DOOR_EVERY_S: f64 = 5.0 * 3_600.0;
const DOOR_OPEN_S: f64 = 4.0 * 60.0;

/// The settings of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct History {
    /// How many freezers, up to 1,000.
    pub freezers: u32,
    /// How many door locks, up to 1,000.
    pub locks: u32,
    /// How many rooms, up to 1,000.
    pub rooms: u32,
    /// How many days.
    pub days: u32,
    /// The mean of the seconds between two measurements; each device has its own within a third.
    pub interval_s: f64,
    /// What all noise follows from.
    pub seed: u64,
}

impl Default for History {
    fn default() -> Self {
        Self {
            freezers: 10,
            locks: 10,
            rooms: 5,
            days: 90,
            interval_s: 60.0,
            seed: 1,
        }
    }
}

/// A device of the history, between two of its measurements.
struct Device {
    name: String,
    interval_us: f64,
    surroundings: Surroundings,
    random: Random,
    measured: u64,
}

enum Surroundings {
    Freezer(Freezer, Chip, Door),
    Room(f64, Chip),
    Lock(Door),
}

/// A climate sensor, and the air that it is in.
struct Chip {
    air: Rc<Cell<Air>>,
    sensor: Box<dyn sensor::Sensor>,
}

/// When a door opens, and when it is closed, in seconds since the beginning.
struct Door {
    opens_s: f64,
    closes_s: f64,
}

impl History {
    /// Writes it as lines `device,name,time_us,value`, by time, with a head line. A value is a
    /// number, `true` or `false`.
    ///
    /// # Errors
    /// A setting that cannot be; what `out` says.
    pub fn write(&self, out: &mut impl Write) -> Result<u64, Error> {
        let mut devices = self.devices()?;
        let file = |source| Error::File {
            path: "history".into(),
            source,
        };
        let end_us = f64::from(self.days) * DAY_S * 1e6;
        let mut due: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::new();
        for (index, device) in devices.iter_mut().enumerate() {
            due.push(Reverse((device.next_us(), index)));
        }
        let mut lines = 0;
        writeln!(out, "device,name,time_us,value").map_err(file)?;
        while let Some(Reverse((at_us, index))) = due.pop() {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 µs")]
            let at = at_us as f64;
            if at >= end_us {
                continue;
            }
            let Some(device) = devices.get_mut(index) else {
                continue;
            };
            let mut written = Ok(());
            let name = device.name.clone();
            device.measure(at / 1e6, &mut |reading: Reading<'_>| {
                let time_us = BEGAN_US + at_us;
                let line = match reading.value {
                    Value::Number(n) => writeln!(out, "{name},{},{time_us},{n}", reading.name),
                    Value::Bool(b) => writeln!(out, "{name},{},{time_us},{b}", reading.name),
                    // No sensor here gives another kind.
                    Value::Integer(_) | Value::Text(_) => Ok(()),
                };
                lines += 1;
                if let Err(error) = line {
                    written = Err(file(error));
                }
            });
            written?;
            due.push(Reverse((device.next_us(), index)));
        }
        Ok(lines)
    }

    fn devices(&self) -> Result<Vec<Device>, Error> {
        if !(1..=MAX_DAYS).contains(&self.days) {
            return Err(Error::Setting {
                setting: "days",
                why: "is a number from 1 to 3,660",
            });
        }
        if !(0.1..=86_400.0).contains(&self.interval_s) {
            return Err(Error::Setting {
                setting: "interval_s",
                why: "is a number from 0.1 to 86,400",
            });
        }
        let fleet = Options {
            freezers: self.freezers,
            locks: self.locks,
            rooms: self.rooms,
            ..Options::default()
        };
        let roster = fleet.roster()?;
        let devices = roster.into_iter().enumerate().map(|(nth, (id, kind, _))| {
            let mut random = Random::new(self.seed, &format!("history {id}"));
            let surroundings = match kind {
                Kind::Freezer => {
                    let freezer = Freezer::new(random.between(-20.5, -18.8));
                    Surroundings::Freezer(freezer, Chip::new(nth), Door::new(&mut random))
                }
                Kind::Room => Surroundings::Room(random.share(), Chip::new(nth)),
                Kind::Lock => Surroundings::Lock(Door::new(&mut random)),
            };
            Device {
                name: id.to_string(),
                interval_us: self.interval_s * 1e6 * random.between(0.67, 1.33),
                surroundings,
                random,
                measured: 0,
            }
        });
        Ok(devices.collect())
    }
}

impl Device {
    /// When the next measurement is stamped, in µs since the beginning.
    fn next_us(&mut self) -> i64 {
        self.measured += 1;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let due = self.measured as f64 * self.interval_us.floor();
        #[expect(clippy::cast_possible_truncation, reason = "within ten years of µs")]
        let at = (due + self.late_us() + self.late_us()) as i64;
        at
    }

    /// By how much one wait is longer than asked for.
    fn late_us(&mut self) -> f64 {
        self.random.between(0.0, TICK_US)
    }

    fn measure(&mut self, at_s: f64, take: &mut dyn FnMut(Reading<'_>)) {
        let contact = |name: &'static str, value| Reading {
            name,
            value: Value::Bool(value),
            unit: None,
            taken: sensor::Taken::Now,
        };
        let random = &mut self.random;
        match &mut self.surroundings {
            Surroundings::Freezer(freezer, chip, door) => {
                freezer.pass(self.interval_us / 1e6);
                freezer.move_door(door.is_open(at_s, random));
                chip.measure(freezer_air(freezer, random), take);
                take(contact("door", freezer.door_is_open()));
            }
            Surroundings::Room(phase, chip) => {
                chip.measure(room_air(at_s / DAY_S + *phase, random), take);
            }
            Surroundings::Lock(door) => take(contact("bolt", !door.is_open(at_s, random))),
        }
    }
}

impl Chip {
    fn new(serial: usize) -> Self {
        let air = Rc::new(Cell::new(Air {
            temperature_degc: 20.0,
            humidity_percent: 50.0,
            fault: Fault::None,
        }));
        let elapsed_us = Arc::new(AtomicU32::new(0));
        let source = Rc::clone(&air);
        let serial = u32::try_from(serial).unwrap_or(u32::MAX);
        let chip = Sht4xModel::new(serial, move || source.get(), Arc::clone(&elapsed_us));
        Self {
            air,
            sensor: Box::new(Sht4x::new(chip, ModelDelay::new(elapsed_us))),
        }
    }

    fn measure(&mut self, air: (f64, f64), take: &mut dyn FnMut(Reading<'_>)) {
        self.air.set(Air {
            temperature_degc: air.0,
            humidity_percent: air.1,
            fault: Fault::None,
        });
        // A sound chip answers.
        let _ = self.sensor.measure(take);
    }
}

impl Door {
    fn new(random: &mut Random) -> Self {
        let mut door = Self {
            opens_s: 0.0,
            closes_s: 0.0,
        };
        door.plan(random);
        door
    }

    fn plan(&mut self, random: &mut Random) {
        self.opens_s = self.closes_s + DOOR_EVERY_S * random.between(0.2, 1.8);
        self.closes_s = self.opens_s + DOOR_OPEN_S * random.between(0.1, 2.0);
    }

    fn is_open(&mut self, at_s: f64, random: &mut Random) -> bool {
        while at_s >= self.closes_s {
            self.plan(random);
        }
        at_s >= self.opens_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(history: &History) -> Vec<String> {
        let mut out = Vec::new();
        let lines = history.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count() as u64, lines + 1);
        text.lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn all_series_of_a_fleet_by_time_and_the_same_again() {
        let history = History {
            freezers: 2,
            locks: 1,
            rooms: 1,
            days: 2,
            ..History::default()
        };
        let all = lines(&history);
        // Two days by the minute, of 3 × 2 + 1 + 2 series.
        assert!((17_000..40_000).contains(&all.len()), "{}", all.len());
        let times = all.iter().map(|line| line.split(',').nth(2).unwrap());
        let times: Vec<i64> = times.map(|time| time.parse().unwrap()).collect();
        assert!(times.is_sorted());
        for series in [
            "freezer-01,temperature,",
            "freezer-02,humidity,",
            "freezer-02,door,",
            "lock-01,bolt,",
            "room-01,humidity,",
        ] {
            assert!(all.iter().any(|line| line.starts_with(series)), "{series}");
        }
        let open = all
            .iter()
            .filter(|line| line.contains(",door,") && line.ends_with("true"));
        assert!(open.count() > 4);
        let cold = |line: &&String| line.starts_with("freezer-01,temperature,");
        let values = all
            .iter()
            .filter(cold)
            .map(|line| line.rsplit(',').next().unwrap());
        let values: Vec<f64> = values.map(|value| value.parse().unwrap()).collect();
        assert!(values.iter().all(|value| (-23.0..15.0).contains(value)));
        assert_eq!(all, lines(&history));
    }

    #[test]
    fn names_the_setting_that_is_wrong() {
        for (wrong, name) in [
            (
                History {
                    days: 0,
                    ..History::default()
                },
                "days",
            ),
            (
                History {
                    interval_s: f64::NAN,
                    ..History::default()
                },
                "interval_s",
            ),
            (
                History {
                    locks: 1_001,
                    ..History::default()
                },
                "locks",
            ),
        ] {
            let error = wrong.write(&mut Vec::new()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{name}`")), "{error}");
        }
    }
}
