//! How much may be lost to one payer.
//!
//! Who acts on a bare authorisation may go unpaid: its payer can spend the money or cancel it before
//! it is settled. What a payer has under way, and what was lost to them already, together stay
//! within a limit. A loss is forgiven by a person, not by time.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

use crate::cause::Key;
use crate::money::Amount;

/// Why nothing more is done for a payer on a bare authorisation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{payer} has {exposed} base units under way or unpaid: with {value} more that is beyond the limit \
     of {limit}; wait, or pay into the contract"
)]
pub struct Exceeded {
    /// Whose.
    pub payer: Address,
    /// What is under way and what was lost, base units.
    pub exposed: Amount,
    /// What was to be added.
    pub value: Amount,
    /// What is allowed.
    pub limit: Amount,
}

/// What is under way on bare authorisations, of one tenant in one asset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exposure {
    payers: BTreeMap<Address, Payer>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payer {
    under_way: BTreeMap<Key, Amount>,
    lost: BTreeMap<Key, Amount>,
}

impl Payer {
    fn sum(&self) -> Amount {
        self.under_way
            .values()
            .chain(self.lost.values())
            .copied()
            .sum()
    }
}

impl Exposure {
    /// What a payer has under way and what was lost to them.
    #[must_use]
    pub fn of(&self, payer: Address) -> Amount {
        self.payers.get(&payer).map(Payer::sum).unwrap_or_default()
    }

    /// How many charges of a payer are under way or unpaid.
    #[must_use]
    pub fn count(&self, payer: Address) -> usize {
        let of = self.payers.get(&payer);
        of.map_or(0, |of| of.under_way.len() + of.lost.len())
    }

    /// Takes a charge in, if that stays within the limit. Taken in twice it counts once.
    ///
    /// # Errors
    /// Where it would be beyond the limit; nothing has changed then.
    pub fn reserve(
        &mut self,
        payer: Address,
        charge: Key,
        value: Amount,
        limit: Amount,
    ) -> Result<(), Exceeded> {
        if self
            .payers
            .get(&payer)
            .is_some_and(|of| of.under_way.contains_key(&charge))
        {
            return Ok(());
        }
        let exposed = self.of(payer);
        if exposed.checked_add(value).is_none_or(|sum| sum > limit) {
            return Err(Exceeded {
                payer,
                exposed,
                value,
                limit,
            });
        }
        self.payers
            .entry(payer)
            .or_default()
            .under_way
            .insert(charge, value);
        Ok(())
    }

    /// A charge was paid, or nothing was done for it.
    pub fn free(&mut self, payer: Address, charge: Key) {
        self.change(payer, |of| {
            of.under_way.remove(&charge);
            of.lost.remove(&charge);
        });
    }

    /// Something was done, and it is not paid.
    pub fn lose(&mut self, payer: Address, charge: Key, value: Amount) {
        self.change(payer, |of| {
            of.under_way.remove(&charge);
            of.lost.insert(charge, value);
        });
    }

    /// Somebody forgives a payer what was lost.
    pub fn forgive(&mut self, payer: Address) {
        self.change(payer, |of| of.lost.clear());
    }

    fn change(&mut self, payer: Address, change: impl FnOnce(&mut Payer)) {
        let of = self.payers.entry(payer).or_default();
        change(of);
        if of.under_way.is_empty() && of.lost.is_empty() {
            self.payers.remove(&payer);
        }
    }
}
