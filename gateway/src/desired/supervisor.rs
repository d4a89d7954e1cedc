//! Runs the gateway, and starts it anew with what the hub desires.

use std::{fmt, fs::File, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use rustix::fs::{FlockOperation, flock};
use stencil_log::regular;
use stencil_protocol::desired::Flaw;
use tokio::{
    sync::{Mutex, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{Desired, Effective};
use crate::{
    Error, Logs, Options,
    field::{self, Devices},
    service::{Addresses, Whole},
    spool::stopped,
};

/// How long what was in force before may take to start again.
const START_AGAIN: Duration = Duration::from_secs(30);
/// Between two attempts at that.
const PAUSE: Duration = Duration::from_millis(200);
/// Held by the one process that works with the desired state.
const LOCK: &str = "lock";
/// How often it is tried to have it, and how long between two tries.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(30);

/// A gateway.
#[derive(Debug)]
pub struct Service;

/// A gateway that runs. It ends when this is dropped; [`Running::shutdown`] waits for the end.
///
/// Where the hub desires another state of it, its parts are ended and started anew; addresses stay.
pub struct Running {
    addresses: Addresses,
    stop: watch::Sender<bool>,
    failure: Mutex<oneshot::Receiver<Error>>,
    supervisor: JoinHandle<Result<(), Error>>,
    reads: watch::Receiver<Reads>,
}

/// What is read over field protocols.
struct Reads {
    devices: Arc<Devices>,
    /// The hub says which.
    by_hub: bool,
}

impl Service {
    /// Starts a gateway. It takes devices' data from then on, whether the hub can be reached or
    /// not.
    ///
    /// # Errors
    /// [`Error::Options`], [`Error::Tls`], [`Error::Certificate`], [`Error::Listen`],
    /// [`Error::Spool`] (another process has it open, among others) and [`Error::File`].
    pub async fn start(options: Options) -> Result<Running, Error> {
        Self::start_with(options, Logs::default()).await
    }

    /// [`Service::start`], with a hand on what is logged.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub async fn start_with(options: Options, logs: Logs) -> Result<Running, Error> {
        options.check().map_err(Error::Options)?;
        let (desired, lock) = open(&options).await?;
        let mut site = Site {
            desired: Arc::new(desired),
            probation: Duration::from_secs(options.desired.probation_s),
            pinned: None,
            logs,
            reading: None,
            _lock: lock,
        };
        let (whole, runs) = site.start().await?;
        let addresses = whole.addresses();
        let (reading, reads) = watch::channel(runs.reads(&whole));
        site.reading = Some(reading);
        let (stop, stopping) = watch::channel(false);
        let (tell, failure) = oneshot::channel();
        Ok(Running {
            addresses,
            stop,
            failure: Mutex::new(failure),
            supervisor: tokio::spawn(site.run(whole, runs, stopping, tell)),
            reads,
        })
    }

    /// Runs a gateway until `shutdown` holds true, or its sender is gone.
    ///
    /// # Errors
    /// As [`Service::start`] and [`Running::failed`].
    pub async fn run(options: Options, mut shutdown: watch::Receiver<bool>) -> Result<(), Error> {
        let running = Self::start(options).await?;
        tokio::select! {
            () = stopped(&mut shutdown) => {}
            failed = running.failed() => return Err(failed),
        }
        running.shutdown().await
    }
}

impl Running {
    /// Where it can be reached.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Reads field devices as this mapping says from now on, `path` in the place of the one before.
    /// Connections that are the same in both are not interrupted.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Mapping`], with all that is wrong: the gateway goes on as
    /// before. [`Error::Desired`]: the hub says which mapping is in force.
    pub async fn replace_mapping(&self, path: &Path) -> Result<(), Error> {
        let devices = {
            let reads = self.reads.borrow();
            if reads.by_hub {
                let why = "the mapping in force is the hub's; that of the file is not looked at";
                return Err(Error::Desired(why.to_owned()));
            }
            Arc::clone(&reads.devices)
        };
        let path = path.to_owned();
        let reading = tokio::task::spawn_blocking(move || (field::read(&path), path)).await;
        let (yaml, path) = reading.map_err(|_| Error::Ended("mapping"))?;
        let replaced = devices.replace(&yaml?, None).await;
        replaced.map_err(|refused| field::wrong(&path, refused))
    }

    /// Returns when a part of the gateway cannot go on, such as when the spool has failed, so that
    /// nothing would be kept. Start it again. May be asked once; later it never returns.
    pub async fn failed(&self) -> Error {
        match (&mut *self.failure.lock().await).await {
            Ok(error) => error,
            Err(_) => std::future::pending().await,
        }
    }

    /// Ends links, uplink and listeners, writes the cursor, closes the spool. What the hub has
    /// not acknowledged stays in the spool.
    ///
    /// # Errors
    /// The first that a part of the gateway ended with.
    pub async fn shutdown(self) -> Result<(), Error> {
        self.stop.send_replace(true);
        let ended = self.supervisor.await;
        let ended = ended.unwrap_or(Err(Error::Ended("supervisor")));
        match self.failure.into_inner().try_recv() {
            Ok(error) => Err(error),
            Err(_) => ended,
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

const ENDED: Error = Error::Ended("desired state");

/// The gateway over its starts.
struct Site {
    desired: Arc<Desired>,
    /// How long a trial may take to reach the hub.
    probation: Duration,
    /// Where it listens since its first start, also where a port was left open.
    pinned: Option<(Vec<SocketAddr>, SocketAddr)>,
    logs: Logs,
    /// Told what is read.
    reading: Option<watch::Sender<Reads>>,
    _lock: Option<File>,
}

/// What the gateway runs with.
struct Runs {
    effective: Effective,
    /// When it has to have reached the hub, if it is tried.
    until: Option<Instant>,
}

impl Runs {
    fn reads(&self, whole: &Whole) -> Reads {
        Reads {
            devices: Arc::clone(whole.field()),
            by_hub: self.effective.mapping.is_some(),
        }
    }
}

/// What happens to a gateway.
enum Event {
    Stop,
    Failed(Error),
    Switch,
    /// The hub was reached in time, or not.
    Tried(bool),
}

impl Site {
    /// Starts the gateway: what is on trial, else what was in force.
    async fn start(&mut self) -> Result<(Whole, Runs), Error> {
        loop {
            let start = self.blocking(Desired::begin).await?;
            let mut options = start.effective.options.clone();
            if let Some((links, http)) = &self.pinned {
                options.link.tcp.clone_from(links);
                options.http.listen = *http;
            }
            let desired = Arc::clone(&self.desired);
            match Whole::start(options, &start.effective, desired, &self.logs).await {
                Ok(whole) => {
                    let addresses = whole.addresses();
                    self.pinned = Some((addresses.link, addresses.http));
                    self.logs.set_level(start.effective.level.as_deref());
                    stencil_crashpoint::reach("gateway.desired_started");
                    let until = start.on_trial.then(|| Instant::now() + self.probation);
                    let runs = Runs {
                        effective: start.effective,
                        until,
                    };
                    return Ok((whole, runs));
                }
                Err(error) if start.on_trial => {
                    let what = format!("the gateway cannot start with it: {error}");
                    self.undo(what).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`Site::start`], with patience: whoever has ended a moment ago may still hold something.
    async fn start_again(&mut self) -> Result<(Whole, Runs), Error> {
        let until = Instant::now() + START_AGAIN;
        loop {
            match self.start().await {
                Err(error) if Instant::now() < until => {
                    tracing::warn!(%error, "the gateway does not start again yet");
                    tokio::time::sleep(PAUSE).await;
                }
                other => return other,
            }
        }
    }

    async fn run(
        mut self,
        mut whole: Whole,
        mut runs: Runs,
        mut stop: watch::Receiver<bool>,
        tell: oneshot::Sender<Error>,
    ) -> Result<(), Error> {
        let failed = loop {
            let event = tokio::select! {
                () = stopped(&mut stop) => Event::Stop,
                error = whole.failed() => Event::Failed(error),
                tried = tried(&whole, runs.until) => Event::Tried(tried),
                () = self.desired.to_switch() => Event::Switch,
            };
            let again = match event {
                Event::Stop => return whole.shutdown().await,
                Event::Failed(error) if runs.until.is_none() => break error,
                Event::Failed(error) => self.undo(format!("a part has failed: {error}")).await,
                Event::Tried(false) => {
                    let what = self.not_reached(&runs.effective);
                    self.undo(what).await
                }
                Event::Tried(true) => {
                    runs.until = None;
                    match self.blocking(Desired::settle).await {
                        Ok(()) => continue,
                        Err(error) => break error,
                    }
                }
                Event::Switch => match self.in_place(&whole, &mut runs).await {
                    Ok(true) => continue,
                    Ok(false) => Ok(()),
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = again {
                break error;
            }
            if let Err(error) = whole.shutdown().await {
                tracing::error!(%error, "a part of the gateway has ended badly");
            }
            stencil_crashpoint::reach("gateway.desired_between");
            match self.start_again().await {
                Ok((next, with)) => {
                    (whole, runs) = (next, with);
                    self.now_reads(&whole, &runs);
                }
                Err(error) => {
                    let _ = tell.send(error);
                    stopped(&mut stop).await;
                    return Ok(());
                }
            }
        };
        let _ = tell.send(failed);
        stopped(&mut stop).await;
        whole.shutdown().await
    }

    /// Goes over to what is to be tried without a new start, where it asks for none: where nothing
    /// but the mapping, how much is logged or how fast what waited is brought is another. False where
    /// it does.
    async fn in_place(&self, whole: &Whole, runs: &mut Runs) -> Result<bool, Error> {
        let Some(next) = self.blocking(|desired| Ok(desired.next())).await? else {
            return Ok(false);
        };
        let back_fill = next.options.hub.back_fill_bytes_per_s;
        let mut same = runs.effective.options.clone();
        same.hub.back_fill_bytes_per_s = back_fill;
        let same = next.options == same;
        // There is no mapping of no devices to go over to.
        let has_mapping = next.mapping.is_some() || next.options.field.mapping.is_some();
        if !same || (next.mapping != runs.effective.mapping && !has_mapping) {
            return Ok(false);
        }
        let start = self.blocking(Desired::begin).await?;
        if start.effective.mapping != runs.effective.mapping {
            let own = start.effective.options.field.mapping.clone();
            let files = start.effective.options.field.files.as_path();
            let replaced = match start.effective.mapping.clone() {
                Some(yaml) => whole
                    .field()
                    .replace(&yaml, Some(files))
                    .await
                    .map_err(|errors| Error::Desired(format!("its mapping: {errors}"))),
                None => {
                    let reading = tokio::task::spawn_blocking(move || match own {
                        Some(path) => field::read(&path),
                        None => Err(ENDED),
                    });
                    match reading.await.unwrap_or(Err(ENDED)) {
                        Ok(yaml) => whole.field().replace(&yaml, None).await.map_err(|errors| {
                            Error::Desired(format!("the mapping of its own file: {errors}"))
                        }),
                        Err(error) => Err(error),
                    }
                }
            };
            if let Err(error) = replaced {
                self.undo(error.to_string()).await?;
                return Ok(true);
            }
        }
        self.logs.set_level(start.effective.level.as_deref());
        whole.set_back_fill(back_fill);
        *runs = Runs {
            effective: start.effective,
            until: start.on_trial.then(|| Instant::now() + self.probation),
        };
        self.now_reads(whole, runs);
        Ok(true)
    }

    fn now_reads(&self, whole: &Whole, runs: &Runs) {
        if let Some(reading) = &self.reading {
            reading.send_replace(runs.reads(whole));
        }
    }

    fn not_reached(&self, effective: &Effective) -> String {
        let why = self.desired.why_lost();
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        format!(
            "the hub was not reached at {} within {} s{why}",
            effective.options.hub.address,
            self.probation.as_secs()
        )
    }

    async fn undo(&self, what: String) -> Result<(), Error> {
        self.blocking(move |desired| desired.roll_back(vec![Flaw::of_all(what)]))
            .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Desired) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let desired = Arc::clone(&self.desired);
        let done = tokio::task::spawn_blocking(move || work(&desired)).await;
        done.unwrap_or(Err(ENDED))
    }
}

/// Whether the hub was reached until then; for ever, if nothing is tried.
async fn tried(whole: &Whole, until: Option<Instant>) -> bool {
    let Some(until) = until else {
        return std::future::pending().await;
    };
    let mut connected = whole.connected();
    let reached = async { connected.wait_for(|connected| *connected).await.is_ok() };
    match tokio::time::timeout_at(until, reached).await {
        Ok(true) => true,
        // The uplink is gone: that is told by who has ended it.
        Ok(false) => std::future::pending().await,
        Err(_) => false,
    }
}

/// Opens the desired state, which is this process's alone from then on.
async fn open(options: &Options) -> Result<(Desired, Option<File>), Error> {
    let mut tries = LOCK_TRIES;
    loop {
        let own = options.clone();
        let opening = tokio::task::spawn_blocking(move || {
            let lock = lock(&own.data_dir.join(super::FOLDER))?;
            Ok((Desired::open(&own), lock))
        });
        match opening.await.unwrap_or(Err(ENDED)) {
            // A program that another thread is just starting has it for a moment, too, before it is another process.
            Err(Error::Spool(stencil_log::Error::Locked { .. })) if tries > 1 => {
                tries -= 1;
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            opened => return opened,
        }
    }
}

/// Two processes would each think that the other's trial is its own.
fn lock(folder: &Path) -> Result<Option<File>, Error> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    let path = folder.join(LOCK);
    let opened = crate::disk::make_folder(folder).and_then(|()| regular::open(&mut options, &path));
    let file = match opened {
        Ok(file) => file,
        Err(source) if regular::is_not_regular(&source) => {
            return Err(Error::File {
                action: "open",
                path,
                source,
            });
        }
        // What is read-only or full holds devices' data back, and nothing else: who gets by with that
        // is for the spool to say.
        Err(error) => {
            tracing::warn!(%error, folder = %folder.display(), "no desired state can be kept here");
            return Ok(None);
        }
    };
    // Who has this has the spool beside it, or is about to.
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Error::Spool(stencil_log::Error::Locked {
            dir: folder.with_file_name("spool"),
            pid: None,
        })
    })?;
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who holds the lock of a gateway's folder, and the gateway's settings.
    fn held(folder: &Path) -> (Options, File) {
        let options = Options {
            data_dir: folder.to_owned(),
            ..Options::default()
        };
        let held = lock(&folder.join(super::super::FOLDER)).unwrap();
        (options, held.unwrap())
    }

    /// The gateway before has just ended, or a program that it was starting has its files for a moment.
    #[tokio::test]
    async fn a_lock_that_is_let_go_of_within_a_moment_holds_up_no_start() {
        let folder = tempfile::tempdir().unwrap();
        let (options, held) = held(folder.path());
        let let_go = async {
            tokio::time::sleep(LOCK_PAUSE * 2).await;
            drop(held);
        };
        let (opened, ()) = tokio::join!(open(&options), let_go);
        let (_, lock) = opened.unwrap();
        assert!(lock.is_some(), "it is this one's from then on");
        let other = open(&options).await;
        assert!(is_locked(&other));
    }

    #[tokio::test]
    async fn a_lock_that_another_process_keeps_is_told_soon() {
        let folder = tempfile::tempdir().unwrap();
        let (options, _held) = held(folder.path());
        let opened = tokio::time::timeout(START_AGAIN, open(&options)).await;
        let opened = opened.unwrap();
        assert!(is_locked(&opened));
        let why = opened.err().map(|error| error.to_string());
        let why = why.unwrap();
        assert!(why.contains("only one process may have it open"), "{why}");
    }

    fn is_locked(opened: &Result<(Desired, Option<File>), Error>) -> bool {
        matches!(opened, Err(Error::Spool(stencil_log::Error::Locked { .. })))
    }
}
