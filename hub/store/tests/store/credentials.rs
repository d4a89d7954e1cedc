//! Credentials: each has a bit of its own, each cause one, and what is revoked stays so.

use stencil_protocol::id::TenantId;
use stencil_store::{
    CredentialStanding, Credentials, Erased, Error, KeptCredential, STATUS_LIST_BITS, StandingSet,
    StoredCredential,
};

use crate::{acme, fresh, other};

fn credential(n: u32) -> StoredCredential {
    StoredCredential {
        credential: format!("urn:uuid:{n}"),
        kind: "CalibrationCertificate".into(),
        subject: "did:web:hub.example:tenants:acme:devices:d-1".into(),
        list: 1,
        bit: 1_000 + n,
        standing: CredentialStanding::Good,
        cause: Some(format!("{n:064}")),
        issued_by: Some("workflow".into()),
        body: "{}".into(),
        issued_us: i64::from(n),
        valid_until_us: (n > 1).then_some(9),
        changed_us: i64::from(n),
    }
}

async fn made(credentials: &dyn Credentials, tenant: &TenantId, n: u32) {
    let kept = credentials.keep_credential(tenant, &credential(n)).await;
    assert_eq!(kept.unwrap(), KeptCredential::Made);
}

#[tokio::test]
async fn the_first_seed_of_an_issuer_stays() {
    let fresh = fresh().await;
    let credentials = fresh.store.credentials.as_ref();
    assert_eq!(credentials.issuer(&acme()).await.unwrap(), None);
    let first = credentials.put_issuer(&acme(), b"one", 5).await.unwrap();
    let second = credentials.put_issuer(&acme(), b"two", 6).await.unwrap();
    assert_eq!((first, second), (b"one".to_vec(), b"one".to_vec()));
    assert_eq!(credentials.issuer(&other()).await.unwrap(), None);
    let nobody = TenantId::parse("nobody").unwrap();
    let error = credentials.put_issuer(&nobody, b"x", 5).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn each_cause_has_one_credential_and_each_credential_a_bit() {
    let fresh = fresh().await;
    let credentials = fresh.store.credentials.as_ref();
    let acme = acme();
    assert_eq!(credentials.open_status_list(&acme).await.unwrap(), 1);
    made(credentials, &acme, 1).await;
    let again = StoredCredential {
        credential: "urn:uuid:again".into(),
        bit: 7,
        ..credential(1)
    };
    let kept = credentials.keep_credential(&acme, &again).await.unwrap();
    assert_eq!(kept, KeptCredential::Before(Box::new(credential(1))));
    let same_bit = StoredCredential {
        bit: 1_001,
        ..credential(2)
    };
    let kept = credentials.keep_credential(&acme, &same_bit).await.unwrap();
    assert_eq!(kept, KeptCredential::BitTaken);
    let beyond = StoredCredential {
        bit: STATUS_LIST_BITS,
        ..credential(2)
    };
    let error = credentials.keep_credential(&acme, &beyond).await;
    assert!(matches!(error, Err(Error::Invalid { .. })), "{error:?}");
    // Another tenant has lists of its own, and sees nothing of these.
    made(credentials, &other(), 1).await;
    let cause = credential(1).cause.unwrap();
    let found = credentials.credential_of_cause(&acme, &cause).await;
    assert_eq!(found.unwrap(), Some(credential(1)));
    let found = credentials.credential(&other(), "urn:uuid:again").await;
    assert_eq!(found.unwrap(), None);
}

#[tokio::test]
async fn pages_are_of_the_newest_first() {
    let fresh = fresh().await;
    let credentials = fresh.store.credentials.as_ref();
    for n in 1..=3 {
        made(credentials, &acme(), n).await;
    }
    let page = credentials.credentials(&acme(), None, 2).await.unwrap();
    // Without what was given out.
    let listed = |n| StoredCredential {
        body: String::new(),
        ..credential(n)
    };
    assert_eq!(page.items, [listed(3), listed(2)]);
    let next = page.next.as_deref();
    let page = credentials.credentials(&acme(), next, 2).await.unwrap();
    assert_eq!((page.items, page.next), (vec![listed(1)], None));
}

#[tokio::test]
async fn what_is_revoked_stays_so() {
    use CredentialStanding::{Good, Revoked, Suspended};
    let fresh = fresh().await;
    let credentials = fresh.store.credentials.as_ref();
    let acme = acme();
    for n in 1..=3 {
        made(credentials, &acme, n).await;
    }
    for (n, standing, expected) in [
        (1, Suspended, StandingSet::Set),
        (1, Suspended, StandingSet::Unchanged),
        (1, Good, StandingSet::Set),
        (2, Suspended, StandingSet::Set),
        (2, Revoked, StandingSet::Set),
        (2, Good, StandingSet::Revoked),
        (3, Suspended, StandingSet::Set),
        (4, Revoked, StandingSet::NotFound),
    ] {
        let id = format!("urn:uuid:{n}");
        let set = credentials.set_standing(&acme, &id, standing, 50).await;
        assert_eq!(set.unwrap(), expected, "{n} {standing:?}");
    }
    let bits = |standing| credentials.status_bits(&acme, 1, standing);
    assert_eq!(bits(Revoked).await.unwrap(), Some(vec![1_002]));
    assert_eq!(bits(Suspended).await.unwrap(), Some(vec![1_003]));
    assert_eq!(
        credentials.status_bits(&acme, 2, Revoked).await.unwrap(),
        None
    );
    let theirs = other();
    let set = credentials.set_standing(&theirs, "urn:uuid:1", Revoked, 50);
    assert_eq!(set.await.unwrap(), StandingSet::NotFound);
}

#[tokio::test]
async fn a_tenant_that_is_erased_leaves_none() {
    let fresh = fresh().await;
    let credentials = fresh.store.credentials.as_ref();
    made(credentials, &acme(), 1).await;
    made(credentials, &other(), 1).await;
    credentials.put_issuer(&acme(), b"one", 5).await.unwrap();
    let erased = Erased::Tenant(acme());
    fresh.store.keeping.erase(1, &erased).await.unwrap();
    assert_eq!(credentials.issuer(&acme()).await.unwrap(), None);
    assert_eq!(
        credentials.credential(&acme(), "urn:uuid:1").await.unwrap(),
        None
    );
    let left = credentials
        .credential(&other(), "urn:uuid:1")
        .await
        .unwrap();
    assert_eq!(left, Some(credential(1)));
}

#[tokio::test]
async fn what_ended_long_ago_makes_room() {
    let fresh = fresh().await;
    let credentials = fresh.store.credentials.as_ref();
    let acme = acme();
    for n in 1..=3 {
        made(credentials, &acme, n).await;
    }
    let right = StoredCredential {
        kind: "DeviceAccessCredential".into(),
        ..credential(4)
    };
    let kept = credentials.keep_credential(&acme, &right).await.unwrap();
    assert_eq!(kept, KeptCredential::Made);
    // 1 has no end; 2 and 3 have ended at 9, as the right has, which stays.
    let forget = async |before_us, limit| {
        let forgotten = credentials.forget_ended_credentials(before_us, limit);
        forgotten.await.unwrap()
    };
    assert_eq!(forget(9, 100).await, 0);
    assert_eq!(forget(10, 1).await, 1);
    assert_eq!(forget(10, 100).await, 1);
    assert_eq!(forget(10, 100).await, 0);
    let left = credentials.credentials(&acme, None, 9).await.unwrap();
    let left: Vec<_> = left.items.into_iter().map(|it| it.credential).collect();
    assert_eq!(left, ["urn:uuid:4", "urn:uuid:1"]);
    // Their bits may be drawn again.
    made(credentials, &acme, 2).await;
}

#[tokio::test]
async fn a_name_that_has_issued_is_nobody_elses() {
    let fresh = fresh().await;
    let (credentials, tenancy) = (&fresh.store.credentials, &fresh.store.tenancy);
    credentials.put_issuer(&acme(), b"one", 5).await.unwrap();
    for (position, tenant) in [(1, acme()), (2, other())] {
        let erased = Erased::Tenant(tenant);
        fresh.store.keeping.erase(position, &erased).await.unwrap();
    }
    assert!(tenancy.create_tenant(&other(), 9).await.unwrap());
    assert!(credentials.has_issued(&acme()).await.unwrap());
    assert!(!credentials.has_issued(&other()).await.unwrap());
    let upper = |tenant: TenantId| TenantId::parse(&tenant.as_str().to_uppercase()).unwrap();
    for like in [upper(acme()), upper(other())] {
        let error = tenancy.create_tenant(&like, 9).await.unwrap_err();
        assert!(
            matches!(&error, Error::Conflict(why) if why.contains("capital letters alone")),
            "{error}"
        );
    }
    let error = tenancy.create_tenant(&acme(), 9).await.unwrap_err();
    assert!(
        matches!(&error, Error::Conflict(why) if why.contains("take another name")),
        "{error}"
    );
}
