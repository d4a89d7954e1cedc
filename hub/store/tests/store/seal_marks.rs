//! Marks of seals that are not what the hub has: kept until they are cleared, and never without bound.

use stencil_protocol::id::{GatewayId, TenantId};
use stencil_store::sqlite::Options;
use stencil_store::{
    AuditFilter, AuditOutcome, Commit, Distrust, Erased, FoundSeal, MAX_SEAL_MARKS, NewAudit,
    NewSeal, NewSealMark, ProofChanges, SealFlaw, SealKey, SealMark, SealMarkFilter, SealState,
    SettledSeal, Store,
};

use crate::{acme, device, fresh, gateway, other, reopen};

fn key(tenant: &TenantId, of: &str, number: u64) -> SealKey {
    SealKey {
        tenant: tenant.clone(),
        gateway: gateway(of),
        epoch: u64::MAX,
        number,
    }
}

fn mark(of: Option<&str>) -> NewSealMark {
    NewSealMark {
        device: of.map(device),
        flaw: match of {
            Some(_) => SealFlaw::Readings,
            None => SealFlaw::Chain,
        },
        why: "it is another one".into(),
        differs: "{}".into(),
    }
}

/// Seals come, at this position of the log.
async fn come(store: &Store, position: u64, keys: &[SealKey]) {
    let seal = |key: &SealKey| NewSeal {
        key: key.clone(),
        hash: [1; 32],
        record: vec![1],
        received_us: 100,
    };
    let commit = Commit {
        position,
        proofs: ProofChanges {
            seals: keys.iter().map(seal).collect(),
            ..ProofChanges::default()
        },
        ..Commit::default()
    };
    store.pipeline.commit(commit).await.unwrap();
}

async fn wrong(store: &Store, key: &SealKey, marks: &[NewSealMark], now_us: i64) -> SettledSeal {
    let audit = NewAudit {
        at_us: now_us,
        who: format!("gateway {}", key.gateway),
        action: "gateways.seal".into(),
        target: None,
        outcome: AuditOutcome::Refused,
        detail: None,
        address: None,
    };
    let found = FoundSeal {
        state: SealState::Mismatch,
        why: Some("it is another one"),
        runs: &[],
        distrust: Some(Distrust {
            marks,
            audit: &audit,
            audit_entries: 1_000,
            triggers: &[],
        }),
    };
    let proofs = &store.proofs;
    proofs.settle_seal(key, &found, now_us).await.unwrap()
}

async fn marks(store: &Store, filter: &SealMarkFilter) -> Vec<SealMark> {
    let page = store.proofs.seal_marks(&acme(), filter, None, 1_000).await;
    page.unwrap().items
}

async fn noted(store: &Store) -> usize {
    let filter = AuditFilter::default();
    let page = store.audit.entries(&acme(), &filter, None, 1_000).await;
    page.unwrap().items.len()
}

fn of_gateway(name: &str) -> SealMarkFilter {
    SealMarkFilter {
        gateway: Some(gateway(name)),
        device: None,
    }
}

fn of_device(name: &str, behind: Option<GatewayId>) -> SealMarkFilter {
    SealMarkFilter {
        gateway: None,
        device: Some((device(name), behind)),
    }
}

#[tokio::test]
async fn they_stay_until_each_is_cleared() {
    let fresh = fresh().await;
    let (store, acme) = (&fresh.store, acme());
    let keys = [key(&acme, "a", 1), key(&acme, "a", 2), key(&acme, "b", 1)];
    come(store, 1, &keys).await;
    let both = [mark(Some("x")), mark(Some("y"))];
    let settled = wrong(store, &keys[0], &both, 5).await;
    assert!(settled.is_news && settled.is_marked, "{settled:?}");
    // What was found of it stays, and is told once.
    assert_eq!(
        wrong(store, &keys[0], &both, 6).await,
        SettledSeal::default()
    );
    wrong(store, &keys[1], &[mark(None)], 7).await;
    wrong(store, &keys[2], &[mark(Some("x"))], 8).await;
    assert_eq!(noted(store).await, 3);

    let all = marks(store, &SealMarkFilter::default()).await;
    let order: Vec<_> = all.iter().map(|it| (it.key.clone(), it.at_us)).collect();
    let newest_first = [
        (keys[2].clone(), 8),
        (keys[1].clone(), 7),
        (keys[0].clone(), 5),
        (keys[0].clone(), 5),
    ];
    assert_eq!(order, newest_first);
    assert_eq!(all[1].mark, mark(None));
    assert_eq!(marks(store, &of_gateway("a")).await.len(), 3);
    assert_eq!(marks(store, &of_device("x", None)).await.len(), 2);
    // With what is wrong with all that its gateway seals.
    let behind = of_device("x", Some(gateway("a")));
    assert_eq!(marks(store, &behind).await.len(), 3);
    assert_eq!(marks(store, &of_device("z", None)).await, []);
    let proofs = &store.proofs;
    let any = SealMarkFilter::default();
    let first = proofs.seal_marks(&acme, &any, None, 3).await.unwrap();
    assert_eq!(first.items, all[..3]);
    let rest = proofs.seal_marks(&acme, &any, first.next.as_deref(), 3);
    let rest = rest.await.unwrap();
    assert_eq!((&rest.items[..], rest.next), (&all[3..], None));
    let counts = proofs.marked_gateways(&acme).await.unwrap();
    assert_eq!(counts, [(gateway("a"), 2), (gateway("b"), 1)]);
    let others = proofs.seal_marks(&other(), &any, None, 9).await;
    assert_eq!(others.unwrap().items, []);
    assert_eq!(proofs.marked_gateways(&other()).await.unwrap(), []);

    // A hub that starts anew has them, and retention leaves them.
    let store = reopen(fresh.folder.path(), Options::default()).await;
    let proofs = &store.proofs;
    assert_eq!(proofs.forget_sealed(&acme, 1_000, 100).await.unwrap(), 3);
    assert_eq!(marks(&store, &SealMarkFilter::default()).await, all);
    assert!(
        !proofs
            .clear_seal_marks(&key(&other(), "a", 1))
            .await
            .unwrap()
    );
    assert!(proofs.clear_seal_marks(&keys[0]).await.unwrap());
    assert!(!proofs.clear_seal_marks(&keys[0]).await.unwrap());
    assert_eq!(marks(&store, &SealMarkFilter::default()).await, all[..2]);
    // They go with their device.
    let erased = Erased::Device(acme.clone(), device("x"));
    store.keeping.erase(2, &erased).await.unwrap();
    assert_eq!(marks(&store, &SealMarkFilter::default()).await, all[1..2]);
}

#[tokio::test]
async fn a_gateway_that_makes_seals_up_fills_neither_the_store_nor_the_audit_log() {
    let fresh = fresh().await;
    let (store, acme) = (&fresh.store, acme());
    let most = u64::from(MAX_SEAL_MARKS);
    let keys: Vec<SealKey> = (1..=most + 3)
        .map(|number| key(&acme, "a", number))
        .collect();
    come(store, 1, &keys).await;
    let mut marked = Vec::new();
    for (at_us, key) in (0..).zip(&keys) {
        let settled = wrong(store, key, &[mark(None)], at_us).await;
        assert!(settled.is_news);
        marked.push(settled.is_marked);
    }
    let last = marked.iter().rposition(|marked| *marked);
    assert_eq!(last, Some(usize::try_from(most).unwrap() - 1));
    let held = marks(store, &of_gateway("a")).await;
    assert_eq!(held.len() as u64, most);
    // What began it stays.
    assert_eq!(held.last().unwrap().key, keys[0]);
    assert_eq!(noted(store).await as u64, most);
    // There is room again.
    let proofs = &store.proofs;
    assert!(proofs.clear_seal_marks(&keys[9]).await.unwrap());
    let next = key(&acme, "a", most + 4);
    come(store, 2, std::slice::from_ref(&next)).await;
    assert!(wrong(store, &next, &[mark(None)], 1_000).await.is_marked);
}
