//! Signing in to the console.

use stencil_store::Role;

use super::{Answer, PASSWORD, Served, seed};

#[track_caller]
fn signed_in(answer: &Answer) -> String {
    let secret = answer.session();
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["path=/", "httponly", "samesite=strict", "max-age=2592000"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(secret.starts_with("stencil_session_"), "{secret}");
    secret
}

#[tokio::test]
async fn by_link_and_by_form_with_a_token() {
    let served = Served::start().await;
    let token = &served.tokens.reader;
    let by_link = served.get(&format!("/login?token={token}")).send().await;
    let secret = signed_in(&by_link);
    assert!(!by_link.head.contains(token.as_str()), "{by_link:?}");
    let page = served.get("/").session(&secret).send().await;
    assert_eq!(page.status, 200);
    assert!(!page.body.contains(token.as_str()) && !page.body.contains(&secret));

    let form = served.get("/login").send().await;
    assert!(form.body.contains("method=\"post\" action=\"/login\""));
    let named = form.body.split("--role ").nth(1).unwrap();
    let named = named.split_whitespace().next().unwrap();
    assert!(Role::parse(named).is_some(), "{named}");
    let by_form = served
        .ask("POST", "/login")
        .body(format!("token=+{token}+"))
        .send()
        .await;
    signed_in(&by_form);
}

#[tokio::test]
async fn with_a_password() {
    let served = Served::start().await;
    served.user(&seed::acme(), "ann", Role::Editor).await;
    let secret = signed_in(&served.sign_in("acme", "ann", PASSWORD).await);
    let me = served.get("/api/v1/me").session(&secret).send().await.ok();
    for (field, right) in [
        ("tenant", "acme"),
        ("kind", "user"),
        ("name", "ann"),
        ("role", "editor"),
    ] {
        assert_eq!(me[field], right, "{me}");
    }
    let user = served.store.users.user(&seed::acme(), "ann").await.unwrap();
    assert!(user.unwrap().signed_in_us.is_some());

    for (tenant, name, password) in [
        ("acme", "ann", "correct-horse-batterz"),
        ("acme", "ann", ""),
        ("acme", "ben", PASSWORD),
        ("rival", "ann", PASSWORD),
        ("nobody", "ann", PASSWORD),
        ("a%2fb", "ann", PASSWORD),
        ("acme", "", PASSWORD),
    ] {
        let answer = served.sign_in(tenant, name, password).await;
        assert_eq!(answer.status, 401, "{tenant} {name} {password}: {answer:?}");
        assert!(answer.header("set-cookie").is_none());
        assert!(answer.body.contains("This is no tenant, user and password"));
        assert!(!answer.body.contains(PASSWORD));
    }
    for (tenant, name) in [
        (String::from("x"), "y".repeat(900)),
        ("z".repeat(900), String::from("y")),
    ] {
        let answer = served.sign_in(&tenant, &name, PASSWORD).await;
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    let long = "p".repeat(3_000);
    assert_eq!(served.sign_in("acme", "ann", &long).await.status, 401);
}

#[tokio::test]
async fn not_without_a_password_and_not_when_shut_out() {
    let served = Served::start().await;
    let (acme, users) = (seed::acme(), &served.store.users);
    users
        .create_user(&acme, "new", Role::Admin, super::NOW_US)
        .await
        .unwrap();
    assert_eq!(served.sign_in("acme", "new", "").await.status, 401);
    served.user(&acme, "ann", Role::Viewer).await;
    let change = stencil_store::UserChange {
        disabled: Some(true),
        role: None,
    };
    users.change_user(&acme, "ann", change, 1).await.unwrap();
    assert_eq!(served.sign_in("acme", "ann", PASSWORD).await.status, 401);
}

#[tokio::test]
async fn guessing_waits() {
    let served = Served::start().await;
    served.user(&seed::acme(), "ann", Role::Viewer).await;
    for _ in 0..5 {
        let answer = served.sign_in("acme", "ann", "wrong").await;
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    let answer = served.sign_in("acme", "ann", PASSWORD).await;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.header("set-cookie").is_none());
    assert!(answer.body.contains("Try again in"));
    let wait: i64 = answer.header("retry-after").unwrap().parse().unwrap();
    served.later(wait);
    let again = served.sign_in("acme", "ann", PASSWORD).await;
    signed_in(&again);
    // And what has succeeded is forgotten.
    for _ in 0..4 {
        assert_eq!(served.sign_in("acme", "ann", "wrong").await.status, 401);
    }
    signed_in(&served.sign_in("acme", "ann", PASSWORD).await);

    for _ in 0..11 {
        let answer = served.ask("POST", "/login").body("token=guess");
        assert_eq!(answer.send().await.status, 401);
    }
    let answer = served
        .ask("POST", "/login")
        .body("token=guess")
        .send()
        .await;
    assert_eq!(answer.status, 429, "{answer:?}");
}

#[tokio::test]
async fn on_to_where_they_were_going() {
    let served = Served::start().await;
    let asked = served.get("/devices?search=a%20b").send().await;
    let form = "/login?next=%2fdevices%3fsearch%3da%2520b";
    assert_eq!((asked.status, asked.header("location")), (303, Some(form)));
    let page = served.get(form).send().await;
    assert_eq!(page.status, 200, "{page:?}");
    // Sent to its own address, so that a browser carries along what stands behind the `#`.
    assert!(!page.body.contains("action="), "{}", page.body);
    let token = format!("token={}", served.tokens.reader);
    let posted = |next: &str, body: String| {
        let ask = served.ask("POST", &format!("/login?next={next}"));
        ask.body(body).send()
    };
    let missed = posted("%2fclaim", "token=guess".to_owned()).await;
    assert_eq!(missed.status, 401);
    assert!(!missed.body.contains("action="), "{}", missed.body);
    let came = posted("%2fdevices%3fsearch%3da%2520b", token.clone()).await;
    assert_eq!(came.header("location"), Some("/devices?search=a%20b"));
    let cookie = came.header("set-cookie").unwrap();
    assert!(cookie.starts_with("stencil_session=stencil_session_"));
    let link = format!("/login?token={}&next=%2fclaim", served.tokens.reader);
    let by_link = served.get(&link).send().await;
    assert_eq!(by_link.header("location"), Some("/claim"));
    // A link that opens nothing keeps its token out of the next request's address.
    let bad_link = served.get("/login?token=guess&next=%2fclaim").send().await;
    assert!(bad_link.body.contains("action=\"/login?next=%2Fclaim\""));

    // Wherever somebody else wants them to go, they get to the first page.
    for next in [
        "%2f%2fevil.example",
        "%2f%5cevil.example",
        "https:%2f%2fevil.example",
        "%2fclaim%2f..%2flogin%3ftoken%3dx",
        "%2flogin%3ftoken%3dx",
        "%2fclaim%0d%0aset-cookie:%20x=y",
        "%2fapi%2fv1%2fme",
        "",
    ] {
        let form = served.get(&format!("/login?next={next}")).send().await;
        assert!(form.body.contains("action=\"/login\""), "{next}");
        let came = posted(next, token.clone()).await;
        assert_eq!(came.header("location"), Some("/"), "{next}");
        let link = format!("/login?token={}&next={next}", served.tokens.reader);
        let by_link = served.get(&link).send().await;
        assert_eq!(by_link.header("location"), Some("/"), "{next}");
    }
}

#[tokio::test]
async fn not_with_another_token() {
    for token in [
        "",
        "nonsense",
        "a;b",
        "%0d%0aset-cookie:x",
        &"x".repeat(900),
    ] {
        let served = Served::start().await;
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
    let served = Served::start().await;
    let device = format!("/login?token={}", served.tokens.device);
    let answer = served.get(&device).send().await;
    assert_eq!(answer.status, 403);
    assert!(answer.header("set-cookie").is_none());
    for form in [
        "",
        "token",
        "name=x",
        "token=a&token=b",
        "\u{0}\u{1}",
        "tenant=acme&name=ann",
        "token=a&tenant=acme&name=ann&password=x",
    ] {
        let answer = served.ask("POST", "/login").body(form).send().await;
        assert!(matches!(answer.status, 400 | 401), "{form}: {answer:?}");
        assert!(answer.header("set-cookie").is_none());
    }
    served
        .ask("POST", "/login")
        .body(vec![b'a'; 5_000])
        .send()
        .await
        .problem(413);
    let wrong_cookie = served
        .get("/")
        .header("cookie", "stencil_session=nonsense")
        .send()
        .await;
    assert_eq!(wrong_cookie.header("location"), Some("/login"));
    // What opens the API is no session.
    let cookie = format!("stencil_session={}", served.tokens.admin);
    let api = served.get("/api/v1/me").header("cookie", &cookie);
    api.send().await.problem(401);
}

#[tokio::test]
async fn another_site_signs_nobody_in_or_out() {
    let served = Served::start().await;
    let link = format!("/login?token={}", served.tokens.reader);
    for site in ["cross-site", "same-site"] {
        let answer = served.get(&link).header("sec-fetch-site", site).send();
        let answer = answer.await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.header("set-cookie").is_none());
        let form = format!("token={}", served.tokens.reader);
        let posted = served.ask("POST", "/login").header("sec-fetch-site", site);
        posted.body(form).send().await.problem(403);
    }
    for site in ["none", "same-origin"] {
        let answer = served.get(&link).header("sec-fetch-site", site).send();
        signed_in(&answer.await);
    }
    let secret = served.session(&served.tokens.reader).await;
    let cookie = format!("stencil_session={secret}");
    let out = served.ask("POST", "/logout").header("cookie", &cookie);
    out.header("sec-fetch-site", "cross-site")
        .send()
        .await
        .problem(403);
    served.get("/api/v1/me").session(&secret).send().await.ok();
}

#[tokio::test]
async fn out_ends_the_session_and_in_again_the_one_before() {
    let served = Served::start().await;
    let secret = served.session(&served.tokens.reader).await;
    let out = served.ask("POST", "/logout").session(&secret).send().await;
    assert_eq!((out.status, out.header("location")), (303, Some("/login")));
    let cookie = out.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("stencil_session=; max-age=0"),
        "{cookie}"
    );
    let ended = served.get("/api/v1/me").session(&secret).send().await;
    assert!(ended.problem(401).contains("sign in again"));
    // The token is as good as before.
    served.read("/api/v1/me").await.ok();
    let nobody = served.ask("POST", "/logout").send().await;
    assert_eq!(nobody.status, 303);

    let first = served.session(&served.tokens.reader).await;
    let form = format!("token={}", served.tokens.reader);
    let again = served.ask("POST", "/login").session(&first).body(form);
    let second = again.send().await.session();
    served
        .get("/api/v1/me")
        .session(&first)
        .send()
        .await
        .problem(401);
    served.get("/api/v1/me").session(&second).send().await.ok();
}

#[tokio::test]
async fn a_session_ends_by_itself() {
    let served = Served::start().await;
    let me = async |secret: &str| served.get("/api/v1/me").session(secret).send().await.status;
    let secret = served.session(&served.tokens.reader).await;
    // Used every six days, it lasts its thirty days and no longer.
    for _ in 0..4 {
        served.later(6 * 24 * 3_600);
        assert_eq!(me(&secret).await, 200);
    }
    served.later(6 * 24 * 3_600);
    assert_eq!(me(&secret).await, 401);
    // Unused it lasts seven days.
    let secret = served.session(&served.tokens.reader).await;
    served.later(7 * 24 * 3_600);
    assert_eq!(me(&secret).await, 401);
}

#[tokio::test]
async fn a_session_ends_with_the_token_that_opened_it() {
    let served = Served::start().await;
    let secret = served.session(&served.tokens.reader).await;
    let owner = served
        .store
        .tenancy
        .verify_token(&served.tokens.reader, super::NOW_US);
    let id = owner.await.unwrap().unwrap().id;
    let path = format!("/api/v1/tokens/{id}");
    let revoked = served.ask("DELETE", &path).bearer(&served.tokens.admin);
    assert_eq!(revoked.send().await.status, 204);
    served
        .get("/api/v1/me")
        .session(&secret)
        .send()
        .await
        .problem(401);
}
