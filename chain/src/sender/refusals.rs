//! Transactions that no node takes, although their nonce is the account's next one.
//!
//! What is refused is never in a block, and so holds up all that come after it. After a while an empty
//! transaction of the account to itself takes its nonce: at most one of the two can ever be in the chain,
//! whatever was wrong with the first.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use stencil_store::StoredSend;

use super::{Error, Policy, Sender, View, gas};

/// How often it is refused before somebody is told.
const TOLD_FROM: u32 = 3;

/// How often, and since when, a send is refused in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// How often.
    pub times: u32,
    /// Since when, in microseconds since the epoch.
    pub since_us: i64,
}

/// What came of telling endpoints of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// One has it.
    Taken,
    /// As many as have to say the same say that they won't have it, for what it is.
    Refused(String),
    /// Neither.
    Unknown,
}

/// What was refused since the start, by nonce.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    all: BTreeMap<u64, Refusal>,
}

#[derive(Debug)]
struct Refusal {
    refused: Refused,
    why: String,
    /// What an empty transaction would cost that the account can't pay.
    broke: Option<U256>,
}

impl Refusals {
    /// What came of telling of the account's next one.
    pub(super) fn told(&mut self, nonce: u64, told: &Told, now_us: i64) {
        match told {
            Told::Taken => self.over(nonce),
            Told::Refused(why) => {
                let refusal = self.all.entry(nonce).or_insert_with(|| Refusal {
                    refused: Refused {
                        times: 0,
                        since_us: now_us,
                    },
                    why: String::new(),
                    broke: None,
                });
                refusal.refused.times = refusal.refused.times.saturating_add(1);
                refusal.why.clone_from(why);
            }
            Told::Unknown => {}
        }
    }

    pub(super) fn of(&self, nonce: u64) -> Option<Refused> {
        self.all.get(&nonce).map(|refusal| refusal.refused)
    }

    pub(super) fn why(&self, nonce: u64) -> String {
        let why = self.all.get(&nonce).map(|refusal| refusal.why.clone());
        why.unwrap_or_default()
    }

    /// It is taken, or something else has its nonce.
    pub(super) fn over(&mut self, nonce: u64) {
        self.all.remove(&nonce);
    }

    /// Nothing below the account's next nonce is refused any more.
    pub(super) fn looked(&mut self, next: u64) {
        self.all.retain(|nonce, _| *nonce >= next);
    }

    /// Whether an empty transaction may take its place, for what that costs and the account has. An account
    /// that had too little and has coin again may have been all that was wrong: what is refused has as long
    /// again.
    fn pays(&mut self, nonce: u64, has: U256, wants: U256) -> bool {
        let Some(refusal) = self.all.get_mut(&nonce) else {
            return false;
        };
        if has < wants {
            refusal.broke = Some(wants);
            return false;
        }
        if refusal.broke.is_some() {
            self.over(nonce);
            return false;
        }
        true
    }

    pub(super) fn trouble(&self, account: Address) -> Option<String> {
        let mut all = self.all.iter();
        let (nonce, refusal) = all.find(|(_, refusal)| refusal.refused.times >= TOLD_FROM)?;
        let why = &refusal.why;
        let then = match refusal.broke {
            None => "an empty transaction takes its place after a while".to_owned(),
            Some(wants) => format!(
                "the account has less than the {wants} wei that an empty transaction in its place may \
                 cost: send it some"
            ),
        };
        Some(format!(
            "endpoints refuse what has nonce {nonce} of {account}, and all after it waits ({why}): {then}"
        ))
    }
}

impl Policy {
    /// Whether what is refused so is given up.
    pub fn gives_up(&self, refused: Refused, now_us: i64) -> bool {
        refused.times >= self.refused_times
            && now_us.saturating_sub(refused.since_us) >= self.refused_for_us
    }
}

impl Sender {
    /// Whether an empty transaction may take the place of a send that is refused: where the account can't
    /// pay for that either, it would only be refused as well, and what waits may still be taken once there
    /// is coin again.
    pub(super) async fn may_give_up(
        &mut self,
        send: &StoredSend,
        view: &View,
    ) -> Result<bool, Error> {
        let is_long = view
            .refused
            .is_some_and(|refused| self.policy.gives_up(refused, view.now_us));
        if !is_long || view.next != send.nonce {
            return Ok(false);
        }
        let wants = U256::from(gas::OF_EMPTY).saturating_mul(U256::from(view.market.max));
        let has = self.quorum.balance(self.signer.address()).await?;
        Ok(self.refusals.pays(send.nonce, has, wants))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_refused_in_a_row_counts_and_it_is_told() {
        let mut refusals = Refusals::default();
        let no = Told::Refused("intrinsic gas too low".to_owned());
        for now_us in [10, 20, 30] {
            assert_eq!(refusals.trouble(Address::ZERO), None);
            refusals.told(5, &no, now_us);
            refusals.told(5, &Told::Unknown, now_us);
        }
        let expected = Refused {
            times: 3,
            since_us: 10,
        };
        assert_eq!(refusals.of(5), Some(expected));
        let trouble = refusals.trouble(Address::ZERO).unwrap();
        assert!(
            trouble.contains("nonce 5") && trouble.contains("intrinsic gas too low"),
            "{trouble}"
        );
        assert!(refusals.pays(5, U256::from(77), U256::from(77)));
        assert!(!refusals.pays(5, U256::from(76), U256::from(77)));
        let trouble = refusals.trouble(Address::ZERO).unwrap();
        assert!(trouble.contains("less than the 77 wei"), "{trouble}");
        // There is coin again: it is told to endpoints once more before it is given up.
        assert!(!refusals.pays(5, U256::from(77), U256::from(77)));
        assert_eq!(refusals.of(5), None);
        refusals.told(5, &no, 35);
        refusals.told(5, &Told::Taken, 40);
        assert_eq!(refusals.of(5), None);
        refusals.told(5, &no, 50);
        refusals.looked(6);
        assert_eq!(refusals.of(5), None);
    }

    #[test]
    fn it_is_given_up_after_so_often_and_so_long_only() {
        let policy = Policy::default();
        let often = Refused {
            times: policy.refused_times,
            since_us: 7,
        };
        let late = 7 + policy.refused_for_us;
        assert!(policy.gives_up(often, late));
        assert!(!policy.gives_up(often, late - 1));
        let seldom = Refused {
            times: policy.refused_times - 1,
            ..often
        };
        assert!(!policy.gives_up(seldom, i64::MAX));
    }
}
