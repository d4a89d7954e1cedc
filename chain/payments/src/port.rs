//! What the hub asks of a chain: the port behind which endpoints, signers and alloy are.
//!
//! What a chain says comes by another way, as entries of its numbered stream in the store
//! (*observed*, *retracted*, *final*), which [`Chain::run`] writes.

use std::sync::Arc;

pub use alloy_primitives::{Address, B256, Bytes};
use async_trait::async_trait;
use serde_json::Value;
use stencil_protocol::id::TenantId;

use crate::eip712::Domain;
use crate::invoice::Id;
use crate::money::{Amount, Token};

/// A token that payments are taken in, as the operator has set it and the chain has confirmed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownToken {
    /// Contract, decimals, symbol.
    pub token: Token,
    /// Its EIP-712 domain; `None`: it takes no EIP-3009 authorisations.
    pub domain: Option<Domain>,
}

/// What a call of a contract gave, said alike by as many endpoints as the chain's settings ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// The bytes that it returned.
    Returned(Bytes),
    /// It was reverted, for this reason as far as it is known.
    Reverted(String),
}

/// What can't be known now: it is neither so nor otherwise, and may be asked again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unknown(pub String);

/// A transaction that shall be sent once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Whose spending it is: the limits are the tenant's, gas included.
    pub tenant: TenantId,
    /// Names it within the tenant: the same key is sent once, however often it is ordered.
    pub key: String,
    /// Who is called or paid.
    pub to: Address,
    /// Native coin that goes along, wei.
    pub value: Amount,
    /// Calldata.
    pub data: Bytes,
    /// The most gas.
    pub gas: u64,
    /// Which token of the hub's account it moves and how much, base units: for the tenant's limit.
    pub moves: Option<(Address, Amount)>,
    /// What a payer has signed, where it brings that to the chain.
    pub brings: Option<Brings>,
}

/// A payer's signature (EIP-3009) that an order brings to the chain: whether it comes to anything is in the
/// payer's hands, and its gas is the tenant's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brings {
    /// Who has signed.
    pub payer: Address,
    /// What is paid by it.
    pub invoice: Id,
    /// Whether a stranger buys something by it (x402), which has a part of the tenant's limit; else it is for an
    /// invoice that the tenant has made.
    pub is_sale: bool,
}

/// A payer's signature that was brought to a chain, and was reverted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InVain {
    /// What was to be paid by it. It may be paid all the same: whoever saw it may have brought it before.
    pub invoice: Id,
    /// When it was ordered, µs since the epoch.
    pub at_us: i64,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Not known to be in a block, which is no failure: it may be in one at any time.
    Pending,
    /// In a block.
    Included(Outcome),
    /// In a block that is final by the chain's policy.
    Final(Outcome),
    /// Never: its nonce is used, for good, by another transaction; that may be an empty one of the hub's own,
    /// where no node took what was ordered ([`Chain::why_lost`]).
    Lost,
}

/// What came of a transaction in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its hash.
    pub tx: B256,
    /// The block's number.
    pub block: u64,
    /// The block's hash.
    pub block_hash: B256,
    /// Whether it did what it should; `false`: it was reverted, and has cost its fee.
    pub succeeded: bool,
}

/// What a transaction that is in a block has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Where it is, and whether it did what it should.
    pub outcome: Outcome,
    /// Who has sent it.
    pub sender: Address,
    /// By which of that account's numbers: no other transaction of it with the same can be in the chain.
    pub nonce: u64,
    /// What it has moved: transfers of tokens by the logs of its receipt, and the coin that it has sent itself. What
    /// contracts have sent of the coin leaves no log, and is not here. Nothing of one that was reverted.
    pub moves: Vec<Moved>,
}

/// A movement of money by a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Which log of its receipt, from 0, or [`VALUE`](crate::observation::VALUE).
    pub ordinal: u32,
    /// Which token; `None`: the chain's own coin.
    pub token: Option<Address>,
    /// From whom.
    pub from: Address,
    /// To whom.
    pub to: Address,
    /// How much, base units.
    pub amount: Amount,
}

/// What shows to anybody who has a block's hash that a transaction is in that block, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The transaction.
    pub transaction: B256,
    /// The block's number.
    pub block_number: u64,
    /// The block's hash: keccak-256 of its header.
    pub block_hash: B256,
    /// The header in RLP.
    pub header: Bytes,
    /// The transaction's place in the block.
    pub transaction_index: u64,
    /// The nodes from the header's root of receipts to the transaction's receipt.
    pub receipt_path: Vec<Bytes>,
}

/// Why an order was not taken. Nothing will be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotOrdered {
    /// The hub has no account on this chain.
    #[error(
        "the hub has no account on chain {0:?}: set `account` in the hub's settings of this chain"
    )]
    NoAccount(String),
    /// A limit would be exceeded, or the key names another transaction.
    #[error("{0}")]
    Refused(String),
    /// It can't be known now whether it can be sent: order it again.
    #[error("{0}")]
    Unknown(String),
}

/// What a wallet that does not know a chain may be told of it (EIP-3085): who runs the hub has said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForWallets {
    /// What people call the chain.
    pub name: String,
    /// Endpoints (JSON-RPC) that wallets may use.
    pub rpc_urls: Vec<String>,
    /// What the chain's own coin is called; it has 18 decimals.
    pub coin: String,
    /// A block explorer's address.
    pub explorer: Option<String>,
}

/// The newest block of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its time, in seconds since the epoch.
    pub time_s: u64,
}

/// An event of a contract, as its signature says.
pub trait Event: Send + Sync {
    /// The first topic of its logs.
    fn topic0(&self) -> B256;
    /// What a log says, by parameter: integers as decimal text, bytes and addresses as `0x…`. `None`:
    /// the log is not of this event, or says more than is read.
    fn decode(&self, topics: &[[u8; 32]], data: &[u8]) -> Option<Value>;
}

/// A function of a contract, as its signature says.
pub trait Function: Send + Sync {
    /// Calldata with these arguments, in their order: integers as numbers or decimal text, bytes and
    /// addresses as `0x…`.
    ///
    /// # Errors
    /// Which argument is wrong, and what would be right.
    fn encode(&self, arguments: &[Value]) -> Result<Bytes, String>;
    /// What it returned, in order; `None` if the bytes are no such values, or more than are read.
    fn decode(&self, returned: &[u8]) -> Option<Vec<Value>>;
}

/// A chain that the hub follows and acts on.
#[async_trait]
pub trait Chain: Send + Sync + 'static {
    /// Its name in settings, in the store and in what people write.
    fn name(&self) -> &str;
    /// EIP-155 chain id.
    fn id(&self) -> u64;
    /// The account from which the hub sends, where it has one.
    fn account(&self) -> Option<Address>;
    /// The tokens that payments are taken in.
    fn tokens(&self) -> &[KnownToken];
    /// Whether [`tokens`](Self::tokens) are all that there will be: a chain that was not reached yet may
    /// have more once it was.
    fn is_confirmed(&self) -> bool {
        true
    }
    /// What a wallet may be told that does not know it; `None`: nothing was said.
    fn for_wallets(&self) -> Option<&ForWallets> {
        None
    }
    /// `StencilPayments`, where it is deployed.
    fn payments(&self) -> Option<Address>;
    /// `StencilEscrow`, where it is deployed.
    fn escrow(&self) -> Option<Address>;
    /// `StencilAnchor`, where it is deployed.
    fn anchor(&self) -> Option<Address> {
        None
    }

    /// Reads the signature of an event, such as `Opened(address indexed who, uint256 locker)`.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    fn event(&self, signature: &str) -> Result<Arc<dyn Event>, String>;
    /// Reads the signature of a function, such as `stateOf(bytes32) returns (uint8)`.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    fn function(&self, signature: &str) -> Result<Arc<dyn Function>, String>;

    /// Calls a contract at the newest block that enough endpoints have; nothing is sent.
    ///
    /// # Errors
    /// It is unknown now.
    async fn call(&self, to: Address, data: Bytes) -> Result<Called, Unknown>;
    /// The same as of a block, by its number. Nodes keep the state of some blocks alone, most of the last 128, and a
    /// chain that can't be asked of one that is gone by says so.
    ///
    /// # Errors
    /// It is unknown now, or for good.
    async fn call_at(&self, _to: Address, _data: Bytes, block: u64) -> Result<Called, Unknown> {
        let name = self.name();
        Err(Unknown(format!(
            "nobody says how chain {name} was at block {block}"
        )))
    }
    /// An account's next nonce as of a block, by its number: lower ones are used by then.
    ///
    /// # Errors
    /// It is unknown now, or for good.
    async fn next_nonce(&self, _account: Address, block: u64) -> Result<u64, Unknown> {
        let name = self.name();
        Err(Unknown(format!(
            "nobody says how chain {name} was at block {block}"
        )))
    }
    /// What an order would do at the newest block, with its gas and from the hub's account; nothing is
    /// sent. A chain that does not know better calls as nobody, and lets no coin go along.
    ///
    /// # Errors
    /// It is unknown now.
    async fn tried(&self, order: &Order) -> Result<Called, Unknown> {
        self.call(order.to, order.data.clone()).await
    }
    /// Whether there is a contract at an address.
    ///
    /// # Errors
    /// It is unknown now.
    async fn has_code(&self, address: Address) -> Result<bool, Unknown>;
    /// Which of Stencil's own contracts there is at an address, by its name in the sources, whoever has deployed it:
    /// out of none of them anybody gets what is just sent there. `None`: another contract or none.
    ///
    /// # Errors
    /// It is unknown now.
    async fn own_contract(&self, address: Address) -> Result<Option<&'static str>, Unknown> {
        let _ = address;
        Ok(None)
    }

    /// Whether there is a place for one more transaction of a tenant, as few enough are not final. It costs little, and
    /// no node is asked.
    ///
    /// # Errors
    /// The store can't say now.
    async fn has_place(&self, tenant: &TenantId) -> Result<bool, Unknown> {
        let _ = tenant;
        Ok(true)
    }

    /// Has a transaction sent once. When this returns its nonce is reserved durably.
    ///
    /// # Errors
    /// Why nothing will be sent.
    async fn order(&self, order: &Order) -> Result<Sent, NotOrdered>;
    /// Where a transaction stands that was ordered; `None`: none was by that key.
    ///
    /// # Errors
    /// The store can't say now.
    async fn sent(&self, tenant: &TenantId, key: &str) -> Result<Option<Sent>, Unknown>;
    /// Why the hub has given up a transaction that is [`Sent::Lost`]: what nodes said of it. `None`: it has not,
    /// and somebody else used its nonce.
    ///
    /// # Errors
    /// The store can't say now.
    async fn why_lost(&self, _tenant: &TenantId, _key: &str) -> Result<Option<String>, Unknown> {
        Ok(None)
    }

    /// What of a payer's signatures was brought for a tenant since then and was reverted: the newest first, at most
    /// so many.
    ///
    /// # Errors
    /// The store can't say now.
    async fn in_vain(
        &self,
        tenant: &TenantId,
        payer: Address,
        since_us: i64,
        limit: u32,
    ) -> Result<Vec<InVain>, Unknown> {
        let _ = (tenant, payer, since_us, limit);
        Ok(Vec::new())
    }

    /// Where any transaction is that somebody has sent, and what it has moved; `None`: it is in no block.
    ///
    /// # Errors
    /// It is unknown now, or the chain is one that can't be asked so.
    async fn look_up(&self, tx: B256) -> Result<Option<Looked>, Unknown> {
        let _ = tx;
        Err(Unknown("this chain looks up no transactions".to_owned()))
    }

    /// What shows that a transaction that was ordered is in its block, which has to be final; `None`: it
    /// is not.
    ///
    /// # Errors
    /// No endpoint has shown it now, or the chain is one that cannot be shown so.
    async fn evidence(&self, tenant: &TenantId, key: &str) -> Result<Option<Evidence>, Unknown> {
        let _ = (tenant, key);
        Err(Unknown("this chain shows no receipts".to_owned()))
    }

    /// Waits until something may have come to the chain's stream, or to a transaction, since the last
    /// call; at most for the interval at which the chain is looked at.
    async fn stepped(&self);

    /// Follows the chain and sends what was ordered. It may be dropped at any time: a step is one
    /// transaction.
    ///
    /// # Errors
    /// What only people can deal with, such as a reorganisation below all that is kept.
    async fn run(&self) -> Result<(), String>;
    /// Why nothing is heard of the chain at the moment; `None`: all is well. For who runs the hub: it may
    /// have the names of endpoints in it, and what they have said.
    fn trouble(&self) -> Option<String>;
    /// Of what kind that is, in words of the hub's own, for anybody.
    fn trouble_in_short(&self) -> Option<String> {
        self.trouble()
            .map(|_| "nothing is heard of it at the moment".to_owned())
    }
    /// How far the time of its blocks may be ahead of the hub's clock and be believed, in microseconds.
    fn max_ahead_us(&self) -> i64 {
        60_000_000
    }
    /// The most that a unit of gas of an order may cost, in wei: until an order is final it counts as spent
    /// with that for each of its gas. `None`: nothing is sent there.
    fn most_fee_per_gas(&self) -> Option<u128> {
        None
    }
    /// Whether payments on it can be asked for by now: it is known from which block on it is followed, all its
    /// tokens are confirmed, and it is not stopped. What is paid before that might never be seen.
    ///
    /// # Errors
    /// Why not yet, in words for who asks.
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
    /// Whether somebody can be sent to pay on it now: it is [`ready`](Self::ready), and what is paid is seen. Not
    /// so where it is not followed any more, stands still, was set back, was not heard for a while, or is walked back
    /// along another branch.
    ///
    /// # Errors
    /// Why not, in words for who pays.
    fn usable(&self) -> Result<(), String> {
        self.ready()
    }
    /// Its newest block, as far as it is known.
    fn head(&self) -> Option<Head> {
        None
    }
}
