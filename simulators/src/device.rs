//! One simulated device: the firmware application, its TCP link, its resets.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stencil_crypto::Psk;
use stencil_crypto::rng::Os;
use stencil_firmware::{
    App, Board, Clock, Config, LinkState, Parts, Progress, Sensor, actuator::Actuator,
};
use stencil_protocol::id::DeviceId;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::Error;
use crate::dial::{Dial, Event};
use crate::flash::Flash;
use crate::journal::{Book, Journal, Line};
use crate::socket::Socket;

/// The memory of a simulated device for samples that wait, in bytes.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;

/// Microseconds since the Unix epoch.
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The board's counter; a fault may make it jump ahead.
#[derive(Debug)]
pub(crate) struct Counter {
    started: Instant,
    skew_us: Arc<AtomicU64>,
}

impl Counter {
    /// One that starts now.
    pub(crate) fn start() -> Self {
        Self::with_skew(Arc::default())
    }

    fn with_skew(skew_us: Arc<AtomicU64>) -> Self {
        Self {
            started: Instant::now(),
            skew_us,
        }
    }
}

impl Clock for Counter {
    fn monotonic_us(&mut self) -> u64 {
        let elapsed = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        elapsed.saturating_add(self.skew_us.load(Ordering::Relaxed))
    }
}

/// A board that measures with `S` and switches `A`; the rest is the same for
/// all simulated devices.
pub(crate) struct Simulated<S, A>(std::marker::PhantomData<fn() -> (S, A)>);

impl<S: Sensor, A: Actuator> Board for Simulated<S, A> {
    type Sensor = S;
    type Actuator = A;
    type Link = Socket;
    type Retained = Flash;
    type Clock = Counter;
    type Rng = Os;
    type Witness = Book;
}

/// What happens to a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mishap {
    /// It resets: RAM is lost, retained memory stays.
    Reset,
    /// The link is cut and stays so for a while.
    Cut(Duration),
    /// The counter jumps ahead.
    Skew(Duration),
    /// The line, this link's and the next ones', loses, repeats, reorders and damages
    /// frames for a while.
    PoorLine(Duration),
}

/// Where a device keeps what outlives the process.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) state_dir: PathBuf,
    pub(crate) journal_dir: PathBuf,
    pub(crate) psk_dir: PathBuf,
    pub(crate) journal_max_bytes: u64,
}

impl Home {
    /// Makes the folders that are written to.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        for dir in [&self.state_dir, &self.journal_dir] {
            std::fs::create_dir_all(dir).map_err(|source| Error::File {
                path: dir.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// The key of a device.
    pub(crate) fn psk(&self, device: &DeviceId) -> Result<Psk, Error> {
        let path = self.psk_dir.join(format!("{device}.psk"));
        Psk::load(path).map_err(|source| Error::Key {
            device: device.clone(),
            source,
        })
    }

    /// The retained memory of a device.
    pub(crate) fn flash(&self, device: &DeviceId) -> Result<Flash, Error> {
        let path = self.state_dir.join(format!("{device}.state"));
        Flash::open(&path).map_err(|source| Error::File { path, source })
    }

    /// The journal of a device.
    pub(crate) fn journal(&self, device: &DeviceId) -> Result<Arc<Journal>, Error> {
        Ok(Arc::new(Journal::open(
            &self.journal_dir,
            device,
            self.journal_max_bytes,
        )?))
    }
}

/// How a device ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) device: DeviceId,
    pub(crate) progress: Progress,
}

/// A device and its surroundings.
pub(crate) struct Device {
    pub(crate) config: Config,
    pub(crate) home: Home,
    pub(crate) journal: Arc<Journal>,
    pub(crate) dial: Dial,
    pub(crate) mishaps: mpsc::Receiver<Mishap>,
    pub(crate) stop: watch::Receiver<bool>,
    /// How long to go on sending after the stop.
    pub(crate) drain: Duration,
}

impl Device {
    /// Runs the device, through resets, until it is stopped and drained, or
    /// `finished` says that its source has nothing more and all is delivered.
    pub(crate) async fn run<S, A>(
        mut self,
        mut instruments: impl FnMut() -> (S, A) + Send,
        mut finished: impl FnMut() -> bool + Send,
    ) -> Result<Ended, Error>
    where
        S: Sensor + Send,
        A: Actuator + Send,
    {
        let device = self.config.device.clone();
        loop {
            let flash = self.home.flash(&device)?;
            let state = flash.state().map_err(|source| Error::File {
                path: self.home.state_dir.join(format!("{device}.state")),
                source,
            })?;
            if let Some(state) = &state {
                self.journal.catch_up(state);
            }
            let skew_us = Arc::new(AtomicU64::new(0));
            let (sensor, actuator) = instruments();
            let parts: Parts<Simulated<S, A>> = Parts {
                sensor,
                actuator,
                retained: flash,
                clock: Counter::with_skew(Arc::clone(&skew_us)),
                rng: Os,
                witness: Book(Arc::clone(&self.journal)),
            };
            let app = Box::new(App::new(self.config.clone(), parts));
            let boot = app.progress().boot;
            self.journal.note(&Line::Boot {
                boot,
                at_us: now_us(),
            });
            tracing::debug!(%device, boot = boot.0, "device starts");
            let ended = self.boot(app, &skew_us, &mut finished).await;
            if let Some(progress) = ended {
                return Ok(Ended { device, progress });
            }
        }
    }

    /// One boot: nothing comes back when it ends in a reset.
    async fn boot<S: Sensor + Send, A: Actuator + Send>(
        &mut self,
        mut app: Box<App<Simulated<S, A>, BUFFER_BYTES>>,
        skew_us: &AtomicU64,
        finished: &mut (impl FnMut() -> bool + Send),
    ) -> Option<Progress> {
        self.dial.start();
        let mut drain_until: Option<Instant> = None;
        loop {
            let stopping = drain_until.is_some();
            app.set_measuring(!stopping && !self.journal.is_behind());
            let poll = app.poll();
            let progress = app.progress();
            if progress.settled && (stopping || finished()) {
                return Some(progress);
            }
            if drain_until.is_some_and(|until| Instant::now() >= until) {
                return Some(progress);
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
            let counter_us = app.parts().clock.monotonic_us();
            let mut wait = Duration::from_micros(poll.next_us.saturating_sub(counter_us));
            if let Some(retry) = self.dial.retry_in() {
                wait = wait.min(retry);
            }
            if let Some(until) = drain_until {
                wait = wait.min(until.saturating_duration_since(Instant::now()));
            }
            if self.dial.has_unread() {
                continue;
            }
            tokio::select! {
                () = sleep(wait) => {}
                event = self.dial.event(poll.wants_write) => match event {
                    Event::Ready => {}
                    Event::Opened(socket) => app.link_up(*socket),
                    Event::Failed(error) => {
                        tracing::debug!(device = %self.config.device, %error, "no gateway");
                    }
                },
                mishap = self.mishaps.recv(), if !self.mishaps.is_closed() => match mishap {
                    Some(Mishap::Reset) if !stopping => return None,
                    Some(Mishap::Cut(pause)) => {
                        app.link_lost();
                        drop(app.take_link());
                        self.dial.cut(Instant::now() + pause);
                    }
                    Some(Mishap::Skew(ahead)) => {
                        let us = u64::try_from(ahead.as_micros()).unwrap_or(0);
                        skew_us.fetch_add(us, Ordering::Relaxed);
                    }
                    Some(Mishap::PoorLine(lasts)) => self.dial.weather().turn_poor(lasts),
                    Some(Mishap::Reset) | None => {}
                },
                () = stopped(&mut self.stop), if !stopping => {
                    drain_until = Some(Instant::now() + self.drain);
                }
            }
        }
    }
}

/// The flag was raised, or nobody holds it any more.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
