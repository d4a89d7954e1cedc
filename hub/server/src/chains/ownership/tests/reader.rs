//! What a chain's stream says of tokens, once each, whatever becomes of the process or of others.

use stencil_ownership::abi;
use stencil_ownership::policy::Refusal;
use stencil_payments::Address;
use stencil_protocol::id::TenantId;

use super::{
    BUYER, Estate, GUEST, PASSPORTS, RIGHTS, SELLER, door, passport, rival, settings, sold,
    token_id, with_a_rival,
};
use crate::chains::ownership::{READER, Refused};
use crate::chains::tests::fake::CHAIN;
use crate::chains::tests::{World, acme, event};

#[tokio::test]
async fn a_reorganisation_of_the_sale_gives_control_back() {
    let mut estate = Estate::new().await;
    let before = estate.block(4, &[]).await;
    estate.block(5, &[sold(1, SELLER, BUYER)]).await;
    assert!(!estate.may(SELLER).await);
    estate.back_to(before).await;
    assert!(estate.may(SELLER).await);
    assert_eq!(estate.asked(BUYER, "lock").await, Err(Refusal::NotHeld));
    // On the other branch it is sold to somebody else, in the same transaction or another.
    let sale = estate.block(6, &[sold(2, SELLER, GUEST)]).await;
    estate.finalize(sale).await;
    assert!(estate.may(GUEST).await);
    assert!(!estate.may(SELLER).await);
    assert!(!estate.may(BUYER).await);
}

/// The same from another contract, or by an ERC-20 token's transfer, changes nothing.
#[tokio::test]
async fn other_contracts_say_nothing_about_a_device() {
    let estate = Estate::new().await;
    let stranger = Address::repeat_byte(0x99);
    let token_id = token_id();
    let transfer = abi::Transfer {
        from: SELLER,
        to: BUYER,
        tokenId: token_id,
    };
    let money = stencil_payments::abi::Transfer {
        from: SELLER,
        to: BUYER,
        value: token_id,
    };
    let seen = [
        event(1, 0, stranger, &transfer),
        event(1, 1, RIGHTS, &transfer),
        event(1, 2, PASSPORTS, &money),
    ];
    let block = estate.block(5, &seen).await;
    estate.finalize(block).await;
    assert!(estate.may(SELLER).await);
    assert!(!estate.may(BUYER).await);
    // Another tenant that names the same passport has said nothing of this tenant's door.
    let rival: TenantId = "rival".parse().unwrap();
    let asked = estate
        .owners
        .may_command(&rival, &door(), SELLER, "lock")
        .await;
    assert!(matches!(asked, Err(Refused::NoPassport)));
}

/// Each entry is taken once whatever becomes of the process: position and tokens are one transaction.
#[tokio::test]
async fn what_was_read_is_not_read_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut estate = Estate::over(World::at(dir.path()).await);
    estate.open().await;
    let sale = estate.block(5, &[sold(1, SELLER, BUYER)]).await;
    estate.finalize(sale).await;
    let position = |estate: &Estate| {
        let chains = estate.world.store.chains.clone();
        async move { chains.chain_position(CHAIN, READER).await.unwrap() }
    };
    let before = position(&estate).await;
    assert!(before > 0);
    let key = passport().0;
    let held = |estate: &Estate| {
        let port = estate.world.store.ownership.clone();
        async move {
            port.held_token(&acme(), CHAIN, &PASSPORTS.0.0, &key)
                .await
                .unwrap()
        }
    };
    let known = held(&estate).await.unwrap();
    let again = Estate::over(World::at(dir.path()).await);
    again.catch_up().await;
    assert_eq!(position(&again).await, before);
    assert_eq!(held(&again).await.unwrap(), known);
    let asked = again
        .owners
        .may_command(&acme(), &door(), BUYER, "lock")
        .await;
    assert!(asked.is_ok());
}

#[tokio::test]
async fn what_settings_name_no_more_is_watched_no_more() {
    let estate = Estate::new().await;
    let chains = &estate.world.store.chains;
    let watched = async || {
        let (_, watched) = chains.chain_watches(CHAIN).await.unwrap();
        let of = |contract: Address| {
            let watches = watched.iter();
            watches
                .filter(|it| it.watch.address == contract.0.0)
                .count()
        };
        (of(PASSPORTS), of(RIGHTS))
    };
    assert_eq!(watched().await, (1, 2));
    let mut fewer = settings();
    fewer.access_rights = None;
    estate.set(fewer).await;
    assert_eq!(watched().await, (1, 0));
    assert!(estate.owners.unset(&acme()).await.unwrap());
    assert_eq!(watched().await, (0, 0));
    assert!(!estate.owners.unset(&acme()).await.unwrap());
}

/// The follower is at the head, and what it has read of tokens was not taken.
#[tokio::test]
async fn what_the_reader_has_not_taken_is_not_known_however_fresh_the_chain_is() {
    let estate = Estate::new().await;
    estate.world.block(5, &[sold(1, SELLER, BUYER)]).await;
    estate.world.block(6, &[]).await;
    assert!(estate.may(SELLER).await, "not for long enough");
    estate.later(905);
    estate.world.block(905, &[]).await;
    assert!(matches!(
        estate.asked(SELLER, "lock").await,
        Err(Refusal::Unknown { .. })
    ));
    estate.catch_up().await;
    assert_eq!(estate.asked(SELLER, "lock").await, Err(Refusal::NotHeld));
    assert_eq!(estate.asked(BUYER, "lock").await, Err(Refusal::NotFinal));
}

#[tokio::test]
async fn what_can_t_be_read_of_one_tenant_keeps_no_other_s_sale_from_being_taken() {
    let estate = Estate::new().await;
    with_a_rival(&estate, PASSPORTS, "no settings").await;
    let sale = estate.block(5, &[sold(1, SELLER, BUYER)]).await;
    estate.finalize(sale).await;
    assert!(estate.may(BUYER).await);
    let (tenant, device) = (rival(), door());
    let asked = estate.owners.may_command(&tenant, &device, SELLER, "lock");
    assert!(matches!(asked.await, Err(Refused::Store(_))));
}

/// A watch was taken away while the policy was being set: nobody would hear of a sale.
#[tokio::test]
async fn a_watch_that_was_lost_is_there_again_after_a_start_and_all_is_asked_anew() {
    let estate = Estate::new().await;
    let chains = &estate.world.store.chains;
    let watches = settings().watches(&acme());
    chains.unwatch_chain(CHAIN, &watches[..1]).await.unwrap();
    let sale = estate.block(5, &[]).await;
    estate.finalize(sale).await;
    estate.owned_by(BUYER);
    assert!(estate.may(SELLER).await, "the sale was not heard of");
    estate.owners.watch_all(CHAIN).await.unwrap();
    let (_, watched) = chains.chain_watches(CHAIN).await.unwrap();
    let watched: Vec<_> = watched.into_iter().map(|it| it.watch).collect();
    assert!(watches.iter().all(|watch| watched.contains(watch)));
    assert!(!estate.may(SELLER).await);
    estate.go_on().await;
    assert!(estate.may(BUYER).await);
    // Nothing is asked where nothing was lost.
    estate.owners.watch_all(CHAIN).await.unwrap();
    assert!(estate.may(BUYER).await);
}
