//! `stencil reconcile`: the hub's loss ledger against the devices' own numbers.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::api::{Client, Hub};
use crate::output::{self, Format};

pub(crate) mod account;
pub(crate) mod gather;

use account::Account;

/// Between two looks at the ledgers.
const LOOK: Duration = Duration::from_millis(500);

/// Holds the hub's loss ledger against the devices' own numbers.
///
/// A device numbers what it measures, and says with each batch up to which number it has come;
/// after a restart it says where the boot before ended. The hub must hold each number as stored,
/// or as dropped with a reason. Exits 0 when that is so, 1 when there is a gap (and names it),
/// 2 when the hub can't be asked.
///
/// With --journal, the numbers come from the simulators' own journals instead, so that a number
/// that never left a device counts too. Devices may be running meanwhile: what the journals hold
/// at the start is looked for, and what is still on its way gets --settle-s to arrive.
#[derive(Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    hub: Hub,
    /// A folder of simulators' journals.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// With --journal: how long numbers that are on their way may take to arrive, in seconds. It
    /// waits only while something is missing.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(..=3_600)
    )]
    settle_s: u64,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    // First what arrived, then what was given: a device writes a number into its journal before
    // it sends it, so that whatever these ledgers hold is in these journals.
    let ledgers = gather::ledgers(&client).await?;
    let given = args.journal.as_deref().map(gather::journals).transpose()?;
    let unnumbered = gather::unnumbered(&client).await?;
    let mut account = Account::of(&ledgers, given.as_ref(), unnumbered.clone());
    if let Some(given) = &given {
        let until = tokio::time::Instant::now() + Duration::from_secs(args.settle_s);
        while account.is_missing() && tokio::time::Instant::now() < until {
            tokio::time::sleep(LOOK).await;
            let later = account::later(&ledgers, gather::ledgers(&client).await?, given);
            account = Account::of(&later, Some(given), unnumbered.clone());
        }
    }
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
