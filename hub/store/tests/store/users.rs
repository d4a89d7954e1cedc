use stencil_store::{Error, MAX_SESSIONS, Opener, Role, UserChange};

use crate::{Fresh, acme, fresh, other};

const IDLE: i64 = 1_000_000_000;
const END: i64 = 10_000_000_000;

fn user(name: &str) -> Opener {
    Opener::User(name.into())
}

async fn with(users: &[(&str, Role)]) -> Fresh {
    let fresh = fresh().await;
    for (name, role) in users {
        fresh
            .store
            .users
            .create_user(&acme(), name, *role, 5)
            .await
            .unwrap();
    }
    fresh
}

#[tokio::test]
async fn a_user_is_made_once_and_found() {
    let fresh = with(&[("ann", Role::Admin)]).await;
    let port = &fresh.store.users;
    let found = port.user(&acme(), "ann").await.unwrap().unwrap();
    assert_eq!(
        (found.role, found.has_password, found.created_us),
        (Role::Admin, false, 5)
    );
    let error = port
        .create_user(&acme(), "ann", Role::Viewer, 6)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Conflict(why) if why.contains("ann")),
        "{error}"
    );
    assert_eq!(port.user(&other(), "ann").await.unwrap(), None);
    assert_eq!(port.users(&other(), None, 9).await.unwrap().items, []);
    // The same name in another tenant is somebody else.
    port.create_user(&other(), "ann", Role::Viewer, 6)
        .await
        .unwrap();
    port.create_user(&acme(), "bob", Role::Viewer, 6)
        .await
        .unwrap();
    let first = port.users(&acme(), None, 1).await.unwrap();
    let rest = port.users(&acme(), first.next.as_deref(), 1).await.unwrap();
    assert_eq!(
        (first.items[0].name.as_str(), rest.items[0].name.as_str()),
        ("ann", "bob")
    );
    assert_eq!(rest.next, None);
}

#[tokio::test]
async fn names_are_plain() {
    let fresh = fresh().await;
    let port = &fresh.store.users;
    for right in ["a", "0", "ann.b-c_d+e@example.com", &"a".repeat(64)] {
        port.create_user(&acme(), right, Role::Viewer, 5)
            .await
            .unwrap();
    }
    for wrong in [
        "",
        "Ann",
        ".a",
        "a b",
        "a\n",
        "ä",
        "a/b",
        "<b>",
        &"a".repeat(65),
    ] {
        let error = port
            .create_user(&acme(), wrong, Role::Viewer, 5)
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::Invalid {
                    what: "user name",
                    ..
                }
            ),
            "{wrong:?}"
        );
    }
    let nobody = stencil_protocol::id::TenantId::parse("nobody").unwrap();
    let error = port
        .create_user(&nobody, "a", Role::Viewer, 5)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::NotFound { what: "tenant", .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_link_sets_a_password_once() {
    let fresh = with(&[("ann", Role::Admin)]).await;
    let port = &fresh.store.users;
    assert_eq!(port.password(&acme(), "ann").await.unwrap(), None);
    let former = port.issue_link(&acme(), "ann", 100).await.unwrap();
    let link = port.issue_link(&acme(), "ann", 100).await.unwrap();
    let (former, link) = (former.reveal(), link.reveal());
    assert_eq!(port.link_owner(former, 50).await.unwrap(), None);
    let owner = port.link_owner(link, 50).await.unwrap();
    assert_eq!(owner, Some((acme(), "ann".to_owned())));
    assert_eq!(port.link_owner(link, 100).await.unwrap(), None);

    for (secret, at) in [(former, 50), (link, 100), ("stencil_link_x", 50), ("", 50)] {
        assert_eq!(port.use_link(secret, "hash", at).await.unwrap(), None);
    }
    assert_eq!(port.password(&acme(), "ann").await.unwrap(), None);
    let (session, ..) = port
        .open_session(&acme(), &user("ann"), None, END, 6)
        .await
        .unwrap();
    let (tenant, name, ended) = port.use_link(link, "hash", 99).await.unwrap().unwrap();
    assert_eq!(
        (tenant, name.as_str(), ended),
        (acme(), "ann", vec![session.id])
    );
    assert_eq!(
        port.password(&acme(), "ann").await.unwrap().as_deref(),
        Some("hash")
    );
    assert_eq!(port.use_link(link, "other", 99).await.unwrap(), None);
    assert_eq!(
        port.password(&acme(), "ann").await.unwrap().as_deref(),
        Some("hash")
    );
}

#[tokio::test]
async fn of_many_who_use_a_link_at_once_one_does() {
    let fresh = with(&[("ann", Role::Admin)]).await;
    let port = &fresh.store.users;
    let link = port.issue_link(&acme(), "ann", 100).await.unwrap();
    let uses = (0..8).map(|n| {
        let (port, link) = (port.clone(), link.reveal().to_owned());
        tokio::spawn(async move { port.use_link(&link, &format!("hash {n}"), 5).await.unwrap() })
    });
    let mut done = 0;
    for used in uses.collect::<Vec<_>>() {
        done += usize::from(used.await.unwrap().is_some());
    }
    assert_eq!(done, 1);
}

#[tokio::test]
async fn a_session_lives_while_it_is_used_and_not_for_ever() {
    let fresh = with(&[("ann", Role::Editor)]).await;
    let port = &fresh.store.users;
    let opened = port
        .open_session(&acme(), &user("ann"), Some("::1"), END, 0)
        .await
        .unwrap();
    let (session, secret) = (opened.0, opened.1.reveal().to_owned());
    let alive = async |at| port.verify_session(&secret, IDLE, at).await.unwrap();
    let mut at = 0;
    while at + IDLE - 1 < END {
        at += IDLE - 1;
        let owner = alive(at).await.unwrap();
        assert_eq!(owner.tenant, acme());
        assert_eq!(owner.session, session.id);
        assert_eq!((owner.opener, owner.role), (user("ann"), Role::Editor));
    }
    let listed = port.sessions(&acme(), &user("ann"), at).await.unwrap();
    assert_eq!(listed[0].seen_us, at);
    assert_eq!(listed[0].address.as_deref(), Some("::1"));
    assert_eq!(alive(END).await, None, "it has its absolute end");

    let opened = port
        .open_session(&acme(), &user("ann"), None, END, 0)
        .await
        .unwrap();
    let idle = opened.1.reveal();
    assert_eq!(port.verify_session(idle, IDLE, IDLE).await.unwrap(), None);
    assert_eq!(
        port.verify_session("stencil_session_", IDLE, 1)
            .await
            .unwrap(),
        None
    );
    assert_eq!(port.forget_expired(IDLE, END).await.unwrap(), 2);
}

#[tokio::test]
async fn a_session_ends_with_what_it_rests_on() {
    let fresh = with(&[("ann", Role::Admin), ("bob", Role::Viewer)]).await;
    let port = &fresh.store.users;
    let open = async || {
        let opened = port
            .open_session(&acme(), &user("bob"), None, END, 10)
            .await
            .unwrap();
        (opened.0.id, opened.1.reveal().to_owned())
    };
    let is_open = async |secret: &str| {
        port.verify_session(secret, IDLE, 11)
            .await
            .unwrap()
            .is_some()
    };

    let (id, secret) = open().await;
    assert!(port.end_session(&acme(), &id).await.unwrap());
    assert!(!port.end_session(&acme(), &id).await.unwrap());
    assert!(!is_open(&secret).await);

    let (id, secret) = open().await;
    let role = UserChange {
        role: Some(Role::Editor),
        ..UserChange::default()
    };
    let (changed, ended) = port.change_user(&acme(), "bob", role, 11).await.unwrap();
    assert_eq!((changed.role, ended), (Role::Editor, vec![id]));
    assert!(!is_open(&secret).await);

    let (id, secret) = open().await;
    let (_, same) = port.change_user(&acme(), "bob", role, 11).await.unwrap();
    assert!(same.is_empty() && is_open(&secret).await);
    let (kept, other) = open().await;
    let ended = port
        .set_password(&acme(), "bob", "hash", Some(&kept))
        .await
        .unwrap();
    assert_eq!(ended, [id]);
    assert!(!is_open(&secret).await && is_open(&other).await);

    let out = UserChange {
        disabled: Some(true),
        ..UserChange::default()
    };
    let link = port.issue_link(&acme(), "bob", END).await.unwrap();
    let (changed, ended) = port.change_user(&acme(), "bob", out, 12).await.unwrap();
    assert_eq!((changed.disabled_us, ended), (Some(12), vec![kept]));
    assert!(!is_open(&other).await);
    assert_eq!(port.password(&acme(), "bob").await.unwrap(), None);
    assert_eq!(port.use_link(link.reveal(), "x", 12).await.unwrap(), None);
    let error = port.issue_link(&acme(), "bob", END).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    // A session that was opened in the same moment opens nothing either.
    let (_, late) = open().await;
    assert!(!is_open(&late).await);
}

#[tokio::test]
async fn a_session_by_a_token_ends_with_it() {
    let fresh = fresh().await;
    let (port, tenancy) = (&fresh.store.users, &fresh.store.tenancy);
    let kind = stencil_store::TokenKind::Api { role: Role::Viewer };
    let token = tenancy
        .create_token(&acme(), kind, "wall", None, 5)
        .await
        .unwrap()
        .token;
    let opener = Opener::Token(token.id.clone());
    let opened = port
        .open_session(&acme(), &opener, None, END, 5)
        .await
        .unwrap();
    let secret = opened.1.reveal();
    let owner = port.verify_session(secret, IDLE, 6).await.unwrap().unwrap();
    assert_eq!((owner.name.as_str(), owner.role), ("wall", Role::Viewer));
    tenancy.revoke_token(&acme(), &token.id, 7).await.unwrap();
    assert_eq!(port.verify_session(secret, IDLE, 8).await.unwrap(), None);
    // Or with the end that the token was given.
    let kind = stencil_store::TokenKind::Api { role: Role::Viewer };
    let ending = tenancy
        .create_token(&acme(), kind, "wall", Some(20), 5)
        .await;
    let ending = Opener::Token(ending.unwrap().token.id);
    let opened = port.open_session(&acme(), &ending, None, END, 5).await;
    let opened = opened.unwrap();
    let secret = opened.1.reveal();
    assert!(
        port.verify_session(secret, IDLE, 19)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(port.verify_session(secret, IDLE, 20).await.unwrap(), None);
    let error = port
        .open_session(&other(), &opener, None, END, 5)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::NotFound { what: "token", .. }),
        "{error}"
    );
}

#[tokio::test]
async fn sessions_are_bounded_and_the_idlest_goes() {
    let fresh = with(&[("ann", Role::Viewer), ("bob", Role::Viewer)]).await;
    let port = &fresh.store.users;
    let open = async |name: &str, at| {
        port.open_session(&acme(), &user(name), None, END, at)
            .await
            .unwrap()
    };
    let others = open("bob", 1).await;
    let mut ids = Vec::new();
    for n in 0..i64::from(MAX_SESSIONS) {
        let (session, _, ended) = open("ann", 10 + n).await;
        assert!(ended.is_empty());
        ids.push(session.id);
    }
    let (_, _, ended) = open("ann", 1_000).await;
    assert_eq!(ended, [ids[0].clone()]);
    let left = port.sessions(&acme(), &user("ann"), 1_000).await.unwrap();
    assert_eq!(left.len(), MAX_SESSIONS as usize);
    let others = port
        .verify_session(others.1.reveal(), IDLE, 2)
        .await
        .unwrap();
    assert!(others.is_some());
}

#[tokio::test]
async fn the_last_admin_stays() {
    let fresh = with(&[("ann", Role::Admin), ("bob", Role::Editor)]).await;
    let port = &fresh.store.users;
    // Another tenant's admin is none of this one's.
    port.create_user(&other(), "eve", Role::Admin, 5)
        .await
        .unwrap();
    let demote = UserChange {
        role: Some(Role::Viewer),
        ..UserChange::default()
    };
    let disable = UserChange {
        disabled: Some(true),
        ..UserChange::default()
    };
    let promote = UserChange {
        role: Some(Role::Admin),
        ..UserChange::default()
    };
    let check = async || {
        let refusals = [
            port.change_user(&acme(), "ann", demote, 6).await.err(),
            port.change_user(&acme(), "ann", disable, 6).await.err(),
            port.delete_user(&acme(), "ann").await.err(),
        ];
        refusals
            .into_iter()
            .all(|error| matches!(error, Some(Error::Conflict(why)) if why.contains("last admin")))
    };
    assert!(check().await);
    port.change_user(&acme(), "bob", promote, 6).await.unwrap();
    port.change_user(&acme(), "bob", disable, 6).await.unwrap();
    assert!(check().await, "one who is shut out is no admin");
    let enable = UserChange {
        disabled: Some(false),
        ..UserChange::default()
    };
    port.change_user(&acme(), "bob", enable, 7).await.unwrap();
    port.delete_user(&acme(), "ann").await.unwrap();
    assert_eq!(port.user(&acme(), "ann").await.unwrap(), None);
    let error = port.delete_user(&acme(), "ann").await.unwrap_err();
    assert!(
        matches!(error, Error::NotFound { what: "user", .. }),
        "{error}"
    );
}

#[tokio::test]
async fn another_tenants_users_and_sessions_cannot_be_touched() {
    let fresh = with(&[("ann", Role::Admin)]).await;
    let port = &fresh.store.users;
    port.set_password(&acme(), "ann", "hash", None)
        .await
        .unwrap();
    let (session, secret, _) = port
        .open_session(&acme(), &user("ann"), None, END, 5)
        .await
        .unwrap();
    let change = UserChange {
        role: Some(Role::Viewer),
        disabled: Some(true),
    };
    assert!(port.change_user(&other(), "ann", change, 6).await.is_err());
    assert!(port.delete_user(&other(), "ann").await.is_err());
    assert!(port.issue_link(&other(), "ann", END).await.is_err());
    assert!(port.set_password(&other(), "ann", "x", None).await.is_err());
    assert!(
        port.open_session(&other(), &user("ann"), None, END, 5)
            .await
            .is_err()
    );
    assert_eq!(port.password(&other(), "ann").await.unwrap(), None);
    let listed = port.sessions(&other(), &user("ann"), 6).await.unwrap();
    assert!(listed.is_empty());
    assert!(!port.end_session(&other(), &session.id).await.unwrap());
    let owner = port.verify_session(secret.reveal(), IDLE, 6).await.unwrap();
    assert_eq!(owner.unwrap().tenant, acme());
}
