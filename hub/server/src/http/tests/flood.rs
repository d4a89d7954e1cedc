//! Signing in while somebody guesses from many addresses.

use stencil_store::Role;

use super::{Answer, PASSWORD, Served, seed};

async fn try_in(served: &Served, from: u8, cookie: Option<&str>, password: &str) -> Answer {
    let form = format!("tenant=acme&name=ann&password={password}");
    let ask = served.ask("POST", "/login").from([127, 0, 1, from]);
    let ask = match cookie {
        Some(cookie) => ask.header("cookie", cookie),
        None => ask,
    };
    ask.body(form).send().await
}

#[tokio::test]
async fn a_browser_that_is_known_gets_in_during_a_flood() {
    let served = Served::start().await;
    served.user(&seed::acme(), "ann", Role::Editor).await;
    let first = served.sign_in("acme", "ann", PASSWORD).await;
    first.session();
    let device = first.device().expect("a cookie of the browser");
    let line = first
        .head
        .lines()
        .find(|line| line.contains("stencil_device"))
        .unwrap();
    for part in ["; path=/", "; httponly", "; samesite=strict", "; max-age="] {
        assert!(line.contains(part), "{line}");
    }
    // Nobody is given one who has not signed in, and a token's is nobody's browser.
    let wrong = try_in(&served, 1, None, "wrong").await;
    assert_eq!((wrong.status, wrong.device()), (401, None));
    let form = format!("token={}", served.tokens.reader);
    let by_token = served.ask("POST", "/login").body(form).send().await;
    assert!(by_token.device().is_none(), "{by_token:?}");

    let mut from = 1;
    loop {
        let answer = try_in(&served, from, None, "wrong").await;
        match answer.status {
            401 => {}
            429 if try_in(&served, from + 1, None, "wrong").await.status == 429 => break,
            429 => from += 1,
            status => panic!("{status}"),
        }
    }
    // From elsewhere the right password does not get in, …
    let elsewhere = try_in(&served, 200, None, PASSWORD).await;
    assert_eq!(elsewhere.status, 429, "{elsewhere:?}");
    assert!(elsewhere.body.contains("signed in with before"));
    // … nor with a cookie that is not the browser's, …
    let forged = format!("{}0", &device[..device.len() - 1]);
    let forged = if forged == device {
        format!("{}1", &device[..device.len() - 1])
    } else {
        forged
    };
    let answer = try_in(&served, 200, Some(&forged), PASSWORD).await;
    assert_eq!(answer.status, 429, "{answer:?}");
    // … but with the browser's it does, from wherever, with a few mistakes of its own.
    for _ in 0..5 {
        let mistyped = try_in(&served, 201, Some(&device), "wrong").await;
        assert_eq!(mistyped.status, 401, "{mistyped:?}");
    }
    let guessing = try_in(&served, 202, Some(&device), PASSWORD).await;
    assert_eq!(
        guessing.status, 429,
        "a browser guesses no faster than others"
    );
    let wait: i64 = guessing.header("retry-after").unwrap().parse().unwrap();
    served.later(wait);
    let known = try_in(&served, 203, Some(&device), PASSWORD).await;
    known.session();
    let again = known.device().expect("for longer");
    try_in(&served, 204, Some(&again), PASSWORD).await.session();
}

#[tokio::test]
async fn who_is_signed_in_changes_their_password_during_a_flood() {
    let served = Served::start().await;
    served.user(&seed::acme(), "ann", Role::Editor).await;
    let secret = served.sign_in("acme", "ann", PASSWORD).await.session();
    for from in 1..=11 {
        for _ in 0..5 {
            try_in(&served, from, None, "wrong").await;
        }
    }
    assert_eq!(try_in(&served, 200, None, PASSWORD).await.status, 429);
    let body = serde_json::json!({ "current": PASSWORD, "password": "another-password-1" });
    let ask = served.ask("POST", "/api/v1/me/password").session(&secret);
    let answer = ask.json(&body).send().await;
    assert_eq!(answer.status, 204, "{answer:?}");
}
