//! `stencil gateway`: run it, add devices to it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde::Serialize;
use stencil_gateway::Options;
use stencil_protocol::id::DeviceId;

use crate::output::Format;
use crate::{config, shutdown};

/// The prefix of the gateway's environment variables.
const ENVIRONMENT: &str = "STENCIL_GATEWAY_";

/// Runs an edge gateway until Ctrl-C.
///
/// Settings come from defaults, then --config (TOML), then the environment
/// (STENCIL_GATEWAY_HUB__ADDRESS is hub.address), then flags. `stencil hub add-gateway` writes
/// keys and a first gateway.toml.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// A TOML file with settings; relative paths in it start where the command is run.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Prints the settings as they would be used, with every default, and ends.
    #[arg(long)]
    dump_config: bool,
    /// How to print the addresses once the gateway listens.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
    #[command(flatten)]
    flags: Flags,
}

/// Flags that override settings; absent ones override nothing.
#[derive(clap::Args, Serialize)]
struct Flags {
    /// The folder of the spool and the cursor.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,
    /// The folder of the devices' keys.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    psk_dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes keys for new devices. A running gateway takes them without a restart; the same
    /// file goes into the device.
    AddDevice {
        /// The folder of the devices' keys.
        #[arg(long)]
        psk_dir: PathBuf,
        /// The devices' ids.
        #[arg(required = true)]
        devices: Vec<String>,
    },
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(Command::AddDevice { psk_dir, devices }) = args.command {
        for device in devices {
            let device =
                DeviceId::parse(&device).with_context(|| format!("`{device}` is no device id"))?;
            println!(
                "{}",
                stencil_server::add_device_psk(&psk_dir, &device)?.display()
            );
        }
        return Ok(ExitCode::SUCCESS);
    }
    let options: Options = config::load(ENVIRONMENT, args.config.as_deref(), &args.flags)?;
    if args.dump_config {
        print!("{}", config::dump(&options)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut stop = shutdown::on_signal()?;
    let running = stencil_gateway::Service::start(options)
        .await
        .context("the gateway can't start")?;
    let addresses = running.addresses();
    match args.output {
        Format::Json => println!("{}", serde_json::to_string(&addresses)?),
        Format::Text => println!("{addresses}"),
    }
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        failed = running.failed() => return Err(failed.into()),
    }
    running.shutdown().await?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a first gateway.toml into a gateway's folder.
pub(crate) fn write_config(folder: &Path, hub: &str) -> anyhow::Result<PathBuf> {
    let folder = std::path::absolute(folder)?;
    let mut options = Options::in_folder(&folder);
    hub.clone_into(&mut options.hub.address);
    let file = folder.join("gateway.toml");
    std::fs::write(&file, config::dump(&options)?)
        .with_context(|| format!("can't write {}", file.display()))?;
    Ok(file)
}
