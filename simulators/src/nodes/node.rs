//! One device: power, boot loader, application, resets.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use stencil_boot::state::{Name, Phase};
use stencil_boot::{Updater, start};
use stencil_crypto::rng::Os;
use stencil_firmware::model::{Air, Fault, ModelDelay, Sht4xModel};
use stencil_firmware::{App, Board, Clock as _, Config, LinkState, Pages, Parts, Poll, Sht4x};
use tokio::sync::watch;
use tokio::time::sleep;

use super::chip::{Chip, LAYOUT, Line, STATE_TO};
use super::claims::Told;
use super::{BAD, Born, Life, Options, Runs};
use crate::device::Counter;
use crate::dial::{Dial, Event};
use crate::random::Random;

/// Memory for samples that wait, in bytes.
const BUFFER: usize = 2_048;
/// How often a new image is started without talking to its gateway.
const MAX_TRIALS: u8 = 3;
/// How long a hanging application runs until the watchdog resets the device.
const WATCHDOG: Duration = Duration::from_millis(500);
/// How long the power is gone, at most.
const MAX_DARK_MS: f64 = 1_500.0;
/// Steps of writing and erasing beyond the package's bytes: what it takes to start and confirm it.
const BEYOND_STEPS: usize = 1_000;

struct Simulated;

impl Board for Simulated {
    type Sensor = Climate;
    type Actuator = ();
    type Link = Line;
    type Retained = Pages<Chip>;
    type Clock = Counter;
    type Rng = Os;
    type Witness = ();
}

type AirSource = Box<dyn FnMut() -> Air + Send>;
type Climate = Sht4x<Sht4xModel<AirSource, Arc<AtomicU32>>, ModelDelay<Arc<AtomicU32>>>;
type Application = App<Simulated, BUFFER, Told<Updater<Chip>>>;

/// A device.
pub(super) struct Node {
    born: Born,
    options: Options,
    chip: Chip,
    dial: Dial,
    is_on: watch::Receiver<bool>,
    life: Arc<Mutex<Life>>,
    random: Random,
    cuts: Cuts,
}

/// When the power is to go.
#[derive(Debug, Default)]
struct Cuts {
    /// While this package is installed.
    name: Option<Name>,
    left: usize,
    /// The moment is chosen.
    is_set: bool,
    /// The package is still being written.
    is_download: bool,
}

/// How a device stopped to run.
enum End {
    /// It was switched off.
    Off,
    /// The power is gone.
    PowerCut,
    /// By itself: for a new image, or by its watchdog.
    Reset,
    /// It has nothing to start.
    Dead(String),
}

impl Node {
    pub(super) fn new(
        options: &Options,
        born: Born,
        is_on: watch::Receiver<bool>,
        life: Arc<Mutex<Life>>,
    ) -> Self {
        let random = |what| Random::new(options.seed, &format!("{what} {}", born.device));
        Self {
            chip: Chip::with(&born.package, random("torn").bits()),
            dial: Dial::new(born.gateway.clone(), &options.reconnect, random("dial")),
            random: random("power"),
            options: options.clone(),
            is_on,
            life,
            cuts: Cuts::default(),
            born,
        }
    }

    /// Lives, through resets and power cuts, until nobody can switch it on any more.
    pub(super) async fn run(mut self) {
        let mut was_off = true;
        loop {
            if self.is_on.wait_for(|on| *on).await.is_err() || self.is_on.has_changed().is_err() {
                return;
            }
            if std::mem::take(&mut was_off) {
                let after = self.options.spread.mul_f64(self.random.share());
                self.dial.cut(Instant::now() + after);
            }
            if !self.chip.is_powered() {
                self.chip.power_on();
            }
            let end = self.live().await;
            self.note(|life| life.runs = None);
            // The link is gone at once.
            self.dial.start();
            match end {
                End::Reset => {}
                End::Off => was_off = true,
                End::PowerCut => {
                    self.cuts.left = self.cuts.left.saturating_sub(1);
                    self.cuts.is_set = false;
                    let is_download = self.cuts.is_download;
                    self.note(|life| match is_download {
                        true => life.cut_downloads += 1,
                        false => life.cut_trials += 1,
                    });
                    let dark_ms = self.random.between(0.0, MAX_DARK_MS);
                    sleep(Duration::from_secs_f64(dark_ms / 1_000.0)).await;
                }
                End::Dead(why) => {
                    tracing::error!(device = %self.born.device, why, "a device starts no more");
                    return self.note(|life| life.dead = Some(why));
                }
            }
        }
    }

    fn note(&self, what: impl FnOnce(&mut Life)) {
        what(&mut self.life.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// From the start of the loader on.
    async fn live(&mut self) -> End {
        let config = self.born.identity.config(LAYOUT, MAX_TRIALS);
        let mut is_bad = false;
        let started = start(&mut self.chip, &config, |offset, piece| {
            if offset == 0 {
                is_bad = piece.starts_with(BAD);
            }
        });
        let started = match started {
            Ok(started) => started,
            Err(_) if !self.chip.is_powered() => return End::PowerCut,
            Err(error) => return End::Dead(error.to_string()),
        };
        let digest = started.header.digest;
        self.note(|life| {
            if started.trial > 0 {
                *life.trials.entry(digest).or_default() += 1;
            }
            life.runs = Some(Runs {
                digest,
                confirmed: started.trial == 0,
            });
        });
        tracing::debug!(device = %self.born.device, slot = started.slot, trial = started.trial,
            version = started.header.version.as_str(), "a device starts an image");
        if is_bad {
            return tokio::select! {
                () = sleep(WATCHDOG) => {
                    self.note(|life| life.hangs += 1);
                    End::Reset
                }
                () = switched_off(&mut self.is_on) => End::Off,
            };
        }
        let slots = match Updater::open(self.chip.clone(), config) {
            Ok(slots) => slots,
            Err(error) => return End::Dead(error.to_string()),
        };
        match self.application(slots) {
            // Its first act is to count the start: the power may have gone then.
            Ok(_) if !self.chip.is_powered() => End::PowerCut,
            Ok(app) => self.work(app).await,
            Err(why) => End::Dead(why),
        }
    }

    fn application(&self, slots: Updater<Chip>) -> Result<Box<Application>, String> {
        let Born {
            device,
            psk,
            claims,
            ..
        } = &self.born;
        let mut config = Config::new(device.clone(), psk.clone());
        let interval = self.options.sample_interval;
        config.sample_interval_us = u64::try_from(interval.as_micros())
            .unwrap_or(u64::MAX)
            .max(1);
        let retained = Pages::new(self.chip.clone(), 0, STATE_TO);
        let parts: Parts<Simulated> = Parts {
            sensor: climate(),
            actuator: (),
            retained: retained.map_err(|error| error.to_string())?,
            clock: Counter::start(),
            rng: Os,
            witness: (),
        };
        let claims = *claims;
        let told = Told { slots, claims };
        Ok(Box::new(App::with_slots(config, parts, told)))
    }

    /// The main loop of a board.
    async fn work(&mut self, mut app: Box<Application>) -> End {
        let trial = Duration::from_secs(self.born.identity.trial_seconds.into());
        let trial_end = Instant::now() + trial;
        loop {
            let poll: Poll = app.poll();
            if !self.chip.is_powered() {
                return End::PowerCut;
            }
            let on_trial = self.look(&mut app.slots().slots);
            if poll.reset && !poll.wants_write && !self.dial.has_unwritten() {
                return End::Reset;
            }
            if on_trial && Instant::now() >= trial_end {
                return End::Reset;
            }
            match poll.link {
                LinkState::Down => {
                    // Dropped, so that the gateway sees the end.
                    drop(app.take_link());
                    self.dial.reopen();
                }
                LinkState::Up => self.dial.is_up(),
                LinkState::Handshake => {}
            }
            if self.dial.has_unread() {
                continue;
            }
            let now_us = app.parts().clock.monotonic_us();
            let mut wait = Duration::from_micros(poll.next_us.saturating_sub(now_us));
            if let Some(retry) = self.dial.retry_in() {
                wait = wait.min(retry);
            }
            if on_trial {
                wait = wait.min(trial_end.saturating_duration_since(Instant::now()));
            }
            tokio::select! {
                () = sleep(wait) => {}
                event = self.dial.event(poll.wants_write) => match event {
                    Event::Ready => {}
                    Event::Opened(socket) => app.link_up(Line::new(*socket, self.chip.clone())),
                    Event::Failed(error) => {
                        tracing::debug!(device = %self.born.device, %error, "no gateway");
                    }
                },
                () = switched_off(&mut self.is_on) => return End::Off,
            }
        }
    }

    /// Looks what has become of the slots, and chooses when the power goes. Says whether what runs is
    /// on trial.
    fn look(&mut self, slots: &mut Updater<Chip>) -> bool {
        let other = slots.other();
        let is_download = other.phase == Phase::Receiving;
        if is_download {
            if self.cuts.name != Some(other.name) {
                self.note(|life| {
                    life.begun.insert(other.name);
                });
                let left = self.random.index(self.options.power_cuts + 1);
                self.cuts = Cuts {
                    name: Some(other.name),
                    left: left.unwrap_or(0),
                    ..Cuts::default()
                };
            }
            if self.cuts.left > 0 && !self.cuts.is_set {
                let within = self.born.package.len() + BEYOND_STEPS;
                let steps = self.random.index(within).unwrap_or(0);
                self.chip
                    .cut_after(u64::try_from(steps).unwrap_or(u64::MAX));
                self.cuts.is_set = true;
            }
        }
        self.cuts.is_download = is_download;
        let on_trial = self.is_on_trial(slots);
        let installs = on_trial || matches!(other.phase, Phase::Receiving | Phase::Ready);
        if self.cuts.is_set && !installs {
            // It is over with this image: the power stays.
            self.chip.power_on();
            self.cuts.left = 0;
            self.cuts.is_set = false;
        }
        on_trial
    }

    /// Whether what runs has still to prove itself; notes that it has.
    fn is_on_trial(&self, slots: &mut Updater<Chip>) -> bool {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(runs) = life.runs.as_mut().filter(|it| !it.confirmed) else {
            return false;
        };
        runs.confirmed = slots.running().is_ok_and(|it| it.confirmed);
        !runs.confirmed
    }
}

/// A room at 20 °C.
fn climate() -> Climate {
    let elapsed_us = Arc::new(AtomicU32::new(0));
    let air: AirSource = Box::new(|| Air {
        temperature_degc: 20.0,
        humidity_percent: 50.0,
        fault: Fault::None,
    });
    let chip = Sht4xModel::new(1, air, Arc::clone(&elapsed_us));
    Sht4x::new(chip, ModelDelay::new(elapsed_us))
}

/// Somebody switches it off, or nobody can any more.
async fn switched_off(is_on: &mut watch::Receiver<bool>) {
    let _ = is_on.wait_for(|on| !*on).await;
}
