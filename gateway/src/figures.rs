//! What the gateway is like in numbers: for who scrapes it, and for the hub that asks.

use std::{sync::Arc, time::Instant};

use stencil_log::Health;
use stencil_protocol::question::{Figure, Kind, MAX_FIGURES, MAX_HELP_BYTES, MAX_NAME_BYTES};
use tokio::sync::watch;

use crate::{
    access::Access,
    commands::Commands,
    desired::Desired,
    edge::Edge,
    field::Devices,
    link::Live,
    managed::Managed,
    metrics::{Gauge, Metrics},
    mqtt,
    spool::Spool,
    uplink::Certificate,
};

/// The unit of times in `/proc`: Linux shows them in hundredths of a second.
const TICK_MS: u64 = 10;

/// What is looked at.
pub(crate) struct Figures {
    pub(crate) spool: Spool,
    pub(crate) live: Live,
    pub(crate) commands: Arc<Commands>,
    pub(crate) keys: Arc<Managed>,
    pub(crate) field: Arc<Devices>,
    pub(crate) mqtt: mqtt::Shown,
    pub(crate) edge: Arc<Edge>,
    pub(crate) access: Option<Arc<Access>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) certificate: Arc<Certificate>,
    pub(crate) connected: watch::Receiver<bool>,
    pub(crate) desired: Arc<Desired>,
    pub(crate) started: Instant,
}

impl Figures {
    /// The text of `/metrics`.
    pub(crate) fn text(&self) -> String {
        self.metrics.text(&self.gauges()) + &self.field.metrics() + &self.mqtt.metrics()
    }

    /// All of it for the hub.
    pub(crate) fn all(&self) -> Vec<Figure> {
        let counters = self.metrics.counters().into_iter();
        let counters = counters.map(|(name, help, counter)| {
            let name = format!("{name}_total");
            figure(&name, Kind::Counter, counter.get(), help)
        });
        let gauges = self.gauges().into_iter();
        let gauges = gauges.map(|it| figure(it.name, Kind::Gauge, it.value, it.help));
        let of = |group: &'static str| {
            move |(name, kind, help, value)| {
                let kind = match kind {
                    "counter" => Kind::Counter,
                    _ => Kind::Gauge,
                };
                figure(&format!("{group}_{name}"), kind, value, help)
            }
        };
        let field = self.field.numbers().into_iter().map(of("field"));
        let mqtt = self.mqtt.numbers().into_iter().map(of("mqtt"));
        counters
            .chain(gauges)
            .chain(field)
            .chain(mqtt)
            .take(MAX_FIGURES)
            .collect()
    }

    fn gauges(&self) -> Vec<Gauge> {
        let waiting_bytes = self.spool.waiting_bytes();
        let unacknowledged = match waiting_bytes {
            0 => 0,
            _ => self.metrics.acknowledged.since(self.started).as_secs(),
        };
        let gauge = |name, help, value| Gauge { name, help, value };
        let mut gauges = vec![
            gauge("links", "Devices linked now.", self.live.len() as u64),
            gauge(
                "uplink_connected",
                "1 while there is a connection to the hub.",
                u64::from(*self.connected.borrow()),
            ),
            gauge(
                "uplink_acknowledge_us",
                "How long the hub took to acknowledge the last publish, in microseconds.",
                self.metrics.acknowledged.took_us(),
            ),
            gauge(
                "spool_bytes",
                "Bytes of the spool, acknowledged ones that are not freed yet included.",
                self.spool.log().bytes(),
            ),
            gauge(
                "spool_waiting_bytes",
                "Bytes of the spool that the hub has not acknowledged.",
                waiting_bytes,
            ),
            gauge(
                "spool_unacknowledged_s",
                "Seconds since the hub acknowledged something, while something waits; else 0.",
                unacknowledged,
            ),
            gauge(
                "spool_healthy",
                "1 while the spool takes what is given to it.",
                u64::from(self.spool.health() == Health::Ok),
            ),
            gauge(
                "access_receipts_waiting",
                "Receipts of holders that the hub has not yet.",
                self.access
                    .as_ref()
                    .map_or(0, |access| access.waiting() as u64),
            ),
            gauge(
                "edge_rules",
                "Rules that are judged here.",
                self.edge.rules(),
            ),
            gauge(
                "commands_waiting",
                "Commands that wait for their device or its answer.",
                self.commands.len() as u64,
            ),
            gauge(
                "certificate_end_seconds",
                "When the certificate that is used ends, in seconds since the Unix epoch.",
                u64::try_from(self.certificate.end_us() / 1_000_000).unwrap_or(0),
            ),
            gauge(
                "keys",
                "Devices whose keys the hub has given.",
                self.keys.len() as u64,
            ),
            gauge(
                "keys_unused",
                "Of these, devices whose keys are not used, as the mapping has devices of these ids.",
                self.keys.unused().len() as u64,
            ),
            gauge(
                "up_s",
                "Seconds since the parts of the gateway were started.",
                self.started.elapsed().as_secs(),
            ),
        ];
        if let Some(ms) = cpu_ms() {
            let help = "Milliseconds of a processor's time that the process has taken.";
            gauges.push(gauge("cpu_ms", help, ms));
        }
        if let Some(bytes) = rss_bytes() {
            let help = "Bytes of memory that the process holds.";
            gauges.push(gauge("rss_bytes", help, bytes));
        }
        gauges
    }
}

fn figure(name: &str, kind: Kind, value: u64, help: &str) -> Figure {
    let cut = |text: &str, max| text[..text.floor_char_boundary(max)].to_owned();
    Figure {
        name: cut(name, MAX_NAME_BYTES),
        kind,
        value,
        help: cut(help, MAX_HELP_BYTES),
    }
}

/// User and system time, as Linux says it; nothing where it does not.
fn cpu_ms() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may hold anything: proc_pid_stat(5) has them as the fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) * TICK_MS)
}

/// As Linux says it; nothing where it does not.
fn rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_process_takes_is_known() {
        let rss = rss_bytes().unwrap();
        assert!((1 << 20..1 << 33).contains(&rss), "{rss}");
        let before = cpu_ms().unwrap();
        let begun = Instant::now();
        while cpu_ms().unwrap() <= before {
            assert!(begun.elapsed().as_secs() < 60);
        }
    }

    #[test]
    fn names_and_help_keep_to_their_bounds() {
        let long = "ä".repeat(200);
        let figure = figure(&long, Kind::Gauge, 1, &long);
        assert_eq!(figure.name.len(), MAX_NAME_BYTES);
        assert_eq!(figure.help.len(), MAX_HELP_BYTES);
    }
}
