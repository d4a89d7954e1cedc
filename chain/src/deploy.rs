//! Deploys the contracts of `chain/contracts`, says beforehand what it costs, and shows afterwards
//! that the code which runs is the code that is committed.
//!
//! One endpoint is asked: nothing is believed for longer than this one transaction, and its outcome is
//! compared with what was asked for.

use std::time::Duration;

use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use url::Url;

use crate::signer::{self, Signer};

mod contract;
mod node;

pub use contract::Contract;
use node::{Node, Receipt};

/// How much more gas than estimated is allowed for, in percent: what the code costs does not depend on
/// the chain's state, and what is not used is not paid.
const GAS_RESERVE_PERCENT: u64 = 10;

/// How often the receipt is asked for.
const POLL: Duration = Duration::from_millis(500);

/// What it is done with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The endpoint (HTTP).
    pub rpc: Url,
    /// EIP-155 chain id, which the endpoint must have.
    pub chain_id: u64,
    /// The most that may be paid for a unit of gas, in wei.
    pub max_fee_wei: u128,
    /// How long one answer may take.
    pub call_timeout: Duration,
    /// How long the transaction may take into a block.
    pub wait: Duration,
}

/// What a deployment will be and cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Who pays for it. The contract gives this account no power.
    pub account: Address,
    /// The account's next nonce.
    pub nonce: u64,
    /// Where the contract will be: it follows from account and nonce.
    pub address: Address,
    /// The gas that the endpoint estimates.
    pub gas_estimated: u64,
    /// The gas that is allowed for.
    pub gas_limit: u64,
    /// `maxFeePerGas`, in wei.
    pub max_fee_wei: u128,
    /// `maxPriorityFeePerGas`, in wei.
    pub priority_fee_wei: u128,
}

impl Plan {
    /// What it may cost at most, in wei.
    pub fn cost_wei(&self) -> U256 {
        U256::from(self.gas_limit) * U256::from(self.max_fee_wei)
    }
}

/// A contract that was deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// Where it is.
    pub address: Address,
    /// By which transaction.
    pub tx: B256,
    /// In which block. It is final when the chain's policy says so, not before.
    pub block: u64,
    /// The block's hash.
    pub block_hash: B256,
    /// The gas that it took.
    pub gas_used: u64,
    /// What was paid for it, in wei.
    pub fee_wei: U256,
}

/// Why a contract was not deployed, or is not known to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint gave no answer that can be used.
    #[error("{method}: {why}")]
    Rpc {
        /// What was asked.
        method: &'static str,
        /// What it said.
        why: String,
    },
    /// The client could not be made.
    #[error(transparent)]
    Client(#[from] crate::Error),
    /// The endpoint is of another chain.
    #[error("the endpoint is of chain {found}, not {expected}: nothing was sent")]
    WrongChain {
        /// The chain id that was said.
        expected: u64,
        /// The one that it has.
        found: u64,
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
    /// Transactions of the account are on their way, one of which may be this deployment.
    #[error(
        "{account} has {waiting} transactions that are in no block yet: wait for them, since a \
         deployment may be one of them; nothing was sent"
    )]
    Waiting {
        /// The account.
        account: Address,
        /// How many.
        waiting: u64,
    },
    /// Gas costs more than may be paid.
    #[error(
        "a unit of gas costs {needed_wei} wei now, and at most {most_wei} may be paid: wait, or \
         allow more; nothing was sent"
    )]
    Fee {
        /// Base fee and tip.
        needed_wei: u128,
        /// What may be paid.
        most_wei: u128,
    },
    /// The account has too little.
    #[error("{account} has {has} wei, and it may cost {needs}: nothing was sent")]
    Balance {
        /// The account.
        account: Address,
        /// What it has.
        has: U256,
        /// What it may cost.
        needs: U256,
    },
    /// Whether the endpoint took the transaction is unknown.
    #[error(
        "whether transaction {tx} was taken is unknown ({why}): it would make {address}; look for it \
         before you deploy again"
    )]
    Unknown {
        /// The transaction.
        tx: B256,
        /// Where the contract would be.
        address: Address,
        /// What the endpoint said.
        why: String,
    },
    /// It was taken, and is in no block yet.
    #[error(
        "transaction {tx} is in no block after {waited_s} s: it may still come, and would make \
         {address}; look for it before you deploy again"
    )]
    Pending {
        /// The transaction.
        tx: B256,
        /// Where the contract would be.
        address: Address,
        /// How long it was waited for, in seconds.
        waited_s: u64,
    },
    /// It is in a block, and failed there.
    #[error("transaction {tx} failed in block {block}: there is no contract, and the gas is paid")]
    Failed {
        /// The transaction.
        tx: B256,
        /// The block.
        block: u64,
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
    /// The signer.
    #[error(transparent)]
    Signer(#[from] signer::Error),
}

/// Deploys to one chain.
#[derive(Debug)]
pub struct Deployer {
    node: Node,
    options: Options,
}

impl Deployer {
    /// Sends nothing yet.
    pub fn new(options: Options) -> Result<Self, Error> {
        let node = Node::new(&options.rpc, options.call_timeout)?;
        Ok(Self { node, options })
    }

    /// What it will be and cost, for this account.
    pub async fn plan(&self, contract: &Contract, account: Address) -> Result<Plan, Error> {
        let chain_id = self.options.chain_id;
        if !contract.may_be_on(chain_id) {
            return Err(Error::NoDevChain {
                contract: contract.name(),
                chain_id,
            });
        }
        self.check_chain().await?;
        let nonce = self.node.nonce(account, "latest").await?;
        let waiting = self.node.nonce(account, "pending").await?;
        if waiting > nonce {
            return Err(Error::Waiting {
                account,
                waiting: waiting - nonce,
            });
        }
        let (base, tip) = self.node.fees().await?;
        let most_wei = self.options.max_fee_wei;
        let needed_wei = base.saturating_add(tip);
        if needed_wei > most_wei {
            return Err(Error::Fee {
                needed_wei,
                most_wei,
            });
        }
        let creation = contract.creation()?;
        let gas_estimated = self.node.estimate(account, &creation).await?;
        let plan = Plan {
            account,
            nonce,
            address: account.create(nonce),
            gas_estimated,
            gas_limit: gas_estimated
                .saturating_add(gas_estimated.saturating_mul(GAS_RESERVE_PERCENT) / 100),
            // The base fee may double until it is in a block.
            max_fee_wei: base.saturating_mul(2).saturating_add(tip).min(most_wei),
            priority_fee_wei: tip,
        };
        let has = self.node.balance(account).await?;
        let needs = plan.cost_wei();
        if has < needs {
            return Err(Error::Balance {
                account,
                has,
                needs,
            });
        }
        Ok(plan)
    }

    /// Does what the plan says, and waits until it is in a block.
    pub async fn deploy(
        &self,
        contract: &Contract,
        plan: &Plan,
        signer: &dyn Signer,
    ) -> Result<Deployed, Error> {
        let signed = signer
            .sign(&TxEip1559 {
                chain_id: self.options.chain_id,
                nonce: plan.nonce,
                gas_limit: plan.gas_limit,
                max_fee_per_gas: plan.max_fee_wei,
                max_priority_fee_per_gas: plan.priority_fee_wei,
                to: TxKind::Create,
                input: contract.creation()?,
                ..TxEip1559::default()
            })
            .await?;
        let (tx, address) = (B256::from(signed.tx), plan.address);
        // Behind an address may be another machine than a moment ago.
        self.check_chain().await?;
        if let Err(error) = self.node.send(&Bytes::from(signed.raw)).await {
            return Err(Error::Unknown {
                tx,
                address,
                why: error.to_string(),
            });
        }
        let receipt = self.receipt(tx, address).await?;
        let block = receipt.block_number.to();
        if receipt.status.is_zero() {
            return Err(Error::Failed { tx, block });
        }
        if receipt.contract_address != Some(address)
            || self.node.code(address, block).await?
                != contract.runtime(self.options.chain_id, address)?
        {
            return Err(Error::OtherCode { address });
        }
        let price: U256 = receipt.effective_gas_price.to();
        Ok(Deployed {
            address,
            tx,
            block,
            block_hash: receipt.block_hash,
            gas_used: receipt.gas_used.to(),
            fee_wei: price * receipt.gas_used.to::<U256>(),
        })
    }

    /// Waits for the receipt. An answer that does not come says nothing about the transaction.
    async fn receipt(&self, tx: B256, address: Address) -> Result<Receipt, Error> {
        let asked = async {
            loop {
                match self.node.receipt(tx).await {
                    Ok(Some(receipt)) => return receipt,
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%error, "no answer about the transaction"),
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(self.options.wait, asked)
            .await
            .map_err(|_| Error::Pending {
                tx,
                address,
                waited_s: self.options.wait.as_secs(),
            })
    }

    async fn check_chain(&self) -> Result<(), Error> {
        let expected = self.options.chain_id;
        let found = self.node.chain_id().await?;
        if found != expected {
            return Err(Error::WrongChain { expected, found });
        }
        Ok(())
    }
}
