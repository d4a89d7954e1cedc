//! Field devices: what `stencil_field` reads goes into the spool as batches of devices.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    fmt::Write as _,
    io::Read as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use stencil_crypto::{keyfile, rng};
use stencil_field::{
    Field, Numbers, Said,
    mapping::{self, Mapping},
    mqtt::{Offers, Table},
};
use stencil_log::Position;
use stencil_protocol::{
    id::{DeviceId, GatewayId},
    line::Line,
    report::{self, LinkEvent},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{
    Error,
    claims::Refused,
    clock,
    edge::Edge,
    ends::{Ends, Left},
    managed,
    metrics::Metrics,
    psk::KeyRing,
    spool::{self, Entry, Spool, stopped},
};

/// How long readings are gathered for one batch.
const GATHER: Duration = Duration::from_millis(250);
/// And how long those whose sender waits for an acknowledgement.
const GATHER_WAITED_FOR: Duration = Duration::from_millis(10);
/// How often it is noted how far their numbers have come.
const NOTE: Duration = Duration::from_millis(250);
/// What was told at a start before is told again if no more than this waits for the hub.
const TELL_AGAIN_BELOW: u64 = 64 << 10;
/// How many devices a line of the log names.
const NAMED: usize = 8;
/// How long a stop waits for the disk, to acknowledge what was sent before it.
const CLOSE: Duration = Duration::from_secs(1);
/// How soon a spool without room is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How many readings of a device may wait for the spool.
const MAX_WAITING: usize = 1_024;
/// And of all devices together: some 10 MB.
const MAX_ALL_WAITING: usize = 65_536;
/// How many links that came and went may wait for it.
const MAX_LINKS: usize = 4_096;

/// The field devices of this gateway.
pub(crate) struct Devices {
    field: Field,
    ids: Mutex<HashSet<DeviceId>>,
    keys: Arc<KeyRing>,
}

impl Devices {
    /// Reads what the mapping says; what is said is for [`keep`].
    pub(crate) fn start(
        mapping: Mapping,
        listens: bool,
        keys: Arc<KeyRing>,
    ) -> (Arc<Self>, mpsc::Receiver<Said>) {
        let ids = ids(&mapping);
        if !ids.is_empty() {
            let (devices, points) = (ids.len(), mapping.points());
            tracing::info!(devices, points, "field devices are read");
        }
        let (field, said) = Field::start_with(mapping, listens);
        let devices = Self {
            field,
            ids: Mutex::new(ids),
            keys,
        };
        (Arc::new(devices), said)
    }

    /// Reads what this mapping says from now on, or, where something is wrong with it, goes on as
    /// before. One of the hub's names files in `files` alone.
    pub(crate) async fn replace(&self, yaml: &str, files: Option<&Path>) -> Result<(), Refused> {
        let claiming = {
            let (keys, yaml) = (Arc::clone(&self.keys), yaml.to_owned());
            let files = files.map(Path::to_owned);
            tokio::task::spawn_blocking(move || {
                let mapping = match files {
                    Some(files) => mapping::parse_from_afar(&yaml, &files),
                    None => mapping::parse(&yaml),
                }
                .map_err(Refused::Mapping)?;
                keys.claim(&mapping, &yaml)?;
                Ok::<_, Refused>(mapping)
            })
        };
        let mapping = claiming
            .await
            .unwrap_or(Err(managed::Error::Ended.into()))?;
        let ids = ids(&mapping);
        let (devices, points) = (ids.len(), mapping.points());
        *self.ids.lock().unwrap_or_else(PoisonError::into_inner) = ids;
        self.field.replace(mapping).await;
        tracing::info!(
            devices,
            points,
            "field devices are read as a new mapping says"
        );
        Ok(())
    }

    /// Their ids.
    pub(crate) fn ids(&self) -> Vec<DeviceId> {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.iter().cloned().collect()
    }

    /// Those that do not answer.
    pub(crate) fn silent(&self) -> Vec<DeviceId> {
        let status = self.field.status();
        let silent = status.into_iter().filter(|it| it.answers == Some(false));
        silent.map(|it| it.device).collect()
    }

    /// Those that speak MQTT.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.field.table()
    }

    /// Where the messages of these go.
    pub(crate) fn offers(&self) -> Offers {
        self.field.offers()
    }

    /// Whether this is one of them.
    pub(crate) fn has(&self, device: &DeviceId) -> bool {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.contains(device)
    }

    /// What of them is counted: name, kind, help, value.
    pub(crate) fn numbers(&self) -> [(&'static str, &'static str, &'static str, u64); 8] {
        let counts = self.field.counts();
        let status = self.field.status();
        let silent = status.iter().filter(|it| it.answers == Some(false)).count();
        let faulty: usize = status.iter().map(|it| it.points.len()).sum();
        [
            (
                "readings_total",
                "counter",
                "Values that field devices gave.",
                counts.readings.get(),
            ),
            (
                "samples_total",
                "counter",
                "Of these, values that were sent on.",
                counts.samples.get(),
            ),
            (
                "faults_total",
                "counter",
                "Faults of field devices and points that began.",
                counts.faults.get(),
            ),
            (
                "messages_total",
                "counter",
                "Messages of MQTT devices.",
                counts.messages.get(),
            ),
            (
                "messages_passed_over_total",
                "counter",
                "Of these, messages that hold no point.",
                counts.passed_over.get(),
            ),
            (
                "devices",
                "gauge",
                "Field devices in the mapping.",
                status.len() as u64,
            ),
            (
                "devices_silent",
                "gauge",
                "Field devices that do not answer.",
                silent as u64,
            ),
            (
                "points_faulty",
                "gauge",
                "Points that have no good value.",
                faulty as u64,
            ),
        ]
    }

    /// The same as text for Prometheus.
    pub(crate) fn metrics(&self) -> String {
        let mut out = String::new();
        for (name, kind, help, value) in self.numbers() {
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "# HELP stencil_gateway_field_{name} {help}\n\
                 # TYPE stencil_gateway_field_{name} {kind}\n\
                 stencil_gateway_field_{name} {value}\n"
            );
        }
        out
    }
}

fn ids(mapping: &Mapping) -> HashSet<DeviceId> {
    mapping.devices().map(|device| device.id.clone()).collect()
}

/// Reads a mapping's file; an empty mapping without one. It is refused where it takes the id of a
/// device with a key. Blocks.
pub(crate) fn load(path: Option<&Path>, keys: &KeyRing) -> Result<Mapping, Error> {
    let (mapping, yaml) = match path {
        None => (Mapping::default(), String::new()),
        Some(path) => {
            let yaml = read(path)?;
            let mapping = mapping::parse(&yaml).map_err(|errors| of_file(path, errors))?;
            (mapping, yaml)
        }
    };
    match (keys.claim(&mapping, &yaml), path) {
        (Err(refused), Some(path)) => Err(wrong(path, refused)),
        (Err(refused), None) => Err(Error::Keys(refused.to_string())),
        (Ok(()), _) => Ok(mapping),
    }
}

/// The text of a mapping's file. Blocks.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    // One byte more than allowed shows that it is too long.
    let most = mapping::MAX_BYTES as u64 + 1;
    let read = keyfile::open(path).and_then(|file| file.take(most).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(source) => Err(Error::File {
            action: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

/// The error of a mapping's file that cannot be used.
pub(crate) fn wrong(path: &Path, refused: Refused) -> Error {
    match refused {
        Refused::Mapping(errors) => of_file(path, errors),
        Refused::Keys(error) => Error::Keys(error.to_string()),
    }
}

fn of_file(path: &Path, errors: mapping::Errors) -> Error {
    Error::Mapping {
        path: path.to_owned(),
        errors,
    }
}

/// Spools what field devices say, until `stop` holds true. While the spool has no room the oldest
/// of each device is dropped beyond [`MAX_WAITING`], and reported. What MQTT devices said is never
/// dropped, as their listener takes no more than may wait; `durable` is told up to which ticket it is
/// on disk. How far the numbers have come is noted in `ends`, and what stood there told at first.
pub(crate) async fn keep(
    said: mpsc::Receiver<Said>,
    gateway: GatewayId,
    (spool, edge): (Spool, Arc<Edge>),
    (metrics, durable): (Arc<Metrics>, Arc<watch::Sender<u64>>),
    (ends, devices): (Ends, Arc<Devices>),
    stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut committed = spool.committed();
    // While the hub is away what was told lies in the spool, as long as that is whole: many restarts
    // are not to fill it.
    let again = spool.began_with() < TELL_AGAIN_BELOW || spool.began_damaged();
    let mut keeper = Keeper {
        gateway,
        spool,
        edge,
        metrics,
        numbers: Numbers::new(MAX_WAITING, MAX_ALL_WAITING),
        held: Numbers::new(usize::MAX, usize::MAX),
        tickets: Tickets::default(),
        durable,
        telling: ends.tellings(again).into(),
        ends,
        devices,
        links: VecDeque::new(),
        linked: BTreeMap::new(),
    };
    let kept = keeper.run(said, &mut committed, stop).await;
    if kept.is_ok() {
        let closing = async {
            loop {
                let position = *committed.borrow_and_update();
                keeper.acknowledge(position).await;
                let is_done = !keeper.tickets.wait() && keeper.ends.is_settled();
                if is_done || committed.changed().await.is_err() {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(CLOSE, closing).await;
    }
    // Also of a spool that has failed: what waited is gone.
    keeper.ends.note().await;
    tell_left(&keeper.ends.left());
    kept
}

fn tell_left(left: &Left) {
    if left.samples > 0 {
        let named: Vec<_> = left
            .devices
            .iter()
            .take(NAMED)
            .map(DeviceId::as_str)
            .collect();
        tracing::error!(
            readings = left.samples,
            devices = left.devices.len(),
            named = named.join(", "),
            "readings of field devices waited for the disk, and are gone with this end: the hub is \
             told their numbers at the next start"
        );
    }
}

/// The tickets of MQTT messages on their way to the disk.
#[derive(Default)]
struct Tickets {
    /// The last one of which something may not be in the spool.
    taken: Option<u64>,
    /// Those behind which all is in the spool up to a position.
    spooled: VecDeque<(u64, Position)>,
    /// The position of what was spooled last.
    last: Position,
}

impl Tickets {
    /// Whether some wait for the disk.
    fn wait(&self) -> bool {
        !self.spooled.is_empty()
    }

    /// All that was taken is in the spool.
    fn all_spooled(&mut self) {
        if let Some(ticket) = self.taken.take() {
            self.spooled.push_back((ticket, self.last));
        }
    }

    /// The last ticket of which all is on disk, if there is another one.
    fn due(&mut self, committed: Position) -> Option<u64> {
        let mut due = None;
        while let Some((ticket, _)) = self.spooled.pop_front_if(|(_, at)| *at <= committed) {
            due = Some(ticket);
        }
        due
    }
}

struct Keeper {
    gateway: GatewayId,
    spool: Spool,
    edge: Arc<Edge>,
    metrics: Arc<Metrics>,
    numbers: Numbers,
    /// Those of MQTT devices, which are bounded by their listener: none of them is dropped.
    held: Numbers,
    tickets: Tickets,
    durable: Arc<watch::Sender<u64>>,
    ends: Ends,
    devices: Arc<Devices>,
    /// Where boots before this start have ended, as far as it is not in the spool.
    telling: VecDeque<(DeviceId, Vec<u8>)>,
    /// Link events that wait.
    links: VecDeque<Vec<u8>>,
    linked: BTreeMap<DeviceId, Line>,
}

impl Keeper {
    async fn run(
        &mut self,
        mut said: mpsc::Receiver<Said>,
        committed: &mut watch::Receiver<Position>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let mut flush_at = (!self.telling.is_empty()).then(Instant::now);
        let mut note = tokio::time::interval(NOTE);
        note.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                one = said.recv() => {
                    let Some(one) = one else { break };
                    let is_waited_for = matches!(one, Said::Ticket(_));
                    self.take(one);
                    let gather = if is_waited_for { GATHER_WAITED_FOR } else { GATHER };
                    let at = Instant::now() + gather;
                    flush_at = Some(flush_at.map_or(at, |before| before.min(at)));
                }
                Ok(()) = committed.changed(), if self.tickets.wait() => {
                    let committed = *committed.borrow_and_update();
                    self.acknowledge(committed).await;
                }
                () = sleep_until(flush_at.unwrap_or_else(Instant::now)), if flush_at.is_some() => {
                    let is_empty = self.flush()?;
                    let committed = *committed.borrow_and_update();
                    self.acknowledge(committed).await;
                    flush_at = (!is_empty).then(|| Instant::now() + RETRY);
                }
                _ = note.tick(), if self.ends.has_changed() || !self.ends.is_settled() => {
                    let committed = *committed.borrow();
                    self.ends.committed(committed);
                    self.ends.note().await;
                }
                () = stopped(&mut stop) => break,
            }
        }
        while let Ok(one) = said.try_recv() {
            self.take(one);
        }
        let at_us = clock::stamp_us();
        for device in std::mem::take(&mut self.linked).into_keys() {
            self.link(device, report::Link::Disconnected, at_us);
        }
        self.flush()?;
        Ok(())
    }

    fn take(&mut self, said: Said) {
        match said {
            Said::Linked {
                device,
                line,
                at_us,
            } => {
                self.linked.insert(device.clone(), line);
                let suite = line.id();
                self.link(device, report::Link::Connected { suite }, at_us);
            }
            Said::Gone { device, at_us } => {
                self.linked.remove(&device);
                self.link(device, report::Link::Disconnected, at_us);
            }
            Said::Sample {
                device,
                line,
                sample,
            } => {
                let numbers = match line {
                    Line::Mqtt | Line::MqttClassical | Line::MqttPlain => &mut self.held,
                    _ => &mut self.numbers,
                };
                let before = numbers.dropped();
                let given = numbers.push(&device, line, sample, || {
                    rand_core::Rng::next_u32(&mut rng::Os)
                });
                let dropped = numbers.dropped() - before;
                self.metrics.field_samples_dropped.add(dropped);
                if let Some((boot, last)) = given {
                    self.ends.given(&device, boot, line.id(), last);
                }
            }
            Said::Ticket(ticket) => self.tickets.taken = Some(ticket),
            _ => {}
        }
    }

    fn link(&mut self, device: DeviceId, event: report::Link, at_us: i64) {
        let payload = LinkEvent {
            device: device.clone(),
            gateway: self.gateway.clone(),
            at_us,
            event,
        }
        .encode();
        let entry = Entry {
            kind: spool::Kind::Link,
            device,
            suite: None,
            payload: &payload,
        };
        if self.links.len() >= MAX_LINKS {
            self.links.pop_front();
            self.metrics.records_dropped.increment();
        }
        self.links.push_back(entry.to_bytes());
    }

    /// Spools what waits; false when the spool has no room for all of it.
    fn flush(&mut self) -> Result<bool, Error> {
        if !self.flush_telling()? {
            return Ok(false);
        }
        while let Some(entry) = self.links.front() {
            if !put(&self.spool, entry)? {
                return Ok(false);
            }
            self.links.pop_front();
        }
        // Somebody waits for what MQTT devices said.
        stencil_crashpoint::reach("field.before_spool");
        if !self.flush_numbers(|it| &mut it.held)? {
            return Ok(false);
        }
        self.tickets.all_spooled();
        self.flush_numbers(|it| &mut it.numbers)
    }

    /// Spools where boots have ended, before anything of those that have begun.
    fn flush_telling(&mut self) -> Result<bool, Error> {
        while let Some((device, entry)) = self.telling.front() {
            let position = match self.spool.try_put(entry) {
                Ok(position) => position,
                Err(error) if error.is_retryable() => return Ok(false),
                Err(error) => return Err(Error::Spool(error)),
            };
            let device = device.clone();
            self.telling.pop_front();
            if self.telling.front().is_none_or(|(next, _)| *next != device) {
                let read = self.devices.has(&device);
                self.ends.told(device, position, read);
            }
        }
        Ok(true)
    }

    /// Spools what has its numbers; false when the spool has no room for all of it, or the clock is
    /// not set.
    fn flush_numbers(&mut self, of: fn(&mut Self) -> &mut Numbers) -> Result<bool, Error> {
        let mut after = None;
        while let Some(ready) = of(self).next(after.as_ref(), clock::set_now_us()) {
            let suite = Some(ready.line.id());
            match self.edge.try_batch(&ready.device, suite, &ready.batch) {
                Ok(position) => self.tickets.last = position,
                Err(error) if error.is_retryable() => return Ok(false),
                Err(error) => return Err(Error::Spool(error)),
            }
            of(self).done(&ready);
            let at = self.tickets.last;
            self.ends
                .spooled(&ready.device, ready.boot, ready.through, at);
            self.metrics.batches_spooled.increment();
            self.metrics.samples_spooled.add(ready.samples as u64);
            // The same device again, if not all of it went into this batch.
            after = Some(ready.device).filter(|device| !of(self).waits(device));
        }
        Ok(of(self).waiting() == 0)
    }

    /// Tells which tickets are on disk; before that their numbers are noted as kept.
    async fn acknowledge(&mut self, committed: Position) {
        self.ends.committed(committed);
        if let Some(ticket) = self.tickets.due(committed) {
            self.ends.note().await;
            self.durable.send_replace(ticket);
        }
    }
}

/// Spools an entry if there is room.
fn put(spool: &Spool, entry: &[u8]) -> Result<bool, Error> {
    match spool.try_put(entry) {
        Ok(_) => Ok(true),
        Err(error) if error.is_retryable() => Ok(false),
        Err(error) => Err(Error::Spool(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_no_mapping_and_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("mapping.yaml");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let why = read(&pipe).unwrap_err().to_string();
        assert!(why.contains("a pipe"), "{why}");
    }
}
