//! How rights stood when, and receipts that are judged again because of it.

use stencil_protocol::id::TenantId;
use stencil_store::sqlite::Options;
use stencil_store::{
    BroughtReceipt, CredentialStanding, Erased, Judged, MAX_STANDINGS, RightStanding, StandingSet,
    Store, StoredReceipt, ToJudge,
};

use crate::access::given;
use crate::{acme, fresh, gateway, other, reopen};

/// How a right stood by its cause, or by hand, with the time from which on.
async fn stood(store: &Store, right: &str, by_cause: bool) -> Vec<(RightStanding, i64)> {
    let all = store.judging.standings(&acme(), right).await.unwrap();
    let of_track = all.into_iter().filter(|it| it.by_cause == by_cause);
    of_track.map(|it| (it.standing, it.from_us)).collect()
}

fn receipt(right: &str, number: u64, at_us: i64) -> StoredReceipt {
    StoredReceipt {
        gateway: gateway("gw-1"),
        chain: "ab".repeat(16),
        number,
        hash: [u8::try_from(number).unwrap(); 32],
        body: "{}".into(),
        right: right.into(),
        outcome: "done".into(),
        follows: true,
        conflict: None,
        told: false,
        at_us,
        received_us: 1_000,
    }
}

async fn brought(store: &Store, tenant: &TenantId, receipts: Vec<StoredReceipt>) {
    let mut brought = Vec::new();
    for receipt in receipts {
        let right = store.access.right(tenant, &receipt.right).await.unwrap();
        brought.push(BroughtReceipt {
            receipt,
            revision: right.map(|right| right.revision),
        });
    }
    let kept = store.access.keep_receipts(tenant, &brought).await;
    kept.unwrap();
}

fn judged(of: &ToJudge, conflict: &str) -> Vec<Judged> {
    let judged = of.receipts.iter().map(|receipt| Judged {
        gateway: receipt.gateway.clone(),
        chain: receipt.chain.clone(),
        number: receipt.number,
        conflict: Some(conflict.to_owned()),
        told: true,
    });
    judged.collect()
}

async fn conflicts(store: &Store) -> Vec<(u64, Option<String>, bool)> {
    let mut all = store
        .access
        .receipts(&acme(), None, 100)
        .await
        .unwrap()
        .items;
    all.sort_by_key(|it| it.number);
    all.into_iter()
        .map(|it| (it.number, it.conflict, it.told))
        .collect()
}

#[tokio::test]
async fn a_right_s_standings_are_noted_with_its_changes_each_track_by_itself() {
    use CredentialStanding::{Good, Suspended};
    use RightStanding::{Held, Sold};

    let fresh = fresh().await;
    let (store, acme) = (&fresh.store, acme());
    let ports = (store.access.as_ref(), store.credentials.as_ref());
    let id = given(ports, &acme, 1, None).await;
    let theirs = given(ports, &other(), 1, None).await;
    let by_hand = async |standing, now_us| {
        let set = store.credentials.set_standing(&acme, &id, standing, now_us);
        set.await.unwrap()
    };
    assert_eq!(by_hand(Suspended, 10).await, StandingSet::Set);
    assert_eq!(by_hand(Suspended, 15).await, StandingSet::Unchanged);
    assert_eq!(by_hand(Good, 20).await, StandingSet::Set);
    let hand = [(RightStanding::Suspended, 10), (RightStanding::Held, 20)];
    assert_eq!(stood(store, &id, false).await, hand);
    // Of before the right there is nothing, and nothing is known before its time.
    let by_cause = async |stood: &[(RightStanding, i64)], now_us| {
        let set = store.judging.set_by_cause(&acme, &id, stood, now_us);
        set.await.unwrap()
    };
    by_cause(&[(Sold, -5), (Held, 5)], 30).await;
    assert_eq!(stood(store, &id, true).await, [(Sold, 1), (Held, 5)]);
    // What becomes known late replaces what was said of that time, and nothing that somebody did.
    by_cause(&[(Sold, 40)], 41).await;
    by_cause(&[(Sold, 12)], 50).await;
    assert_eq!(
        stood(store, &id, true).await,
        [(Sold, 1), (Held, 5), (Sold, 12)]
    );
    assert_eq!(stood(store, &id, false).await, hand);
    let right = store.access.right(&acme, &id).await.unwrap().unwrap();
    assert_eq!((right.standing, right.taken), (Suspended, true));
    // A sale that has left its chain was never there.
    by_cause(&[(Held, 12)], 60).await;
    assert_eq!(stood(store, &id, true).await, [(Sold, 1), (Held, 5)]);
    let right = store.access.right(&acme, &id).await.unwrap().unwrap();
    assert_eq!((right.standing, right.taken), (Good, false));
    // What somebody has suspended meanwhile stays so when the cause is back.
    by_cause(&[(Sold, 70)], 70).await;
    assert_eq!(by_hand(Suspended, 75).await, StandingSet::Unchanged);
    assert_eq!(by_hand(Good, 76).await, StandingSet::Taken);
    by_cause(&[(Held, 80)], 80).await;
    let right = store.access.right(&acme, &id).await.unwrap().unwrap();
    assert_eq!((right.standing, right.taken), (Suspended, false));
    assert_eq!(by_hand(Good, 90).await, StandingSet::Set);
    assert_eq!(
        by_cause(&[(RightStanding::GivenUp, 95)], 95).await,
        StandingSet::Set
    );
    assert_eq!(by_cause(&[(Held, 99)], 99).await, StandingSet::Revoked);
    let none = store.judging.standings(&other(), &theirs).await;
    assert_eq!(none.unwrap(), []);
}

#[tokio::test]
async fn nobody_lets_a_right_hold_whose_cause_is_gone_and_no_status_list_says_so_for_a_moment() {
    use CredentialStanding::{Good, Revoked, Suspended};
    use RightStanding::{Held, NotAllowed, Sold, TakenBack, Unknown};

    let fresh = fresh().await;
    let (store, acme) = (&fresh.store, acme());
    let ports = (store.access.as_ref(), store.credentials.as_ref());
    let id = given(ports, &acme, 1, None).await;
    let theirs = given(ports, &other(), 1, None).await;
    let by_hand = async |standing, now_us| {
        let set = store.credentials.set_standing(&acme, &id, standing, now_us);
        set.await.unwrap()
    };
    let by_cause = async |standing, at_us| {
        let stood = [(standing, at_us)];
        let set = store.judging.set_by_cause(&acme, &id, &stood, at_us);
        set.await.unwrap();
    };
    let suspended = async || {
        let bits = store.credentials.status_bits(&acme, 1, Suspended).await;
        bits.unwrap().unwrap().len()
    };
    for (standing, at_us) in [(Sold, 10), (TakenBack, 20), (NotAllowed, 30), (Unknown, 40)] {
        by_cause(standing, at_us).await;
        assert_eq!(by_hand(Good, at_us + 1).await, StandingSet::Taken);
        assert_eq!(suspended().await, 1, "{standing:?}");
        // It is not noted that somebody has let it hold, either.
        assert_eq!(stood(store, &id, false).await, []);
        by_cause(Held, at_us + 5).await;
        assert_eq!(suspended().await, 0, "{standing:?}");
        assert_eq!(by_hand(Good, at_us + 6).await, StandingSet::Unchanged);
    }
    // The other way round: what the chain gives back stays suspended, as somebody wanted it.
    assert_eq!(by_hand(Suspended, 60).await, StandingSet::Set);
    by_cause(Sold, 61).await;
    assert_eq!(by_hand(Good, 62).await, StandingSet::Taken);
    by_cause(Held, 63).await;
    assert_eq!(suspended().await, 1);
    assert_eq!(by_hand(Good, 64).await, StandingSet::Set);
    assert_eq!(suspended().await, 0);
    // It can be taken away for good at any time, and what another tenant's stands by is no matter here.
    by_cause(Sold, 65).await;
    assert_eq!(by_hand(Revoked, 66).await, StandingSet::Set);
    let rival = other();
    for (standing, at_us) in [(Suspended, 70), (Good, 71)] {
        let set = store
            .credentials
            .set_standing(&rival, &theirs, standing, at_us);
        assert_eq!(set.await.unwrap(), StandingSet::Set);
    }
}

#[tokio::test]
async fn more_standings_than_are_kept_are_not_known_any_more_but_for_the_newest() {
    let fresh = fresh().await;
    let (store, acme) = (&fresh.store, acme());
    let ports = (store.access.as_ref(), store.credentials.as_ref());
    let id = given(ports, &acme, 1, None).await;
    let by_cause = [(RightStanding::Sold, 50), (RightStanding::Held, 60)];
    store
        .judging
        .set_by_cause(&acme, &id, &by_cause, 60)
        .await
        .unwrap();
    let times = 3 * i64::from(MAX_STANDINGS);
    for n in 0..times {
        let standing = match n % 2 {
            0 => CredentialStanding::Good,
            _ => CredentialStanding::Suspended,
        };
        let set = store
            .credentials
            .set_standing(&acme, &id, standing, 100 + n);
        set.await.unwrap();
    }
    let hand = stood(store, &id, false).await;
    assert_eq!(hand.len(), MAX_STANDINGS as usize);
    assert_eq!(hand[0], (RightStanding::Unknown, 101));
    assert_eq!(hand[1].1, 100 + times - i64::from(MAX_STANDINGS) + 1);
    assert_eq!(
        hand.last(),
        Some(&(RightStanding::Suspended, 99 + times)),
        "how it stands now"
    );
    assert_eq!(stood(store, &id, true).await, by_cause, "the other track");
}

#[tokio::test]
async fn receipts_are_judged_again_page_by_page_also_after_the_store_was_closed() {
    let fresh = fresh().await;
    let (store, acme) = (fresh.store, acme());
    let ports = (store.access.as_ref(), store.credentials.as_ref());
    let id = given(ports, &acme, 1, None).await;
    let unused = given(ports, &acme, 2, None).await;
    let receipts = (1..=5).map(|n| receipt(&id, n, i64::try_from(n).unwrap() * 10));
    brought(&store, &acme, receipts.collect()).await;
    assert_eq!(store.judging.to_judge(9).await.unwrap(), None);
    // What is so from now on says nothing of what was, nor does what is of a right that nobody used.
    let hand = CredentialStanding::Suspended;
    store
        .credentials
        .set_standing(&acme, &id, hand, 60)
        .await
        .unwrap();
    for (right, from_us) in [(&id, 70), (&unused, 20)] {
        let sold = [(RightStanding::Sold, from_us)];
        let set = store.judging.set_by_cause(&acme, right, &sold, 70);
        set.await.unwrap();
    }
    assert_eq!(store.judging.to_judge(9).await.unwrap(), None);
    let sold = [(RightStanding::Sold, 20)];
    store
        .judging
        .set_by_cause(&acme, &id, &sold, 80)
        .await
        .unwrap();
    let first = store.judging.to_judge(2).await.unwrap().unwrap();
    let numbers = |of: &ToJudge| of.receipts.iter().map(|it| it.number).collect::<Vec<_>>();
    assert_eq!((numbers(&first), first.is_last), (vec![2, 3], false));
    assert!(
        store
            .judging
            .judged(&first, &judged(&first, "sold"))
            .await
            .unwrap()
    );
    drop(store);
    let store = reopen(fresh.folder.path(), Options::default()).await;
    let second = store.judging.to_judge(2).await.unwrap().unwrap();
    assert_eq!((numbers(&second), second.is_last), (vec![4, 5], true));
    // A reason more while they are judged: nothing of it is kept, and it goes on where that reason begins.
    let back = [(RightStanding::Held, 40)];
    store
        .judging
        .set_by_cause(&acme, &id, &back, 90)
        .await
        .unwrap();
    assert!(
        !store
            .judging
            .judged(&second, &judged(&second, "sold"))
            .await
            .unwrap()
    );
    let again = store.judging.to_judge(9).await.unwrap().unwrap();
    assert_eq!((numbers(&again), again.is_last), (vec![4, 5], true));
    let sold = Some("sold".to_owned());
    let expected = [
        (1, None, false),
        (2, sold.clone(), true),
        (3, sold, true),
        (4, None, false),
        (5, None, false),
    ];
    assert_eq!(conflicts(&store).await, expected);
    assert!(store.judging.judged(&again, &[]).await.unwrap());
    assert_eq!(store.judging.to_judge(9).await.unwrap(), None);
    // What was never paid for speaks against each use, and for each when it is.
    for (standing, at_us) in [(RightStanding::TakenBack, 100), (RightStanding::Held, 110)] {
        let stood = [(standing, at_us)];
        let set = store.judging.set_by_cause(&acme, &id, &stood, at_us);
        set.await.unwrap();
        let all = store.judging.to_judge(9).await.unwrap().unwrap();
        assert_eq!((numbers(&all).len(), all.is_last), (5, true));
        store.judging.judged(&all, &[]).await.unwrap();
    }
}

#[tokio::test]
async fn a_receipt_that_was_judged_by_other_standings_is_judged_again() {
    let fresh = fresh().await;
    let (store, acme) = (&fresh.store, acme());
    let ports = (store.access.as_ref(), store.credentials.as_ref());
    let id = given(ports, &acme, 1, None).await;
    let judged_by = store.access.right(&acme, &id).await.unwrap().unwrap();
    let hand = CredentialStanding::Suspended;
    store
        .credentials
        .set_standing(&acme, &id, hand, 60)
        .await
        .unwrap();
    let late = BroughtReceipt {
        receipt: receipt(&id, 1, 65),
        revision: Some(judged_by.revision),
    };
    store.access.keep_receipts(&acme, &[late]).await.unwrap();
    let of = store.judging.to_judge(9).await.unwrap().unwrap();
    assert_eq!((of.tenant, of.right, of.receipts.len()), (acme, id, 1));
}

#[tokio::test]
async fn what_is_forgotten_or_erased_leaves_no_history_and_nothing_to_judge() {
    let fresh = fresh().await;
    let store = &fresh.store;
    let ports = (store.access.as_ref(), store.credentials.as_ref());
    for tenant in [acme(), other()] {
        let id = given(ports, &tenant, 1, Some(100)).await;
        brought(store, &tenant, vec![receipt(&id, 1, 50)]).await;
        let sold = [(RightStanding::Sold, 20)];
        let set = store.judging.set_by_cause(&tenant, &id, &sold, 80);
        assert_eq!(set.await.unwrap(), StandingSet::Set);
    }
    let gone = store.access.forget_ended_rights(&acme(), 500, 9).await;
    assert_eq!(gone.unwrap(), 1);
    let of = store.judging.to_judge(9).await.unwrap().unwrap();
    assert_eq!(of.tenant, other());
    assert_eq!(stood(store, "urn:uuid:1", true).await, []);
    let erased = Erased::Tenant(other());
    store.keeping.erase(1, &erased).await.unwrap();
    assert_eq!(store.judging.to_judge(9).await.unwrap(), None);
    let left = store.judging.standings(&other(), "urn:uuid:1").await;
    assert_eq!(left.unwrap(), []);
}
