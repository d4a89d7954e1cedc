//! Transactions that wait to be mined.
//!
//! A sender's transactions leave in the order of their nonces; among senders, the one whose next
//! transaction pays the block's maker most comes first, and who was first among equals. What may
//! replace a waiting transaction of the same nonce, and how a refusal is worded, is geth's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use alloy_consensus::transaction::SignerRecoverable as _;
use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, U256};

/// Bytes that a transaction may have, as geth has it.
const MAX_TRANSACTION_BYTES: usize = 128 * 1024;
/// Transactions of one sender that may wait.
const MAX_OF_SENDER: usize = 1_024;
/// Gas that one transaction may ask for (EIP-7825).
const MAX_TRANSACTION_GAS: u64 = 1 << 24;

/// A transaction whose sender is known.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) hash: B256,
    pub(crate) from: Address,
    pub(crate) raw: Bytes,
    pub(crate) transaction: Arc<TxEnvelope>,
}

impl Signed {
    /// Reads EIP-2718 bytes and checks whether the chain takes such a transaction at all.
    ///
    /// # Errors
    /// In geth's words, what is wrong.
    pub(crate) fn read(raw: Bytes, chain_id: u64) -> Result<Self, Refusal> {
        if raw.len() > MAX_TRANSACTION_BYTES {
            return Err(Refusal::Oversized {
                bytes: raw.len(),
                most: MAX_TRANSACTION_BYTES,
            });
        }
        match raw.first() {
            None => {
                return Err(Refusal::Unreadable(
                    "typed transaction too short".to_owned(),
                ));
            }
            Some(0xc0..) | Some(1 | 2) => {}
            Some(_) => return Err(Refusal::Type),
        }
        let transaction = TxEnvelope::decode_2718_exact(&raw)
            .map_err(|error| Refusal::Unreadable(format!("rlp: {error}")))?;
        if transaction.is_eip4844() || transaction.is_eip7702() {
            return Err(Refusal::Type);
        }
        match transaction.chain_id() {
            Some(have) if have != chain_id => {
                return Err(Refusal::ChainId {
                    have,
                    want: chain_id,
                });
            }
            Some(_) => {}
            None => return Err(Refusal::Unprotected),
        }
        let from = transaction
            .recover_signer()
            .map_err(|_| Refusal::Signature)?;
        Ok(Self {
            hash: *transaction.tx_hash(),
            from,
            raw,
            transaction: Arc::new(transaction),
        })
    }

    fn nonce(&self) -> u64 {
        self.transaction.nonce()
    }

    /// The most that it can take from its sender.
    fn cost(&self) -> U256 {
        U256::from(self.transaction.max_fee_per_gas())
            .saturating_mul(U256::from(self.transaction.gas_limit()))
            .saturating_add(self.transaction.value())
    }

    fn tip_cap(&self) -> u128 {
        self.transaction
            .max_priority_fee_per_gas()
            .unwrap_or_else(|| self.transaction.max_fee_per_gas())
    }
}

/// Why a transaction is not taken; worded as geth does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message says it")]
pub enum Refusal {
    #[error("{0}")]
    Unreadable(String),
    #[error("transaction type not supported")]
    Type,
    #[error("oversized data: transaction size {bytes}, limit {most}")]
    Oversized { bytes: usize, most: usize },
    #[error("invalid sender: invalid chain id for signer: have {have} want {want}")]
    ChainId { have: u64, want: u64 },
    #[error("only replay-protected (EIP-155) transactions allowed over RPC")]
    Unprotected,
    #[error("invalid sender: invalid transaction v, r, s values")]
    Signature,
    #[error("already known")]
    AlreadyKnown,
    #[error("exceeds block gas limit")]
    BlockGasLimit,
    #[error("transaction gas limit too high (cap: {cap}, tx: {gas})")]
    GasCap { cap: u64, gas: u64 },
    #[error(
        "max priority fee per gas higher than max fee per gas: address {from:?}, maxPriorityFeePerGas: {tip}, maxFeePerGas: {cap}"
    )]
    TipAboveFee { from: Address, tip: u128, cap: u128 },
    #[error("intrinsic gas too low: gas {gas}, minimum needed {needed}")]
    IntrinsicGas { gas: u64, needed: u64 },
    #[error("insufficient gas for floor data gas cost: gas {gas}, minimum needed {needed}")]
    FloorGas { gas: u64, needed: u64 },
    #[error("max initcode size exceeded: code size {bytes}, limit {most}")]
    InitCode { bytes: usize, most: usize },
    #[error("nonce has max value: address {from:?}, nonce: {}", u64::MAX)]
    NonceMax { from: Address },
    #[error("nonce too low: next nonce {next}, tx nonce {nonce}")]
    NonceTooLow { next: u64, nonce: u64 },
    #[error(
        "insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, overshot {}",
        overshot(.cost, .balance)
    )]
    InsufficientFunds { balance: U256, cost: U256 },
    #[error("replacement transaction underpriced")]
    ReplacementUnderpriced,
    #[error("account limit exceeded: address {from:?} has {MAX_OF_SENDER} transactions waiting")]
    AccountLimit { from: Address },
    #[error("txpool is full")]
    Full,
}

fn overshot(cost: &U256, balance: &U256) -> U256 {
    cost.saturating_sub(*balance)
}

/// What the pool has to know of the chain to judge a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    /// The nonce that is to come next.
    pub(crate) nonce: u64,
    pub(crate) balance: U256,
}

/// The waiting transactions.
#[derive(Debug)]
pub(crate) struct Pool {
    waiting: HashMap<Address, BTreeMap<u64, Entry>>,
    by_hash: HashMap<B256, (Address, u64)>,
    arrivals: u64,
    most: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    signed: Signed,
    arrival: u64,
}

impl Pool {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            waiting: HashMap::new(),
            by_hash: HashMap::new(),
            arrivals: 0,
            most,
        }
    }

    /// Takes a transaction, or says why not.
    ///
    /// # Errors
    /// As geth words them.
    pub(crate) fn add(
        &mut self,
        signed: Signed,
        sender: Sender,
        gas_limit: u64,
    ) -> Result<(), Refusal> {
        if self.by_hash.contains_key(&signed.hash) {
            return Err(Refusal::AlreadyKnown);
        }
        check_itself(&signed, gas_limit)?;
        let nonce = signed.nonce();
        if nonce < sender.nonce {
            return Err(Refusal::NonceTooLow {
                next: sender.nonce,
                nonce,
            });
        }
        let cost = signed.cost();
        if cost > sender.balance {
            return Err(Refusal::InsufficientFunds {
                balance: sender.balance,
                cost,
            });
        }
        let of_sender = self.waiting.get(&signed.from);
        if let Some(old) = of_sender.and_then(|waiting| waiting.get(&nonce)) {
            if !outbids(&signed, &old.signed) {
                return Err(Refusal::ReplacementUnderpriced);
            }
            self.by_hash.remove(&old.signed.hash);
        } else if of_sender.is_some_and(|waiting| waiting.len() >= MAX_OF_SENDER) {
            return Err(Refusal::AccountLimit { from: signed.from });
        } else if self.by_hash.len() >= self.most {
            return Err(Refusal::Full);
        }
        self.arrivals += 1;
        self.by_hash.insert(signed.hash, (signed.from, nonce));
        self.waiting.entry(signed.from).or_default().insert(
            nonce,
            Entry {
                signed,
                arrival: self.arrivals,
            },
        );
        Ok(())
    }

    pub(crate) fn get(&self, hash: &B256) -> Option<&Signed> {
        let (from, nonce) = self.by_hash.get(hash)?;
        Some(&self.waiting.get(from)?.get(nonce)?.signed)
    }

    /// The nonce after those of a sender that wait without a gap.
    pub(crate) fn next_nonce(&self, from: &Address, next: u64) -> u64 {
        let Some(waiting) = self.waiting.get(from) else {
            return next;
        };
        let mut free = next;
        while waiting.contains_key(&free) {
            free += 1;
        }
        free
    }

    /// How many can be executed one after the other, and how many wait for a nonce between.
    pub(crate) fn count(&self, next_nonce: impl Fn(&Address) -> u64) -> (u64, u64) {
        let pending = self
            .waiting
            .keys()
            .map(|from| {
                let next = next_nonce(from);
                self.next_nonce(from, next) - next
            })
            .sum();
        (pending, (self.by_hash.len() as u64).saturating_sub(pending))
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, hash: &B256) -> Option<Signed> {
        let (from, nonce) = self.by_hash.remove(hash)?;
        let waiting = self.waiting.get_mut(&from)?;
        let entry = waiting.remove(&nonce);
        if waiting.is_empty() {
            self.waiting.remove(&from);
        }
        Some(entry?.signed)
    }

    /// All, in the order in which they came.
    pub(crate) fn all(&self) -> Vec<Signed> {
        let mut entries: Vec<&Entry> = self.waiting.values().flat_map(BTreeMap::values).collect();
        entries.sort_unstable_by_key(|entry| entry.arrival);
        entries.iter().map(|entry| entry.signed.clone()).collect()
    }

    /// Takes all out.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.by_hash.clear();
    }

    /// Drops a sender's transactions that the chain has passed.
    pub(crate) fn forget_below(&mut self, from: &Address, nonce: u64) {
        let Some(waiting) = self.waiting.get_mut(from) else {
            return;
        };
        while let Some(first) = waiting.first_entry() {
            if *first.key() >= nonce {
                break;
            }
            self.by_hash.remove(&first.remove().signed.hash);
        }
        if waiting.is_empty() {
            self.waiting.remove(from);
        }
    }

    /// What could be mined next: of each sender the transaction that has its next nonce and pays
    /// the base fee; the best payer first. `skip` holds senders that the block has no room for.
    pub(crate) fn best(
        &self,
        base_fee: u64,
        next_nonce: impl Fn(&Address) -> u64,
        skip: &std::collections::HashSet<Address>,
    ) -> Option<Signed> {
        self.waiting
            .iter()
            .filter(|(from, _)| !skip.contains(*from))
            .filter_map(|(from, waiting)| waiting.get(&next_nonce(from)))
            .filter_map(|entry| {
                let tip = entry.signed.transaction.effective_tip_per_gas(base_fee)?;
                Some((tip, std::cmp::Reverse(entry.arrival), entry))
            })
            .max_by_key(|(tip, arrival, _)| (*tip, *arrival))
            .map(|(_, _, entry)| entry.signed.clone())
    }
}

/// What can be said of a transaction without the chain's state.
fn check_itself(signed: &Signed, block_gas_limit: u64) -> Result<(), Refusal> {
    let transaction = &*signed.transaction;
    let gas = transaction.gas_limit();
    let from = signed.from;
    let init_code = transaction
        .kind()
        .is_create()
        .then(|| transaction.input().len());
    if let Some(bytes) = init_code.filter(|bytes| *bytes > 2 * 24_576) {
        return Err(Refusal::InitCode {
            bytes,
            most: 2 * 24_576,
        });
    }
    if gas > block_gas_limit {
        return Err(Refusal::BlockGasLimit);
    }
    if gas > MAX_TRANSACTION_GAS {
        return Err(Refusal::GasCap {
            cap: MAX_TRANSACTION_GAS,
            gas,
        });
    }
    let (tip, cap) = (signed.tip_cap(), transaction.max_fee_per_gas());
    if tip > cap {
        return Err(Refusal::TipAboveFee { from, tip, cap });
    }
    if transaction.nonce() == u64::MAX {
        return Err(Refusal::NonceMax { from });
    }
    let zeros = transaction
        .input()
        .iter()
        .filter(|byte| **byte == 0)
        .count() as u64;
    let others = transaction.input().len() as u64 - zeros;
    let words = init_code.map_or(0, |bytes| (bytes as u64).div_ceil(32));
    let listed = transaction.access_list().map_or(0, |list| {
        list.0.iter().fold(0, |sum, item| {
            sum + 2_400 + 1_900 * item.storage_keys.len() as u64
        })
    });
    let needed = 21_000
        + 4 * zeros
        + 16 * others
        + listed
        + if init_code.is_some() {
            32_000 + 2 * words
        } else {
            0
        };
    if gas < needed {
        return Err(Refusal::IntrinsicGas { gas, needed });
    }
    // EIP-7623: ten a token, a byte that is not zero is four tokens.
    let needed = 21_000 + 10 * (zeros + 4 * others);
    if gas < needed {
        return Err(Refusal::FloorGas { gas, needed });
    }
    Ok(())
}

/// A replacement pays a tenth more, in both of its fees.
fn outbids(new: &Signed, old: &Signed) -> bool {
    let enough = |new: u128, old: u128| new >= old.saturating_mul(110).div_ceil(100) && new > old;
    enough(
        new.transaction.max_fee_per_gas(),
        old.transaction.max_fee_per_gas(),
    ) && enough(new.tip_cap(), old.tip_cap())
}
