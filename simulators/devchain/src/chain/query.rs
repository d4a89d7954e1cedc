//! What is read of the chain, as seen up to some block.
//!
//! An endpoint that lags sees the chain up to a lower block than the newest; that is why each
//! question has a `head`.

use std::sync::Arc;

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, Log};
use alloy_rpc_types_eth::{Filter, FilterBlockOption, FilteredParams};

use super::Chain;
use crate::block::{Block, Mined};

/// A block that was asked for.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// It is in the chain.
    Block(Arc<Block>),
    /// What comes next.
    Pending,
    /// There is none.
    Unknown,
    /// It is no longer kept.
    Pruned,
}

/// A log that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) block: Arc<Block>,
    pub(crate) transaction: usize,
    pub(crate) index: u64,
    pub(crate) log: Log,
}

/// A question for logs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogQuery<'a> {
    pub(crate) filter: &'a Filter,
    /// The newest block that is seen.
    pub(crate) head: u64,
}

/// Why logs can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LogsError {
    #[error("unknown block")]
    UnknownBlock,
    #[error("invalid block range params")]
    Backwards,
    #[error("block range extends beyond current head block: head {head}, requested {requested}")]
    BeyondHead { head: u64, requested: u64 },
    #[error("exceed maximum block range: {most}")]
    RangeTooLarge { most: u64 },
    #[error("query returned more than {most} results. Try with a smaller block range")]
    TooMany { most: usize },
    #[error("pruned history unavailable")]
    Pruned,
}

impl Chain {
    /// The block that is meant.
    pub(crate) fn place(&self, id: BlockId, head: u64) -> Place {
        let number = match id {
            BlockId::Hash(hash) => {
                return match self.history().by_hash(&hash.block_hash) {
                    Some(block) if block.number <= head => Place::Block(Arc::clone(block)),
                    _ => Place::Unknown,
                };
            }
            BlockId::Number(BlockNumberOrTag::Pending) => return Place::Pending,
            BlockId::Number(tag) => self.number(tag, head),
        };
        if number > head {
            return Place::Unknown;
        }
        match self.history().get(number) {
            Some(block) => Place::Block(Arc::clone(block)),
            None if number < self.history().oldest() => Place::Pruned,
            None => Place::Unknown,
        }
    }

    /// The number behind a tag. `pending` counts as the newest.
    pub(crate) fn number(&self, tag: BlockNumberOrTag, head: u64) -> u64 {
        match tag {
            BlockNumberOrTag::Latest | BlockNumberOrTag::Pending => head,
            BlockNumberOrTag::Safe => head.saturating_sub(self.options().safe_depth),
            BlockNumberOrTag::Finalized => head.saturating_sub(self.options().finalized_depth),
            BlockNumberOrTag::Earliest => self.history().oldest(),
            BlockNumberOrTag::Number(number) => number,
        }
    }

    /// `eth_getLogs`.
    pub(crate) fn logs(&self, query: LogQuery<'_>) -> Result<Vec<Found>, LogsError> {
        let limits = self.options().logs;
        let head = query.head;
        let (from, to) = match query.filter.block_option {
            FilterBlockOption::AtBlockHash(hash) => {
                let block = self
                    .history()
                    .by_hash(&hash)
                    .filter(|block| block.number <= head)
                    .ok_or(LogsError::UnknownBlock)?;
                (block.number, block.number)
            }
            FilterBlockOption::Range {
                from_block,
                to_block,
            } => {
                let from = self.number(from_block.unwrap_or(BlockNumberOrTag::Latest), head);
                let to = self.number(to_block.unwrap_or(BlockNumberOrTag::Latest), head);
                if from > to {
                    return Err(if from > head {
                        LogsError::BeyondHead {
                            head,
                            requested: from,
                        }
                    } else {
                        LogsError::Backwards
                    });
                }
                if from > head {
                    return Err(LogsError::BeyondHead {
                        head,
                        requested: from,
                    });
                }
                (from, to.min(head))
            }
        };
        if from < self.history().oldest() {
            return Err(LogsError::Pruned);
        }
        if to - from >= limits.max_blocks {
            return Err(LogsError::RangeTooLarge {
                most: limits.max_blocks,
            });
        }
        let wanted = Wanted::new(query.filter);
        let mut found = Vec::new();
        for block in (from..=to).filter_map(|number| self.history().get(number)) {
            wanted.collect(block, &mut found);
            if found.len() > limits.max_logs {
                return Err(LogsError::TooMany {
                    most: limits.max_logs,
                });
            }
        }
        Ok(found)
    }
}

/// A filter with its blooms, to look at many blocks.
pub(crate) struct Wanted {
    filter: Filter,
    addresses: alloy_rpc_types_eth::BloomFilter,
    topics: Vec<alloy_rpc_types_eth::BloomFilter>,
}

impl Wanted {
    pub(crate) fn new(filter: &Filter) -> Self {
        Self {
            addresses: FilteredParams::address_filter(&filter.address),
            topics: FilteredParams::topics_filter(&filter.topics),
            filter: filter.clone(),
        }
    }

    /// Adds the logs of a block that match.
    pub(crate) fn collect(&self, block: &Arc<Block>, found: &mut Vec<Found>) {
        let Some(body) = block.body.as_deref() else {
            return;
        };
        if !FilteredParams::matches_address(body.bloom, &self.addresses)
            || !FilteredParams::matches_topics(body.bloom, &self.topics)
        {
            return;
        }
        let mut first = 0;
        for (transaction, mined) in body.transactions.iter().enumerate() {
            for (index, log) in mined.logs().into_iter().enumerate() {
                if self.filter.matches(&log) {
                    found.push(Found {
                        block: Arc::clone(block),
                        transaction,
                        index: first + index as u64,
                        log,
                    });
                }
            }
            first += mined.log_count();
        }
    }
}

/// A transaction's place in its block.
#[derive(Clone, Debug)]
pub(crate) struct InBlock {
    pub(crate) block: Arc<Block>,
    pub(crate) index: usize,
}

impl InBlock {
    pub(crate) fn mined(&self) -> Option<&Mined> {
        self.block.transactions().get(self.index)
    }
}

impl Chain {
    /// Where a transaction was mined, if the head has seen it.
    pub(crate) fn mined(&self, hash: &B256, head: u64) -> Option<InBlock> {
        let (block, index, _) = self.history().transaction(hash)?;
        (block.number <= head).then(|| InBlock {
            block: Arc::clone(block),
            index,
        })
    }

    /// Tips of the newest blocks, for `eth_maxPriorityFeePerGas`: fixed as anvil's, there is no
    /// market here.
    pub(crate) fn suggested_tip(&self) -> u128 {
        1_000_000_000
    }
}
