//! `stencil chain deploy`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};
use stencil_chain::deploy::{Contract, Deployed, Deployer, Options, Plan};
use stencil_chain::signer::{Local, Signer};
use url::Url;

use super::password;
use crate::output::{self, Format, say};

/// Wei of a gwei.
const GWEI: u128 = 1_000_000_000;
/// How long one answer may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Deploys a contract of Stencil's, and says what it costs.
///
///   stencil chain deploy payments --payee 0x… --chain-id 137 --rpc https://… \
///       --keystore deployer.json --password-file deployer.password
///   stencil chain deploy escrow --chain-id 137 --rpc https://… --keystore … --password-file …
///
/// `payments` passes what is paid on to the payee, who can't be changed afterwards; `escrow` holds money
/// until a device has acted. Who deploys pays for the gas, and has no power over the contract.
///
/// `--dry-run` sends nothing. Afterwards the code that runs is compared with the one in this program.
/// The contract is there for good when its block is final: wait for that before money is sent there.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Deploy {
    /// Which contract.
    #[arg(value_enum)]
    contract: Which,
    /// Who gets what is paid: an address that the tenant has the key of (`payments` only).
    #[arg(long)]
    payee: Option<String>,
    /// An HTTP endpoint (JSON-RPC) of the chain.
    #[arg(long)]
    rpc: Url,
    /// EIP-155 chain id, which the endpoint must have.
    #[arg(long)]
    chain_id: u64,
    /// The key that pays for the gas: a keystore file (Web3 Secret Storage, version 3).
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
    dry_run: bool,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Which {
    /// Payments of invoices, passed on to one payee.
    Payments,
    /// Money that is held until a device has acted.
    Escrow,
}

impl Deploy {
    fn contract(&self) -> anyhow::Result<Contract> {
        match (self.contract, &self.payee) {
            (Which::Payments, Some(payee)) => {
                let address = stencil_chain::address(payee)
                    .map_err(|why| anyhow::anyhow!("--payee {payee:?}: {why}"))?;
                if address == [0; 20] {
                    bail!("--payee is the zero address: nobody has its key");
                }
                Ok(Contract::Payments {
                    payee: address.into(),
                })
            }
            (Which::Payments, None) => bail!("--payee says who gets what is paid: it is missing"),
            (Which::Escrow, None) => Ok(Contract::Escrow),
            (Which::Escrow, Some(_)) => {
                bail!("--payee is for `payments`: in the escrow each hold names its own")
            }
        }
    }
}

pub(super) async fn run(args: Deploy) -> anyhow::Result<ExitCode> {
    let contract = args.contract()?;
    let (keystore, password) = (args.keystore.clone(), args.password_file.clone());
    // It takes a second and 256 MiB.
    let signer = tokio::task::spawn_blocking(move || unlock(&keystore, &password)).await??;
    let deployer = Deployer::new(Options {
        rpc: args.rpc.clone(),
        chain_id: args.chain_id,
        max_fee_wei: u128::from(args.max_fee_gwei) * GWEI,
        call_timeout: CALL_TIMEOUT,
        wait: Duration::from_secs(args.wait),
    })?;
    let plan = deployer.plan(&contract, signer.address()).await?;
    let deployed = if args.dry_run {
        None
    } else {
        Some(Box::pin(deployer.deploy(&contract, &plan, &signer)).await?)
    };
    report(&args, &contract, &plan, deployed.as_ref())?;
    Ok(ExitCode::SUCCESS)
}

fn unlock(keystore: &Path, password_file: &Path) -> anyhow::Result<Local> {
    let password = password::read(password_file)?;
    Ok(Local::keystore(keystore, &password)?)
}

/// Numbers that a program could round are strings, as everywhere for wei.
fn report(
    args: &Deploy,
    contract: &Contract,
    plan: &Plan,
    deployed: Option<&Deployed>,
) -> anyhow::Result<()> {
    let mut answer = json!({
        "contract": contract.name(),
        "chain_id": args.chain_id,
        "account": plan.account.to_checksum(None),
        "nonce": plan.nonce,
        "address": plan.address.to_checksum(None),
        "gas_estimated": plan.gas_estimated,
        "gas_limit": plan.gas_limit,
        "max_fee_wei": plan.max_fee_wei.to_string(),
        "cost_at_most_wei": plan.cost_wei().to_string(),
        "deployed": Value::Null,
    });
    if let Contract::Payments { payee } = contract {
        answer["payee"] = json!(payee.to_checksum(None));
    }
    if let Some(deployed) = deployed {
        answer["deployed"] = json!({
            "tx": deployed.tx.to_string(),
            "block": deployed.block,
            "block_hash": deployed.block_hash.to_string(),
            "gas_used": deployed.gas_used,
            "fee_wei": deployed.fee_wei.to_string(),
        });
    }
    if args.output == Format::Json {
        return output::json(&answer);
    }
    let name = contract.name();
    match deployed {
        None => {
            say!(
                "{name} would be at {} and take about {} gas: at most {} wei",
                plan.address.to_checksum(None),
                plan.gas_estimated,
                plan.cost_wei()
            );
            say!("nothing was sent");
        }
        Some(deployed) => {
            say!("{name} is at {}", deployed.address.to_checksum(None));
            say!(
                "block {} ({}), transaction {}",
                deployed.block,
                deployed.block_hash,
                deployed.tx
            );
            say!("{} gas, {} wei", deployed.gas_used, deployed.fee_wei);
            say!("the code that runs is the one in this program; use it when the block is final");
        }
    }
    Ok(())
}
