//! `stencil session`: the browsers that are signed in.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::json;

use crate::api::{self, Client, Hub};
use crate::output::{self, Format, say};

/// Shows which browsers are signed in, and signs them out.
///
/// Without a user these are the sessions that the token itself has opened; an admin's token sees
/// and ends those of any user of the tenant.
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
    /// Lists sessions, the newest first.
    List {
        /// Those of this user.
        #[arg(long)]
        user: Option<String>,
    },
    /// Ends a session: the browser is signed out at once.
    End {
        /// The session's id, from `session list`.
        id: String,
    },
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    match args.command {
        Command::List { user } => {
            let path = match user {
                Some(user) => format!("/api/v1/sessions?user={}", api::segment(&user)),
                None => "/api/v1/sessions".to_owned(),
            };
            let items = client.list(&path).await?;
            let columns = ["id", "address", "created_us", "seen_us", "expires_us"];
            output::items(args.output, &items, &columns)?;
        }
        Command::End { id } => {
            let path = format!("/api/v1/sessions/{}", api::segment(&id));
            client.call(Method::DELETE, &path, None).await?;
            match args.output {
                Format::Json => output::json(&json!({ "id": id, "ended": true }))?,
                Format::Text => say!("ended {}", output::escaped(&id)),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
