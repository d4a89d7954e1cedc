//! `stencil token`: the tokens of people, programs and foreign devices.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::json;

use crate::api::{Client, Hub};
use crate::output::{self, Format};

/// Makes, lists and revokes tokens.
///
/// A device token is what a foreign MQTT client gives as its user name; an API token opens
/// the HTTP API. The hub keeps only a hash: the secret is printed once.
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
    /// Makes a token and prints its secret, once.
    Create {
        /// The foreign device that the token is for; without it, an API token is made.
        #[arg(long)]
        device: Option<String>,
        /// What an API token may do.
        #[arg(long, default_value = "viewer", value_parser = ["viewer", "editor", "admin"], conflicts_with = "device")]
        role: String,
        /// A name to know it by; by default the device's id, or the role.
        #[arg(long)]
        name: Option<String>,
    },
    /// Lists tokens, without their secrets.
    List,
    /// Revokes a token: what is connected by it is cut off.
    Revoke {
        /// The token's id, from `token list`.
        id: String,
    },
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    match args.command {
        Command::Create { device, role, name } => {
            let body = match device {
                Some(device) => {
                    let name = name.as_ref().unwrap_or(&device);
                    json!({ "kind": "device", "device": device, "name": name })
                }
                None => {
                    let name = name.as_ref().unwrap_or(&role);
                    json!({ "kind": "api", "role": role, "name": name })
                }
            };
            let made = client
                .call(
                    Method::POST,
                    "/api/v1/tokens",
                    Some(("application/json", body.to_string().into_bytes())),
                )
                .await?;
            match args.output {
                Format::Json => output::json(&made)?,
                Format::Text => println!("{}", made["token"].as_str().unwrap_or_default()),
            }
        }
        Command::List => {
            let items = client.list("/api/v1/tokens").await?;
            output::items(
                args.output,
                &items,
                &["id", "kind", "device", "role", "name"],
            )?;
        }
        Command::Revoke { id } => {
            client
                .call(Method::DELETE, &format!("/api/v1/tokens/{id}"), None)
                .await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
