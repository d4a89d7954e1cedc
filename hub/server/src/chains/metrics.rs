//! What the cashier counts.

use std::sync::atomic::AtomicU64;

/// Counters of the cashier, since the hub's start.
#[derive(Debug, Default)]
pub(crate) struct CashierMetrics {
    /// Entries of chains' streams that were taken.
    pub(crate) entries: AtomicU64,
    /// Payments of invoices, seen in a block.
    pub(crate) credits: AtomicU64,
    /// Payments that a reorganisation took away.
    pub(crate) retracted: AtomicU64,
    /// Money that is of no invoice.
    pub(crate) unmatched: AtomicU64,
    /// What a payment contract told of a token that nobody takes.
    pub(crate) unknown_tokens: AtomicU64,
    /// Money that is of no invoice and is told as one with others.
    pub(crate) folded: AtomicU64,
    /// What was done because of invoices.
    pub(crate) effects: AtomicU64,
    /// What has to be tried again, or was given up.
    pub(crate) effects_failed: AtomicU64,
}
