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
        let change = Change { at, what, is_final };
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(block: u64, fork: u8) -> Place {
        Place {
            block,
            index: 0,
            hash: B256::repeat_byte(fork),
        }
    }

    fn who(n: u8) -> Address {
        if n == 0 {
            Address::ZERO
        } else {
            Address::repeat_byte(n)
        }
    }

    fn transfer(from: u8, to: u8) -> What {
        What::Owner {
            from: who(from),
            to: who(to),
        }
    }

    /// Issued to 1, which is final.
    fn of_one() -> Token {
        let mut token = Token::default();
        assert!(token.take(Said::Observed, place(1, 1), transfer(0, 1)));
        assert!(token.take(Said::Final, place(1, 1), transfer(0, 1)));
        token
    }

    #[test]
    fn the_seller_loses_it_at_once_and_the_buyer_has_it_when_it_is_final() {
        let mut token = of_one();
        assert_eq!(token.owner(Gain::Final), Owner::Is(who(1)));
        token.take(Said::Observed, place(5, 5), transfer(1, 2));
        assert_eq!(token.owner(Gain::Final), Owner::GoingTo(who(2)));
        assert_eq!(token.owner(Gain::Included), Owner::Is(who(2)));
        token.take(Said::Final, place(5, 5), transfer(1, 2));
        assert_eq!(token.owner(Gain::Final), Owner::Is(who(2)));
    }

    #[test]
    fn a_reorganisation_gives_it_back() {
        let mut token = of_one();
        token.take(Said::Observed, place(5, 5), transfer(1, 2));
        token.take(Said::Observed, place(6, 6), transfer(2, 3));
        token.take(Said::Retracted, place(6, 6), transfer(2, 3));
        assert_eq!(token.owner(Gain::Included), Owner::Is(who(2)));
        token.take(Said::Retracted, place(5, 5), transfer(1, 2));
        assert_eq!(token.owner(Gain::Final), Owner::Is(who(1)));
        // In another block of the other branch it is there again, and to somebody else.
        token.take(Said::Observed, place(5, 7), transfer(1, 4));
        assert_eq!(token.owner(Gain::Included), Owner::Is(who(4)));
    }

    #[test]
    fn a_reorganisation_beyond_what_is_known_goes_by_what_the_transfer_said() {
        let mut token = Token::default();
        token.take(Said::Observed, place(5, 5), transfer(1, 2));
        token.take(Said::Final, place(5, 5), transfer(1, 2));
        token.take(Said::Retracted, place(5, 5), transfer(1, 2));
        assert_eq!(token.owner(Gain::Final), Owner::Is(who(1)));
        // An issue that was taken back leaves nobody.
        let mut token = of_one();
        token.take(Said::Retracted, place(1, 1), transfer(0, 1));
        assert_eq!(token.owner(Gain::Included), Owner::Nobody);
    }

    #[test]
    fn what_was_looked_up_gives_way_to_what_the_stream_says() {
        let mut token = Token::default();
        assert!(token.look(7, &[transfer(0, 1)], 3));
        assert_eq!(token.looked(), Some(7));
        assert_eq!(token.owner(Gain::Final), Owner::GoingTo(who(1)));
        assert!(!token.look(9, &[transfer(0, 1)], 6), "too early to say");
        assert!(token.look(9, &[transfer(0, 1)], 7));
        assert_eq!(token.looked(), None);
        assert_eq!(token.owner(Gain::Final), Owner::Is(who(1)));
        // The block that it was looked up as of is one that endpoints may be ahead by.
        token.take(Said::Observed, place(8, 3), transfer(1, 2));
        token.take(Said::Retracted, place(8, 3), transfer(1, 2));
        assert_eq!(token.owner(Gain::Final), Owner::Is(who(1)));
        token.take(Said::Observed, place(8, 4), transfer(1, 2));
        assert_eq!(token.owner(Gain::Included), Owner::Is(who(2)));
        token.take(Said::Retracted, place(8, 4), transfer(1, 2));
        token.take(Said::Observed, place(12, 3), transfer(1, 2));
        token.take(Said::Final, place(12, 3), transfer(1, 2));
        // A later answer does not come before what the stream has said.
        assert!(!token.look(20, &[transfer(0, 2)], 12));
        assert_eq!(token.owner(Gain::Included), Owner::Is(who(2)));
        token.take(Said::Retracted, place(12, 3), transfer(1, 2));
        assert_eq!(token.owner(Gain::Final), Owner::Is(who(1)));
    }

    #[test]
    fn what_the_stream_goes_on_from_is_asked_about_no_more() {
        let mut token = Token::default();
        token.look(7, &[transfer(0, 1)], 0);
        token.take(Said::Observed, place(9, 3), transfer(1, 2));
        assert_eq!(token.looked(), Some(7));
        assert!(token.look(20, &[transfer(0, 2)], 7));
        assert_eq!(token.looked(), None);
        assert_eq!(token.owner(Gain::Final), Owner::GoingTo(who(2)));
        token.take(Said::Retracted, place(9, 3), transfer(1, 2));
        assert_eq!(token.owner(Gain::Final), Owner::Is(who(1)));
    }

    /// It was looked up in a block that went, with the sale to 2; on the branch that is left it was sold
    /// to 3, and that goes, too.
    #[test]
    fn what_was_looked_up_on_a_branch_that_went_is_nobody_s() {
        let mut token = Token::default();
        token.look(10, &[transfer(0, 2)], 1);
        token.take(Said::Observed, place(5, 5), transfer(1, 2));
        token.take(Said::Retracted, place(5, 5), transfer(1, 2));
        for gain in [Gain::Final, Gain::Included] {
            assert_eq!(token.owner(gain), Owner::Nobody);
        }
        assert_eq!(token.looked(), Some(0), "it is asked at once");
        token.take(Said::Observed, place(5, 6), transfer(1, 3));
        assert_eq!(token.owner(Gain::Included), Owner::Nobody);
        assert!(token.look(20, &[transfer(0, 3)], 10));
        assert_eq!(token.owner(Gain::Final), Owner::GoingTo(who(3)));
        token.take(Said::Retracted, place(5, 6), transfer(1, 3));
        assert_eq!(token.owner(Gain::Final), Owner::Is(who(1)));
        // The same where nothing was retracted, but the stream does not go on from the answer.
        let mut token = Token::default();
        token.look(10, &[transfer(0, 2)], 1);
        token.take(Said::Observed, place(5, 6), transfer(1, 3));
        token.look(20, &[transfer(0, 3)], 10);
        assert_eq!(token.owner(Gain::Final), Owner::GoingTo(who(3)));
        token.take(Said::Retracted, place(5, 6), transfer(1, 3));
        assert_eq!(token.owner(Gain::Included), Owner::Nobody);
        assert_eq!(token.looked(), Some(0));
        token.look(30, &[transfer(0, 1)], 12);
        assert_eq!(token.owner(Gain::Final), Owner::GoingTo(who(1)));
    }

    /// A transfer that its stream has not said: the answer is not dropped.
    #[test]
    fn where_contract_and_stream_differ_nobody_has_it_until_they_agree() {
        let mut token = of_one();
        assert!(token.look(20, &[transfer(0, 2)], 10));
        for gain in [Gain::Final, Gain::Included] {
            assert_eq!(token.owner(gain), Owner::Nobody);
        }
        assert_eq!(token.looked(), Some(20));
        // The contract was ahead of the stream.
        let mut ahead = token.clone();
        ahead.take(Said::Observed, place(15, 5), transfer(1, 2));
        ahead.look(30, &[transfer(0, 2)], 20);
        assert_eq!(ahead.looked(), None);
        assert_eq!(ahead.owner(Gain::Final), Owner::GoingTo(who(2)));
        // The stream was not followed for a while.
        token.look(30, &[transfer(0, 2)], 20);
        assert_eq!(token.owner(Gain::Final), Owner::GoingTo(who(2)));
        token.look(40, &[transfer(0, 2)], 30);
        assert_eq!(token.owner(Gain::Final), Owner::Is(who(2)));
        assert_eq!(token.looked(), None);
    }

    /// Issued to 1, sold to 2 and passed on within one block, which goes.
    #[test]
    fn more_hops_than_are_kept_make_nobody_owner_who_never_was() {
        for hops in [32, 33, 34, 100] {
            let mut token = of_one();
            let hop = |n: u64| {
                let at = Place {
                    index: n,
                    ..place(5, 5)
                };
                match n {
                    0 => (at, transfer(1, 2)),
                    n if n % 2 == 1 => (at, transfer(2, 3)),
                    _ => (at, transfer(3, 2)),
                }
            };
            for (at, what) in (0..hops).map(hop) {
                assert!(token.take(Said::Observed, at, what) || at.index > 32);
            }
            let many = hops > 32;
            assert_eq!(token.owner(Gain::Included) == Owner::Nobody, many);
            assert_eq!(token.looked(), many.then_some(5));
            for (at, what) in (0..hops).rev().map(hop) {
                token.take(Said::Retracted, at, what);
                if at.index > 0 {
                    assert_ne!(
                        token.owner(Gain::Final),
                        Owner::Is(who(1)),
                        "{hops}: {at:?}"
                    );
                    assert_ne!(
                        token.owner(Gain::Final),
                        Owner::Is(who(2)),
                        "{hops}: {at:?}"
                    );
                }
            }
            assert_eq!(token.owner(Gain::Final), Owner::Is(who(1)), "{hops}");
            assert_eq!(token.looked(), None);
        }
    }

    #[test]
    fn a_reorganisation_beyond_what_was_forgotten_goes_by_what_the_oldest_said() {
        let mut token = of_one();
        for n in 2..20_u8 {
            token.take(Said::Observed, place(n.into(), n), transfer(n - 1, n));
            token.take(Said::Final, place(n.into(), n), transfer(n - 1, n));
        }
        for n in (5..20_u8).rev() {
            token.take(Said::Retracted, place(n.into(), n), transfer(n - 1, n));
            assert_eq!(token.owner(Gain::Final), Owner::Is(who(n - 1)));
        }
    }

    #[test]
    fn a_right_s_user_and_device_are_those_said_last() {
        let mut token = Token::default();
        let passport = B256::repeat_byte(0xdd);
        token.take(Said::Observed, place(1, 1), What::Device { passport });
        let user = |user, expires| What::User {
            user: who(user),
            expires,
        };
        token.take(
            Said::Observed,
            Place {
                index: 1,
                ..place(1, 1)
            },
            user(1, 100),
        );
        assert_eq!(token.device(), Some(passport));
        assert!(!token.user(Gain::Final).unwrap().in_effect);
        token.take(Said::Observed, place(3, 3), user(2, 50));
        assert_eq!(token.holder(), Some(who(2)));
        assert_eq!(token.user(Gain::Included).unwrap().expires, 50);
        token.take(Said::Observed, place(4, 4), user(0, 0));
        assert_eq!(token.user(Gain::Included), None);
        token.take(Said::Retracted, place(4, 4), user(0, 0));
        token.take(Said::Retracted, place(3, 3), user(2, 50));
        assert_eq!(token.holder(), Some(who(1)));
    }

    #[test]
    fn it_never_grows_beyond_its_bound() {
        let mut token = of_one();
        for block in 2..500 {
            token.take(Said::Observed, place(block, 1), transfer(1, 2));
            assert!(token.changes.len() <= MAX_CHANGES + FINAL_KEPT + 1);
        }
        for block in 2..500 {
            token.take(Said::Final, place(block, 1), transfer(1, 2));
        }
        assert!(
            token.changes.len() <= FINAL_KEPT + 1,
            "{}",
            token.changes.len()
        );
        assert_eq!(token.owner(Gain::Final), Owner::Nobody);
        assert_eq!(token.looked(), Some(34));
        token.look(510, &[transfer(0, 2)], 500);
        assert_eq!(token.owner(Gain::Final), Owner::GoingTo(who(2)));
        token.look(520, &[transfer(0, 2)], 510);
        assert_eq!(token.owner(Gain::Final), Owner::Is(who(2)));
    }

    proptest! {
        /// Blocks with a transfer each are added and taken away, each thing told once or twice: the owner
        /// is always that of the newest block that is left.
        #[test]
        fn the_owner_is_that_of_the_branch(steps in prop::collection::vec((0_u8..4, any::<bool>()), 1..60)) {
            let mut token = of_one();
            let mut branch: Vec<(Place, u8)> = vec![(place(1, 1), 1)];
            let mut final_up_to = 1;
            for (number, (step, twice)) in (0_u8..).zip(steps) {
                let (said, at, what) = if step == 0 && branch.len() > final_up_to {
                    let (at, owner) = branch.pop().unwrap();
                    (Said::Retracted, at, transfer(branch.last().unwrap().1, owner))
                } else if step == 1 && branch.len() > final_up_to {
                    final_up_to += 1;
                    let (at, owner) = branch[final_up_to - 1];
                    (Said::Final, at, transfer(branch[final_up_to - 2].1, owner))
                } else if branch.len() < 20 {
                    let owner = number % 7 + 2;
                    let at = place(branch.len() as u64 + 1, number.wrapping_add(10));
                    let what = transfer(branch.last().unwrap().1, owner);
                    branch.push((at, owner));
                    (Said::Observed, at, what)
                } else {
                    continue;
                };
                token.take(said, at, what);
                if twice {
                    prop_assert!(!token.take(said, at, what));
                }
                let newest = who(branch.last().unwrap().1);
                prop_assert_eq!(token.owner(Gain::Included), Owner::Is(newest));
                let expected = if branch.len() == final_up_to {
                    Owner::Is(newest)
                } else {
                    Owner::GoingTo(newest)
                };
                prop_assert_eq!(token.owner(Gain::Final), expected);
                let text = serde_json::to_string(&token).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Token>(&text).unwrap(), &token);
            }
        }
    }
}
