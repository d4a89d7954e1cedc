//! `stencil sim rollout`: a bad firmware image, a good one, devices that were off, images that are not
//! taken.
//!
//! Hub and gateways are processes of their own, the hub is asked over its HTTP API as by anybody;
//! devices are [`stencil_simulators::nodes`].

mod gateway;
mod hub;
mod images;
mod parts;
mod play;
mod process;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;

use crate::output::{self, Format};

const TENANT: &str = "acme";
/// Open files besides one a device.
const OTHER_FILES: u32 = 256;

/// A bad firmware image, a good one, and devices that were off.
///
/// Starts a hub and gateways as processes of their own on this machine's loopback addresses, and
/// simulated devices behind them: each runs the real firmware application over the real link, has two
/// slots for images in a flash of its own, and starts what the real boot loader chooses. One of
/// ten is switched off. Then:
///
/// 1. An image whose application never talks is rolled out. The devices of the canary install it, fall
///    back by their boot loaders, and the roll-out pauses: nobody else gets any of it.
///
/// 2. A good one is rolled out. Meanwhile the power of devices goes at random moments, also in the
///    middle of a byte that is being written, and hub and gateway are killed. All devices that
///    are on run it; the hub says so of none that does not.
///
/// 3. The others are switched on, and get it, too.
///
/// 4. Images that are old, or signed by somebody else, are refused by the hub. Three devices that
///    say they would take the good image, and must not, refuse it themselves: one is newer, one is
///    of another class, one has a boot loader with another key. The hub shows why.
///
/// What happens is told on standard error, the report on standard output. Exits 0 only if all of that
/// held. With --output json the report is one document: `held` says whether all held, `bad`, `good`,
/// `late` and `refused` what each part came to.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many devices.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=2_000))]
    devices: u32,
    /// Behind how many gateways.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    gateways: u32,
    /// When the power of devices goes follows from this, as far as it does not depend on time.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long each part may take, in seconds.
    #[arg(long, default_value_t = 300)]
    limit_s: u64,
    /// Where to keep data and logs, an empty or new folder; a temporary one that is removed if
    /// it is not given.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// Runs it.
pub(crate) async fn run(args: &Args, stop: watch::Receiver<bool>) -> anyhow::Result<ExitCode> {
    allow_files(args.devices + OTHER_FILES)?;
    let temporary = match &args.data_dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
            ensure!(
                std::fs::read_dir(dir)?.next().is_none(),
                "{} is not empty: name another folder with --data-dir",
                dir.display()
            );
            None
        }
        None => Some(Folder::new()?),
    };
    let dir = match (&args.data_dir, &temporary) {
        (Some(dir), _) => std::path::absolute(dir)?,
        (None, Some(folder)) => folder.0.clone(),
        (None, None) => bail!("there is no folder to keep data in"),
    };
    let mut stopped = stop;
    let report = tokio::select! {
        report = Box::pin(play::play(args, &dir)) => report?,
        _ = stopped.wait_for(|stop| *stop) => bail!("it was stopped"),
    };
    match args.output {
        Format::Json => output::json(&report)?,
        Format::Text => report.tell(),
    }
    Ok(match report.held {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Lets this process, and those that it starts, have so many files open; each link is one.
fn allow_files(needed: u32) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let needs = u64::from(needed);
    let allows = |bound: Option<u64>| bound.is_none_or(|bound| bound >= needs);
    if allows(limit.current) {
        return Ok(());
    }
    ensure!(
        allows(limit.maximum),
        "so many devices take {needs} open files, and this user may have {} (`ulimit -Hn`): take fewer \
         with --devices",
        limit.maximum.unwrap_or_default()
    );
    let raised = Rlimit {
        current: Some(needs),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("the bound on open files can't be raised")
}

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let mut name = [0; 8];
        rand_core::Rng::fill_bytes(&mut stencil_crypto::rng::Os, &mut name);
        let name = format!("stencil-sim-rollout-{}", hex::encode(name));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
