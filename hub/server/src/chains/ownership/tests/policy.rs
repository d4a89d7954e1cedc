//! Who may command a device by what is held, and until when; and which settings are taken.

use std::sync::atomic::Ordering;

use serde_json::json;
use stencil_ownership::abi;
use stencil_ownership::policy::{As, Refusal};
use stencil_payments::port::Unknown;
use stencil_payments::{Address, U256};
use stencil_protocol::id::TenantId;

use super::{BUYER, Estate, GUEST, PASSPORTS, RIGHTS, SELLER, door, issued, lent, settings, sold};
use crate::chains::ownership::settings::TakesEffect;
use crate::chains::ownership::{HeldRight, Refused};
use crate::chains::tests::{START_S, acme, event};

#[tokio::test]
async fn the_seller_is_refused_from_the_sale_on_and_the_buyer_commands_when_it_is_final() {
    let estate = Estate::new().await;
    assert_eq!(estate.asked(SELLER, "lock").await, Ok(As::Owner));
    assert_eq!(estate.asked(BUYER, "lock").await, Err(Refusal::NotHeld));
    let sale = estate.block(5, &[sold(1, SELLER, BUYER)]).await;
    assert_eq!(estate.asked(SELLER, "lock").await, Err(Refusal::NotHeld));
    assert_eq!(estate.asked(BUYER, "lock").await, Err(Refusal::NotFinal));
    estate.finalize(sale).await;
    assert_eq!(estate.asked(SELLER, "lock").await, Err(Refusal::NotHeld));
    assert_eq!(estate.asked(BUYER, "lock").await, Ok(As::Owner));
}

#[tokio::test]
async fn control_moves_at_once_where_the_tenant_says_so() {
    let estate = Estate::new().await;
    let mut at_once = settings();
    at_once.takes_effect = TakesEffect::Included;
    estate.set(at_once).await;
    estate.block(5, &[sold(1, SELLER, BUYER)]).await;
    assert!(estate.may(BUYER).await);
    assert!(!estate.may(SELLER).await);
}

#[tokio::test]
async fn a_right_is_used_until_its_last_second_by_the_hub_s_clock() {
    let estate = Estate::new().await;
    let ends = START_S + 100;
    let block = estate.block(5, &issued(1, 1, GUEST, ends)).await;
    assert_eq!(estate.asked(GUEST, "unlock").await, Err(Refusal::NotFinal));
    estate.finalize(block).await;
    assert_eq!(
        estate.asked(GUEST, "unlock").await,
        Ok(As::User { expires: ends })
    );
    assert!(matches!(
        estate.asked(GUEST, "lock").await,
        Err(Refusal::NotThis { .. })
    ));
    // No block comes meanwhile: there is no event.
    estate.later(100);
    assert!(estate.asked(GUEST, "unlock").await.is_ok());
    estate.later(1);
    assert_eq!(
        estate.asked(GUEST, "unlock").await,
        Err(Refusal::Over { expires: ends })
    );
    assert!(estate.may(SELLER).await, "the owner's control has no end");
}

#[tokio::test]
async fn who_a_right_is_lent_to_or_sold_to_uses_it_and_a_reorganisation_takes_it_back() {
    let mut estate = Estate::new().await;
    let ends = START_S + 1_000;
    let block = estate.block(5, &issued(1, 1, GUEST, ends)).await;
    estate.finalize(block).await;
    let resold = estate.block(6, &[lent(2, 0, 1, BUYER, ends)]).await;
    assert!(estate.asked(GUEST, "unlock").await.is_err());
    estate.back_to(block).await;
    assert!(estate.asked(GUEST, "unlock").await.is_ok());
    let resold_again = estate.block(6, &[lent(2, 0, 1, BUYER, ends)]).await;
    assert_eq!(resold, resold_again);
    estate.finalize(resold_again).await;
    assert!(estate.asked(BUYER, "unlock").await.is_ok());
    assert!(estate.asked(GUEST, "unlock").await.is_err());
    // A right for another device of the same collection is none for this one.
    let mut other = issued(3, 2, GUEST, ends);
    other[0] = event(
        3,
        0,
        RIGHTS,
        &abi::Issued {
            tokenId: U256::from(2),
            device: U256::from(99),
            to: GUEST,
            ends,
        },
    );
    let block = estate.block(7, &other).await;
    estate.finalize(block).await;
    assert_eq!(estate.asked(GUEST, "unlock").await, Err(Refusal::NotHeld));
}

#[tokio::test]
async fn when_nothing_was_read_of_the_chain_for_long_nobody_commands() {
    let estate = Estate::new().await;
    assert!(estate.may(SELLER).await);
    estate.later(901);
    assert!(matches!(
        estate.asked(SELLER, "lock").await,
        Err(Refusal::Unknown { .. })
    ));
    estate.block(900, &[]).await;
    assert!(estate.may(SELLER).await);
}

#[tokio::test]
async fn settings_that_can_t_be_meant_are_refused_with_what_would_be_right() {
    let estate = Estate::new().await;
    let wrong = async |change: serde_json::Value| {
        let mut body = serde_json::to_value(settings()).unwrap();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let settings = serde_json::from_value(body).unwrap();
        let wrong = estate
            .owners
            .set(&acme(), settings)
            .await
            .unwrap()
            .unwrap_err();
        (wrong.pointer, wrong.why)
    };
    let nobody = Address::repeat_byte(0x44).to_string();
    for (change, pointer, why) in [
        (json!({ "chain": "other" }), "/chain", "follows local"),
        (
            json!({ "passports": "0x12" }),
            "/passports",
            "40 hexadecimal",
        ),
        (json!({ "passports": nobody }), "/passports", "no contract"),
        (
            json!({ "passports": Address::ZERO.to_string() }),
            "/passports",
            "zero address",
        ),
        (
            json!({ "access_rights": PASSPORTS.to_string() }),
            "/access_rights",
            "can't be that of passports",
        ),
        (
            json!({ "passports": null, "access_rights": null }),
            "/passports",
            "name one contract",
        ),
        (
            json!({ "passports": RIGHTS.to_string(), "access_rights": null }),
            "/passports",
            "none of ERC-721",
        ),
        (json!({ "owner_may": [""] }), "/owner_may", "1 to 32 bytes"),
        (
            json!({ "stale_after_s": 5 }),
            "/stale_after_s",
            "not 30 to 86,400",
        ),
    ] {
        let (at, said) = wrong(change.clone()).await;
        assert_eq!(at, pointer, "{change}");
        assert!(said.contains(why), "{change}: {said}");
    }
    estate
        .world
        .chain
        .otherwise(Err(Unknown("two endpoints disagree".into())));
    let mut unknown = settings();
    unknown.passports = Some(RIGHTS.to_string());
    unknown.access_rights = None;
    let wrong = estate
        .owners
        .set(&acme(), unknown)
        .await
        .unwrap()
        .unwrap_err();
    assert!(wrong.unknown);
}

/// What was lent is the guest's for its time, whoever owns the device meanwhile.
#[tokio::test]
async fn a_right_goes_on_when_the_passport_is_sold() {
    let estate = Estate::new().await;
    let ends = START_S + 1_000;
    let block = estate.block(5, &issued(1, 1, GUEST, ends)).await;
    estate.finalize(block).await;
    let sale = estate.block(6, &[sold(2, SELLER, BUYER)]).await;
    assert_eq!(
        estate.asked(GUEST, "unlock").await,
        Ok(As::User { expires: ends })
    );
    estate.finalize(sale).await;
    assert!(estate.may(BUYER).await);
    assert!(estate.asked(GUEST, "unlock").await.is_ok());
    // Who has sold the device and was lent it before is a guest like others.
    let block = estate.block(7, &issued(3, 2, SELLER, ends)).await;
    estate.finalize(block).await;
    assert!(estate.asked(SELLER, "unlock").await.is_ok());
    assert!(!estate.may(SELLER).await);
    // What the tenant lets guests do it can let them do no more, at once.
    let mut none = settings();
    none.user_may.clear();
    estate.set(none).await;
    assert!(matches!(
        estate.asked(GUEST, "unlock").await,
        Err(Refusal::NotThis { .. })
    ));
}

#[tokio::test]
async fn an_account_s_rights_are_said_with_their_end_and_whether_they_are_final() {
    let mut estate = Estate::new().await;
    let held = async |estate: &Estate, account| {
        let held = estate.owners.rights_of(&acme(), account).await.unwrap();
        assert_eq!(held.user_may, ["unlock"]);
        let right = |right: HeldRight| (right.device, right.expires_s, right.is_final);
        held.rights.into_iter().map(right).collect::<Vec<_>>()
    };
    assert_eq!(held(&estate, SELLER).await, [], "a passport is no right");
    let ends = START_S + 100;
    let block = estate.block(5, &issued(1, 1, GUEST, ends)).await;
    assert_eq!(held(&estate, GUEST).await, [(door(), ends, false)]);
    estate.finalize(block).await;
    assert_eq!(held(&estate, GUEST).await, [(door(), ends, true)]);
    estate.block(6, &[lent(2, 0, 1, BUYER, ends)]).await;
    assert_eq!(held(&estate, GUEST).await, []);
    assert_eq!(held(&estate, BUYER).await, [(door(), ends, false)]);
    estate.back_to(block).await;
    assert_eq!(held(&estate, BUYER).await, []);
    assert_eq!(held(&estate, GUEST).await, [(door(), ends, true)]);
    estate.later(101);
    assert_eq!(held(&estate, GUEST).await, [], "it is over");
    let rights = estate.owners.rights_of(&acme(), GUEST).await.unwrap();
    assert!(rights.is_fresh);
    estate.later(900);
    let rights = estate.owners.rights_of(&acme(), GUEST).await.unwrap();
    assert!(!rights.is_fresh);
    let rival: TenantId = "rival".parse().unwrap();
    let asked = estate.owners.rights_of(&rival, GUEST).await;
    assert!(matches!(asked, Err(Refused::NoPassport)));
}

#[tokio::test]
async fn a_block_of_a_time_that_has_not_come_says_nothing_of_how_old_all_is() {
    let mut estate = Estate::new().await;
    let before = estate.block(1, &[]).await;
    let now_us = estate.world.now_us.load(Ordering::SeqCst);
    estate.block(31_536_000, &[]).await;
    // The hub's clock has not gone with it.
    estate.world.now_us.store(now_us, Ordering::SeqCst);
    let asked = estate.asked(SELLER, "lock").await;
    assert!(matches!(asked, Err(Refusal::Ahead { .. })), "{asked:?}");
    estate.back_to(before).await;
    estate.block(2, &[]).await;
    assert!(estate.may(SELLER).await);
    estate.later(903);
    assert!(matches!(
        estate.asked(SELLER, "lock").await,
        Err(Refusal::Unknown { .. })
    ));
}
