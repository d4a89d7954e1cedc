//! Runs the sources of a mapping, and replaces one mapping by another.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use stencil_protocol::id::DeviceId;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    Fault, Said, i2c,
    intake::{Intake, State},
    mapping::{Connection, Link, Mapping, Protocol},
    modbus, mqtt,
    mqtt::{Offered, Offers, Table},
    opcua,
    port::{Event, MAX_WAITING, Sink, Source, now_us},
};

/// How long a source that has ended by a bug is left alone.
const RESTART: Duration = Duration::from_secs(30);

/// Field devices that are read. They are until this is dropped.
#[derive(Debug)]
pub struct Field {
    control: mpsc::Sender<Replace>,
    counts: Arc<Counts>,
    shown: Arc<Mutex<Vec<Status>>>,
    table: Arc<Mutex<Arc<Table>>>,
    offers: Offers,
    running: JoinHandle<()>,
}

/// What of field devices is counted.
#[derive(Debug, Default)]
pub struct Counts {
    /// Values that devices gave.
    pub readings: Count,
    /// Of these, those that were sent on, within deadband and validity.
    pub samples: Count,
    /// Faults that began.
    pub faults: Count,
    /// MQTT messages that were taken in.
    pub messages: Count,
    /// Of these, such as no point is in.
    pub passed_over: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a field device is.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The device.
    pub device: DeviceId,
    /// Whether it answers; none: it was not asked yet.
    pub answers: Option<bool>,
    /// Why it doesn't.
    pub fault: Option<String>,
    /// The points that have no good value, with the reason.
    pub points: Vec<(Arc<str>, String)>,
}

struct Replace {
    mapping: Mapping,
    done: oneshot::Sender<()>,
}

impl Field {
    /// Reads what the mapping says, none at first if it is the default. What is to be said to the
    /// hub comes over the channel, and has to be taken from it, or nothing more is read.
    #[must_use]
    pub fn start(mapping: Mapping) -> (Self, mpsc::Receiver<Said>) {
        Self::start_with(mapping, false)
    }

    /// [`start`](Self::start), where MQTT devices are listened for by whoever calls this: see
    /// [`offers`](Self::offers).
    #[must_use]
    pub fn start_with(mapping: Mapping, listens: bool) -> (Self, mpsc::Receiver<Said>) {
        let (control, replacing) = mpsc::channel(1);
        let (out, said) = mpsc::channel(MAX_WAITING);
        let counts = Arc::new(Counts::default());
        let shown = Arc::default();
        let table = Arc::new(Mutex::new(Arc::new(Table::new(&mapping))));
        let (offers, offered) = Offers::channel();
        let runner = Runner {
            sources: HashMap::new(),
            intake: Intake::default(),
            epoch: 0,
            counts: Arc::clone(&counts),
            shown: Arc::clone(&shown),
            table: Arc::clone(&table),
            heard: HashMap::new(),
            listens,
            out,
        };
        let running = tokio::spawn(runner.run(mapping, replacing, offered));
        let field = Self {
            control,
            counts,
            shown,
            table,
            offers,
            running,
        };
        (field, said)
    }

    /// Reads what this mapping says from now on. Connections that are the same in both are not
    /// interrupted; of the others, all that is said after this returns is by the new one. False when
    /// nothing is read any more, as the receiver of what is said has gone.
    pub async fn replace(&self, mapping: Mapping) -> bool {
        let (done, is_done) = oneshot::channel();
        self.control.send(Replace { mapping, done }).await.is_ok() && is_done.await.is_ok()
    }

    /// The MQTT devices of the mapping.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&table)
    }

    /// Where the messages of MQTT devices go. They are read by the mapping that is in force when
    /// their turn comes.
    #[must_use]
    pub fn offers(&self) -> Offers {
        self.offers.clone()
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How the devices are, as of at most a second ago, in the order of their ids.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        self.running.abort();
    }
}

struct Runner {
    sources: HashMap<Arc<str>, Running>,
    intake: Intake,
    epoch: u64,
    counts: Arc<Counts>,
    shown: Arc<Mutex<Vec<Status>>>,
    table: Arc<Mutex<Arc<Table>>>,
    /// The MQTT devices: when something of each came last, after how long it is silent, and the
    /// start of its source.
    heard: HashMap<DeviceId, (Instant, Duration, u64)>,
    /// Whether somebody listens for them.
    listens: bool,
    out: mpsc::Sender<Said>,
}

/// A source that runs; it ends when this is dropped.
struct Running {
    connection: Arc<Connection>,
    epoch: u64,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Runner {
    async fn run(
        mut self,
        mapping: Mapping,
        mut replacing: mpsc::Receiver<Replace>,
        mut offered: mpsc::Receiver<Offered>,
    ) {
        let (events, mut heard) = mpsc::channel(MAX_WAITING);
        let mut said = Vec::new();
        self.replace(&mapping, &events, &mut said).await;
        let mut show = tokio::time::interval(Duration::from_secs(1));
        show.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_shown = false;
        loop {
            for one in said.drain(..) {
                if self.out.send(one).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                Some(replace) = replacing.recv() => {
                    self.replace(&replace.mapping, &events, &mut said).await;
                    is_shown = false;
                    let _ = replace.done.send(());
                }
                Some((epoch, event)) = heard.recv() => {
                    self.intake
                        .take(epoch, event, now_us(), &self.counts, &mut said);
                    is_shown = false;
                }
                Some(offered) = offered.recv() => {
                    self.offered(&offered, &mut said);
                    is_shown = false;
                }
                _ = show.tick(), if !is_shown || !self.heard.is_empty() => {
                    self.look_for_silence(&mut said);
                    self.show();
                    is_shown = true;
                }
            }
        }
    }

    async fn replace(
        &mut self,
        mapping: &Mapping,
        events: &mpsc::Sender<(u64, Event)>,
        said: &mut Vec<Said>,
    ) {
        let mut before = std::mem::take(&mut self.sources);
        let mut kept = HashMap::new();
        for connection in &mapping.connections {
            let same = before.get(&connection.name).is_some_and(|running| {
                running.connection == *connection && !running.task.is_finished()
            });
            if same && let Some(running) = before.remove(&connection.name) {
                kept.insert(Arc::clone(&connection.name), running);
            }
        }
        // Those that end let go of lines and connections before others open them.
        for (_, mut ending) in before {
            ending.task.abort();
            let _ = (&mut ending.task).await;
        }
        let mut epochs = Vec::with_capacity(mapping.connections.len());
        for connection in &mapping.connections {
            let running = match kept.remove(&connection.name) {
                Some(running) => running,
                None => {
                    self.epoch += 1;
                    let sink = Sink::new(events.clone(), self.epoch);
                    Running {
                        connection: Arc::clone(connection),
                        epoch: self.epoch,
                        task: tokio::spawn(keep_running(Arc::clone(connection), sink)),
                    }
                }
            };
            epochs.push(running.epoch);
            self.sources.insert(Arc::clone(&connection.name), running);
        }
        self.intake.replace(mapping, &epochs, now_us(), said);
        let table = Arc::new(Table::with_epochs(mapping, &epochs));
        *self.table.lock().unwrap_or_else(PoisonError::into_inner) = table;
        self.expect(mapping, &epochs, said);
    }

    /// Which MQTT devices are to be heard of.
    fn expect(&mut self, mapping: &Mapping, epochs: &[u64], said: &mut Vec<Said>) {
        let mut before = std::mem::take(&mut self.heard);
        for (connection, epoch) in mapping.connections.iter().zip(epochs) {
            for device in &connection.devices {
                let Link::Mqtt(client) = &device.link else {
                    continue;
                };
                let last = before
                    .remove(&device.id)
                    .map_or_else(Instant::now, |it| it.0);
                let expected = (last, client.silent_after, *epoch);
                self.heard.insert(device.id.clone(), expected);
                if !self.listens {
                    let silent = Event::Silent {
                        device: device.id.clone(),
                        fault: Fault::NotListening,
                        at_us: now_us(),
                    };
                    self.intake
                        .take(*epoch, silent, now_us(), &self.counts, said);
                }
            }
        }
    }

    /// Reads messages of an MQTT client.
    fn offered(&mut self, offered: &Offered, said: &mut Vec<Said>) {
        let table = Arc::clone(&self.table.lock().unwrap_or_else(PoisonError::into_inner));
        for offer in &offered.messages {
            self.counts.messages.add(1);
            let Some((epoch, events)) = table.events(&offered.client, offer) else {
                self.counts.passed_over.add(1);
                continue;
            };
            if events.len() == 1 {
                self.counts.passed_over.add(1);
            }
            for event in events {
                if let Event::Answers { device, at_us } = &event {
                    self.intake
                        .hung_on(epoch, device, offered.line, *at_us, said);
                    if let Some((last, ..)) = self.heard.get_mut(device) {
                        *last = Instant::now();
                    }
                }
                self.intake.take(epoch, event, now_us(), &self.counts, said);
            }
        }
        said.push(Said::Ticket(offered.ticket));
    }

    fn look_for_silence(&mut self, said: &mut Vec<Said>) {
        if !self.listens {
            return;
        }
        for (device, (last, silent_after, epoch)) in &self.heard {
            if last.elapsed() >= *silent_after {
                let silent = Event::Silent {
                    device: device.clone(),
                    fault: Fault::Quiet {
                        s: silent_after.as_secs(),
                    },
                    at_us: now_us(),
                };
                self.intake
                    .take(*epoch, silent, now_us(), &self.counts, said);
            }
        }
    }

    fn show(&self) {
        let mut statuses: Vec<Status> = self
            .intake
            .devices()
            .map(|known| {
                let (answers, fault) = match &known.state {
                    State::New => (None, None),
                    State::Answers => (Some(true), None),
                    State::Silent(fault) => (Some(false), Some(fault.to_string())),
                };
                let mut points: Vec<(Arc<str>, String)> = known
                    .faults()
                    .map(|(name, fault)| (Arc::clone(name), fault.to_string()))
                    .collect();
                points.sort();
                Status {
                    device: known.id().clone(),
                    answers,
                    fault,
                    points,
                }
            })
            .collect();
        statuses.sort_by(|a, b| a.device.cmp(&b.device));
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = statuses;
    }
}

/// The source of a connection: here a protocol is entered.
pub(crate) fn source(connection: Arc<Connection>) -> Box<dyn Source> {
    match &connection.protocol {
        Protocol::ModbusTcp(_) | Protocol::ModbusRtu(_) => {
            Box::new(modbus::Poller::new(connection))
        }
        Protocol::OpcUa(_) => Box::new(opcua::Subscriber::new(connection)),
        Protocol::Mqtt(_) => Box::new(mqtt::Waiting),
        Protocol::I2c(path) => {
            let bus = Arc::new(i2c::Linux(path.clone()));
            Box::new(i2c::Poller::new(connection, bus))
        }
    }
}

/// A bug in one source is none of the others'.
async fn keep_running(connection: Arc<Connection>, sink: Sink) {
    loop {
        let run = source(Arc::clone(&connection)).run(sink.clone());
        let ended = AssertUnwindSafe(run).catch_unwind().await;
        let (name, panicked) = (&connection.name, ended.is_err());
        tracing::error!(connection = %name, panicked, "a field connection has ended by a bug; it \
            is started again");
        tokio::time::sleep(RESTART).await;
    }
}

#[cfg(test)]
mod tests;
