//! Amounts that tell invoices apart.

use std::collections::HashMap;

use alloy_primitives::{Address, U256};

use crate::money::{Amount, Asset};

/// Where the search for a free offset goes on, by asset, payee and price: invoices of one price are
/// common, and each search that began at zero would pass all that are taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursors(HashMap<(Asset, Address, Amount), u32>);

impl Cursors {
    /// The first of `price + k · step`, `k` from 0 to `most`, that is free, beginning where the last
    /// search ended.
    pub(super) fn next(
        &mut self,
        (asset, payee, price): (Asset, Address, Amount),
        step: Amount,
        most: u32,
        free: impl Fn(Amount) -> bool,
    ) -> Option<Amount> {
        let cursor = self.0.entry((asset, payee, price)).or_default();
        let begin = if *cursor > most { 0 } else { *cursor };
        for offset in (begin..=most).chain(0..begin) {
            let added = step.0.checked_mul(U256::from(offset))?;
            let amount = price.checked_add(Amount(added))?;
            if amount.is_sane() && free(amount) {
                *cursor = offset.saturating_add(1);
                return Some(amount);
            }
        }
        None
    }

    /// Forgets prices that no invoice has any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
