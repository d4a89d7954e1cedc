//! The way from a block's root of receipts to one of them.

use alloy_primitives::{Address, B256, Bloom, Bytes, U64, keccak256};
use alloy_rlp::{Encodable as _, Header};
use alloy_trie::proof::ProofRetainer;
use alloy_trie::{HashBuilder, Nibbles};
use serde::Deserialize;

use crate::rlp;

/// A receipt as endpoints answer it (`eth_getBlockReceipts`), as far as it is encoded.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The transaction.
    pub transaction_hash: B256,
    /// Its place in the block.
    pub transaction_index: U64,
    /// The transaction's type (EIP-2718).
    #[serde(default, rename = "type")]
    pub kind: U64,
    /// Whether it went well.
    pub status: U64,
    /// The gas of the block up to here.
    pub cumulative_gas_used: U64,
    /// The bloom filter over its logs.
    pub logs_bloom: Bloom,
    /// Its logs.
    pub logs: Vec<Log>,
    /// Of a deposit to a chain of the OP stack.
    #[serde(default)]
    pub deposit_nonce: Option<U64>,
    /// Of a deposit to a chain of the OP stack.
    #[serde(default)]
    pub deposit_receipt_version: Option<U64>,
}

/// A log of a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Log {
    /// The contract.
    pub address: Address,
    /// Its topics.
    pub topics: Vec<B256>,
    /// Its data.
    pub data: Bytes,
}

impl Receipt {
    /// As it is hashed: the type's byte, then a list in RLP.
    fn encoded(&self) -> Vec<u8> {
        let mut logs = Vec::new();
        for log in &self.logs {
            let mut parts = Vec::new();
            log.address.encode(&mut parts);
            log.topics.encode(&mut parts);
            log.data.encode(&mut parts);
            listed(&parts, &mut logs);
        }
        let mut parts = Vec::new();
        self.status.encode(&mut parts);
        self.cumulative_gas_used.encode(&mut parts);
        self.logs_bloom.encode(&mut parts);
        listed(&logs, &mut parts);
        for extra in [self.deposit_nonce, self.deposit_receipt_version]
            .into_iter()
            .flatten()
        {
            extra.encode(&mut parts);
        }
        let mut out = Vec::new();
        if !self.kind.is_zero() {
            out.push(self.kind.to::<u64>().to_be_bytes()[7]);
        }
        listed(&parts, &mut out);
        out
    }
}

fn listed(payload: &[u8], out: &mut Vec<u8>) {
    let header = Header {
        list: true,
        payload_length: payload.len(),
    };
    header.encode(out);
    out.extend_from_slice(payload);
}

/// What shows that a transaction's receipt is in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The transaction's place in the block.
    pub index: u64,
    /// The nodes from the root of receipts to its receipt.
    pub path: Vec<Bytes>,
}

/// Why the way cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    /// The header's hash is another one.
    #[error(
        "the header does not give the block's hash: this chain hashes headers otherwise than Ethereum"
    )]
    Header,
    /// The receipts are not those of the header.
    #[error("the receipts do not give the header's root of receipts")]
    Receipts,
    /// The transaction is not there.
    #[error("the block does not have the transaction")]
    Transaction,
}

/// Shows the way to a transaction's receipt: `header` in RLP has to be that of the block, and `receipts`
/// all of it, in their order.
///
/// # Errors
/// [`NotShown`]: nothing is believed that does not fit.
pub fn show(block: B256, header: &[u8], receipts: &[Receipt], tx: B256) -> Result<Shown, NotShown> {
    if keccak256(header) != block {
        return Err(NotShown::Header);
    }
    let root = receipts_root(header).ok_or(NotShown::Header)?;
    let index = receipts
        .iter()
        .position(|receipt| receipt.transaction_hash == tx)
        .ok_or(NotShown::Transaction)?;
    let target = key(index as u64);
    let mut builder = HashBuilder::default().with_proof_retainer(ProofRetainer::new(vec![target]));
    for place in 0..receipts.len() {
        let at = alloy_trie::root::adjust_index_for_rlp(place, receipts.len());
        let receipt = receipts.get(at).ok_or(NotShown::Receipts)?;
        builder.add_leaf(key(at as u64), &receipt.encoded());
    }
    if builder.root() != root {
        return Err(NotShown::Receipts);
    }
    let nodes = builder.take_proof_nodes().into_nodes_sorted();
    Ok(Shown {
        index: index as u64,
        path: nodes.into_iter().map(|(_, node)| node).collect(),
    })
}

/// The root of all receipts of a block, in their order.
#[must_use]
pub fn receipts_root_of(receipts: &[Receipt]) -> B256 {
    let encoded: Vec<Vec<u8>> = receipts.iter().map(Receipt::encoded).collect();
    alloy_trie::root::ordered_trie_root_encoded(&encoded)
}

/// The root of receipts in a header.
pub(crate) fn receipts_root(header: &[u8]) -> Option<B256> {
    let fields = rlp::list(header)?;
    let (_, root) = fields.get(5)?;
    (root.len() == 32).then(|| B256::from_slice(root))
}

/// The key of the receipt at this place.
pub(crate) fn key(index: u64) -> Nibbles {
    Nibbles::unpack(alloy_rlp::encode(index))
}
