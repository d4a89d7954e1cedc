//! Rights to command devices that gateways check.

use stencil_protocol::id::DeviceId;
use stencil_store::{
    AccessRights, CredentialStanding, Credentials, Error, KeptCredential, MAX_DEVICE_TOKEN_RIGHTS,
    MAX_TOKEN_RIGHTS, NewRight, RightStanding, RightsOf, StandingSet, StoredCredential,
    TOKEN_SOURCE,
};

use crate::{acme, device, fresh, other};

const HOLDER: [u8; 20] = [7; 20];

pub(crate) async fn given(
    (rights, credentials): (&dyn AccessRights, &dyn Credentials),
    tenant: &stencil_protocol::id::TenantId,
    n: u32,
    until_us: Option<i64>,
) -> String {
    let id = format!("urn:uuid:{n}");
    let credential = StoredCredential {
        credential: id.clone(),
        kind: "DeviceAccessCredential".into(),
        subject: "did:pkh:eip155:1:0x07".into(),
        list: 1,
        bit: n,
        standing: CredentialStanding::Good,
        cause: None,
        issued_by: None,
        body: "{}".into(),
        issued_us: i64::from(n),
        valid_until_us: until_us,
        changed_us: i64::from(n),
    };
    let kept = credentials.keep_credential(tenant, &credential).await;
    assert_eq!(kept.unwrap(), KeptCredential::Made);
    let right = NewRight {
        right: id.clone(),
        holder: HOLDER,
        device: device("door-1"),
        source: "api".into(),
        body: "{}".into(),
        cause: None,
        until_us,
        made_us: i64::from(n),
    };
    assert!(rights.put_right(tenant, &right).await.unwrap());
    id
}

#[tokio::test]
async fn what_is_over_or_was_taken_away_long_ago_is_forgotten_with_its_credential() {
    let fresh = fresh().await;
    let (rights, credentials) = (
        fresh.store.access.as_ref(),
        fresh.store.credentials.as_ref(),
    );
    let ports = (rights, credentials);
    let acme = acme();
    given(ports, &acme, 1, Some(100)).await;
    given(ports, &acme, 2, Some(900)).await;
    given(ports, &acme, 3, None).await;
    let revoked = given(ports, &acme, 4, None).await;
    let late = given(ports, &acme, 5, Some(900)).await;
    let suspended = given(ports, &acme, 6, None).await;
    for (id, standing, now_us) in [
        (&revoked, CredentialStanding::Revoked, 100),
        (&late, CredentialStanding::Revoked, 600),
        (&suspended, CredentialStanding::Suspended, 100),
    ] {
        let set = credentials.set_standing(&acme, id, standing, now_us).await;
        assert_eq!(set.unwrap(), StandingSet::Set);
    }
    given(ports, &other(), 1, Some(100)).await;
    let forget = async |limit| {
        let forgotten = rights.forget_ended_rights(&acme, 500, limit).await;
        forgotten.unwrap()
    };
    assert_eq!(forget(1).await, 1);
    assert_eq!(forget(9).await, 1);
    assert_eq!(forget(9).await, 0);
    let left = async |of: RightsOf<'_>| {
        let page = rights.rights(of, None, 10).await.unwrap().items;
        let ids = page.into_iter().map(|it| it.right.right);
        ids.collect::<Vec<_>>()
    };
    let of = RightsOf::Tenant(&acme);
    let stay = [6, 5, 3, 2].map(|n| format!("urn:uuid:{n}"));
    assert_eq!(left(of).await, stay);
    assert_eq!(
        left(RightsOf::Holder(&HOLDER)).await.len(),
        5,
        "in all tenants"
    );
    let kept = credentials.credentials(&acme, None, 9).await.unwrap();
    let kept: Vec<_> = kept.items.into_iter().map(|it| it.credential).collect();
    assert_eq!(kept, stay);
    let bits = credentials.status_bits(&acme, 1, CredentialStanding::Revoked);
    assert_eq!(bits.await.unwrap(), Some(vec![5]));
    // A page after another, of either.
    let first = rights.rights(of, None, 3).await.unwrap();
    let rest = rights.rights(of, first.next.as_deref(), 3).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len()), (3, 1));
}

/// A right that a token stands for, with its credential.
fn of_token(
    n: u32,
    holder: [u8; 20],
    device: DeviceId,
    until_us: Option<i64>,
) -> (StoredCredential, NewRight) {
    let at_us = i64::from(n);
    let credential = StoredCredential {
        credential: format!("urn:uuid:{n}"),
        kind: "DeviceAccessCredential".into(),
        subject: "did:pkh:eip155:1:0x07".into(),
        list: 1,
        bit: n,
        standing: CredentialStanding::Good,
        cause: None,
        issued_by: None,
        body: "{}".into(),
        issued_us: at_us,
        valid_until_us: until_us,
        changed_us: at_us,
    };
    let right = NewRight {
        right: credential.credential.clone(),
        holder,
        device,
        source: TOKEN_SOURCE.into(),
        body: "{}".into(),
        cause: None,
        until_us,
        made_us: at_us,
    };
    (credential, right)
}

#[tokio::test]
async fn a_holder_has_so_many_rights_to_a_device_and_one_too_many_leaves_no_credential() {
    let fresh = fresh().await;
    let (rights, credentials) = (&fresh.store.access, &fresh.store.credentials);
    let (acme, door) = (acme(), device("door-1"));
    let give = async |n: u32, holder, device: &DeviceId, until_us| {
        let (credential, right) = of_token(n, holder, device.clone(), until_us);
        rights.issue_right(&acme, &credential, &right).await
    };
    let most = MAX_TOKEN_RIGHTS;
    // One is over by then.
    give(1, HOLDER, &door, Some(50)).await.unwrap();
    for n in 100..100 + most {
        let made = give(n, HOLDER, &door, None).await.unwrap();
        assert_eq!(made, KeptCredential::Made);
    }
    let count = async || {
        let page = credentials.credentials(&acme, None, 1_000).await.unwrap();
        page.items.len()
    };
    let before = count().await;
    for n in 200..203 {
        let refused = give(n, HOLDER, &door, None).await.unwrap_err();
        let told = refused.to_string();
        assert!(
            matches!(refused, Error::Conflict(_)) && told.contains("have the tenant take one away"),
            "{told}"
        );
    }
    assert_eq!(count().await, before, "no credential without its right");
    // That is of this account and this device alone.
    give(210, [8; 20], &door, None).await.unwrap();
    give(211, HOLDER, &device("door-2"), None).await.unwrap();
    let mine = rights.rights_of_tokens(&acme, &door, &HOLDER, 220).await;
    let mine: Vec<_> = mine.unwrap().into_iter().map(|it| it.right.right).collect();
    assert_eq!(mine.len(), usize::try_from(most).unwrap());
    assert_eq!(
        mine[0],
        format!("urn:uuid:{}", 99 + most),
        "the newest first"
    );
    assert!(!mine.contains(&"urn:uuid:1".to_owned()), "it is over");
    // One that was taken away makes room,
    let revoked = CredentialStanding::Revoked;
    let set = credentials.set_standing(&acme, "urn:uuid:100", revoked, 300);
    assert_eq!(set.await.unwrap(), StandingSet::Set);
    give(301, HOLDER, &door, None).await.unwrap();
    give(302, HOLDER, &door, None).await.unwrap_err();
    // and one that is suspended because its token is gone ends; not one that somebody has suspended.
    let suspended = CredentialStanding::Suspended;
    let set = credentials.set_standing(&acme, "urn:uuid:101", suspended, 310);
    assert_eq!(set.await.unwrap(), StandingSet::Set);
    give(311, HOLDER, &door, None).await.unwrap_err();
    let sold = [(RightStanding::Sold, 320)];
    let set = fresh
        .store
        .judging
        .set_by_cause(&acme, "urn:uuid:102", &sold, 320);
    assert_eq!(set.await.unwrap(), StandingSet::Set);
    give(330, HOLDER, &door, None).await.unwrap();
    let gone = rights.right(&acme, "urn:uuid:102").await.unwrap().unwrap();
    assert_eq!(gone.right.until_us, Some(330));
    give(331, HOLDER, &door, None).await.unwrap_err();
}

/// A passport that goes through many accounts of one owner's.
#[tokio::test]
async fn a_device_has_so_many_rights_of_all_its_holders_and_who_has_sold_makes_way() {
    let fresh = fresh().await;
    let (rights, judging) = (&fresh.store.access, &fresh.store.judging);
    let (acme, door) = (acme(), device("door-1"));
    let account = |n: u32| {
        let mut account = [0; 20];
        account[..4].copy_from_slice(&(n / MAX_TOKEN_RIGHTS).to_be_bytes());
        account
    };
    for n in 1..=MAX_DEVICE_TOKEN_RIGHTS {
        let (credential, right) = of_token(n, account(n), door.clone(), None);
        rights
            .issue_right(&acme, &credential, &right)
            .await
            .unwrap();
    }
    let next = MAX_DEVICE_TOKEN_RIGHTS + 1;
    let (credential, right) = of_token(next, [9; 20], door.clone(), None);
    let refused = rights.issue_right(&acme, &credential, &right).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    let elsewhere = of_token(next + 1, [9; 20], device("door-2"), None);
    let made = rights.issue_right(&acme, &elsewhere.0, &elsewhere.1).await;
    assert_eq!(made.unwrap(), KeptCredential::Made);
    for (n, at_us) in [(7, 20), (5, 10)] {
        let (right, sold) = (format!("urn:uuid:{n}"), [(RightStanding::Sold, at_us)]);
        let set = judging.set_by_cause(&acme, &right, &sold, at_us).await;
        assert_eq!(set.unwrap(), StandingSet::Set);
    }
    let made = rights.issue_right(&acme, &credential, &right).await;
    assert_eq!(made.unwrap(), KeptCredential::Made);
    let ends = async |n: u32| {
        let right = rights.right(&acme, &format!("urn:uuid:{n}")).await;
        right.unwrap().unwrap().right.until_us
    };
    assert_eq!(
        (ends(5).await, ends(7).await),
        (Some(i64::from(next)), None)
    );
}
