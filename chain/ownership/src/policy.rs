//! What holding a token lets somebody do: a tenant's policy, and whether an account may command a device.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

use crate::holder::{Gain, Owner, Token};

/// Names of commands in one list.
pub const MAX_COMMANDS: usize = 64;
/// The longest name of a command, in bytes: a device takes none that is longer.
pub const MAX_COMMAND: usize = 32;
/// How far, in seconds, a chain's newest block may be ahead of the hub's clock.
pub const MAX_AHEAD_S: u64 = 60;
/// What stands for every command.
pub const ANY: &str = "*";

/// Which commands: names, or `*` for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Commands(pub BTreeSet<String>);

impl Commands {
    /// Whether this one is among them.
    #[must_use]
    pub fn has(&self, command: &str) -> bool {
        self.0.contains(ANY) || self.0.contains(command)
    }

    /// What is wrong with the list.
    ///
    /// # Errors
    /// Which name, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if self.0.len() > MAX_COMMANDS {
            return Err(format!("{} names, at most {MAX_COMMANDS}", self.0.len()));
        }
        for name in &self.0 {
            if name.is_empty() || name.len() > MAX_COMMAND || name.chars().any(char::is_control) {
                let mut characters = name.chars();
                let begin: String = characters.by_ref().take(MAX_COMMAND).collect();
                let rest = characters.next().map_or("", |_| "…");
                return Err(format!(
                    "a command's name has 1 to {MAX_COMMAND} bytes without control characters, or is `*` for \
                     every one: {begin:?}{rest} has {} bytes",
                    name.len()
                ));
            }
        }
        Ok(())
    }
}

/// What a tenant lets owners and users do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What a passport's owner may command.
    pub owner_may: Commands,
    /// What an access right's user may command.
    pub user_may: Commands,
    /// When a new owner or user may do so. The one before may not from the block on that says so.
    pub gain: Gain,
    /// How old, in seconds, the newest block that was read may be: beyond that nobody is known to hold
    /// anything.
    pub stale_after_s: u32,
}

impl Policy {
    /// Whether what was read of a chain up to `read_s` still holds at `now_s`, seconds since 1970; 0: nothing
    /// was read.
    ///
    /// # Errors
    /// [`Refusal::Unknown`], [`Refusal::Ahead`].
    pub fn fresh(&self, read_s: u64, now_s: u64) -> Result<(), Refusal> {
        let ahead_s = read_s.saturating_sub(now_s);
        if ahead_s > MAX_AHEAD_S {
            return Err(Refusal::Ahead { read_s, ahead_s });
        }
        let age_s = now_s.saturating_sub(read_s);
        if read_s == 0 || age_s > u64::from(self.stale_after_s) {
            return Err(Refusal::Unknown {
                read_s,
                age_s,
                stale_after_s: self.stale_after_s,
            });
        }
        Ok(())
    }
}

/// As what somebody commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// The passport's owner.
    Owner,
    /// The user of an access right, up to and with this second.
    User {
        /// The last second.
        expires: u64,
    },
}

/// Why somebody may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Neither passport nor right.
    #[error("this account holds neither the device's passport nor a right to use it")]
    NotHeld,
    /// Held, but not final.
    #[error("what this account got is in a block that is not final yet: wait")]
    NotFinal,
    /// A right that is over.
    #[error("the right of this account to use the device ended at {}", crate::listing::when(*.expires))]
    Over {
        /// Its last second.
        expires: u64,
    },
    /// Not this command.
    #[error("who holds what this account holds may not command {command:?}")]
    NotThis {
        /// The command.
        command: String,
    },
    /// The newest block that was read is of a time that has not come: how old what is known is can't be
    /// said.
    #[error(
        "who holds what is not known now: the newest block that was read is of {read_s} (seconds \
         since 1970), {ahead_s} s ahead of the hub's clock, and {MAX_AHEAD_S} s are the most"
    )]
    Ahead {
        /// The newest block's time.
        read_s: u64,
        /// How far ahead.
        ahead_s: u64,
    },
    /// The chain was not read for too long.
    #[error(
        "who holds what is not known now: the newest block that was read is of {read_s} (seconds \
         since 1970), {age_s} s ago, and {stale_after_s} s are the most; try again later"
    )]
    Unknown {
        /// The newest block's time; 0: none was read.
        read_s: u64,
        /// How long ago.
        age_s: u64,
        /// The most.
        stale_after_s: u32,
    },
}

/// What is known of a device's tokens.
#[derive(Clone, Debug)]
pub struct Known<'k> {
    /// The device's passport.
    pub passport: Option<&'k Token>,
    /// Rights to use the device; those of others don't count.
    pub rights: &'k [Token],
    /// The timestamp of the newest block that was read, in seconds since 1970; 0: none was.
    pub read_s: u64,
}

/// Whether `account` may give the device this command at `now_s`, seconds since 1970 by the hub's clock.
///
/// A right's end is no event: it is compared with the clock at each command. The chain's own time would
/// stand still with the chain.
///
/// # Errors
/// The reason that comes closest to what would be needed.
pub fn may_command(
    policy: &Policy,
    known: &Known<'_>,
    account: Address,
    command: &str,
    now_s: u64,
) -> Result<As, Refusal> {
    let answer = holds(policy, known, account, command, now_s);
    // Who holds nothing by what is known is told just that, however old it is: that a device has a passport
    // at all is no stranger's to know.
    if answer != Err(Refusal::NotHeld) {
        policy.fresh(known.read_s, now_s)?;
    }
    answer
}

fn holds(
    policy: &Policy,
    known: &Known<'_>,
    account: Address,
    command: &str,
    now_s: u64,
) -> Result<As, Refusal> {
    let mut why = Refusal::NotHeld;
    match known.passport.map(|token| token.owner(policy.gain)) {
        Some(Owner::Is(owner)) if owner == account => {
            if policy.owner_may.has(command) {
                return Ok(As::Owner);
            }
            why = Refusal::NotThis {
                command: command.to_owned(),
            };
        }
        Some(Owner::GoingTo(owner)) if owner == account => why = Refusal::NotFinal,
        _ => {}
    }
    for token in known.rights {
        let Some(user) = token
            .user(policy.gain)
            .filter(|user| user.account == account)
        else {
            continue;
        };
        why = if now_s > user.expires {
            match why {
                Refusal::NotHeld | Refusal::Over { .. } => Refusal::Over {
                    expires: user.expires,
                },
                nearer => nearer,
            }
        } else if !user.in_effect {
            Refusal::NotFinal
        } else if policy.user_may.has(command) {
            return Ok(As::User {
                expires: user.expires,
            });
        } else {
            Refusal::NotThis {
                command: command.to_owned(),
            }
        };
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;
    use crate::holder::{Place, Said, What};

    const NOW: u64 = 1_800_000_000;
    const SELLER: Address = Address::repeat_byte(1);
    const BUYER: Address = Address::repeat_byte(2);
    const GUEST: Address = Address::repeat_byte(3);

    fn policy() -> Policy {
        let names = |names: &[&str]| Commands(names.iter().map(|it| (*it).to_owned()).collect());
        Policy {
            owner_may: names(&["*"]),
            user_may: names(&["unlock"]),
            gain: Gain::Final,
            stale_after_s: 900,
        }
    }

    fn at(block: u64) -> Place {
        Place {
            block,
            index: 0,
            hash: B256::repeat_byte(9),
        }
    }

    fn passport() -> Token {
        let mut token = Token::default();
        let issued = What::Owner {
            from: Address::ZERO,
            to: SELLER,
        };
        token.take(Said::Observed, at(1), issued);
        token.take(Said::Final, at(1), issued);
        token
    }

    fn right(expires: u64, is_final: bool) -> Token {
        let mut token = Token::default();
        let lent = What::User {
            user: GUEST,
            expires,
        };
        token.take(Said::Observed, at(2), lent);
        if is_final {
            token.take(Said::Final, at(2), lent);
        }
        token
    }

    fn asked(
        passport: &Token,
        rights: &[Token],
        who: Address,
        command: &str,
    ) -> Result<As, Refusal> {
        let known = Known {
            passport: Some(passport),
            rights,
            read_s: NOW - 10,
        };
        may_command(&policy(), &known, who, command, NOW)
    }

    #[test]
    fn control_moves_with_the_passport_and_is_nobody_s_meanwhile() {
        let mut passport = passport();
        assert_eq!(asked(&passport, &[], SELLER, "lock"), Ok(As::Owner));
        assert_eq!(asked(&passport, &[], BUYER, "lock"), Err(Refusal::NotHeld));
        let sold = What::Owner {
            from: SELLER,
            to: BUYER,
        };
        passport.take(Said::Observed, at(5), sold);
        assert_eq!(asked(&passport, &[], SELLER, "lock"), Err(Refusal::NotHeld));
        assert_eq!(asked(&passport, &[], BUYER, "lock"), Err(Refusal::NotFinal));
        passport.take(Said::Final, at(5), sold);
        assert_eq!(asked(&passport, &[], SELLER, "lock"), Err(Refusal::NotHeld));
        assert_eq!(asked(&passport, &[], BUYER, "lock"), Ok(As::Owner));
        passport.take(Said::Retracted, at(5), sold);
        assert_eq!(asked(&passport, &[], SELLER, "lock"), Ok(As::Owner));
    }

    #[test]
    fn a_right_lets_its_user_do_what_the_tenant_says_up_to_its_last_second() {
        let passport = passport();
        let user = |expires| Ok(As::User { expires });
        assert_eq!(
            asked(&passport, &[right(NOW, true)], GUEST, "unlock"),
            user(NOW)
        );
        assert_eq!(
            asked(&passport, &[right(NOW - 1, true)], GUEST, "unlock"),
            Err(Refusal::Over { expires: NOW - 1 })
        );
        assert_eq!(
            asked(&passport, &[right(NOW, true)], GUEST, "reset"),
            Err(Refusal::NotThis {
                command: "reset".to_owned()
            })
        );
        assert_eq!(
            asked(&passport, &[right(NOW, false)], GUEST, "unlock"),
            Err(Refusal::NotFinal)
        );
        // One of several is enough, whatever the others are.
        let several = [
            right(NOW - 5, true),
            right(NOW + 9, true),
            right(NOW + 50, false),
        ];
        assert_eq!(asked(&passport, &several, GUEST, "unlock"), user(NOW + 9));
        assert_eq!(
            asked(&passport, &several, BUYER, "unlock"),
            Err(Refusal::NotHeld)
        );
    }

    #[test]
    fn when_the_chain_was_not_read_for_long_nobody_is_known_to_hold_anything() {
        let passport = passport();
        for (read_s, known) in [
            (NOW, true),
            (NOW - 900, true),
            (NOW - 901, false),
            (0, false),
            // The hub's clock is a little behind; no block is of next year.
            (NOW + MAX_AHEAD_S, true),
            (NOW + MAX_AHEAD_S + 1, false),
            (NOW + 31_536_000, false),
        ] {
            let of = Known {
                passport: Some(&passport),
                rights: &[],
                read_s,
            };
            let answer = may_command(&policy(), &of, SELLER, "lock", NOW);
            assert_eq!(answer.is_ok(), known, "{read_s}: {answer:?}");
            let answer = may_command(&policy(), &of, BUYER, "lock", NOW);
            assert_eq!(answer, Err(Refusal::NotHeld), "{read_s}");
        }
    }

    #[test]
    fn lists_of_commands_are_checked() {
        policy().owner_may.check().unwrap();
        for wrong in [String::new(), "x".repeat(33), "a\nb".to_owned()] {
            assert!(Commands(BTreeSet::from([wrong])).check().is_err());
        }
        let told = Commands(BTreeSet::from(["x".repeat(33)])).check();
        let right = format!("{:?}… has 33 bytes", "x".repeat(32));
        assert!(told.unwrap_err().ends_with(&right));
        let many = (0..65).map(|n| n.to_string()).collect();
        assert!(Commands(many).check().is_err());
    }
}
