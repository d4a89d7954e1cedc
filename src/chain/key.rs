//! `stencil chain key`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use stencil_chain::signer::{self, Cost, Local, Signer as _};

use super::password;
use crate::output::{self, Format, say};

/// Makes and checks keystore files: the keys of accounts, encrypted with a password.
///
///   stencil chain key new deployer.json --password-file deployer.password
///   stencil chain key check deployer.json --password-file deployer.password
///
/// The format is Web3 Secret Storage, version 3, which geth and Foundry read, too. What it costs to
/// guess a password is what geth asks for: 256 MiB of memory and about a second a try. Who loses
/// file or password has lost the account.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Key {
    /// How to answer.
    #[arg(long, value_enum, default_value = "text", global = true)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a new key and its file, which only its owner may read, and prints the account's address.
    New(File),
    /// Opens a file with its password, and prints the account's address.
    Check(File),
}

#[derive(clap::Args)]
struct File {
    /// A file whose first line is the keystore's password.
    #[arg(long)]
    password_file: PathBuf,
    /// The keystore file. `new` never overwrites one.
    file: PathBuf,
}

pub(super) fn run(args: &Key) -> anyhow::Result<ExitCode> {
    let address = match &args.command {
        Command::New(file) => {
            let password = password::read(&file.password_file)?;
            signer::create(&file.file, &password, Cost::Standard)?
        }
        Command::Check(file) => {
            let password = password::read(&file.password_file)?;
            Local::keystore(&file.file, &password)?.address()
        }
    };
    let address = address.to_checksum(None);
    match args.output {
        Format::Json => output::json(&json!({ "address": address }))?,
        Format::Text => say!("{address}"),
    }
    Ok(ExitCode::SUCCESS)
}
