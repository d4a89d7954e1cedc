//! What accounts are to hold.

use std::collections::BTreeMap;

use alloy_primitives::I256;

use super::{Account, Error, Line, Side};
use crate::money::Amount;

/// What accounts of one asset hold on account of one invoice: debits positive, credits negative.
/// All together are zero in a balanced position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position(BTreeMap<Account, I256>);

impl Position {
    /// Adds an amount on one side.
    ///
    /// # Errors
    /// A sum that does not fit 255 bits.
    pub fn add(&mut self, account: Account, side: Side, amount: Amount) -> Result<(), Error> {
        let amount = I256::try_from(amount.0).map_err(|_| Error::TooLarge(account))?;
        let held = self.0.entry(account).or_default();
        *held = match side {
            Side::Debit => held.checked_add(amount),
            Side::Credit => held.checked_sub(amount),
        }
        .ok_or(Error::TooLarge(account))?;
        if held.is_zero() {
            self.0.remove(&account);
        }
        Ok(())
    }

    /// What an account holds: debits positive.
    #[must_use]
    pub fn of(&self, account: Account) -> I256 {
        self.0.get(&account).copied().unwrap_or_default()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lines that make `after` of this.
    pub(super) fn difference(&self, after: &Self) -> Result<Vec<Line>, Error> {
        let accounts: std::collections::BTreeSet<_> =
            self.0.keys().chain(after.0.keys()).copied().collect();
        let mut lines = Vec::new();
        for account in accounts {
            let moved = after
                .of(account)
                .checked_sub(self.of(account))
                .ok_or(Error::TooLarge(account))?;
            if !moved.is_zero() {
                let side = if moved.is_negative() {
                    Side::Credit
                } else {
                    Side::Debit
                };
                lines.push(Line {
                    account,
                    side,
                    amount: Amount(moved.unsigned_abs()),
                });
            }
        }
        Ok(lines)
    }
}
