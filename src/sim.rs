//! `stencil sim`: devices that aren't there.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{config, shutdown};

/// Runs simulated devices, a replayed recording, or a webhook receiver.
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
    /// Takes webhooks, acts once a key, and may drop answers after it acted.
    Receiver(Layers),
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
            if let Some(options) = layers.load()? {
                return Ok(tell(&stencil_simulators::fleet::run(options, stop).await?));
            }
        }
        Command::Replay(layers) => {
            if let Some(options) = layers.load()? {
                return Ok(tell(&stencil_simulators::replay::run(options, stop).await?));
            }
        }
        Command::Receiver(layers) => {
            if let Some(options) = layers.load()? {
                stencil_simulators::receiver::run(options, stop).await?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says how the devices ended: 1 when one could not hand in everything.
fn tell(outcome: &stencil_simulators::Outcome) -> ExitCode {
    println!("{} devices gave {} numbers", outcome.devices, outcome.given);
    for device in &outcome.unsettled {
        println!("{device} could not hand in everything in time");
    }
    if outcome.unsettled.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

impl Layers {
    /// The options; nothing when they were only to be shown.
    fn load<T>(&self) -> anyhow::Result<Option<T>>
    where
        T: Default + serde::Serialize + serde::de::DeserializeOwned,
    {
        let options: T = config::load(ENVIRONMENT, self.config.as_deref(), &NoFlags {})?;
        if self.dump_config {
            print!("{}", config::dump(&options)?);
            return Ok(None);
        }
        Ok(Some(options))
    }
}
