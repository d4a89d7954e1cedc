//! The chain as a state machine: no socket, no clock and no randomness of its own.
//!
//! Time comes in with each call; the randomness of blocks follows from the seed. What happened is
//! handed out as [`Event`]s, in order.

mod call;
mod edit;
mod mine;
mod query;
mod reorg;

use std::collections::VecDeque;
use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};

use crate::accounts;
use crate::block::{Block, Draft, mix_hash};
use crate::execute::State;
use crate::history::History;
use crate::options::{Clock, Options};
use crate::pool::{Pool, Refusal, Sender, Signed};
use crate::world::{self, Mark, World};

pub(crate) use call::CallError;
pub(crate) use query::{Found, InBlock, LogQuery, LogsError, Place, Wanted};
pub use reorg::{Included, ReorgError};

/// Snapshots that can be returned to.
const MAX_SNAPSHOTS: usize = 1_024;

/// What happened to the chain.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A block is the newest now.
    Mined(Arc<Block>),
    /// Blocks are no longer in the chain, oldest first.
    Removed(Arc<Vec<Arc<Block>>>),
    /// A transaction waits.
    Waiting(B256),
}

/// The chain.
#[derive(Debug)]
pub(crate) struct Chain {
    options: Options,
    world: World,
    history: History,
    pool: Pool,
    accounts: Vec<accounts::Account>,
    snapshots: VecDeque<(u64, Snapshot)>,
    next_snapshot: u64,
    /// Counts reorgs: blocks of another branch have another randomness.
    branch: u64,
    /// Seconds that the chain's time is ahead of the clock.
    ahead: i64,
    next_timestamp: Option<u64>,
    next_base_fee: Option<u64>,
    /// Whether state was set from outside since the newest block.
    edited: bool,
    events: Vec<Event>,
}

#[derive(Clone, Debug)]
struct Snapshot {
    number: u64,
    hash: B256,
    mark: Mark,
    ahead: i64,
    edited: bool,
    /// Waiting transactions are as they were, too.
    waiting: Vec<Signed>,
}

impl Chain {
    /// A chain of one block, made at `now` (Unix seconds) unless its clock says otherwise.
    pub(crate) fn new(options: Options, now: u64) -> Self {
        let accounts = accounts::derive(options.seed, options.accounts);
        let mut world = World::new();
        for account in &accounts {
            let funded = world::Account {
                balance: U256::from(options.balance_wei),
                ..world::Account::default()
            };
            world.set_account(account.address, Some(funded));
        }
        let timestamp = match options.clock {
            Clock::System => now,
            Clock::Steps { start, .. } => start,
        };
        let first = Draft {
            number: 0,
            parent_hash: B256::ZERO,
            timestamp,
            gas_limit: options.gas_limit,
            base_fee: options.base_fee_wei,
            state_root: world.digest(alloy_consensus::constants::EMPTY_ROOT_HASH, 0),
            mix_hash: mix_hash(options.seed, 0, 0),
            mark: 0,
            transactions: Vec::new(),
        };
        Self {
            pool: Pool::new(options.pool_size),
            history: History::new(first.seal(), options.keep_blocks),
            world,
            accounts,
            options,
            snapshots: VecDeque::new(),
            next_snapshot: 0,
            branch: 0,
            ahead: 0,
            next_timestamp: None,
            next_base_fee: None,
            edited: false,
            events: Vec::new(),
        }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn accounts(&self) -> &[accounts::Account] {
        &self.accounts
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The number of the newest block.
    pub(crate) fn head(&self) -> u64 {
        self.history.newest().number
    }

    /// Sets how far `safe` and `finalized` are behind.
    pub(crate) fn set_depths(&mut self, safe: u64, finalized: u64) {
        self.options.safe_depth = safe;
        self.options.finalized_depth = finalized;
    }

    /// The state as it is now.
    pub(crate) fn state(&self) -> State<'_> {
        State {
            world: &self.world,
            history: &self.history,
            at: None,
        }
    }

    /// The state after a block; nothing when that is too long ago.
    pub(crate) fn state_after(&self, number: u64) -> Option<State<'_>> {
        if number >= self.head() {
            return Some(self.state());
        }
        if self.head() - number > self.options.undo_depth {
            return None;
        }
        let mark = self.history.get(number + 1)?.mark;
        self.world.knows(mark).then_some(State {
            world: &self.world,
            history: &self.history,
            at: Some(mark),
        })
    }

    /// Takes a transaction to the waiting ones. Gives its hash, and whether it can be mined at
    /// once.
    ///
    /// # Errors
    /// In geth's words, why not.
    pub(crate) fn submit(&mut self, signed: Signed) -> Result<(B256, bool), Refusal> {
        let hash = signed.hash;
        let account = self.state().account(signed.from);
        let sender = Sender {
            nonce: account.nonce,
            balance: account.balance,
        };
        let ready = alloy_consensus::Transaction::nonce(&*signed.transaction) == account.nonce;
        self.pool.add(signed, sender, self.options.gas_limit)?;
        self.events.push(Event::Waiting(hash));
        Ok((hash, ready))
    }

    /// The nonce of an account's next transaction, with those that wait.
    pub(crate) fn pending_nonce(&self, address: Address) -> u64 {
        self.pool
            .next_nonce(&address, self.state().account(address).nonce)
    }

    /// How many transactions wait that can be executed, and how many wait for others.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        self.pool.count(|from| self.state().account(*from).nonce)
    }

    /// What happened since this was last asked.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}
