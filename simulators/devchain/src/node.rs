//! The chain as it runs: shared, with a clock, and telling what happens.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rpc_types_eth::TransactionRequest;
use tokio::sync::{broadcast, watch};

use crate::accounts::Account;
use crate::chain::{Chain, Event, Included, ReorgError};
use crate::endpoint::{self, Control, Endpoint};
use crate::options::{Mining, Options};
use crate::pool::{Refusal, Signed};
use crate::rpc;
use crate::signer::Signer;

/// Events that a subscriber may be behind before it is cut off.
const EVENTS: usize = 8_192;
/// Blocks that are made before readers get their turn.
const BLOCKS_AT_ONCE: u64 = 64;

/// A running chain. Clones are the same chain; it ends with the last of them and of its endpoints.
#[derive(Clone, Debug)]
pub struct DevChain {
    node: Arc<Node>,
}

/// The newest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its time, in Unix seconds.
    pub timestamp: u64,
}

impl DevChain {
    /// Starts a chain of one block.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let mining = options.mining;
        let (mining, changed) = watch::channel(mining);
        let node = Arc::new(Node {
            chain: RwLock::new(Chain::new(options, now())),
            events: broadcast::channel(EVENTS).0,
            mining,
            endpoints: Mutex::new(Vec::new()),
        });
        tokio::spawn(mine_by_time(Arc::downgrade(&node), changed));
        Self { node }
    }

    /// Listens on loopback, on a port that is free when 0. Each endpoint has faults of its own.
    ///
    /// # Errors
    /// When the port can't be had.
    pub async fn listen(&self, port: u16) -> Result<Endpoint, endpoint::Error> {
        Endpoint::open(Arc::clone(&self.node), port).await
    }

    /// Listens on loopback for the `stencil_` methods, which set faults and open endpoints.
    ///
    /// # Errors
    /// When the port can't be had.
    pub async fn control(&self, port: u16) -> Result<Control, endpoint::Error> {
        Control::open(Arc::clone(&self.node), port).await
    }

    /// The funded accounts.
    #[must_use]
    pub fn accounts(&self) -> Vec<Account> {
        self.node.read().accounts().to_vec()
    }

    /// The EIP-155 chain id.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.node.read().options().chain_id
    }

    /// The newest block.
    #[must_use]
    pub fn head(&self) -> Head {
        let chain = self.node.read();
        let newest = chain.history().newest();
        Head {
            number: newest.number,
            hash: newest.hash,
            timestamp: newest.timestamp,
        }
    }

    /// Makes blocks; the first of them takes what waits. Returns when they are made; a
    /// hundred thousand take seconds, and are for a thread that may block.
    pub fn mine(&self, blocks: u64) {
        self.node.mine(blocks, None);
    }

    /// As [`mine`](Self::mine), so many seconds apart.
    pub fn mine_apart(&self, blocks: u64, seconds: u64) {
        self.node.mine(blocks, Some(seconds));
    }

    /// Changes when blocks are made.
    pub fn set_mining(&self, mining: Mining) {
        self.node.set_mining(mining);
    }

    /// Takes a signed transaction (EIP-2718 bytes). Gives its hash.
    ///
    /// # Errors
    /// As geth words them.
    pub fn submit(&self, raw: Bytes) -> Result<B256, Refusal> {
        self.node.submit_raw(raw)
    }

    /// Replaces the newest `depth` blocks by as many others that have these transactions and no
    /// other. What was in the replaced blocks is forgotten, or waits again when it goes
    /// `back_to_pool`.
    ///
    /// # Errors
    /// Depth or transactions that can't be; nothing is changed then.
    pub fn reorg(
        &self,
        depth: u64,
        included: &[Included],
        back_to_pool: bool,
    ) -> Result<(), ReorgError> {
        self.node.reorg(depth, included, back_to_pool)
    }

    /// Takes the newest `depth` blocks off.
    ///
    /// # Errors
    /// A depth that can't be.
    pub fn rollback(&self, depth: u64) -> Result<(), ReorgError> {
        self.node.write(|chain, _| chain.rollback(depth))
    }

    /// Remembers the chain as it is.
    #[must_use]
    pub fn snapshot(&self) -> u64 {
        self.node.write(|chain, _| chain.snapshot())
    }

    /// Returns to a snapshot, which is used up by it. False when there is none of this number, or
    /// when it is too old.
    #[must_use]
    pub fn revert(&self, snapshot: u64) -> bool {
        self.node.write(|chain, _| chain.revert(snapshot))
    }

    /// Sets an account's coins, in wei.
    pub fn set_balance(&self, address: Address, wei: U256) {
        self.node.write(|chain, _| chain.set_balance(address, wei));
    }

    /// Sets how many blocks `safe` and `finalized` are behind `latest`.
    pub fn set_depths(&self, safe: u64, finalized: u64) {
        self.node
            .write(|chain, _| chain.set_depths(safe, finalized));
    }

    /// Moves the chain's time on.
    pub fn increase_time(&self, seconds: u32) {
        self.node
            .write(|chain, _| chain.increase_time(i64::from(seconds)));
    }
}

/// What endpoints share.
#[derive(Debug)]
pub(crate) struct Node {
    chain: RwLock<Chain>,
    events: broadcast::Sender<Event>,
    mining: watch::Sender<Mining>,
    /// Those that the control port opened or may set faults of.
    pub(crate) endpoints: Mutex<Vec<endpoint::Known>>,
}

/// A transaction that comes in.
pub(crate) enum Submission {
    Raw(Bytes),
    /// To be signed by an account of the chain.
    Unsigned(Box<TransactionRequest>),
}

impl Node {
    pub(crate) fn now(&self) -> u64 {
        now()
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Chain> {
        self.chain.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the chain, and tells what happened before anything else does.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut Chain, u64) -> T) -> T {
        let mut chain = self.chain.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut chain, now());
        for event in chain.take_events() {
            // Nobody may be listening.
            let _ = self.events.send(event);
        }
        result
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(crate) fn mine(&self, blocks: u64, seconds_apart: Option<u64>) {
        let mut left = blocks;
        while left > 0 {
            let now_many = left.min(BLOCKS_AT_ONCE);
            self.write(|chain, now| {
                for _ in 0..now_many {
                    if let Some(seconds) = seconds_apart {
                        let next = chain.history().newest().timestamp.saturating_add(seconds);
                        // Not above its parent's with 0 seconds: then it is one.
                        let _ = chain.set_next_timestamp(next, now);
                    }
                    chain.mine(now);
                }
            });
            left -= now_many;
        }
    }

    pub(crate) fn mining(&self) -> Mining {
        *self.mining.borrow()
    }

    pub(crate) fn set_mining(&self, mining: Mining) {
        self.mining.send_replace(mining);
    }

    pub(crate) fn submit(&self, submission: Submission) -> Result<B256, rpc::Error> {
        let raw = match submission {
            Submission::Raw(raw) => raw,
            Submission::Unsigned(request) => {
                let head = self.read().head();
                self.signer_after(head).sign(*request)?
            }
        };
        Ok(self.submit_raw(raw)?)
    }

    fn submit_raw(&self, raw: Bytes) -> Result<B256, Refusal> {
        let chain_id = self.read().options().chain_id;
        let signed = Signed::read(raw, chain_id)?;
        let automine = self.mining() == Mining::Automine;
        self.write(|chain, now| {
            let (hash, ready) = chain.submit(signed)?;
            if automine && ready {
                chain.mine(now);
            }
            Ok(hash)
        })
    }

    pub(crate) fn reorg(
        &self,
        depth: u64,
        included: &[Included],
        back_to_pool: bool,
    ) -> Result<(), ReorgError> {
        self.write(|chain, now| chain.reorg(depth, included, back_to_pool, now))
    }

    /// Signs with the chain's own accounts, with the nonces that come after a block.
    pub(crate) fn signer_after(&self, block: u64) -> Signer<'_> {
        Signer::new(self, block)
    }
}

/// Makes blocks by time for as long as there is a chain.
async fn mine_by_time(node: Weak<Node>, mut changed: watch::Receiver<Mining>) {
    loop {
        let mining = *changed.borrow_and_update();
        let due = async {
            match mining {
                Mining::Interval(interval) => tokio::time::sleep(interval).await,
                Mining::Automine | Mining::Manual => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {
                let Some(node) = node.upgrade() else { return };
                if tokio::task::spawn_blocking(move || node.mine(1, None)).await.is_err() {
                    return;
                }
            }
            result = changed.changed() => if result.is_err() { return },
        }
    }
}

/// Unix time in seconds.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
