//! Blocks as they are kept: small, since there may be a hundred thousand of them.
//!
//! What all blocks of a chain share is not stored, receipts hold no blooms, and logs are bytes
//! until they are asked for. An empty block takes about 250 bytes.

use alloy_consensus::constants::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH};
use alloy_consensus::{Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, TxEnvelope, TxType};
use alloy_eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::{Address, B64, B256, Bloom, Bytes, Log, U256, b256, keccak256};
use alloy_rlp::Decodable as _;

/// SHA-256 of nothing: the EIP-7685 hash of no requests.
const EMPTY_REQUESTS: B256 =
    b256!("0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

/// A block of the chain.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    pub(crate) parent_hash: B256,
    pub(crate) timestamp: u64,
    pub(crate) gas_limit: u64,
    pub(crate) gas_used: u64,
    pub(crate) base_fee: u64,
    pub(crate) state_root: B256,
    pub(crate) mix_hash: B256,
    pub(crate) size: u64,
    /// Where the state was before its first transaction.
    pub(crate) mark: crate::world::Mark,
    /// Nothing for a block without transactions.
    pub(crate) body: Option<Box<Body>>,
}

/// What is in a block.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) transactions_root: B256,
    pub(crate) receipts_root: B256,
    pub(crate) bloom: Bloom,
    pub(crate) transactions: Box<[Mined]>,
}

/// A transaction in a block, and what it came to.
#[derive(Debug)]
pub(crate) struct Mined {
    pub(crate) hash: B256,
    pub(crate) from: Address,
    /// EIP-2718 bytes.
    pub(crate) raw: Bytes,
    pub(crate) success: bool,
    pub(crate) gas_used: u64,
    pub(crate) created: Option<Address>,
    log_count: u32,
    /// RLP of the logs.
    logs: Box<[u8]>,
}

impl Mined {
    pub(crate) fn new(
        transaction: &crate::pool::Signed,
        success: bool,
        gas_used: u64,
        created: Option<Address>,
        logs: &Vec<Log>,
    ) -> Self {
        Self {
            hash: transaction.hash,
            from: transaction.from,
            raw: transaction.raw.clone(),
            success,
            gas_used,
            created,
            log_count: u32::try_from(logs.len()).unwrap_or(u32::MAX),
            logs: if logs.is_empty() {
                Box::default()
            } else {
                alloy_rlp::encode(logs).into_boxed_slice()
            },
        }
    }

    /// The transaction. Nothing can't be: what is kept was read before.
    pub(crate) fn transaction(&self) -> Option<TxEnvelope> {
        TxEnvelope::decode_2718_exact(&self.raw).ok()
    }

    pub(crate) fn logs(&self) -> Vec<Log> {
        if self.logs.is_empty() {
            return Vec::new();
        }
        Vec::<Log>::decode(&mut &*self.logs).unwrap_or_default()
    }

    pub(crate) fn log_count(&self) -> u64 {
        u64::from(self.log_count)
    }

    /// The type that EIP-2718 gives it.
    pub(crate) fn kind(&self) -> TxType {
        match self.raw.first() {
            Some(1) => TxType::Eip2930,
            Some(2) => TxType::Eip1559,
            _ => TxType::Legacy,
        }
    }
}

/// The receipt as it is hashed.
pub(crate) fn receipt(mined: &Mined, cumulative_gas_used: u64) -> ReceiptEnvelope {
    let receipt = Receipt {
        status: mined.success.into(),
        cumulative_gas_used,
        logs: mined.logs(),
    };
    ReceiptEnvelope::from_typed(mined.kind(), ReceiptWithBloom::from(receipt))
}

/// A block before it has its hash.
pub(crate) struct Draft {
    pub(crate) number: u64,
    pub(crate) parent_hash: B256,
    pub(crate) timestamp: u64,
    pub(crate) gas_limit: u64,
    pub(crate) base_fee: u64,
    pub(crate) state_root: B256,
    pub(crate) mix_hash: B256,
    pub(crate) mark: crate::world::Mark,
    pub(crate) transactions: Vec<Mined>,
}

impl Draft {
    /// Computes roots, bloom and hash.
    pub(crate) fn seal(self) -> Block {
        let mut gas_used = 0;
        let body = (!self.transactions.is_empty()).then(|| {
            let mut bloom = Bloom::ZERO;
            let receipts: Vec<Vec<u8>> = self
                .transactions
                .iter()
                .map(|mined| {
                    gas_used += mined.gas_used;
                    let receipt = receipt(mined, gas_used);
                    bloom.accrue_bloom(receipt.logs_bloom());
                    receipt.encoded_2718()
                })
                .collect();
            let raw: Vec<&[u8]> = self
                .transactions
                .iter()
                .map(|mined| mined.raw.as_ref())
                .collect();
            Box::new(Body {
                transactions_root: alloy_trie::root::ordered_trie_root_encoded(&raw),
                receipts_root: alloy_trie::root::ordered_trie_root_encoded(&receipts),
                bloom,
                transactions: self.transactions.into_boxed_slice(),
            })
        });
        let mut block = Block {
            number: self.number,
            hash: B256::ZERO,
            parent_hash: self.parent_hash,
            timestamp: self.timestamp,
            gas_limit: self.gas_limit,
            gas_used,
            base_fee: self.base_fee,
            state_root: self.state_root,
            mix_hash: self.mix_hash,
            size: 0,
            mark: self.mark,
            body,
        };
        let header = block.header();
        block.hash = header.hash_slow();
        let transactions: usize = block
            .transactions()
            .iter()
            .map(|mined| alloy_rlp::Encodable::length(&*mined.raw))
            .sum();
        // Header, transactions, and the empty lists of ommers and withdrawals.
        let payload = alloy_rlp::Encodable::length(&header)
            + alloy_rlp::length_of_length(transactions)
            + transactions
            + 2;
        block.size = (alloy_rlp::length_of_length(payload) + payload) as u64;
        block
    }
}

impl Block {
    pub(crate) fn transactions(&self) -> &[Mined] {
        self.body.as_deref().map_or(&[], |body| &*body.transactions)
    }

    pub(crate) fn header(&self) -> Header {
        let body = self.body.as_deref();
        Header {
            parent_hash: self.parent_hash,
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            beneficiary: Address::ZERO,
            state_root: self.state_root,
            transactions_root: body.map_or(EMPTY_ROOT_HASH, |body| body.transactions_root),
            receipts_root: body.map_or(EMPTY_ROOT_HASH, |body| body.receipts_root),
            logs_bloom: body.map_or(Bloom::ZERO, |body| body.bloom),
            difficulty: U256::ZERO,
            number: self.number,
            gas_limit: self.gas_limit,
            gas_used: self.gas_used,
            timestamp: self.timestamp,
            extra_data: Bytes::new(),
            mix_hash: self.mix_hash,
            nonce: B64::ZERO,
            base_fee_per_gas: Some(self.base_fee),
            withdrawals_root: Some(EMPTY_ROOT_HASH),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            requests_hash: Some(EMPTY_REQUESTS),
            ..Header::default()
        }
    }

    /// What a block on this one pays at least a unit of gas, by EIP-1559.
    pub(crate) fn next_base_fee(&self) -> u64 {
        alloy_eips::eip1559::calc_next_block_base_fee(
            self.gas_used,
            self.gas_limit,
            self.base_fee,
            alloy_eips::eip1559::BaseFeeParams::ethereum(),
        )
    }
}

/// The randomness of a block: two branches never have it in common, and so no hash either.
pub(crate) fn mix_hash(seed: u64, branch: u64, number: u64) -> B256 {
    let mut bytes = [0; 24];
    for (place, part) in bytes.chunks_exact_mut(8).zip([seed, branch, number]) {
        place.copy_from_slice(&part.to_be_bytes());
    }
    keccak256(bytes)
}
