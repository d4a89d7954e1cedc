//! Rights to command devices that gateways check.

use stencil_store::{
    AccessRights, CredentialStanding, Credentials, KeptCredential, NewRight, RightsOf, StandingSet,
    StoredCredential,
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
