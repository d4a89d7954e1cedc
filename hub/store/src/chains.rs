//! What followers keep of chains: how far they are, what they saw, and what became of it.
//!
//! Chains are public and have no tenant. Who watches what is a tenant's: a [`Watch`] has an owner,
//! and an observation is given to a tenant only by whoever matches it with the tenant's watches.

use async_trait::async_trait;

use crate::Error;

/// The longest name of a chain, of an owner of watches and of a reader, in bytes.
pub const MAX_CHAIN_NAME: usize = 64;
/// Entries of one page.
pub const MAX_CHAIN_ENTRIES: u32 = 1_000;
/// Watches of one chain, of all owners together.
pub const MAX_WATCHES: u32 = 100_000;
/// Those of one owner.
pub const MAX_OWNER_WATCHES: u32 = 10_000;
/// The most topics of a log (`LOG4` is the last opcode).
pub const MAX_TOPICS: usize = 4;

/// A block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockMark {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// A block of the branch that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptBlock {
    /// The block.
    pub mark: BlockMark,
    /// The hash of the block before.
    pub parent: [u8; 32],
}

/// How a chain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainState {
    /// Its name here.
    pub chain: String,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The newest block that was looked at; `None` before the first.
    pub cursor: Option<BlockMark>,
    /// The timestamp of the block that was looked at last, in seconds since the epoch: up to then what is
    /// on the chain is known. After a reorganisation that is a block of the branch that is left, which
    /// may be an older one.
    pub read_s: Option<u64>,
    /// The newest block that is final by the chain's policy.
    pub finalized: Option<BlockMark>,
    /// How often what is watched has changed.
    pub interest: u64,
    /// Number of the newest entry; 0: there is none.
    pub last_entry: u64,
    /// Why the follower goes no further by itself.
    pub stopped: Option<String>,
    /// When this changed, in microseconds since the epoch.
    pub changed_us: i64,
}

/// Where an observation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChainSource {
    /// A log of a contract.
    Log,
    /// A transfer of the native coin by a transaction.
    Native,
}

impl ChainSource {
    /// Its name in rows and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Native => "native",
        }
    }
}

/// What of an address is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WatchKind {
    /// Events with this first topic that the contract at the address emits.
    Event([u8; 32]),
    /// Of these, those whose third topic is this account: of a token's `Transfer(address indexed from,
    /// address indexed to, uint256 value)` what somebody gets.
    EventTo {
        /// The first topic.
        topic0: [u8; 32],
        /// The account.
        to: [u8; 20],
    },
    /// Events with this first topic that the contract emits in a transaction in which another event of
    /// it is watched: what it says beside that.
    Beside([u8; 32]),
    /// Every event that the contract at the address emits.
    AnyEvent,
    /// Transfers of the native coin to the address, by transactions. What a contract passes on
    /// inside of a transaction is not seen.
    Native,
}

/// A watch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Watch {
    /// Whose it is: a tenant, with which it is erased, or, outside of a hub, who else watches.
    pub owner: String,
    /// The address.
    pub address: [u8; 20],
    /// What of it.
    pub kind: WatchKind,
}

/// A watch, and since when it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The watch.
    pub watch: Watch,
    /// The first block that was looked at for it. A block before it is, too, if a reorganisation
    /// brings it later.
    pub from_block: u64,
}

/// What was seen in a block. The key is chain, block's hash, source and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The block.
    pub block: BlockMark,
    /// The block's timestamp, in seconds since the epoch.
    pub time_s: u64,
    /// Where it comes from.
    pub source: ChainSource,
    /// Index in the block: of the log, or of the transaction for [`ChainSource::Native`].
    pub place: u64,
    /// Hash of the transaction.
    pub tx: [u8; 32],
    /// Place of the log within its transaction's receipt, from 0. With the transaction's hash it
    /// names the same effect also when another block includes the transaction; a transfer of the
    /// native coin has 0.
    pub ordinal: u32,
    /// The contract that emitted the log, or who got the native coin.
    pub address: [u8; 20],
    /// The log's topics. Of a transfer of the native coin: the sender, in 32 bytes.
    pub topics: Vec<[u8; 32]>,
    /// The log's data. Of a transfer of the native coin: the amount in wei, 32 bytes, big-endian.
    pub data: Vec<u8>,
}

/// What became known of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainEntryKind {
    /// It is in a block of the branch that is followed.
    Observed,
    /// Its block has left that branch.
    Retracted {
        /// It had been final by the chain's policy.
        was_final: bool,
    },
    /// It is final by the chain's policy.
    Final,
}

impl ChainEntryKind {
    /// Its name in rows and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Retracted { .. } => "retracted",
            Self::Final => "final",
        }
    }
}

/// An entry of a chain's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainEntry {
    /// Its number: from 1, without gaps.
    pub seq: u64,
    /// What became known.
    pub kind: ChainEntryKind,
    /// Of what.
    pub observation: Observation,
    /// When it was stored, in microseconds since the epoch.
    pub at_us: i64,
}

/// A step of a follower: all of it is stored, or nothing.
#[derive(Debug, Clone, Default)]
pub struct ChainCommit {
    /// Which chain.
    pub chain: String,
    /// Where the follower stood before.
    pub from: Option<BlockMark>,
    /// Which state of what is watched the blocks were looked through with.
    pub interest: u64,
    /// Blocks above this number leave the branch: their observations are retracted, the newest
    /// first.
    pub retract_above: Option<u64>,
    /// Blocks that join the branch, ascending.
    pub blocks: Vec<KeptBlock>,
    /// What was seen in them, in their order.
    pub observed: Vec<Observation>,
    /// Where the follower stands after; `None`: where it stood.
    pub cursor: Option<BlockMark>,
    /// The timestamp of the block where it stands after, in seconds since the epoch; `None`: it stands
    /// at no newer one.
    pub cursor_s: Option<u64>,
    /// All up to this block is final; `None`: nothing new is.
    pub finalized: Option<BlockMark>,
    /// Blocks below this number are no longer kept for walking back.
    pub keep_from: u64,
    /// When, in microseconds since the epoch.
    pub at_us: i64,
}

/// What became of a [`ChainCommit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainCommitted {
    /// It is stored.
    Done {
        /// The number of the newest entry.
        last_entry: u64,
    },
    /// Nothing is stored: what is watched has changed meanwhile, so the blocks are to be looked
    /// through again.
    InterestChanged,
}

/// Chains, what is watched of them, and the stream of what was seen.
#[async_trait]
pub trait Chains: Send + Sync + 'static {
    /// Begins to keep a chain, or finds it. [`Error::Conflict`]: the name stands for another
    /// chain id.
    async fn open_chain(&self, chain: &str, chain_id: u64, at_us: i64)
    -> Result<ChainState, Error>;

    /// A chain.
    async fn chain(&self, chain: &str) -> Result<Option<ChainState>, Error>;

    /// All chains, by name.
    async fn chains(&self) -> Result<Vec<ChainState>, Error>;

    /// The blocks that are kept for walking back, ascending.
    async fn chain_blocks(&self, chain: &str) -> Result<Vec<KeptBlock>, Error>;

    /// What is watched, and the number of that state.
    async fn chain_watches(&self, chain: &str) -> Result<(u64, Vec<Watched>), Error>;

    /// Watches more. Gives the block from which on all of these hold: the one after the newest
    /// that was looked at. A watch that is there already stays as it is. [`Error::Invalid`]: that would be
    /// more than [`MAX_OWNER_WATCHES`] or [`MAX_WATCHES`].
    async fn watch_chain(&self, chain: &str, watches: &[Watch]) -> Result<u64, Error>;

    /// Watches less; what is not watched is left alone.
    async fn unwatch_chain(&self, chain: &str, watches: &[Watch]) -> Result<(), Error>;

    /// Stores a follower's step. [`Error::Conflict`]: another follower has taken the chain further.
    async fn commit_chain(&self, commit: &ChainCommit) -> Result<ChainCommitted, Error>;

    /// Says why the follower goes no further, or (`None`) that it does again.
    async fn stop_chain(&self, chain: &str, why: Option<&str>, at_us: i64) -> Result<(), Error>;

    /// Entries after a number, ascending, at most [`MAX_CHAIN_ENTRIES`].
    async fn chain_entries(
        &self,
        chain: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<ChainEntry>, Error>;

    /// Up to which entry a reader has taken the stream; 0 before the first.
    async fn chain_position(&self, chain: &str, reader: &str) -> Result<u64, Error>;

    /// Keeps how far a reader has come. It never goes back.
    async fn advance_chain_reader(
        &self,
        chain: &str,
        reader: &str,
        position: u64,
    ) -> Result<(), Error>;

    /// Forgets the oldest entries, `limit` at most: those that were stored before that time, that each of
    /// `readers` and whoever else keeps a position has taken, and of whose observations nothing more is
    /// to come (they are final or retracted). The first one of which that is not so ends it. Their
    /// observations go once no reorganisation can reach them. Gives how many entries went.
    async fn forget_chain_entries(
        &self,
        chain: &str,
        readers: &[&str],
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error>;
}
