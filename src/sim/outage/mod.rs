//! `stencil sim outage`: a gateway and its devices without a hub for days, and the way back.
//!
//! Hub and gateway are processes of their own, the devices run the real firmware application over
//! the real link. The days are event time: what the devices measured in them they hand in as fast as
//! the gateway takes it, each value with its own timestamp.

mod books;
mod delay;
mod parts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use stencil_protocol::id::DeviceId;
use stencil_simulators::Outcome;
use stencil_simulators::outage::{self, Site};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::delay::Delays;
use self::parts::{Disk, Gateway, Hub, now_us};
use crate::api::Client;
use crate::output::{self, Format, note, say};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Between two looks at the hub's books.
const ASK: Duration = Duration::from_millis(500);
/// For how long what is new is watched at least, however soon all that is old has come.
const WATCH: Duration = Duration::from_secs(10);
const MIB: u64 = 1 << 20;
const HOUR_US: i64 = 3_600_000_000;

/// A gateway and its devices without a hub for days, and the way back.
///
/// Starts a hub and a gateway on this machine, and devices that run the firmware application; takes
/// the hub away, lets the devices hand in what they measured in that time, kills the gateway
/// meanwhile, and lets the hub come back while the devices go on. Then the hub's books are held
/// against the devices' journals. Exits 0 only if no number is missing without a reason, each
/// timestamp is the device's own to the microsecond, and the gateway kept to its bound on the disk.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many devices.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    devices: u32,
    /// How many hours the hub is away, in event time.
    #[arg(long, default_value_t = 96, value_parser = clap::value_parser!(u32).range(1..=720))]
    hours: u32,
    /// Seconds between two values of a device, in event time.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    every_s: u32,
    /// How often the gateway is killed meanwhile.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=100))]
    kills: u32,
    /// The gateway's bound on its spool, in MiB.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(2..=65_536))]
    disk_mib: u64,
    /// From which the moments of the kills follow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long each part may take, in seconds.
    #[arg(long, default_value_t = 900)]
    limit_s: u64,
    /// Where to keep data; a temporary folder that is removed if it is not given.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Report {
    /// All of it held.
    held: bool,
    devices: u32,
    hours: u32,
    /// Numbers that the devices gave, by their own journals.
    samples: u64,
    /// Of these, stored in the hub.
    stored: u64,
    /// Of these, given up with a reason.
    dropped: BTreeMap<String, u64>,
    /// Neither: unexplained.
    gaps: u64,
    /// Stored with another time or value than the device's own, or not found in the series.
    altered: u64,
    /// Devices that could not hand in everything.
    unsettled: usize,
    /// How often the gateway was killed.
    kills: u32,
    /// From the start of the gateway's process until it takes links, at each start.
    start_up_ms: Vec<u64>,
    /// From the measurement until the hub shows it, while what is old is back-filled.
    live_delay_ms: Delays,
    /// For how long what is old was back-filled.
    back_fill_s: f64,
    /// The most that the spool took on the disk.
    spool_max_bytes: u64,
    /// Its bound, with the file that is being written.
    disk_bound_bytes: u64,
    seconds: f64,
}

/// Runs it.
pub(crate) async fn run(args: &Args, stop: watch::Receiver<bool>) -> anyhow::Result<ExitCode> {
    let temporary = match &args.data_dir {
        Some(_) => None,
        None => Some(parts::Folder::new()?),
    };
    let dir = match (&args.data_dir, &temporary) {
        (Some(dir), _) => std::path::absolute(dir)?,
        (None, Some(folder)) => folder.path().to_owned(),
        (None, None) => bail!("there is no folder to keep data in"),
    };
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let mut stopped = stop;
    let report = tokio::select! {
        report = play(args, &dir) => report?,
        _ = stopped.wait_for(|stop| *stop) => bail!("it was stopped"),
    };
    match args.output {
        Format::Json => output::json(&report)?,
        Format::Text => tell(&report),
    }
    Ok(match report.held {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn play(args: &Args, dir: &Path) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let mut hub = Hub::begin(dir).await?;
    let mut gateway = Gateway::begin(dir, &hub, args.disk_mib * MIB).await?;
    // The outage begins before there is anything to tell.
    hub.kill().await?;
    note!("the hub is away");
    let disk = Disk::watch(gateway.spool());
    let site = Arc::new(Site::default());
    let (stop, stopping) = watch::channel(false);
    let options = site_options(args, dir, &gateway)?;
    let devices: Vec<DeviceId> = options.devices.clone();
    let total = total(&options);
    let running = tokio::spawn(outage::run(options, Arc::clone(&site), stopping));

    kill_meanwhile(args, &mut gateway, &site, total, &running).await?;
    note!(
        "{} values of {} hours are given, the gateway was killed {} times; the hub comes back",
        site.given(),
        args.hours,
        gateway.kills
    );
    site.go_live();
    hub.start().await?;
    let client = hub.client()?;
    let back_at = Instant::now();
    let probe = delay::Probe::start(client.clone(), &devices);
    back_filled(args, &client, total).await?;
    let back_fill_s = back_at.elapsed().as_secs_f64();
    note!("what was old has come after {back_fill_s:.1} s");
    if let Some(left) = WATCH.checked_sub(back_at.elapsed()) {
        tokio::time::sleep(left).await;
    }
    let live_delay_ms = probe.end().await;

    stop.send_replace(true);
    let outcome = ended(running).await?;
    let books = books::compare(&client, &dir.join("journal"), limit(args)).await?;
    let disk_bound_bytes = gateway.disk_bound_bytes();
    let spool_max_bytes = disk.end().await;
    let start_up_ms = gateway.start_up_ms.clone();
    let kills = gateway.kills;
    gateway.stop().await?;
    hub.kill().await?;
    let held = books.gaps == 0
        && books.never_given == 0
        && books.altered == 0
        && books.samples >= total
        && outcome.unsettled.is_empty()
        && kills == args.kills
        && spool_max_bytes <= disk_bound_bytes;
    Ok(Report {
        held,
        devices: args.devices,
        hours: args.hours,
        samples: books.samples,
        stored: books.stored,
        dropped: books.dropped,
        gaps: books.gaps + books.never_given,
        altered: books.altered,
        unsettled: outcome.unsettled.len(),
        kills,
        start_up_ms,
        live_delay_ms,
        back_fill_s: (back_fill_s * 10.0).round() / 10.0,
        spool_max_bytes,
        disk_bound_bytes,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Kills the gateway at moments that are drawn over the days, until all devices have given them.
async fn kill_meanwhile(
    args: &Args,
    gateway: &mut Gateway,
    site: &Site,
    total: u64,
    running: &JoinHandle<Result<Outcome, stencil_simulators::Error>>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut moments = moments(args.seed, args.kills, total);
    moments.push(total);
    let mut told = 0;
    for (index, moment) in moments.iter().enumerate() {
        while site.given() < *moment {
            ensure!(!running.is_finished(), "the devices have ended early");
            gateway.is_alive()?;
            ensure!(
                begun.elapsed() < limit(args),
                "the devices have given {} of {total} values in {} s",
                site.given(),
                args.limit_s
            );
            let tenth = site.given() * 10 / total.max(1);
            if tenth > told {
                told = tenth;
                note!("{} % of the days", tenth * 10);
            }
            tokio::time::sleep(LOOK).await;
        }
        if index < moments.len() - 1 {
            gateway.kill_and_start().await?;
        }
    }
    Ok(())
}

/// Returns when the hub holds or knows the reason of as many numbers as the days have.
async fn back_filled(args: &Args, client: &Client, total: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let known = books::of_the_days(client, total / u64::from(args.devices)).await?;
        if known >= total {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < limit(args),
            "after {} s the hub knows of {known} values of the days, of {total}",
            args.limit_s
        );
        tokio::time::sleep(ASK).await;
    }
}

async fn ended(
    running: JoinHandle<Result<Outcome, stencil_simulators::Error>>,
) -> anyhow::Result<Outcome> {
    Ok(running.await.context("the devices")??)
}

fn site_options(args: &Args, dir: &Path, gateway: &Gateway) -> anyhow::Result<outage::Options> {
    let mut devices = Vec::new();
    for index in 0..args.devices {
        let device = DeviceId::parse(&format!("sensor-{index:04}"))?;
        gateway.add_device(&device)?;
        devices.push(device);
    }
    let to_us = now_us();
    Ok(outage::Options {
        state_dir: dir.join("state"),
        journal_dir: dir.join("journal"),
        psk_dir: gateway.psk_dir(),
        gateway: gateway.link().to_string(),
        devices,
        from_us: to_us - i64::from(args.hours) * HOUR_US,
        to_us,
        step_us: i64::from(args.every_s) * 1_000_000,
        live_interval: Duration::from_secs(1),
        seed: args.seed,
        drain: limit(args),
    })
}

/// Values that the devices give of the days: each begins within the first step.
fn total(options: &outage::Options) -> u64 {
    let steps = (options.to_us - options.from_us) / options.step_us;
    u64::try_from(steps).unwrap_or(0) * options.devices.len() as u64
}

/// The moments of the kills, in values given: one in each equal part of the days.
fn moments(seed: u64, kills: u32, total: u64) -> Vec<u64> {
    let part = total / u64::from(kills.max(1));
    let mut noise = seed | 1;
    (0..u64::from(kills))
        .map(|kill| {
            // xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators".
            noise ^= noise >> 12;
            noise ^= noise << 25;
            noise ^= noise >> 27;
            let drawn = noise.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
            kill * part + drawn % part.max(1)
        })
        .collect()
}

fn limit(args: &Args) -> Duration {
    Duration::from_secs(args.limit_s)
}

fn tell(report: &Report) {
    let dropped: u64 = report.dropped.values().sum();
    say!(
        "{} devices, {} hours: {} values, {} stored, {dropped} dropped with a reason, {} missing, \
         {} altered",
        report.devices,
        report.hours,
        report.samples,
        report.stored,
        report.gaps,
        report.altered
    );
    say!(
        "the gateway was killed {} times, and took links again after {} ms at most",
        report.kills,
        report.start_up_ms.iter().max().unwrap_or(&0)
    );
    let delay = &report.live_delay_ms;
    say!(
        "what was old came in {} s; what was new meanwhile was shown after {} ms (half), {} ms \
         (99 %), {} ms (all)",
        report.back_fill_s,
        delay.p50,
        delay.p99,
        delay.max
    );
    say!(
        "the spool took {} of {} bytes at most",
        report.spool_max_bytes,
        report.disk_bound_bytes
    );
    say!("{}", if report.held { "held" } else { "DID NOT HOLD" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_lie_one_in_each_part_and_follow_from_the_seed() {
        let first = moments(1, 10, 1_000);
        for (kill, moment) in first.iter().enumerate() {
            let part = kill as u64 * 100..(kill as u64 + 1) * 100;
            assert!(part.contains(moment), "{first:?}");
        }
        assert_eq!(first, moments(1, 10, 1_000));
        assert_ne!(first, moments(3, 10, 1_000));
    }
}
