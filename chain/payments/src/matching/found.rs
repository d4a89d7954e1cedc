//! What was found in a transaction.

use std::fmt;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

use super::Target;
use crate::money::{Amount, Asset};
use crate::observation::Key;

/// A movement of money to somebody whose money is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is a payment of an invoice.
    Credit {
        /// Which movement.
        key: Key,
        /// Which invoice, and by which of its methods.
        target: Target,
        /// How much arrived, base units.
        amount: Amount,
        /// Who paid.
        from: Address,
    },
    /// It is of no invoice.
    Unmatched(Unmatched),
}

/// Money that came and is of no invoice: for people to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unmatched {
    /// Which movement.
    pub key: Key,
    /// In what.
    pub asset: Asset,
    /// To whom; of a payment contract, the contract.
    pub to: Address,
    /// Who paid.
    pub from: Address,
    /// How much, base units.
    pub amount: Amount,
    /// Why it matches nothing.
    pub reason: Reason,
}

/// Why money matches no invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No open invoice has this amount.
    Amount,
    /// The payment contract named an invoice that is not open.
    Invoice,
    /// The payment contract named an open invoice that can't be paid with this.
    Asset,
    /// The invoice had no room for it; see [`crate::invoice::Error::TooManyCredits`].
    Refused,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amount => "no open invoice has this amount",
            Self::Invoice => "the invoice that was named is not open",
            Self::Asset => "the invoice that was named can't be paid with this",
            Self::Refused => "the invoice has no room for a further payment",
        })
    }
}
