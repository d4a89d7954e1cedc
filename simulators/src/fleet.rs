//! A fleet of devices: freezers with doors, door locks, rooms.
//!
//! Each device runs the firmware application with its own memory, journal,
//! link and key. The freezers' air follows their doors and compressors; a lock
//! that is told to lock pulls its freezer's door shut. Doors are left open and
//! devices break by a schedule that follows from a seed.

mod board;
mod freezer;
mod history;
mod kind;
mod options;
mod schedule;
mod world;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use history::History;
pub use options::{Doors, FaultKind, Faults, Options};
use stencil_firmware::Config;
use stencil_firmware::model::Fault;
use stencil_protocol::id::DeviceId;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use self::board::{Health, Place};
use self::kind::Kind;
pub(crate) use self::options::seconds;
use self::schedule::{Incident, What};
use self::world::World;
use crate::device::{Device, Ended, Home, Mishap, now_us, stopped};
use crate::dial::Dial;
use crate::journal::{Journal, Line};
use crate::random::Random;
use crate::{Error, Outcome};

/// How many mishaps of a device may wait.
const MISHAPS: usize = 16;
/// Samples of a device may gather this long before they are sent.
const BATCH_DELAY_US: u64 = 100_000;
/// What the gateway has not acknowledged after this is sent again.
const RESEND_US: u64 = 2_000_000;

/// A device as the schedule sees it.
struct Target {
    device: DeviceId,
    health: Arc<Health>,
    mishaps: mpsc::Sender<Mishap>,
    journal: Arc<Journal>,
}

/// Runs a fleet until `stop` holds `true` (or its sender is gone), then lets
/// the devices deliver what they have.
///
/// # Errors
/// [`Error`] when a setting, key, state or journal is unusable. A gateway that
/// cannot be reached is no error: the devices try on.
pub async fn run(options: Options, stop: watch::Receiver<bool>) -> Result<Outcome, Error> {
    options.check()?;
    let home = Home {
        state_dir: options.state_dir.clone(),
        journal_dir: options.journal_dir.clone(),
        psk_dir: options.psk_dir.clone(),
        journal_max_bytes: options.journal_max_bytes,
    };
    home.prepare()?;
    let roster = options.roster()?;
    let mut journals = HashMap::new();
    let mut freezers = Vec::new();
    for (device, kind, _) in &roster {
        let journal = home.journal(device)?;
        if *kind == Kind::Freezer {
            freezers.push(Arc::clone(&journal));
        }
        journals.insert(device.clone(), journal);
    }
    let count = |kind| roster.iter().filter(|(_, other, _)| *other == kind).count();
    let (locks, rooms) = (count(Kind::Lock), count(Kind::Room));
    let world = Arc::new(World::new(
        options.speed,
        options.seed,
        freezers,
        locks,
        rooms,
    ));

    // All keys are read before the first device starts.
    let mut devices = Vec::new();
    let mut targets = Vec::new();
    for (device, kind, index) in roster {
        let Some(journal) = journals.remove(&device) else {
            continue;
        };
        let health = Arc::new(Health::default());
        let (mishaps, inbox) = mpsc::channel(MISHAPS);
        let gateway = options
            .gateways
            .get(index % options.gateways.len())
            .cloned();
        let simulated = Device {
            config: config(&options, &home, &device)?,
            home: home.clone(),
            journal: Arc::clone(&journal),
            dial: Dial::new(
                watch::channel(gateway.unwrap_or_default()).1,
                &options.reconnect,
                Random::new(options.seed, &format!("backoff {device}")),
            ),
            mishaps: inbox,
            stop: stop.clone(),
            drain: seconds(options.drain_s),
        };
        let place = Place {
            kind,
            index,
            device: device.clone(),
            world: Arc::clone(&world),
            health: Arc::clone(&health),
        };
        devices.push((simulated, place));
        targets.push(Target {
            device,
            health,
            mishaps,
            journal,
        });
    }
    tracing::info!(
        devices = devices.len(),
        gateways = options.gateways.len(),
        "fleet starts"
    );
    let mut running = JoinSet::new();
    for (device, place) in devices {
        running.spawn(async move { device.run(move || place.instruments(), || false).await });
    }
    let story = tokio::spawn(play(options, world, targets, stop));
    let mut outcome = Outcome::default();
    while let Some(ended) = running.join_next().await {
        let Ended { device, progress } = ended??;
        outcome.add(device, &progress);
    }
    story.abort();
    tracing::info!(
        given = outcome.given,
        unsettled = outcome.unsettled.len(),
        "fleet ended"
    );
    Ok(outcome)
}

fn config(options: &Options, home: &Home, device: &DeviceId) -> Result<Config, Error> {
    let mut config = Config::new(device.clone(), home.psk(device)?);
    let mut random = Random::new(options.seed, &format!("rate {device}"));
    let rate = options.samples_per_s * random.between(0.67, 1.33);
    let interval = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::from_secs(1));
    config.sample_interval_us = u64::try_from(interval.as_micros())
        .unwrap_or(u64::MAX)
        .max(1);
    config.batch_delay_us = BATCH_DELAY_US;
    config.resend_us = RESEND_US;
    Ok(config)
}

/// Lets happen what the schedules say.
async fn play(
    options: Options,
    world: Arc<World>,
    mut targets: Vec<Target>,
    mut stop: watch::Receiver<bool>,
) {
    targets.retain(|target| !options.faults.spare.contains(&target.device));
    let started = Instant::now();
    let freezers = usize::try_from(options.freezers).unwrap_or(0);
    let mut doors = schedule::doors(&options.doors, freezers, options.seed).peekable();
    let mut faults = schedule::faults(&options.faults, targets.len(), options.seed).peekable();
    let mut open: Vec<(Instant, usize)> = Vec::new();
    loop {
        let closes = open.iter().map(|(at, _)| *at).min();
        let next = [doors.peek(), faults.peek()];
        let incident = next
            .into_iter()
            .flatten()
            .map(|incident| started + incident.at)
            .min();
        let Some(wake) = closes.into_iter().chain(incident).min() else {
            return;
        };
        tokio::select! {
            () = sleep_until(wake.into()) => {}
            () = stopped(&mut stop) => return,
        }
        let now = Instant::now();
        open.retain(|(at, freezer)| {
            let due = *at <= now;
            if due {
                world.close_door(*freezer);
            }
            !due
        });
        let due = |incident: &Incident| started + incident.at <= now;
        if let Some(Incident {
            what: What::Door { freezer },
            ..
        }) = doors.next_if(due)
        {
            world.open_door(freezer);
            open.retain(|(_, other)| *other != freezer);
            open.push((now + seconds(options.doors.open_s), freezer));
        }
        if let Some(Incident {
            what: What::Fault { kind, device },
            ..
        }) = faults.next_if(due)
            && let Some(target) = targets.get(device)
        {
            target.suffer(kind, &options.faults);
        }
    }
}

impl Target {
    fn suffer(&self, kind: FaultKind, options: &Faults) {
        let mut duration = seconds(options.last_s);
        let mishap = match kind {
            FaultKind::Stuck => return self.sensor(kind, Fault::Stuck, duration),
            FaultKind::Silent => return self.sensor(kind, Fault::Absent, duration),
            FaultKind::Noisy => return self.sensor(kind, Fault::Noisy, duration),
            FaultKind::WrongClock => {
                duration = seconds(options.wrong_clock_s);
                Mishap::Skew(duration)
            }
            FaultKind::Reboot => {
                duration = Duration::ZERO;
                Mishap::Reset
            }
            FaultKind::LinkCut => Mishap::Cut(duration),
            FaultKind::PoorLine => Mishap::PoorLine(duration),
        };
        // A device with so many mishaps waiting does not miss this one.
        if self.mishaps.try_send(mishap).is_ok() {
            self.note(kind, duration);
        }
    }

    fn sensor(&self, kind: FaultKind, fault: Fault, duration: Duration) {
        self.health.break_for(fault, duration);
        self.note(kind, duration);
    }

    fn note(&self, kind: FaultKind, duration: Duration) {
        let for_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let fault = Line::Fault {
            kind: kind.as_str().into(),
            for_ms,
            at_us: now_us(),
        };
        self.journal.note(&fault);
        tracing::info!(device = %self.device, kind = kind.as_str(), for_ms, "fault");
    }
}
