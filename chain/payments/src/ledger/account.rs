//! What amounts are booked on.

use std::fmt;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

use crate::invoice;

/// One side of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What increases assets and expenses.
    Debit,
    /// What increases liabilities and income.
    Credit,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Debit => Self::Credit,
            Self::Credit => Self::Debit,
        }
    }
}

/// An account of a tenant in one asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// Asset: what an address of the tenant got for invoices and has not given back, as the chain
    /// says, final or not.
    Wallet(Address),
    /// Liability: what came for an invoice and is neither earned nor promised to be given back.
    Pending(invoice::Id),
    /// Liability: what is to be given back and is not confirmed to be.
    RefundsDue(invoice::Id),
    /// Income: what settled invoices have brought.
    Revenue,
    /// Expense: what was given back of money that a later reorganisation took away.
    RefundLoss,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wallet(address) => write!(f, "wallet:{address:#x}"),
            Self::Pending(invoice) => write!(f, "pending:{invoice}"),
            Self::RefundsDue(invoice) => write!(f, "refunds-due:{invoice}"),
            Self::Revenue => f.write_str("revenue"),
            Self::RefundLoss => f.write_str("refund-loss"),
        }
    }
}
