//! `stencil tenant`: the tenants of a hub, for who runs it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::json;

use crate::api::{self, Client, Hub};
use crate::output::{self, Format, say};
use crate::user;

/// Makes, lists and erases the tenants of a hub.
///
/// It needs an operator's token, which `stencil hub add-operator` makes on the hub's machine. An
/// operator sees nothing of what a tenant has.
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
    /// Lists tenants, by id.
    List,
    /// Makes a tenant and prints the one-time link by which its first admin sets a password.
    Create {
        /// The tenant's id, for good.
        id: String,
        /// The name of its first user, an admin.
        #[arg(long, default_value = stencil_server::FIRST_USER)]
        admin: String,
    },
    /// Shows or sets what a tenant may spend on chains from the hub's accounts: gas for what payers
    /// have signed, refunds, transactions of workflows. Without a limit nothing is spent.
    ///
    /// A transaction counts as the most that it may cost (its gas at the chain's `max_fee_gwei`) until it is
    /// final, and as what it has cost from then on. Amounts with a point are in the coin or token: what may
    /// be spent, what is, what of it is not final, and what one settlement counts as. Where few of them fit at
    /// one time that is said.
    Limits {
        /// The tenant's id.
        id: String,
        /// The chain's name in the hub's settings; without it the limits of all chains are shown.
        #[arg(long)]
        chain: Option<String>,
        /// A token's contract (`0x…`); without it the chain's own coin, gas included. Without --most: only this
        /// token's limit is shown.
        #[arg(long, requires = "chain", value_name = "CONTRACT")]
        asset: Option<String>,
        /// At most so much, in base units (wei of the coin) …
        #[arg(long, requires = "chain")]
        most: Option<String>,
        /// … in any span of so many seconds.
        #[arg(long, default_value_t = 86_400, value_name = "SECONDS")]
        window: u32,
    },
    /// Erases a tenant and all that is its own, for good: devices, series, workflows, content,
    /// users, tokens.
    Delete {
        /// The tenant's id.
        id: String,
        /// The tenant's id once more: what is erased can't be had back.
        #[arg(long)]
        confirm: String,
    },
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    match args.command {
        Command::List => {
            let items = client.list("/api/v1/operator/tenants").await?;
            output::items(args.output, &items, &["id", "created_us"])?;
        }
        Command::Create { id, admin } => {
            let body = json!({ "id": id, "admin": admin });
            let made = client.post("/api/v1/operator/tenants", &body).await?;
            user::tell_link(args.output, &made)?;
        }
        Command::Limits {
            id,
            chain,
            asset,
            most,
            window,
        } => {
            let path = format!(
                "/api/v1/operator/tenants/{}/spend-limits",
                api::segment(&id)
            );
            if let (Some(chain), Some(most)) = (&chain, most) {
                let body = json!({
                    "chain": chain, "token": asset, "most": most, "window_s": window,
                });
                let body = ("application/json", body.to_string().into_bytes());
                client.call(Method::PUT, &path, Some(body)).await?;
            }
            let limits = client.get(&path).await?;
            let mut items = limits["items"].as_array().cloned().unwrap_or_default();
            items.retain(|item| is_asked(item, chain.as_deref(), asset.as_deref()));
            let shown = [
                "chain",
                "token",
                "most",
                "window_s",
                "most_amount",
                "used_amount",
                "open_amount",
                "settlement_amount",
                "at_once",
                "frees_us",
            ];
            output::items(args.output, &items, &shown)?;
            // JSON has it in the item.
            if args.output == Format::Text {
                let warnings = items.iter().filter_map(|item| item["warning"].as_str());
                for warning in warnings {
                    say!("look at this again: {}", output::escaped(warning));
                }
            }
        }
        Command::Delete { id, confirm } => {
            anyhow::ensure!(
                id == confirm,
                "nothing is erased: --confirm has to be {}, the tenant's id",
                output::escaped(&id)
            );
            let path = format!("/api/v1/operator/tenants/{}", api::segment(&id));
            client.call(Method::DELETE, &path, None).await?;
            match args.output {
                Format::Json => output::json(&json!({ "id": id, "erased": true }))?,
                Format::Text => say!("erased {}", output::escaped(&id)),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a limit is one of those that are to be shown.
fn is_asked(limit: &serde_json::Value, chain: Option<&str>, asset: Option<&str>) -> bool {
    let token = limit["token"].as_str();
    chain.is_none_or(|chain| limit["chain"] == chain)
        && asset.is_none_or(|asset| token.is_some_and(|token| token.eq_ignore_ascii_case(asset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_alone_shows_its_limits_and_sets_none() {
        let args = Args::try_parse_from(["tenant", "limits", "acme", "--chain", "base"]);
        let Ok(Command::Limits { chain, most, .. }) = args.map(|args| args.command) else {
            panic!("the chain alone is not taken");
        };
        assert_eq!((chain.as_deref(), most), (Some("base"), None));
        let coin = json!({ "chain": "base", "token": null });
        let token = json!({ "chain": "base", "token": "0xab" });
        let other = json!({ "chain": "local", "token": null });
        let shown = |chain, asset| [&coin, &token, &other].map(|it| is_asked(it, chain, asset));
        assert_eq!(shown(None, None), [true, true, true]);
        assert_eq!(shown(Some("base"), None), [true, true, false]);
        assert_eq!(shown(Some("base"), Some("0xAB")), [false, true, false]);
        // What sets a limit names its chain.
        assert!(Args::try_parse_from(["tenant", "limits", "acme", "--most", "1"]).is_err());
    }
}
