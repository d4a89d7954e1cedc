//! Measures with the chips of a bus, each as often as its device says.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use stencil_protocol::{line::Line, sample::OwnedValue};
use tokio::time::{Instant, sleep_until};

use super::{
    Measured,
    bus::{Bus, Open},
};
use crate::{
    Fault, Of,
    check::Answer,
    mapping::{Chip, Connection, Device, Link, Target},
    port::{Quality, Reading, Sink, Source, now_us},
};

/// The first wait before what did not answer is asked again.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// A bus that is polled.
pub(crate) struct Poller {
    connection: Arc<Connection>,
    wire: Wire,
    sensors: Vec<Sensor>,
}

struct Sensor {
    device: Arc<Device>,
    chip: Chip,
    every: Duration,
    at: Instant,
    /// How long it is left alone when it does not answer again.
    backoff: Duration,
}

/// The bus while it is open, and what opens it.
struct Wire {
    open: Arc<dyn Open>,
    bus: Option<Box<dyn Bus>>,
}

impl Wire {
    /// Measures on the bus, which is opened if it is not.
    async fn measure(&mut self, chip: Chip) -> Result<Measured, Fault> {
        let (open, bus) = (Arc::clone(&self.open), self.bus.take());
        let measuring = tokio::task::spawn_blocking(move || {
            let mut bus = match bus {
                Some(bus) => bus,
                None => open.open()?,
            };
            let measured = bus.measure(chip);
            Ok::<_, Fault>((bus, measured))
        });
        let (bus, measured) = measuring
            .await
            .unwrap_or_else(|_| Err(Fault::Bus("its driver has ended by a bug".to_owned())))?;
        // After a fault of the bus itself it is opened anew.
        if !matches!(measured, Err(Fault::Bus(_))) {
            self.bus = Some(bus);
        }
        measured
    }
}

impl Source for Poller {
    fn line(&self) -> Line {
        Line::I2c
    }

    fn run(mut self: Box<Self>, sink: Sink) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            loop {
                self.step(&sink).await;
            }
        })
    }
}

impl Poller {
    pub(crate) fn new(connection: Arc<Connection>, open: Arc<dyn Open>) -> Self {
        let now = Instant::now();
        let sensors = connection.devices.iter().filter_map(|device| {
            let Link::I2c(chip) = device.link else {
                return None;
            };
            Some(Sensor {
                device: Arc::clone(device),
                chip,
                every: device.points.first()?.every,
                at: now,
                backoff: FIRST_BACKOFF,
            })
        });
        Self {
            sensors: sensors.collect(),
            wire: Wire { open, bus: None },
            connection,
        }
    }

    /// Waits for what is due first, and measures.
    async fn step(&mut self, sink: &Sink) {
        let Some(sensor) = self.sensors.iter_mut().min_by_key(|sensor| sensor.at) else {
            return std::future::pending().await;
        };
        sleep_until(sensor.at).await;
        let measured = self.wire.measure(sensor.chip).await;
        let now = Instant::now();
        match measured {
            Ok(measured) => {
                sensor.backoff = FIRST_BACKOFF;
                // What could not be kept up with is left out.
                sensor.at = (sensor.at + sensor.every).max(now);
                say(&sensor.device, &measured, sink).await;
            }
            Err(fault) => {
                sensor.at = now + sensor.backoff;
                let longest = self.connection.max_backoff;
                sensor.backoff = sensor.backoff.saturating_mul(2).min(longest);
                if fault.of() == Of::Connection {
                    // None of the others is to be found there either.
                    let until = sensor.at;
                    for sensor in &mut self.sensors {
                        sensor.at = sensor.at.max(until);
                        sink.silent(&sensor.device.id, fault.clone()).await;
                    }
                } else {
                    sink.silent(&sensor.device.id, fault).await;
                }
            }
        }
    }
}

/// Says what a device's points have of a measurement.
async fn say(device: &Device, measured: &Measured, sink: &Sink) {
    let at_us = now_us();
    for point in &device.points {
        if let Some(value) = of(&point.target, measured) {
            let reading = Reading {
                device: device.id.clone(),
                point: Arc::clone(&point.name),
                value,
                at_us,
                quality: Quality::Good,
            };
            sink.reading(reading).await;
        }
    }
}

fn of(target: &Target, measured: &Measured) -> Option<OwnedValue> {
    let Target::I2c(quantity) = target else {
        return None;
    };
    let found = measured.iter().find(|(measured, _)| measured == quantity);
    found.map(|(_, value)| OwnedValue::Number(*value))
}

/// Measures with each chip of a connection once: an answer a point, in the order of the mapping.
pub(crate) async fn try_all(connection: &Connection, open: Arc<dyn Open>) -> Vec<Answer> {
    let mut wire = Wire { open, bus: None };
    let mut answers = Vec::new();
    for device in &connection.devices {
        let Link::I2c(chip) = device.link else {
            continue;
        };
        let begun = Instant::now();
        let measured = wire.measure(chip).await;
        let took = Some(begun.elapsed());
        for point in &device.points {
            let value = measured.clone().and_then(|measured| {
                let value = of(&point.target, &measured);
                value.ok_or_else(|| Fault::Nonsense("it does not measure that".to_owned()))
            });
            answers.push(Answer { value, took });
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    };

    use stencil_firmware::model::{Air, Fault as Broken, ModelDelay, Sht4xModel};
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        i2c::bus,
        mapping::parse,
        port::{Event, MAX_WAITING},
    };

    const YAML: &str = "version: 1\nconnections:\n  board: { i2c: /dev/i2c-1, max-backoff: 2s }\n\
                        devices:\n  cabinet:\n    connection: board\n    driver: sht4x\n    every: \
                        100ms\n    points:\n      temperature: { value: temperature }\n      rh: { \
                        value: humidity }\n";

    /// A bus with one chip, that is what the test says.
    #[derive(Default)]
    struct Model {
        state: Arc<Mutex<(f64, Broken)>>,
        gone: Arc<Mutex<bool>>,
        opened: Arc<AtomicUsize>,
    }

    impl Open for Model {
        fn open(&self) -> Result<Box<dyn Bus>, Fault> {
            if *self.gone.lock().unwrap() {
                let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
                return Err(Fault::connect(&"/dev/i2c-1".into(), &missing));
            }
            self.opened.fetch_add(1, Ordering::Relaxed);
            let elapsed = Arc::new(AtomicU32::new(0));
            let state = Arc::clone(&self.state);
            let air = move || {
                let (temperature_degc, fault) = *state.lock().unwrap();
                Air {
                    temperature_degc,
                    humidity_percent: 40.0,
                    fault,
                }
            };
            Ok(Box::new(bus::Wire {
                bus: Sht4xModel::new(1, air, Arc::clone(&elapsed)),
                delay: ModelDelay::new(elapsed),
            }))
        }
    }

    fn connection() -> Arc<Connection> {
        let mapping = parse(YAML).unwrap_or_else(|errors| panic!("{errors}"));
        Arc::clone(&mapping.connections[0])
    }

    async fn next(events: &mut mpsc::Receiver<(u64, Event)>) -> String {
        let event = tokio::time::timeout(Duration::from_secs(30), events.recv());
        match event.await.unwrap().unwrap().1 {
            Event::Reading(reading) => match reading.value {
                OwnedValue::Number(number) => format!("{} {number:.1}", reading.point),
                other => format!("{other:?}"),
            },
            Event::Silent { fault, .. } => format!("silent: {fault}"),
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_chip_is_read_falls_silent_and_is_found_again() {
        let model = Model::default();
        *model.state.lock().unwrap() = (21.5, Broken::None);
        let (state, gone) = (Arc::clone(&model.state), Arc::clone(&model.gone));
        let opened = Arc::clone(&model.opened);
        let (to, mut events) = mpsc::channel(MAX_WAITING);
        let poller = Box::new(Poller::new(connection(), Arc::new(model)));
        let running = tokio::spawn(poller.run(Sink::new(to, 1)));
        assert_eq!(next(&mut events).await, "temperature 21.5");
        assert_eq!(next(&mut events).await, "rh 40.0");

        let mut until = async |says: &str| loop {
            let said = next(&mut events).await;
            if said.contains(says) {
                break;
            }
            assert!(
                said.starts_with("temperature")
                    || said.starts_with("rh")
                    || said.starts_with("silent"),
                "{said}"
            );
        };
        for (broken, says) in [
            (Broken::Absent, "nothing acknowledges at 0x44"),
            (Broken::Noisy, "checksum"),
        ] {
            state.lock().unwrap().1 = broken;
            until(says).await;
            *state.lock().unwrap() = (30.0, Broken::None);
            until("temperature 30.0").await;
        }
        assert_eq!(opened.load(Ordering::Relaxed), 1, "the bus itself was well");
        assert!(!*gone.lock().unwrap());
        running.abort();
    }

    #[tokio::test]
    async fn a_bus_that_is_not_there_is_tried_again_and_check_says_so() {
        let model = Arc::new(Model::default());
        *model.gone.lock().unwrap() = true;
        let answers = try_all(&connection(), Arc::clone(&model) as Arc<dyn Open>).await;
        assert_eq!(answers.len(), 2);
        let fault = answers[1].value.clone().unwrap_err().to_string();
        assert!(
            fault.contains("/dev/i2c-1") && fault.contains("no such file"),
            "{fault}"
        );

        let (to, mut events) = mpsc::channel(MAX_WAITING);
        let poller = Box::new(Poller::new(
            connection(),
            Arc::clone(&model) as Arc<dyn Open>,
        ));
        let running = tokio::spawn(poller.run(Sink::new(to, 1)));
        assert!(next(&mut events).await.contains("no such file"));
        *model.gone.lock().unwrap() = false;
        *model.state.lock().unwrap() = (-5.0, Broken::None);
        while next(&mut events).await != "temperature -5.0" {}
        running.abort();
        let answers = try_all(&connection(), model).await;
        assert!(answers.iter().all(|answer| answer.value.is_ok()));
    }
}
