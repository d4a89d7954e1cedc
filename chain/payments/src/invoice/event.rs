//! What happens to an invoice.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::refund;
use crate::money::{Amount, Rate};
use crate::observation::{Block, Depth, Key};

/// A payment as it stands in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// By which of the invoice's methods.
    pub method: u16,
    /// How much arrived, base units: of a token that takes a fee of each transfer, what is left.
    pub amount: Amount,
    /// Who paid.
    pub from: Address,
    /// Where it stands.
    pub block: Block,
}

/// What somebody who may decide has decided. Nothing is undone by the opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// What has come is enough.
    AcceptUnderpaid,
    /// What came late counts as if it had come in time.
    AcceptLate,
    /// What came late goes back.
    RefuseLate,
    /// What is too much is kept.
    KeepExcess,
    /// All goes back, what comes later included.
    RefundAll,
}

/// Something that happened. Those with a `seq` may come late, in any order and again; see
/// [`crate::observation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A payment is in a block.
    Credit {
        /// Which.
        key: Key,
        /// Position in the chain's journal.
        seq: u64,
        /// What it is.
        payment: Payment,
    },
    /// The block of a payment is no longer of the chain.
    Retracted {
        /// Which payment.
        key: Key,
        /// Position in the chain's journal.
        seq: u64,
    },
    /// A payment is that deep.
    Depth {
        /// Which payment.
        key: Key,
        /// Position in the chain's journal.
        seq: u64,
        /// How deep.
        depth: Depth,
    },
    /// It is at least so late. Tell the time up to which blocks were read, not the wall's, so that a
    /// follower that lags gives nothing back too soon.
    Clock {
        /// µs since the epoch.
        now_us: i64,
    },
    /// The new due amount of a method for what comes late, asked for by
    /// [`super::What::RateNeeded`].
    Repriced {
        /// Which method.
        method: u16,
        /// What would be due at the new rate if all were paid late, base units.
        due: Amount,
        /// The rate.
        rate: Option<Rate>,
    },
    /// A refund is going to be sent: from now on it may happen, and won't be withdrawn. To be applied
    /// (and kept) *before* anything is signed or sent; refused if the refund was withdrawn meanwhile.
    RefundSent {
        /// Which refund.
        id: refund::Id,
        /// The transaction, once it is known.
        tx: Option<B256>,
    },
    /// The transaction of a refund can never be included any more, or did nothing but cost its fee.
    RefundFailed {
        /// Which refund.
        id: refund::Id,
    },
    /// A refund that was going to be sent was not: nothing was signed, nor ever will be by that name. It
    /// is due as before, which is no failure.
    RefundNotSent {
        /// Which refund.
        id: refund::Id,
    },
    /// Whether a refund can't be sent as things stand. That it is in a block says that it can.
    RefundStuck {
        /// Which refund.
        id: refund::Id,
        /// Whether it can't.
        stuck: bool,
    },
    /// Whether it is the tenant's word alone that a refund was sent. One that failed was not sent, whoever says so.
    RefundUnchecked {
        /// Which refund.
        id: refund::Id,
        /// Whether no chain has shown it.
        unchecked: bool,
    },
    /// A refund is in the chain, as deep as it needs to be.
    RefundConfirmed {
        /// Which refund.
        id: refund::Id,
        /// Position in the chain's journal.
        seq: u64,
    },
    /// The block of a confirmed refund is no longer of the chain.
    RefundRetracted {
        /// Which refund.
        id: refund::Id,
        /// Position in the chain's journal.
        seq: u64,
    },
    /// The invoice is called off; what has come and what comes goes back.
    Cancel,
    /// Somebody has decided.
    Resolve(Decision),
}
