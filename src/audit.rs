//! `stencil audit`: who changed what.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::api::{self, Client, Hub};
use crate::output::{self, Format};

/// Shows the audit log: who changed what, when, from where, and whether it was allowed.
///
/// It has all that was changed over the API and the console, sign-ins, what was refused to
/// somebody of the tenant, and what was done on the hub's machine (`command line`). It needs an
/// admin's token.
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
    /// Lists entries, the newest first.
    List(List),
}

#[derive(clap::Args)]
struct List {
    /// By these only, such as `user ann` or `token ci`.
    #[arg(long)]
    who: Option<String>,
    /// Of this action only, such as `tokens.create`.
    #[arg(long)]
    action: Option<String>,
    /// With this outcome only.
    #[arg(long, value_parser = ["done", "refused", "failed"])]
    outcome: Option<String>,
    /// The most entries to show.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    let Command::List(list) = args.command;
    let limit = usize::try_from(list.limit)?;
    let items = client.newest(&list.path(), limit).await?;
    let columns = [
        "at_us", "who", "action", "target", "outcome", "address", "detail",
    ];
    output::items(args.output, &items, &columns)?;
    Ok(ExitCode::SUCCESS)
}

impl List {
    fn path(&self) -> String {
        let mut path = format!("/api/v1/audit?limit={}", self.limit.min(1_000));
        for (name, value) in [
            ("who", &self.who),
            ("action", &self.action),
            ("outcome", &self.outcome),
        ] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", api::segment(value)));
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_asked_of_the_hub() {
        let words = [
            "audit",
            "list",
            "--who",
            "user a&b",
            "--outcome",
            "refused",
            "--limit",
            "5000",
        ];
        let Command::List(list) = Args::try_parse_from(words).unwrap().command;
        let right = "/api/v1/audit?limit=1000&who=user%20a%26b&outcome=refused";
        assert_eq!(list.path(), right);
    }
}
