//! `stencil chain deploy`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use stencil_chain::deploy::{Contract, Deployed, Deployer, Options, Plan};
use stencil_chain::signer::{Local, Signer};
use url::Url;

use super::password;
use crate::output::{self, Format, say};
use contract::{Arguments, Which};

mod contract;

/// Wei of a gwei.
const GWEI: u128 = 1_000_000_000;
/// How long one answer may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Deploys a contract of Stencil's, and says what it costs.
///
///   stencil chain deploy payments --payee 0x… --chain-id 137 --rpc https://… \
///       --keystore deployer.json --password-file deployer.password
///   stencil chain deploy escrow --chain-id 137 --rpc https://… --keystore … --password-file …
///   stencil chain deploy passport --administrator 0x… --name 'Acme devices' --symbol ACME \
///       --royalty 250 --royalty-to 0x… --chain-id 137 --rpc …
///
/// `payments` passes what is paid on to the payee, who can't be changed afterwards; `escrow` holds
/// money until a device has acted; `passport` says who owns which device, `access-right` who uses
/// one for how long; `market` sells both by listings that their owners have signed; `anchor` keeps
/// roots of data. Who deploys pays for the gas, and has no power over the contract but as
/// `--administrator`.
///
/// `--dry-run` sends nothing. Afterwards the code that runs is compared with the one in this
/// program. The contract is there for good when its block is final: wait for that before money is
/// sent there.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Deploy {
    /// Which contract.
    #[arg(value_enum)]
    contract: Which,
    #[command(flatten)]
    arguments: Arguments,
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

pub(super) async fn run(args: Deploy) -> anyhow::Result<ExitCode> {
    let contract = args.arguments.contract(args.contract)?;
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
    answer["arguments"] = contract::shown(contract);
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
