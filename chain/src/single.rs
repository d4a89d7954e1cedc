//! Single transactions, of somebody who waits for them: planned, signed, sent, and waited for. What a hub sends by
//! itself goes by [`sender`](crate::sender), which notes each before it leaves.
//!
//! One endpoint is asked: nothing is believed for longer than this one transaction, and its outcome is
//! compared with what was asked for.

use std::time::Duration;

use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, B256, Bytes, Log, TxKind, U256};
use url::Url;

use crate::rpc::Revert;
use crate::signer::{self, Signer};

mod node;

use node::{Node, Receipt};

/// How much more gas than estimated is allowed for, in percent: it may become a little more until the transaction
/// is in a block, and what is not used is not paid.
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

/// What a transaction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Makes a contract, by this code.
    Create(Bytes),
    /// Calls the contract at this address, with these bytes.
    To(Address, Bytes),
}

impl Call {
    fn parts(&self) -> (Option<Address>, &Bytes) {
        match self {
            Self::Create(code) => (None, code),
            Self::To(contract, input) => (Some(*contract), input),
        }
    }
}

/// What a transaction will be and cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Who sends it and pays for it.
    pub account: Address,
    /// The account's next nonce.
    pub nonce: u64,
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

/// A transaction that is in a block, and did what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its hash.
    pub tx: B256,
    /// In which block. It is final when the chain's policy says so, not before.
    pub block: u64,
    /// The block's hash.
    pub block_hash: B256,
    /// The gas that it took.
    pub gas_used: u64,
    /// What was paid for it, in wei.
    pub fee_wei: U256,
    /// What contracts have said in it.
    pub logs: Vec<Log>,
    /// The contract that it has made.
    pub(crate) made: Option<Address>,
}

/// Why a transaction was not sent, or is not known to be in a block.
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
    /// There is nothing to call.
    #[error(
        "there is no contract at {0} on this chain: is it the address, and the chain? Nothing was sent"
    )]
    NoContract(Address),
    /// The contract would revert.
    #[error("the contract refuses it: {0}; nothing was sent")]
    Reverts(Revert),
    /// Transactions of the account are on their way, one of which may be this one.
    #[error(
        "{account} has {waiting} transactions that are in no block yet: wait for them, since this one may be among \
         them already; nothing was sent"
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
        "whether transaction {tx} was taken is unknown ({why}): look for it before you send it again"
    )]
    Unknown {
        /// The transaction.
        tx: B256,
        /// What the endpoint said.
        why: String,
    },
    /// It was taken, and is in no block yet.
    #[error(
        "transaction {tx} is in no block after {waited_s} s: it may still come; look for it before you send it again"
    )]
    Pending {
        /// The transaction.
        tx: B256,
        /// How long it was waited for, in seconds.
        waited_s: u64,
    },
    /// It is in a block, and failed there.
    #[error("transaction {tx} failed in block {block}: it has done nothing, and the gas is paid")]
    Failed {
        /// The transaction.
        tx: B256,
        /// The block.
        block: u64,
    },
    /// The signer.
    #[error(transparent)]
    Signer(#[from] signer::Error),
}

impl Error {
    /// Whether the transaction may be in a block yet.
    pub fn may_come(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Pending { .. })
    }
}

/// The endpoint by which they go to one chain.
#[derive(Debug)]
pub struct Endpoint {
    node: Node,
    options: Options,
}

impl Endpoint {
    /// Asks nothing yet.
    pub fn new(options: Options) -> Result<Self, Error> {
        let node = Node::new(&options.rpc, options.call_timeout)?;
        Ok(Self { node, options })
    }

    /// EIP-155 chain id.
    pub(crate) fn chain_id(&self) -> u64 {
        self.options.chain_id
    }

    /// The code at an address, as of a block.
    pub(crate) async fn code(&self, address: Address, block: u64) -> Result<Bytes, Error> {
        self.node.code(address, &format!("{block:#x}")).await
    }

    /// What the call will be and cost, for this account. What the contract would refuse is refused here.
    pub async fn plan(&self, call: &Call, account: Address) -> Result<Plan, Error> {
        self.check_chain().await?;
        let (to, input) = call.parts();
        // First, as the reason says more than that the account has no coins.
        if let Some(contract) = to {
            if self.node.code(contract, "latest").await?.is_empty() {
                return Err(Error::NoContract(contract));
            }
            let tried = self.node.attempt(account, contract, input).await?;
            tried.map_err(Error::Reverts)?;
        }
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
        let gas_estimated = self.node.estimate(account, to, input).await?;
        let plan = Plan {
            account,
            nonce,
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
    pub async fn send(&self, call: &Call, plan: &Plan, signer: &dyn Signer) -> Result<Sent, Error> {
        let (to, input) = call.parts();
        let signed = signer
            .sign(&TxEip1559 {
                chain_id: self.options.chain_id,
                nonce: plan.nonce,
                gas_limit: plan.gas_limit,
                max_fee_per_gas: plan.max_fee_wei,
                max_priority_fee_per_gas: plan.priority_fee_wei,
                to: to.map_or(TxKind::Create, TxKind::Call),
                input: input.clone(),
                ..TxEip1559::default()
            })
            .await?;
        let tx = B256::from(signed.tx);
        // Behind an address may be another machine than a moment ago.
        self.check_chain().await?;
        if let Err(error) = self.node.send(&Bytes::from(signed.raw)).await {
            return Err(Error::Unknown {
                tx,
                why: error.to_string(),
            });
        }
        let receipt = self.receipt(tx).await?;
        let block = receipt.block_number.to();
        if receipt.status.is_zero() {
            return Err(Error::Failed { tx, block });
        }
        let price: U256 = receipt.effective_gas_price.to();
        Ok(Sent {
            tx,
            block,
            block_hash: receipt.block_hash,
            gas_used: receipt.gas_used.to(),
            fee_wei: price * receipt.gas_used.to::<U256>(),
            logs: receipt.logs,
            made: receipt.contract_address,
        })
    }

    /// Waits for the receipt. An answer that does not come says nothing about the transaction.
    async fn receipt(&self, tx: B256) -> Result<Receipt, Error> {
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
