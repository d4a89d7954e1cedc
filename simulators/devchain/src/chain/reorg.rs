//! Other branches, and returning to snapshots.

use std::sync::Arc;

use alloy_primitives::Bytes;

use super::{Chain, Event, MAX_SNAPSHOTS, Snapshot};
use crate::pool::{Refusal, Signed};

/// A transaction for a block of the new branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    /// EIP-2718 bytes, signed.
    pub raw: Bytes,
    /// Which block of the branch: 0 is the first after the fork.
    pub block: u64,
}

/// Why the chain can't be reorganised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReorgError {
    /// There are not so many blocks.
    #[error(
        "Reorg depth must not exceed current chain height: current height {head}, depth {depth}"
    )]
    AboveHead {
        /// The newest block.
        head: u64,
        /// What was asked for.
        depth: u64,
    },
    /// What was there before is no longer known.
    #[error("Reorg depth {depth} is beyond what can be undone: {most} blocks")]
    TooDeep {
        /// What was asked for.
        depth: u64,
        /// [`Options::undo_depth`](crate::Options::undo_depth).
        most: u64,
    },
    /// A transaction for a block that the branch doesn't have.
    #[error(
        "Block number for reorg tx will exceed the reorged chain height. Block number {block} must not exceed (depth-1) {last}"
    )]
    BlockBeyond {
        /// What was asked for.
        block: u64,
        /// The last block of the branch.
        last: u64,
    },
    /// A transaction that no chain of this id takes.
    #[error("transaction {index}: {refusal}")]
    Transaction {
        /// Its place in the list.
        index: usize,
        /// Why.
        refusal: Refusal,
    },
}

impl Chain {
    /// Replaces the newest `depth` blocks by as many others, with these transactions and no other.
    /// What was in the replaced blocks is gone, as in anvil, unless it goes `back_to_pool`.
    ///
    /// # Errors
    /// Without a change of the chain: depth or transactions that can't be.
    pub(crate) fn reorg(
        &mut self,
        depth: u64,
        included: &[Included],
        back_to_pool: bool,
        now: u64,
    ) -> Result<(), ReorgError> {
        let mut branch: Vec<Vec<Signed>> = Vec::new();
        self.check_depth(depth)?;
        branch.resize_with(usize::try_from(depth).unwrap_or_default(), Vec::new);
        for (index, transaction) in included.iter().enumerate() {
            let signed = Signed::read(transaction.raw.clone(), self.options.chain_id)
                .map_err(|refusal| ReorgError::Transaction { index, refusal })?;
            usize::try_from(transaction.block)
                .ok()
                .and_then(|block| branch.get_mut(block))
                .ok_or(ReorgError::BlockBeyond {
                    block: transaction.block,
                    last: depth.saturating_sub(1),
                })?
                .push(signed);
        }
        if depth == 0 {
            return Ok(());
        }
        let removed = self.unwind(depth)?;
        for transactions in branch {
            self.mine_these(now, transactions);
        }
        if back_to_pool {
            for mined in removed.iter().flat_map(|block| block.transactions()) {
                if let Ok(signed) = Signed::read(mined.raw.clone(), self.options.chain_id) {
                    // One that the branch has already, or that it made impossible, stays out.
                    let _ = self.submit(signed);
                }
            }
        }
        Ok(())
    }

    /// Takes the newest `depth` blocks off.
    ///
    /// # Errors
    /// A depth that can't be.
    pub(crate) fn rollback(&mut self, depth: u64) -> Result<(), ReorgError> {
        self.check_depth(depth)?;
        if depth > 0 {
            self.unwind(depth)?;
        }
        Ok(())
    }

    fn check_depth(&self, depth: u64) -> Result<(), ReorgError> {
        let head = self.head();
        if depth > head {
            return Err(ReorgError::AboveHead { head, depth });
        }
        let kept = head - self.history.oldest();
        let known = depth == 0
            || depth <= self.options.undo_depth
                && self
                    .history
                    .get(head - depth + 1)
                    .is_some_and(|first| self.world.knows(first.mark));
        if !known || depth > kept {
            return Err(ReorgError::TooDeep {
                depth,
                most: self.options.undo_depth.min(kept),
            });
        }
        Ok(())
    }

    fn unwind(&mut self, depth: u64) -> Result<Arc<Vec<Arc<crate::block::Block>>>, ReorgError> {
        let too_deep = ReorgError::TooDeep {
            depth,
            most: self.options.undo_depth,
        };
        let fork = self.head() - depth;
        let mark = self
            .history
            .get(fork + 1)
            .ok_or_else(|| too_deep.clone())?
            .mark;
        if !self.world.undo_to(mark) {
            return Err(too_deep);
        }
        self.edited = false;
        self.next_timestamp = None;
        self.branch += 1;
        // A snapshot of a block that is gone can't be returned to.
        self.snapshots.retain(|(_, snapshot)| snapshot.mark <= mark);
        let removed = Arc::new(self.history.cut(fork));
        self.events.push(Event::Removed(Arc::clone(&removed)));
        Ok(removed)
    }

    /// Remembers the chain as it is. Gives the snapshot's number.
    pub(crate) fn snapshot(&mut self) -> u64 {
        let newest = self.history.newest();
        let (number, hash) = (newest.number, newest.hash);
        let snapshot = Snapshot {
            number,
            hash,
            mark: self.world.mark(),
            ahead: self.ahead,
            edited: self.edited,
            waiting: self.pool.all(),
        };
        if self.snapshots.len() >= MAX_SNAPSHOTS {
            self.snapshots.pop_front();
        }
        let id = self.next_snapshot;
        self.next_snapshot += 1;
        self.snapshots.push_back((id, snapshot));
        id
    }

    /// Returns to a snapshot, which is used up by it, as are all that were made after it. False
    /// when there is none of this number.
    pub(crate) fn revert(&mut self, id: u64) -> bool {
        let Some(index) = self.snapshots.iter().position(|(own, _)| *own == id) else {
            return false;
        };
        let Some((_, snapshot)) = self.snapshots.get(index).cloned() else {
            return false;
        };
        if self.history.hash(snapshot.number) != Some(snapshot.hash)
            || !self.world.undo_to(snapshot.mark)
        {
            return false;
        }
        self.snapshots.truncate(index);
        self.ahead = snapshot.ahead;
        self.edited = snapshot.edited;
        self.next_timestamp = None;
        self.next_base_fee = None;
        self.branch += 1;
        let removed = self.history.cut(snapshot.number);
        if !removed.is_empty() {
            self.events.push(Event::Removed(Arc::new(removed)));
        }
        self.pool.clear();
        for signed in snapshot.waiting {
            let _ = self.submit(signed);
        }
        true
    }
}
