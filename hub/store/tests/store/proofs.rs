//! Seals are kept once, found by what they are over, and are in one anchor.

use stencil_protocol::id::{Boot, DeviceId, GatewayId, Seq, TenantId};
use stencil_store::{
    AnchorSeals, Anchoring, Commit, Erased, Error, FoundSeal, NewSeal, ProofChanges, SealKey,
    SealState, SealedBatch, SealedRun, Sealing, StoredAnchor,
};

use crate::{acme, fresh, other};

fn gateway() -> GatewayId {
    GatewayId::parse("gw-1").unwrap()
}

fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

fn key(tenant: &TenantId, number: u64) -> SealKey {
    SealKey {
        tenant: tenant.clone(),
        gateway: gateway(),
        epoch: u64::MAX,
        number,
    }
}

fn seal(tenant: &TenantId, number: u64) -> NewSeal {
    NewSeal {
        key: key(tenant, number),
        hash: [u8::try_from(number).unwrap(); 32],
        record: number.to_be_bytes().to_vec(),
        received_us: 100 + i64::try_from(number).unwrap(),
    }
}

fn found(state: SealState, runs: &[SealedRun]) -> FoundSeal<'_> {
    FoundSeal {
        state,
        why: None,
        runs,
        distrust: None,
    }
}

fn batch(tenant: &TenantId, name: &str, first: u64, position: u64) -> SealedBatch {
    let first_us = i64::try_from(first).unwrap();
    SealedBatch {
        tenant: tenant.clone(),
        device: device(name),
        boot: Boot(7),
        first: Seq(first),
        last: Seq(first + 9),
        from_us: first_us,
        to_us: first_us + 9,
        received_us: first_us,
        position,
        body: first.to_be_bytes().to_vec().into(),
    }
}

fn begins(tenant: &TenantId, nth: u8) -> (u64, Sealing) {
    let sealing = Sealing {
        tenant: tenant.clone(),
        gateway: gateway(),
        epoch: u64::MAX,
        certificate: Some(([nth; 32], vec![nth])),
    };
    (u64::from(nth), sealing)
}

fn commit(position: u64, proofs: ProofChanges) -> Commit {
    Commit {
        position,
        proofs,
        ..Commit::default()
    }
}

fn run(first: u64, chunk: u32) -> SealedRun {
    SealedRun {
        device: device("a"),
        boot: Boot(7),
        first: Seq(first),
        last: Seq(first + 9),
        chunk,
    }
}

#[tokio::test]
async fn what_is_committed_is_found_and_a_repeated_commit_changes_nothing() {
    let fresh = fresh().await;
    let (store, acme) = (&fresh.store, acme());
    let proofs = &store.proofs;
    let changes = ProofChanges {
        sealing: (1..=70).map(|nth| begins(&acme, nth)).collect(),
        batches: vec![
            batch(&acme, "a", 1, 5),
            batch(&acme, "a", 11, 6),
            batch(&acme, "a", 5, 8),
        ],
        seals: vec![seal(&acme, 1), seal(&acme, 2)],
    };
    for position in [10, 10] {
        store
            .pipeline
            .commit(commit(position, changes.clone()))
            .await
            .unwrap();
    }
    let loaded = store.pipeline.load(4).await.unwrap();
    assert_eq!(loaded.sealing, [(acme.clone(), gateway())]);
    // The oldest keys are gone.
    let key_of = |nth: u8| {
        let (proofs, acme) = (proofs.clone(), acme.clone());
        async move {
            proofs
                .sealing_key(&acme, &gateway(), &[nth; 32])
                .await
                .unwrap()
        }
    };
    assert_eq!((key_of(70).await, key_of(6).await), (Some(vec![70]), None));
    assert_eq!(key_of(7).await, Some(vec![7]));

    let numbers = |first, last| {
        proofs.sealed_batches(
            &acme,
            &changes.batches[0].device,
            Boot(7),
            Seq(first),
            Seq(last),
        )
    };
    let firsts: Vec<u64> = numbers(10, 11)
        .await
        .unwrap()
        .iter()
        .map(|it| it.first.0)
        .collect();
    assert_eq!(firsts, [1, 11, 5]);
    assert_eq!(numbers(1, 1).await.unwrap(), changes.batches[..1]);
    assert_eq!(numbers(21, 400).await.unwrap(), []);
    let at = proofs
        .sealed_batches_at(&acme, &device("a"), 15)
        .await
        .unwrap();
    assert_eq!(at.len(), 1);
    let elsewhere = proofs
        .sealed_batches_at(&other(), &device("a"), 15)
        .await
        .unwrap();
    assert_eq!(elsewhere, []);

    let pending = proofs.pending_seals(10).await.unwrap();
    assert_eq!(pending.len(), 2);
    assert_eq!(pending, [key(&acme, 1), key(&acme, 2)]);
    let kept = proofs.seal(&pending[0]).await.unwrap().unwrap();
    assert_eq!(kept.seal, seal(&acme, 1));
    let (first, second) = ([run(1, 3)], [run(1, 0)]);
    for (number, state, runs, settled) in [
        (0, SealState::Verified, &first, true),
        // What was found of it stays so.
        (0, SealState::Mismatch, &second, false),
        (1, SealState::Mismatch, &second, true),
    ] {
        let key: &SealKey = &pending[number];
        let found = FoundSeal {
            why: Some("why"),
            ..found(state, runs)
        };
        let set = proofs.settle_seal(key, &found, 7).await;
        assert_eq!(set.unwrap().is_news, settled);
    }
    let (found, chunk) = proofs
        .seal_of(&acme, &device("a"), Boot(7), Seq(10))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.seal.key.number, chunk), (1, 3));
    assert_eq!(
        proofs
            .seal_of(&acme, &device("a"), Boot(7), Seq(11))
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        proofs
            .seal_of(&other(), &device("a"), Boot(7), Seq(10))
            .await
            .unwrap(),
        None
    );
    let bad = proofs
        .seals(&acme, Some(SealState::Mismatch), None, 10)
        .await
        .unwrap();
    assert_eq!(
        (bad.items.len(), bad.items[0].why.as_deref()),
        (1, Some("why"))
    );
    let first = proofs.seals(&acme, None, None, 1).await.unwrap();
    let second = proofs
        .seals(&acme, None, first.next.as_deref(), 1)
        .await
        .unwrap();
    assert_eq!(
        (
            first.items[0].seal.key.number,
            second.items[0].seal.key.number
        ),
        (2, 1)
    );
    assert_eq!(second.next, None);

    let ends = Sealing {
        certificate: None,
        ..begins(&acme, 1).1
    };
    let changes = ProofChanges {
        sealing: vec![(11, ends)],
        ..ProofChanges::default()
    };
    store.pipeline.commit(commit(11, changes)).await.unwrap();
    assert_eq!(store.pipeline.load(4).await.unwrap().sealing, []);
}

#[tokio::test]
async fn a_seal_is_in_one_anchor() {
    let fresh = fresh().await;
    let (store, acme) = (&fresh.store, acme());
    let proofs = &store.proofs;
    let seals: Vec<NewSeal> = (1..=3).map(|number| seal(&acme, number)).collect();
    let changes = ProofChanges {
        seals: seals.clone(),
        ..ProofChanges::default()
    };
    store.pipeline.commit(commit(1, changes)).await.unwrap();
    for seal in &seals {
        proofs
            .settle_seal(
                &seal.key,
                &found(SealState::Verified, &[run(seal.key.number * 10, 0)]),
                5,
            )
            .await
            .unwrap();
    }
    let set = Anchoring {
        chain: "sepolia".into(),
        interval_s: 60,
    };
    proofs.set_anchoring(&acme, Some(&set), 1).await.unwrap();
    assert_eq!(
        proofs.anchorings().await.unwrap(),
        [(acme.clone(), Some(set))]
    );
    let nobody = TenantId::parse("nobody").unwrap();
    let set = Anchoring {
        chain: "sepolia".into(),
        interval_s: 60,
    };
    let error = proofs
        .set_anchoring(&nobody, Some(&set), 1)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");

    let waiting = proofs.unanchored(&acme, 2).await.unwrap();
    let keys: Vec<SealKey> = waiting.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, [key(&acme, 1), key(&acme, 2)]);
    let anchor = StoredAnchor {
        anchor: 1,
        body: "{}".into(),
        open: true,
    };
    let take = AnchorSeals::Take(&keys);
    let keep = AnchorSeals::Keep;
    // What is not there is not replaced.
    assert!(!proofs.put_anchor(&acme, &anchor, keep, 9).await.unwrap());
    assert_eq!(proofs.last_anchor(&acme).await.unwrap(), None);
    assert!(proofs.put_anchor(&acme, &anchor, take, 9).await.unwrap());
    assert!(!proofs.put_anchor(&acme, &anchor, take, 9).await.unwrap());
    let open = proofs.open_anchors(&acme).await.unwrap();
    assert_eq!(open, std::slice::from_ref(&anchor));
    assert_eq!(proofs.open_anchors(&other()).await.unwrap(), []);
    let second = StoredAnchor {
        anchor: 2,
        ..anchor.clone()
    };
    let error = proofs
        .put_anchor(&acme, &second, take, 9)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    assert_eq!(
        proofs.last_anchor(&acme).await.unwrap(),
        Some(anchor.clone())
    );
    assert_eq!(
        proofs.anchored_seals(&acme, 1).await.unwrap(),
        [[1; 32], [2; 32]]
    );
    assert_eq!(proofs.unanchored(&acme, 9).await.unwrap().len(), 1);
    let (found, _) = proofs
        .seal_of(&acme, &device("a"), Boot(7), Seq(25))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.anchor, Some((1, 1)));
    let done = StoredAnchor {
        open: false,
        body: "[]".into(),
        ..anchor
    };
    assert!(proofs.put_anchor(&acme, &done, keep, 10).await.unwrap());
    assert_eq!(proofs.unanchored(&acme, 9).await.unwrap().len(), 1);
    assert_eq!(proofs.open_anchors(&acme).await.unwrap(), []);
    assert_eq!(proofs.anchor(&acme, 1).await.unwrap(), Some(done.clone()));
    assert_eq!(proofs.anchor(&other(), 1).await.unwrap(), None);
    let release = AnchorSeals::Release;
    assert!(proofs.put_anchor(&acme, &done, release, 11).await.unwrap());
    assert_eq!(proofs.unanchored(&acme, 9).await.unwrap().len(), 3);
    // A reorganisation may still come to those that are there.
    proofs.set_anchoring(&acme, None, 1).await.unwrap();
    assert_eq!(proofs.anchorings().await.unwrap(), [(acme.clone(), None)]);
}

#[tokio::test]
async fn what_is_old_or_erased_goes() {
    let fresh = fresh().await;
    let (store, acme) = (&fresh.store, acme());
    let proofs = &store.proofs;
    let changes = ProofChanges {
        batches: vec![
            batch(&acme, "a", 1, 1),
            batch(&acme, "b", 1, 2),
            batch(&acme, "a", 300, 3),
        ],
        seals: vec![seal(&acme, 1)],
        ..ProofChanges::default()
    };
    store.pipeline.commit(commit(3, changes)).await.unwrap();
    proofs
        .settle_seal(&key(&acme, 1), &found(SealState::Verified, &[run(1, 0)]), 5)
        .await
        .unwrap();
    assert_eq!(proofs.forget_sealed(&other(), 200, 10).await.unwrap(), 0);
    assert_eq!(proofs.forget_sealed(&acme, 1, 10).await.unwrap(), 0);
    assert_eq!(proofs.forget_sealed(&acme, 200, 10).await.unwrap(), 4);
    let left = proofs
        .sealed_batches(&acme, &device("a"), Boot(7), Seq(1), Seq(400))
        .await
        .unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(proofs.seal(&key(&acme, 1)).await.unwrap(), None);
    let erased = Erased::Device(acme.clone(), device("a"));
    store.keeping.erase(4, &erased).await.unwrap();
    let left = proofs
        .sealed_batches(&acme, &device("a"), Boot(7), Seq(1), Seq(400))
        .await
        .unwrap();
    assert_eq!(left, []);
}
