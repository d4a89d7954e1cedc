//! `stencil chain follow`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use stencil_chain::config::{Preset, Start};
use stencil_chain::event::Signature;
use stencil_chain::finality::Finality;
use stencil_chain::{Follower, Options, Progress};
use stencil_store::{Chains, MAX_CHAIN_ENTRIES, Watch, WatchKind};
use tokio::sync::watch;

use super::{DATA, DATABASE, Kept, entry};
use crate::output::{self, Format, note, say};
use crate::{config, shutdown, when};

/// Whose the watches of this command are.
const OWNER: &str = "cli";
/// The reader of the stream that is standard output.
const READER: &str = "stdout";

/// Follows a chain and prints what is watched of it, as lines, until Ctrl-C.
///
///   stencil chain follow --chain-id 31337 --rpc http://127.0.0.1:8545 --address 0x… \
///       --event 'Transfer(address indexed from,address indexed to,uint256 value)' --data chain-data
///
/// Each line has a number: `observed` (in a block of the chain), `retracted` (a reorganisation took
/// that block away) or `final`. What is printed is printed again only if the command was killed
/// meanwhile: who reads the lines takes each number once. The command goes on where it stood.
///
/// Two endpoints are checked against each other; with one, its word has to do. An address that is
/// watched later holds from the next block on: nothing is looked through again.
///
/// Settings: a TOML file (`--config`) with `data`, a table `chain` and tables `[[watch]]`
/// (`address`, `events`, `native`), then variables such as STENCIL_CHAIN_CHAIN__CHAIN_ID, then
/// flags.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Follow {
    #[command(flatten)]
    kept: Kept,
    /// Settings, as `--dump-config` shows them.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print all settings and end. Of endpoints only the host is shown.
    #[arg(long)]
    dump_config: bool,
    /// A known chain: ethereum, polygon or besu.
    #[arg(long)]
    preset: Option<Preset>,
    /// The chain's name in what is kept and printed.
    #[arg(long)]
    name: Option<String>,
    /// EIP-155 chain id, which every endpoint must have.
    #[arg(long)]
    chain_id: Option<u64>,
    /// An HTTP endpoint (JSON-RPC); say it twice for two that are checked against each other.
    #[arg(long)]
    rpc: Vec<String>,
    /// Ask endpoints of other machines by http:// and ws://, too: whoever is on the way there can change
    /// what they answer.
    #[arg(long)]
    allow_plain_rpc: bool,
    /// How many endpoints must say the same.
    #[arg(long)]
    agree: Option<usize>,
    /// A WebSocket endpoint that tells of new blocks; without it they are polled for.
    #[arg(long)]
    ws: Option<String>,
    /// When a block is final: a number of confirmations, `safe` or `finalized`.
    #[arg(long)]
    finality: Option<Finality>,
    /// Where to begin with a chain that was never followed: a block's number, or `latest`.
    #[arg(long)]
    from: Option<Start>,
    /// An address to watch; can be given several times.
    #[arg(long)]
    address: Vec<String>,
    /// An event to watch of all these addresses; without one all their events are.
    #[arg(long)]
    event: Vec<String>,
    /// Watch transfers of the native coin to these addresses, too.
    #[arg(long)]
    native: bool,
    /// End when all is printed that there is.
    #[arg(long)]
    once: bool,
}

/// All settings.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    chain: Options,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    watch: Vec<WatchOption>,
}

/// What to watch of an address.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WatchOption {
    address: String,
    events: Vec<String>,
    native: bool,
}

impl Follow {
    fn settings(&self) -> anyhow::Result<Settings> {
        let flags = Settings {
            data: self.kept.data.clone(),
            chain: Options {
                name: self.name.clone(),
                preset: self.preset,
                chain_id: self.chain_id,
                endpoints: self.rpc.clone(),
                allow_plain: self.allow_plain_rpc,
                agree: self.agree,
                wake: self.ws.clone(),
                finality: self.finality,
                start: self.from,
                ..Options::default()
            },
            watch: self
                .address
                .iter()
                .map(|address| WatchOption {
                    address: address.clone(),
                    events: self.event.clone(),
                    native: self.native,
                })
                .collect(),
        };
        if self.address.is_empty() && (self.native || !self.event.is_empty()) {
            bail!("--event and --native say what to watch of an address: --address is missing");
        }
        config::load_beside("STENCIL_CHAIN_", self.config.as_deref(), &flags, &["data"])
    }
}

/// What the settings watch, and the events by which logs are read.
fn watches(options: &[WatchOption]) -> anyhow::Result<(Vec<Watch>, Vec<Signature>)> {
    let (mut watches, mut events) = (Vec::new(), Vec::<Signature>::new());
    for option in options {
        let address = address(&option.address)?;
        let mut watch = |kind| {
            watches.push(Watch {
                owner: OWNER.to_owned(),
                address,
                kind,
            });
        };
        for event in &option.events {
            let event = Signature::parse(event)?;
            watch(WatchKind::Event(event.topic0().0));
            if !events.contains(&event) {
                events.push(event);
            }
        }
        if option.native {
            watch(WatchKind::Native);
        } else if option.events.is_empty() {
            watch(WatchKind::AnyEvent);
        }
    }
    Ok((watches, events))
}

fn address(text: &str) -> anyhow::Result<[u8; 20]> {
    stencil_chain::address(text).map_err(|why| anyhow::anyhow!("address {text:?}: {why}"))
}

pub(super) async fn run(args: Follow) -> anyhow::Result<ExitCode> {
    let mut settings = args.settings()?;
    if args.dump_config {
        for endpoint in settings
            .chain
            .endpoints
            .iter_mut()
            .chain(&mut settings.chain.wake)
        {
            *endpoint = stencil_chain::config::shown(endpoint);
        }
        output::text(&config::dump(&settings)?);
        return Ok(ExitCode::SUCCESS);
    }
    let chain = settings.chain.settle()?;
    let (watches, events) = watches(&settings.watch)?;
    let folder = settings.data.unwrap_or_else(|| DATA.into());
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let store = stencil_store::sqlite::open(folder.join(DATABASE)).await?;
    let chains: Arc<dyn Chains> = Arc::new(store.clone());
    let name = chain.name.clone();
    let follower = Follower::open(chain, chains.clone(), when::now_us).await?;
    keep_watches(chains.as_ref(), &name, &watches).await?;

    let stop = shutdown::on_signal()?;
    let (end, ended) = watch::channel(false);
    tokio::spawn({
        let (mut stop, end) = (stop, end.clone());
        async move {
            // The sender lives as long as the process.
            let _ = stop.wait_for(|stop| *stop).await;
            let _ = end.send(true);
        }
    });
    let printer = Printer {
        chains: chains.as_ref(),
        chain: &name,
        events: &events,
        format: args.kept.output,
    };
    printer.print().await?;
    let once = args.once;
    let followed = follower
        .run(ended, async |progress: &Progress| {
            printer.print().await?;
            if output::failure().is_some()
                || output::is_closed()
                || (once && *progress == Progress::UpToDate)
            {
                let _ = end.send(true);
            }
            Ok(())
        })
        .await;
    printer.print().await?;
    store.close().await;
    followed?;
    Ok(ExitCode::SUCCESS)
}

/// Watches what the settings say and no longer what they don't.
async fn keep_watches(chains: &dyn Chains, chain: &str, wanted: &[Watch]) -> anyhow::Result<()> {
    let (_, there) = chains.chain_watches(chain).await?;
    let ours = there
        .into_iter()
        .map(|watched| watched.watch)
        .filter(|watch| watch.owner == OWNER);
    let (kept, gone): (Vec<Watch>, Vec<Watch>) = ours.partition(|watch| wanted.contains(watch));
    chains.unwatch_chain(chain, &gone).await?;
    let new: Vec<Watch> = wanted
        .iter()
        .filter(|watch| !kept.contains(watch))
        .cloned()
        .collect();
    let from = chains.watch_chain(chain, &new).await?;
    if !new.is_empty() && from > 0 {
        note!("what is newly watched is looked for from block {from} on");
    }
    if wanted.is_empty() {
        note!("nothing is watched: --address names what to watch");
    }
    Ok(())
}

/// Prints entries, and keeps how far.
struct Printer<'a> {
    chains: &'a dyn Chains,
    chain: &'a str,
    events: &'a [Signature],
    format: Format,
}

impl Printer<'_> {
    async fn print(&self) -> Result<(), stencil_chain::Error> {
        let mut position = self.chains.chain_position(self.chain, READER).await?;
        loop {
            let entries = self
                .chains
                .chain_entries(self.chain, position, MAX_CHAIN_ENTRIES)
                .await?;
            let Some(last) = entries.last() else {
                return Ok(());
            };
            position = last.seq;
            for entry in &entries {
                match self.format {
                    Format::Json => say!("{}", entry::json_line(self.chain, self.events, entry)),
                    Format::Text => say!("{}", entry::text_line(self.events, entry)),
                }
            }
            // What could not be written is printed the next time.
            if output::is_closed() || output::failure().is_some() {
                return Ok(());
            }
            stencil_crashpoint::reach("chain.printed");
            self.chains
                .advance_chain_reader(self.chain, READER, position)
                .await?;
        }
    }
}
