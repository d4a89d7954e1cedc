//! A site whose gateway has no hub for days: devices that hand in what they measured in that time,
//! each value with its own timestamp, and go on in real time afterwards.
//!
//! Every device runs the firmware application over the real link and keeps a journal, as in a
//! [`fleet`](crate::fleet); what it measured in the days is given as fast as the gateway takes it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stencil_firmware::Config;
use stencil_firmware::sensor::{Error as SensorError, Reading, Sensor, Taken};
use stencil_protocol::id::DeviceId;
use stencil_protocol::sample::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::backoff::Reconnect;
use crate::device::{Device, Home, now_us};
use crate::dial::Dial;
use crate::random::Random;
use crate::{Error, Outcome};

/// The name of the series of each device.
pub const SERIES: &str = "temperature";

/// Between two looks of a device at its sensor.
const LOOK_US: u64 = 20_000;
/// Values that a look may give.
const READINGS: usize = 24;
/// A journal is never shortened here: its values are compared.
const JOURNAL_MAX_BYTES: u64 = 1 << 40;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the devices' retained memory is kept.
    pub state_dir: PathBuf,
    /// Where their journals are kept.
    pub journal_dir: PathBuf,
    /// Where their keys are: `{device}.psk`.
    pub psk_dir: PathBuf,
    /// The gateway, `host:port`.
    pub gateway: String,
    /// The devices.
    pub devices: Vec<DeviceId>,
    /// When the days begin, in microseconds since the Unix epoch.
    pub from_us: i64,
    /// When they end.
    pub to_us: i64,
    /// Between two values of a device in the days.
    pub step_us: i64,
    /// Between two values of a device in real time.
    pub live_interval: Duration,
    /// For what is left to chance.
    pub seed: u64,
    /// After the stop: go on sending for at most so long.
    pub drain: Duration,
}

/// How far the site is, and what it shall do.
#[derive(Debug, Default)]
pub struct Site {
    given: AtomicU64,
    live: AtomicBool,
}

impl Site {
    /// Values that all devices have given of the days.
    pub fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// From now on devices that have given the days measure in real time.
    pub fn go_live(&self) {
        self.live.store(true, Ordering::Relaxed);
    }
}

/// Runs the devices until `stop` holds true and each has handed in what it gave.
///
/// # Errors
/// A device's key, state or journal that cannot be used. A gateway that cannot be reached is none.
pub async fn run(
    options: Options,
    site: Arc<Site>,
    stop: watch::Receiver<bool>,
) -> Result<Outcome, Error> {
    let home = Home {
        state_dir: options.state_dir.clone(),
        journal_dir: options.journal_dir.clone(),
        psk_dir: options.psk_dir.clone(),
        journal_max_bytes: JOURNAL_MAX_BYTES,
    };
    home.prepare()?;
    let mut devices = JoinSet::new();
    for (index, device) in options.devices.iter().enumerate() {
        let mut config = Config::new(device.clone(), home.psk(device)?);
        config.sample_interval_us = LOOK_US;
        config.lossless = true;
        config.readings_per_measure = READINGS;
        config.batch_delay_us = 50_000;
        let mut random = Random::new(options.seed, device.as_str());
        // Not all at the same moments, and none at a whole second.
        #[expect(clippy::cast_possible_truncation, reason = "less than the step")]
        let offset_us = (random.between(0.0, 1.0) * options.step_us as f64) as i64;
        let thermometer = Thermometer {
            site: Arc::clone(&site),
            next_us: options.from_us + offset_us,
            to_us: options.to_us,
            step_us: options.step_us,
            live_interval: options.live_interval,
            live_at: None,
            index,
        };
        // No mishaps: nobody holds the other end.
        let (_, mishaps) = mpsc::channel(1);
        let simulated = Device {
            journal: home.journal(device)?,
            home: home.clone(),
            dial: Dial::new(
                watch::channel(options.gateway.clone()).1,
                &Reconnect::default(),
                random,
            ),
            mishaps,
            stop: stop.clone(),
            drain: options.drain,
            config,
        };
        devices.spawn(async move {
            let running = simulated.run(move || (thermometer.clone(), ()), || false);
            Box::pin(running).await
        });
    }
    let mut outcome = Outcome::default();
    while let Some(ended) = devices.join_next().await {
        // A device that has panicked has not handed in everything; its journal shows what.
        if let Ok(ended) = ended {
            let ended = ended?;
            outcome.add(ended.device, &ended.progress);
        }
    }
    Ok(outcome)
}

/// A sensor that knows what there was to measure.
#[derive(Clone)]
struct Thermometer {
    site: Arc<Site>,
    next_us: i64,
    to_us: i64,
    step_us: i64,
    live_interval: Duration,
    live_at: Option<Instant>,
    index: usize,
}

impl Thermometer {
    /// A day's rise and fall, different at each device.
    fn value(&self, time_us: i64) -> f64 {
        const DAY_US: i64 = 86_400_000_000;
        #[expect(
            clippy::cast_precision_loss,
            reason = "a part of a day, a small number"
        )]
        let (day, index) = (
            time_us.rem_euclid(DAY_US) as f64 / DAY_US as f64,
            self.index as f64,
        );
        let celsius = -18.0 + 2.5 * (std::f64::consts::TAU * (day + index / 97.0)).sin();
        (celsius * 100.0).round() / 100.0
    }

    fn give(&self, time_us: i64, out: &mut dyn FnMut(Reading<'_>)) {
        out(Reading {
            name: SERIES,
            value: Value::Number(self.value(time_us)),
            unit: Some("degC"),
            taken: Taken::At(time_us),
        });
    }
}

impl Sensor for Thermometer {
    fn measure(&mut self, out: &mut dyn FnMut(Reading<'_>)) -> Result<(), SensorError> {
        for _ in 0..READINGS {
            if self.next_us >= self.to_us {
                break;
            }
            self.give(self.next_us, out);
            self.next_us += self.step_us;
            self.site.given.fetch_add(1, Ordering::Relaxed);
        }
        if self.next_us < self.to_us || !self.site.live.load(Ordering::Relaxed) {
            return Ok(());
        }
        let due = self
            .live_at
            .is_none_or(|at| at.elapsed() >= self.live_interval);
        if due {
            self.live_at = Some(Instant::now());
            self.give(now_us(), out);
        }
        Ok(())
    }
}
