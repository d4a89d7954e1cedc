//! Rights that gateways check by themselves, and the tokens that they are of.

use std::sync::{Arc, atomic::Ordering};

use stencil_access::Challenge;
use stencil_access::receipt::{Receipt, hash};
use stencil_ownership::policy::{As, Refusal};
use stencil_protocol::id::GatewayId;
use stencil_store::{
    BroughtReceipt, CredentialStanding, Enrolment, NewKey, RightStanding, RunFilter, StandingSet,
    Store, StoredReceipt, StoredRight, sqlite,
};

use super::{BUYER, Clock, Estate, GUEST, SELLER, door, issued, lent, settings, sold};
use crate::access::{Intake, Keeper, NotGiven, Rights, Telling};
use crate::chains::ownership::Refused;
use crate::chains::tests::acme;
use crate::identity::Identity;
use crate::registry::HubKey;
use crate::wake::Wakes;

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
    // Also where the hub's clock is between two seconds; and a moment later it is the same right.
    let mut lent = Vec::new();
    for asked_us in [now_us + 279_000, now_us + 900_000] {
        let unlock = unlock.clone();
        let given = rights.of_tokens(&estate.owners, of, GUEST, unlock, asked_us);
        lent.push(given.await.unwrap().right);
    }
    let until_us = i64::try_from(ends + 1).unwrap() * 1_000_000;
    assert_eq!(lent[0].until_us, Some(until_us));
    assert_eq!(lent[0], lent[1]);
}

/// A right to lock the door, of its passport's owner, and what is needed to follow it.
async fn a_right(estate: &Estate) -> (Rights, StoredRight) {
    let store = &estate.world.store;
    let gateway = GatewayId::parse("gw-1").unwrap();
    let registry = &store.registry;
    registry.add_gateway(&acme(), &gateway, 1).await.unwrap();
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
    registry.enrol(&acme(), &[enrolment], 10, 1).await.unwrap();
    let identity = Identity::new(store, &HubKey::fresh(), "https://hub.example");
    let rights = Rights::new(store, identity);
    let now_us = estate.world.now_us.load(Ordering::SeqCst);
    let lock = vec!["lock".to_owned()];
    let (acme, door) = (acme(), door());
    let given = rights.of_tokens(&estate.owners, (&acme, &door), SELLER, lock, now_us);
    let given = given.await.unwrap();
    (rights, given)
}

async fn follow(estate: &Estate, rights: &Rights) -> usize {
    let now_us = estate.world.now_us.load(Ordering::SeqCst);
    let follow = rights
        .follow_tokens(&estate.owners, &mut None, now_us)
        .await;
    follow.unwrap()
}

/// Not known who holds the token: no credential that doors take for hours, and nothing taken away.
#[tokio::test]
async fn while_a_chain_is_stale_or_ahead_rights_stay_and_no_new_credential_is_given() {
    // 901 s behind, or more than a minute ahead of the hub's clock.
    for seconds in [901, -3_600] {
        let estate = Estate::new().await;
        let (rights, given) = a_right(&estate).await;
        let now_us = || estate.world.now_us.load(Ordering::SeqCst);
        let fresh = rights.fresh_credential(&estate.owners, &given, now_us());
        fresh.await.unwrap();
        estate.later(seconds);
        let none = rights.fresh_credential(&estate.owners, &given, now_us());
        let none = none.await.unwrap_err();
        assert!(
            matches!(
                none,
                NotGiven::Tokens(Refused::Policy(
                    Refusal::Unknown { .. } | Refusal::Ahead { .. }
                ))
            ),
            "{none}"
        );
        assert_eq!(follow(&estate, &rights).await, 0, "{seconds}");
        let acme = acme();
        let stored = estate.world.store.access.right(&acme, &given.right.right);
        assert_eq!(stored.await.unwrap().unwrap(), given);
        estate.later(-seconds);
        let again = rights.fresh_credential(&estate.owners, &given, now_us());
        again.await.unwrap();
        // Who has sold it gets none either, before the right is suspended.
        estate.block(1, &[sold(1, SELLER, BUYER)]).await;
        let sold = rights.fresh_credential(&estate.owners, &given, now_us());
        assert!(matches!(
            sold.await,
            Err(NotGiven::Tokens(Refused::Policy(Refusal::NotHeld)))
        ));
    }
}

/// A receipt of a use of a right, as a gateway notes it; nobody looks at its signature here.
fn noted(right: &StoredRight, number: u64, at_us: i64) -> StoredReceipt {
    let receipt = Receipt {
        chain: "ab".repeat(16),
        number,
        previous: "0".repeat(64),
        at_us,
        gateway: "did:web:hub.example".to_owned(),
        challenge: Challenge {
            device: door(),
            command: "lock".to_owned(),
            given_us: at_us,
            nonce: "0".repeat(64),
        },
        right: right.right.right.clone(),
        holder: SELLER.to_checksum(None),
        signature: "0x".to_owned(),
        command: "0".repeat(32),
        expires_us: at_us,
        left: None,
    };
    let body = receipt.text().unwrap();
    StoredReceipt {
        gateway: GatewayId::parse("gw-1").unwrap(),
        chain: receipt.chain,
        number,
        hash: hash(&body),
        body,
        right: receipt.right,
        outcome: "done".to_owned(),
        follows: true,
        conflict: None,
        told: false,
        at_us,
        received_us: at_us,
    }
}

/// A sale that the hub hears of an hour late: what was brought meanwhile is judged by the block's time, goes
/// on after the store was closed midway, and is clean again when a reorganisation takes the sale back.
#[tokio::test]
async fn receipts_are_judged_again_when_a_sale_becomes_known_and_when_it_is_taken_back() {
    let mut estate = Estate::new().await;
    let (rights, given) = a_right(&estate).await;
    let store = estate.world.store.clone();
    let before = estate.block(200, &[]).await;
    let second = |seconds: i64| given.right.made_us + seconds * 1_000_000;
    let receipts = [150, 310, 320, 330].into_iter().zip(1..);
    let brought: Vec<BroughtReceipt> = receipts
        .map(|(seconds, number)| BroughtReceipt {
            receipt: noted(&given, number, second(seconds)),
            revision: Some(given.revision),
        })
        .collect();
    store.access.keep_receipts(&acme(), &brought).await.unwrap();
    let yaml = "id: conflict\nversion: 1\non: { access: { conflict: 'door-*' } }\nsteps:\n\
        - { id: note, use: content.upsert, with: { collection: conflicts, key: '{{ event.device }}', \
        set: { reason: '{{ event.reason }}' } } }\n";
    let workflows = &store.workflows;
    workflows
        .put(&acme(), "conflict", 1, yaml, 1)
        .await
        .unwrap();
    workflows
        .activate(&acme(), "conflict", Some(1), 1)
        .await
        .unwrap();
    estate.block(300, &[sold(1, SELLER, BUYER)]).await;
    estate.later(600);
    assert_eq!(follow(&estate, &rights).await, 1);
    let judging = &store.judging;
    let stood = judging
        .standings(&acme(), &given.right.right)
        .await
        .unwrap();
    let times: Vec<_> = stood.iter().map(|it| (it.standing, it.from_us)).collect();
    assert_eq!(times, [(RightStanding::Sold, second(300))]);
    assert!(stood[0].known_us > stood[0].from_us);
    let now_us = estate.world.now_us.clone();
    let keeper = |store: &Store| Keeper {
        rights: rights.clone(),
        store: store.clone(),
        telling: Telling::default(),
        clock: {
            let now_us = now_us.clone();
            Clock::from_fn(move || now_us.load(Ordering::SeqCst))
        },
        wakes: Wakes::default(),
        intake: Intake::default(),
    };
    let conflicts = async |store: &Store| {
        let page = store.access.receipts(&acme(), None, 10).await.unwrap();
        let mut items = page.items;
        items.sort_by_key(|it| it.number);
        let reasons = items.into_iter().map(|it| it.conflict.unwrap_or_default());
        reasons.collect::<Vec<_>>()
    };
    assert!(keeper(&store).judge_page(1).await.unwrap());
    assert_eq!(conflicts(&store).await, ["", "sold", "", ""]);
    // Another process goes on where this one was.
    let folder = estate.world.folder().to_owned();
    let again = sqlite::open(folder.join("hub.db")).await.unwrap().store();
    while keeper(&again).judge_page(1).await.unwrap() {}
    assert_eq!(conflicts(&again).await, ["", "sold", "sold", "sold"]);
    let runs = async || {
        let filter = RunFilter::default();
        let page = again.runs.list(&acme(), &filter, None, 10).await.unwrap();
        page.items.len()
    };
    assert_eq!(runs().await, 3);
    estate.back_to(before).await;
    assert_eq!(follow(&estate, &rights).await, 1);
    while keeper(&again).judge_page(1).await.unwrap() {}
    assert_eq!(conflicts(&again).await, ["", "", "", ""]);
    // Sold and bought back before anybody looked.
    estate.block(305, &[sold(1, SELLER, BUYER)]).await;
    estate.block(325, &[sold(1, BUYER, SELLER)]).await;
    let newest = estate.block(326, &[]).await;
    estate.finalize(newest).await;
    assert_eq!(follow(&estate, &rights).await, 1);
    assert_eq!(follow(&estate, &rights).await, 0);
    while keeper(&again).judge_page(1).await.unwrap() {}
    assert_eq!(conflicts(&again).await, ["", "sold", "sold", ""]);
    assert_eq!(runs().await, 3, "each receipt is told of once");
}

/// A right that was lent to another before it was over, which the hub hears when it is.
#[tokio::test]
async fn what_became_of_a_lent_token_is_known_also_after_its_right_was_over() {
    let estate = Estate::new().await;
    let (rights, _) = a_right(&estate).await;
    let start_us = estate.world.now_us.load(Ordering::SeqCst);
    let ends = estate.owners.now_s() + 100;
    let lent_at = estate.block(6, &issued(2, 1, GUEST, ends)).await;
    estate.finalize(lent_at).await;
    let (acme, door) = (acme(), door());
    let unlock = vec!["unlock".to_owned()];
    let given = rights.of_tokens(&estate.owners, (&acme, &door), GUEST, unlock, start_us);
    let given = given.await.unwrap();
    estate
        .block(80, &[lent(3, 0, 1, BUYER, ends + 1_000)])
        .await;
    estate.later(300);
    assert_eq!(follow(&estate, &rights).await, 0);
    let now_us = estate.world.now_us.load(Ordering::SeqCst);
    for changed in [1, 0] {
        let mut after = None;
        let follow = rights.follow_ended(&estate.owners, &mut after, now_us);
        assert_eq!(follow.await.unwrap(), changed);
    }
    let judging = &estate.world.store.judging;
    let stood = judging.standings(&acme, &given.right.right).await.unwrap();
    let times: Vec<_> = stood.iter().map(|it| (it.standing, it.from_us)).collect();
    assert_eq!(times, [(RightStanding::Sold, start_us + 80_000_000)]);
}

/// How a right stands, and since when by its token.
async fn stood(
    estate: &Estate,
    right: &StoredRight,
) -> (CredentialStanding, Vec<(RightStanding, i64)>) {
    let store = &estate.world.store;
    let id = &right.right.right;
    let stored = store.access.right(&acme(), id).await.unwrap().unwrap();
    let stood = store.judging.standings(&acme(), id).await.unwrap();
    let stood = stood.iter().map(|it| (it.standing, it.from_us)).collect();
    (stored.standing, stood)
}

/// What has come back to its holder is nobody's before it is final, and no sale of it.
#[tokio::test]
async fn a_right_whose_token_is_on_its_way_back_stands_as_it_did() {
    let estate = Estate::new().await;
    let (rights, given) = a_right(&estate).await;
    let start_us = given.right.made_us;
    estate.block(100, &[sold(1, SELLER, BUYER)]).await;
    let back = estate.block(200, &[sold(2, BUYER, SELLER)]).await;
    assert_eq!(estate.asked(SELLER, "lock").await, Err(Refusal::NotFinal));
    assert_eq!(follow(&estate, &rights).await, 0);
    assert_eq!(
        stood(&estate, &given).await,
        (CredentialStanding::Good, vec![])
    );
    // Then it is known for how long it was another's. The hub's clock was behind the block's.
    estate.finalize(back).await;
    estate.later(60);
    assert_eq!(follow(&estate, &rights).await, 1);
    let turns = vec![
        (RightStanding::Sold, start_us + 100_000_000),
        (RightStanding::Held, start_us + 200_000_000),
    ];
    assert_eq!(
        stood(&estate, &given).await,
        (CredentialStanding::Good, turns)
    );
}

/// The tenant sets its policy anew: what the contract says of the token counts when it is final, and is no sale.
#[tokio::test]
async fn a_right_whose_token_is_asked_anew_stands_as_it_did() {
    let estate = Estate::new().await;
    let (rights, given) = a_right(&estate).await;
    assert!(estate.owners.unset(&acme()).await.unwrap());
    estate.set(settings()).await;
    estate.block(1, &[]).await;
    assert_eq!(estate.asked(SELLER, "lock").await, Err(Refusal::NotFinal));
    assert_eq!(follow(&estate, &rights).await, 0);
    assert_eq!(
        stood(&estate, &given).await,
        (CredentialStanding::Good, vec![])
    );
    estate.go_on().await;
    assert_eq!(estate.asked(SELLER, "lock").await, Ok(As::Owner));
    assert_eq!(follow(&estate, &rights).await, 0);
    assert_eq!(
        stood(&estate, &given).await,
        (CredentialStanding::Good, vec![])
    );
}

/// Somebody took a right away while the chain was not heard, and it was sold before.
#[tokio::test]
async fn a_sale_before_a_right_was_taken_away_is_known_also_after() {
    let mut estate = Estate::new().await;
    let (rights, given) = a_right(&estate).await;
    let store = estate.world.store.clone();
    let before = estate.block(200, &[]).await;
    let made_us = given.right.made_us;
    let second = move |seconds: i64| made_us + seconds * 1_000_000;
    let receipts = [150, 310].into_iter().zip(1..);
    let brought: Vec<BroughtReceipt> = receipts
        .map(|(seconds, number)| BroughtReceipt {
            receipt: noted(&given, number, second(seconds)),
            revision: Some(given.revision),
        })
        .collect();
    store.access.keep_receipts(&acme(), &brought).await.unwrap();
    let id = &given.right.right;
    let taken_away = CredentialStanding::Revoked;
    let set = store
        .credentials
        .set_standing(&acme(), id, taken_away, second(400))
        .await;
    assert_eq!(set.unwrap(), StandingSet::Set);
    estate.block(300, &[sold(1, SELLER, BUYER)]).await;
    estate.later(600);
    let clock = Arc::clone(&estate.world.now_us);
    let now_us = || clock.load(Ordering::SeqCst);
    let follow_ended = async |estate: &Estate, now_us| {
        let mut after = None;
        let follow = rights.follow_ended(&estate.owners, &mut after, now_us);
        follow.await.unwrap()
    };
    assert_eq!(follow(&estate, &rights).await, 0, "it holds no more");
    assert_eq!(
        follow_ended(&estate, second(400) + 9 * 86_400_000_000).await,
        0
    );
    for changed in [1, 0] {
        assert_eq!(follow_ended(&estate, now_us()).await, changed);
    }
    let by_cause = async || {
        let stood = store.judging.standings(&acme(), id).await.unwrap();
        let by_cause = stood.into_iter().filter(|it| it.by_cause);
        let times = by_cause.map(|it| (it.standing, it.from_us));
        times.collect::<Vec<_>>()
    };
    assert_eq!(by_cause().await, [(RightStanding::Sold, second(300))]);
    let keeper = Keeper {
        rights: rights.clone(),
        store: store.clone(),
        telling: Telling::default(),
        clock: Clock::from_fn(move || second(900)),
        wakes: Wakes::default(),
        intake: Intake::default(),
    };
    let conflicts = async || {
        while keeper.judge_page(1).await.unwrap() {}
        let page = store.access.receipts(&acme(), None, 10).await.unwrap();
        let mut items = page.items;
        items.sort_by_key(|it| it.number);
        let reasons = items.into_iter().map(|it| it.conflict.unwrap_or_default());
        reasons.collect::<Vec<_>>()
    };
    assert_eq!(conflicts().await, ["", "sold"]);
    let stands = async || {
        let right = store.access.right(&acme(), id).await.unwrap();
        right.unwrap().standing
    };
    assert_eq!(stands().await, CredentialStanding::Revoked);
    // The sale never was.
    estate.back_to(before).await;
    for changed in [1, 0] {
        assert_eq!(follow_ended(&estate, now_us()).await, changed);
    }
    assert_eq!(conflicts().await, ["", ""]);
    assert_eq!(stands().await, CredentialStanding::Revoked);
    // One after it was taken away says nothing of it.
    let stood = by_cause().await;
    estate.block(450, &[sold(1, SELLER, BUYER)]).await;
    assert_eq!(follow_ended(&estate, now_us()).await, 0);
    assert_eq!(by_cause().await, stood);
}
