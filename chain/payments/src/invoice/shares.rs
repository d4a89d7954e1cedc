//! Whose money it is that goes back.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use alloy_primitives::Address;

use super::tally::lateness;
use super::{Invoice, Status};
use crate::money::Amount;

impl Invoice {
    /// Whose money it is that goes back, or went, by a method: how much of all its refunds is each
    /// payer's. What is refused goes back first, and what came last before what came earlier. Of blocks
    /// in which several have paid and not all goes back, only what is a payer's whatever their order:
    /// so the shares may come to less than the refunds, and never to more.
    #[must_use]
    pub fn shares(&self, method: u16) -> BTreeMap<Address, Amount> {
        let refunds = self.refunds.iter().filter(|refund| {
            refund.method == method && !matches!(refund.status(), Status::Withdrawn)
        });
        let mut left: Amount = refunds.map(|refund| refund.amount).sum();
        let mut blocks: BTreeMap<_, BTreeMap<Address, Amount>> = BTreeMap::new();
        for (_, payment) in self.firm_payments().filter(|(_, it)| it.method == method) {
            let place = (lateness(self, payment), Reverse(payment.block.number));
            let sum = blocks.entry(place).or_default();
            let sum = sum.entry(payment.from).or_default();
            *sum = sum.saturating_add(payment.amount);
        }
        let mut shares: BTreeMap<Address, Amount> = BTreeMap::new();
        for payers in blocks.into_values() {
            let all: Amount = payers.values().copied().sum();
            let taken = left.min(all);
            left = left.saturating_sub(taken);
            for (payer, own) in payers {
                let certain = taken.saturating_sub(all.saturating_sub(own));
                if !certain.is_zero() {
                    let share = shares.entry(payer).or_default();
                    *share = share.saturating_add(certain);
                }
            }
        }
        shares
    }
}
