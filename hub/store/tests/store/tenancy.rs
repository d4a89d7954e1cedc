use stencil_store::{Error, Role, TokenEnd, TokenKind};

use crate::{acme, device, fresh, other};

#[tokio::test]
async fn a_token_proves_its_tenant_until_it_is_revoked() {
    let fresh = fresh().await;
    let port = &fresh.store.tenancy;
    let kind = TokenKind::Device {
        device: device("paho-1"),
    };
    let issued = port
        .create_token(&acme(), kind.clone(), "bench", None, 7)
        .await
        .unwrap();

    let owner = port
        .verify_token(issued.secret.reveal(), 7)
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
        port.verify_token(issued.secret.reveal(), 7).await.unwrap(),
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
            .create_token(&acme(), kind.clone(), "x", None, 7)
            .await
            .unwrap();
        let owner = port
            .verify_token(issued.secret.reveal(), 7)
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
    let issued = port
        .create_token(&acme(), kind, "x", None, 7)
        .await
        .unwrap();
    let mut wrong = issued.secret.reveal().to_owned();
    let last = if wrong.pop() == Some('0') { '1' } else { '0' };
    wrong.push(last);
    for secret in ["", "x", &wrong, &"a".repeat(100_000), "stencil_' OR 1=1 --"] {
        assert_eq!(port.verify_token(secret, 7).await.unwrap(), None);
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
        .create_token(&nobody, kind.clone(), "x", None, 7)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::NotFound { what: "tenant", .. }),
        "{error}"
    );
    let error = port
        .create_token(&acme(), kind, "", None, 7)
        .await
        .unwrap_err();
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
        let issued = port.create_token(tenant, kind, "x", None, 7).await.unwrap();
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

#[tokio::test]
async fn a_token_opens_nothing_from_its_end_on() {
    let fresh = fresh().await;
    let port = &fresh.store.tenancy;
    let kind = TokenKind::Api { role: Role::Admin };
    let tenant = acme();
    let make = async |end_us| {
        let made = port.create_token(&tenant, kind.clone(), "x", end_us, 7);
        made.await.unwrap()
    };
    let (ending, endless) = (make(Some(100)).await, make(None).await);
    let (secret, id) = (ending.secret.reveal(), ending.token.id.clone());
    let known = async |secret, at_us| {
        let owner = port.verify_token(secret, at_us).await.unwrap();
        owner.is_some()
    };
    assert!(known(secret, 99).await);
    assert!(!known(secret, 100).await && !known(secret, i64::MAX).await);
    assert!(known(endless.secret.reveal(), i64::MAX).await);

    // Who has it may know; of another nothing is said.
    assert_eq!(port.token_ended(secret, 99).await.unwrap(), None);
    assert_eq!(port.token_ended(secret, 100).await.unwrap(), Some(100));
    let endless_secret = endless.secret.reveal();
    assert_eq!(
        port.token_ended(endless_secret, i64::MAX).await.unwrap(),
        None
    );
    assert_eq!(port.token_ended("stencil_", 100).await.unwrap(), None);

    let listed = port.tokens(&acme(), None, 10).await.unwrap().items;
    let end_of = |id: &str| listed.iter().find(|it| it.id == id).unwrap().expires_us;
    assert_eq!((end_of(&id), end_of(&endless.token.id)), (Some(100), None));

    // It was the last other admin: with its end nobody else could make a token.
    let error = port
        .revoke_token(&acme(), &endless.token.id, 100)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("last admin token"), "{error}");
    assert!(port.revoke_token(&acme(), &id, 100).await.unwrap());
    assert_eq!(port.token_ended(secret, 100).await.unwrap(), None);
}

#[tokio::test]
async fn ends_of_tokens_come_in_their_order_and_in_parts() {
    let fresh = fresh().await;
    let port = &fresh.store.tenancy;
    let kind = TokenKind::Api { role: Role::Viewer };
    let mut ends = Vec::new();
    for (tenant, end_us) in [
        (acme(), Some(200)),
        (other(), Some(100)),
        (acme(), Some(100)),
        (acme(), Some(100)),
        (acme(), Some(301)),
        (acme(), None),
    ] {
        let made = port.create_token(&tenant, kind.clone(), "x", end_us, 7);
        let id = made.await.unwrap().token.id;
        ends.extend(end_us.map(|at_us| TokenEnd {
            at_us,
            tenant: tenant.to_string(),
            id,
        }));
    }
    ends.retain(|end| end.at_us <= 300);
    ends.sort_by(|a, b| (a.at_us, &a.tenant, &a.id).cmp(&(b.at_us, &b.tenant, &b.id)));
    let (mut found, mut after) = (Vec::new(), TokenEnd::from(100));
    loop {
        let part = port.tokens_ended(&after, 300, 2).await.unwrap();
        assert!(part.len() <= 2);
        let Some((_, last)) = part.last().cloned() else {
            break;
        };
        found.extend(part.into_iter().map(|(tenant, end)| {
            assert_eq!(tenant.as_str(), end.tenant);
            end
        }));
        after = last;
    }
    assert_eq!(found, ends);
    let none = port
        .tokens_ended(&TokenEnd::from(101), 199, 9)
        .await
        .unwrap();
    assert!(none.is_empty(), "{none:?}");
}
