//! What a chain's stream has said of a token: whose it is, who uses it, for which device.
//!
//! A [`Token`] takes each entry of the stream once or several times, in its order: what is observed, what a
//! reorganisation retracts, what is final. It is the same after a repetition. What is kept is bounded:
//! what is not final yet, the newest that is, and a few changes from before, so that a reorganisation
//! beyond what was final finds them. Of a token that changes more often than that before anything is
//! final, nobody is known to hold it.
//!
//! What its stream has not said, a contract is asked. Such an answer is of a block that may go, so it
//! counts for good when the contract says the same after that block is final; where stream and contract
//! do not agree, nobody is known to hold the token until they do.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

/// Changes of one kind that are kept and not final. With one more, nobody is known to hold the token until
/// it is gone again, or a contract was asked.
pub const MAX_CHANGES: usize = 32;
/// Of those, how many final ones are kept before the newest.
const FINAL_KEPT: usize = 3;

/// Where something happened on a chain: block, and place of the log in the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The block's number.
    pub block: u64,
    /// The log's index in the block.
    pub index: u64,
    /// The block's hash.
    pub hash: B256,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum What {
    /// A token has another owner; zero is nobody.
    Owner {
        /// Whose it was.
        from: Address,
        /// Whose it is.
        to: Address,
    },
    /// A right has another user, up to and with a second; zero is nobody.
    User {
        /// The user.
        user: Address,
        /// The last second, since 1970.
        expires: u64,
    },
    /// A right is for a device.
    Device {
        /// The device's passport.
        passport: B256,
    },
}

impl What {
    fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Whether a token is as the other says; a contract that is asked does not know whose it was before.
    fn comes_to(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Owner { to, .. }, Self::Owner { to: other, .. }) => to == other,
            _ => self == other,
        }
    }
}

/// A change, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where.
    pub at: Place,
    /// What.
    #[serde(flatten)]
    pub what: What,
    /// Whether it is final by the chain's policy.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// The time of its block, in seconds since 1970; `None`: that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_s: Option<u64>,
}

/// That an account has got a token, or has it no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whether it has it from then on, be it final or not.
    pub has: bool,
    /// The time of the block that says so, in seconds since 1970; `None`: that is not known.
    pub time_s: Option<u64>,
}

/// What became known of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is in a block of the chain.
    Observed,
    /// Its block has left the chain.
    Retracted,
    /// It is final.
    Final,
}

/// When something new takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gain {
    /// When it is final by the chain's policy.
    #[default]
    Final,
    /// As soon as it is in a block; a reorganisation takes it back.
    Included,
}

/// A token's owner at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody that is known.
    Nobody,
    /// This account.
    Is(Address),
    /// It is going to this account, and not final yet: nobody has it meanwhile.
    GoingTo(Address),
}

/// A right's user at present, whether or not the time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The account.
    pub account: Address,
    /// The last second.
    pub expires: u64,
    /// Whether that has taken effect.
    pub in_effect: bool,
}

/// What is known of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Changes in their order on the chain.
    changes: Vec<Change>,
    /// The owner before all of them, where a reorganisation went beyond what was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Address>,
    /// Of each kind of which there was more than is kept: the first change that was left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lost: Vec<Change>,
    /// Nobody is known to hold it until its contract was asked, when this block is final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ask: Option<u64>,
}

impl Change {
    /// Whether a contract has said so when it was asked.
    fn is_looked(&self) -> bool {
        self.at.hash.is_zero()
    }
}

impl Token {
    /// A token of which nothing is known before its contract was asked.
    #[must_use]
    pub fn to_be_asked() -> Self {
        Self {
            ask: Some(0),
            ..Self::default()
        }
    }

    /// Takes what a chain's stream says of a change; `false`: it is as it was.
    pub fn take(&mut self, said: Said, at: Place, what: What) -> bool {
        let known = self
            .changes
            .iter()
            .position(|change| change.at == at && change.what.same_kind(&what));
        match (said, known) {
            (Said::Observed, None) => self.observe(at, what),
            (Said::Retracted, known) => self.retract(known, at, what),
            (Said::Final, Some(known)) => {
                let was = std::mem::replace(&mut self.changes[known].is_final, true);
                self.forget();
                !was
            }
            // What was observed is always kept until it is final, unless there was too much of it.
            (Said::Observed, Some(_)) | (Said::Final, None) => false,
        }
    }

    /// The same of a block of this time, in seconds since 1970.
    pub fn take_of(&mut self, said: Said, at: Place, what: What, time_s: u64) -> bool {
        let is_other = self.take(said, at, what);
        let mut changes = self.changes.iter_mut();
        match changes.find(|change| change.at == at && change.what.same_kind(&what)) {
            Some(change) => change.time_s.replace(time_s) != Some(time_s) || is_other,
            None => is_other,
        }
    }

    fn observe(&mut self, at: Place, what: What) -> bool {
        let first_lost = self.lost.iter_mut().find(|lost| lost.what.same_kind(&what));
        if let Some(lost) = first_lost {
            let is_before = at < lost.at;
            if is_before {
                (lost.at, lost.what) = (at, what);
            }
            return is_before;
        }
        self.insert(at, what, false);
        let open = |change: &Change| {
            change.what.same_kind(&what) && !change.is_final && !change.is_looked()
        };
        if self.changes.iter().filter(|change| open(change)).count() > MAX_CHANGES
            && let Some(newest) = self.changes.iter().rposition(open)
        {
            // Not the oldest: what is left has to be whole, for when the rest goes again.
            let newest = self.changes.remove(newest);
            self.lost.push(newest);
        }
        true
    }

    fn retract(&mut self, known: Option<usize>, at: Place, what: What) -> bool {
        let is_lost = |lost: &Change| lost.what.same_kind(&what) && lost.at == at;
        if let Some(lost) = self.lost.iter().position(is_lost) {
            // The newest goes first: all that came after it is gone.
            self.lost.remove(lost);
            return true;
        }
        if let Some(known) = known {
            self.changes.remove(known);
        }
        let open = |change: &Change| {
            change.is_looked() && !change.is_final && change.what.same_kind(&what)
        };
        if let Some(looked) = self.changes.iter().position(open) {
            // It may have been true of the branch that went.
            self.changes.remove(looked);
            self.ask = Some(0);
            return true;
        }
        let is_left = self
            .changes
            .iter()
            .any(|change| change.what.same_kind(&what));
        match what {
            // Also of changes that were forgotten, where those after them have gone.
            What::Owner { from, .. } if !is_left && (known.is_some() || self.before.is_some()) => {
                known.is_some() | (self.before.replace(from) != Some(from))
            }
            _ => known.is_some(),
        }
    }

    /// Takes what a contract says of itself as of a block, while blocks up to `finalized` are final;
    /// `false`: it is as it was.
    pub fn look(&mut self, block: u64, answers: &[What], finalized: u64) -> bool {
        let before = self.clone();
        let was_unsure = self.ask.take().is_some();
        for answer in answers {
            self.answered(block, *answer, finalized, was_unsure);
        }
        *self != before
    }

    fn answered(&mut self, block: u64, what: What, finalized: u64, was_unsure: bool) {
        let at = Place {
            block,
            index: 0,
            hash: B256::ZERO,
        };
        let of_kind = |change: &Change| change.what.same_kind(&what);
        let was_lost = self.lost.iter().any(of_kind);
        self.lost.retain(|lost| !of_kind(lost));
        let mut changes = self.changes.iter().rev();
        let said = changes.find(|change| of_kind(change) && !change.is_looked());
        let agrees = said.is_some_and(|newest| newest.what.comes_to(&what));
        if was_lost || (said.is_some() && was_unsure && !agrees) {
            self.changes.retain(|change| !of_kind(change));
            self.insert(at, what, false);
            return;
        }
        if said.is_some() {
            self.settle(block, what, finalized);
            if !agrees {
                // Either of them is ahead of the other, or not all was followed.
                self.ask = Some(block);
            }
            return;
        }
        let mut changes = self.changes.iter_mut();
        match changes.find(|change| of_kind(change)) {
            Some(looked) if looked.what.comes_to(&what) => {
                looked.is_final |= looked.at.block <= finalized;
            }
            _ => {
                self.changes.retain(|change| !of_kind(change));
                self.insert(at, what, false);
            }
        }
    }

    /// What becomes of an answer that is not final, where the stream has spoken since.
    fn settle(&mut self, block: u64, what: What, finalized: u64) {
        let of_kind = |change: &Change| change.what.same_kind(&what);
        let open = |change: &Change| {
            of_kind(change)
                && change.is_looked()
                && !change.is_final
                && change.at.block <= finalized
        };
        let Some(looked) = self.changes.iter().position(open) else {
            return;
        };
        let mut said = (self.changes.iter()).filter(|it| of_kind(it) && !it.is_looked());
        let is_final = said.clone().any(|change| change.is_final);
        match (
            said.next().map(|first| first.what),
            self.changes[looked].what,
        ) {
            // The stream goes on from what was looked up, and so confirms it.
            (Some(What::Owner { from, .. }), What::Owner { to, .. }) if from == to => {
                self.changes[looked].is_final = true;
            }
            _ if is_final => drop(self.changes.remove(looked)),
            // Not before the stream says something final is it known to be of no more use.
            _ => self.changes[looked].at.block = block,
        }
    }

    /// The block after which a contract has to be asked: when it is final, or at once, with 0.
    #[must_use]
    pub fn looked(&self) -> Option<u64> {
        let looked = |change: &&Change| change.is_looked() && !change.is_final;
        let open = self.changes.iter().filter(looked).chain(&self.lost);
        open.map(|it| it.at.block).chain(self.ask).min()
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self, gain: Gain) -> Owner {
        if self.is_unsure(|what| matches!(what, What::Owner { .. })) {
            return Owner::Nobody;
        }
        let newest = self.newest(|what| match what {
            What::Owner { to, .. } => Some(to),
            _ => None,
        });
        match newest {
            Some((to, _)) if to.is_zero() => Owner::Nobody,
            Some((to, is_final)) if is_final || gain == Gain::Included => Owner::Is(to),
            Some((to, _)) => Owner::GoingTo(to),
            None => match self.before {
                Some(before) if !before.is_zero() => Owner::Is(before),
                _ => Owner::Nobody,
            },
        }
    }

    /// Who uses it, where anybody was said to.
    #[must_use]
    pub fn user(&self, gain: Gain) -> Option<User> {
        if self.is_unsure(|what| !matches!(what, What::Owner { .. })) {
            return None;
        }
        let newest = self.newest(|what| match what {
            What::User { user, expires } => Some((user, expires)),
            _ => None,
        });
        let ((account, expires), is_final) = newest?;
        (!account.is_zero()).then_some(User {
            account,
            expires,
            in_effect: is_final || gain == Gain::Included,
        })
    }

    /// Which device it is for.
    #[must_use]
    pub fn device(&self) -> Option<B256> {
        let newest = self.newest(|what| match what {
            What::Device { passport } => Some(passport),
            _ => None,
        });
        newest.map(|(passport, _)| passport)
    }

    /// Who holds it, now or when it is final: the user of a right, the owner of a passport.
    #[must_use]
    pub fn holder(&self) -> Option<Address> {
        if let Some(user) = self.user(Gain::Included) {
            return Some(user.account);
        }
        match self.owner(Gain::Included) {
            Owner::Is(owner) if self.device().is_none() => Some(owner),
            _ => None,
        }
    }

    /// When an account got the token, as its owner or its user, and when it had it no more, as far as that is
    /// kept, in the order of the chain.
    #[must_use]
    pub fn turns(&self, account: Address) -> Vec<Turn> {
        let mut turns = Vec::new();
        let mut had = None;
        for change in &self.changes {
            let (before, has) = match change.what {
                What::Owner { from, to } => (Some(from == account), to == account),
                What::User { user, .. } => (had, user == account),
                What::Device { .. } => continue,
            };
            // Whose it was before the first of all users is not said.
            if before.map_or(has, |before| before != has) {
                let time_s = change.time_s;
                turns.push(Turn { has, time_s });
            }
            had = Some(has);
        }
        turns
    }

    /// Whether all is known that can be: it does not have to be asked, and nothing was left out.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.is_unsure(|_| true)
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it can't be said how it is: too much of the kind was left out, or it has to be asked.
    fn is_unsure(&self, of: impl Fn(What) -> bool) -> bool {
        self.ask.is_some() || self.lost.iter().any(|lost| of(lost.what))
    }

    fn newest<T>(&self, of: impl Fn(What) -> Option<T>) -> Option<(T, bool)> {
        let mut newest = self.changes.iter().rev();
        newest.find_map(|change| Some((of(change.what)?, change.is_final)))
    }

    fn insert(&mut self, at: Place, what: What, is_final: bool) {
        let change = Change {
            at,
            what,
            is_final,
            time_s: None,
        };
        // What a contract was asked comes before all that its stream says: that goes on from there.
        let order = |place: &Place| (!place.hash.is_zero(), *place);
        let next = self
            .changes
            .partition_point(|other| order(&other.at) <= order(&at));
        self.changes.insert(next, change);
        self.forget();
    }

    /// Forgets old final changes, each kind for itself.
    fn forget(&mut self) {
        for first in 0..self.changes.len() {
            let Some(kind) = self.changes.get(first).map(|change| change.what) else {
                return;
            };
            let of_kind: Vec<usize> = (0..self.changes.len())
                .filter(|at| self.changes[*at].what.same_kind(&kind))
                .collect();
            let newest_final = of_kind.iter().rposition(|at| self.changes[*at].is_final);
            let too_old = newest_final.unwrap_or(0).saturating_sub(FINAL_KEPT);
            for at in of_kind[..too_old].iter().rev() {
                self.changes.remove(*at);
            }
        }
    }
}

#[cfg(test)]
mod tests;
