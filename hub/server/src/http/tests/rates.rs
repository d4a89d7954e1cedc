//! Who asks too fast is told when to come again.

use super::{Answer, Limits, Served};
use crate::http::RateLimits;

async fn slow() -> Served {
    let rates = RateLimits {
        caller_per_s: 1,
        caller_burst: 5,
        address_per_s: 1,
        address_burst: 5,
        ..RateLimits::default()
    };
    Served::start_with(Limits {
        rates,
        ..Limits::default()
    })
    .await
}

#[track_caller]
fn too_many(answer: &Answer) {
    assert!(answer.problem(429).contains("try again in 1 s"));
    assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
}

#[tokio::test]
async fn each_caller_has_a_rate_of_their_own() {
    let served = slow().await;
    for _ in 0..5 {
        served.read("/api/v1/devices").await.ok();
    }
    too_many(&served.read("/api/v1/devices").await);
    // Also for what they may not do, and with a session of the same token.
    let refused = served.read("/api/v1/tokens").await;
    too_many(&refused);
    let session = served.session(&served.tokens.reader).await;
    let by_session = served.get("/api/v1/devices").session(&session).send().await;
    too_many(&by_session);
    let other = served.get("/api/v1/devices").bearer(&served.tokens.editor);
    other.send().await.ok();
    served.later(1);
    served.read("/api/v1/devices").await.ok();
    too_many(&served.read("/api/v1/devices").await);
}

#[tokio::test]
async fn whoever_is_unknown_shares_their_addresss_rate() {
    let served = slow().await;
    served.get("/livez").send().await;
    served.get("/p/acme/notices-marked").send().await;
    served.get("/api/v1/devices").send().await.problem(401);
    served
        .get("/api/v1/devices")
        .bearer("nonsense")
        .send()
        .await
        .problem(401);
    assert_eq!(served.get("/").session("nonsense").send().await.status, 303);
    for path in [
        "/livez",
        "/p/acme/notices-marked",
        "/login",
        "/api/v1/devices",
        "/",
    ] {
        too_many(&served.get(path).send().await);
    }
    too_many(
        &served
            .get("/api/v1/devices")
            .bearer("nonsense")
            .send()
            .await,
    );
    // Who is known is let in all the same.
    served.read("/api/v1/devices").await.ok();
    served.later(1);
    assert_eq!(served.get("/livez").send().await.status, 200);
}

#[tokio::test]
async fn accounts_without_a_role_ask_no_faster_than_their_address() {
    let served = slow().await;
    let session = async |n: u8| {
        let (wallets, account) = (&served.store.wallets, [n; 20]);
        let opened = wallets.open_wallet_session(&account, None, None, i64::MAX, super::NOW_US);
        opened.await.unwrap().1.reveal().to_owned()
    };
    let ask = async |n: u8, from: u8| {
        let ask = served.get("/api/v1/wallet").session(&session(n).await);
        ask.from([127, 0, 0, from]).send().await
    };
    for n in 1..=5 {
        ask(n, 1).await.ok();
    }
    too_many(&ask(6, 1).await);
    // Elsewhere they are not in each other's way, and one account has its own rate besides.
    for _ in 0..4 {
        ask(1, 2).await.ok();
    }
    too_many(&ask(1, 3).await);
    ask(7, 3).await.ok();
    // Who has a role is counted by that.
    served.read("/api/v1/devices").await.ok();
}
