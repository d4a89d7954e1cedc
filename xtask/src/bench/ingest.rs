//! How many messages a second the hub takes, from the socket to the state: beside mosquitto, and
//! beside a bare loop that only makes them durable.
//!
//! All three are processes of their own on loopback, and the load tool of the repository drives
//! them, in an order that rotates with the rounds. A message of the hub's counts when it is
//! acknowledged *and* applied: decoded, de-duplicated, in its series and its twin, judged by the
//! rules, committed. A run of the hub ends when the position of its last commit is the end of its
//! log; then as many samples must be stored as were sent. Mosquitto is Debian's, without
//! persistence and without a subscriber: the easiest case for it.

pub(crate) mod http;
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use self::server::{Kind, Server};
use crate::{shell, tools};

/// How to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// How to print the result.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Rounds; each measures every server in every shape. Medians are told.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds for which each run sends.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Connections × messages of each in flight.
    #[arg(long, value_delimiter = ',', default_value = "8x1024,1000x1")]
    shapes: Vec<Shape>,
    /// Rules in force.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1000))]
    rules: u32,
    /// Which servers to measure.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "ours,mosquitto,bare"
    )]
    servers: Vec<Kind>,
    /// Messages a second over 1,000 connections at which the latency is measured; 0: not.
    #[arg(long, default_value_t = 5_000)]
    latency_rate: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// A shape of load, such as `8x1024`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    connections: usize,
    in_flight: u16,
}

impl std::str::FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once('x')
            .and_then(|(connections, in_flight)| {
                Some(Self {
                    connections: connections
                        .parse()
                        .ok()
                        .filter(|n| (1..=1000).contains(n))?,
                    in_flight: in_flight.parse().ok().filter(|n| *n > 0)?,
                })
            })
            .ok_or_else(|| "CONNECTIONSxIN_FLIGHT, such as 8x1024, at most 1000 connections".into())
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.connections, self.in_flight)
    }
}

/// One run.
struct Run {
    per_s: f64,
    /// User and system time of the server, µs a message.
    cpu_us: f64,
    report: Value,
}

/// Everything that the runs need.
struct Bench {
    folder: PathBuf,
    stencil: PathBuf,
    bare: PathBuf,
    /// Numbers the runs against the hub, which each is a boot of all devices.
    boot: u32,
    peak_rss_mb: f64,
}

const TENANT: &str = "bench";
/// How long the pipeline may take to apply what is acknowledged.
const DRAIN: Duration = Duration::from_secs(120);

/// Builds, measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut bench = Bench::prepare(options)?;
    let measured = bench.measure(options);
    let cleared = fs::remove_dir_all(&bench.folder);
    let result = measured?;
    cleared.with_context(|| bench.folder.display().to_string())?;
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&result)?),
        Output::Text => table(&result),
    }
    Ok(())
}

impl Bench {
    fn prepare(options: &Options) -> anyhow::Result<Self> {
        tools::mosquitto()?;
        let release = ["build", "--release", "--locked", "--quiet", "--package"];
        eprintln!("building in the release profile");
        shell::run_quietly(shell::cargo().args(release).arg("stencil"))?;
        let bare = ["stencil-mqtt", "--example", "bare"];
        shell::run_quietly(shell::cargo().args(release).args(bare))?;
        let target = shell::target();
        let folder = target
            .join("bench")
            .join(format!("ingest-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let bench = Self {
            stencil: target.join("release/stencil"),
            bare: target.join("release/examples/bare"),
            folder,
            boot: 0,
            peak_rss_mb: 0.0,
        };
        if options.servers.contains(&Kind::Ours) {
            bench.furnish(options)?;
        }
        Ok(bench)
    }

    /// Makes the hub's folder with a token for each device, and puts the rules in force.
    fn furnish(&self, options: &Options) -> anyhow::Result<()> {
        let made = self.stencil(&["hub", "init", "--output", "json", "--tenant", TENANT])?;
        let made: Value = serde_json::from_str(&made).context("what `hub init` said")?;
        let admin = made["admin_token"]
            .as_str()
            .context("no admin token")?
            .to_owned();
        let devices = options.shapes.iter().map(|shape| shape.connections).max();
        let devices = devices
            .unwrap_or(1)
            .max(if options.latency_rate > 0 { 1_000 } else { 0 });
        eprintln!("a hub with {devices} devices and {} rules", options.rules);
        let hub = self.start(Kind::Ours)?;
        let client = http::Client::new(hub.http()?, &admin);
        let mut tokens = String::new();
        for index in 0..devices {
            let device = format!("load-{index:04}");
            let wanted = json!({ "kind": "device", "device": device, "name": device });
            let made = client.send(
                "POST",
                "/api/v1/tokens",
                "application/json",
                &wanted.to_string(),
            )?;
            let made: Value = serde_json::from_str(&made).context("a made token")?;
            let token = made["token"].as_str().context("no token")?;
            tokens.push_str(&format!(
                "{}\n",
                json!({ "device": device, "token": token })
            ));
        }
        fs::write(self.tokens(), tokens).context("the file with tokens")?;
        for rule in 0..options.rules {
            let id = format!("rule-{rule:04}");
            let path = format!("/api/v1/workflows/{id}");
            client.send("PUT", &path, "application/yaml", &definition(&id, rule))?;
        }
        hub.stop()
    }

    fn measure(&mut self, options: &Options) -> anyhow::Result<Value> {
        let mut runs: BTreeMap<(Shape, Kind), Vec<Run>> = BTreeMap::new();
        for round in 0..options.rounds {
            let mut order = options.servers.clone();
            order.rotate_left(round as usize % options.servers.len().max(1));
            for kind in order {
                for shape in &options.shapes {
                    let run = self.one(kind, *shape, options.seconds, 0)?;
                    eprintln!(
                        "round {} {shape:8} {:9} {:9.0}/s, {:6.2} µs of its CPU time a message",
                        round + 1,
                        kind.name(),
                        run.per_s,
                        run.cpu_us
                    );
                    runs.entry((*shape, kind)).or_default().push(run);
                }
            }
        }
        let mut result = json!({
            "runs": options.shapes.iter().map(|shape| shape_row(*shape, &runs)).collect::<Vec<_>>(),
            "samples_per_message": 1,
            "rules": options.rules,
            "devices": "as many as connections",
            "tls": false,
            "rounds": options.rounds,
            "seconds": options.seconds,
        });
        let ours: Vec<&Run> = runs
            .iter()
            .filter(|((_, kind), _)| *kind == Kind::Ours)
            .flat_map(|(_, runs)| runs)
            .collect();
        result["messages"] = json!(
            ours.iter()
                .filter_map(|run| run.report["acknowledged"].as_u64())
                .sum::<u64>()
        );
        for what in ["payload_bytes", "packet_bytes"] {
            let largest = runs
                .values()
                .flatten()
                .filter_map(|run| run.report[what].as_u64())
                .max();
            result[what] = json!(largest);
        }
        if options.latency_rate > 0 && !ours.is_empty() {
            let shape = Shape {
                connections: 1_000,
                in_flight: 16,
            };
            eprintln!(
                "latency at {}/s over 1,000 connections",
                options.latency_rate
            );
            let run = self.one(Kind::Ours, shape, options.seconds, options.latency_rate)?;
            result["latency_us"] = run.report["latency_us"].clone();
            result["latency_at_per_s"] = json!(options.latency_rate);
        }
        if !ours.is_empty() {
            result["rss_mb"] = json!(round(self.peak_rss_mb));
        }
        Ok(result)
    }

    /// One run against a server that is started for it.
    fn one(&mut self, kind: Kind, shape: Shape, seconds: u64, rate: u64) -> anyhow::Result<Run> {
        let server = self.start(kind)?;
        self.boot += 1;
        let cpu_before = server.cpu()?;
        let mut load = Command::new(&self.stencil);
        load.args(["--log", "warn", "sim", "load", "--output", "json"])
            .args(["--address", &server.mqtt().to_string()])
            .args(["--connections", &shape.connections.to_string()])
            .args(["--in-flight", &shape.in_flight.to_string()])
            .args(["--max-seconds", &seconds.to_string()])
            .args(["--messages", &(1u64 << 39).to_string()])
            .args(["--rate", &rate.to_string()])
            .args(["--boot", &self.boot.to_string()]);
        if kind == Kind::Ours {
            load.arg("--tokens").arg(self.tokens());
        }
        let output = load
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("the load tool")?;
        let report: Value =
            serde_json::from_slice(&output.stdout).context("what the load tool said")?;
        let count = |what: &str| report[what].as_u64().context("a count of the load tool");
        let (sent, acknowledged) = (count("sent")?, count("acknowledged")?);
        ensure!(
            output.status.success() && sent == acknowledged && sent > 0,
            "{}: {acknowledged} of {sent} messages acknowledged: {}",
            kind.name(),
            report["failures"]
        );
        let mut ended_us = count("ended_us")?;
        if kind == Kind::Ours {
            ended_us = ended_us.max(server.drained(sent, DRAIN)?);
        }
        let cpu_us = (server.cpu()? - cpu_before) * 1e6 / sent as f64;
        if kind == Kind::Ours {
            self.peak_rss_mb = self.peak_rss_mb.max(server.peak_rss_mb()?);
        }
        server.stop()?;
        let took_s = ended_us.saturating_sub(count("began_us")?) as f64 / 1e6;
        Ok(Run {
            per_s: sent as f64 / took_s,
            cpu_us,
            report,
        })
    }

    fn start(&self, kind: Kind) -> anyhow::Result<Server> {
        match kind {
            Kind::Ours => Server::hub(&self.stencil, &self.data()),
            Kind::Mosquitto => Server::mosquitto(&self.folder),
            Kind::Bare => Server::bare(&self.bare, &self.folder),
        }
    }

    fn stencil(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.stencil)
            .args(["--log", "warn"])
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            bail!("stencil {} failed: {}", arguments.join(" "), output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("hub")
    }

    fn tokens(&self) -> PathBuf {
        self.folder.join("tokens.jsonl")
    }
}

/// One rule is about all devices, each other one about one of ten devices; nothing that is sent
/// makes one fire, but each sample that a rule is about is judged by it.
fn definition(id: &str, rule: u32) -> String {
    let devices = match rule {
        0 => "load-*".to_owned(),
        _ => format!("load-{:03}?", rule - 1),
    };
    format!(
        "id: {id}\nversion: 1\n\
         on: {{ telemetry: {{ devices: \"{devices}\", name: temperature }} }}\n\
         when: {{ above: -12.0, for: 3s }}\n\
         steps:\n  - {{ id: lock, use: device.command, with: {{ device: \"{{{{ event.device }}}}\", \
         command: lock, expires: 30s }} }}\n"
    )
}

fn shape_row(shape: Shape, runs: &BTreeMap<(Shape, Kind), Vec<Run>>) -> Value {
    let mut row = json!({ "shape": shape.to_string(), "devices": shape.connections });
    let of = |kind, what: fn(&Run) -> f64| {
        let mut values: Vec<f64> = runs.get(&(shape, kind))?.iter().map(what).collect();
        median(&mut values)
    };
    for kind in [Kind::Ours, Kind::Mosquitto, Kind::Bare] {
        let (per_s, cpu_us) = (of(kind, |run| run.per_s), of(kind, |run| run.cpu_us));
        row[format!("{}_per_s", kind.name())] = json!(per_s.map(f64::round));
        row[format!("{}_cpu_us", kind.name())] = json!(cpu_us.map(round));
    }
    let ratio = of(Kind::Ours, |run| run.per_s)
        .zip(of(Kind::Mosquitto, |run| run.per_s))
        .map(|(ours, theirs)| round(ours / theirs));
    row["ratio"] = json!(ratio);
    row
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (
        values.get((values.len().max(1) - 1) / 2)?,
        values.get(values.len() / 2)?,
    );
    Some(f64::midpoint(*low, *high))
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn table(result: &Value) {
    let cell = |value: &Value| value.as_f64().map_or("-".to_owned(), |v| v.to_string());
    println!("messages/s (CPU µs a message of the server's process)");
    println!(
        "{:10} {:>20} {:>20} {:>20} {:>6}",
        "shape", "ours", "mosquitto", "bare", "ratio"
    );
    for row in result["runs"].as_array().into_iter().flatten() {
        let of = |kind: &str| {
            format!(
                "{} ({})",
                cell(&row[format!("{kind}_per_s")]),
                cell(&row[format!("{kind}_cpu_us")])
            )
        };
        println!(
            "{:10} {:>20} {:>20} {:>20} {:>6}",
            row["shape"].as_str().unwrap_or_default(),
            of("ours"),
            of("mosquitto"),
            of("bare"),
            cell(&row["ratio"])
        );
    }
    for what in [
        "rules",
        "samples_per_message",
        "payload_bytes",
        "packet_bytes",
        "latency_at_per_s",
        "latency_us",
        "rss_mb",
    ] {
        if !result[what].is_null() {
            println!("{what}: {}", result[what]);
        }
    }
}

/// Reads a file that a server writes when it is ready.
fn text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
