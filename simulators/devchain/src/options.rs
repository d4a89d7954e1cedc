//! What a dev chain is like.

use std::time::Duration;

/// Settings of a [`DevChain`](crate::DevChain).
#[derive(Clone, Debug)]
pub struct Options {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Accounts that own [`balance`](Self::balance) from the first block on.
    pub accounts: u32,
    /// What the accounts' keys and the blocks' randomness follow from. Two chains of one seed have
    /// the same keys: whoever knows the seed owns them.
    pub seed: u64,
    /// Balance of each account at the start, in wei.
    pub balance_wei: u128,
    /// Gas that a block holds.
    pub gas_limit: u64,
    /// Base fee of the first block, in wei a unit of gas; it then follows EIP-1559.
    pub base_fee_wei: u64,
    /// When blocks are made.
    pub mining: Mining,
    /// What time it is.
    pub clock: Clock,
    /// Blocks that `safe` is behind `latest`.
    pub safe_depth: u64,
    /// Blocks that `finalized` is behind `latest`.
    pub finalized_depth: u64,
    /// Blocks whose changes of state can be undone: the deepest reorg, the oldest snapshot that can
    /// be returned to, and the oldest block at which state is read.
    pub undo_depth: u64,
    /// Blocks that are kept; older ones answer "pruned history unavailable".
    pub keep_blocks: u64,
    /// Bounds of `eth_getLogs`.
    pub logs: LogLimits,
    /// Transactions that may wait.
    pub pool_size: usize,
    /// Web pages' origins that browsers let call the chain, `*` for all. None by default.
    pub allow_origins: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            chain_id: 31_337,
            accounts: 10,
            seed: 0,
            balance_wei: 10_000 * 10_u128.pow(18),
            gas_limit: 30_000_000,
            base_fee_wei: 1_000_000_000,
            mining: Mining::Automine,
            clock: Clock::System,
            safe_depth: 32,
            finalized_depth: 64,
            undo_depth: 1_024,
            keep_blocks: 1_000_000,
            logs: LogLimits::default(),
            pool_size: 10_000,
            allow_origins: Vec::new(),
        }
    }
}

/// When blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mining {
    /// A block as soon as a transaction can be executed.
    Automine,
    /// A block an interval, with or without transactions.
    Interval(Duration),
    /// Blocks on demand only: `evm_mine`, [`DevChain::mine`](crate::DevChain::mine).
    Manual,
}

/// Where a block's timestamp comes from. It is always above its parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// `start` at the first block, and a number of seconds more at each: the same calls give the
    /// same hashes.
    Steps {
        /// Unix time of the first block, in seconds.
        start: u64,
        /// Seconds from block to block.
        step: u64,
    },
}

/// What one `eth_getLogs` may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Blocks of a range; answered with error -32602 beyond.
    pub max_blocks: u64,
    /// Logs of an answer; answered with error -32005 beyond.
    pub max_logs: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            max_blocks: 10_000,
            max_logs: 10_000,
        }
    }
}
