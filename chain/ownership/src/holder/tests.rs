//! Whose a token is through sales, reorganisations and answers of its contract.

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
