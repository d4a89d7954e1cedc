//! `stencil backup` and `stencil restore`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use stencil_server::backup::{self, Request};

use crate::output::{self, Format, note, say};

/// Copies a hub's data into one file, while the hub runs or while it doesn't.
///
/// The file holds the store as it was at one moment, the ingest log from there to its end, keys
/// and certificates: it is as secret as the data folder. `position` in the answer is the place in
/// the log before which nothing that was acknowledged is missing. A file that exists is never
/// written over; one that is not finished never has the name that was asked for.
#[derive(Parser)]
pub(crate) struct BackupArgs {
    /// The hub's folder.
    #[arg(long)]
    data_dir: PathBuf,
    /// The file to write. Beside it there must be room for a copy of the store meanwhile.
    #[arg(long)]
    out: PathBuf,
    /// The hub's settings file, to be kept with the rest.
    #[arg(long)]
    config: Option<PathBuf>,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// Makes a hub's data folder out of a backup.
///
/// Every digest is checked before anything is written; then all of it is written, or nothing.
/// After that `stencil hub --data-dir` goes on where the backup was taken: it applies what the
/// log holds beyond the store, and devices and gateways that still have what came later send it.
#[derive(Parser)]
pub(crate) struct RestoreArgs {
    /// The backup.
    #[arg(long)]
    from: PathBuf,
    /// The folder to make; it must be empty, or not exist.
    #[arg(long)]
    data_dir: PathBuf,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// Runs `stencil backup`.
pub(crate) async fn backup(args: BackupArgs) -> anyhow::Result<ExitCode> {
    let request = Request {
        data_dir: args.data_dir,
        out: args.out.clone(),
        settings: args.config,
    };
    let taken = backup::take(request, progress()).await?;
    let manifest = &taken.manifest;
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "file": args.out,
            "bytes": taken.bytes,
            "files": manifest.files.len(),
            "position": manifest.position,
            "applied": manifest.applied,
            "taken_us": manifest.taken_us,
        }))?,
        Format::Text => say!(
            "wrote {}: {} bytes, {} files, up to position {} of the log",
            args.out.display(),
            taken.bytes,
            manifest.files.len(),
            manifest.position
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `stencil restore`.
pub(crate) async fn restore(args: RestoreArgs) -> anyhow::Result<ExitCode> {
    let (from, data_dir) = (args.from, args.data_dir.clone());
    let restoring =
        tokio::task::spawn_blocking(move || backup::restore(&from, &data_dir, progress()));
    let restored = restoring.await??;
    let manifest = &restored.manifest;
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "data_dir": args.data_dir,
            "settings": restored.settings,
            "position": manifest.position,
            "applied": manifest.applied,
            "taken_us": manifest.taken_us,
            "hub": manifest.hub,
        }))?,
        Format::Text => {
            say!(
                "made {} as of {} (UTC), up to position {} of the log",
                args.data_dir.display(),
                stencil_protocol::moment::utc(manifest.taken_us),
                manifest.position
            );
            let config = restored.settings.as_ref();
            let config = config.map_or(String::new(), |file| {
                format!(" --config {}", file.display())
            });
            for line in after(&args.data_dir) {
                say!("{line}");
            }
            say!(
                "next: stencil hub --data-dir {}{config}",
                args.data_dir.display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a backup cannot bring back, and somebody has to.
fn after(data_dir: &Path) -> [String; 4] {
    [
        format!(
            "first: put keys/seal.key back to {} (mode 0600): without it no gateway is given a key",
            data_dir.join("keys/seal.key").display()
        ),
        "what was revoked since then is let in again: revoke it anew (`stencil device revoke`)"
            .to_owned(),
        "rights and credentials that were revoked or suspended since then are good again, and gateways hear \
         so as soon as they reach this hub: let MQTT listen on loopback only until each is taken away anew \
         (`stencil access revoke`, `stencil credential revoke`)"
            .to_owned(),
        "devices whose keys were rotated or replaced since then are refused: `stencil device \
         replace`; what was claimed or enrolled since then is to be enrolled again"
            .to_owned(),
    ]
}

fn progress() -> backup::Progress {
    Box::new(|line| note!("{}", output::escaped(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backup_brings_back_to_life_is_named_with_what_to_do() {
        let told = after(Path::new("/srv/hub")).join("\n");
        for part in [
            "/srv/hub/keys/seal.key",
            "stencil device revoke",
            "stencil access revoke",
            "stencil credential revoke",
            "stencil device replace",
        ] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
    }
}
