//! One balanced movement.

use alloy_primitives::U512;
use serde::{Deserialize, Serialize};

use super::{Account, Error, Position, Side};
use crate::cause::Key;
use crate::money::{Amount, Asset};

/// The most lines of an entry.
pub const MAX_LINES: usize = 256;

/// An amount on one side of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Which account.
    pub account: Account,
    /// Which side of it.
    pub side: Side,
    /// How much, never nothing.
    pub amount: Amount,
}

/// A balanced movement, named by its cause. Its lines are in the order of their accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Entry {
    key: Key,
    asset: Asset,
    at_us: i64,
    memo: String,
    lines: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    key: Key,
    asset: Asset,
    at_us: i64,
    memo: String,
    lines: Vec<Line>,
}

impl TryFrom<Parts> for Entry {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self, Error> {
        Self::new(
            parts.key,
            parts.asset,
            parts.at_us,
            &parts.memo,
            parts.lines,
        )
    }
}

impl Entry {
    /// An entry of an asset at `at_us`, µs since the epoch; `memo` says why, for people.
    ///
    /// # Errors
    /// Debits that are not equal to credits, lines of nothing, fewer than 2 or more than
    /// [`MAX_LINES`] lines.
    pub fn new(
        key: Key,
        asset: Asset,
        at_us: i64,
        memo: &str,
        mut lines: Vec<Line>,
    ) -> Result<Self, Error> {
        if !(2..=MAX_LINES).contains(&lines.len()) {
            return Err(Error::Lines(lines.len()));
        }
        if let Some(line) = lines.iter().find(|line| line.amount.is_zero()) {
            return Err(Error::Nothing(line.account));
        }
        // At most 256 amounts of 256 bits: no overflow in 512 bits.
        let sum = |side| {
            let amounts = lines.iter().filter(|line| line.side == side);
            amounts.fold(U512::ZERO, |sum, line| sum + U512::from(line.amount.0))
        };
        let (debits, credits) = (sum(Side::Debit), sum(Side::Credit));
        if debits != credits {
            let (debits, credits) = (debits.to_string(), credits.to_string());
            return Err(Error::Unbalanced { debits, credits });
        }
        lines.sort_unstable();
        Ok(Self {
            key,
            asset,
            at_us,
            memo: memo.to_owned(),
            lines,
        })
    }

    /// The entry that brings accounts from what they hold `before` to what they are to hold
    /// `after`; `None` where that is the same.
    ///
    /// # Errors
    /// Positions that are not balanced, or whose difference does not fit.
    pub fn between(
        key: Key,
        asset: Asset,
        at_us: i64,
        memo: &str,
        before: &Position,
        after: &Position,
    ) -> Result<Option<Self>, Error> {
        let lines = before.difference(after)?;
        if lines.is_empty() {
            return Ok(None);
        }
        Self::new(key, asset, at_us, memo, lines).map(Some)
    }

    /// The entry that takes this one back, with a name that follows from it: however often it is
    /// asked for, it is posted once.
    #[must_use]
    pub fn reversed(&self, at_us: i64, memo: &str) -> Self {
        let flipped = |line: &Line| Line {
            side: line.side.other(),
            ..*line
        };
        let mut lines: Vec<_> = self.lines.iter().map(flipped).collect();
        lines.sort_unstable();
        Self {
            key: Key::of("stencil/ledger/reversal", &[&self.key.0]),
            asset: self.asset,
            at_us,
            memo: memo.to_owned(),
            lines,
        }
    }

    /// Its name.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key
    }

    /// The asset that it moves.
    #[must_use]
    pub fn asset(&self) -> Asset {
        self.asset
    }

    /// When, in µs since the epoch.
    #[must_use]
    pub fn at_us(&self) -> i64 {
        self.at_us
    }

    /// Why, for people.
    #[must_use]
    pub fn memo(&self) -> &str {
        &self.memo
    }

    /// Its lines, in the order of their accounts.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}
