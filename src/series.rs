//! `stencil series`: a series as a file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};

use crate::api::{Client, Hub, segment};
use crate::output::{self, note};
use crate::when::{self, Moment, Until};

/// Takes series out of the hub.
#[derive(Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    hub: Hub,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Export(Export),
}

/// Writes a series as comma-separated values (RFC 4180): time, time_us, value.
///
/// The file is there when all of it is. A text that a spreadsheet could take for a formula, or
/// that begins with ', has a ' before it.
#[derive(clap::Args)]
struct Export {
    /// The device.
    device: String,
    /// The series.
    name: String,
    /// From this time on: -7d (before now), now, 2026-03-01 (its midnight in UTC), or
    /// 2026-03-01T12:00:00Z.
    #[arg(long, allow_hyphen_values = true)]
    from: Option<Moment>,
    /// Up to, but not with, this time; a date alone is the end of that day in UTC.
    #[arg(long, allow_hyphen_values = true)]
    to: Option<Until>,
    /// The file, which must not be there yet; standard output without it.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Export(export) = args.command;
    let path = export.path(when::now_us())?;
    let client = Client::new(&args.hub)?;
    match &export.out {
        None => {
            match client.download(&path, &mut output::Stdout).await {
                // Who reads no further needs no more of it.
                Err(_) if output::is_closed() => {}
                downloaded => drop(downloaded?),
            }
            std::io::Write::flush(&mut output::Stdout).ok();
        }
        Some(file) => to_file(&client, &path, file).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Export {
    fn path(&self, now_us: i64) -> anyhow::Result<String> {
        let mut query = Vec::new();
        let from_us = self.from.as_ref().map(|from| from.us(now_us)).transpose();
        let to_us = self.to.as_ref().map(|to| to.us(now_us)).transpose();
        if let Some(from_us) = from_us.map_err(anyhow::Error::msg)? {
            query.push(format!("from_us={from_us}"));
        }
        if let Some(to_us) = to_us.map_err(anyhow::Error::msg)? {
            query.push(format!("to_us={to_us}"));
        }
        let (device, name) = (segment(&self.device), segment(&self.name));
        let path = format!("/api/v1/devices/{device}/series/{name}/csv");
        Ok(match query.is_empty() {
            true => path,
            false => format!("{path}?{}", query.join("&")),
        })
    }
}

/// Writes beside the file first, so that a half of it is never taken for the whole.
async fn to_file(client: &Client, path: &str, file: &Path) -> anyhow::Result<()> {
    if file.exists() {
        bail!("{} is there already; it is not overwritten", file.display());
    }
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let part = folder.join(format!(".{name}.part"));
    let mut out = std::fs::File::create(&part).with_context(|| part.display().to_string())?;
    let written = match client.download(path, &mut out).await {
        Ok(bytes) => out.sync_all().map(|()| bytes).map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    // Not over what has come to be there meanwhile.
    let written = written.and_then(|bytes| {
        std::fs::hard_link(&part, file).with_context(|| file.display().to_string())?;
        Ok(bytes)
    });
    let _ = std::fs::remove_file(&part);
    note!("{}: {} bytes", file.display(), written?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_times_become_an_address() {
        let export = |words: &[&str]| {
            let all = ["series", "export"].iter().chain(words).copied();
            let Command::Export(export) = Args::try_parse_from(all).unwrap().command;
            export.path(7_200_000_000)
        };
        assert_eq!(
            export(&["freezer-1", "co2 level/a"]).unwrap(),
            "/api/v1/devices/freezer-1/series/co2%20level%2Fa/csv"
        );
        assert_eq!(
            export(&["a", "t", "--from", "-1h", "--to", "now"]).unwrap(),
            "/api/v1/devices/a/series/t/csv?from_us=3600000000&to_us=7200000000"
        );
    }
}
