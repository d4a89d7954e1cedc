//! Double-entry bookkeeping in exact integers.
//!
//! A [`Book`] is kept for each tenant and asset. An [`Entry`] moves amounts between accounts, its
//! debits equal to its credits, or it can't be made; it is named by its cause, so that posting it
//! again changes nothing. What a reorganisation takes back is taken back by a further entry, never
//! by erasing one.
//!
//! An invoice does not write entries by hand: it says what its accounts should hold (a
//! [`Position`]), and the entry is the difference to what they held before
//! ([`Entry::between`]). So whatever happens, in whatever order, the accounts hold what the
//! invoice's state says.

mod account;
mod book;
mod entry;
mod position;

pub use account::{Account, Side};
pub use book::{Balance, Book, Trial};
pub use entry::{Entry, Line, MAX_LINES};
pub use position::Position;

use crate::cause::Key;
use crate::money::Asset;

/// Why an entry can't be made or posted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Debits and credits differ.
    #[error("the entry does not balance: debits of {debits}, credits of {credits}")]
    Unbalanced {
        /// The sum of debits, base units.
        debits: String,
        /// The sum of credits, base units.
        credits: String,
    },
    /// A line that moves nothing.
    #[error("a line of {0} moves nothing")]
    Nothing(Account),
    /// Too few lines or too many.
    #[error("an entry has 2 to {MAX_LINES} lines, not {0}")]
    Lines(usize),
    /// An amount or a sum that does not fit.
    #[error("the sum of {0} is too large to be kept exactly")]
    TooLarge(Account),
    /// Another entry has the same name.
    #[error("entry {0} was posted with other lines: two causes have one key")]
    Conflict(Key),
    /// An entry of another asset.
    #[error("an entry in {entry} does not belong into the book of {book}")]
    OtherAsset {
        /// The entry's.
        entry: Asset,
        /// The book's.
        book: Asset,
    },
}
