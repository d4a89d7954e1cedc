//! Rights that gateways check by themselves, and the tokens that they are of.

use std::sync::atomic::Ordering;

use stencil_ownership::policy::Refusal;
use stencil_protocol::id::GatewayId;
use stencil_store::{CredentialStanding, Enrolment, NewKey};

use super::{BUYER, Estate, GUEST, SELLER, door, issued, sold};
use crate::access::{NotGiven, Rights};
use crate::chains::ownership::Refused;
use crate::chains::tests::acme;
use crate::identity::Identity;
use crate::registry::HubKey;

/// A right that a gateway checks by itself goes with the token that it is of.
#[tokio::test]
async fn a_right_at_the_gateway_follows_the_passport_and_ends_with_what_is_lent() {
    let mut estate = Estate::new().await;
    let store = estate.world.store.clone();
    let gateway = GatewayId::parse("gw-1").unwrap();
    store
        .registry
        .add_gateway(&acme(), &gateway, 1)
        .await
        .unwrap();
    let enrolment = Enrolment {
        device: door(),
        gateway,
        key: NewKey {
            identity: door(),
            psk: vec![1],
            tag: [1; 32],
        },
        code_tag: None,
    };
    store
        .registry
        .enrol(&acme(), &[enrolment], 10, 1)
        .await
        .unwrap();
    let identity = Identity::new(&store, &HubKey::fresh(), "https://hub.example");
    let rights = Rights::new(&store, identity);
    let now_us = || estate.world.now_us.load(Ordering::SeqCst);
    let lock = || vec!["lock".to_owned()];
    let (acme, door) = (acme(), door());
    let of = (&acme, &door);
    let given = rights.of_tokens(&estate.owners, of, SELLER, lock(), now_us());
    let given = given.await.unwrap();
    assert_eq!(
        (given.right.source.as_str(), given.right.until_us),
        ("token", None)
    );
    let again = rights.of_tokens(&estate.owners, of, SELLER, lock(), now_us());
    assert_eq!(again.await.unwrap(), given);
    let stranger = rights
        .of_tokens(&estate.owners, of, BUYER, lock(), now_us())
        .await;
    assert!(matches!(
        stranger,
        Err(NotGiven::Tokens(Refused::Policy(Refusal::NotHeld)))
    ));
    let before = estate.block(4, &[]).await;
    let mut after = None;
    let now = now_us();
    assert_eq!(
        rights
            .follow_tokens(&estate.owners, &mut after, now)
            .await
            .unwrap(),
        0
    );
    estate.block(5, &[sold(1, SELLER, BUYER)]).await;
    let mut after = None;
    assert_eq!(
        rights
            .follow_tokens(&estate.owners, &mut after, now)
            .await
            .unwrap(),
        1
    );
    let stands = async || {
        let right = store
            .access
            .right(&acme, &given.right.right)
            .await
            .unwrap()
            .unwrap();
        (right.standing, right.taken)
    };
    assert_eq!(stands().await, (CredentialStanding::Suspended, true));
    estate.back_to(before).await;
    let mut after = None;
    assert_eq!(
        rights
            .follow_tokens(&estate.owners, &mut after, now)
            .await
            .unwrap(),
        1
    );
    assert_eq!(stands().await, (CredentialStanding::Good, false));
    // What is lent is over when it is.
    let ends = estate.owners.now_s() + 3_600;
    let lent = estate.block(6, &issued(2, 1, GUEST, ends)).await;
    estate.finalize(lent).await;
    let now_us = estate.world.now_us.load(Ordering::SeqCst);
    let unlock = vec!["unlock".to_owned()];
    let lent = rights
        .of_tokens(&estate.owners, of, GUEST, unlock, now_us)
        .await
        .unwrap();
    let until_us = lent.right.until_us.unwrap();
    assert!(
        until_us.abs_diff(i64::try_from(ends + 1).unwrap() * 1_000_000) < 2_000_000,
        "{until_us}"
    );
}
