//! Changes from outside, as tests make them: balances, code, time.

use alloy_primitives::{Address, Bytes, U256};
use revm::bytecode::Bytecode;

use super::Chain;
use crate::options::Clock;
use crate::world::Account;

/// A timestamp that no block can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Timestamp error: {timestamp} is lower than previous block's timestamp")]
pub(crate) struct TooEarly {
    timestamp: u64,
}

impl Chain {
    pub(crate) fn set_balance(&mut self, address: Address, balance: U256) {
        self.edit(address, |account| account.balance = balance);
    }

    pub(crate) fn set_nonce(&mut self, address: Address, nonce: u64) {
        self.edit(address, |account| account.nonce = nonce);
        self.pool.forget_below(&address, nonce);
    }

    /// # Errors
    /// Bytes that begin like an EIP-7702 delegation and are none.
    pub(crate) fn set_code(&mut self, address: Address, code: Bytes) -> Result<(), String> {
        let code = Bytecode::new_raw_checked(code).map_err(|error| error.to_string())?;
        let hash = if code.is_empty() {
            Account::default().code_hash
        } else {
            self.world.set_code(code)
        };
        self.edit(address, |account| account.code_hash = hash);
        Ok(())
    }

    pub(crate) fn set_slot(&mut self, address: Address, key: U256, value: U256) {
        self.edited = true;
        self.world.set_slot(address, key, value);
    }

    fn edit(&mut self, address: Address, change: impl FnOnce(&mut Account)) {
        let before = self.world.account(None, address);
        let mut account = before.unwrap_or_default();
        change(&mut account);
        if before.unwrap_or_default() == account {
            return;
        }
        self.edited = true;
        let there = account != Account::default();
        self.world.set_account(address, there.then_some(account));
    }

    /// Moves the chain's time on. Gives by how much it is ahead of the clock in all, in seconds.
    pub(crate) fn increase_time(&mut self, seconds: i64) -> i64 {
        self.ahead = self.ahead.saturating_add(seconds);
        self.ahead
    }

    /// Sets the time of the next block; later blocks go on from there.
    pub(crate) fn set_next_timestamp(&mut self, timestamp: u64, now: u64) -> Result<(), TooEarly> {
        if timestamp <= self.history.newest().timestamp {
            return Err(TooEarly { timestamp });
        }
        let otherwise = match self.options.clock {
            Clock::System => now,
            Clock::Steps { start, step } => {
                start.saturating_add(step.saturating_mul(self.head() + 1))
            }
        };
        self.ahead = i64::try_from(timestamp)
            .unwrap_or(i64::MAX)
            .saturating_sub(i64::try_from(otherwise).unwrap_or(i64::MAX));
        self.next_timestamp = Some(timestamp);
        Ok(())
    }

    /// Sets the base fee of the next block.
    pub(crate) fn set_next_base_fee(&mut self, base_fee_wei: u64) {
        self.next_base_fee = Some(base_fee_wei);
    }

    /// Takes a transaction out of the waiting ones.
    pub(crate) fn drop_waiting(&mut self, hash: &alloy_primitives::B256) -> bool {
        self.pool.remove(hash).is_some()
    }

    /// Takes all transactions out of the waiting ones.
    pub(crate) fn drop_all_waiting(&mut self) {
        self.pool.clear();
    }
}
