//! What an invoice refuses.

use super::refund;
use crate::money::{self, Amount, Asset};
use crate::observation::Key;

/// Why an invoice can't be made, or takes an event not. What is refused has changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No way to pay, or too many.
    #[error("an invoice has 1 to {MAX} methods, not {0}", MAX = super::MAX_METHODS)]
    Methods(usize),
    /// It expires before it is made, or too long after.
    #[error("an invoice lives longer than nothing and at most 400 days")]
    Life,
    /// A policy that makes no sense.
    #[error("policy: {0}")]
    Policy(&'static str),
    /// A price in a currency needs a rate.
    #[error("{0} has no rate of its own for a price in a currency")]
    NoRate(Asset),
    /// A price in a token is paid with that token, without a rate.
    #[error("{0} is not what the price is in: a price in a token is paid with it, without a rate")]
    OtherAsset(Asset),
    /// Nothing due, or more than can be counted with.
    #[error("what is due in {0} is not more than nothing and less than 2^192 base units")]
    Due(Asset),
    /// Less is due than the price says.
    #[error("in {asset} {base} base units are the price, and only {due} are due")]
    Undercut {
        /// What is paid with.
        asset: Asset,
        /// What the price comes to.
        base: Amount,
        /// What was to be due.
        due: Amount,
    },
    /// Money.
    #[error(transparent)]
    Money(#[from] money::Error),
    /// A method that the invoice does not have.
    #[error("the invoice has no method {0}")]
    NoMethod(u16),
    /// The credit is on another chain than its method.
    #[error("credit {0} is not on the chain of its method")]
    OtherChain(Key),
    /// A credit of nothing, or of more than can be counted with. It belongs to what is unmatched.
    #[error("credit {0} is of nothing, or of 2^192 base units and more")]
    Credit(Key),
    /// More credits of its size than an invoice keeps. It belongs to what is unmatched.
    #[error(
        "the invoice has no place for {0}: it keeps {LARGE} payments, and {SMALL} of less than 1/{LARGE} \
         of what is due",
        LARGE = super::MAX_CREDITS, SMALL = super::MAX_SMALL
    )]
    TooManyCredits(Key),
    /// A refund that the invoice does not know.
    #[error("the invoice has no refund {0}")]
    NoRefund(refund::Id),
    /// A late payment's rate is fixed once.
    #[error("method {0} has its rate for late payments already")]
    Repriced(u16),
    /// What can't be done any more.
    #[error("{what}: {why}")]
    TooLate {
        /// What was to be done.
        what: &'static str,
        /// Why it can't.
        why: &'static str,
    },
    /// A bug: the books would not balance.
    #[error(transparent)]
    Books(#[from] crate::ledger::Error),
}
