use stencil_store::{Error, Role, TokenKind};

use crate::{acme, device, fresh, other};

#[tokio::test]
async fn a_token_proves_its_tenant_until_it_is_revoked() {
    let fresh = fresh().await;
    let port = &fresh.store.tenancy;
    let kind = TokenKind::Device {
        device: device("paho-1"),
    };
    let issued = port
        .create_token(&acme(), kind.clone(), "bench", 7)
        .await
        .unwrap();

    let owner = port
        .verify_token(issued.secret.reveal())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (owner.tenant, owner.kind, owner.name.as_str()),
        (acme(), kind, "bench")
    );
    assert_eq!(owner.id, issued.token.id);

    assert!(
        port.revoke_token(&acme(), &issued.token.id, 9)
            .await
            .unwrap()
    );
    assert!(
        !port
            .revoke_token(&acme(), &issued.token.id, 10)
            .await
            .unwrap()
    );
    assert_eq!(
        port.verify_token(issued.secret.reveal()).await.unwrap(),
        None
    );
    let listed = port.tokens(&acme(), None, 10).await.unwrap();
    assert_eq!(listed.items[0].revoked_us, Some(9));
}

#[tokio::test]
async fn roles_come_back() {
    let fresh = fresh().await;
    let port = &fresh.store.tenancy;
    for role in [Role::Admin, Role::Editor, Role::Viewer] {
        let kind = TokenKind::Api { role };
        let issued = port
            .create_token(&acme(), kind.clone(), "x", 7)
            .await
            .unwrap();
        let owner = port
            .verify_token(issued.secret.reveal())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(owner.kind, kind);
    }
    let first = port.tokens(&acme(), None, 2).await.unwrap();
    let rest = port
        .tokens(&acme(), first.next.as_deref(), 2)
        .await
        .unwrap();
    assert_eq!(
        (first.items.len(), rest.items.len(), rest.next),
        (2, 1, None)
    );
}

#[tokio::test]
async fn what_is_no_token_is_nobody() {
    let fresh = fresh().await;
    let port = &fresh.store.tenancy;
    let kind = TokenKind::Api { role: Role::Admin };
    let issued = port.create_token(&acme(), kind, "x", 7).await.unwrap();
    let mut wrong = issued.secret.reveal().to_owned();
    let last = if wrong.pop() == Some('0') { '1' } else { '0' };
    wrong.push(last);
    for secret in ["", "x", &wrong, &"a".repeat(100_000), "stencil_' OR 1=1 --"] {
        assert_eq!(port.verify_token(secret).await.unwrap(), None);
    }
    assert!(!format!("{issued:?}").contains(issued.secret.reveal()));
}

#[tokio::test]
async fn tenants_are_made_once_and_listed() {
    let fresh = fresh().await;
    let port = &fresh.store.tenancy;
    assert!(!port.create_tenant(&acme(), 5).await.unwrap());
    assert_eq!(
        port.tenants(None, 10).await.unwrap().items,
        [acme(), other()]
    );
}

#[tokio::test]
async fn errors_say_what_was_wrong() {
    let fresh = fresh().await;
    let port = &fresh.store.tenancy;
    let kind = TokenKind::Api { role: Role::Admin };
    let nobody = stencil_protocol::id::TenantId::parse("nobody").unwrap();
    let error = port
        .create_token(&nobody, kind.clone(), "x", 7)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::NotFound { what: "tenant", .. }),
        "{error}"
    );
    let error = port.create_token(&acme(), kind, "", 7).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Invalid {
                what: "token name",
                ..
            }
        ),
        "{error}"
    );
    let error = port.revoke_token(&acme(), "nope", 7).await.unwrap_err();
    assert!(
        matches!(error, Error::NotFound { what: "token", .. }),
        "{error}"
    );
}

#[tokio::test]
async fn the_last_admin_token_is_not_revoked() {
    let fresh = fresh().await;
    let port = &fresh.store.tenancy;
    let make = async |tenant: &stencil_protocol::id::TenantId, role| {
        let kind = TokenKind::Api { role };
        let issued = port.create_token(tenant, kind, "x", 7).await.unwrap();
        issued.token.id
    };
    let first = make(&acme(), Role::Admin).await;
    // None of these is another admin of this tenant.
    let editor = make(&acme(), Role::Editor).await;
    make(&other(), Role::Admin).await;
    let revoked = make(&acme(), Role::Admin).await;
    assert!(port.revoke_token(&acme(), &revoked, 8).await.unwrap());

    let error = port.revoke_token(&acme(), &first, 9).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    assert!(error.to_string().contains("last admin token"), "{error}");
    assert!(!port.revoke_token(&acme(), &revoked, 9).await.unwrap());
    assert!(port.revoke_token(&acme(), &editor, 9).await.unwrap());

    let second = make(&acme(), Role::Admin).await;
    assert!(port.revoke_token(&acme(), &first, 10).await.unwrap());
    assert!(port.revoke_token(&acme(), &second, 11).await.is_err());
}
