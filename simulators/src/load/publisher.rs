//! One connection: CONNECT, PUBLISH packets as many as may be in flight, PUBACKs in order.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use stencil_protocol::id::{Boot, DeviceId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::histogram::Histogram;
use super::template::{Message, Template};

/// How long connecting, and any acknowledgement, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// A PUBACK (MQTT 3.1.1 §3.4).
const ACK_BYTES: usize = 4;
const READ_BYTES: usize = 16 * 1024;
/// Messages of one write at most.
const MAX_BURST: u64 = 1_024;

/// What one connection shall do.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) address: SocketAddr,
    pub(super) in_flight: u16,
    pub(super) messages: u64,
    pub(super) time: Duration,
    /// Before the first message, and between two; none: as fast as it goes.
    pub(super) pause: Option<(Duration, Duration)>,
    pub(super) boot: Boot,
    pub(super) seed: u64,
}

/// What it came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) latencies: Histogram,
    pub(super) payload_bytes: usize,
    pub(super) packet_bytes: usize,
    pub(super) failure: Option<String>,
}

impl Outcome {
    pub(super) fn failed(error: impl std::fmt::Display) -> Self {
        Self {
            failure: Some(error.to_string()),
            ..Self::default()
        }
    }
}

/// A connected publisher.
pub(super) struct Publisher {
    socket: TcpStream,
    plan: Plan,
    template: Template,
    outcome: Outcome,
    /// The next packet identifiers to send and to be acknowledged.
    next_id: u16,
    next_ack: u16,
    /// Messages handed to the kernel together, and when.
    bursts: VecDeque<(u64, Instant)>,
    last_us: i64,
    value: f32,
    random: u64,
    out: Vec<u8>,
}

impl Publisher {
    pub(super) async fn connect(plan: Plan, device: &DeviceId, token: &str) -> io::Result<Self> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no CONNACK in time");
        let socket = tokio::time::timeout(PATIENCE, open(plan.address, device, token))
            .await
            .map_err(late)??;
        Ok(Self {
            socket,
            template: Template::new(device, plan.boot),
            outcome: Outcome::default(),
            next_id: 1,
            next_ack: 1,
            bursts: VecDeque::new(),
            last_us: 0,
            value: -18.0,
            random: plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            out: Vec::new(),
            plan,
        })
    }

    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) -> Outcome {
        if let Err(error) = self.publish(stop).await {
            self.outcome.failure = Some(error.to_string());
        }
        self.outcome.payload_bytes = self.template.payload_bytes();
        self.outcome.packet_bytes = self.template.packet_bytes();
        self.outcome
    }

    async fn publish(&mut self, stop: watch::Receiver<bool>) -> io::Result<()> {
        let began = Instant::now();
        let until = began + self.plan.time;
        let mut due = self.plan.pause.map(|(first, _)| began + first);
        let mut buffer = vec![0; READ_BYTES];
        let mut held = 0;
        loop {
            let waiting = self.outcome.sent - self.outcome.acknowledged;
            let over = *stop.borrow() || Instant::now() >= until;
            let left = if over {
                0
            } else {
                self.plan.messages - self.outcome.sent
            };
            if left == 0 && waiting == 0 {
                // DISCONNECT: the server need not publish a will or wonder.
                return self.socket.write_all(&[0xe0, 0]).await;
            }
            let room = u64::from(self.plan.in_flight) - waiting;
            let mut burst = left.min(room).min(MAX_BURST);
            if let (Some(at), Some((_, every))) = (due, self.plan.pause) {
                if burst > 0 && at <= Instant::now() {
                    burst = 1;
                    due = Some(at + every);
                } else {
                    burst = 0;
                }
            }
            if burst > 0 {
                self.send(burst).await?;
                continue;
            }
            let pause = due.filter(|_| left > 0 && room > 0);
            let wake = pause.unwrap_or_else(|| Instant::now() + PATIENCE);
            let read = self.socket.read(buffer.get_mut(held..).unwrap_or_default());
            match tokio::time::timeout_at(wake.into(), read).await {
                Ok(read) => match read? {
                    0 => {
                        return Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "the server closed a connection",
                        ));
                    }
                    bytes => held += bytes,
                },
                Err(_) if pause.is_some() => continue,
                Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no PUBACK in time")),
            }
            let whole = held / ACK_BYTES * ACK_BYTES;
            self.acknowledged(buffer.get(..whole).unwrap_or_default())?;
            buffer.copy_within(whole..held, 0);
            held -= whole;
        }
    }

    async fn send(&mut self, burst: u64) -> io::Result<()> {
        let now_us = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |now| i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
        self.out.clear();
        for _ in 0..burst {
            // One reading a time.
            self.last_us = now_us.max(self.last_us + 1);
            self.outcome.sent += 1;
            let message = Message {
                id: self.next_id,
                seq: self.outcome.sent,
                time_us: self.last_us,
                value: self.measure(),
            };
            self.template
                .write(&message, &mut self.out)
                .map_err(io::Error::other)?;
            self.next_id = following(self.next_id);
        }
        self.bursts.push_back((burst, Instant::now()));
        self.socket.write_all(&self.out).await
    }

    /// A temperature that wanders in steps of a 16th, as a sensor of 12 bits shows it.
    fn measure(&mut self) -> f32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let step = match self.random >> 62 {
            0 => -0.0625,
            1 => 0.0625,
            _ => 0.0,
        };
        self.value = (self.value + step).clamp(-22.0, -14.0);
        self.value
    }

    fn acknowledged(&mut self, acks: &[u8]) -> io::Result<()> {
        let now = Instant::now();
        let mut count = 0;
        for ack in acks.chunks_exact(ACK_BYTES) {
            let [high, low] = self.next_ack.to_be_bytes();
            if ack != [0x40, 2, high, low] {
                let what = format!("PUBACK {} expected, got {ack:02x?}", self.next_ack);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            self.next_ack = following(self.next_ack);
            count += 1;
        }
        self.outcome.acknowledged += count;
        while let (true, Some((left, at))) = (count > 0, self.bursts.front_mut()) {
            let these = count.min(*left);
            let us = u64::try_from(now.duration_since(*at).as_micros()).unwrap_or(u64::MAX);
            self.outcome.latencies.record(us, these);
            *left -= these;
            count -= these;
            if *left == 0 {
                self.bursts.pop_front();
            }
        }
        Ok(())
    }
}

/// CONNECT with a clean session and the token as user name, and its answer (MQTT 3.1.1 §3.1, §3.2).
async fn open(address: SocketAddr, device: &DeviceId, token: &str) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let flags = if token.is_empty() { 0x02 } else { 0x82 };
    let mut body = b"\0\x04MQTT\x04".to_vec();
    body.extend([flags, 0, 0]);
    for text in [device.as_str(), token] {
        if text.is_empty() {
            continue;
        }
        let length = u16::try_from(text.len()).map_err(io::Error::other)?;
        body.extend(length.to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    let mut packet = vec![0x10];
    let length = u16::try_from(body.len()).map_err(io::Error::other)?;
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => packet.push(short),
        _ => {
            let [_, low] = ((length % 128) | 0x80).to_be_bytes();
            let [_, high] = (length / 128 % 128).to_be_bytes();
            packet.extend([low, high]);
        }
    }
    packet.extend_from_slice(&body);
    socket.write_all(&packet).await?;
    let mut answer = [0; 4];
    socket.read_exact(&mut answer).await?;
    if answer != [0x20, 2, 0, 0] {
        let what = format!("the server did not let {device} in: {answer:02x?}");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(socket)
}

/// Packet identifiers are 1 to 65,535.
fn following(id: u16) -> u16 {
    id.wrapping_add(1).max(1)
}
