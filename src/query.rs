//! `stencil device`, `stencil run` and `stencil quarantine`: looking at what the hub knows.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use stencil_protocol::moment;

use crate::api::{Client, Hub, segment};
use crate::output::{self, Format, note, say};

/// Shows devices, or the latest values and the history of one; takes devices in and ends them.
#[derive(Parser)]
pub(crate) struct DeviceArgs {
    #[command(flatten)]
    hub: Hub,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text", global = true)]
    output: Format,
    #[command(subcommand)]
    command: crate::device::Command,
}

/// What is asked about devices.
#[derive(Subcommand)]
pub(crate) enum Device {
    /// Lists the devices, or those that all of what is given holds for.
    List {
        /// Devices whose id has this in it, whatever the case of its letters.
        #[arg(long)]
        search: Option<String>,
        /// Devices whose link is so.
        #[arg(long, value_parser = ["connected", "cut_off", "unknown"])]
        link: Option<String>,
        /// Devices that were last heard through this gateway.
        #[arg(long)]
        gateway: Option<String>,
    },
    /// One device: how its link is, when it was heard, and its DID.
    Show {
        /// The device.
        device: String,
    },
    /// Erases a device, for good: its points, newest values, commands, alarms and quarantined
    /// payloads. Needs an admin's token.
    ///
    /// What stays: runs that it started with their events, content and published pages that they
    /// made, its tokens (revoke them, else it may come back), the audit log, and in the loss ledger
    /// the numbers of each boot, as dropped with reason `erased`, so that they are not taken for new
    /// when they come late.
    Erase {
        /// The device.
        device: String,
        /// The device once more: what is erased can't be had back.
        #[arg(long, required_unless_present = "yes")]
        confirm: Option<String>,
        /// As `--confirm` with the device.
        #[arg(long, hide = true, conflicts_with = "confirm")]
        yes: bool,
    },
    /// The newest value of each of a device's series, by event time.
    Latest {
        /// The device.
        device: String,
    },
    /// The history of one series, the oldest point first. `stencil series export` writes a long one to a file.
    Series {
        /// The device.
        device: String,
        /// The series.
        name: String,
        /// From, in microseconds since the Unix epoch.
        #[arg(long)]
        from_us: Option<i64>,
        /// To (exclusive), in microseconds since the Unix epoch.
        #[arg(long)]
        to_us: Option<i64>,
        /// The most points to show.
        #[arg(long, default_value_t = 1000)]
        limit: u32,
    },
}

/// Shows workflow runs, or one with its steps.
#[derive(Parser)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    hub: Hub,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text", global = true)]
    output: Format,
    #[command(subcommand)]
    command: RunCommand,
}

#[derive(Subcommand)]
enum RunCommand {
    /// Lists runs, the newest first.
    List,
    /// One run: where it stands, its steps, and what happened to its cause on a chain. With `--output json`
    /// each step's attempts are there, too.
    Show {
        /// The run's id.
        id: String,
    },
}

/// Shows what devices sent that could not be understood or taken.
///
/// The rest of such a message is stored; what is here counts as dropped in the loss ledger, with
/// its reason.
#[derive(Parser)]
pub(crate) struct QuarantineArgs {
    #[command(flatten)]
    hub: Hub,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text", global = true)]
    output: Format,
    #[command(subcommand)]
    command: QuarantineCommand,
}

#[derive(Subcommand)]
enum QuarantineCommand {
    /// Lists what was set aside, the newest first; with `--output json` the payloads are there, too, in
    /// hexadecimal digits.
    List {
        /// The most entries to show.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
}

/// Runs `stencil quarantine`.
pub(crate) async fn quarantine(args: QuarantineArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    let QuarantineCommand::List { limit } = args.command;
    let limit = usize::try_from(limit)?;
    let items = client.newest("/api/v1/quarantine", limit).await?;
    let columns = ["at_us", "device", "topic", "path", "reason"];
    output::items(args.output, &items, &columns)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `stencil device`.
pub(crate) async fn device(args: DeviceArgs) -> anyhow::Result<ExitCode> {
    crate::device::run(&args.hub, args.output, args.command).await
}

/// Answers what is asked about devices.
pub(crate) async fn devices(
    client: &Client,
    format: Format,
    asked: Device,
) -> anyhow::Result<ExitCode> {
    match asked {
        Device::List {
            search,
            link,
            gateway,
        } => {
            let mut path = "/api/v1/devices?limit=1000".to_owned();
            let filters = [("search", search), ("link", link), ("gateway", gateway)];
            for (name, value) in filters {
                if let Some(value) = value {
                    path.push_str(&format!("&{name}={}", segment(&value)));
                }
            }
            let items = client.list(&path).await?;
            let columns = [
                "id",
                "gateway",
                "connected",
                "link.post_quantum",
                "last_received_us",
            ];
            output::items(format, &items, &columns)?;
        }
        Device::Show { device } => {
            let shown = client
                .get(&format!("/api/v1/devices/{}", segment(&device)))
                .await?;
            match format {
                Format::Json => output::json(&shown)?,
                Format::Text => device_text(&shown),
            }
        }
        Device::Erase {
            device, confirm, ..
        } => {
            anyhow::ensure!(
                confirm.is_none_or(|confirm| confirm == device),
                "nothing is erased: --confirm has to be {}, the device's id",
                output::escaped(&device)
            );
            let path = format!("/api/v1/devices/{}", segment(&device));
            client.call(Method::DELETE, &path, None).await?;
            match format {
                Format::Json => output::json(&json!({ "erased": device }))?,
                Format::Text => say!("erased {}", output::escaped(&device)),
            }
        }
        Device::Latest { device } => {
            let answer = client
                .get(&format!("/api/v1/devices/{device}/latest"))
                .await?;
            let items = answer["items"].as_array().cloned().unwrap_or_default();
            output::items(format, &items, &["name", "value", "unit", "time_us"])?;
        }
        Device::Series {
            device,
            name,
            from_us,
            to_us,
            limit,
        } => {
            let mut path = format!("/api/v1/devices/{device}/series/{name}?limit={limit}");
            if let Some(from) = from_us {
                path.push_str(&format!("&from_us={from}"));
            }
            if let Some(to) = to_us {
                path.push_str(&format!("&to_us={to}"));
            }
            let series = client.get(&path).await?;
            match format {
                Format::Json => output::json(&series)?,
                Format::Text => series_text(&series)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A device for people.
fn device_text(shown: &Value) {
    let text = |name: &str| output::escaped(shown[name].as_str().unwrap_or("-"));
    let time = |name: &str| {
        let at_us = shown[name].as_i64();
        at_us.map_or_else(
            || "never".to_owned(),
            |at_us| format!("{} UTC", moment::utc(at_us)),
        )
    };
    let link = match shown["connected"].as_bool() {
        Some(true) => "up",
        Some(false) => "down",
        None => "nobody ever told",
    };
    say!("device    {}", text("id"));
    say!("DID       {}", text("did"));
    say!("gateway   {}", text("gateway"));
    say!("link      {link}");
    say!("reading   {}", time("last_event_us"));
    say!("heard     {}", time("last_received_us"));
}

/// A series for people, and where to go on if there is more of it.
fn series_text(series: &Value) -> anyhow::Result<()> {
    let text = |name: &str| series[name].as_str().map(output::escaped);
    let unit = text("unit").map_or_else(String::new, |unit| format!(", in {unit}"));
    let (name, device) = (text("name"), text("device"));
    say!(
        "{} of {}{unit}",
        name.unwrap_or_default(),
        device.unwrap_or_default()
    );
    let points = series["items"].as_array().map_or(&[][..], Vec::as_slice);
    output::items(Format::Text, points, &["time_us", "value"])?;
    // The cursor is the time of the last one.
    let last_us = series["next"].as_str().and_then(|it| it.parse().ok());
    if let Some(last_us) = last_us.and_then(|it: i64| it.checked_add(1)) {
        note!("there are more: --from-us {last_us} goes on, and --limit shows more at a time");
    }
    Ok(())
}

/// A run for people: itself, then each of its steps.
fn run_text(run: &Value) -> anyhow::Result<()> {
    let one = std::slice::from_ref(run);
    let columns = ["id", "workflow", "version", "state", "at_us", "ended_us"];
    output::items(Format::Text, one, &columns)?;
    for (name, value) in [("error", &run["error"]), ("waits for", &run["waits_for"])] {
        if let Some(text) = value.as_str() {
            say!("{name}: {}", output::escaped(text));
        }
    }
    let event = &run["event"];
    say!("event: {}", output::escaped(&event.to_string()));
    let steps = run["steps"].as_array().map_or(&[][..], Vec::as_slice);
    if !steps.is_empty() {
        say!("");
        let columns = ["id", "use", "state", "attempts", "next_at_us", "error"];
        output::items(Format::Text, steps, &columns)?;
    }
    // What happened to its cause on a chain.
    let turns = run["turns"].as_array().map_or(&[][..], Vec::as_slice);
    if !turns.is_empty() {
        say!("");
        let columns = ["at_us", "step", "kind", "detail", "command_state"];
        output::items(Format::Text, turns, &columns)?;
    }
    Ok(())
}

/// Runs `stencil run`.
pub(crate) async fn runs(args: RunArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    match args.command {
        RunCommand::List => {
            let items = client.list("/api/v1/runs").await?;
            let columns = [
                "at_us",
                "workflow",
                "event.device",
                "event.value",
                "state",
                "id",
            ];
            output::items(args.output, &items, &columns)?;
        }
        RunCommand::Show { id } => {
            let run = client.get(&format!("/api/v1/runs/{id}")).await?;
            match args.output {
                Format::Json => output::json(&run)?,
                Format::Text => run_text(&run)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
