//! A chain of its own in one process: what a follower, a wallet or a contract test needs of an
//! Ethereum node, without one.
//!
//! Blocks are executed by [revm](https://docs.rs/revm) under the rules of Osaka, and spoken to by
//! the JSON-RPC that alloy, viem and ethers use, over HTTP and WebSocket on one port. Tests drive
//! it by Rust, or by the `evm_` and `anvil_` methods that anvil has, so that the same test runs
//! against either.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use stencil_devchain::{DevChain, Faults, Options};
//!
//! let chain = DevChain::start(Options::default());
//! let good = chain.listen(0).await?;
//! let bad = chain.listen(0).await?; // the same chain, seen through a worse endpoint
//! bad.set_faults(Faults { lag_blocks: 3, missing_logs_permille: 100, ..Faults::default() })?;
//!
//! chain.mine(5);
//! chain.reorg(2, &[], false)?; // the newest two blocks are replaced by two others
//! println!("{} {}", good.url(), bad.ws_url());
//! # Ok(()) }
//! ```
//!
//! # What is real, and what is not
//!
//! - Hashes of blocks and transactions, transaction and receipt roots, blooms, gas and base fees
//!   (EIP-1559) are what an Ethereum node computes. The **state root is not**: computing it for
//!   100,000 blocks would take longer than the rest together. It is a digest of the parent's and
//!   of what the block changed, which two chains of the same history share. There is no
//!   `eth_getProof`.
//! - Blocks have no withdrawals, blobs or requests, and `miner` is the zero address. Transactions
//!   are of types 0, 1 and 2; types 3 (blobs) and 4 (delegations) are refused. What a node does at
//!   a block's start (EIP-4788, EIP-2935) is not done.
//! - A reorg makes blocks with another `mixHash`, so that no two branches ever share a hash.
//! - `safe` and `finalized` are depths that are set ([`Options::safe_depth`]); nothing is ever too
//!   final to be reorganised but what [`Options::undo_depth`] no longer knows.
//! - Old blocks are kept small, old state is not kept: it can be read, called on and returned to
//!   `undo_depth` blocks back.
//!
//! **Its keys follow from a seed, its endpoints trust whoever reaches them, and it binds to
//! loopback only: nothing on it may be worth anything.**

mod accounts;
mod block;
mod chain;
mod endpoint;
mod execute;
mod faults;
mod history;
mod node;
mod options;
mod pool;
mod random;
mod rpc;
mod signer;
mod world;

pub use accounts::{Account, derive as accounts};
pub use chain::{Included, ReorgError};
pub use endpoint::{Control, Endpoint, Error};
pub use faults::{Faults, InvalidFaults};
pub use node::{DevChain, Head};
pub use options::{Clock, LogLimits, Mining, Options};
pub use pool::Refusal;
