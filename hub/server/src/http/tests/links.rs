//! One-time links.

use stencil_store::Role;

use super::{Answer, NOW_US, PASSWORD, Served, seed};

async fn link(served: &Served, name: &str) -> String {
    let users = &served.store.users;
    let known = users.user(&seed::acme(), name).await.unwrap();
    if known.is_none() {
        users
            .create_user(&seed::acme(), name, Role::Viewer, NOW_US)
            .await
            .unwrap();
    }
    let expires_us = NOW_US + 3_600_000_000;
    let secret = users.issue_link(&seed::acme(), name, expires_us).await;
    format!("/link/{}", secret.unwrap().reveal())
}

async fn set(served: &Served, link: &str, password: &str, again: &str) -> Answer {
    let form = format!("password={password}&again={again}");
    served.ask("POST", link).body(form).send().await
}

#[tokio::test]
async fn a_link_sets_a_password_once() {
    let served = Served::start().await;
    let link = link(&served, "ann").await;
    for _ in 0..3 {
        let form = served.get(&link).send().await;
        assert_eq!(form.status, 200, "{form:?}");
        assert!(form.body.contains("ann") && form.body.contains("acme"));
        assert_eq!(form.header("cache-control"), Some("no-store"));
        assert_eq!(form.header("referrer-policy"), Some("no-referrer"));
    }
    let secret = set(&served, &link, PASSWORD, PASSWORD).await.session();
    let me = served.get("/api/v1/me").session(&secret).send().await.ok();
    assert_eq!(
        (&me["name"], &me["tenant"]),
        (&"ann".into(), &"acme".into())
    );
    let again = set(&served, &link, "another-password-1", "another-password-1").await;
    assert_eq!(again.status, 404, "{again:?}");
    assert_eq!(served.get(&link).send().await.status, 404);
    served.sign_in("acme", "ann", PASSWORD).await.session();
    let other = served.sign_in("acme", "ann", "another-password-1").await;
    assert_eq!(other.status, 401);
}

#[tokio::test]
async fn what_is_no_password_uses_nothing_up() {
    let served = Served::start().await;
    let link = link(&served, "ann").await;
    for (password, again, told) in [
        ("short", "short", "12 or more"),
        (PASSWORD, "correct-horse-batterz", "not the same"),
        ("aaaaaaaaaaaaaa", "aaaaaaaaaaaaaa", "different characters"),
    ] {
        let answer = set(&served, &link, password, again).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.contains(told), "{answer:?}");
        assert!(!answer.body.contains(password), "{answer:?}");
    }
    for form in ["", "password=x", "password=x&again=x&role=admin"] {
        let answer = served.ask("POST", &link).body(form).send().await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    let foreign = served.ask("POST", &link);
    let form = format!("password={PASSWORD}&again={PASSWORD}");
    let foreign = foreign.header("origin", "http://evil.example").body(form);
    foreign.send().await.problem(403);
    set(&served, &link, PASSWORD, PASSWORD).await.session();
}

#[tokio::test]
async fn what_is_no_link_opens_nothing() {
    let served = Served::start().await;
    let first = link(&served, "ann").await;
    let second = link(&served, "ann").await;
    let expired = link(&served, "ben").await;
    let nonsense = format!("/link/stencil_link_{}", "0".repeat(64));
    let long = format!("/link/{}", "x".repeat(5_000));
    served.later(3_599);
    set(&served, &second, PASSWORD, PASSWORD).await.session();
    served.later(1);
    for none in [&first, &expired, &nonsense, &long, &"/link/%00".to_owned()] {
        let form = served.get(none).send().await;
        assert_eq!(form.status, 404, "{form:?}");
        let answer = set(&served, none, PASSWORD, PASSWORD).await;
        assert_eq!(answer.status, 404, "{answer:?}");
        assert!(answer.header("set-cookie").is_none());
    }
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_of_the_old_one() {
    let served = Served::start().await;
    let first = link(&served, "ann").await;
    let session = set(&served, &first, PASSWORD, PASSWORD).await.session();
    let second = link(&served, "ann").await;
    served.get("/api/v1/me").session(&session).send().await.ok();
    let fresh = set(&served, &second, "another-password-1", "another-password-1").await;
    let ended = served.get("/api/v1/me").session(&session).send().await;
    ended.problem(401);
    let fresh = fresh.session();
    served.get("/api/v1/me").session(&fresh).send().await.ok();
}
