//! `stencil reconcile`: the hub's loss ledger against the devices' own numbers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::api::{Client, Hub};
use crate::output::{self, Format};

pub(crate) mod account;
pub(crate) mod gather;

/// Holds the hub's loss ledger against the devices' own numbers.
///
/// A device numbers what it measures, and says with each batch up to which number it has come;
/// after a restart it says where the boot before ended. The hub must hold each number as stored,
/// or as dropped with a reason. Exits 0 when that is so, 1 when there is a gap (and names it),
/// 2 when the hub can't be asked.
///
/// With --journal, the numbers come from the simulators' own journals instead, so that a number
/// that never left a device counts too.
#[derive(Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    hub: Hub,
    /// A folder of simulators' journals.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    let given = args.journal.as_deref().map(gather::journals).transpose()?;
    let ledgers = gather::ledgers(&client).await?;
    let unnumbered = gather::unnumbered(&client).await?;
    let account = account::Account::of(&ledgers, given.as_ref(), unnumbered);
    match args.output {
        Format::Json => output::json(&account)?,
        Format::Text => account.print(),
    }
    Ok(if account.held {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}
