//! Money that goes back.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use super::Id as InvoiceId;
use crate::cause::Key;
use crate::money::Amount;

/// Names a refund: the same refund of an invoice has the same name in every replay. Whoever sends it
/// derives the transaction from it, or keeps which one it was, so that it is sent once.
pub type Id = Key;

/// Where a refund stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// To be sent, once the payer has confirmed an address. Until it is sent it can be withdrawn.
    Due,
    /// May happen, and is not confirmed.
    Sent,
    /// In the chain.
    Confirmed,
    /// Was taken back before it was sent: the money is gone, or counts for the price after all.
    Withdrawn,
}

/// An amount that goes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    /// Its name.
    pub id: Id,
    /// In which method's asset, from which method's payee.
    pub method: u16,
    /// How much, base units.
    pub amount: Amount,
    /// The transaction that was told last.
    pub tx: Option<B256>,
    /// How often it failed.
    pub failures: u32,
    /// It can't be sent as things stand, or not to where it shall go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stuck: bool,
    /// That it was sent is the tenant's word: no chain has shown it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchecked: bool,
    pub(super) sent: bool,
    pub(super) withdrawn: bool,
    pub(super) confirmed: Option<u64>,
    pub(super) retracted: Option<u64>,
}

impl Refund {
    pub(super) fn new(invoice: InvoiceId, count: u64, method: u16, amount: Amount) -> Self {
        Self {
            id: Key::of(
                "stencil/invoice/refund",
                &[&invoice.0, &count.to_be_bytes()],
            ),
            method,
            amount,
            tx: None,
            failures: 0,
            stuck: false,
            unchecked: false,
            sent: false,
            withdrawn: false,
            confirmed: None,
            retracted: None,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        if self.confirmed.is_some() && self.confirmed > self.retracted {
            Status::Confirmed
        } else if self.sent {
            Status::Sent
        } else if self.withdrawn {
            Status::Withdrawn
        } else {
            Status::Due
        }
    }

    /// Whether its money may be gone: it counts for nothing else.
    pub(super) fn on_its_way(&self) -> bool {
        matches!(self.status(), Status::Sent | Status::Confirmed)
    }
}
