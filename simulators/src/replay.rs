//! The replay of a recording as a device: every value with its own timestamp,
//! none left out.
//!
//! A recording is a CSV file with the header `timestamp,value` and lines such
//! as `2013-12-02 21:15:00,73.96732207` (UTC). The default is a real machine's
//! temperature of the Numenta Anomaly Benchmark (MIT licence, in `data/`).
//! After a restart, the replay goes on with the first value that the gateway
//! has not acknowledged.

mod cursor;
mod recording;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use stencil_firmware::Config;
use stencil_firmware::sensor::{Error as SensorError, Reading, Sensor, Taken};
use stencil_protocol::id::DeviceId;
use stencil_protocol::sample::{MAX_UNIT, Value, check_name};
use tokio::sync::{mpsc, watch};

use self::cursor::Cursor;
pub use self::recording::{Point, Recording};
use crate::backoff::Reconnect;
use crate::device::{Device, Ended, Home};
use crate::dial::Dial;
use crate::random::Random;
use crate::{Error, Outcome};

/// The settings of a replay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Where the device's retained memory is kept.
    pub state_dir: PathBuf,
    /// Where its journal is kept.
    pub journal_dir: PathBuf,
    /// Where its key is: `{device}.psk`.
    pub psk_dir: PathBuf,
    /// The gateway, `host:port`.
    pub gateway: String,
    /// The device's id.
    pub device: String,
    /// The series.
    pub name: String,
    /// The unit; empty for none.
    pub unit: String,
    /// The CSV file; empty for the recording that comes with the simulator.
    pub recording: PathBuf,
    /// How many times as fast as it was recorded; 0: as fast as the link takes
    /// it.
    pub speed: f64,
    /// At its end, keep the link open until the stop, rather than end.
    pub stay: bool,
    /// When the gateway cannot be reached.
    pub reconnect: Reconnect,
    /// After the stop: go on sending for at most this many seconds.
    pub drain_s: f64,
    /// Beyond this many bytes the journal is shortened.
    pub journal_max_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            state_dir: "simulators/state".into(),
            journal_dir: "simulators/journal".into(),
            psk_dir: "psk".into(),
            gateway: "127.0.0.1:7443".into(),
            device: "machine-01".into(),
            name: "temperature".into(),
            unit: String::new(),
            recording: PathBuf::new(),
            speed: 0.0,
            stay: true,
            reconnect: Reconnect::default(),
            drain_s: 10.0,
            journal_max_bytes: 32 << 20,
        }
    }
}

impl Options {
    fn check(&self) -> Result<DeviceId, Error> {
        let wrong = |setting, why| Err(Error::Setting { setting, why });
        if self.gateway.is_empty() {
            return wrong("gateway", "is `host:port`");
        }
        if !(0.0..=1e9).contains(&self.speed) {
            return wrong("speed", "is a number from 0 to 1000000000");
        }
        if !(0.0..=1e6).contains(&self.drain_s) {
            return wrong("drain_s", "is a number of seconds from 0 to 1000000");
        }
        if check_name(&self.name).is_err() {
            return wrong("name", "has 1 to 64 bytes and no control characters");
        }
        if self.unit.len() > MAX_UNIT || self.unit.chars().any(char::is_control) {
            return wrong("unit", "has at most 16 bytes and no control characters");
        }
        DeviceId::parse(&self.device).or(wrong(
            "device",
            "has 1 to 48 letters, digits, `.`, `_`, `-` and starts with a letter or digit",
        ))
    }
}

/// Replays a recording until its end is delivered (and, with `stay`, until
/// the stop), or until `stop` holds `true` (or its sender is gone).
///
/// # Errors
/// [`Error`] when a setting, the recording, the key, state or journal is
/// unusable. A gateway that cannot be reached is no error.
pub async fn run(options: Options, stop: watch::Receiver<bool>) -> Result<Outcome, Error> {
    let device = options.check()?;
    let recording = Arc::new(Recording::open(&options.recording)?);
    let home = Home {
        state_dir: options.state_dir.clone(),
        journal_dir: options.journal_dir.clone(),
        psk_dir: options.psk_dir.clone(),
        journal_max_bytes: options.journal_max_bytes,
    };
    home.prepare()?;
    let mut config = Config::new(device.clone(), home.psk(&device)?);
    config.sample_interval_us = 0;
    config.lossless = true;
    config.readings_per_measure = 1;
    config.batch_delay_us = 50_000;

    let state = home.flash(&device)?.state_or_fresh();
    let cursor_path = options.state_dir.join(format!("{device}.cursor"));
    let row = Cursor::resume(&cursor_path, &state)?;
    tracing::info!(%device, values = recording.points().len(), from = row, "replay starts");
    let player = Player {
        next: row,
        options: Arc::new(options.clone()),
        recording,
        exhausted: Arc::new(AtomicBool::new(false)),
        started: None,
    };
    let exhausted = Arc::clone(&player.exhausted);
    // No mishaps: nobody holds the other end.
    let (_, mishaps) = mpsc::channel(1);
    let simulated = Device {
        home: home.clone(),
        journal: home.journal(&device)?,
        dial: Dial::new(
            watch::channel(options.gateway.clone()).1,
            &options.reconnect,
            Random::new(1, device.as_str()),
        ),
        mishaps,
        stop,
        drain: crate::fleet::seconds(options.drain_s),
        config,
    };
    let stay = options.stay;
    let finished = move || !stay && exhausted.load(Ordering::Relaxed);
    let Ended { device, progress } =
        Box::pin(simulated.run(move || (player.clone(), ()), finished)).await?;
    let mut outcome = Outcome::default();
    outcome.add(device, &progress);
    Ok(outcome)
}

/// The recording as the device's sensor.
#[derive(Clone)]
struct Player {
    options: Arc<Options>,
    recording: Arc<Recording>,
    next: usize,
    /// When the first value of this run was given, and its time.
    started: Option<(Instant, i64)>,
    exhausted: Arc<AtomicBool>,
}

impl Sensor for Player {
    fn measure(&mut self, out: &mut dyn FnMut(Reading<'_>)) -> Result<(), SensorError> {
        let Some(point) = self.recording.points().get(self.next) else {
            self.exhausted.store(true, Ordering::Relaxed);
            return Ok(());
        };
        let (began, first_us) = *self.started.get_or_insert((Instant::now(), point.time_us));
        if self.options.speed > 0.0 {
            let passed_us = began.elapsed().as_secs_f64() * 1e6 * self.options.speed;
            #[expect(clippy::cast_precision_loss, reason = "a span of the recording")]
            let due_us = point.time_us.saturating_sub(first_us) as f64;
            if due_us > passed_us {
                return Ok(());
            }
        }
        out(Reading {
            name: &self.options.name,
            value: Value::Number(point.value),
            unit: Some(self.options.unit.as_str()).filter(|unit| !unit.is_empty()),
            taken: Taken::At(point.time_us),
        });
        self.next += 1;
        Ok(())
    }
}
