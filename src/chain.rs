//! `stencil chain`: follows chains, deploys contracts to them, and keeps the keys for it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::output::Format;

mod deploy;
mod entry;
mod follow;
pub(crate) mod hub;
mod key;
mod list;
mod password;
mod resume;
pub(crate) mod sending;
mod status;

/// Follows chains, and deploys contracts to them: Ethereum, Polygon, Besu, and others that speak their JSON-RPC.
///
/// What is watched is kept with the block that it was seen in, is retracted when a reorganisation takes
/// that block away, and is called final when the chain's policy says so. A follower goes on where it
/// stood, whatever ended it.
#[derive(Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Deploy(Box<deploy::Deploy>),
    Follow(Box<follow::Follow>),
    Key(key::Key),
    List(list::List),
    Resume(resume::Resume),
    Status(status::Status),
}

/// Where followers keep what they know, and how to answer.
#[derive(clap::Args)]
struct Kept {
    /// The folder in which what is known of chains is kept; it is made when it is not there.
    /// [default: chain-data]
    #[arg(long)]
    data: Option<PathBuf>,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// The file within the folder.
const DATABASE: &str = "chain.db";
/// The folder.
const DATA: &str = "chain-data";

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Deploy(deploy) => Box::pin(deploy::run(*deploy)).await,
        Command::Follow(follow) => Box::pin(follow::run(*follow)).await,
        Command::Key(key) => key::run(&key),
        Command::List(list) => list::run(list).await,
        Command::Resume(resume) => resume::run(resume).await,
        Command::Status(status) => status::run(status).await,
    }
}
