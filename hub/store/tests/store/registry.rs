//! Registrations: born, claimed, enrolled, revoked, renewed; and what gateways shall hold.

use stencil_protocol::id::GatewayId;
use stencil_store::{
    Admission, AuditFilter, Born, ByCode, Commit, Enrolled, Enrolment, Erased, Error, GatewayHolds,
    GatewayRekeyed, KeyUsed, Moved, NewBirth, NewKey, RegistrationState, Renewal, Renewed, Store,
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

/// A store whose two tenants have a gateway `g1` each.
async fn with_gateways() -> Fresh {
    let fresh = fresh().await;
    for tenant in [acme(), other()] {
        let (registry, gateway) = (&fresh.store.registry, gateway("g1"));
        registry.add_gateway(&tenant, &gateway, 1).await.unwrap();
    }
    fresh
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
    let Fresh { store, folder: _f } = with_gateways().await;
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
    let Fresh { store, folder: _f } = with_gateways().await;
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
    let Fresh { store, folder: _f } = with_gateways().await;
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
    let Fresh { store, folder: _f } = with_gateways().await;
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
    let used_at = |at_gateway: &str, generation| Commit {
        keys_used: vec![KeyUsed {
            tenant: acme(),
            gateway: gateway(at_gateway),
            device: device("a"),
            generation,
            at_us: 11,
        }],
        ..at(2)
    };
    let used = |generation| used_at("g1", generation);
    store.pipeline.commit(used(1)).await.unwrap();
    assert_eq!(due(&store, 10).await.unwrap().3, [("a".into(), vec![1, 2])]);
    // Another gateway of the tenant does not know which key the device has.
    store.pipeline.commit(used_at("g2", 2)).await.unwrap();
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
    let Fresh { store, folder: _f } = with_gateways().await;
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

#[tokio::test]
async fn a_gateway_that_nobody_has_added_gets_no_device_and_is_not_listed() {
    let Fresh { store, folder: _f } = with_gateways().await;
    let registry = &store.registry;
    registry.bear(&[birth("s1", 1)], 3).await.unwrap();
    let slip = Enrolment {
        gateway: gateway("gl"),
        key: key("s1", 1),
        code_tag: Some([1; 32]),
        ..enrolment("a", 1)
    };
    assert_eq!(enrol(&store, slip.clone()).await, Enrolled::NoSuchGateway);
    assert!(registry.unclaimed(&[1; 32]).await.unwrap().is_some());
    let ids = registry.gateway_ids(&acme()).await.unwrap();
    assert_eq!(ids, [gateway("g1")]);
    // Another tenant's is none, too.
    registry
        .add_gateway(&other(), &gateway("gl"), 2)
        .await
        .unwrap();
    assert_eq!(enrol(&store, slip.clone()).await, Enrolled::NoSuchGateway);
    assert!(!registry.has_gateway(&acme(), &gateway("gl")).await.unwrap());
    // One that connects is one, whoever added it.
    let commit = Commit {
        holds: vec![GatewayHolds {
            tenant: acme(),
            gateway: gateway("gl"),
            epoch: 0,
            revision: 0,
            public_key: Some(vec![1; 8]),
            received_us: 7,
        }],
        ..at(1)
    };
    store.pipeline.commit(commit).await.unwrap();
    assert_eq!(enrol(&store, slip).await, Enrolled::Made);
    let by = registry.by_code(&acme(), &[1; 32]).await.unwrap();
    let known = ByCode {
        device: device("a"),
        gateway: Some(gateway("gl")),
        revoked: false,
        replaced: false,
    };
    assert_eq!(by, Some(known.clone()));
    assert_eq!(registry.by_code(&other(), &[1; 32]).await.unwrap(), None);
    let replace = renewal("a", 1, 2, Renewal::Replace);
    registry.renew(&acme(), &replace, 9).await.unwrap();
    let by = registry.by_code(&acme(), &[1; 32]).await.unwrap();
    assert!(by.unwrap().replaced);
}

#[tokio::test]
async fn a_moved_device_is_at_the_new_gateway_and_at_no_other() {
    let Fresh { store, folder: _f } = with_gateways().await;
    let registry = &store.registry;
    registry
        .add_gateway(&acme(), &gateway("g2"), 1)
        .await
        .unwrap();
    let (a, g2) = (device("a"), gateway("g2"));
    enrol(&store, enrolment("a", 1)).await;
    holds(&store, 1, 0, 0, Some(1)).await;
    let (epoch, _, through, _) = due(&store, 10).await.unwrap();
    holds(&store, 2, epoch, through, None).await;
    let to = async |gateway: &str, max| {
        let gateway = GatewayId::parse(gateway).unwrap();
        registry.move_device(&acme(), &a, &gateway, max, 9).await
    };
    assert_eq!(to("gl", 9).await.unwrap(), Moved::NoSuchGateway);
    assert_eq!(to("g1", 9).await.unwrap(), Moved::Unchanged);
    assert_eq!(to("g2", 0).await.unwrap(), Moved::Full);
    assert_eq!(due(&store, 10).await, None, "nothing was done");
    assert_eq!(to("g2", 9).await.unwrap(), Moved::From(Some(gateway("g1"))));
    // The one before is to forget it, the other is to have its key.
    assert_eq!(due(&store, 10).await.unwrap().3, [("a".into(), vec![])]);
    let commit = Commit {
        holds: vec![GatewayHolds {
            tenant: acme(),
            gateway: g2.clone(),
            epoch: 0,
            revision: 0,
            public_key: Some(vec![2; 8]),
            received_us: 7,
        }],
        ..at(3)
    };
    store.pipeline.commit(commit).await.unwrap();
    let next = registry.delivery(&acme(), &g2, 10).await.unwrap().unwrap();
    assert_eq!(next.entries[0].keys.len(), 1);
    let found = registry.registration(&acme(), &a).await.unwrap().unwrap();
    assert_eq!((found.gateway, found.generation), (Some(g2), 1));
    for (tenant, device) in [(acme(), device("zz")), (other(), a)] {
        let nobody = registry
            .move_device(&tenant, &device, &gateway("g1"), 9, 9)
            .await;
        assert!(matches!(nobody, Err(Error::NotFound { .. })));
    }
}

#[tokio::test]
async fn another_key_of_a_gateway_stands_in_the_audit_log() {
    let Fresh { store, folder: _f } = with_gateways().await;
    let says = async |position, key: u8, received_us| {
        let commit = Commit {
            holds: vec![GatewayHolds {
                tenant: acme(),
                gateway: gateway("g1"),
                epoch: 0,
                revision: 0,
                public_key: Some(vec![key; 8]),
                received_us,
            }],
            ..at(position)
        };
        store.pipeline.commit(commit).await.unwrap().rekeyed
    };
    let minute = 60_000_000;
    assert_eq!(says(1, 1, minute).await, []);
    assert_eq!(says(2, 1, 2 * minute).await, [], "the same again");
    let rekeyed = |added_again| GatewayRekeyed {
        tenant: acme(),
        gateway: gateway("g1"),
        added_again,
    };
    assert_eq!(says(3, 2, 3 * minute).await, [rekeyed(false)]);
    // In turn, and noted once in a while.
    for n in 0..10_u8 {
        let at = 3 * minute + i64::from(n) * 1_000_000;
        says(4 + u64::from(n), n % 2 + 1, at).await;
    }
    store
        .registry
        .add_gateway(&acme(), &gateway("g1"), 30 * minute)
        .await
        .unwrap();
    assert_eq!(says(20, 3, 31 * minute).await, [rekeyed(true)]);
    store
        .registry
        .contested(&acme(), &gateway("g1"), 32 * minute)
        .await
        .unwrap();
    let filter = AuditFilter::default();
    let log = store.audit.entries(&acme(), &filter, None, 10).await;
    let log: Vec<(String, String)> = log
        .unwrap()
        .items
        .into_iter()
        .map(|it| (it.action, it.detail.unwrap()))
        .collect();
    assert_eq!(log.len(), 3, "{log:?}");
    assert_eq!(log[0].0, "gateways.contest");
    assert!(log[1].1.contains("it was added again"), "{log:?}");
    assert!(
        log[2].1.contains("without having been added again"),
        "{log:?}"
    );
    let found = store.registry.registered_gateways(&acme()).await.unwrap();
    assert_eq!(found[0].rekeyed_us, Some(31 * minute));
    assert_eq!(found[0].contested_us, Some(32 * minute));
}
