//! `stencil workflow`: check, apply, list.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use reqwest::Method;
use stencil_workflow::definition::MAX_BYTES;

use crate::api::{Client, Hub};
use crate::output::{self, Format, say};

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
    /// Lists the gateways at which a workflow's rule is placed: the version that each was told
    /// last, and why it refuses it, if it does.
    Gateways {
        /// The workflow's id.
        workflow: String,
    },
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Check { file } => {
            let definition = check(&file)?.1;
            say!(
                "{} version {} is well formed",
                definition.id,
                definition.version
            );
            warn(definition.warnings().iter().map(String::as_str));
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
                    say!("{} version {} is active", definition.id, definition.version);
                    let warnings = answer["warnings"].as_array().into_iter().flatten();
                    warn(warnings.filter_map(serde_json::Value::as_str));
                }
            }
        }
        Command::List => {
            let items = Client::new(&args.hub)?.list("/api/v1/workflows").await?;
            output::items(args.output, &items, &["id", "version"])?;
        }
        Command::Gateways { workflow } => {
            let path = format!("/api/v1/workflows/{workflow}/gateways");
            let items = Client::new(&args.hub)?.list(&path).await?;
            match args.output {
                Format::Json => output::json(&items)?,
                Format::Text => items.iter().for_each(|item| say!("{}", placed(item))),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the author should look at again.
fn warn<'a>(warnings: impl Iterator<Item = &'a str>) {
    for warning in warnings {
        say!("look at this again: {}", output::escaped(warning));
    }
}

/// A gateway at which a rule is placed; why not, as long as that is.
fn placed(item: &serde_json::Value) -> String {
    let text = |name: &str| item[name].as_str().map(output::escaped);
    let gateway = text("gateway").unwrap_or_default();
    let placed = format!("{gateway}: version {}", item["version"]);
    match text("refused") {
        None => placed,
        Some(why) => format!("{placed}, refused\n{}", output::wrapped(&why, "    ")),
    }
}

fn check(file: &Path) -> anyhow::Result<(String, stencil_workflow::definition::Definition)> {
    let text = crate::bounded::text(file, MAX_BYTES)?;
    let definition = stencil_workflow::definition::parse(&text)
        .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    Ok((text, definition))
}
