//! What a chain's stream has said of a token: whose it is, who uses it, for which device.
//!
//! A [`Token`] takes each entry of the stream once or several times, in its order: what is observed, what a
//! reorganisation retracts, what is final. It is the same after a repetition. What is kept is bounded:
//! besides what is not final yet, a few changes from before, so that a reorganisation beyond what was
//! final finds them.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

/// Changes of one kind that are kept. With one more the oldest goes.
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
}

impl Token {
    /// Takes what a chain's stream says of a change; `false`: it is as it was.
    pub fn take(&mut self, said: Said, at: Place, what: What) -> bool {
        let known = self
            .changes
            .iter()
            .position(|change| change.at == at && change.what.same_kind(&what));
        match (said, known) {
            (Said::Observed, Some(_)) | (Said::Retracted, None) => false,
            (Said::Observed, None) => {
                self.insert(at, what, false);
                true
            }
            (Said::Retracted, Some(known)) => {
                self.changes.remove(known);
                if let What::Owner { from, .. } = what
                    && !self
                        .changes
                        .iter()
                        .any(|change| change.what.same_kind(&what))
                {
                    self.before = Some(from);
                }
                true
            }
            (Said::Final, Some(known)) => {
                let was = std::mem::replace(&mut self.changes[known].is_final, true);
                self.forget();
                !was
            }
            // What was observed is always kept until it is final, unless there was too much of it.
            (Said::Final, None) => false,
        }
    }

    /// Takes what a contract says of itself as of a block, where its stream has said nothing yet.
    pub fn look(&mut self, block: u64, what: What, is_final: bool) -> bool {
        let at = Place {
            block,
            index: 0,
            hash: B256::ZERO,
        };
        let of_kind = |change: &Change| change.what.same_kind(&what);
        let mut changes = self.changes.iter();
        let has_spoken = changes.any(|change| !change.at.hash.is_zero() && of_kind(change));
        let mut changes = self.changes.iter();
        let looked = changes.position(|change| change.at.hash.is_zero() && of_kind(change));
        if let Some(looked) = looked {
            if has_spoken {
                // The stream goes on from what was looked up, and so confirms it.
                return !std::mem::replace(&mut self.changes[looked].is_final, true);
            }
            let before = self.changes.remove(looked);
            self.insert(at, what, is_final);
            return before.what != what || before.is_final != is_final;
        }
        if has_spoken {
            return false;
        }
        self.insert(at, what, is_final);
        true
    }

    /// The block of what was looked up and is not final: it has to be looked up again when that is.
    #[must_use]
    pub fn looked(&self) -> Option<u64> {
        let looked = |change: &&Change| change.at.hash.is_zero() && !change.is_final;
        let newest = self.changes.iter().filter(looked).map(|it| it.at.block);
        newest.max()
    }

    /// Whether a contract has said so before.
    #[must_use]
    pub fn was_looked(&self, what: &What) -> bool {
        let mut changes = self.changes.iter();
        changes.any(|change| change.at.hash.is_zero() && change.what == *what)
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self, gain: Gain) -> Owner {
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
        self.changes.is_empty() && self.before.is_none()
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

    /// Forgets old final changes, each kind for itself, and beyond the bound whatever is oldest.
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
            let too_many = of_kind.len().saturating_sub(MAX_CHANGES);
            for at in of_kind[..too_old.max(too_many)].iter().rev() {
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
        assert!(token.look(7, transfer(0, 1), false));
        assert_eq!(token.looked(), Some(7));
        assert_eq!(token.owner(Gain::Final), Owner::GoingTo(who(1)));
        assert!(token.was_looked(&transfer(0, 1)) && !token.was_looked(&transfer(0, 2)));
        assert!(token.look(9, transfer(0, 1), true));
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
        assert!(!token.look(20, transfer(0, 2), false));
        assert_eq!(token.owner(Gain::Final), Owner::Is(who(2)));
        assert!(
            !of_one().look(20, transfer(0, 9), true),
            "the stream has spoken"
        );
        assert_eq!(token.owner(Gain::Included), Owner::Is(who(2)));
        token.take(Said::Retracted, place(12, 3), transfer(1, 2));
        assert_eq!(token.owner(Gain::Final), Owner::Is(who(1)));
    }

    #[test]
    fn what_the_stream_goes_on_from_is_asked_about_no_more() {
        let mut token = Token::default();
        token.look(7, transfer(0, 1), false);
        token.take(Said::Observed, place(9, 3), transfer(1, 2));
        assert_eq!(token.looked(), Some(7));
        assert!(token.look(20, transfer(0, 2), false));
        assert_eq!(token.looked(), None);
        assert_eq!(token.owner(Gain::Final), Owner::GoingTo(who(2)));
        token.take(Said::Retracted, place(9, 3), transfer(1, 2));
        assert_eq!(token.owner(Gain::Final), Owner::Is(who(1)));
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
            assert!(token.changes.len() <= MAX_CHANGES);
        }
        for block in 2..500 {
            token.take(Said::Final, place(block, 1), transfer(1, 2));
        }
        assert!(
            token.changes.len() <= FINAL_KEPT + 1,
            "{}",
            token.changes.len()
        );
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
