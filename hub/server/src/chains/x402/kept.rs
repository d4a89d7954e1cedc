//! A purchase as it is known and kept, and why there is none.

use stencil_payments::invoice::Id;
use stencil_payments::money::Amount;
use stencil_payments::port::{Brings, Order};
use stencil_payments::x402::{Reason, Refused};
use stencil_payments::{Address, Bytes};
use stencil_store::{Error as StoreError, StoredPurchase};

use super::purchase::Purchase;

/// Why nothing is given.
#[derive(Debug)]
pub(crate) enum No {
    /// The payment does not do; nothing was charged.
    Refused(Refused),
    /// What was tried to be settled was not, and nothing was charged.
    Failed(Paying, Refused),
    /// Too much of what its payer has signed has come to nothing: none is taken for so many seconds.
    Rests(Refused, u64),
    /// It can't be known now: the same payment is to be shown again, and no other.
    Later(Option<Paying>, String),
    /// The store.
    Store(StoreError),
}

/// Who pays, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paying {
    /// The chain in the form of CAIP-2.
    pub(crate) network: String,
    /// Who pays.
    pub(crate) payer: String,
}

impl From<StoreError> for No {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refused> for No {
    fn from(refused: Refused) -> Self {
        match refused.reason {
            Reason::UnexpectedVerifyError => Self::Later(None, refused.detail),
            _ => Self::Refused(refused),
        }
    }
}

impl From<&Purchase> for Paying {
    fn from(purchase: &Purchase) -> Self {
        Self {
            network: purchase.network(),
            payer: purchase.payer.to_checksum(None),
        }
    }
}

/// A purchase as it is known and as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) purchase: Purchase,
    pub(crate) stored: StoredPurchase,
    /// It was verified a moment ago.
    pub(super) fresh: bool,
}

impl Kept {
    pub(crate) fn of(stored: StoredPurchase) -> Result<Self, StoreError> {
        let purchase = Purchase::read(&stored)?;
        Ok(Self {
            purchase,
            stored,
            fresh: false,
        })
    }

    /// One that was verified a moment ago.
    pub(super) fn fresh(purchase: Purchase, stored: StoredPurchase) -> Self {
        Self {
            purchase,
            stored,
            fresh: true,
        }
    }

    /// How the settlement is ordered: the same key each time.
    pub(super) fn order(&self) -> Order {
        self.brings("")
    }

    /// The transaction that brings what its payer has signed.
    pub(super) fn brings(&self, what: &str) -> Order {
        let purchase = &self.purchase;
        let brings = Brings {
            payer: purchase.payer,
            invoice: Id(self.stored.purchase),
            is_sale: true,
        };
        Order {
            brings: Some(brings),
            ..self.order_of(what, purchase.to, purchase.call_data.clone())
        }
    }

    /// A transaction for it. It moves the payer's money, and of the hub's account gas alone.
    pub(super) fn order_of(&self, what: &str, to: Address, data: Bytes) -> Order {
        Order {
            tenant: self.stored.tenant.clone(),
            key: format!("x402-{}{what}", hex::encode(self.stored.purchase)),
            to,
            value: Amount::ZERO,
            data,
            gas: self.purchase.gas,
            moves: None,
            brings: None,
        }
    }
}

pub(super) fn later(why: &str) -> No {
    No::Later(None, why.to_owned())
}

pub(super) fn spent(what: &str) -> No {
    let detail = format!("{what}: sign a new one");
    No::Refused(Refused::new(Reason::InvalidTransactionState, detail))
}

pub(super) fn failed(purchase: &Purchase, detail: String) -> No {
    let refused = Refused::new(Reason::InvalidTransactionState, detail);
    No::Failed(purchase.into(), refused)
}
