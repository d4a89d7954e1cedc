//! What the chain holds: accounts, storage and code, and how to go back.
//!
//! Each change first writes what was there before into the newest [`Layer`]. A block begins a new
//! layer, so that the state after any block that is not too old can be read (the oldest layer
//! above it that knows a key has its value) and returned to (layers are undone from the newest).
//! Layers that are older than the chain can be reorganised are forgotten.

use std::collections::{HashMap, VecDeque};

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, keccak256};
use revm::bytecode::Bytecode;
use revm::state::EvmState;

/// An account, but for its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) nonce: u64,
    pub(crate) balance: U256,
    pub(crate) code_hash: B256,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            nonce: 0,
            balance: U256::ZERO,
            code_hash: KECCAK256_EMPTY,
        }
    }
}

/// A place in the history of layers. Counts from the chain's start.
pub(crate) type Mark = u64;

/// What was there before the changes of one step.
#[derive(Debug, Default)]
struct Layer {
    accounts: HashMap<Address, Option<Account>>,
    slots: HashMap<(Address, U256), U256>,
}

impl Layer {
    fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.slots.is_empty()
    }
}

/// The state, now and some blocks back.
#[derive(Debug)]
pub(crate) struct World {
    accounts: HashMap<Address, Account>,
    slots: HashMap<(Address, U256), U256>,
    codes: HashMap<B256, Bytecode>,
    layers: VecDeque<Layer>,
    /// The mark of the oldest layer that is still there.
    oldest: Mark,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            accounts: HashMap::new(),
            slots: HashMap::new(),
            codes: HashMap::new(),
            layers: VecDeque::from([Layer::default()]),
            oldest: 0,
        }
    }

    /// Begins a new layer: what is there now can be returned to by its mark.
    pub(crate) fn mark(&mut self) -> Mark {
        if self.layers.back().is_none_or(|newest| !newest.is_empty()) {
            self.layers.push_back(Layer::default());
        }
        self.oldest + (self.layers.len() as u64).saturating_sub(1)
    }

    /// Whether the state at a mark is still known.
    pub(crate) fn knows(&self, mark: Mark) -> bool {
        mark >= self.oldest
    }

    /// Forgets how to return to marks older than this one.
    pub(crate) fn forget_before(&mut self, mark: Mark) {
        while self.oldest < mark && self.layers.len() > 1 {
            self.layers.pop_front();
            self.oldest += 1;
        }
    }

    /// Returns to a mark. False when it is no longer known.
    pub(crate) fn undo_to(&mut self, mark: Mark) -> bool {
        if !self.knows(mark) {
            return false;
        }
        while self.oldest + (self.layers.len() as u64) > mark {
            let Some(layer) = self.layers.pop_back() else {
                break;
            };
            for (address, before) in layer.accounts {
                match before {
                    Some(account) => self.accounts.insert(address, account),
                    None => self.accounts.remove(&address),
                };
            }
            for (key, before) in layer.slots {
                put_slot(&mut self.slots, key, before);
            }
        }
        self.layers.push_back(Layer::default());
        true
    }

    /// An account now, or at a mark that is [known](Self::knows).
    pub(crate) fn account(&self, at: Option<Mark>, address: Address) -> Option<Account> {
        self.layers_from(at)
            .find_map(|layer| layer.accounts.get(&address).copied())
            .unwrap_or_else(|| self.accounts.get(&address).copied())
    }

    /// A storage slot now, or at a mark that is [known](Self::knows).
    pub(crate) fn slot(&self, at: Option<Mark>, address: Address, key: U256) -> U256 {
        self.layers_from(at)
            .find_map(|layer| layer.slots.get(&(address, key)).copied())
            .or_else(|| self.slots.get(&(address, key)).copied())
            .unwrap_or_default()
    }

    pub(crate) fn code(&self, hash: B256) -> Option<&Bytecode> {
        self.codes.get(&hash)
    }

    pub(crate) fn set_account(&mut self, address: Address, account: Option<Account>) {
        let before = match account {
            Some(account) => self.accounts.insert(address, account),
            None => self.accounts.remove(&address),
        };
        if let Some(layer) = self.layers.back_mut() {
            layer.accounts.entry(address).or_insert(before);
        }
    }

    pub(crate) fn set_slot(&mut self, address: Address, key: U256, value: U256) {
        let before = put_slot(&mut self.slots, (address, key), value);
        if let Some(layer) = self.layers.back_mut() {
            layer.slots.entry((address, key)).or_insert(before);
        }
    }

    pub(crate) fn set_code(&mut self, code: Bytecode) -> B256 {
        let hash = code.hash_slow();
        self.codes.entry(hash).or_insert(code);
        hash
    }

    /// Takes over what a transaction changed.
    pub(crate) fn apply(&mut self, changes: EvmState) {
        for (address, change) in changes {
            if !change.is_touched() {
                continue;
            }
            // EIP-161: what is touched and empty is not there. EIP-6780: only what was created in
            // the same transaction can destroy itself, so it never had storage here.
            if change.is_selfdestructed() || change.is_empty() {
                if self.accounts.contains_key(&address) {
                    self.set_account(address, None);
                }
                continue;
            }
            let code_hash = match change.info.code {
                Some(code) if change.info.code_hash != KECCAK256_EMPTY => {
                    self.codes.entry(change.info.code_hash).or_insert(code);
                    change.info.code_hash
                }
                _ => change.info.code_hash,
            };
            let account = Account {
                nonce: change.info.nonce,
                balance: change.info.balance,
                code_hash,
            };
            if self.accounts.get(&address) != Some(&account) {
                self.set_account(address, Some(account));
            }
            for (key, slot) in change.storage {
                if slot.is_changed() {
                    self.set_slot(address, key, slot.present_value());
                }
            }
        }
    }

    /// A digest of a state and of what changed since a mark: what this chain's headers carry as
    /// their state root.
    pub(crate) fn digest(&self, before: B256, since: Mark) -> B256 {
        let mut accounts: Vec<Address> = Vec::new();
        let mut slots: Vec<(Address, U256)> = Vec::new();
        for layer in self.layers_from(Some(since)) {
            accounts.extend(layer.accounts.keys());
            slots.extend(layer.slots.keys());
        }
        if accounts.is_empty() && slots.is_empty() {
            return before;
        }
        accounts.sort_unstable();
        accounts.dedup();
        slots.sort_unstable();
        slots.dedup();
        let mut bytes = before.to_vec();
        for address in accounts {
            bytes.extend_from_slice(address.as_slice());
            let account = self.accounts.get(&address).copied().unwrap_or_default();
            bytes.extend_from_slice(&account.nonce.to_be_bytes());
            bytes.extend_from_slice(&account.balance.to_be_bytes::<32>());
            bytes.extend_from_slice(account.code_hash.as_slice());
        }
        for (address, key) in slots {
            bytes.extend_from_slice(address.as_slice());
            bytes.extend_from_slice(&key.to_be_bytes::<32>());
            bytes.extend_from_slice(&self.slot(None, address, key).to_be_bytes::<32>());
        }
        keccak256(&bytes)
    }

    /// The layers from a mark on, oldest first; none for the state as it is now.
    fn layers_from(&self, at: Option<Mark>) -> impl Iterator<Item = &Layer> {
        let skip = match at {
            Some(mark) => usize::try_from(mark.saturating_sub(self.oldest)).unwrap_or(usize::MAX),
            None => self.layers.len(),
        };
        self.layers.iter().skip(skip)
    }
}

/// Sets a slot; zero is no entry. Gives what was there.
fn put_slot(slots: &mut HashMap<(Address, U256), U256>, key: (Address, U256), value: U256) -> U256 {
    if value.is_zero() {
        slots.remove(&key)
    } else {
        slots.insert(key, value)
    }
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(balance: u64) -> Account {
        Account {
            balance: U256::from(balance),
            ..Account::default()
        }
    }

    proptest! {
        /// Whatever is changed and marked: each mark reads, and returns to, what was there.
        #[test]
        fn every_mark_is_what_was_there(
            steps in prop::collection::vec(
                prop::collection::vec((0_u8..4, 0_u64..4, any::<bool>()), 0..5), 1..12),
            back in 0_usize..12,
        ) {
            let mut world = World::new();
            let mut marks = Vec::new();
            let read = |world: &World, at| {
                (0_u8..4).map(|name| {
                    let address = Address::with_last_byte(name);
                    (world.account(at, address), world.slot(at, address, U256::ONE))
                }).collect::<Vec<_>>()
            };
            for step in &steps {
                let mark = world.mark();
                marks.push((mark, read(&world, None)));
                for (name, value, there) in step {
                    let address = Address::with_last_byte(*name);
                    world.set_account(address, there.then(|| account(*value)));
                    world.set_slot(address, U256::ONE, U256::from(*value));
                }
            }
            for (mark, expected) in &marks {
                prop_assert_eq!(&read(&world, Some(*mark)), expected);
            }
            let (mark, expected) = &marks[back.min(marks.len() - 1)];
            prop_assert!(world.undo_to(*mark));
            prop_assert_eq!(&read(&world, None), expected);
        }
    }

    #[test]
    fn what_is_forgotten_is_not_returned_to() {
        let mut world = World::new();
        let first = world.mark();
        world.set_account(Address::ZERO, Some(account(1)));
        let second = world.mark();
        world.set_account(Address::ZERO, Some(account(2)));
        world.forget_before(second);
        assert!(!world.knows(first));
        assert!(!world.undo_to(first));
        assert_eq!(world.account(None, Address::ZERO), Some(account(2)));
        assert!(world.undo_to(second));
        assert_eq!(world.account(None, Address::ZERO), Some(account(1)));
    }
}
