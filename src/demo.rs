//! `stencil demo`: hub, gateways, fleet and receiver on this machine, and the story that they
//! play.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use tokio::sync::mpsc;

use crate::api::Client;
use crate::output::Format;
use crate::shutdown;

mod cast;
mod chaos;
mod checks;
mod layout;
mod report;
mod story;
mod supervisor;
mod uplink;

use cast::Cast;
use layout::Layout;
use report::Report;
use story::{Narrator, Watched};

/// Plays the main job on this machine.
///
/// Fifty simulated devices (freezers, door locks, rooms) on two gateways and the recording of a
/// real machine stream through the gateways into a hub. A freezer's door stays open: a rule
/// fires, a workflow publishes a page, posts a webhook, and bolts the door. Everything listens
/// on loopback only. Without --once it goes on until Ctrl-C, and continues with its data at the
/// next start.
#[derive(Parser)]
pub(crate) struct Args {
    /// Plays the story to its end, checks each step, reconciles every number, and exits 0 only
    /// if all held.
    #[arg(long)]
    once: bool,
    /// Kills the hub and a gateway, cuts an uplink, drops a fifth of the webhook's answers.
    #[arg(long, requires = "once")]
    chaos: bool,
    /// What is random follows from this number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long the story plays before the devices stop measuring, in seconds.
    #[arg(long, default_value_t = 40, requires = "once", value_parser = clap::value_parser!(u64).range(10..=600))]
    seconds: u64,
    /// Where everything is kept. Default: with --once a temporary folder, else `stencil-demo`
    /// in the folder for user data.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// How to print the outcome.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// How long devices may need to hand in what they measured, and workflows to end.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// How often the hub is looked at for the story.
const LOOK: Duration = Duration::from_millis(400);

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let narrator = Narrator::new();
    let mut temporary = None;
    let root = match (&args.data_dir, args.once) {
        (Some(root), _) => root.clone(),
        (None, true) => temporary.insert(temporary_folder()?).clone(),
        (None, false) => user_data().join("stencil-demo"),
    };
    let layout = Layout::open(&std::path::absolute(&root)?, !args.once).await?;
    narrator.tell(format!(
        "{} {}",
        if layout.fresh {
            "begins in"
        } else {
            "continues with the data in"
        },
        layout.root.display()
    ));
    let (code, keep) = if args.once {
        let report = once(&args, &layout, &narrator).await?;
        report.print(args.output)?;
        (
            if report.held {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(1)
            },
            !report.held,
        )
    } else {
        live(&args, &layout, &narrator).await?;
        (ExitCode::SUCCESS, false)
    };
    match temporary {
        Some(folder) if keep => narrator.tell(format!("kept for a look: {}", folder.display())),
        Some(folder) => std::fs::remove_dir_all(&folder)
            .with_context(|| format!("can't remove {}", folder.display()))?,
        None => {}
    }
    Ok(code)
}

/// Plays until Ctrl-C.
async fn live(args: &Args, layout: &Layout, narrator: &Narrator) -> anyhow::Result<()> {
    let mut stop = shutdown::on_signal()?;
    let (ended, mut ends) = mpsc::channel(16);
    let cast = tokio::select! {
        cast = Cast::start(layout, args.seed, None, false, ended, narrator) => cast?,
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    };
    narrator.tell(format!(
        "the live page: {}/login?token={}",
        layout.base(),
        layout.token
    ));
    narrator.tell("Ctrl-C ends it");
    let client = Client::with(&layout.base(), &layout.token)?;
    let mut watched = Watched::default();
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(end) = ends.recv() => narrator.tell(end),
            _ = tick.tick() => watched.look(&client, narrator).await,
        }
    }
    narrator.tell("ends; devices hand in what they have");
    cast.end(narrator).await
}

/// Plays to the end and checks.
async fn once(args: &Args, layout: &Layout, narrator: &Narrator) -> anyhow::Result<Report> {
    let mut stop = shutdown::on_signal()?;
    let (ended, mut ends) = mpsc::channel(16);
    let length = Duration::from_secs(args.seconds);
    let cast = Cast::start(layout, args.seed, Some(length), args.chaos, ended, narrator).await?;
    narrator.tell(format!("{} plays for {} s", layout.base(), args.seconds));
    let client = Client::with(&layout.base(), &layout.token)?;
    let blows = if args.chaos {
        chaos::schedule(args.seed, length)
    } else {
        Vec::new()
    };
    let mut blows = blows.into_iter().peekable();
    let mut watched = Watched::default();
    let mut tick = tokio::time::interval(LOOK);
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < length {
        let next_blow = blows.peek().map_or(begun + length, |blow| begun + blow.at);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => anyhow::bail!("stopped before the end"),
            Some(end) = ends.recv() => narrator.tell(end),
            () = tokio::time::sleep_until(next_blow) => {
                if let Some(blow) = blows.next() {
                    cast.strike(blow.what, narrator).await;
                }
            }
            _ = tick.tick() => watched.look(&client, narrator).await,
        }
    }
    let mut report = Report::default();
    let ended_us = now_us();
    narrator.tell("devices stop measuring and hand in what they have");
    let drained = cast.drain(SETTLE_LIMIT).await;
    report.outcome("devices hand in everything", drained);
    checks::settle(&client, SETTLE_LIMIT).await;
    watched.look(&client, narrator).await;
    checks::all(&mut report, layout, &client, &cast, args.chaos, ended_us).await;
    while let Ok(end) = ends.try_recv() {
        narrator.tell(end);
    }
    let stopped = cast
        .end(narrator)
        .await
        .map(|()| "all parts ended by themselves".to_owned());
    report.outcome("a clean end", stopped);
    report.close();
    Ok(report)
}

/// The wall clock, in microseconds since the Unix epoch.
fn now_us() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or_default()
}

/// A new folder below the system's temporary one.
fn temporary_folder() -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("stencil-demo-{}", std::process::id()));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(folder)
}

/// The folder for a user's data, by the XDG base directory specification.
fn user_data() -> PathBuf {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("."))
}
