//! Blocks, transactions, receipts and logs as clients read them.

use alloy_consensus::transaction::Recovered;
use alloy_consensus::{Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _};
use alloy_primitives::{B256, Bloom, Log, U256};
use alloy_rpc_types_eth as rpc;
use serde_json::{Value, json};

use super::{Code, Error};
use crate::block::{Block, Mined};
use crate::chain::Found;
use crate::pool::Signed;

/// A value as JSON.
pub(super) fn json_of(value: &impl serde::Serialize) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|error| Error::new(Code::Internal, error.to_string()))
}

/// A header, as `newHeads` has it.
pub(crate) fn header(block: &Block) -> Result<Value, Error> {
    json_of(&rpc_header(block))
}

fn rpc_header(block: &Block) -> rpc::Header {
    rpc::Header {
        hash: block.hash,
        inner: block.header(),
        total_difficulty: Some(U256::ZERO),
        size: Some(U256::from(block.size)),
    }
}

/// A block with the hashes of its transactions, or the whole of them.
pub(super) fn block(block: &Block, full: bool) -> Result<Value, Error> {
    let mut answer = header(block)?;
    let transactions = if full {
        (0..block.transactions().len())
            .map(|index| transaction(block, index))
            .collect::<Result<Vec<_>, _>>()?
    } else {
        block
            .transactions()
            .iter()
            .map(|mined| json!(mined.hash))
            .collect()
    };
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("uncles".to_owned(), json!([]));
        fields.insert("transactions".to_owned(), Value::Array(transactions));
        fields.insert("withdrawals".to_owned(), json!([]));
    }
    Ok(answer)
}

/// A transaction that was mined.
pub(super) fn transaction(block: &Block, index: usize) -> Result<Value, Error> {
    let unreadable = || Error::new(Code::Internal, "a kept transaction can't be read");
    let mined = block.transactions().get(index).ok_or_else(unreadable)?;
    let envelope = mined.transaction().ok_or_else(unreadable)?;
    json_of(&rpc::Transaction {
        effective_gas_price: Some(envelope.effective_gas_price(Some(block.base_fee))),
        inner: Recovered::new_unchecked(envelope, mined.from),
        block_hash: Some(block.hash),
        block_number: Some(block.number),
        transaction_index: Some(index as u64),
        block_timestamp: Some(block.timestamp),
    })
}

/// A transaction that waits.
pub(super) fn waiting(signed: &Signed) -> Result<Value, Error> {
    let envelope = (*signed.transaction).clone();
    json_of(&rpc::Transaction {
        effective_gas_price: Some(envelope.max_fee_per_gas()),
        inner: Recovered::new_unchecked(envelope, signed.from),
        block_hash: None,
        block_number: None,
        transaction_index: None,
        block_timestamp: None,
    })
}

/// The receipts of a block; of one transaction only if `only` says which.
pub(super) fn receipts(block: &Block, only: Option<usize>) -> Result<Vec<Value>, Error> {
    let (mut gas_used, mut first_log) = (0, 0);
    let mut answers = Vec::new();
    for (index, mined) in block.transactions().iter().enumerate() {
        gas_used += mined.gas_used;
        if only.is_none_or(|only| only == index) {
            answers.push(receipt(block, index, mined, gas_used, first_log)?);
        }
        first_log += mined.log_count();
    }
    Ok(answers)
}

fn receipt(
    block: &Block,
    index: usize,
    mined: &Mined,
    cumulative_gas_used: u64,
    first_log: u64,
) -> Result<Value, Error> {
    let envelope = mined
        .transaction()
        .ok_or_else(|| Error::new(Code::Internal, "a kept transaction can't be read"))?;
    let logs = mined.logs();
    let logs_bloom: Bloom = logs.iter().collect();
    let logs = (first_log..)
        .zip(logs)
        .map(|(log_index, log)| rpc_log(block, index, mined.hash, log_index, log, false))
        .collect();
    json_of(&rpc::TransactionReceipt {
        inner: ReceiptEnvelope::from_typed(
            mined.kind(),
            ReceiptWithBloom {
                receipt: Receipt {
                    status: mined.success.into(),
                    cumulative_gas_used,
                    logs,
                },
                logs_bloom,
            },
        ),
        transaction_hash: mined.hash,
        transaction_index: Some(index as u64),
        block_hash: Some(block.hash),
        block_number: Some(block.number),
        gas_used: mined.gas_used,
        effective_gas_price: envelope.effective_gas_price(Some(block.base_fee)),
        blob_gas_used: None,
        blob_gas_price: None,
        from: mined.from,
        to: envelope.to(),
        contract_address: mined.created,
    })
}

/// A log; `removed` when its block is no longer in the chain.
pub(crate) fn log(found: Found, removed: bool) -> Result<Value, Error> {
    let hash = found
        .block
        .transactions()
        .get(found.transaction)
        .map_or(B256::ZERO, |mined| mined.hash);
    json_of(&rpc_log(
        &found.block,
        found.transaction,
        hash,
        found.index,
        found.log,
        removed,
    ))
}

fn rpc_log(
    block: &Block,
    transaction: usize,
    transaction_hash: B256,
    log_index: u64,
    log: Log,
    removed: bool,
) -> rpc::Log {
    rpc::Log {
        inner: log,
        block_hash: Some(block.hash),
        block_number: Some(block.number),
        block_timestamp: Some(block.timestamp),
        transaction_hash: Some(transaction_hash),
        transaction_index: Some(transaction as u64),
        log_index: Some(log_index),
        removed,
    }
}
