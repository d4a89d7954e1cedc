//! `stencil workflow`: check, apply, list.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use reqwest::Method;
use stencil_workflow::definition::MAX_BYTES;

use crate::api::{Client, Hub};
use crate::output::{self, Format};

/// Checks, applies and lists workflows.
#[derive(Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    hub: Hub,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text", global = true)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Reads a definition and says what is wrong with it, without a hub.
    Check {
        /// The YAML file.
        file: PathBuf,
    },
    /// Gives a definition to the hub; it takes effect at once. A version, once applied, can't
    /// be changed: raise `version`.
    Apply {
        /// The YAML file.
        file: PathBuf,
    },
    /// Lists the workflows and their active versions.
    List,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Check { file } => {
            let definition = check(&file)?.1;
            println!(
                "{} version {} is well formed",
                definition.id, definition.version
            );
        }
        Command::Apply { file } => {
            let (text, definition) = check(&file)?;
            let path = format!("/api/v1/workflows/{}", definition.id);
            let answer = Client::new(&args.hub)?
                .call(
                    Method::PUT,
                    &path,
                    Some(("application/yaml", text.into_bytes())),
                )
                .await?;
            match args.output {
                Format::Json => output::json(&answer)?,
                Format::Text => {
                    println!("{} version {} is active", definition.id, definition.version);
                }
            }
        }
        Command::List => {
            let items = Client::new(&args.hub)?.list("/api/v1/workflows").await?;
            output::items(args.output, &items, &["id", "version"])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check(file: &Path) -> anyhow::Result<(String, stencil_workflow::definition::Definition)> {
    let text = read(file)?;
    let definition = stencil_workflow::definition::parse(&text)
        .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    Ok((text, definition))
}

/// The text of a definition; no more is read than one may have.
fn read(file: &Path) -> anyhow::Result<String> {
    let name = file.display();
    let mut text = Vec::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(MAX_BYTES as u64 + 1).read_to_end(&mut text))
        .with_context(|| format!("can't read {name}"))?;
    anyhow::ensure!(
        text.len() <= MAX_BYTES,
        "{name} is longer than {MAX_BYTES} bytes: that is no workflow"
    );
    String::from_utf8(text).with_context(|| format!("{name} is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_a_definition_may_have() {
        let endless = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(endless.contains("longer than 65536 bytes"), "{endless}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("w.yaml");
        std::fs::write(&file, "#".repeat(65_536)).unwrap();
        assert_eq!(read(&file).unwrap().len(), 65_536);
        std::fs::write(&file, "#".repeat(65_537)).unwrap();
        assert!(read(&file).is_err());
        std::fs::write(&file, [0xff]).unwrap();
        let binary = read(&file).unwrap_err().to_string();
        assert!(binary.contains("not UTF-8"), "{binary}");
    }
}
