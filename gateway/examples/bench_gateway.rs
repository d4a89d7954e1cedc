//! What a gateway takes and gives: `cargo xtask bench gateway` builds it and runs this.
//!
//! The gateway is a process of its own, the binary that is named. Devices and hub are as in the
//! tests of its behaviour: real links with their handshakes, real TLS, a hub that keeps everything
//! in memory and acknowledges at once, so that it is the gateway that is measured. All of them share
//! the machine: what devices and hub compute is missing to the gateway.
//!
//! The gateway's files lie where `TMPDIR` says: it should be on a disk.
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
    collections::{HashMap, VecDeque},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use stencil_protocol::{
    batch::{Batch, Header, Writer},
    id::{Boot, DeviceId, Seq},
    link::Up,
    sample::{Sample, Value},
    topic::Topic,
};

use crate::{
    device::{Device, Told},
    hub::Hub,
    place::{Place, metric, until},
};

/// Links that send once a second.
const LINKS: usize = 200;
/// For how long their cost is measured.
const WATCH: Duration = Duration::from_secs(30);
/// Links that send as fast as they are acknowledged.
const PUSHING: usize = 8;
/// Full batches of each such link.
const BATCHES: usize = 8_000;
/// Batches that wait for their acknowledgement: as many as a gateway takes of one link.
const WINDOW: usize = 16;
/// Before the memory of a gateway without devices is looked at.
const REST: Duration = Duration::from_secs(5);
/// Larger than any spool here: all is brought in order.
const ALL_IN_ORDER: &str = "1000000000000";
/// Lines of the gateway's log that are shown when it goes wrong.
const LOG_LINES: usize = 20;

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
    log: PathBuf,
}

impl Gateway {
    /// Starts it, with more settings; returns it and how long it took until it took links, in
    /// milliseconds.
    async fn start(binary: &str, place: &Place, hub: &Hub, more: &[(&str, &str)]) -> (Self, u64) {
        let folder = place.folder();
        let log = folder.join("log");
        let before = Instant::now();
        let mut child = Command::new(binary)
            .args(["--log", "info", "gateway", "--output", "json"])
            .env("STENCIL_GATEWAY_DATA_DIR", folder.join("data"))
            .env("STENCIL_GATEWAY_PSK_DIR", folder.join("psk"))
            .env("STENCIL_GATEWAY_HUB__ADDRESS", hub.address.to_string())
            .env("STENCIL_GATEWAY_HUB__ROOT", folder.join("root.pem"))
            .env("STENCIL_GATEWAY_HUB__CERTIFICATE", folder.join("gw-1.pem"))
            .env("STENCIL_GATEWAY_HUB__KEY", folder.join("gw-1.key"))
            .env("STENCIL_GATEWAY_HUB__MAX_BACKOFF_MS", "500")
            .env("STENCIL_GATEWAY_LINK__TCP", "[\"127.0.0.1:0\"]")
            .env("STENCIL_GATEWAY_HTTP__LISTEN", "127.0.0.1:0")
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
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
            log,
        };
        drop(tokio::net::TcpStream::connect(gateway.link).await.unwrap());
        (gateway, before.elapsed().as_millis() as u64)
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// Bytes of memory that it holds now, or (`VmHWM`) has held at most.
    fn memory_bytes(&self, which: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(which));
        let kib: u64 = line
            .unwrap()
            .trim_start_matches(':')
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        kib * 1024
    }

    fn rss_bytes(&self) -> u64 {
        self.memory_bytes("VmRSS")
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
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let newest = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("the gateway said last:\n{}", newest.join("\n"));
        }
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let binary = arguments.next().expect("bench_gateway BINARY");
    let place = Place::new();
    let mut hub = Hub::started(&place.authority).await;
    let (gateway, start_up_empty_ms) = Gateway::start(&binary, &place, &hub, &[]).await;
    until(gateway.http, "uplink_connected", |connected| connected == 1).await;
    tokio::time::sleep(REST).await;
    let idle_rss_bytes = gateway.rss_bytes();
    eprintln!("idle: {idle_rss_bytes} bytes");

    let cpu_core_share = once_a_second(&place, &gateway).await;
    let links_rss_bytes = gateway.rss_bytes();
    eprintln!("{LINKS} links at 1 Hz: {cpu_core_share:.3} of a core, {links_rss_bytes} bytes");
    until(gateway.http, "spool_waiting_bytes", |bytes| bytes == 0).await;

    hub.crash().await;
    let devices: Vec<_> = (0..PUSHING)
        .map(|n| place.device(&format!("fast-{n}")))
        .collect();
    let mut sent = HashMap::new();
    let (samples, in_s) = push(&devices, &gateway, &mut sent).await;
    let spool_bytes = metric(gateway.http, "spool_waiting_bytes").await;
    eprintln!("in: {samples} samples in {in_s:.1} s, {spool_bytes} bytes");
    drop(gateway);
    let (gateway, start_up_ms) = Gateway::start(&binary, &place, &hub, &[]).await;
    eprintln!("start with {samples} samples: {start_up_ms} ms");
    hub.start().await;
    let out_s = drained(&gateway).await;
    let back_filled = metric(gateway.http, "publishes_back_filled_total").await;
    eprintln!(
        "out: {samples} samples in {out_s:.1} s, {back_filled} messages at the back-fill's pace"
    );

    hub.crash().await;
    let (samples_in_order, _) = push(&devices, &gateway, &mut sent).await;
    let peak_rss_bytes = gateway.memory_bytes("VmHWM");
    drop(gateway);
    let in_order = [("STENCIL_GATEWAY_HUB__IN_ORDER_BYTES", ALL_IN_ORDER)];
    let (gateway, _) = Gateway::start(&binary, &place, &hub, &in_order).await;
    hub.start().await;
    let out_in_order_s = drained(&gateway).await;
    eprintln!("out: {samples_in_order} samples in {out_in_order_s:.1} s, in order");
    drop(gateway);
    check(&hub, &sent);

    let rate = |samples: u64, s: f64| (samples as f64 / s).round();
    let report = serde_json::json!({
        "idle_rss_bytes": idle_rss_bytes,
        "links_rss_bytes": links_rss_bytes,
        "peak_rss_bytes": peak_rss_bytes,
        "cpu_core_share": (cpu_core_share * 1_000.0).round() / 1_000.0,
        "spool_in_per_s": rate(samples, in_s),
        "spool_out_per_s": rate(samples, out_s),
        "spool_out_in_order_per_s": rate(samples_in_order, out_in_order_s),
        "samples": samples,
        "samples_a_batch": samples / (PUSHING * BATCHES) as u64,
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

/// Sends full batches as fast as they are acknowledged, that is, on the gateway's disk; returns how
/// many samples, and how many seconds that took. `sent` is up to where each device has got.
async fn push(
    devices: &[(DeviceId, stencil_crypto::Psk)],
    gateway: &Gateway,
    sent: &mut HashMap<DeviceId, u64>,
) -> (u64, f64) {
    let mut linked = Vec::new();
    for (id, psk) in devices {
        linked.push(Device::link(gateway.link, id, psk).await);
    }
    let before = Instant::now();
    let pushing: Vec<_> = linked
        .into_iter()
        .map(|device| {
            let last = sent.get(&device.id).copied().unwrap_or(0);
            (
                device.id.clone(),
                last,
                tokio::spawn(push_one(device, last)),
            )
        })
        .collect();
    let mut samples = 0;
    for (id, before, pushing) in pushing {
        let last = pushing.await.unwrap();
        samples += last - before;
        sent.insert(id, last);
    }
    (samples, before.elapsed().as_secs_f64())
}

/// Sends a device's batches, whose numbers begin after `last`; returns the number of the last sample.
async fn push_one(mut device: Device, mut last: u64) -> u64 {
    let (mut left, mut waiting) = (BATCHES, VecDeque::new());
    loop {
        while left > 0 && waiting.len() < WINDOW {
            let batch;
            (batch, last) = full_batch(last + 1);
            device.say(&Up::Batch(&batch)).await;
            waiting.push_back(last);
            left -= 1;
        }
        if waiting.is_empty() {
            return last;
        }
        match device.told().await {
            Some(Told::Ack(Boot(1), Seq(through))) => {
                while waiting.pop_front_if(|last| *last <= through).is_some() {}
            }
            Some(Told::Time(_)) => {}
            other => panic!("{}: {other:?}, with {left} batches to come", device.id),
        }
    }
}

/// As many samples as a link's batch holds, from this number on: two quantities, each second, as a
/// sensor gives them. Returns the number of the last one, too.
fn full_batch(first: u64) -> (Vec<u8>, u64) {
    let mut bytes = [0; stencil_protocol::batch::MAX_LINK_BYTES];
    // What the last number is, the header says before it is known: no less than it will be.
    let mut samples = stencil_protocol::batch::MAX_SAMPLES as u64;
    loop {
        let header = Header {
            boot: Boot(1),
            first: Seq(first),
            last_given: Seq(first + samples - 1),
            previous: None,
            dropped: heapless::Vec::new(),
        };
        let mut writer = Writer::new(&mut bytes, &header).unwrap();
        let mut fits = 0;
        while fits < samples && writer.push(&sample(first + fits)).is_ok() {
            fits += 1;
        }
        if fits == samples {
            let length = writer.finish().unwrap();
            return (bytes[..length].to_vec(), first + samples - 1);
        }
        samples = fits;
    }
}

fn sample(number: u64) -> Sample<'static> {
    let (name, unit) = match number % 2 {
        0 => ("temperature", "degC"),
        _ => ("humidity", "percent"),
    };
    Sample {
        name,
        value: Value::Number(f64::from((number % 1_000) as f32 / 7.0)),
        unit: Some(unit),
        time_us: 1_750_000_000_000_000 + (number / 2) as i64 * 1_000_000,
    }
}

/// Returns how many seconds it took from the connection until the hub had acknowledged all.
async fn drained(gateway: &Gateway) -> f64 {
    until(gateway.http, "uplink_connected", |connected| connected == 1).await;
    let before = Instant::now();
    until(gateway.http, "spool_waiting_bytes", |bytes| bytes == 0).await;
    before.elapsed().as_secs_f64()
}

/// The hub has each sample that was sent.
fn check(hub: &Hub, sent: &HashMap<DeviceId, u64>) {
    let mut came: HashMap<DeviceId, Vec<(u64, u64)>> = HashMap::new();
    for kept in hub.kept() {
        let Topic::Batch(device) = kept.topic else {
            continue;
        };
        if sent.contains_key(&device) {
            let batch = Batch::decode(&kept.payload).unwrap();
            let first = batch.header().first.0;
            let runs = came.entry(device).or_default();
            runs.push((first, first + batch.len() as u64 - 1));
        }
    }
    for (device, last) in sent {
        let runs = came.get_mut(device).expect("something of each device");
        runs.sort_unstable();
        let through = runs.iter().fold(0, |through, (first, last)| {
            assert!(
                *first <= through + 1,
                "{device}: {} is missing",
                through + 1
            );
            through.max(*last)
        });
        assert_eq!(through, *last, "{device}: the end is missing");
    }
}
