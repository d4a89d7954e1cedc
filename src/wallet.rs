//! `stencil wallet`: the wallets that have a role in a tenant.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use stencil_store::Role;

use crate::api::{Client, Hub};
use crate::output::{self, Format, say};
use crate::user::role;

/// Gives wallets a role in the tenant, lists them, and takes roles back.
///
/// Who holds the key of an account signs in with it (EIP-4361), on the sign-in page of a hub that
/// follows a chain or over the API, and has no password. All of this needs an admin's token.
#[derive(Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    hub: Hub,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text", global = true)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists wallets.
    List,
    /// Gives a wallet a role, or another one; who is signed in with it signs in again if it is another.
    Grant {
        /// The account: 0x and 40 hexadecimal digits.
        address: String,
        /// What it may do.
        #[arg(long, default_value = "viewer", value_parser = role)]
        role: Role,
        /// Of a contract wallet: the EIP-155 id of the chain on which its contract is asked. Without it what
        /// it was; an account that had none signs by its own key. To go back to that, revoke the role first.
        #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
        chain_id: Option<u64>,
        /// What it is called in lists.
        #[arg(long)]
        name: Option<String>,
    },
    /// Takes a wallet's role back: it is signed out at once.
    Revoke {
        /// The account: 0x and 40 hexadecimal digits.
        address: String,
    },
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    match args.command {
        Command::List => {
            let items = client.list("/api/v1/wallets").await?;
            let columns = ["address", "role", "chain_id", "name", "signed_in_us"];
            output::items(args.output, &items, &columns)?;
        }
        Command::Grant {
            address,
            role,
            chain_id,
            name,
        } => {
            check(&address)?;
            let mut body = json!({ "address": address, "role": role });
            if let Some(chain_id) = chain_id {
                body["chain_id"] = chain_id.into();
            }
            if let Some(name) = name {
                body["name"] = name.into();
            }
            let granted = client.post("/api/v1/wallets", &body).await?;
            let text = format!(
                "{} is {}",
                granted["address"].as_str().unwrap_or_default(),
                role.as_str()
            );
            tell(args.output, &granted, &text)?;
        }
        Command::Revoke { address } => {
            check(&address)?;
            let path = format!("/api/v1/wallets/{address}");
            client.call(Method::DELETE, &path, None).await?;
            let revoked = json!({ "address": address, "revoked": true });
            tell(args.output, &revoked, &format!("{address} has no role"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is no address asks for nothing else.
pub(crate) fn check(address: &str) -> anyhow::Result<()> {
    let digits = address.strip_prefix("0x").unwrap_or_default();
    if digits.len() != 40 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!(
            "{} is no address, which is 0x and 40 hexadecimal digits",
            output::escaped(address)
        );
    }
    Ok(())
}

fn tell(format: Format, value: &Value, text: &str) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(value),
        Format::Text => {
            say!("{}", output::escaped(text));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_asked_for() {
        check("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed").unwrap();
        for wrong in [
            "",
            "0x12",
            "../tokens",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe?",
        ] {
            let error = check(wrong).unwrap_err().to_string();
            assert!(error.contains("40 hexadecimal digits"), "{error}");
        }
    }
}
