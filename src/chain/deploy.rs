//! `stencil chain deploy`.

use std::process::ExitCode;

use serde_json::{Value, json};
use stencil_chain::deploy::{Contract, Deployed, Deployer, Plan};
use stencil_chain::signer::Signer as _;

use super::sending::{self, Sending};
use crate::output::{self, Format, say};
use contract::{Arguments, Which};

mod contract;

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
    #[command(flatten)]
    sending: Sending,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

pub(super) async fn run(args: Deploy) -> anyhow::Result<ExitCode> {
    let contract = args.arguments.contract(args.contract)?;
    let signer = args.sending.signer().await?;
    let deployer = Deployer::new(args.sending.options()?)?;
    let plan = deployer.plan(&contract, signer.address()).await?;
    let deployed = if args.sending.dry_run {
        None
    } else {
        Some(Box::pin(deployer.deploy(&contract, &plan, &signer)).await?)
    };
    report(&args, &contract, &plan, deployed.as_ref())?;
    Ok(ExitCode::SUCCESS)
}

fn report(
    args: &Deploy,
    contract: &Contract,
    plan: &Plan,
    deployed: Option<&Deployed>,
) -> anyhow::Result<()> {
    let mut answer = args.sending.planned(&plan.transaction);
    answer["contract"] = json!(contract.name());
    answer["address"] = json!(plan.address.to_checksum(None));
    answer["deployed"] = Value::Null;
    answer["arguments"] = contract::shown(contract);
    if let Contract::Payments { payee } = contract {
        answer["payee"] = json!(payee.to_checksum(None));
    }
    if let Some(deployed) = deployed {
        answer["deployed"] = sending::sent(&deployed.sent);
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
                plan.transaction.gas_estimated,
                plan.transaction.cost_wei()
            );
            say!("nothing was sent");
        }
        Some(deployed) => {
            say!("{name} is at {}", deployed.address.to_checksum(None));
            sending::say_sent(&deployed.sent);
            say!("the code that runs is the one in this program; use it when the block is final");
        }
    }
    Ok(())
}
