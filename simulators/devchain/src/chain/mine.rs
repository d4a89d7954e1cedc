//! How blocks come about.

use std::collections::HashSet;
use std::sync::Arc;

use alloy_primitives::Address;
use revm::context::result::{ExecutionResult, ResultAndState};
use revm::database::CacheDB;
use revm::database_interface::WrapDatabaseRef;
use revm::{Database as _, DatabaseCommit as _};

use super::{Chain, Event};
use crate::block::{Block, Draft, Mined, mix_hash};
use crate::execute::{self, State, Surroundings};
use crate::options::Clock;
use crate::pool::Signed;

/// Gas below which no transaction fits into a block any more.
const SMALLEST_GAS: u64 = 21_000;

impl Chain {
    /// Makes a block of what waits.
    pub(crate) fn mine(&mut self, now: u64) -> Arc<Block> {
        self.make(now, None)
    }

    /// Makes a block of these transactions and no other. Those that can't be executed are left
    /// out.
    pub(super) fn mine_these(&mut self, now: u64, transactions: Vec<Signed>) -> Arc<Block> {
        self.make(now, Some(transactions))
    }

    fn make(&mut self, now: u64, these: Option<Vec<Signed>>) -> Arc<Block> {
        let around = self.next_surroundings(now);
        let parent = Arc::clone(self.history.newest());
        let mut root = parent.state_root;
        if self.edited {
            root = self.world.digest(root, parent.mark);
            self.edited = false;
        }
        let mark = self.world.mark();
        let mut mined = Vec::new();
        let mut gas_left = around.gas_limit;
        match these {
            Some(these) => {
                for signed in these {
                    if alloy_consensus::Transaction::gas_limit(&*signed.transaction) > gas_left {
                        continue;
                    }
                    if let Some(done) = self.apply(&around, &signed) {
                        gas_left = gas_left.saturating_sub(done.gas_used);
                        mined.push(done);
                    }
                }
            }
            None => {
                let mut skip = HashSet::new();
                while gas_left >= SMALLEST_GAS {
                    let world = &self.world;
                    let nonce =
                        |from: &Address| world.account(None, *from).unwrap_or_default().nonce;
                    let Some(signed) = self.pool.best(around.base_fee, nonce, &skip) else {
                        break;
                    };
                    if alloy_consensus::Transaction::gas_limit(&*signed.transaction) > gas_left {
                        skip.insert(signed.from);
                        continue;
                    }
                    self.pool.remove(&signed.hash);
                    if let Some(done) = self.apply(&around, &signed) {
                        gas_left = gas_left.saturating_sub(done.gas_used);
                        mined.push(done);
                    }
                }
            }
        }
        self.next_timestamp = None;
        self.next_base_fee = None;
        let block = Arc::new(
            Draft {
                number: around.number,
                parent_hash: parent.hash,
                timestamp: around.timestamp,
                gas_limit: around.gas_limit,
                base_fee: around.base_fee,
                state_root: self.world.digest(root, mark),
                mix_hash: around.mix_hash,
                mark,
                transactions: mined,
            }
            .seal(),
        );
        for mined in block.transactions() {
            let nonce = self.state().account(mined.from).nonce;
            self.pool.forget_below(&mined.from, nonce);
        }
        self.history.push(Arc::clone(&block));
        self.forget_old();
        self.events.push(Event::Mined(Arc::clone(&block)));
        block
    }

    /// What the next block would be: `pending`.
    pub(crate) fn pending(&self, now: u64) -> Block {
        let around = self.next_surroundings(now);
        let parent = self.history.newest();
        let mut changed = CacheDB::new(self.state());
        let mut mined = Vec::new();
        let mut gas_left = around.gas_limit;
        let mut skip = HashSet::new();
        let mut nonces = std::collections::HashMap::<Address, u64>::new();
        while gas_left >= SMALLEST_GAS {
            let nonce = |from: &Address| {
                nonces
                    .get(from)
                    .copied()
                    .unwrap_or_else(|| self.state().account(*from).nonce)
            };
            let Some(signed) = self.pool.best(around.base_fee, nonce, &skip) else {
                break;
            };
            let gas_limit = alloy_consensus::Transaction::gas_limit(&*signed.transaction);
            let done = (gas_limit <= gas_left)
                .then(|| execute::transaction(&mut changed, &around, &signed).ok())
                .flatten();
            let Some(ResultAndState { result, state }) = done else {
                skip.insert(signed.from);
                continue;
            };
            changed.commit(state);
            let Ok(account) = changed.basic(signed.from);
            nonces.insert(signed.from, account.unwrap_or_default().nonce);
            let done = came_to(&signed, &result);
            gas_left = gas_left.saturating_sub(done.gas_used);
            mined.push(done);
        }
        Draft {
            number: around.number,
            parent_hash: parent.hash,
            timestamp: around.timestamp,
            gas_limit: around.gas_limit,
            base_fee: around.base_fee,
            // What it will be is known when the block is made.
            state_root: parent.state_root,
            mix_hash: around.mix_hash,
            mark: parent.mark,
            transactions: mined,
        }
        .seal()
    }

    /// What the next block's transactions see.
    pub(crate) fn next_surroundings(&self, now: u64) -> Surroundings {
        let parent = self.history.newest();
        let number = parent.number + 1;
        let timestamp = self.next_timestamp.unwrap_or_else(|| {
            let wanted = match self.options.clock {
                Clock::System => now.saturating_add_signed(self.ahead),
                Clock::Steps { start, step } => start
                    .saturating_add(step.saturating_mul(number))
                    .saturating_add_signed(self.ahead),
            };
            wanted.max(parent.timestamp.saturating_add(1))
        });
        Surroundings {
            chain_id: self.options.chain_id,
            number,
            timestamp,
            gas_limit: self.options.gas_limit,
            base_fee: self.next_base_fee.unwrap_or_else(|| parent.next_base_fee()),
            mix_hash: mix_hash(self.options.seed, self.branch, number),
        }
    }

    /// Executes a transaction on the state. Nothing when it can't be executed.
    fn apply(&mut self, around: &Surroundings, signed: &Signed) -> Option<Mined> {
        let state = State {
            world: &self.world,
            history: &self.history,
            at: None,
        };
        match execute::transaction(WrapDatabaseRef(state), around, signed) {
            Ok(ResultAndState { result, state }) => {
                self.world.apply(state);
                Some(came_to(signed, &result))
            }
            Err(error) => {
                tracing::debug!(transaction = %signed.hash, %error, "left out of the block");
                None
            }
        }
    }

    /// Forgets what is too old to be undone.
    fn forget_old(&mut self) {
        let Some(oldest) = self.head().checked_sub(self.options.undo_depth) else {
            return;
        };
        if let Some(block) = self.history.get(oldest + 1) {
            let mark = block.mark;
            self.world.forget_before(mark);
            while let Some((_, snapshot)) = self.snapshots.front()
                && snapshot.mark < mark
            {
                self.snapshots.pop_front();
            }
        }
    }
}

fn came_to(signed: &Signed, result: &ExecutionResult) -> Mined {
    let logs = if result.is_success() {
        result.logs().to_vec()
    } else {
        Vec::new()
    };
    let created = alloy_consensus::Transaction::kind(&*signed.transaction)
        .is_create()
        .then(|| {
            signed
                .from
                .create(alloy_consensus::Transaction::nonce(&*signed.transaction))
        });
    Mined::new(
        signed,
        result.is_success(),
        result.tx_gas_used(),
        created,
        &logs,
    )
}
