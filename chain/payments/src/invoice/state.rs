//! Where an invoice stands.

use serde::{Deserialize, Serialize};

/// Where an invoice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing has come.
    New,
    /// Something has come, and not enough.
    Seen,
    /// Enough has come, and is not yet deep enough.
    Confirming,
    /// Enough is there and deep enough. A reorganisation deeper than that can still undo it.
    Settled,
    /// The time was over before enough had come. What turns up in a block of before the expiry can
    /// still settle it, as long as nothing went back.
    Expired,
    /// It was called off.
    Cancelled,
}

/// What else is to be said of an invoice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each holds or not, whatever the others do"
)]
pub struct Facets {
    /// Something has come, and less than what is enough.
    pub underpaid: bool,
    /// More has come than is due.
    pub overpaid: bool,
    /// Something has come after the expiry.
    pub late: bool,
    /// The time to pay is over.
    pub expired: bool,
    /// Something is to go back and is not confirmed.
    pub refund_due: bool,
    /// Something that is to go back can't be sent as things stand: somebody has to look after it.
    #[serde(default)]
    pub refund_stuck: bool,
    /// Something went back, and all of what was to.
    pub refunded: bool,
    /// More went back than has come: a reorganisation took away what was given back.
    pub over_refunded: bool,
    /// Somebody has to decide.
    pub undecided: bool,
    /// A rate for what came late is missing.
    pub rate_needed: bool,
}
