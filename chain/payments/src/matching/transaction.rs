//! What a transaction did, as far as payments care.

use alloy_primitives::{Address, B256, LogData};

use crate::money::Amount;

/// A log of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its place in its receipt, from 0.
    pub ordinal: u32,
    /// The contract that wrote it.
    pub address: Address,
    /// Topics and data.
    pub data: LogData,
}

/// What a transaction moved of the native coin by itself. What contracts move among each other is in
/// no log and in no transaction: a native payment comes directly or through `StencilPayments`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// Who sent it.
    pub from: Address,
    /// Who got it; a contract that was created gets nothing that is looked for.
    pub to: Address,
    /// How much, wei.
    pub amount: Amount,
}

/// A transaction that succeeded. One that was reverted has moved nothing and must not be given.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    /// The chain id of EIP-155.
    pub chain: u64,
    /// Its hash.
    pub hash: B256,
    /// Its `value`, if its follower reads transactions.
    pub value: Option<Value>,
    /// Logs of its receipt in their order, all of them or those of the contracts that are watched.
    pub logs: &'a [Log],
}
