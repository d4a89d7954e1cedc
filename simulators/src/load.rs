//! Load: many devices that publish as fast as they are acknowledged.
//!
//! Each connection is a device of its own that numbers its samples and sends one a message, as a
//! batch ([`stencil_protocol::batch`]), by MQTT 3.1.1 with QoS 1. A fixed number of messages of each
//! is in flight. What leaves is encoded from a template, so that little of the machine's time goes
//! to the generator. Any MQTT server takes it; the hub wants the devices' tokens.
//!
//! ```text
//! {"device":"load-0000","token":"dev_…"}
//! ```
//! is a line of the file with tokens.

mod histogram;
mod publisher;
mod template;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use stencil_protocol::id::{Boot, DeviceId};
use tokio::sync::{Barrier, watch};

use self::histogram::Histogram;
use self::publisher::{Plan, Publisher};
use crate::Error;

/// The most connections.
const MAX_CONNECTIONS: usize = 20_000;
/// The most messages.
const MAX_MESSAGES: u64 = 1 << 40;
/// The longest run in seconds.
const MAX_SECONDS: u64 = 24 * 60 * 60;

/// The settings of a load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The server, without TLS.
    pub address: SocketAddr,
    /// Connections at once, each a device.
    pub connections: usize,
    /// Messages of each connection that may wait for their acknowledgement.
    pub in_flight: u16,
    /// Messages in all; they are shared evenly.
    pub messages: u64,
    /// After how many seconds no more is sent, however many are left.
    pub max_seconds: u64,
    /// Messages a second in all; 0 sends as fast as the server acknowledges.
    pub rate: u64,
    /// A file with a device and its token a line (JSON). Without it devices are `load-0000` and
    /// so on, and nobody says who he is.
    pub tokens: Option<PathBuf>,
    /// The boot that all devices are in: another one for each run against the same hub.
    pub boot: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 1883)),
            connections: 8,
            in_flight: 1_024,
            messages: 1_000_000,
            max_seconds: 60,
            rate: 0,
            tokens: None,
            boot: 1,
        }
    }
}

/// What a load came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Connections.
    pub connections: usize,
    /// Messages of each that could be in flight.
    pub in_flight: u16,
    /// Messages sent.
    pub sent: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// When the first message left, µs since the Unix epoch.
    pub began_us: u64,
    /// When the last acknowledgement came, µs since the Unix epoch.
    pub ended_us: u64,
    /// Messages acknowledged a second.
    pub per_s: f64,
    /// From handing a message to the kernel to its acknowledgement.
    pub latency_us: Latency,
    /// Bytes of the last payload.
    pub payload_bytes: usize,
    /// Bytes of the last PUBLISH packet.
    pub packet_bytes: usize,
    /// Why connections ended early, the first of each kind; empty when all went well.
    pub failures: Vec<String>,
}

/// How long acknowledgements took, in µs, to within 3 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Half took no longer.
    pub p50: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// The slowest.
    pub max: u64,
}

/// A line of the file with tokens.
#[derive(Debug, Deserialize)]
struct Credential {
    device: DeviceId,
    token: String,
}

/// Sends until all is acknowledged, the time is over, or `stop` holds true.
///
/// # Errors
/// A setting that cannot be; a file with tokens that cannot be read. Connections that end early
/// are told of in the report.
pub async fn run(options: Options, stop: watch::Receiver<bool>) -> Result<Report, Error> {
    options.check()?;
    let credentials = options.credentials()?;
    // One thread, so that tasks wake each other without a way through the kernel.
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Listen {
                address: options.address,
                source,
            })?;
        Ok(runtime.block_on(all(&options, credentials, stop)))
    })
    .await?
}

async fn all(
    options: &Options,
    credentials: Vec<Credential>,
    stop: watch::Receiver<bool>,
) -> Report {
    let ready = Arc::new(Barrier::new(options.connections + 1));
    let share = options.messages / options.connections as u64;
    let odd = options.messages % options.connections as u64;
    let mut tasks = tokio::task::JoinSet::new();
    for (index, credential) in (0u64..).zip(credentials) {
        let plan = Plan {
            address: options.address,
            in_flight: options.in_flight,
            messages: share + u64::from(index < odd),
            time: Duration::from_secs(options.max_seconds),
            pause: pause(options, index),
            boot: Boot(options.boot),
            seed: index,
        };
        let (ready, stop) = (Arc::clone(&ready), stop.clone());
        tasks.spawn(async move {
            let connected = Publisher::connect(plan, &credential.device, &credential.token).await;
            // Also who failed arrives: the others must not wait for ever.
            ready.wait().await;
            match connected {
                Ok(publisher) => publisher.run(stop).await,
                Err(error) => publisher::Outcome::failed(error),
            }
        });
    }
    ready.wait().await;
    let (began, began_at) = (Instant::now(), SystemTime::now());
    let mut report = Report {
        connections: options.connections,
        in_flight: options.in_flight,
        began_us: micros(
            began_at
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
        ),
        ..Report::default()
    };
    let mut histogram = Histogram::default();
    while let Some(outcome) = tasks.join_next().await {
        let outcome = outcome.unwrap_or_else(|error| {
            publisher::Outcome::failed(std::io::Error::other(error.to_string()))
        });
        report.sent += outcome.sent;
        report.acknowledged += outcome.acknowledged;
        report.payload_bytes = report.payload_bytes.max(outcome.payload_bytes);
        report.packet_bytes = report.packet_bytes.max(outcome.packet_bytes);
        histogram.add(&outcome.latencies);
        if let Some(failure) = outcome.failure.filter(|it| !report.failures.contains(it)) {
            report.failures.push(failure);
        }
    }
    let took = began.elapsed();
    report.ended_us = report.began_us.saturating_add(micros(took));
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 messages")]
    let acknowledged = report.acknowledged as f64;
    report.per_s = acknowledged / took.as_secs_f64().max(f64::MIN_POSITIVE);
    report.latency_us = Latency {
        p50: histogram.quantile(0.5),
        p99: histogram.quantile(0.99),
        max: histogram.max(),
    };
    report
}

/// Until when a connection waits before its first message, and between two of them.
fn pause(options: &Options, index: u64) -> Option<(Duration, Duration)> {
    if options.rate == 0 {
        return None;
    }
    let connections = options.connections as u64;
    let nanos = |n: u64| Duration::from_nanos(n.saturating_mul(1_000_000_000) / options.rate);
    // Spread over the first round, so that they do not send all at once.
    Some((nanos(index), nanos(connections)))
}

impl Options {
    fn check(&self) -> Result<(), Error> {
        let settings = [
            (
                "connections",
                self.connections as u64,
                1,
                MAX_CONNECTIONS as u64,
            ),
            ("in_flight", self.in_flight.into(), 1, u16::MAX.into()),
            ("messages", self.messages, 1, MAX_MESSAGES),
            ("max_seconds", self.max_seconds, 1, MAX_SECONDS),
            ("rate", self.rate, 0, 1_000_000_000),
        ];
        for (setting, value, least, most) in settings {
            if !(least..=most).contains(&value) {
                return Err(Error::Range {
                    setting,
                    least,
                    most,
                });
            }
        }
        Ok(())
    }

    fn credentials(&self) -> Result<Vec<Credential>, Error> {
        let Some(path) = &self.tokens else {
            return (0..self.connections)
                .map(|index| {
                    let device = DeviceId::parse(&format!("load-{index:04}"))
                        .map_err(|error| invalid(Path::new("load"), &error))?;
                    let token = String::new();
                    Ok(Credential { device, token })
                })
                .collect();
        };
        let text = std::fs::read_to_string(path).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        let credentials = text
            .lines()
            .take(self.connections)
            .map(serde_json::from_str)
            .collect::<Result<Vec<Credential>, _>>()
            .map_err(|error| invalid(path, &error))?;
        if credentials.len() < self.connections {
            let why = format!(
                "{} tokens for {} connections",
                credentials.len(),
                self.connections
            );
            return Err(invalid(path, &why));
        }
        Ok(credentials)
    }
}

fn invalid(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::File {
        path: path.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, why.to_string()),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
