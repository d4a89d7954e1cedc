//! A device: numbers its readings, sends one a message with QoS 1, keeps each until it is
//! acknowledged, and sends it again over the next connection when it was not.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use stencil_protocol::batch::{Header, Writer};
use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::sample::{Sample, Value};

/// Every so many-th reading fires the rule.
const FIRES_EVERY: u64 = 20;
/// Messages that may wait for their acknowledgement.
const IN_FLIGHT: usize = 32;
/// Between two readings of a device.
const TICK: Duration = Duration::from_millis(3);
/// How long a look at the socket takes when nothing comes.
const LOOK: Duration = Duration::from_millis(1);
/// Readings a device gives at most, whatever happens.
const MAX_NUMBER: u64 = 10_000_000;
/// How long a hub may take to let a device in.
const PATIENCE: Duration = Duration::from_secs(10);
/// PUBLISH with QoS 1, PUBACK (MQTT 5, sections 3.3 and 3.4).
const PUBLISH: u8 = 0x32;
const PUBACK: u8 = 0x40;

/// A device, and all that it remembers.
pub(super) struct Device {
    pub(super) name: String,
    pub(super) token: String,
    /// When its first reading was, µs since the Unix epoch; each is 1 ms after the one before.
    pub(super) began_us: i64,
    /// All up to this number were acknowledged.
    pub(super) acknowledged: AtomicU64,
    /// The highest number that was sent.
    pub(super) sent: AtomicU64,
    /// What the hub did that it must not.
    pub(super) faults: Mutex<Vec<String>>,
}

impl Device {
    pub(super) fn new(name: String, token: String, began_us: i64) -> Self {
        Self {
            name,
            token,
            began_us,
            acknowledged: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            faults: Mutex::default(),
        }
    }

    /// The time of a reading.
    pub(super) fn time_us(&self, number: u64) -> i64 {
        self.began_us + i64::try_from(number).unwrap_or(i64::MAX / 2_000) * 1_000
    }

    /// Sends until told to stop; a connection that ends is made anew after a while.
    pub(super) fn run(&self, hub: SocketAddr, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            let Ok(mut link) = Link::connect(hub, &self.name, &self.token) else {
                std::thread::sleep(TICK);
                continue;
            };
            // A hub that is gone is what these rounds are about.
            let _ = self.publish(&mut link, stop);
        }
    }

    fn publish(&self, link: &mut Link, stop: &AtomicBool) -> anyhow::Result<()> {
        let mut waiting: VecDeque<(u16, u64)> = VecDeque::new();
        let mut next = self.acknowledged.load(Ordering::Acquire) + 1;
        while !stop.load(Ordering::Acquire) {
            if waiting.len() < IN_FLIGHT && next <= MAX_NUMBER {
                let id = link.publish(&self.topic(), &self.payload(next)?)?;
                self.sent.fetch_max(next, Ordering::AcqRel);
                waiting.push_back((id, next));
                next += 1;
            }
            for (id, reason) in link.acknowledged(LOOK)? {
                match waiting.pop_front() {
                    Some((expected, number)) if expected == id && reason < 0x80 => {
                        self.acknowledged.store(number, Ordering::Release);
                    }
                    // Not taken: it is sent again over another connection.
                    Some((expected, _)) if expected == id => bail!("refused: {reason:#x}"),
                    other => {
                        let why = format!("{}: PUBACK {id} where {other:?} waits", self.name);
                        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
                        faults.push(why.clone());
                        bail!(why);
                    }
                }
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// Sends one number over a connection of its own; says whether it was acknowledged in time.
    pub(super) fn probe(&self, hub: SocketAddr, within: Duration) -> bool {
        let number = self.acknowledged.load(Ordering::Acquire) + 1;
        let sent = || -> anyhow::Result<bool> {
            let mut link = Link::connect(hub, &format!("{}-probe", self.name), &self.token)?;
            link.publish(&self.topic(), &self.payload(number)?)?;
            let acknowledged = link.acknowledged(within)?;
            Ok(acknowledged.iter().any(|(_, reason)| *reason < 0x80))
        };
        sent().unwrap_or(false)
    }

    fn topic(&self) -> String {
        format!("stencil/v1/d/{}/batch", self.name)
    }

    fn payload(&self, number: u64) -> anyhow::Result<Vec<u8>> {
        let header = Header {
            boot: Boot(1),
            first: Seq(number),
            last_given: Seq(number),
            previous: None,
            dropped: Default::default(),
        };
        let mut bytes = vec![0; 256];
        let mut writer = Writer::new(&mut bytes, &header).context("a batch's header")?;
        writer.push(&Sample {
            name: "n",
            value: Value::Number(value(number)),
            unit: None,
            time_us: self.time_us(number),
        })?;
        let length = writer.finish()?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// The value of a reading: above zero where it fires the rule, and never twice the same.
pub(super) fn value(number: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "numbers are far below 2^52")]
    let number_as = number as f64;
    if fires(number) { number_as } else { -number_as }
}

/// Whether a reading fires the rule.
pub(super) fn fires(number: u64) -> bool {
    number.is_multiple_of(FIRES_EVERY)
}

/// A connection of an MQTT 5 client that only publishes.
struct Link {
    socket: TcpStream,
    received: Vec<u8>,
    last_id: u16,
}

impl Link {
    fn connect(hub: SocketAddr, client: &str, token: &str) -> anyhow::Result<Self> {
        let socket = TcpStream::connect_timeout(&hub, PATIENCE)?;
        socket.set_nodelay(true)?;
        let mut link = Self {
            socket,
            received: Vec::new(),
            last_id: 0,
        };
        let mut body = text("MQTT")?;
        // Version 5, a user name, a clean start, a keep-alive of 60 s, no properties.
        body.extend([5, 0x82, 0, 60, 0]);
        body.extend(text(client)?);
        body.extend(text(token)?);
        link.send(0x10, &body)?;
        link.socket.set_read_timeout(Some(PATIENCE))?;
        while link.next().is_none() {
            link.read()?;
        }
        Ok(link)
    }

    fn publish(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<u16> {
        self.last_id = self.last_id % u16::MAX + 1;
        let mut body = text(topic)?;
        body.extend(self.last_id.to_be_bytes());
        body.push(0);
        body.extend(payload);
        self.send(PUBLISH, &body)?;
        Ok(self.last_id)
    }

    /// The identifiers and reasons of PUBACKs that come within this time.
    fn acknowledged(&mut self, within: Duration) -> anyhow::Result<Vec<(u16, u8)>> {
        self.socket.set_read_timeout(Some(within))?;
        self.read()?;
        let mut found = Vec::new();
        while let Some((kind, body)) = self.next() {
            match (kind, body.as_slice()) {
                (PUBACK, [high, low, rest @ ..]) => {
                    let reason = rest.first().copied().unwrap_or(0);
                    found.push((u16::from_be_bytes([*high, *low]), reason));
                }
                (0xe0, _) => bail!("the hub has said goodbye: {body:02x?}"),
                _ => {}
            }
        }
        Ok(found)
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> anyhow::Result<()> {
        let mut packet = vec![kind];
        let mut length = body.len();
        loop {
            let low = u8::try_from(length % 128)?;
            length /= 128;
            packet.push(if length > 0 { low | 0x80 } else { low });
            if length == 0 {
                break;
            }
        }
        packet.extend(body);
        Ok(self.socket.write_all(&packet)?)
    }

    /// Reads what is there; nothing within the time is nothing.
    fn read(&mut self) -> anyhow::Result<()> {
        let mut chunk = [0; 4096];
        match self.socket.read(&mut chunk) {
            Ok(0) => bail!("the hub has closed the connection"),
            Ok(read) => self.received.extend(chunk.get(..read).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        ensure!(self.received.len() < 1 << 20, "the hub sends without end");
        Ok(())
    }

    /// The first whole packet that has come.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut length = 0;
        for (at, byte) in self.received.iter().enumerate().skip(1).take(4) {
            length |= usize::from(byte & 0x7f) << (7 * (at - 1));
            if byte & 0x80 == 0 {
                let body = at + 1..at + 1 + length;
                let kind = *self.received.first()?;
                let packet = self.received.get(body.clone())?.to_vec();
                self.received.drain(..body.end);
                return Some((kind, packet));
            }
        }
        None
    }
}

fn text(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut out = u16::try_from(text.len())?.to_be_bytes().to_vec();
    out.extend(text.bytes());
    Ok(out)
}

/// Devices that send, each in a thread of its own.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(devices: &[Arc<Device>], hub: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = devices.iter().map(|device| {
            let (device, stop) = (Arc::clone(device), Arc::clone(&stop));
            std::thread::spawn(move || device.run(hub, &stop))
        });
        Self {
            threads: threads.collect(),
            stop,
        }
    }

    /// Ends it.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            if thread.join().is_err() {
                bail!("a device has panicked");
            }
        }
        Ok(())
    }
}
