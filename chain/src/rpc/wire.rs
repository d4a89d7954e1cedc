//! What endpoints answer, as far as it is used.

use alloy_primitives::{Address, B256, Bloom, Bytes, U64, U256};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Failure;
use super::failure::cut;
use crate::walk::Link;

/// The highest number of a block.
const MAX_NUMBER: u64 = i64::MAX.unsigned_abs();

/// A block's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The block.
    pub link: Link,
    /// Its timestamp, in seconds since the epoch.
    pub time_s: u64,
    /// The bloom filter over its logs, where it has one.
    pub bloom: Option<Bloom>,
    /// Its transactions, where they were asked for.
    pub transactions: Vec<Transaction>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    number: U64,
    hash: B256,
    parent_hash: B256,
    timestamp: U64,
    #[serde(default)]
    logs_bloom: Option<Bloom>,
}

#[derive(Deserialize)]
struct WithTransactions {
    transactions: Vec<Transaction>,
}

impl Header {
    /// Reads a block; `None`: the answer was `null`.
    pub(super) fn read(
        json: &RawValue,
        computed: bool,
        with_transactions: bool,
    ) -> Result<Option<Self>, Failure> {
        let wrong = |what: &str, error: serde_json::Error| {
            Failure::Wrong(format!("{what}: {}", cut(&error.to_string())))
        };
        let Some(block) = serde_json::from_str::<Option<Block>>(json.get())
            .map_err(|error| wrong("a block", error))?
        else {
            return Ok(None);
        };
        if computed {
            let header: alloy_rpc_types_eth::Header = serde_json::from_str(json.get())
                .map_err(|error| wrong("a block's header (`header_hashes`)", error))?;
            let hash = header.inner.hash_slow();
            if hash != block.hash {
                return Err(Failure::Wrong(format!(
                    "the header of block {} has hash {hash}, not {} (`header_hashes`)",
                    block.number, block.hash
                )));
            }
        }
        // What is counted beyond it has no place in the store, and no chain comes there.
        if block.number.to::<u64>() > MAX_NUMBER {
            return Err(Failure::Wrong(format!(
                "block {} is beyond all that a chain can have",
                block.number
            )));
        }
        let transactions = if with_transactions {
            serde_json::from_str::<WithTransactions>(json.get())
                .map_err(|error| wrong("a block's transactions", error))?
                .transactions
        } else {
            Vec::new()
        };
        Ok(Some(Self {
            link: Link {
                number: block.number.to(),
                hash: block.hash,
                parent: block.parent_hash,
            },
            time_s: block.timestamp.to(),
            bloom: block.logs_bloom,
            transactions,
        }))
    }
}

/// A transaction, as far as it moves the native coin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// Its hash.
    pub hash: B256,
    /// Its sender.
    pub from: Address,
    /// Its receiver; `None`: it makes a contract.
    #[serde(default)]
    pub to: Option<Address>,
    /// The amount, in wei.
    #[serde(default)]
    pub value: U256,
    /// Its index in the block.
    pub transaction_index: U64,
}

/// A log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// The contract.
    pub address: Address,
    /// Its topics.
    pub topics: Vec<B256>,
    /// Its data.
    pub data: Bytes,
    /// The block's number.
    pub block_number: U64,
    /// The block's hash.
    pub block_hash: B256,
    /// The transaction.
    pub transaction_hash: B256,
    /// Its index in the block.
    pub log_index: U64,
    /// Whether its block has left the chain.
    #[serde(default)]
    pub removed: bool,
}

/// A receipt, as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The block's hash.
    pub block_hash: B256,
    /// Whether the transaction went well. `None`: before Byzantium.
    #[serde(default)]
    pub status: Option<U64>,
    /// Its logs.
    pub logs: Vec<Log>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_block_that_no_chain_has_is_not_believed() {
        for (number, good) in [
            (MAX_NUMBER, true),
            (MAX_NUMBER + 1, false),
            (u64::MAX, false),
        ] {
            let hash = B256::ZERO;
            let block = json!({
                "number": U64::from(number), "hash": hash, "parentHash": hash, "timestamp": "0x1",
            });
            let block = serde_json::value::to_raw_value(&block).unwrap();
            let read = Header::read(&block, false, false);
            assert_eq!(read.is_ok(), good, "{read:?}");
        }
    }
}
