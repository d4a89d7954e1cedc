//! Signing in to the live page.

use super::{Answer, Served};

#[track_caller]
fn signed_in(answer: &Answer, secret: &str) -> String {
    assert_eq!(answer.status, 303, "{answer:?}");
    assert_eq!(answer.header("location"), Some("/"));
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["path=/", "httponly", "samesite=strict", "max-age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(cookie.contains(&secret.to_lowercase()));
    format!("stencil_session={secret}")
}

#[tokio::test]
async fn by_link_and_by_form() {
    let served = Served::start().await;
    let secret = &served.tokens.reader;
    let by_link = served.get(&format!("/login?token={secret}")).send().await;
    let cookie = signed_in(&by_link, secret);
    let page = served.get("/").header("cookie", &cookie).send().await;
    assert_eq!(page.status, 200);
    assert!(!page.body.contains(secret.as_str()));

    let form = served.get("/login").send().await;
    assert!(
        form.body
            .contains("<form method=\"post\" action=\"/login\">")
    );
    let named = form.body.split("--role ").nth(1).unwrap();
    let named = named.split_whitespace().next().unwrap();
    assert!(stencil_store::Role::parse(named).is_some(), "{named}");
    let by_form = served
        .ask("POST", "/login")
        .body(format!("token=+{secret}+"))
        .send()
        .await;
    signed_in(&by_form, secret);

    let out = served.ask("POST", "/logout").send().await;
    assert_eq!((out.status, out.header("location")), (303, Some("/login")));
    assert!(
        out.header("set-cookie")
            .unwrap()
            .starts_with("stencil_session=; max-age=0")
    );
}

#[tokio::test]
async fn not_with_another_token() {
    let served = Served::start().await;
    for token in [
        "",
        "nonsense",
        "a;b",
        "%0d%0aset-cookie:x",
        &"x".repeat(900),
    ] {
        for answer in [
            served.get(&format!("/login?token={token}")).send().await,
            served
                .ask("POST", "/login")
                .body(format!("token={token}"))
                .send()
                .await,
        ] {
            assert_eq!(answer.status, 401, "{answer:?}");
            assert!(answer.header("set-cookie").is_none());
            assert!(answer.body.contains("This token is unknown or revoked."));
        }
    }
    let device = format!("/login?token={}", served.tokens.device);
    let answer = served.get(&device).send().await;
    assert_eq!(answer.status, 403);
    assert!(answer.header("set-cookie").is_none());
    for form in ["", "token", "name=x", "token=a&token=b", "\u{0}\u{1}"] {
        let answer = served.ask("POST", "/login").body(form).send().await;
        assert!(matches!(answer.status, 400 | 401), "{form}: {answer:?}");
        assert!(answer.header("set-cookie").is_none());
    }
    served
        .ask("POST", "/login")
        .body(vec![b'a'; 2_000])
        .send()
        .await
        .problem(413);
    let wrong_cookie = served
        .get("/")
        .header("cookie", "stencil_session=nonsense")
        .send()
        .await;
    assert_eq!(wrong_cookie.header("location"), Some("/login"));
}
