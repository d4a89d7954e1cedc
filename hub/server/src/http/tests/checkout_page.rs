//! The checkout page as a browser gets it.

use super::{Served, seed};

fn path() -> String {
    format!("/pay/{}", hex::encode(seed::INVOICE))
}

#[tokio::test]
async fn who_has_the_id_sees_what_is_due_and_nothing_else_of_the_tenants() {
    let served = Served::start().await;
    // Whatever somebody who passed the address on has added to it.
    let answer = served
        .get(&format!("{}?utm_source=mail", path()))
        .send()
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "deny"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    for word in ["Locker, an hour", "2.50 TEST", "ethereum:", "<svg"] {
        assert!(answer.body.contains(word), "{word}: {}", answer.body);
    }
    assert!(!answer.body.contains("marked"), "{}", answer.body);
}

#[tokio::test]
async fn its_policy_lets_in_what_the_hub_has_and_icons_that_wallets_bring() {
    let served = Served::start().await;
    let answer = served.get(&path()).send().await;
    let policy = answer.header("content-security-policy").unwrap();
    let mut parts: Vec<&str> = policy.split("; ").map(str::trim).collect();
    parts.sort_unstable();
    assert_eq!(
        parts,
        [
            "base-uri 'none'",
            "connect-src 'self'",
            "default-src 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "img-src 'self' data:",
            "script-src 'self'",
            "style-src 'self'",
        ]
    );
    let assets = answer.body.split("/assets/").skip(1);
    let assets: Vec<_> = assets.map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(assets.len() >= 5, "{assets:?}");
    for asset in assets {
        let asset = served.get(&format!("/assets/{asset}")).send().await;
        assert_eq!(asset.status, 200, "{asset:?}");
    }
}

#[tokio::test]
async fn an_id_of_nothing_is_a_page_that_says_so() {
    let served = Served::start().await;
    for id in ["00".repeat(16), "nonsense".to_owned()] {
        let ask = served
            .get(&format!("/pay/{id}"))
            .header("accept", "text/html");
        let answer = ask.send().await;
        assert_eq!(answer.status, 404, "{answer:?}");
        assert!(
            answer.body.contains("There is no invoice"),
            "{}",
            answer.body
        );
    }
}
