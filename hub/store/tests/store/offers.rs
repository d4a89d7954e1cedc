//! Offers and purchases: a change follows the one before, with what its payer has under way.

use stencil_protocol::id::{CommandId, TenantId};
use stencil_store::{
    Erased, Error, MAX_OFFERS, MAX_UNDER_WAY, Offers, StoredExposure, StoredPurchase,
};

use crate::{acme, fresh, other};

fn purchase(tenant: &TenantId, n: u8, version: u64) -> StoredPurchase {
    StoredPurchase {
        tenant: tenant.clone(),
        purchase: [n; 16],
        version,
        offer: "feed".into(),
        payer: [7; 20],
        body: format!(r#"{{"version":{version}}}"#),
        wakes_us: (version == 1).then_some(50 + i64::from(n)),
        under_way: false,
        command: (version == 2).then_some(CommandId([n; 16])),
        created_us: i64::from(n),
        changed_us: i64::try_from(version).unwrap(),
    }
}

fn exposure(version: u64) -> StoredExposure {
    StoredExposure {
        asset: "eip155:1/erc20:0xab".into(),
        payer: [7; 20],
        version,
        body: format!("{{{version}}}"),
    }
}

#[tokio::test]
async fn offers_are_a_tenants_own_and_are_set_anew() {
    let fresh = fresh().await;
    let offers = fresh.store.offers.as_ref();
    let (acme, other) = (acme(), other());
    assert!(
        offers
            .put_offer(&acme, "feed", "{1}", &[], 5)
            .await
            .unwrap()
    );
    assert!(
        !offers
            .put_offer(&acme, "feed", "{2}", &[], 6)
            .await
            .unwrap()
    );
    let found = offers.offer(&acme, "feed").await.unwrap().unwrap();
    assert_eq!(
        (&found.body[..], found.created_us, found.changed_us),
        ("{2}", 5, 6)
    );
    assert_eq!(offers.offer(&other, "feed").await.unwrap(), None);
    assert!(!offers.remove_offer(&other, "feed").await.unwrap());
    for name in ["a", "b", "c"] {
        assert!(offers.put_offer(&acme, name, "{}", &[], 7).await.unwrap());
    }
    let page = offers.offers(&acme, None, 2).await.unwrap();
    let names = |page: &stencil_store::Page<stencil_store::StoredOffer>| {
        page.items
            .iter()
            .map(|it| it.offer.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&page), ["a", "b"]);
    let rest = offers.offers(&acme, page.next.as_deref(), 2).await.unwrap();
    assert_eq!(
        (names(&rest), rest.next),
        (vec!["c".into(), "feed".into()], None)
    );
    assert!(offers.remove_offer(&acme, "a").await.unwrap());
    assert_eq!(offers.offer(&acme, "a").await.unwrap(), None);
    let nobody: TenantId = "nobody".parse().unwrap();
    let put = offers.put_offer(&nobody, "feed", "{}", &[], 1).await;
    assert!(matches!(put, Err(Error::NotFound { .. })), "{put:?}");
    for wrong in [String::new(), "x".repeat(65)] {
        let put = offers.put_offer(&acme, &wrong, "{}", &[], 1).await;
        assert!(matches!(put, Err(Error::Invalid { .. })), "{put:?}");
    }
}

#[tokio::test]
async fn a_tenant_has_so_many_offers_and_no_more() {
    let fresh = fresh().await;
    let offers = fresh.store.offers.as_ref();
    for n in 0..MAX_OFFERS {
        let made = offers
            .put_offer(&acme(), &n.to_string(), "{}", &[], 1)
            .await;
        assert!(made.unwrap());
    }
    let more = offers.put_offer(&acme(), "more", "{}", &[], 1).await;
    assert!(matches!(more, Err(Error::Conflict(_))), "{more:?}");
    assert!(!offers.put_offer(&acme(), "7", "{}", &[], 2).await.unwrap());
    assert!(
        offers
            .put_offer(&other(), "more", "{}", &[], 1)
            .await
            .unwrap()
    );
}

async fn conflicts(
    offers: &dyn Offers,
    purchase: &StoredPurchase,
    exposure: Option<&StoredExposure>,
) {
    let done = offers.commit_purchase(purchase, exposure).await;
    assert!(matches!(done, Err(Error::Conflict(_))), "{done:?}");
}

#[tokio::test]
async fn a_change_follows_the_one_before_with_what_is_under_way() {
    let fresh = fresh().await;
    let offers = fresh.store.offers.as_ref();
    let (acme, other) = (acme(), other());
    conflicts(offers, &purchase(&acme, 1, 2), None).await;
    let first = purchase(&acme, 1, 1);
    // What is under way was changed meanwhile: nothing of it is kept.
    conflicts(offers, &first, Some(&exposure(2))).await;
    assert_eq!(offers.purchase(&acme, &[1; 16]).await.unwrap(), None);
    let kept = offers.commit_purchase(&first, Some(&exposure(1))).await;
    kept.unwrap();
    conflicts(offers, &first, Some(&exposure(2))).await;
    conflicts(offers, &purchase(&acme, 1, 3), None).await;
    conflicts(offers, &purchase(&acme, 2, 1), Some(&exposure(1))).await;
    let asset = &exposure(1).asset;
    let found = offers.exposure(&acme, asset, &[7; 20]).await.unwrap();
    assert_eq!(found, Some(exposure(1)));
    assert_eq!(
        offers.exposure(&other, asset, &[7; 20]).await.unwrap(),
        None
    );
    assert_eq!(offers.exposure(&acme, asset, &[8; 20]).await.unwrap(), None);

    let waking = offers.waking_purchases(51, None, 9).await.unwrap();
    assert_eq!(waking, [first]);
    assert_eq!(offers.waking_purchases(50, None, 9).await.unwrap(), []);
    let second = purchase(&acme, 1, 2);
    let kept = offers.commit_purchase(&second, Some(&exposure(2))).await;
    kept.unwrap();
    assert_eq!(
        offers.waking_purchases(i64::MAX, None, 9).await.unwrap(),
        []
    );
    let of = offers.purchase_of_command(&acme, &CommandId([1; 16])).await;
    assert_eq!(of.unwrap(), Some(second.clone()));
    let of = offers
        .purchase_of_command(&other, &CommandId([1; 16]))
        .await;
    assert_eq!(of.unwrap(), None);
    // A command is of one purchase.
    let mut double = purchase(&acme, 2, 1);
    double.command = Some(CommandId([1; 16]));
    conflicts(offers, &double, None).await;

    offers.put_exposure(&acme, &exposure(3)).await.unwrap();
    let stale = offers.put_exposure(&acme, &exposure(3)).await;
    assert!(matches!(stale, Err(Error::Conflict(_))), "{stale:?}");
    // The same id is another purchase of another tenant.
    let theirs = purchase(&other, 1, 1);
    offers.commit_purchase(&theirs, None).await.unwrap();
    assert_eq!(
        offers.purchase(&acme, &[1; 16]).await.unwrap(),
        Some(second)
    );
}

#[tokio::test]
async fn purchases_are_listed_and_go_with_their_tenant() {
    let fresh = fresh().await;
    let offers = fresh.store.offers.as_ref();
    let (acme, other) = (acme(), other());
    offers.put_offer(&acme, "feed", "{}", &[], 1).await.unwrap();
    for n in 1..=3 {
        let one = purchase(&acme, n, 1);
        offers.commit_purchase(&one, None).await.unwrap();
    }
    let theirs = purchase(&other, 9, 1);
    let kept = offers.commit_purchase(&theirs, Some(&exposure(1))).await;
    kept.unwrap();
    let page = offers.purchases(&acme, None, 2).await.unwrap();
    let ids = |page: &stencil_store::Page<StoredPurchase>| {
        page.items
            .iter()
            .map(|it| it.purchase[0])
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&page), [3, 2]);
    let rest = offers.purchases(&acme, page.next.as_deref(), 2).await;
    let rest = rest.unwrap();
    assert_eq!((ids(&rest), &rest.next), (vec![1], &None));
    let erased = Erased::Tenant(acme.clone());
    fresh.store.keeping.erase(1, &erased).await.unwrap();
    assert!(
        offers
            .purchases(&acme, None, 9)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert_eq!(offers.offer(&acme, "feed").await.unwrap(), None);
    assert_eq!(
        offers.purchase(&other, &[9; 16]).await.unwrap(),
        Some(theirs)
    );
}

#[tokio::test]
async fn an_address_is_one_tenants_by_settings_and_offers_alike() {
    let fresh = fresh().await;
    let (offers, payments) = (&fresh.store.offers, &fresh.store.payments);
    let (acme, other) = (acme(), other());
    let (mine, shared) = ((1, [1; 20]), (1, [2; 20]));
    let elsewhere = (2, [2; 20]);
    let refused = |done: Result<(), Error>| {
        let Err(Error::Conflict(why)) = done else {
            panic!("{done:?}");
        };
        assert!(why.contains("another tenant"), "{why}");
    };
    let set = payments.set_payment_settings(&acme, "{}", &[mine], 5).await;
    set.unwrap();
    let put = offers.put_offer(&other, "feed", "{}", &[mine], 5).await;
    refused(put.map(drop));
    assert_eq!(offers.offer(&other, "feed").await.unwrap(), None);
    // Its own, and the same address on another chain.
    let all = [mine, shared];
    assert!(
        offers
            .put_offer(&acme, "feed", "{}", &all, 5)
            .await
            .unwrap()
    );
    let there = offers
        .put_offer(&other, "feed", "{}", &[elsewhere], 5)
        .await;
    assert!(there.unwrap());
    let set = payments
        .set_payment_settings(&other, "{}", &[shared], 5)
        .await;
    refused(set);
    let put = offers.put_offer(&other, "more", "{}", &[shared], 5).await;
    refused(put.map(drop));
    // Whoever goes makes room.
    assert!(
        !offers
            .put_offer(&acme, "feed", "{}", &[mine], 6)
            .await
            .unwrap()
    );
    let put = offers.put_offer(&other, "more", "{}", &[shared], 6).await;
    assert!(put.unwrap());
    assert!(offers.remove_offer(&other, "more").await.unwrap());
    let set = payments
        .set_payment_settings(&acme, "{}", &[shared], 7)
        .await;
    set.unwrap();
}

/// Its invoice was settled, and is so no more: whoever has given something for it is to look at once.
#[tokio::test]
async fn a_commands_purchase_wakes_when_its_invoice_is_undone() {
    let fresh = fresh().await;
    let (offers, payments) = (fresh.store.offers.as_ref(), &fresh.store.payments);
    let (acme, other) = (acme(), other());
    for (tenant, n, command) in [(&acme, 1, true), (&acme, 2, false), (&other, 1, true)] {
        let mut one = purchase(tenant, n, 1);
        one.command = command.then_some(CommandId([n; 16]));
        one.wakes_us = Some(1_000);
        offers.commit_purchase(&one, None).await.unwrap();
    }
    let ids = async |now_us: i64| {
        let waking = offers.waking_purchases(now_us, None, 9).await.unwrap();
        let ids = waking.into_iter().map(|it| (it.tenant, it.purchase[0]));
        ids.collect::<Vec<_>>()
    };
    for n in [1, 2] {
        for (version, is_undone) in [(1, false), (2, false), (3, true)] {
            let mut change = crate::payments::change(&acme, n, version);
            change.is_undone = is_undone;
            assert!(ids(999).await.is_empty());
            payments.commit_invoice(&change).await.unwrap();
            if n == 1 && is_undone {
                assert_eq!(ids(3).await, [(acme.clone(), 1)]);
                // Who was about to change it has to read it anew.
                conflicts(offers, &purchase(&acme, 1, 2), None).await;
                let rest = purchase(&acme, 1, 3);
                offers.commit_purchase(&rest, None).await.unwrap();
            }
        }
    }
    let of = async |tenant: &TenantId, payer: u8, now_us: i64| {
        let payer = [payer; 20];
        let waking = offers.waking_purchases_of(tenant, &payer, now_us, 9).await;
        let waking = waking.unwrap().into_iter();
        waking.map(|it| it.purchase[0]).collect::<Vec<u8>>()
    };
    assert!(of(&acme, 7, 999).await.is_empty());
    assert_eq!(of(&acme, 7, 1_000).await, [2]);
    assert!(of(&acme, 8, 1_000).await.is_empty());
    assert_eq!(of(&other, 7, 1_000).await, [1]);
}

/// A purchase of a device command by a payer of its own.
fn commanded(tenant: &TenantId, n: u32) -> (StoredPurchase, StoredExposure) {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    let mut payer = [7; 20];
    payer[..4].copy_from_slice(&n.to_be_bytes());
    let purchase = StoredPurchase {
        purchase: id,
        payer,
        wakes_us: Some(50),
        under_way: true,
        command: Some(CommandId(id)),
        ..purchase(tenant, 1, 1)
    };
    let exposure = StoredExposure {
        payer,
        ..exposure(1)
    };
    (purchase, exposure)
}

#[tokio::test]
async fn commands_under_way_have_places_of_which_a_tenant_leaves_some_to_others() {
    let fresh = fresh().await;
    let offers = fresh.store.offers.as_ref();
    let (acme, other) = (acme(), other());
    let third = TenantId::parse("third").unwrap();
    let tenancy = &fresh.store.tenancy;
    tenancy.create_tenant(&third, 1).await.unwrap();
    let commission = async |tenant: &TenantId, n: u32| {
        let has_place = offers.has_place(tenant).await.unwrap();
        let (purchase, exposure) = commanded(tenant, n);
        let kept = offers.commission_purchase(&purchase, &exposure).await;
        let kept = kept.unwrap();
        assert_eq!(kept, has_place, "it is foretold");
        kept
    };
    // One that is alone has most of them.
    let most = MAX_UNDER_WAY / 5 * 4;
    for n in 0..most {
        assert!(commission(&acme, n).await, "{n}");
    }
    assert!(!commission(&acme, most).await);
    let refused = commanded(&acme, most).0.purchase;
    let kept = offers.purchase(&acme, &refused).await.unwrap();
    assert_eq!(kept, None, "nothing of it is kept");
    // Another tenant has places all the same, and so has a third one.
    let others = (MAX_UNDER_WAY - most) / 5 * 4;
    for n in 0..others {
        assert!(commission(&other, n).await, "{n}");
    }
    assert!(!commission(&other, others).await);
    assert!(commission(&third, 0).await);
    // Another payment of the same kind is none of a command, and needs no place.
    let data = purchase(&acme, 200, 1);
    offers.commit_purchase(&data, None).await.unwrap();
    // What is over has none, whether it is looked at still or not.
    for n in 0..2 {
        let (mut over, _) = commanded(&other, n);
        (over.version, over.under_way) = (2, false);
        offers.commit_purchase(&over, None).await.unwrap();
    }
    assert!(commission(&other, others).await);
}

#[tokio::test]
async fn all_that_wakes_is_read_page_by_page() {
    let fresh = fresh().await;
    let offers = fresh.store.offers.as_ref();
    let (acme, other) = (acme(), other());
    for (tenant, n) in [(&acme, 1), (&acme, 2), (&other, 1), (&other, 2), (&acme, 3)] {
        let mut one = commanded(tenant, n).0;
        one.wakes_us = Some(if n == 3 { 20 } else { 30 });
        offers.commit_purchase(&one, None).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut last: Option<StoredPurchase> = None;
    loop {
        let page = offers.waking_purchases(40, last.as_ref(), 2).await.unwrap();
        let Some(end) = page.last() else { break };
        last = Some(end.clone());
        seen.extend(page.into_iter().map(|it| (it.tenant, it.purchase[3])));
    }
    let mut expected = vec![(acme.clone(), 3)];
    let mut rest = vec![(acme.clone(), 1), (acme, 2), (other.clone(), 1), (other, 2)];
    rest.sort();
    expected.extend(rest);
    assert_eq!(seen, expected);
}
