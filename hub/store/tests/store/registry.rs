//! Registrations: born, claimed, enrolled, revoked, renewed; and what gateways shall hold.

use stencil_store::{
    Admission, Born, Commit, Enrolled, Enrolment, Erased, Error, GatewayHolds, KeyUsed, NewBirth,
    NewKey, RegistrationState, Renewal, Renewed, Store,
};

use crate::{Fresh, acme, at, device, fresh, gateway, other};

fn key(identity: &str, fill: u8) -> NewKey {
    NewKey {
        identity: device(identity),
        psk: vec![fill; 72],
        tag: [fill; 32],
    }
}

fn enrolment(id: &str, fill: u8) -> Enrolment {
    Enrolment {
        device: device(id),
        gateway: gateway("g1"),
        key: key(id, fill),
        code_tag: None,
    }
}

fn birth(identity: &str, fill: u8) -> NewBirth {
    NewBirth {
        identity: device(identity),
        code_tag: [fill; 32],
        psk: vec![fill; 72],
    }
}

async fn enrol(store: &Store, one: Enrolment) -> Enrolled {
    let answers = store.registry.enrol(&acme(), &[one], 100, 5).await.unwrap();
    answers.into_iter().next().unwrap()
}

fn renewal(id: &str, after: u64, fill: u8, how: Renewal) -> Renewed {
    Renewed {
        device: device(id),
        after,
        key: key(id, fill),
        how,
        code_tag: None,
    }
}

/// The gateway says that it holds so much.
async fn holds(store: &Store, position: u64, epoch: u64, revision: u64, key: Option<u8>) {
    let commit = Commit {
        holds: vec![GatewayHolds {
            tenant: acme(),
            gateway: gateway("g1"),
            epoch,
            revision,
            public_key: key.map(|fill| vec![fill; 8]),
            received_us: 7,
        }],
        ..at(position)
    };
    store.pipeline.commit(commit).await.unwrap();
}

/// What the gateway is to be sent: epoch, span, and each device with its generations.
async fn due(store: &Store, limit: u32) -> Option<(u64, u64, u64, Vec<(String, Vec<u64>)>)> {
    let (tenant, gateway) = (acme(), gateway("g1"));
    let next = store.registry.delivery(&tenant, &gateway, limit);
    let next = next.await.unwrap()?;
    let entries = next.entries.iter().map(|entry| {
        let generations = entry.keys.iter().map(|(generation, _)| *generation);
        (entry.device.to_string(), generations.collect())
    });
    Some((next.epoch, next.after, next.through, entries.collect()))
}

#[tokio::test]
async fn a_birth_is_claimed_once() {
    let Fresh { store, folder: _f } = fresh().await;
    let registry = &store.registry;
    let born = registry
        .bear(&[birth("s1", 1), birth("s2", 2)], 3)
        .await
        .unwrap();
    assert_eq!(born, [Born::Made, Born::Made]);
    let again = [birth("s1", 1), birth("s1", 9), birth("s3", 2)];
    let born = registry.bear(&again, 4).await.unwrap();
    assert_eq!(born, [Born::Known, Born::Differs, Born::Differs]);
    assert_eq!(
        registry.unclaimed(&[1; 32]).await.unwrap().unwrap().psk,
        [1; 72]
    );
    assert!(registry.unclaimed(&[9; 32]).await.unwrap().is_none());

    let claim = |name: &str, fill| Enrolment {
        key: key("s1", fill),
        code_tag: Some([1; 32]),
        ..enrolment(name, fill)
    };
    // The code is of this device and of no other.
    let wrong = Enrolment {
        key: key("s2", 5),
        ..claim("d", 5)
    };
    assert_eq!(enrol(&store, wrong).await, Enrolled::NoSuchCode);
    assert!(
        registry
            .registration(&acme(), &device("d"))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(enrol(&store, claim("d", 6)).await, Enrolled::Made);
    assert_eq!(
        enrol(&store, claim("e", 7)).await,
        Enrolled::IdentityTaken(device("d"))
    );
    assert!(registry.unclaimed(&[1; 32]).await.unwrap().is_none());
    let answers = registry
        .enrol(&other(), &[claim("d", 6)], 100, 5)
        .await
        .unwrap();
    assert_eq!(answers, [Enrolled::NoSuchCode]);
    assert_eq!(
        registry.bear(&[birth("s1", 1)], 8).await.unwrap(),
        [Born::Claimed]
    );
    let births = registry.births(None, 1).await.unwrap();
    assert_eq!(births.items[0].claimed_us, Some(5));
    let births = registry.births(births.next.as_deref(), 5).await.unwrap();
    assert_eq!(births.items[0].claimed_us, None);
}

#[tokio::test]
async fn an_enrolment_says_what_stands_in_its_way() {
    let Fresh { store, folder: _f } = fresh().await;
    assert_eq!(enrol(&store, enrolment("a", 1)).await, Enrolled::Made);
    assert_eq!(enrol(&store, enrolment("a", 1)).await, Enrolled::Unchanged);
    assert_eq!(enrol(&store, enrolment("a", 2)).await, Enrolled::OtherKey);
    assert_eq!(
        enrol(&store, enrolment("b", 1)).await,
        Enrolled::KeyTaken(device("a"))
    );
    let elsewhere = Enrolment {
        gateway: gateway("g2"),
        ..enrolment("a", 1)
    };
    assert_eq!(
        enrol(&store, elsewhere).await,
        Enrolled::OtherGateway(Some(gateway("g1")))
    );
    let rows = [enrolment("c", 3)];
    let full = store.registry.enrol(&acme(), &rows, 1, 5).await;
    assert_eq!(full.unwrap(), [Enrolled::Full]);
    // Each tenant has its own.
    let rows = [enrolment("a", 1)];
    let others = store.registry.enrol(&other(), &rows, 1, 5).await;
    assert_eq!(others.unwrap(), [Enrolled::Made]);

    assert!(
        store
            .registry
            .revoke(&acme(), &device("a"), 6)
            .await
            .unwrap()
    );
    assert!(
        !store
            .registry
            .revoke(&acme(), &device("a"), 7)
            .await
            .unwrap()
    );
    assert_eq!(enrol(&store, enrolment("a", 1)).await, Enrolled::Revoked);
    let nobody = store.registry.revoke(&acme(), &device("zz"), 7).await;
    assert!(matches!(nobody, Err(Error::NotFound { .. })));
    let theirs = store
        .registry
        .registration(&other(), &device("a"))
        .await
        .unwrap();
    assert_eq!(theirs.unwrap().state, RegistrationState::Enrolled);
    let revoked = Some(RegistrationState::Revoked);
    let found = store
        .registry
        .registrations(&acme(), None, revoked, None, 10)
        .await
        .unwrap();
    assert_eq!(found.items.len(), 1);
    assert_eq!(found.items[0].revoked_us, Some(6));
    let found = store
        .registry
        .registrations(&other(), None, revoked, None, 10)
        .await
        .unwrap();
    assert!(found.items.is_empty());
}

#[tokio::test]
async fn a_gateway_gets_what_changed_until_it_says_that_it_holds_it() {
    let Fresh { store, folder: _f } = fresh().await;
    for (name, fill) in [("a", 1), ("b", 2), ("c", 3)] {
        enrol(&store, enrolment(name, fill)).await;
    }
    assert_eq!(due(&store, 10).await, None, "it has no key yet");
    assert!(store.registry.behind(10).await.unwrap().is_empty());
    holds(&store, 1, 0, 0, Some(1)).await;
    assert_eq!(
        store.registry.behind(10).await.unwrap(),
        [(acme(), gateway("g1"))]
    );
    let (epoch, after, through, entries) = due(&store, 2).await.unwrap();
    assert_eq!((after, through), (0, 2));
    assert_eq!(entries, [("a".into(), vec![1]), ("b".into(), vec![1])]);

    holds(&store, 2, epoch, 2, None).await;
    store
        .registry
        .revoke(&acme(), &device("a"), 6)
        .await
        .unwrap();
    let (_, after, through, entries) = due(&store, 10).await.unwrap();
    assert_eq!((after, through), (2, 4));
    assert_eq!(entries, [("c".into(), vec![1]), ("a".into(), vec![])]);
    let is_delivered = async |name: &str| {
        let found = store
            .registry
            .registration(&acme(), &device(name))
            .await
            .unwrap();
        found.unwrap().delivered
    };
    assert!(is_delivered("b").await && !is_delivered("a").await);
    holds(&store, 3, epoch, 4, None).await;
    assert_eq!(due(&store, 10).await, None);
    assert!(is_delivered("a").await);
    let gateways = store.registry.registered_gateways(&acme()).await.unwrap();
    assert_eq!((gateways[0].devices, gateways[0].waiting), (2, 0));

    // It was wiped: it holds nothing, and has another key.
    holds(&store, 4, 0, 0, Some(2)).await;
    let (_, after, through, entries) = due(&store, 10).await.unwrap();
    assert_eq!((after, through, entries.len()), (0, 4, 3));
    // It holds more than there is: this is another list.
    holds(&store, 5, epoch, 9, None).await;
    let (new, after, ..) = due(&store, 10).await.unwrap();
    assert_eq!(after, 0);
    assert_ne!(new, epoch);
    holds(&store, 6, epoch, 4, None).await;
    assert_eq!(due(&store, 10).await.unwrap().1, 0, "of the list before");
    holds(&store, 7, new, 4, None).await;
    assert_eq!(due(&store, 10).await, None);

    store.registry.renumber().await.unwrap();
    let (restored, after, ..) = due(&store, 10).await.unwrap();
    assert_eq!(after, 0);
    assert_ne!(restored, new);
}

#[tokio::test]
async fn a_rotated_key_takes_over_when_it_was_used_and_a_replaced_one_at_once() {
    let Fresh { store, folder: _f } = fresh().await;
    let registry = &store.registry;
    enrol(&store, enrolment("a", 1)).await;
    holds(&store, 1, 0, 0, Some(1)).await;
    let renew = async |renewed: Renewed| registry.renew(&acme(), &renewed, 9).await;
    let rotate = renewal("a", 1, 2, Renewal::Rotate);
    assert_eq!(renew(rotate.clone()).await.unwrap(), Enrolled::Made);
    assert!(
        matches!(renew(rotate).await, Err(Error::Conflict(_))),
        "it was done"
    );
    let next = renewal("a", 2, 3, Renewal::Rotate);
    assert!(
        matches!(renew(next.clone()).await, Err(Error::Conflict(_))),
        "one at a time"
    );
    assert_eq!(due(&store, 10).await.unwrap().3, [("a".into(), vec![1, 2])]);
    let used = |generation| Commit {
        keys_used: vec![KeyUsed {
            tenant: acme(),
            device: device("a"),
            generation,
            at_us: 11,
        }],
        ..at(2)
    };
    store.pipeline.commit(used(1)).await.unwrap();
    assert_eq!(due(&store, 10).await.unwrap().3, [("a".into(), vec![1, 2])]);
    store.pipeline.commit(used(2)).await.unwrap();
    store.pipeline.commit(used(1)).await.unwrap();
    assert_eq!(due(&store, 10).await.unwrap().3, [("a".into(), vec![2])]);
    assert_eq!(renew(next).await.unwrap(), Enrolled::Made);

    registry.revoke(&acme(), &device("a"), 12).await.unwrap();
    let taken = renewal("a", 3, 1, Renewal::Replace);
    assert_eq!(renew(taken).await.unwrap(), Enrolled::KeyTaken(device("a")));
    let replace = renewal("a", 3, 4, Renewal::Replace);
    assert_eq!(renew(replace).await.unwrap(), Enrolled::Made);
    assert_eq!(due(&store, 10).await.unwrap().3, [("a".into(), vec![4])]);
    let keys = registry.device_keys(&acme(), &device("a")).await.unwrap();
    let whys: Vec<_> = keys.iter().map(|key| key.ended_why.as_deref()).collect();
    assert_eq!(
        whys,
        [None, Some("revoked"), Some("revoked"), Some("rotated")]
    );
    let missing = renew(renewal("zz", 0, 7, Renewal::Replace)).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn what_was_decided_is_unsettled_until_the_pipeline_follows() {
    let Fresh { store, folder: _f } = fresh().await;
    enrol(&store, enrolment("a", 1)).await;
    assert!(store.registry.unsettled(10).await.unwrap().is_empty());
    store
        .registry
        .revoke(&acme(), &device("a"), 6)
        .await
        .unwrap();
    let refuse = Admission {
        tenant: acme(),
        device: device("a"),
        refused: true,
    };
    assert_eq!(
        store.registry.unsettled(10).await.unwrap(),
        std::slice::from_ref(&refuse)
    );
    let commit = |admission: &Admission, position| Commit {
        admissions: vec![admission.clone()],
        ..at(position)
    };
    store.pipeline.commit(commit(&refuse, 1)).await.unwrap();
    assert!(store.registry.unsettled(10).await.unwrap().is_empty());
    assert_eq!(
        store.pipeline.load(1).await.unwrap().refused,
        [(acme(), device("a"))]
    );

    // To erase what it measured does not let it in again.
    let erased = Erased::Device(acme(), device("a"));
    store.keeping.erase(2, &erased).await.unwrap();
    assert_eq!(store.pipeline.load(1).await.unwrap().refused.len(), 1);
    let replace = renewal("a", 1, 2, Renewal::Replace);
    store.registry.renew(&acme(), &replace, 9).await.unwrap();
    let take = Admission {
        refused: false,
        ..refuse
    };
    assert_eq!(store.registry.unsettled(10).await.unwrap(), [take]);
    let erased = Erased::Tenant(acme());
    store.keeping.erase(3, &erased).await.unwrap();
    assert!(store.pipeline.load(1).await.unwrap().refused.is_empty());
    assert!(store.registry.unsettled(10).await.unwrap().is_empty());
    assert!(!store.registry.has_sealed().await.unwrap());
}
