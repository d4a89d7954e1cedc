//! Amounts that tell invoices apart.

use std::collections::HashMap;

use alloy_primitives::{Address, U256};

use crate::money::{Amount, Asset};

/// Prices of which it is known where the search goes on: with rates that move each invoice has one of its own.
const MAX_PRICES: usize = 10_000;

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
        // A search that begins anew passes what is taken: it takes longer, and finds the same.
        if self.0.len() >= MAX_PRICES && !self.0.contains_key(&(asset, payee, price)) {
            self.0.clear();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_that_are_ever_new_take_no_more_room_than_there_is() {
        let mut cursors = Cursors::default();
        let (asset, step) = (Asset::native(1), Amount::from(1_u64));
        let mut next = |price: usize, free: &dyn Fn(Amount) -> bool| {
            let price = Amount(U256::from(price));
            let found = cursors.next((asset, Address::ZERO, price), step, 9, free);
            assert!(cursors.0.len() <= MAX_PRICES);
            found
        };
        for price in 1..=2 * MAX_PRICES + 1 {
            assert_eq!(next(price, &|_| true), Some(Amount(U256::from(price))));
        }
        // Where it is not known any more where to go on, what is taken is passed.
        let first = Amount::from(1_u64);
        let second = Amount::from(2_u64);
        assert_eq!(next(1, &|amount| amount != first), Some(second));
    }
}
