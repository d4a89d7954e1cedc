//! The blocks, and where to find what is in them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use alloy_primitives::B256;

use crate::block::{Block, Mined};

/// The canonical blocks. There is always at least one.
#[derive(Debug)]
pub(crate) struct History {
    blocks: VecDeque<Arc<Block>>,
    newest: Arc<Block>,
    by_hash: HashMap<B256, u64>,
    transactions: HashMap<B256, (u64, usize)>,
    keep: u64,
}

impl History {
    pub(crate) fn new(first: Block, keep: u64) -> Self {
        let first = Arc::new(first);
        let mut history = Self {
            blocks: VecDeque::new(),
            newest: Arc::clone(&first),
            by_hash: HashMap::new(),
            transactions: HashMap::new(),
            keep: keep.max(1),
        };
        history.push(first);
        history
    }

    pub(crate) fn newest(&self) -> &Arc<Block> {
        &self.newest
    }

    /// The oldest block that is kept.
    pub(crate) fn oldest(&self) -> u64 {
        self.blocks.front().map_or(0, |block| block.number)
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Arc<Block>> {
        let index = number.checked_sub(self.oldest())?;
        self.blocks.get(usize::try_from(index).ok()?)
    }

    pub(crate) fn by_hash(&self, hash: &B256) -> Option<&Arc<Block>> {
        self.get(*self.by_hash.get(hash)?)
    }

    pub(crate) fn hash(&self, number: u64) -> Option<B256> {
        Some(self.get(number)?.hash)
    }

    pub(crate) fn transaction(&self, hash: &B256) -> Option<(&Arc<Block>, usize, &Mined)> {
        let (number, index) = *self.transactions.get(hash)?;
        let block = self.get(number)?;
        Some((block, index, block.transactions().get(index)?))
    }

    pub(crate) fn push(&mut self, block: Arc<Block>) {
        self.by_hash.insert(block.hash, block.number);
        for (index, mined) in block.transactions().iter().enumerate() {
            self.transactions.insert(mined.hash, (block.number, index));
        }
        self.newest = Arc::clone(&block);
        self.blocks.push_back(block);
        while self.blocks.len() as u64 > self.keep {
            if let Some(old) = self.blocks.pop_front() {
                self.forget(&old);
            }
        }
    }

    /// Takes the blocks above a number off, oldest first. The oldest block that is kept stays.
    pub(crate) fn cut(&mut self, above: u64) -> Vec<Arc<Block>> {
        let mut removed = Vec::new();
        while self.blocks.len() > 1 && self.newest.number > above {
            if let Some(block) = self.blocks.pop_back() {
                self.forget(&block);
                removed.push(block);
            }
            if let Some(newest) = self.blocks.back() {
                self.newest = Arc::clone(newest);
            }
        }
        removed.reverse();
        removed
    }

    fn forget(&mut self, block: &Block) {
        self.by_hash.remove(&block.hash);
        for mined in block.transactions() {
            self.transactions.remove(&mined.hash);
        }
    }
}
