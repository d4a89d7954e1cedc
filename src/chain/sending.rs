//! How a command signs one transaction, sends it and says what came of it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use stencil_chain::plain;
use stencil_chain::signer::Local;
use stencil_chain::single::{Options, Plan, Sent};
use url::Url;

use super::password;
use crate::output::say;

/// Wei of a gwei.
const GWEI: u128 = 1_000_000_000;
/// How long one answer may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// To which chain, by which key, and for how much.
#[derive(clap::Args)]
pub(crate) struct Sending {
    /// An HTTP endpoint (JSON-RPC) of the chain.
    #[arg(long)]
    rpc: Url,
    /// Ask an http:// endpoint of another machine, too: whoever is on the way there can change what it
    /// answers, fees and nonces among it.
    #[arg(long)]
    allow_plain_rpc: bool,
    /// EIP-155 chain id, which the endpoint must have.
    #[arg(long)]
    pub(crate) chain_id: u64,
    /// The key that signs and pays for the gas: a keystore file (Web3 Secret Storage, version 3), as
    /// `stencil chain key new` makes it.
    #[arg(long)]
    keystore: PathBuf,
    /// A file whose first line is the keystore's password.
    #[arg(long)]
    password_file: PathBuf,
    /// The most that may be paid for a unit of gas, in gwei.
    #[arg(long, default_value_t = 100)]
    max_fee_gwei: u64,
    /// How long the transaction may take into a block, in seconds.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wait: u64,
    /// Say what it would cost, and send nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl Sending {
    /// # Errors
    /// The endpoint is on another machine and asked without TLS, and nobody has said that it may be.
    pub(crate) fn options(&self) -> anyhow::Result<Options> {
        if !self.allow_plain_rpc && plain::is_open(&self.rpc) {
            anyhow::bail!(
                "--rpc is an http:// address of another machine: whoever is on the way there could change what \
                 it answers. Give one that begins with https://; where that network is trusted so far, \
                 --allow-plain-rpc asks it all the same"
            );
        }
        Ok(Options {
            rpc: self.rpc.clone(),
            chain_id: self.chain_id,
            max_fee_wei: u128::from(self.max_fee_gwei) * GWEI,
            call_timeout: CALL_TIMEOUT,
            wait: Duration::from_secs(self.wait),
        })
    }

    /// Opens the keystore, which takes a second and 256 MiB.
    pub(crate) async fn signer(&self) -> anyhow::Result<Local> {
        let (keystore, password_file) = (self.keystore.clone(), self.password_file.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let password = password::read(&password_file)?;
            anyhow::Ok(Local::keystore(&keystore, &password)?)
        });
        opened.await?
    }

    /// What it will be, as JSON. Numbers that a program could round are strings, as everywhere for wei.
    pub(crate) fn planned(&self, plan: &Plan) -> Value {
        json!({
            "chain_id": self.chain_id,
            "account": plan.account.to_checksum(None),
            "nonce": plan.nonce,
            "gas_estimated": plan.gas_estimated,
            "gas_limit": plan.gas_limit,
            "max_fee_wei": plan.max_fee_wei.to_string(),
            "cost_at_most_wei": plan.cost_wei().to_string(),
        })
    }
}

/// What was sent, as JSON.
pub(crate) fn sent(sent: &Sent) -> Value {
    json!({
        "tx": sent.tx.to_string(),
        "block": sent.block,
        "block_hash": sent.block_hash.to_string(),
        "gas_used": sent.gas_used,
        "fee_wei": sent.fee_wei.to_string(),
    })
}

/// The same for people.
pub(crate) fn say_sent(sent: &Sent) {
    say!(
        "block {} ({}), transaction {}",
        sent.block,
        sent.block_hash,
        sent.tx
    );
    say!("{} gas, {} wei", sent.gas_used, sent.fee_wei);
}

/// An address of somebody who has its key.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub(crate) fn account(flag: &str, text: &str) -> anyhow::Result<[u8; 20]> {
    let address =
        stencil_chain::address(text).map_err(|why| anyhow::anyhow!("{flag} {text:?}: {why}"))?;
    if address == [0; 20] {
        anyhow::bail!("{flag} is the zero address: nobody has its key");
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_of_another_machine_is_asked_within_tls_or_where_that_is_said() {
        let of = |rpc: &str, allow_plain_rpc| {
            let sending = Sending {
                rpc: Url::parse(rpc).unwrap(),
                allow_plain_rpc,
                chain_id: 1,
                keystore: PathBuf::new(),
                password_file: PathBuf::new(),
                max_fee_gwei: 1,
                wait: 1,
                dry_run: true,
            };
            sending.options().err().map(|error| error.to_string())
        };
        let said = of("http://rpc.example/SECRET", false).unwrap();
        for part in ["--rpc", "https://", "--allow-plain-rpc"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("SECRET"), "{said}");
        assert_eq!(of("http://rpc.example", true), None);
        assert_eq!(of("http://127.0.0.1:8545", false), None);
        assert_eq!(of("https://rpc.example", false), None);
    }
}
