use crate::{acme, fresh, other};

#[tokio::test]
async fn an_operator_is_known_until_revoked_and_is_nobody_in_a_tenant() {
    let fresh = fresh().await;
    let port = &fresh.store.operators;
    let (operator, secret) = port.create_operator("ann", None, 5).await.unwrap();
    let found = port.verify_operator(secret.reveal(), 7).await.unwrap();
    assert_eq!(found.as_ref(), Some(&operator));
    let tenancy = &fresh.store.tenancy;
    assert_eq!(
        tenancy.verify_token(secret.reveal(), 7).await.unwrap(),
        None
    );
    assert!(!format!("{secret:?}").contains(secret.reveal()));

    let (other, _) = port.create_operator("bob", None, 5).await.unwrap();
    let listed = || async { port.operators(None, 9).await.unwrap().items };
    let ids: Vec<String> = listed().await.into_iter().map(|row| row.id).collect();
    let mut made = [operator.id.clone(), other.id];
    made.sort();
    assert_eq!(ids, made);

    assert!(port.revoke_operator(&operator.id, 6).await.unwrap());
    assert!(!port.revoke_operator(&operator.id, 7).await.unwrap());
    assert_eq!(
        port.verify_operator(secret.reveal(), 7).await.unwrap(),
        None
    );
    let rows = listed().await;
    let ann = rows.iter().find(|row| row.id == operator.id).unwrap();
    assert_eq!(
        (ann.name.as_str(), ann.created_us, ann.revoked_us),
        ("ann", 5, Some(6))
    );
    for nobody in ["", "stencil_operator_", "x"] {
        assert_eq!(port.verify_operator(nobody, 7).await.unwrap(), None);
    }
    assert!(port.create_operator("", None, 5).await.is_err());
}

#[tokio::test]
async fn an_operator_sees_which_tenants_there_are() {
    let fresh = fresh().await;
    let port = &fresh.store.operators;
    let first = port.overview(None, 1).await.unwrap();
    let rest = port.overview(first.next.as_deref(), 1).await.unwrap();
    assert_eq!((&first.items[0].id, &rest.items[0].id), (&acme(), &other()));
    assert_eq!((first.items[0].created_us, rest.next), (1, None));
}

#[tokio::test]
async fn an_operators_token_opens_nothing_from_its_end_on() {
    let fresh = fresh().await;
    let port = &fresh.store.operators;
    let (operator, secret) = port.create_operator("ann", Some(100), 5).await.unwrap();
    let secret = secret.reveal();
    let found = port.verify_operator(secret, 99).await.unwrap();
    assert_eq!(found.as_ref(), Some(&operator));
    assert_eq!(port.verify_operator(secret, 100).await.unwrap(), None);
    assert_eq!(port.operator_ended(secret, 99).await.unwrap(), None);
    assert_eq!(port.operator_ended(secret, 100).await.unwrap(), Some(100));
    let listed = port.operators(None, 9).await.unwrap().items;
    assert_eq!(listed[0].expires_us, Some(100));
    assert!(port.revoke_operator(&operator.id, 101).await.unwrap());
    assert_eq!(port.operator_ended(secret, 102).await.unwrap(), None);
}
