//! What a gateway takes and gives: `cargo xtask bench gateway` builds it and runs this.
//!
//! The gateway is a process of its own, the binary that is named. Devices and hub are as in the
//! tests of its behaviour: real links with their handshakes, real TLS, a hub that keeps everything
//! in memory and acknowledges at once, so that it is the gateway that is measured.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    dead_code,
    missing_docs,
    reason = "a bench, made of the tests' parts"
)]

#[path = "../tests/behaviour/device.rs"]
mod device;
#[path = "../tests/behaviour/hub.rs"]
mod hub;
#[path = "../tests/behaviour/place.rs"]
mod place;

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use stencil_protocol::{id::Boot, link::Up};

use crate::{
    device::{Device, Told, batch},
    hub::Hub,
    place::{Place, metric, until},
};

/// Links that send once a second.
const LINKS: usize = 200;
/// For how long their cost is measured.
const WATCH: Duration = Duration::from_secs(30);
/// Links that send as fast as they are acknowledged.
const PUSHING: u64 = 8;
/// Samples of a batch: what fits into its 1,024 bytes.
const SAMPLES: u64 = 100;
/// Batches of each such link.
const BATCHES: u64 = 5_000;
/// Batches that wait for their acknowledgement.
const WINDOW: u64 = 16;
/// Before the memory of a gateway without devices is looked at.
const REST: Duration = Duration::from_secs(5);

/// Fails instead of hanging.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(300), future)
        .await
        .expect("it took too long")
}

struct Gateway {
    child: Child,
    link: SocketAddr,
    http: SocketAddr,
}

impl Gateway {
    /// Starts it; returns it and how long it took until it took links, in milliseconds.
    async fn start(binary: &str, place: &Place, hub: &Hub) -> (Self, u64) {
        let folder = place.folder();
        let before = Instant::now();
        let mut child = Command::new(binary)
            .args(["--log", "warn", "gateway", "--output", "json"])
            .env("STENCIL_GATEWAY_DATA_DIR", folder.join("data"))
            .env("STENCIL_GATEWAY_PSK_DIR", folder.join("psk"))
            .env("STENCIL_GATEWAY_HUB__ADDRESS", hub.address.to_string())
            .env("STENCIL_GATEWAY_HUB__ROOT", folder.join("root.pem"))
            .env("STENCIL_GATEWAY_HUB__CERTIFICATE", folder.join("gw-1.pem"))
            .env("STENCIL_GATEWAY_HUB__KEY", folder.join("gw-1.key"))
            .env("STENCIL_GATEWAY_HUB__MAX_BACKOFF_MS", "500")
            .env("STENCIL_GATEWAY_LINK__TCP", "[\"127.0.0.1:0\"]")
            .env("STENCIL_GATEWAY_HTTP__LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the gateway's binary");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).expect("addresses");
        let address = |value: &serde_json::Value| value.as_str().unwrap().parse().unwrap();
        let gateway = Self {
            child,
            link: address(&said["link"][0]),
            http: address(&said["http"]),
        };
        drop(tokio::net::TcpStream::connect(gateway.link).await.unwrap());
        (gateway, before.elapsed().as_millis() as u64)
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// Bytes of memory that it holds now.
    fn rss_bytes(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        kib * 1024
    }

    /// Seconds that it has computed so far.
    fn cpu_s(&self) -> f64 {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let field = |n: usize| fields.split(' ').nth(n).unwrap().parse::<f64>().unwrap();
        // User and system time are fields 14 and 15, counted before the name; 100 ticks a second
        // on every Linux of today.
        (field(11) + field(12)) / 100.0
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let binary = arguments.next().expect("bench_gateway BINARY");
    let place = Place::new();
    let mut hub = Hub::started(&place.authority).await;
    let (gateway, start_up_empty_ms) = Gateway::start(&binary, &place, &hub).await;
    until(gateway.http, "uplink_connected", |connected| connected == 1).await;
    tokio::time::sleep(REST).await;
    let idle_rss_bytes = gateway.rss_bytes();
    eprintln!("idle: {idle_rss_bytes} bytes");

    let cpu_core_share = once_a_second(&place, &gateway).await;
    let links_rss_bytes = gateway.rss_bytes();
    eprintln!("{LINKS} links at 1 Hz: {cpu_core_share:.3} of a core, {links_rss_bytes} bytes");

    until(gateway.http, "spool_waiting_bytes", |bytes| bytes == 0).await;
    hub.crash().await;
    let spooled = PUSHING * BATCHES * SAMPLES;
    let took_s = push(&place, &gateway).await;
    let spool_in_per_s = spooled as f64 / took_s;
    let spool_bytes = metric(gateway.http, "spool_waiting_bytes").await;
    eprintln!("in: {spooled} samples in {took_s:.1} s, {spool_bytes} bytes");
    drop(gateway);

    let (gateway, start_up_ms) = Gateway::start(&binary, &place, &hub).await;
    eprintln!("start with {spooled} samples: {start_up_ms} ms");
    let before = Instant::now();
    hub.start().await;
    until(gateway.http, "spool_waiting_bytes", |bytes| bytes == 0).await;
    let took_s = before.elapsed().as_secs_f64();
    let spool_out_per_s = spooled as f64 / took_s;
    eprintln!("out: {spooled} samples in {took_s:.1} s");
    let peak_rss_bytes = gateway.rss_bytes();
    let report = serde_json::json!({
        "idle_rss_bytes": idle_rss_bytes,
        "links_rss_bytes": links_rss_bytes,
        "back_fill_rss_bytes": peak_rss_bytes,
        "cpu_core_share": (cpu_core_share * 1_000.0).round() / 1_000.0,
        "spool_in_per_s": spool_in_per_s.round(),
        "spool_out_per_s": spool_out_per_s.round(),
        "samples": spooled,
        "spool_bytes": spool_bytes,
        "start_up_ms": { "empty": start_up_empty_ms, "full": start_up_ms },
    });
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
}

/// The share of a core that links cost which send a sample a second.
async fn once_a_second(place: &Place, gateway: &Gateway) -> f64 {
    let mut devices = Vec::new();
    for n in 0..LINKS {
        let (id, psk) = place.device(&format!("slow-{n:03}"));
        let mut device = Device::link(gateway.link, &id, &psk).await;
        // Not all in the same moment.
        let after = Duration::from_micros(1_000_000 / LINKS as u64 * n as u64);
        devices.push(tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            for first in 1.. {
                tick.tick().await;
                device.deliver(1, first, 1).await;
            }
        }));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (began, before_s) = (Instant::now(), gateway.cpu_s());
    tokio::time::sleep(WATCH).await;
    let share = (gateway.cpu_s() - before_s) / began.elapsed().as_secs_f64();
    for device in devices {
        assert!(!device.is_finished(), "a device has failed");
        device.abort();
        let _ = device.await;
    }
    share
}

/// Sends as fast as it is acknowledged; returns how many seconds that took.
async fn push(place: &Place, gateway: &Gateway) -> f64 {
    let mut devices = Vec::new();
    for n in 0..PUSHING {
        let (id, psk) = place.device(&format!("fast-{n}"));
        devices.push(Device::link(gateway.link, &id, &psk).await);
    }
    let before = Instant::now();
    let pushing: Vec<_> = devices
        .into_iter()
        .map(|mut device| {
            tokio::spawn(async move {
                let (mut sent, mut acknowledged) = (0, 0);
                while acknowledged < BATCHES {
                    while sent < BATCHES && sent - acknowledged < WINDOW {
                        let next = batch(1, sent * SAMPLES + 1, SAMPLES);
                        device.say(&Up::Batch(&next)).await;
                        sent += 1;
                    }
                    if let Told::Ack(Boot(1), through) = device.told().await.expect("a link") {
                        acknowledged = through.0 / SAMPLES;
                    }
                }
            })
        })
        .collect();
    for pushing in pushing {
        pushing.await.unwrap();
    }
    before.elapsed().as_secs_f64()
}
