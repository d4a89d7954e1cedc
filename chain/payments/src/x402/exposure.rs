//! How much may be lost to one payer, and how much a payer has signed away that is not settled.
//!
//! A signature costs nothing: of one balance a payer can sign away any number of payments, of which one
//! is paid. So what is signed and not settled is counted, too, and together it has to be there.
//!
//! Who acts on a bare authorisation may go unpaid: its payer can spend the money or cancel it before
//! it is settled. What a payer has under way, and what was lost to them already, together stay
//! within a limit. A loss is forgiven by a person, not by time.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

use crate::cause::Key;
use crate::invoice::Id;
use crate::money::Amount;

/// Purchases that a payer may have signed for, of one tenant and in one asset, that are not settled.
pub const MAX_UNSETTLED: usize = 16;

/// Why nothing more is done for a payer on a bare authorisation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{payer} has {exposed} base units under way or unpaid: with {value} more that is beyond the limit \
     of {limit}"
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

/// A payment that a payer has signed and that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsettled {
    /// How much, base units.
    pub value: Amount,
    /// Until when it can be settled, seconds since the epoch.
    pub until_s: u64,
}

/// Why one more payment of a payer is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCovered {
    /// It has to wait for others.
    #[error(
        "{payer} has {MAX_UNSETTLED} payments that are not settled yet: wait until some of them are"
    )]
    TooMany {
        /// Whose.
        payer: Address,
    },
    /// The money for it is signed away already.
    #[error(
        "{payer} has {balance} base units, of which {signed} are signed away to this seller and not \
         settled yet: that does not leave {value}"
    )]
    Balance {
        /// Whose.
        payer: Address,
        /// What the payer has, base units.
        balance: Amount,
        /// What is under way of it.
        signed: Amount,
        /// What was to be added.
        value: Amount,
    },
}

/// What is under way of payers, of one tenant in one asset.
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
    /// Purchases that are paid before anything is given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    unsettled: BTreeMap<Id, Unsettled>,
}

impl Payer {
    /// What is signed and not settled.
    fn signed(&self) -> Amount {
        let purchases = self.unsettled.values().map(|it| it.value);
        self.under_way.values().copied().chain(purchases).sum()
    }

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

    /// What was lost to a payer, of [`Exposure::of`]: time makes it no less.
    #[must_use]
    pub fn lost(&self, payer: Address) -> Amount {
        let of = self.payers.get(&payer).into_iter();
        of.flat_map(|of| of.lost.values().copied()).sum()
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

    /// Whether a payer who has `balance` has money for one more, beside what is signed and not settled.
    ///
    /// # Errors
    /// It is signed away.
    pub fn covers(&self, payer: Address, value: Amount, balance: Amount) -> Result<(), NotCovered> {
        let signed = self.payers.get(&payer).map(Payer::signed);
        let signed = signed.unwrap_or_default();
        if signed.checked_add(value).is_some_and(|sum| sum <= balance) {
            return Ok(());
        }
        Err(NotCovered::Balance {
            payer,
            balance,
            signed,
            value,
        })
    }

    /// Takes a purchase in that a payer who has `balance` has signed for. Taken in twice it counts once.
    ///
    /// # Errors
    /// Where it would be too many or more than the payer has; nothing has changed then.
    pub fn sign(
        &mut self,
        payer: Address,
        purchase: Id,
        unsettled: Unsettled,
        balance: Amount,
    ) -> Result<(), NotCovered> {
        let of = self.payers.get(&payer);
        if of.is_some_and(|of| of.unsettled.contains_key(&purchase)) {
            return Ok(());
        }
        if of.is_some_and(|of| of.unsettled.len() >= MAX_UNSETTLED) {
            return Err(NotCovered::TooMany { payer });
        }
        self.covers(payer, unsettled.value, balance)?;
        let of = self.payers.entry(payer).or_default();
        of.unsettled.insert(purchase, unsettled);
        Ok(())
    }

    /// The purchases that a payer has signed for and that were not settled when they were last looked at.
    pub fn unsettled(&self, payer: Address) -> impl Iterator<Item = (Id, Unsettled)> + '_ {
        let of = self.payers.get(&payer).into_iter();
        of.flat_map(|of| of.unsettled.iter().map(|(id, it)| (*id, *it)))
    }

    /// A purchase was settled, or won't be.
    pub fn settle(&mut self, payer: Address, purchase: Id) {
        self.change(payer, |of| {
            of.unsettled.remove(&purchase);
        });
    }

    /// A charge was paid, or nothing was done for it.
    pub fn free(&mut self, payer: Address, charge: Key) {
        self.change(payer, |of| {
            of.under_way.remove(&charge);
            of.lost.remove(&charge);
        });
    }

    /// What was paid is so no more: it is under way again, whatever the limit says, since something was done
    /// for it already.
    pub fn reopen(&mut self, payer: Address, charge: Key, value: Amount) {
        self.change(payer, |of| {
            of.under_way.insert(charge, value);
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
        if of.under_way.is_empty() && of.lost.is_empty() && of.unsettled.is_empty() {
            self.payers.remove(&payer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYER: Address = Address::repeat_byte(1);

    fn one(value: u64) -> Unsettled {
        Unsettled {
            value: Amount::from(value),
            until_s: 9,
        }
    }

    #[test]
    fn what_is_signed_has_to_be_there_together() {
        let (mut exposure, balance) = (Exposure::default(), Amount::from(25_u64));
        let charge = Key([1; 32]);
        exposure
            .reserve(PAYER, charge, Amount::from(10_u64), balance)
            .unwrap();
        exposure.sign(PAYER, Id([1; 16]), one(10), balance).unwrap();
        // The same again is no other.
        exposure.sign(PAYER, Id([1; 16]), one(10), balance).unwrap();
        let more = exposure.sign(PAYER, Id([2; 16]), one(10), balance);
        assert!(matches!(more, Err(NotCovered::Balance { .. })), "{more:?}");
        exposure.sign(PAYER, Id([2; 16]), one(5), balance).unwrap();
        exposure.free(PAYER, charge);
        exposure.settle(PAYER, Id([1; 16]));
        assert_eq!(
            exposure.unsettled(PAYER).collect::<Vec<_>>(),
            [(Id([2; 16]), one(5))]
        );
        exposure.settle(PAYER, Id([2; 16]));
        assert_eq!(exposure, Exposure::default());
    }

    #[test]
    fn however_rich_a_payer_has_so_many_purchases_unsettled() {
        let mut exposure = Exposure::default();
        let rich = Amount::from(u64::MAX);
        for n in 0..MAX_UNSETTLED {
            let id = Id([u8::try_from(n).unwrap(); 16]);
            exposure.sign(PAYER, id, one(1), rich).unwrap();
        }
        let more = exposure.sign(PAYER, Id([99; 16]), one(1), rich);
        assert_eq!(more, Err(NotCovered::TooMany { payer: PAYER }));
        let other = Address::repeat_byte(2);
        exposure.sign(other, Id([99; 16]), one(1), rich).unwrap();
    }

    #[test]
    fn what_is_unpaid_again_counts_whatever_the_limit_says() {
        let mut exposure = Exposure::default();
        let [first, second] = [1, 2].map(|n| Key([n; 32]));
        let ten = Amount::from(10_u64);
        exposure.reserve(PAYER, first, ten, ten).unwrap();
        exposure.free(PAYER, first);
        exposure.reserve(PAYER, second, ten, ten).unwrap();
        exposure.reopen(PAYER, first, ten);
        assert_eq!(exposure.of(PAYER), Amount::from(20_u64));
        // It is signed away, too, and no loss that could be forgiven.
        let covered = exposure.covers(PAYER, ten, Amount::from(29_u64));
        assert!(
            matches!(covered, Err(NotCovered::Balance { .. })),
            "{covered:?}"
        );
        exposure.forgive(PAYER);
        assert_eq!(exposure.count(PAYER), 2);
        exposure.free(PAYER, second);
        assert_eq!(exposure.lost(PAYER), Amount::ZERO);
        exposure.lose(PAYER, first, ten);
        assert_eq!((exposure.of(PAYER), exposure.lost(PAYER)), (ten, ten));
        exposure.forgive(PAYER);
        assert_eq!(exposure, Exposure::default());
    }

    #[test]
    fn what_was_kept_before_there_were_purchases_is_read() {
        let kept = format!(
            r#"{{"payers":{{"{PAYER:#x}":{{"under_way":{{}},"lost":{{"{}":"3"}}}}}}}}"#,
            "01".repeat(32)
        );
        let exposure: Exposure = serde_json::from_str(&kept).unwrap();
        assert_eq!(exposure.of(PAYER), Amount::from(3_u64));
    }
}
