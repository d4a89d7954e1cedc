//! `stencil sim`: devices that aren't there.

mod chain;
mod outage;
mod rollout;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::output::{self, Format, say};
use crate::{config, shutdown};

/// Runs simulated devices, a replayed recording, a webhook receiver, a chain, or a load.
///
/// Simulated devices run the real firmware application over the real link, and keep a journal
/// of everything that they measured. On Ctrl-C they stop measuring, and go on sending until all
/// is acknowledged.
#[derive(Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Freezers, locks and rooms with physics and faults.
    Fleet(Layers),
    /// A recording (CSV: timestamp, value) as a device, with its own timestamps.
    Replay(Layers),
    /// What a fleet would have measured over days, at once: lines `device,name,time_us,value`.
    History(Layers),
    /// Takes webhooks, acts once a key, and may drop answers after it acted.
    Receiver(Layers),
    Chain(chain::Args),
    Rollout(rollout::Args),
    Outage(outage::Args),
    /// Devices that publish over plain MQTT as fast as they are acknowledged, and how fast that is.
    Load(Load),
}

#[derive(clap::Args)]
struct Load {
    #[command(flatten)]
    layers: Layers,
    #[command(flatten)]
    flags: LoadFlags,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// Flags that override settings; absent ones override nothing.
#[derive(clap::Args, serde::Serialize)]
struct LoadFlags {
    /// The server, without TLS.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<SocketAddr>,
    /// Connections at once, each a device.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<usize>,
    /// Messages of each connection that may wait for their acknowledgement.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<u16>,
    /// Messages in all.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
    /// Seconds after which no more is sent.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_seconds: Option<u64>,
    /// Messages a second in all; 0: as fast as it goes.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u64>,
    /// A file with a device and its token a line: {"device": "…", "token": "…"}.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<PathBuf>,
    /// The boot that all devices are in: another one for each run against the same hub.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<u32>,
}

#[derive(clap::Args)]
struct Layers {
    /// A TOML file with settings.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Prints the settings as they would be used, with every default, and ends.
    #[arg(long)]
    dump_config: bool,
}

/// No flags beside the file and the environment (`STENCIL_SIM_…`).
#[derive(serde::Serialize)]
struct NoFlags {}

/// The prefix of the simulators' environment variables.
const ENVIRONMENT: &str = "STENCIL_SIM_";

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let stop = shutdown::on_signal()?;
    match args.command {
        Command::Fleet(layers) => {
            if let Some(options) = layers.load(&NoFlags {})? {
                return Ok(tell(&stencil_simulators::fleet::run(options, stop).await?));
            }
        }
        Command::Replay(layers) => {
            if let Some(options) = layers.load(&NoFlags {})? {
                return Ok(tell(&stencil_simulators::replay::run(options, stop).await?));
            }
        }
        Command::History(layers) => {
            if let Some(history) = layers.load::<stencil_simulators::fleet::History>(&NoFlags {})? {
                let mut out = std::io::BufWriter::new(output::Stdout);
                let written = history.write(&mut out).map_err(anyhow::Error::from);
                let flushed = written.and_then(|_| Ok(std::io::Write::flush(&mut out)?));
                if !output::is_closed() {
                    flushed?;
                }
            }
        }
        Command::Receiver(layers) => {
            if let Some(options) = layers.load(&NoFlags {})? {
                stencil_simulators::receiver::run(options, stop).await?;
            }
        }
        Command::Chain(args) => return chain::run(args, stop).await,
        Command::Outage(args) => return outage::run(&args, stop).await,
        Command::Rollout(args) => return rollout::run(&args, stop).await,
        Command::Load(load) => {
            if let Some(options) = load.layers.load(&load.flags)? {
                let report = stencil_simulators::load::run(options, stop).await?;
                return measured(&report, load.output);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says how the devices ended: 1 when one could not hand in everything.
fn tell(outcome: &stencil_simulators::Outcome) -> ExitCode {
    say!("{} devices gave {} numbers", outcome.devices, outcome.given);
    for device in &outcome.unsettled {
        say!("{device} could not hand in everything in time");
    }
    if outcome.unsettled.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

/// Says what a load came to: 1 when a connection ended early.
fn measured(report: &stencil_simulators::load::Report, format: Format) -> anyhow::Result<ExitCode> {
    match format {
        Format::Json => output::json(report)?,
        Format::Text => {
            say!(
                "{} of {} messages acknowledged, {:.0} a second",
                report.acknowledged,
                report.sent,
                report.per_s
            );
            say!(
                "acknowledged after {} µs (half), {} µs (99 %), {} µs (all)",
                report.latency_us.p50,
                report.latency_us.p99,
                report.latency_us.max
            );
            for failure in &report.failures {
                say!("{failure}");
            }
        }
    }
    Ok(if report.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

impl Layers {
    /// The options; nothing when they were only to be shown.
    fn load<T>(&self, flags: &impl serde::Serialize) -> anyhow::Result<Option<T>>
    where
        T: Default + serde::Serialize + serde::de::DeserializeOwned,
    {
        let options: T = config::load(ENVIRONMENT, self.config.as_deref(), flags)?;
        if self.dump_config {
            output::text(&config::dump(&options)?);
            return Ok(None);
        }
        Ok(Some(options))
    }
}
