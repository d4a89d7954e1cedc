//! `stencil sim chain`: a dev chain as a process.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use rand_core::Rng as _;
use serde::Serialize;
use stencil_crypto::rng;
use stencil_devchain::{DevChain, Mining, Options};
use tokio::sync::watch;

use crate::output::{self, Format, note, say};

/// A chain of its own, for trying things out: blocks of real EVM transactions, an Ethereum RPC.
///
/// It starts at once, with funded accounts, and forgets everything at its end. Its RPC is what
/// wallets, viem, ethers and alloy speak, over HTTP and WebSocket at the same address, and it takes
/// the methods with which tests drive anvil: evm_mine, evm_snapshot, evm_increaseTime, anvil_reorg
/// (other blocks instead of the newest ones), anvil_setBalance and their like.
///
/// A DEV CHAIN ONLY. Whoever reaches its address owns it, and its keys follow from its seed, which
/// is printed: send nothing there that is worth anything, and never use its keys elsewhere. It
/// listens on 127.0.0.1 only.
///
/// With --control there is a second address, which also takes stencil_setFaults [port, {…}]: the RPC
/// then lags, lies or drops as it is told. stencil_endpoints shows what can be set.
///
/// Examples:
///
///     stencil sim chain
///
///     stencil sim chain --port 8545 --block-time 2 --safe 4 --finalized 8
///
///     curl http://127.0.0.1:8545 -H content-type:application/json \
///       -d '{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}'
#[derive(Parser)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Port of the RPC; 0 takes one that is free.
    #[arg(long, default_value_t = 8545)]
    port: u16,
    /// More RPC ports of the same chain, e.g. for a follower that compares two.
    #[arg(long, value_name = "PORT")]
    also: Vec<u16>,
    /// Port of the control RPC (stencil_setFaults and others); none without it.
    #[arg(long, value_name = "PORT")]
    control: Option<u16>,
    /// Seconds from block to block; without it, a block as soon as there is a transaction.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    block_time: Option<u64>,
    /// Blocks only when evm_mine asks for them.
    #[arg(long, conflicts_with = "block_time")]
    no_mining: bool,
    /// Accounts with coins.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    accounts: u32,
    /// Coins of each.
    #[arg(long, value_name = "COINS", default_value_t = 10_000)]
    balance: u32,
    /// What keys and blocks follow from: the same seed has the same keys. Drawn without it.
    #[arg(long)]
    seed: Option<u64>,
    /// EIP-155 chain id.
    #[arg(long, default_value_t = 31_337, value_parser = clap::value_parser!(u64).range(1..=u64::from(u32::MAX)))]
    chain_id: u64,
    /// Blocks that `safe` is behind the newest.
    #[arg(long, value_name = "BLOCKS", default_value_t = 32)]
    safe: u64,
    /// Blocks that `finalized` is behind the newest.
    #[arg(long, value_name = "BLOCKS", default_value_t = 64)]
    finalized: u64,
    /// A web page's origin that browsers let call the chain, e.g. http://localhost:3000; * for all.
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// How to tell addresses and keys.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Serialize)]
struct Told {
    rpc: Vec<String>,
    ws: Vec<String>,
    control: Option<String>,
    chain_id: u64,
    seed: u64,
    accounts: Vec<ToldAccount>,
}

#[derive(Serialize)]
struct ToldAccount {
    address: String,
    key: String,
}

/// Runs it until it is to stop.
pub(super) async fn run(args: Args, mut stop: watch::Receiver<bool>) -> anyhow::Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(|| rng::Os.next_u64());
    let mining = match (args.block_time, args.no_mining) {
        (Some(seconds), _) => Mining::Interval(Duration::from_secs(seconds)),
        (None, true) => Mining::Manual,
        (None, false) => Mining::Automine,
    };
    let chain = DevChain::start(Options {
        chain_id: args.chain_id,
        accounts: args.accounts,
        balance_wei: u128::from(args.balance) * 10_u128.pow(18),
        seed,
        mining,
        safe_depth: args.safe,
        finalized_depth: args.finalized,
        allow_origins: args.allow_origin.clone(),
        ..Options::default()
    });
    let mut endpoints = Vec::new();
    for port in std::iter::once(args.port).chain(args.also.iter().copied()) {
        endpoints.push(
            chain
                .listen(port)
                .await
                .context("the RPC can't be opened (--port 0 takes a port that is free)")?,
        );
    }
    let control = match args.control {
        Some(port) => Some(chain.control(port).await?),
        None => None,
    };
    let told = Told {
        rpc: endpoints.iter().map(|endpoint| endpoint.url()).collect(),
        ws: endpoints.iter().map(|endpoint| endpoint.ws_url()).collect(),
        control: control.as_ref().map(|control| control.url()),
        chain_id: args.chain_id,
        seed,
        accounts: chain
            .accounts()
            .iter()
            .map(|account| ToldAccount {
                address: account.address.to_string(),
                key: account.key.to_string(),
            })
            .collect(),
    };
    tell(&told, args.output)?;
    // An error is an end too: whoever could stop it is gone.
    let _ = stop.wait_for(|stop| *stop).await;
    note!("the chain ends at block {}", chain.head().number);
    Ok(ExitCode::SUCCESS)
}

fn tell(told: &Told, format: Format) -> anyhow::Result<()> {
    note!(
        "A DEV CHAIN ONLY: everybody on this machine can take what is on it, and who knows its seed has its keys."
    );
    if format == Format::Json {
        // One line, as of all that serve: whoever starts it reads that, and lets it run.
        say!("{}", serde_json::to_string(told)?);
        return Ok(());
    }
    say!("chain id   {}", told.chain_id);
    say!("seed       {}", told.seed);
    for (rpc, ws) in told.rpc.iter().zip(&told.ws) {
        say!("rpc        {rpc} and {ws}");
    }
    if let Some(control) = &told.control {
        say!("control    {control}");
    }
    say!("");
    let head = vec!["account".to_owned(), "key, for this chain only".to_owned()];
    let rows = told
        .accounts
        .iter()
        .map(|account| vec![account.address.clone(), account.key.clone()]);
    output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    Ok(())
}
