//! The accounts of one tenant in one asset.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::U256;

use super::{Account, Entry, Error, Side};
use crate::cause::Key;
use crate::money::{Amount, Asset};

/// All that was ever booked on an account, side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// The sum of its debits.
    pub debits: Amount,
    /// The sum of its credits.
    pub credits: Amount,
}

impl Balance {
    /// By how much one side is larger; `None` where both are equal.
    #[must_use]
    pub fn net(&self) -> Option<(Side, Amount)> {
        match self.debits.cmp(&self.credits) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => {
                Some((Side::Debit, self.debits.saturating_sub(self.credits)))
            }
            std::cmp::Ordering::Less => {
                Some((Side::Credit, self.credits.saturating_sub(self.debits)))
            }
        }
    }
}

/// A trial balance: the net of each account that has one, and the sums of both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The accounts whose sides differ, by how much.
    pub accounts: BTreeMap<Account, (Side, Amount)>,
    /// The sum of nets on the debit side.
    pub debits: Amount,
    /// The sum of nets on the credit side: to the unit that of debits.
    pub credits: Amount,
}

/// The book of one tenant in one asset. It remembers a fingerprint of each entry; a store that
/// keeps entries by their key does the same by a unique index.
#[derive(Clone, Debug)]
pub struct Book {
    asset: Asset,
    balances: BTreeMap<Account, Balance>,
    posted: HashMap<Key, Key>,
    total: Amount,
}

impl Book {
    /// An empty book.
    #[must_use]
    pub fn new(asset: Asset) -> Self {
        Self {
            asset,
            balances: BTreeMap::new(),
            posted: HashMap::new(),
            total: Amount::ZERO,
        }
    }

    /// Posts an entry: all of its lines, or none. `false` where it is there already.
    ///
    /// # Errors
    /// An entry of another asset; one whose name another entry has; sums beyond 256 bits.
    pub fn post(&mut self, entry: &Entry) -> Result<bool, Error> {
        if entry.asset() != self.asset {
            return Err(Error::OtherAsset {
                entry: entry.asset(),
                book: self.asset,
            });
        }
        let lines = fingerprint(entry);
        match self.posted.get(&entry.key()) {
            Some(posted) if *posted == lines => return Ok(false),
            Some(_) => return Err(Error::Conflict(entry.key())),
            None => {}
        }
        let mut changed: BTreeMap<Account, Balance> = BTreeMap::new();
        let mut total = self.total;
        for line in entry.lines() {
            let too_large = || Error::TooLarge(line.account);
            let old = self
                .balances
                .get(&line.account)
                .copied()
                .unwrap_or_default();
            let balance = changed.entry(line.account).or_insert(old);
            let sum = match line.side {
                Side::Debit => &mut balance.debits,
                Side::Credit => &mut balance.credits,
            };
            *sum = sum.checked_add(line.amount).ok_or_else(too_large)?;
            if line.side == Side::Debit {
                // All debits together fit, and so any sum of nets does.
                total = total.checked_add(line.amount).ok_or_else(too_large)?;
            }
        }
        self.balances.extend(changed);
        self.total = total;
        self.posted.insert(entry.key(), lines);
        Ok(true)
    }

    /// What was booked on an account.
    #[must_use]
    pub fn balance(&self, account: Account) -> Balance {
        self.balances.get(&account).copied().unwrap_or_default()
    }

    /// How many entries were posted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.posted.len()
    }

    /// Whether nothing was posted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.posted.is_empty()
    }

    /// The trial balance.
    #[must_use]
    pub fn trial(&self) -> Trial {
        let nets = self.balances.iter();
        let accounts: BTreeMap<_, _> = nets
            .filter_map(|(account, balance)| Some((*account, balance.net()?)))
            .collect();
        let sum = |side| {
            let of =
                |(_, (on, amount)): (&Account, &(Side, Amount))| (*on == side).then_some(*amount);
            accounts.iter().filter_map(of).sum()
        };
        let (debits, credits) = (sum(Side::Debit), sum(Side::Credit));
        Trial {
            accounts,
            debits,
            credits,
        }
    }
}

/// What an entry moves, without when and why: a replay may say those in other words.
fn fingerprint(entry: &Entry) -> Key {
    let mut bytes = Vec::with_capacity(entry.lines().len() * 64);
    for line in entry.lines() {
        let account = line.account.to_string();
        bytes.extend_from_slice(&(account.len() as u64).to_be_bytes());
        bytes.extend_from_slice(account.as_bytes());
        bytes.push(u8::from(line.side == Side::Debit));
        bytes.extend_from_slice(&U256::to_be_bytes::<32>(&line.amount.0));
    }
    Key::of("stencil/ledger/lines", &[&bytes])
}
