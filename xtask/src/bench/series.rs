//! What a point of a series costs on disk, how fast points come in, and how long a range of them
//! takes: beside rows in PostgreSQL, in the same run, from the same file.
//!
//! Two sets of data: the recording of a machine that the repository holds (5 minutes, 79 days), and
//! ninety days of a simulated fleet (`stencil sim history`: physics, noise, the chips' steps, and
//! stamps that are up to two milliseconds late). Both sides take the points in the order of their
//! times, as many a transaction, each synced to disk before the next.
//!
//! Ours is the hub's store, called in the process of the bench. PostgreSQL is Debian's with its
//! defaults, a cluster of its own on a Unix socket: one table, primary key (series, time), by COPY,
//! its fastest way in; its ranges are asked by `pgbench`, prepared. Bytes are those of the whole
//! database file beyond an empty one (ours), and of table and index (theirs).

mod postgres;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use self::postgres::Cluster;
use crate::{shell, tools};

const RECORDING: &str = "simulators/data/machine_temperature_system_failure.csv";

/// How to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// How to print the result.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Points a transaction.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// Freezers of the fleet; it has as many locks, and half as many rooms.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    freezers: u32,
    /// Days of the fleet's data.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=365))]
    days: u32,
    /// Seconds between two measurements of a device.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    interval_s: u32,
    /// Ranges of an hour that are asked for.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    hours: u32,
    /// Ranges of ninety days that are asked for.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    ninety_days: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// A set of data: lines `device,name,time_us,value`.
struct Data {
    name: &'static str,
    file: PathBuf,
}

/// Builds, measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    tools::postgresql()?;
    eprintln!("building");
    let build = ["build", "--locked", "--quiet", "--package"];
    shell::run_quietly(shell::cargo().args(build).arg("stencil"))?;
    let example = ["stencil-store", "--release", "--example", "bench_series"];
    shell::run_quietly(shell::cargo().args(build).args(example))?;
    let folder = shell::target()
        .join("bench")
        .join(format!("series-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let measured = measure(options, &folder);
    let cleared = fs::remove_dir_all(&folder);
    let result = measured?;
    cleared.with_context(|| folder.display().to_string())?;
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&result)?),
        Output::Text => table(&result),
    }
    Ok(())
}

fn measure(options: &Options, folder: &Path) -> anyhow::Result<Value> {
    let cluster = Cluster::start()?;
    let mut runs = Vec::new();
    for data in [recording(folder)?, fleet(options, folder)?] {
        eprintln!("{}: ours", data.name);
        let ours = ours(options, folder, &data)?;
        eprintln!("{}: PostgreSQL", data.name);
        let copied = copied(options, folder, &data)?;
        let postgres = cluster.measure(&copied, (options.hours, options.ninety_days))?;
        ensure!(
            ours["points"] == postgres["points"],
            "{}: {} points here, {} there",
            data.name,
            ours["points"],
            postgres["points"]
        );
        runs.push(json!({
            "data": data.name,
            "points": ours["points"],
            "series": ours["series"],
            "ours": ours,
            "postgres": postgres,
        }));
    }
    Ok(json!({
        "runs": runs,
        "points_a_transaction": options.batch,
        "fleet": {
            "freezers": options.freezers,
            "locks": options.freezers,
            "rooms": options.freezers / 2,
            "days": options.days,
            "interval_s": options.interval_s,
        },
        "postgresql": cluster.version()?,
    }))
}

/// The repository's recording, in the common form.
fn recording(folder: &Path) -> anyhow::Result<Data> {
    let file = folder.join("recording.csv");
    let mut out = BufWriter::new(File::create(&file)?);
    let path = shell::root().join(RECORDING);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    writeln!(out, "device,name,time_us,value")?;
    let mut last = i64::MIN;
    for line in text.lines().skip(1) {
        let (moment, value) = line.split_once(',').context("a line of the recording")?;
        let time_us = microseconds(moment).with_context(|| format!("a time: {moment}"))?;
        // An hour is there twice, where the clock was set back. A series has one point a time.
        if time_us > last {
            writeln!(out, "machine,temperature,{time_us},{value}")?;
            last = time_us;
        }
    }
    out.flush()?;
    let name = "recording";
    Ok(Data { name, file })
}

/// `YYYY-MM-DD hh:mm:ss` in UTC as µs since the Unix epoch.
fn microseconds(moment: &str) -> Option<i64> {
    let numbers: Vec<i64> = moment
        .split(['-', ' ', ':'])
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    let &[year, month, day, hour, minute, second] = numbers.as_slice() else {
        return None;
    };
    // Days since 0000-03-01, with the leap day at the end of a year (Hinnant's civil calendar).
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000)
}

/// What a fleet would have measured.
fn fleet(options: &Options, folder: &Path) -> anyhow::Result<Data> {
    eprintln!("{} days of a fleet", options.days);
    let file = folder.join("fleet.csv");
    let status = Command::new(shell::target().join("debug/stencil"))
        .args(["sim", "history"])
        .env("STENCIL_SIM_FREEZERS", options.freezers.to_string())
        .env("STENCIL_SIM_LOCKS", options.freezers.to_string())
        .env("STENCIL_SIM_ROOMS", (options.freezers / 2).to_string())
        .env("STENCIL_SIM_DAYS", options.days.to_string())
        .env("STENCIL_SIM_INTERVAL_S", options.interval_s.to_string())
        .stdin(Stdio::null())
        .stdout(File::create(&file)?)
        .status()
        .context("`stencil sim history`")?;
    ensure!(status.success(), "`stencil sim history` failed: {status}");
    let name = "fleet";
    Ok(Data { name, file })
}

fn ours(options: &Options, folder: &Path, data: &Data) -> anyhow::Result<Value> {
    let place = folder.join(format!("ours-{}", data.name));
    fs::create_dir_all(&place)?;
    let output = Command::new(shell::target().join("release/examples/bench_series"))
        .arg(&data.file)
        .arg(&place)
        .args([options.batch, options.hours, options.ninety_days].map(|n| n.to_string()))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("bench_series")?;
    ensure!(
        output.status.success(),
        "bench_series failed: {}",
        output.status
    );
    fs::remove_dir_all(&place)?;
    serde_json::from_slice(&output.stdout).context("what bench_series said")
}

/// The data as psql takes it.
struct Copied {
    file: PathBuf,
    series: usize,
    from_us: i64,
    to_us: i64,
}

/// A COPY of so many rows, each a transaction of its own; truth values are 0 and 1.
fn copied(options: &Options, folder: &Path, data: &Data) -> anyhow::Result<Copied> {
    let file = folder.join(format!("{}.sql", data.name));
    let mut out = BufWriter::new(File::create(&file)?);
    let mut numbers = std::collections::HashMap::new();
    let (mut from_us, mut to_us) = (i64::MAX, i64::MIN);
    let lines = BufReader::new(File::open(&data.file)?).lines().skip(1);
    for (rows, line) in (0_u32..).zip(lines) {
        let line = line?;
        let mut fields = line.split(',');
        let (device, name) = (fields.next(), fields.next());
        let (time, value) = fields
            .next()
            .zip(fields.next())
            .context("a line of the data")?;
        let next = numbers.len() + 1;
        let key = format!(
            "{}/{}",
            device.unwrap_or_default(),
            name.unwrap_or_default()
        );
        let series = *numbers.entry(key).or_insert(next);
        let time_us: i64 = time.parse()?;
        (from_us, to_us) = (from_us.min(time_us), to_us.max(time_us));
        if rows % options.batch == 0 {
            if rows > 0 {
                writeln!(out, "\\.")?;
            }
            writeln!(out, "COPY points FROM STDIN;")?;
        }
        let value = match value {
            "true" => "1",
            "false" => "0",
            number => number,
        };
        writeln!(out, "{series}\t{time}\t{value}")?;
    }
    writeln!(out, "\\.")?;
    out.flush()?;
    Ok(Copied {
        file,
        series: numbers.len(),
        from_us,
        to_us,
    })
}

fn table(result: &Value) {
    println!(
        "{:10} {:12} {:>9} {:>12} {:>10} {:>18} {:>18}",
        "data", "store", "points", "bytes/point", "points/s", "1 h p50/p99 µs", "90 d p50/p99 µs"
    );
    for run in result["runs"].as_array().into_iter().flatten() {
        for store in ["ours", "postgres"] {
            let of = &run[store];
            let range = |name: &str| format!("{}/{}", of[name]["p50_us"], of[name]["p99_us"]);
            println!(
                "{:10} {store:12} {:>9} {:>12.2} {:>10.0} {:>18} {:>18}",
                run["data"].as_str().unwrap_or_default(),
                of["points"],
                of["bytes_per_point"].as_f64().unwrap_or_default(),
                of["points_per_s"].as_f64().unwrap_or_default(),
                range("range_1h"),
                range("range_90d")
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        assert_eq!(microseconds("1970-01-01 00:00:00"), Some(0));
        assert_eq!(
            microseconds("2013-12-02 21:15:00"),
            Some(1_386_018_900_000_000)
        );
        assert_eq!(
            microseconds("2024-02-29 00:00:01"),
            Some(1_709_164_801_000_000)
        );
        assert_eq!(microseconds("2013-12-02"), None);
    }
}
