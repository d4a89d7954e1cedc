//! What a contract is asked that no stream has said.

use alloy_sol_types::SolValue as _;
use serde_json::json;
use stencil_ownership::abi::{self, SolCall as _};
use stencil_ownership::policy::{As, Refusal};
use stencil_payments::port::Unknown;
use stencil_payments::{Address, U256};
use stencil_protocol::id::DeviceId;

use super::{
    BUYER, Estate, GUEST, PASSPORTS, RIGHTS, SELLER, door, issued, lent, passport, rival, settings,
    sold, token_id, with_a_rival,
};
use crate::chains::ownership::Refused;
use crate::chains::ownership::look::PutOff;
use crate::chains::tests::fake::CHAIN;
use crate::chains::tests::{START_S, World, acme};

#[tokio::test]
async fn a_passport_from_before_is_known_when_the_answer_about_it_is_final() {
    let mut estate = Estate::over(World::new().await);
    estate.open().await;
    let other = DeviceId::parse("door-2").unwrap();
    let id = U256::from(7);
    let call = || abi::ownerOfCall { tokenId: id }.abi_encode().into();
    estate
        .world
        .chain
        .answers(PASSPORTS, call(), SELLER.abi_encode());
    let give = async |estate: &Estate| {
        let key = id.to_be_bytes();
        estate
            .owners
            .give_passport(&acme(), &other, key, None)
            .await
    };
    give(&estate).await.unwrap();
    let asked = async |estate: &Estate, who| {
        let asked = estate
            .owners
            .may_command(&acme(), &other, who, "lock")
            .await;
        asked.map_err(|refused| refused.to_string())
    };
    assert!(
        asked(&estate, SELLER)
            .await
            .unwrap_err()
            .contains("not final yet")
    );
    // What was asked is gone by the time that it would be final: it is not believed, but asked anew.
    estate
        .world
        .chain
        .answers(PASSPORTS, call(), BUYER.abi_encode());
    let mut newest = 0;
    for _ in 0..9 {
        newest = estate.block(1, &[]).await;
    }
    estate.finalize(newest).await;
    assert!(asked(&estate, SELLER).await.is_err());
    assert!(
        asked(&estate, BUYER)
            .await
            .unwrap_err()
            .contains("not final yet")
    );
    // A chain that does not answer changes nothing.
    for _ in 0..9 {
        newest = estate.block(1, &[]).await;
    }
    estate.finalize(newest).await;
    assert_eq!(asked(&estate, BUYER).await, Ok(As::Owner));
}

#[tokio::test]
async fn a_right_from_before_is_read_from_its_contract() {
    let estate = Estate::new().await;
    let id = U256::from(5);
    let ends = START_S + 500;
    let missing = estate.owners.read_right(&acme(), id.to_be_bytes()).await;
    assert!(
        missing
            .unwrap_err()
            .to_string()
            .contains("knows no right 5")
    );
    let chain = &estate.world.chain;
    let right = abi::Right {
        device: token_id(),
        ends,
    };
    let call = abi::rightOfCall { tokenId: id }.abi_encode();
    chain.answers(RIGHTS, call.into(), right.abi_encode());
    let call = abi::userOfCall { tokenId: id }.abi_encode();
    chain.answers(RIGHTS, call.into(), GUEST.abi_encode());
    let call = abi::userExpiresCall { tokenId: id }.abi_encode();
    chain.answers(RIGHTS, call.into(), U256::from(ends).abi_encode());
    estate
        .owners
        .read_right(&acme(), id.to_be_bytes())
        .await
        .unwrap();
    assert_eq!(estate.asked(GUEST, "unlock").await, Err(Refusal::NotFinal));
    let mut newest = 0;
    for _ in 0..9 {
        newest = estate.block(1, &[]).await;
    }
    estate.finalize(newest).await;
    assert!(estate.asked(GUEST, "unlock").await.is_ok());
}

/// Settled or not, each kind is asked about until it is, and then no more.
#[tokio::test]
async fn what_a_contract_no_longer_knows_is_nobody_s_and_asked_about_no_more() {
    let estate = Estate::new().await;
    let id = U256::from(7);
    let other = DeviceId::parse("door-2").unwrap();
    let call = || abi::ownerOfCall { tokenId: id }.abi_encode().into();
    let chain = &estate.world.chain;
    chain.answers(PASSPORTS, call(), SELLER.abi_encode());
    let key = id.to_be_bytes();
    let tenant = acme();
    let given = estate.owners.give_passport(&tenant, &other, key, None);
    given.await.unwrap();
    // It was in a block that is gone.
    chain.answers(PASSPORTS, call(), Vec::new());
    for _ in 0..30 {
        let newest = estate.block(1, &[]).await;
        estate.finalize(newest).await;
    }
    let asked = estate
        .owners
        .may_command(&acme(), &other, SELLER, "lock")
        .await;
    assert!(matches!(asked, Err(Refused::Policy(Refusal::NotHeld))));
    let port = &estate.world.store.ownership;
    let due = port
        .looked_tokens(&acme(), CHAIN, u64::from(u32::MAX), 10)
        .await
        .unwrap();
    assert_eq!(due, []);
}

/// What happened while no policy named the contract is in no stream that was read: the contract is asked.
#[tokio::test]
async fn a_sale_in_a_gap_of_the_policy_is_learned_when_the_policy_is_back() {
    // No policy at all, another collection meanwhile, and the stream had spoken before.
    for (gap, issued_before) in [(0, false), (1, false), (0, true), (1, true)] {
        let estate = Estate::new().await;
        if issued_before {
            let block = estate.block(1, &[sold(9, Address::ZERO, SELLER)]).await;
            estate.finalize(block).await;
        }
        assert!(estate.may(SELLER).await);
        if gap == 0 {
            assert!(estate.owners.unset(&acme()).await.unwrap());
        } else {
            let other = Address::repeat_byte(0x79);
            let chain = &estate.world.chain;
            chain.is_contract(other);
            let call = abi::supportsInterfaceCall {
                interfaceId: abi::ERC_721.into(),
            };
            chain.answers(other, call.abi_encode().into(), true.abi_encode());
            let mut meanwhile = settings();
            meanwhile.passports = Some(other.to_string());
            estate.set(meanwhile).await;
        }
        let sale = estate.block(5, &[sold(1, SELLER, BUYER)]).await;
        estate.finalize(sale).await;
        estate.owned_by(BUYER);
        estate.set(settings()).await;
        assert!(!estate.may(SELLER).await, "{gap} {issued_before}");
        assert!(!estate.may(BUYER).await, "before the contract was asked");
        estate
            .owners
            .give_passport(&acme(), &door(), passport().0, None)
            .await
            .unwrap();
        estate.go_on().await;
        assert!(!estate.may(SELLER).await, "{gap} {issued_before}");
        assert!(estate.may(BUYER).await, "{gap} {issued_before}");
    }
}

/// A right that was lent to somebody else while rights were not followed; and one that was not.
#[tokio::test]
async fn a_right_that_changed_hands_in_a_gap_of_the_policy_is_asked_for() {
    let estate = Estate::new().await;
    let ends = START_S + 500;
    for number in [1, 2] {
        let tx = u8::try_from(number).unwrap();
        let block = estate.block(5, &issued(tx, number, GUEST, ends)).await;
        estate.finalize(block).await;
    }
    let mut without = settings();
    without.access_rights = None;
    estate.set(without).await;
    let chain = &estate.world.chain;
    let says = |id: u64, user: Address| {
        let id = U256::from(id);
        let right = abi::Right {
            device: token_id(),
            ends,
        };
        let call = abi::rightOfCall { tokenId: id }.abi_encode();
        chain.answers(RIGHTS, call.into(), right.abi_encode());
        let call = abi::userOfCall { tokenId: id }.abi_encode();
        chain.answers(RIGHTS, call.into(), user.abi_encode());
        let call = abi::userExpiresCall { tokenId: id }.abi_encode();
        chain.answers(RIGHTS, call.into(), U256::from(ends).abi_encode());
    };
    says(1, BUYER);
    says(2, BUYER);
    estate.set(settings()).await;
    assert_eq!(estate.asked(GUEST, "unlock").await, Err(Refusal::NotHeld));
    estate.go_on().await;
    assert_eq!(estate.asked(GUEST, "unlock").await, Err(Refusal::NotHeld));
    assert!(estate.asked(BUYER, "unlock").await.is_ok());
    // The same settings again change nothing.
    estate.set(settings()).await;
    assert!(estate.asked(BUYER, "unlock").await.is_ok());
}

#[tokio::test]
async fn a_contract_that_does_not_answer_keeps_nobody_else_s_tokens_from_counting() {
    let estate = Estate::new().await;
    let lame = Address::repeat_byte(0x7a);
    let theirs = json!({ "chain": CHAIN, "passports": lame.to_string() });
    with_a_rival(&estate, lame, &theirs.to_string()).await;
    let chain = &estate.world.chain;
    let id = U256::from(7);
    let call = abi::ownerOfCall { tokenId: id }.abi_encode();
    chain.answers(PASSPORTS, call.into(), BUYER.abi_encode());
    chain.otherwise(Err(Unknown("endpoints disagree".into())));
    let other = DeviceId::parse("door-2").unwrap();
    let tenant = acme();
    let given = estate
        .owners
        .give_passport(&tenant, &other, id.to_be_bytes(), None);
    given.await.unwrap();
    estate.go_on().await;
    let asked = estate.owners.may_command(&tenant, &other, BUYER, "lock");
    assert_eq!(asked.await.unwrap(), As::Owner);
    // It is put off, each time for longer, and not forgotten.
    let port = &estate.world.store.ownership;
    let due = async |final_block| {
        let due = port.looked_tokens(&rival(), CHAIN, final_block, 10).await;
        due.unwrap().len()
    };
    let newest = estate.block(1, &[]).await;
    let mut put_off = PutOff::default();
    for expected in [1, 2, 4, 8] {
        let state = estate
            .world
            .store
            .chains
            .chain(CHAIN)
            .await
            .unwrap()
            .unwrap();
        let mut finalized = state.finalized.unwrap().number;
        while due(finalized).await == 0 {
            finalized += 1;
        }
        while estate
            .world
            .store
            .chains
            .chain(CHAIN)
            .await
            .unwrap()
            .unwrap()
            .cursor
            .unwrap()
            .number
            < finalized
        {
            estate.world.block(1, &[]).await;
        }
        estate.world.finalize(finalized).await;
        estate.owners.step(chain.as_ref()).await.unwrap();
        estate
            .owners
            .look_again(chain.as_ref(), &mut put_off)
            .await
            .unwrap();
        assert_eq!(due(finalized + expected - 1).await, 0, "{expected}");
        assert_eq!(due(finalized + expected).await, 1, "{expected}");
    }
    assert!(newest > 0);
}

#[tokio::test]
async fn a_passport_is_given_with_what_the_contract_says_or_not_at_all() {
    let estate = Estate::new().await;
    let port = &estate.world.store.ownership;
    let before = port.device_passport(&acme(), &door()).await.unwrap();
    let chain = &estate.world.chain;
    chain.otherwise(Err(Unknown("nobody answers".into())));
    let id = U256::from(7).to_be_bytes();
    let tenant = acme();
    let device = door();
    let given = estate.owners.give_passport(&tenant, &device, id, None);
    assert!(matches!(given.await, Err(Refused::Unknown(_))));
    assert_eq!(
        port.device_passport(&acme(), &door()).await.unwrap(),
        before
    );
    assert!(
        estate.may(SELLER).await,
        "the door has the passport that it had"
    );
}

/// What the contract of rights says of one.
fn says(estate: &Estate, number: u64, user: Address, expires: u64) {
    let chain = &estate.world.chain;
    let id = U256::from(number);
    let right = abi::Right {
        device: token_id(),
        ends: START_S + 1_000_000,
    };
    let call = abi::rightOfCall { tokenId: id }.abi_encode();
    chain.answers(RIGHTS, call.into(), right.abi_encode());
    let call = abi::userOfCall { tokenId: id }.abi_encode();
    chain.answers(RIGHTS, call.into(), user.abi_encode());
    let call = abi::userExpiresCall { tokenId: id }.abi_encode();
    chain.answers(RIGHTS, call.into(), U256::from(expires).abi_encode());
}

/// For which device a right is was said once, when it was issued.
#[tokio::test]
async fn a_right_that_was_forgotten_counts_again_when_it_is_lent_again() {
    let estate = Estate::new().await;
    let ends = START_S + 100;
    let block = estate.block(5, &issued(1, 1, GUEST, ends)).await;
    estate.finalize(block).await;
    estate.later(200);
    let port = &estate.world.store.ownership;
    let before_us = i64::try_from(START_S + 150).unwrap() * 1_000_000;
    // When it was changed is the hub's own clock's to say, which is before that, too.
    let forgotten = port.forget_held(&acme(), None, before_us, 10).await;
    assert_eq!(forgotten.unwrap(), 1);
    let count = port.held_count(&acme()).await.unwrap();
    assert_eq!(count, 1, "the passport stays");
    let until = START_S + 1_000;
    says(&estate, 1, BUYER, until);
    estate.block(10, &[lent(2, 0, 1, BUYER, until)]).await;
    assert!(estate.asked(BUYER, "unlock").await.is_err(), "not final");
    estate.go_on().await;
    assert_eq!(
        estate.asked(BUYER, "unlock").await,
        Ok(As::User { expires: until })
    );
    assert_eq!(estate.asked(GUEST, "unlock").await, Err(Refusal::NotHeld));
}

/// A contract of another form has users, and rights for no device: it is asked once, and not for ever.
#[tokio::test]
async fn a_right_of_another_form_is_nobody_s_and_asked_about_once() {
    let estate = Estate::new().await;
    // The contract knows nothing of the kind.
    let block = estate
        .block(5, &[lent(1, 0, 9, GUEST, START_S + 100)])
        .await;
    estate.finalize(block).await;
    estate.go_on().await;
    assert_eq!(estate.asked(GUEST, "unlock").await, Err(Refusal::NotHeld));
    let port = &estate.world.store.ownership;
    let acme = acme();
    let due = port.looked_tokens(&acme, CHAIN, u64::from(u32::MAX), 10);
    assert_eq!(due.await.unwrap(), []);
}
