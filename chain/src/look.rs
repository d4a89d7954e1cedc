//! What one endpoint says that is in a block, and in a range of blocks; checked against the block's
//! own bloom filter.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use alloy_primitives::{Address, B256, Bloom};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use stencil_store::{BlockMark, ChainSource, Observation};

use crate::interest::Interest;
use crate::rpc::{Endpoint, Failure, Header, Log};
use crate::walk::Link;

/// Calls to one endpoint at a time, when catching up.
const AT_ONCE: usize = 16;

/// How blocks are looked through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    /// What is watched.
    pub(crate) interest: &'a Interest,
    /// Whether bloom filters are right.
    pub(crate) blooms: bool,
    /// Whether somebody else's answer is compared with this one.
    pub(crate) cross_checked: bool,
}

/// What a range has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) observed: Vec<Observation>,
    /// The last block.
    pub(crate) last: Link,
    /// Its timestamp, in seconds since the epoch.
    pub(crate) last_s: u64,
}

impl Look<'_> {
    /// What is watched in the block with this header.
    pub(crate) async fn block(
        &self,
        endpoint: &Endpoint,
        header: &Header,
    ) -> Result<Vec<Observation>, Failure> {
        let mut observed = Vec::new();
        if self.may_have_events(header.bloom.as_ref()) {
            observed = self.events(endpoint, header).await?;
        }
        if self.interest.has_natives() {
            observed.extend(self.natives(endpoint, header).await?);
        }
        Ok(observed)
    }

    fn may_have_events(&self, bloom: Option<&Bloom>) -> bool {
        self.interest.has_events()
            && match bloom {
                Some(bloom) if self.blooms => self.interest.may_be_in(bloom),
                _ => true,
            }
    }

    /// All logs of the block, so that each log's place in its receipt is known, and whether one is
    /// missing.
    async fn events(
        &self,
        endpoint: &Endpoint,
        header: &Header,
    ) -> Result<Vec<Observation>, Failure> {
        match endpoint.logs_of(header.link.hash, None).await {
            Ok(mut logs) => {
                logs.sort_by_key(|log| log.log_index);
                self.check_whole(header, &logs)?;
                if !self.cross_checked {
                    self.check_receipts(endpoint, header, &logs).await?;
                }
                Ok(self.select(header, &logs))
            }
            // A block that somebody has filled with logs must not stop us.
            Err(Failure::TooLarge(_)) => self.events_by_receipt(endpoint, header).await,
            Err(failure) => Err(failure),
        }
    }

    fn check_whole(&self, header: &Header, logs: &[Log]) -> Result<(), Failure> {
        let incomplete = |why: String| {
            Failure::Wrong(format!(
                "the logs of block {} ({}) are not whole: {why}",
                header.link.number, header.link.hash
            ))
        };
        for (place, log) in logs.iter().enumerate() {
            if usize::try_from(log.log_index) != Ok(place) {
                return Err(incomplete(format!("log {place} is missing")));
            }
        }
        if let Some(bloom) = header.bloom.filter(|_| self.blooms) {
            let mut ours = Bloom::ZERO;
            for log in logs {
                ours.accrue_raw_log(log.address, &log.topics);
            }
            if ours != bloom {
                return Err(incomplete(format!(
                    "the {} that came do not make the block's bloom filter (`blooms`)",
                    logs.len()
                )));
            }
        }
        Ok(())
    }

    /// Two logs with the same topics set the same bits: where nobody else is asked, what is watched is
    /// compared with the receipts, which nodes keep apart from their index of logs.
    async fn check_receipts(
        &self,
        endpoint: &Endpoint,
        header: &Header,
        logs: &[Log],
    ) -> Result<(), Failure> {
        let wanted = self.watched(logs);
        let txs: HashSet<B256> = wanted.into_iter().map(|(tx, _)| tx).collect();
        stream::iter(txs)
            .map(|tx| async move {
                let receipt = endpoint.receipt(tx, header.link.hash).await?;
                let ours = logs.iter().filter(|log| log.transaction_hash == tx);
                if ours.eq(receipt.logs.iter()) {
                    return Ok(());
                }
                Err(Failure::Wrong(format!(
                    "the logs of block {} ({}) are not whole: the receipt of {tx} has others",
                    header.link.number, header.link.hash
                )))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Which contracts have a log that is watched by itself, by transaction.
    fn watched(&self, logs: &[Log]) -> HashSet<(B256, Address)> {
        logs.iter()
            .filter(|log| self.interest.wants_log(log.address, &log.topics))
            .map(|log| (log.transaction_hash, log.address))
            .collect()
    }

    /// Whether a log is kept, where these contracts have one that is watched by itself.
    fn keeps(&self, log: &Log, watched: &HashSet<(B256, Address)>) -> bool {
        self.interest.wants_log(log.address, &log.topics)
            || (watched.contains(&(log.transaction_hash, log.address))
                && self.interest.wants_beside(log.address, &log.topics))
    }

    fn is_by_itself(&self, seen: &Observation) -> bool {
        let topics: Vec<B256> = seen.topics.iter().copied().map(B256::from).collect();
        seen.source == ChainSource::Log && self.interest.wants_log(seen.address.into(), &topics)
    }

    fn select(&self, header: &Header, logs: &[Log]) -> Vec<Observation> {
        let watched = self.watched(logs);
        let mut ordinals: HashMap<B256, u32> = HashMap::new();
        let mut observed = Vec::new();
        for log in logs {
            let next = ordinals.entry(log.transaction_hash).or_default();
            let ordinal = *next;
            *next = next.saturating_add(1);
            if self.keeps(log, &watched) {
                observed.push(of_log(header, log, ordinal));
            }
        }
        observed
    }

    /// By filters, and each log's place, with what stands beside it, from its transaction's receipt.
    async fn events_by_receipt(
        &self,
        endpoint: &Endpoint,
        header: &Header,
    ) -> Result<Vec<Observation>, Failure> {
        let mut wanted: BTreeMap<u64, Log> = BTreeMap::new();
        for filter in self.interest.filters() {
            for log in endpoint.logs_of(header.link.hash, Some(&filter)).await? {
                if self.interest.wants_log(log.address, &log.topics) {
                    wanted.insert(log.log_index.to(), log);
                }
            }
        }
        let txs: HashSet<B256> = wanted.values().map(|log| log.transaction_hash).collect();
        let receipts: Vec<Vec<Log>> = stream::iter(txs)
            .map(|tx| async move {
                let receipt = endpoint.receipt(tx, header.link.hash).await?;
                Ok::<_, Failure>(receipt.logs)
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut found = BTreeMap::new();
        for logs in &receipts {
            let watched = self.watched(logs);
            for (ordinal, log) in (0_u32..).zip(logs) {
                if self.keeps(log, &watched) {
                    found.insert(log.log_index.to::<u64>(), (ordinal, log));
                }
            }
        }
        for (index, log) in &wanted {
            if found.get(index).is_none_or(|(_, other)| *other != log) {
                return Err(Failure::Wrong(format!(
                    "log {} of block {} is not in the receipt of {}",
                    log.log_index, header.link.number, log.transaction_hash
                )));
            }
        }
        for (index, (_, log)) in &found {
            let by_itself = self.interest.wants_log(log.address, &log.topics);
            if by_itself && !wanted.contains_key(index) {
                return Err(Failure::Wrong(format!(
                    "log {} of block {} is in the receipt of {}, and not among the block's",
                    log.log_index, header.link.number, log.transaction_hash
                )));
            }
        }
        let found = found.into_values();
        Ok(found
            .map(|(ordinal, log)| of_log(header, log, ordinal))
            .collect())
    }

    /// Transfers by transactions that went well.
    async fn natives(
        &self,
        endpoint: &Endpoint,
        header: &Header,
    ) -> Result<Vec<Observation>, Failure> {
        let block = endpoint.header_of(header.link.hash, true).await?;
        let mut observed = Vec::new();
        for transaction in block.transactions {
            let Some(to) = transaction.to.filter(|to| self.interest.wants_native(*to)) else {
                continue;
            };
            if transaction.value.is_zero() {
                continue;
            }
            let receipt = endpoint.receipt(transaction.hash, header.link.hash).await?;
            if receipt.status.is_some_and(|status| status.is_zero()) {
                continue;
            }
            observed.push(Observation {
                block: mark(header.link),
                time_s: header.time_s,
                source: ChainSource::Native,
                place: transaction.transaction_index.to(),
                tx: transaction.hash.0,
                ordinal: 0,
                address: to.into_array(),
                topics: vec![transaction.from.into_word().0],
                data: transaction.value.to_be_bytes::<32>().to_vec(),
            });
        }
        Ok(observed)
    }

    /// What is watched in a range of deep blocks. `getLogs` over the range says in which blocks there
    /// is something; each of these is then looked through by its hash. Before and after, the range's
    /// last block has to be the same.
    pub(crate) async fn range(
        &self,
        endpoint: &Endpoint,
        parent: Link,
        last: u64,
    ) -> Result<Found, Failure> {
        let first = parent.number + 1;
        let before = endpoint.header_at(last).await?;
        // Two questions may have the same log.
        let mut counts: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for filter in self.interest.filters() {
            for log in endpoint.logs_between(first, last, &filter).await? {
                if self.interest.wants_log(log.address, &log.topics) {
                    let of_block = counts.entry(log.block_number.to()).or_default();
                    of_block.insert(log.log_index.to());
                }
            }
        }
        // Where nobody else is asked, or a filter by logs says nothing, each header is looked at.
        let every_block = !self.cross_checked || self.interest.has_natives();
        let numbers: Vec<u64> = if every_block {
            (first..=last).collect()
        } else {
            let ends = [first, last];
            let mut numbers: Vec<u64> = counts.keys().copied().chain(ends).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        let counts = &counts;
        let looked: Vec<(Header, Vec<Observation>)> = stream::iter(numbers)
            .map(|number| async move {
                let header = endpoint.header_at(number).await?;
                let observed = if counts.contains_key(&number) || every_block {
                    self.block(endpoint, &header).await?
                } else {
                    Vec::new()
                };
                let logs = observed.iter().filter(|seen| self.is_by_itself(seen)).count();
                let said = counts.get(&number).map_or(0, BTreeSet::len);
                if logs != said {
                    return Err(Failure::Wrong(format!(
                        "block {number} has {logs} logs by its hash, {said} by the range {first} to {last}"
                    )));
                }
                Ok((header, observed))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut previous = parent;
        for (header, _) in &looked {
            if header.link.number == previous.number + 1 && header.link.parent != previous.hash {
                return Err(Failure::Missing(format!(
                    "block {} on {}: its branch has changed",
                    header.link.number, previous.hash
                )));
            }
            previous = header.link;
        }
        let after = endpoint.header_at(last).await?;
        if before.link != after.link || previous != after.link {
            return Err(Failure::Missing(format!(
                "unchanged block {last}: it was {} before and is {} now",
                before.link.hash, after.link.hash
            )));
        }
        Ok(Found {
            observed: looked
                .into_iter()
                .flat_map(|(_, observed)| observed)
                .collect(),
            last: after.link,
            last_s: after.time_s,
        })
    }
}

/// A block as the store knows it.
pub(crate) fn mark(link: Link) -> BlockMark {
    BlockMark {
        number: link.number,
        hash: link.hash.0,
    }
}

fn of_log(header: &Header, log: &Log, ordinal: u32) -> Observation {
    Observation {
        block: mark(header.link),
        time_s: header.time_s,
        source: ChainSource::Log,
        place: log.log_index.to(),
        tx: log.transaction_hash.0,
        ordinal,
        address: log.address.into_array(),
        topics: log.topics.iter().map(|topic| topic.0).collect(),
        data: log.data.to_vec(),
    }
}
