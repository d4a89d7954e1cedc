//! What a send wants next: pure.

use stencil_store::{MAX_SEND_ATTEMPTS, SendOutcome, SendState, StoredSend};

use super::fees::Fees;
use super::refusals::Refused;

/// How sends are dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The most that a unit of gas may cost, in wei; gas times it counts as spent.
    pub most_fee_per_gas: u128,
    /// The most that a tip may be, in wei a unit of gas.
    pub most_tip_per_gas: u128,
    /// After so long without a block it is signed again with more.
    pub bump_after_us: i64,
    /// For so long a nonce has to be seen used by none of ours before the send counts as lost.
    pub lost_after_us: i64,
    /// What is refused so often in a row as the account's next one …
    pub refused_times: u32,
    /// … and for so long, is given up.
    pub refused_for_us: i64,
}

impl Default for Policy {
    /// 500 and 10 gwei, 90 s, 10 min, 10 times and 5 min.
    fn default() -> Self {
        Self {
            most_fee_per_gas: 500_000_000_000,
            most_tip_per_gas: 10_000_000_000,
            bump_after_us: 90_000_000,
            lost_after_us: 600_000_000,
            refused_times: 10,
            refused_for_us: 300_000_000,
        }
    }
}

/// What is known of the chain, said alike by enough endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The time.
    pub now_us: i64,
    /// Where one of the attempts is; `None`: none is in a block.
    pub outcome: Option<SendOutcome>,
    /// The newest block that is final.
    pub finalized: Option<u64>,
    /// The account's next nonce at the newest block.
    pub next: u64,
    /// The account's next nonce at the newest final block.
    pub next_final: Option<u64>,
    /// What fees are right now.
    pub market: Fees,
    /// Since when the nonce is seen to be used, for good, by none of the attempts.
    pub missed_since_us: Option<i64>,
    /// Whether the block that it was final in is in the chain no more.
    pub is_gone: bool,
    /// When it was sent again because of that.
    pub again_us: Option<i64>,
    /// How often, and since when, it is refused in a row.
    pub refused: Option<Refused>,
    /// Whether an empty transaction may take its place once it was refused for long enough.
    pub may_give_up: bool,
    /// Whether the account's key is there.
    pub can_sign: bool,
}

/// Attempts that are kept for an empty transaction in the place of what was ordered.
const KEPT_FOR_EMPTY: usize = 16;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Sign with these fees, store that, broadcast it.
    Sign(Fees),
    /// The same, of an empty transaction of the account to itself: no endpoint takes what was ordered.
    GiveUp(Fees),
    /// It wants a signature, and the account's key is not there any more: broadcast what is signed.
    Unsigned,
    /// Broadcast what is signed: it may be lost anywhere on its way.
    Broadcast,
    /// Store that it stands so.
    State(SendState),
    /// Its nonce is used, for good, by none of the attempts that are known to be in a block: note
    /// since when.
    Missed,
    /// It was final, and a reorganisation took it away all the same: store that it is pending, and
    /// broadcast what is signed.
    TakeBack,
    /// Nothing.
    Wait,
}

/// What a send wants. That it is unknown where an attempt is never makes another nonce of it: two
/// attempts of one nonce can't both be in the chain.
pub fn decide(send: &StoredSend, view: &View, policy: &Policy) -> Action {
    if let SendState::Final(_) = send.state {
        // An endpoint that is behind says of its own nonce and receipts the same; of a block it can't.
        let is_gone = view.is_gone && view.outcome.is_none() && view.next <= send.nonce;
        return if is_gone {
            Action::TakeBack
        } else {
            Action::Wait
        };
    }
    if let Some(outcome) = view.outcome {
        let is_final = view
            .finalized
            .is_some_and(|finalized| outcome.block.number <= finalized);
        return if is_final {
            Action::State(SendState::Final(outcome))
        } else if send.state == SendState::Included(outcome) {
            Action::Wait
        } else {
            Action::State(SendState::Included(outcome))
        };
    }
    if view.next_final.is_some_and(|next| next > send.nonce) {
        // An endpoint that has no receipts of a while ago says the same for a moment.
        return match view.missed_since_us {
            Some(since) if view.now_us.saturating_sub(since) >= policy.lost_after_us => {
                Action::State(SendState::Lost)
            }
            _ => Action::Missed,
        };
    }
    if matches!(send.state, SendState::Included(_)) {
        return Action::State(SendState::Pending);
    }
    let Some(last) = send.attempts.last() else {
        return if view.can_sign {
            Action::Sign(view.market.within(policy.most_fee_per_gas))
        } else {
            Action::Unsigned
        };
    };
    // One that waits for a lower nonce is not too cheap.
    let is_next = view.next == send.nonce;
    let since_us = last.signed_us.max(view.again_us.unwrap_or(i64::MIN));
    let is_stuck = view.now_us.saturating_sub(since_us) >= policy.bump_after_us;
    let is_empty = last.gives_up.is_some();
    let most = MAX_SEND_ATTEMPTS as usize;
    let fees = Fees {
        max: last.max_fee,
        priority: last.max_priority,
    };
    let bumped = fees.bumped(view.market, policy.most_fee_per_gas);
    let gives_up = view.may_give_up
        && view
            .refused
            .is_some_and(|r| policy.gives_up(r, view.now_us));
    if is_next && !is_empty && gives_up && view.can_sign && send.attempts.len() < most {
        // No node has what is refused, so none asks for more than it would for another one.
        return Action::GiveUp(bumped.unwrap_or(view.market.within(policy.most_fee_per_gas)));
    }
    let room = if is_empty {
        most
    } else {
        most - KEPT_FOR_EMPTY
    };
    if is_next
        && is_stuck
        && send.attempts.len() < room
        && let Some(bumped) = bumped
    {
        return if view.can_sign {
            Action::Sign(bumped)
        } else {
            Action::Unsigned
        };
    }
    Action::Broadcast
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stencil_store::{BlockMark, NewSend, SendAttempt};

    use super::*;

    fn send(nonce: u64) -> StoredSend {
        StoredSend {
            send: NewSend {
                chain: "dev".to_owned(),
                sender: [1; 20],
                tenant: "acme".to_owned(),
                key: "k".to_owned(),
                receiver: [2; 20],
                value: [0; 32],
                data: vec![],
                gas: 21_000,
                most_fee: [0; 32],
                token: None,
                brings: None,
            },
            nonce,
            state: SendState::Pending,
            attempts: vec![],
            reserved_us: 0,
        }
    }

    fn attempt(tx: u8, signed_us: i64) -> SendAttempt {
        SendAttempt {
            tx: [tx; 32],
            raw: vec![],
            max_fee: 100 + u128::from(tx),
            max_priority: 10,
            signed_us,
            gives_up: None,
        }
    }

    fn view(nonce: u64) -> View {
        View {
            now_us: 0,
            outcome: None,
            finalized: None,
            next: nonce,
            next_final: None,
            market: Fees::market(20, 2),
            missed_since_us: None,
            is_gone: false,
            again_us: None,
            refused: None,
            may_give_up: false,
            can_sign: true,
        }
    }

    fn outcome(tx: u8, number: u64) -> SendOutcome {
        SendOutcome {
            tx: [tx; 32],
            block: BlockMark {
                number,
                hash: [9; 32],
            },
            succeeded: true,
            fee: None,
        }
    }

    #[test]
    fn what_is_stuck_is_bumped_and_what_waits_for_another_is_not() {
        let policy = Policy::default();
        let mut stuck = send(5);
        assert_eq!(
            decide(&stuck, &view(5), &policy),
            Action::Sign(Fees::market(20, 2))
        );
        stuck.attempts.push(attempt(1, 0));
        assert_eq!(decide(&stuck, &view(5), &policy), Action::Broadcast);
        let later = View {
            now_us: policy.bump_after_us,
            ..view(5)
        };
        assert!(matches!(decide(&stuck, &later, &policy), Action::Sign(fees) if fees.max >= 114));
        let behind = View { next: 4, ..later };
        assert_eq!(decide(&stuck, &behind, &policy), Action::Broadcast);
        let poor = Policy {
            most_fee_per_gas: 110,
            ..policy
        };
        assert_eq!(
            decide(&stuck, &later, &poor),
            Action::Broadcast,
            "no more may be paid"
        );
    }

    #[test]
    fn a_reorganisation_makes_it_pending_again_and_finality_ends_it() {
        let policy = Policy::default();
        let mut one = send(5);
        one.attempts = vec![attempt(1, 0), attempt(2, 0)];
        let included = SendState::Included(outcome(1, 7));
        let seen = View {
            outcome: Some(outcome(1, 7)),
            next: 6,
            ..view(5)
        };
        assert_eq!(decide(&one, &seen, &policy), Action::State(included));
        one.state = included;
        assert_eq!(decide(&one, &seen, &policy), Action::Wait);
        assert_eq!(
            decide(&one, &view(5), &policy),
            Action::State(SendState::Pending)
        );
        let last = View {
            finalized: Some(7),
            next_final: Some(6),
            ..seen
        };
        assert_eq!(
            decide(&one, &last, &policy),
            Action::State(SendState::Final(outcome(1, 7)))
        );
    }

    #[test]
    fn lost_is_said_only_after_a_while_and_never_without_finality() {
        let policy = Policy::default();
        let mut one = send(5);
        one.attempts = vec![attempt(1, 0)];
        let used = View { next: 6, ..view(5) };
        assert_eq!(
            decide(&one, &used, &policy),
            Action::Broadcast,
            "not for good yet"
        );
        let missed = View {
            next_final: Some(6),
            ..used
        };
        assert_eq!(decide(&one, &missed, &policy), Action::Missed);
        let since = View {
            missed_since_us: Some(0),
            now_us: policy.lost_after_us - 1,
            ..missed
        };
        assert_eq!(decide(&one, &since, &policy), Action::Missed);
        let long = View {
            now_us: policy.lost_after_us,
            ..since
        };
        assert_eq!(decide(&one, &long, &policy), Action::State(SendState::Lost));
    }

    #[test]
    fn what_was_final_is_taken_back_only_where_its_block_is_gone() {
        let policy = Policy::default();
        let mut one = send(5);
        one.attempts = vec![attempt(1, 0)];
        one.state = SendState::Final(outcome(1, 7));
        let gone = View {
            is_gone: true,
            ..view(5)
        };
        assert_eq!(decide(&one, &gone, &policy), Action::TakeBack);
        for other in [
            view(5),
            View { next: 6, ..gone },
            View {
                outcome: Some(outcome(1, 8)),
                ..gone
            },
        ] {
            assert_eq!(decide(&one, &other, &policy), Action::Wait, "{other:?}");
        }
        // The same bytes again have as long as they had.
        one.state = SendState::Pending;
        let again = View {
            now_us: policy.bump_after_us + 6,
            again_us: Some(7),
            ..view(5)
        };
        assert_eq!(decide(&one, &again, &policy), Action::Broadcast);
        let stuck = View {
            now_us: policy.bump_after_us + 7,
            ..again
        };
        assert!(matches!(decide(&one, &stuck, &policy), Action::Sign(_)));
    }

    #[test]
    fn what_is_refused_for_long_is_given_up_once_and_only_as_the_next_one() {
        let policy = Policy::default();
        let mut one = send(5);
        one.attempts = vec![attempt(1, 0)];
        let long = View {
            now_us: policy.refused_for_us,
            refused: Some(Refused {
                times: policy.refused_times,
                since_us: 0,
            }),
            may_give_up: true,
            ..view(5)
        };
        let Action::GiveUp(fees) = decide(&one, &long, &policy) else {
            panic!("it is given up");
        };
        assert!(fees.max >= 114, "also where some node has it all the same");
        let seldom = Refused {
            times: policy.refused_times - 1,
            since_us: 0,
        };
        for not_yet in [
            View {
                refused: Some(seldom),
                ..long
            },
            View {
                refused: None,
                ..long
            },
            View {
                now_us: policy.refused_for_us - 1,
                ..long
            },
            // The account can't pay for an empty one either.
            View {
                may_give_up: false,
                ..long
            },
            View { next: 4, ..long },
            View {
                can_sign: false,
                ..long
            },
            View {
                outcome: Some(outcome(1, 7)),
                ..long
            },
        ] {
            let action = decide(&one, &not_yet, &policy);
            assert!(!matches!(action, Action::GiveUp(_)), "{not_yet:?}");
        }
        // No more may be paid: then with what may be.
        let poor = Policy {
            most_fee_per_gas: 90,
            ..policy
        };
        assert!(matches!(decide(&one, &long, &poor), Action::GiveUp(fees) if fees.max <= 90));
        one.attempts.push(SendAttempt {
            gives_up: Some("intrinsic gas too low".to_owned()),
            ..attempt(2, policy.refused_for_us)
        });
        assert_eq!(decide(&one, &long, &policy), Action::Broadcast);
        let stuck = View {
            now_us: policy.refused_for_us + policy.bump_after_us,
            ..long
        };
        assert!(matches!(decide(&one, &stuck, &policy), Action::Sign(_)));
    }

    #[test]
    fn bumps_leave_room_for_giving_up() {
        let policy = Policy::default();
        let mut one = send(5);
        one.attempts = vec![attempt(1, 0); MAX_SEND_ATTEMPTS as usize - KEPT_FOR_EMPTY];
        let stuck = View {
            now_us: policy.refused_for_us,
            ..view(5)
        };
        assert_eq!(decide(&one, &stuck, &policy), Action::Broadcast);
        let refused = View {
            refused: Some(Refused {
                times: policy.refused_times,
                since_us: 0,
            }),
            may_give_up: true,
            ..stuck
        };
        assert!(matches!(decide(&one, &refused, &policy), Action::GiveUp(_)));
    }

    #[test]
    fn without_its_key_an_account_is_watched_and_says_what_it_wants() {
        let policy = Policy::default();
        let absent = View {
            can_sign: false,
            ..view(5)
        };
        let mut one = send(5);
        assert_eq!(decide(&one, &absent, &policy), Action::Unsigned);
        one.attempts.push(attempt(1, 0));
        assert_eq!(decide(&one, &absent, &policy), Action::Broadcast);
        let stuck = View {
            now_us: policy.bump_after_us,
            ..absent
        };
        assert_eq!(decide(&one, &stuck, &policy), Action::Unsigned);
        let last = View {
            outcome: Some(outcome(1, 7)),
            finalized: Some(7),
            ..stuck
        };
        let is_final = Action::State(SendState::Final(outcome(1, 7)));
        assert_eq!(decide(&one, &last, &policy), is_final);
    }

    proptest! {
        /// Whatever is seen: it is over only by a block that is final, or by a nonce that is used for good.
        #[test]
        fn it_is_over_only_for_good(
            attempts in 0..4_usize, in_block in proptest::option::of((1..4_u8, 0..20_u64)),
            finalized in proptest::option::of(0..20_u64), next in 3..8_u64,
            next_final in proptest::option::of(3..8_u64), now in 0..2_000_000_000_i64,
            missed in proptest::option::of(0..2_000_000_000_i64), was_included in any::<bool>(),
        ) {
            let mut one = send(5);
            one.attempts = (0..attempts).map(|n| attempt(u8::try_from(n).unwrap(), 0)).collect();
            if was_included {
                one.state = SendState::Included(outcome(1, 3));
            }
            let outcome = in_block.map(|(tx, number)| outcome(tx, number));
            let view = View { outcome, finalized, next, next_final, now_us: now, missed_since_us: missed, ..view(5) };
            match decide(&one, &view, &Policy::default()) {
                Action::State(SendState::Final(o)) => {
                    prop_assert!(view.outcome == Some(o) && Some(o.block.number) <= finalized);
                }
                Action::State(SendState::Lost) => {
                    prop_assert!(outcome.is_none() && next_final > Some(5) && missed.is_some());
                }
                Action::Sign(_) => prop_assert!(outcome.is_none() && next_final <= Some(5)),
                _ => {}
            }
        }
    }
}
