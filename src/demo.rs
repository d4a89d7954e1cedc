//! `stencil demo`: hub, gateways, fleet and receiver on this machine, and the story that they
//! play.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use tokio::sync::{mpsc, watch};

use crate::api::Client;
use crate::output::{self, Format};
use crate::shutdown;

mod cast;
mod chain;
mod chaos;
mod checks;
mod estate;
mod layout;
mod proof;
mod report;
mod shop;
mod story;
mod supervisor;
mod uplink;

use cast::Cast;
use layout::Layout;
use report::Report;
use story::{Narrator, Watched};
use supervisor::News;

/// Plays the main job on this machine.
///
/// Fifty simulated devices (freezers, door locks, rooms) on two gateways and the recording of a
/// real machine stream through the gateways into a hub. A freezer's door stays open: a rule
/// fires, a workflow publishes a page, posts a webhook, and bolts the door. Somebody pays on a dev
/// chain: a locker opens, a payment is reorganised away and comes back, a program buys a series by
/// x402, a device that says nothing is not paid for, the buyer's wallet signs in to the hub, a lock is
/// sold with its passport (the seller's command is refused, the buyer's done), and a page is published with
/// the proof of its figure. Everything listens on
/// loopback only. Without --once it goes on until Ctrl-C, and continues with its data at the next start.
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
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=MAX_SEED))]
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
/// Told when a part is given up; the error itself is the last that is told.
const GIVES_UP: &str = "a part ends again and again; ends the others";
/// The exit code after a second Ctrl-C: what shells say of a command that SIGINT ended.
const KILLED: u8 = 130;
/// How often the hub is looked at for the story.
const LOOK: Duration = Duration::from_millis(400);

/// Beyond it a seed can't be written into the settings, whose numbers are signed.
const MAX_SEED: u64 = i64::MAX.unsigned_abs();
/// What may be untold at once of parts that ended.
const MAX_NEWS: usize = 64;

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let narrator = Narrator::new();
    let signals = shutdown::count()?;
    let mut temporary = None;
    let root = match (&args.data_dir, args.once) {
        (Some(root), _) => root.clone(),
        (None, true) => temporary.insert(temporary_folder()?).clone(),
        (None, false) => user_data().join("stencil-demo"),
    };
    let outcome = tokio::select! {
        biased;
        () = killed(signals.clone(), &narrator) => Ok(ExitCode::from(KILLED)),
        outcome = play(&args, &root, signals, &narrator) => outcome,
    };
    let held = matches!(outcome, Ok(code) if code == ExitCode::SUCCESS);
    match temporary {
        Some(folder) if held => std::fs::remove_dir_all(&folder)
            .with_context(|| format!("can't remove {}", folder.display()))?,
        Some(folder) if folder.exists() => {
            narrator.tell(format!("kept for a look: {}", folder.display()));
        }
        _ => {}
    }
    outcome
}

/// Answers Ctrl-C; at the second one it is over, and the parts are killed as they are dropped.
async fn killed(mut signals: Signals, narrator: &Narrator) {
    shutdown::reaches(&mut signals, 1).await;
    narrator.tell("ends its parts in order; a second Ctrl-C kills them all at once");
    shutdown::reaches(&mut signals, 2).await;
    narrator.tell("kills all parts");
}

async fn play(
    args: &Args,
    root: &Path,
    signals: Signals,
    narrator: &Narrator,
) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(&std::path::absolute(root)?, !args.once).await?;
    narrator.tell(format!(
        "{} {}",
        if layout.fresh {
            "begins in"
        } else {
            "continues with the data in"
        },
        layout.root.display()
    ));
    let (news, heard) = mpsc::channel(MAX_NEWS);
    let mut stage = Stage {
        signals,
        heard,
        narrator,
    };
    if !args.once {
        let lived = live(args, &layout, &mut stage, news).await;
        if args.output == Format::Json {
            output::json(&serde_json::json!({
                "ended": if lived.is_ok() { "interrupted" } else { "gave up" },
                "data": layout.root.display().to_string(),
                "hub": layout.base(),
                "problem": lived.as_ref().err().map(|why| format!("{why:#}")),
            }))?;
        }
        lived?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = once(args, &layout, &mut stage, news).await?;
    report.print(args.output)?;
    Ok(if report.held {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// How many times Ctrl-C came.
type Signals = watch::Receiver<u32>;

/// What may come between the demo and what it does.
struct Stage<'a> {
    signals: Signals,
    heard: mpsc::Receiver<News>,
    narrator: &'a Narrator,
}

impl Stage<'_> {
    /// Waits for `work`, and tells meanwhile which parts end. Nothing when Ctrl-C came first.
    ///
    /// # Errors
    /// When a part is given up.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> anyhow::Result<Option<T>> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = shutdown::reaches(&mut self.signals, 1) => return Ok(None),
                Some(news) = self.heard.recv() => match news {
                    News::Ended(line) => self.narrator.tell(line),
                    // Told at the end, where it is not overlooked.
                    News::GaveUp(why) => anyhow::bail!("{why}"),
                },
                done = &mut work => return Ok(Some(done)),
            }
        }
    }
}

/// Plays until Ctrl-C.
async fn live(
    args: &Args,
    layout: &Layout,
    stage: &mut Stage<'_>,
    news: mpsc::Sender<News>,
) -> anyhow::Result<()> {
    let narrator = stage.narrator;
    let starting = Cast::start(layout, args.seed, None, false, news, narrator);
    let Some(cast) = stage.during(starting).await? else {
        return Ok(());
    };
    let cast = cast?;
    narrator.tell(format!(
        "the live page: {}/login?token={}",
        layout.base(),
        layout.token
    ));
    narrator.tell("Ctrl-C ends it");
    let client = Client::with(&layout.base(), &layout.token)?;
    let mut watched = Watched::default();
    let played = stage
        .during(watched.keep_looking(&client, narrator, LOOK))
        .await;
    narrator.tell(match &played {
        Ok(_) => "ends; devices hand in what they have",
        Err(_) => GIVES_UP,
    });
    let ended = cast.end(narrator).await;
    played?;
    ended
}

/// Plays to the end and checks.
async fn once(
    args: &Args,
    layout: &Layout,
    stage: &mut Stage<'_>,
    news: mpsc::Sender<News>,
) -> anyhow::Result<Report> {
    let narrator = stage.narrator;
    let length = Duration::from_secs(args.seconds);
    let starting = Cast::start(layout, args.seed, Some(length), args.chaos, news, narrator);
    let cast = stage
        .during(starting)
        .await?
        .context("stopped before the start was done")??;
    let played = stage
        .during(story(args, layout, length, &cast, narrator))
        .await;
    if played.is_err() {
        narrator.tell(GIVES_UP);
    }
    let stopped = cast
        .end(narrator)
        .await
        .map(|()| "all parts ended by themselves".to_owned());
    let mut report = played?.context("stopped before the end")??;
    report.outcome("a clean end", stopped);
    report.close();
    Ok(report)
}

/// The story with its end, and its checks.
async fn story(
    args: &Args,
    layout: &Layout,
    length: Duration,
    cast: &Cast,
    narrator: &Narrator,
) -> anyhow::Result<Report> {
    narrator.tell(format!("{} plays for {} s", layout.base(), args.seconds));
    let client = Client::with(&layout.base(), &layout.token)?;
    let mut watched = Watched::default();
    let bought;
    {
        let begun = tokio::time::Instant::now();
        let blows = async {
            if args.chaos {
                for blow in chaos::schedule(args.seed, length) {
                    tokio::time::sleep_until(begun + blow.at).await;
                    cast.strike(blow.what, narrator).await;
                }
            }
            tokio::time::sleep_until(begun + length).await;
        };
        // Who buys does so while the story plays, and to the end.
        let played = async {
            // What is killed among payments is a matter of `cargo xtask faults chain`.
            if args.chaos {
                blows.await;
                return Vec::new();
            }
            let shop = async {
                let shop = Box::pin(shop::play(layout, &cast.chain, narrator));
                let proof = Box::pin(proof::play(layout, &cast.chain, narrator));
                let (mut bought, proven) = tokio::join!(shop, proof);
                bought.push(("page-proof", proven));
                // Last: the hub is stopped for it, while everything else goes on.
                let offline = shop::offline::play(layout, &cast.chain, cast, narrator);
                bought.extend(Box::pin(offline).await);
                bought
            };
            let ((), bought) = tokio::join!(blows, shop);
            bought
        };
        tokio::select! {
            biased;
            played = played => bought = played,
            never = watched.keep_looking(&client, narrator, LOOK) => match never {},
        }
    }
    let mut report = Report::default();
    let ended_us = now_us();
    narrator.tell("devices stop measuring and hand in what they have");
    let drained = cast.drain(SETTLE_LIMIT).await;
    report.outcome("devices hand in everything", drained);
    checks::settle(&client, SETTLE_LIMIT).await;
    watched.look(&client, narrator).await;
    for (name, outcome) in bought {
        report.outcome(name, outcome);
    }
    checks::all(&mut report, layout, &client, cast, args.chaos, ended_us).await;
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
