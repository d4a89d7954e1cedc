//! Deploys the contracts of `chain/contracts`, says beforehand what it costs, and shows afterwards
//! that the code which runs is the code that is committed.

use alloy_primitives::Address;

use crate::signer::Signer;
use crate::single::{self, Call, Endpoint, Options, Sent};

mod contract;
mod known;

pub use contract::Contract;
pub(crate) use known::known;

/// What a deployment will be and cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The transaction. The contract gives its account no power.
    pub transaction: single::Plan,
    /// Where the contract will be: it follows from account and nonce.
    pub address: Address,
}

/// A contract that was deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// Where it is.
    pub address: Address,
    /// By which transaction.
    pub sent: Sent,
}

/// Why a contract was not deployed, or is not known to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The transaction was not sent, or has failed.
    #[error(transparent)]
    Transaction(#[from] single::Error),
    /// It may be in a block yet.
    #[error("{why}: it would make {address}")]
    MayCome {
        /// Where the contract would be.
        address: Address,
        /// What is known of the transaction.
        why: Box<single::Error>,
    },
    /// A contract for dev chains, and a chain that is none.
    #[error(
        "{contract} is for dev chains, whose ids are {}: anybody mints it, and on chain {chain_id} somebody might \
         take it for money; nothing was sent",
        contract::DEV_CHAINS.map(|id| id.to_string()).join(" and ")
    )]
    NoDevChain {
        /// The contract.
        contract: &'static str,
        /// The chain.
        chain_id: u64,
    },
    /// What runs is not what was to be deployed.
    #[error(
        "the code at {address} is not that of the contract: use it for nothing, and this endpoint \
         neither"
    )]
    OtherCode {
        /// Where it is.
        address: Address,
    },
    /// The artifact in this binary is damaged.
    #[error("the artifact of {contract} can't be read: {why}")]
    Artifact {
        /// Which.
        contract: &'static str,
        /// Why.
        why: String,
    },
}

/// Deploys to one chain.
#[derive(Debug)]
pub struct Deployer {
    endpoint: Endpoint,
}

impl Deployer {
    /// Sends nothing yet.
    pub fn new(options: Options) -> Result<Self, Error> {
        let endpoint = Endpoint::new(options)?;
        Ok(Self { endpoint })
    }

    /// What it will be and cost, for this account.
    pub async fn plan(&self, contract: &Contract, account: Address) -> Result<Plan, Error> {
        let chain_id = self.endpoint.chain_id();
        if !contract.may_be_on(chain_id) {
            return Err(Error::NoDevChain {
                contract: contract.name(),
                chain_id,
            });
        }
        let call = Call::Create(contract.creation()?);
        let transaction = self.endpoint.plan(&call, account).await?;
        Ok(Plan {
            address: account.create(transaction.nonce),
            transaction,
        })
    }

    /// Does what the plan says, and waits until it is in a block.
    pub async fn deploy(
        &self,
        contract: &Contract,
        plan: &Plan,
        signer: &dyn Signer,
    ) -> Result<Deployed, Error> {
        let address = plan.address;
        let call = Call::Create(contract.creation()?);
        let sent = self.endpoint.send(&call, &plan.transaction, signer).await;
        let sent = sent.map_err(|why| match why.may_come() {
            true => Error::MayCome {
                address,
                why: Box::new(why),
            },
            false => Error::Transaction(why),
        })?;
        let runtime = contract.runtime(self.endpoint.chain_id(), address)?;
        if sent.made != Some(address) || self.endpoint.code(address, sent.block).await? != runtime {
            return Err(Error::OtherCode { address });
        }
        Ok(Deployed { address, sent })
    }
}
