//! `stencil chain list`.

use std::process::ExitCode;

use crate::api::{Client, Hub};
use crate::output::{self, Format};

/// Lists the chains that a hub follows, or followed before: how each stands. Needs an operator's token.
///
/// `stopped` says why a chain goes no further until somebody has dealt with that (`stencil chain resume`), and
/// `trouble` what is not well; both are a dash where nothing is wrong.
#[derive(clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    hub: Hub,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

pub(super) async fn run(args: List) -> anyhow::Result<ExitCode> {
    let chains = Client::new(&args.hub)?
        .list("/api/v1/operator/chains")
        .await?;
    let columns = [
        "chain",
        "chain_id",
        "followed",
        "head",
        "cursor.number",
        "final.number",
        "stopped",
        "trouble",
        "changed_us",
    ];
    output::items(args.output, &chains, &columns)?;
    Ok(ExitCode::SUCCESS)
}
