//! What is to be done because of what happened.

use serde::{Deserialize, Serialize};

use super::{Facets, State, refund};
use crate::cause::Key;
use crate::ledger::Entry;
use crate::money::Amount;

/// Something to do, named by its cause: the same in each replay, so that it is done once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// Its name, which is the key of idempotency.
    pub key: Key,
    /// What to do.
    pub what: What,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Post to the ledger, in the same transaction as the invoice's new state.
    Post(Entry),
    /// It is settled, for the `round`th time from 1: what was bought is given, and a receipt.
    /// Before a second one there is an [`Unsettled`](Self::Unsettled).
    Settled {
        /// How often it was settled.
        round: u32,
    },
    /// A reorganisation has undone the settlement of that round: what was given is taken back, and
    /// the receipt is void.
    Unsettled {
        /// Which settlement.
        round: u32,
    },
    /// Money goes back, once the payer has confirmed an address.
    RefundDue {
        /// Which refund.
        id: refund::Id,
        /// In which method's asset.
        method: u16,
        /// How much, base units.
        amount: Amount,
    },
    /// A refund that was not sent is not to be any more.
    RefundWithdrawn {
        /// Which refund.
        id: refund::Id,
    },
    /// A new rate is needed for what came late by a method.
    RateNeeded {
        /// Which method.
        method: u16,
    },
    /// It stands otherwise than before: tell the tenant's webhooks.
    Changed {
        /// Counts the changes of an invoice from 1, so that a receiver can put them in order.
        revision: u64,
        /// Where it stands.
        state: State,
        /// What else is to be said.
        facets: Facets,
    },
}
