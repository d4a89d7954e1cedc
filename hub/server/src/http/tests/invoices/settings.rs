//! How a tenant takes payments.

use serde_json::{Value, json};
use stencil_payments::Address;
use stencil_payments::abi::calls;
use stencil_payments::port::Unknown;

use super::super::{Served, seed};
use super::{SETTINGS, pointer, set};
use crate::chains::tests::fake::{CONTRACT, PAYEE};

#[tokio::test]
async fn settings_are_checked_field_by_field() {
    let served = Served::start().await;
    let payee = PAYEE.to_checksum(None);
    let way = |change: Value| {
        let mut way =
            json!({ "chain": "local", "token": "TEST", "way": "unique_amount", "payee": payee });
        for (key, value) in change.as_object().unwrap() {
            way[key] = value.clone();
        }
        json!({ "methods": [way] })
    };
    for (wrong, at) in [
        (way(json!({ "chain": "other" })), "#/methods/0/chain"),
        (way(json!({ "token": "USDC" })), "#/methods/0/token"),
        (way(json!({ "payee": "0x12" })), "#/methods/0/payee"),
        (
            way(json!({ "payee": format!("0x{}", "0".repeat(40)) })),
            "#/methods/0/payee",
        ),
        (
            way(json!({ "confirmations": 0 })),
            "#/methods/0/confirmations",
        ),
        (
            way(json!({ "token": "native", "way": "authorization" })),
            "#/methods/0/way",
        ),
        (way(json!({ "contract": payee })), "#/methods/0/contract"),
        (way(json!({ "symbol": "X" })), "#/methods/0/symbol"),
        (json!({ "expires_s": 5 }), "#/expires_s"),
        (
            json!({ "policy": { "tolerance_bps": 10_000 } }),
            "#/policy/tolerance_bps",
        ),
        (json!({ "policy": { "late": "never" } }), "#/policy/late"),
        (
            json!({ "webhook": { "url": "http://169.254.169.254/", "secret": "signing-marked" } }),
            "#/webhook/url",
        ),
        (
            json!({ "webhook": { "url": "https://[::1]:9/", "secret": "signing-marked" } }),
            "#/webhook/url",
        ),
        (
            json!({ "webhook": { "url": "ftp://x", "secret": "s" } }),
            "#/webhook/url",
        ),
        (
            json!({ "webhook": {
                "url": format!("https://x/{}", "a".repeat(2_048)), "secret": "s",
            } }),
            "#/webhook/url",
        ),
        (
            json!({ "methods": vec![way(json!({}))["methods"][0].clone(); 9] }),
            "#/methods",
        ),
        (
            json!({ "webhook": { "url": "https://x/", "secret": "mistyped" } }),
            "#/webhook/secret",
        ),
        (
            way(json!({ "token": Address::repeat_byte(0x71).to_checksum(None) })),
            "#/methods/0/token",
        ),
    ] {
        let answer = set(&served, &served.tokens.admin, &wrong).await;
        answer.problem(400);
        assert_eq!(pointer(&answer), at, "{wrong}");
    }
    let twice = way(json!({}))["methods"][0].clone();
    let answer = set(
        &served,
        &served.tokens.admin,
        &json!({ "methods": [twice, twice] }),
    )
    .await;
    assert_eq!(pointer(&answer), "#/methods/1");
    answer.problem(400);
    // One of the tenant's secrets is taken, and one of another tenant's is none.
    let hook = json!({ "webhook": { "url": "https://x/", "secret": "signing-marked" } });
    assert_eq!(set(&served, &served.tokens.admin, &hook).await.status, 200);
    let why = set(&served, &served.tokens.rival, &hook).await.problem(400);
    assert!(why.contains("there is none"), "{why}");
    let long = json!({ "webhook": { "url": "a".repeat(130 * 1024), "secret": "s" } });
    let answer = set(&served, &served.tokens.admin, &long).await;
    answer.problem(413);
}

#[tokio::test]
async fn a_payment_contract_has_to_pay_the_payee() {
    let served = Served::start().await;
    let way = json!({ "methods": [{
        "chain": "local", "token": "TEST", "way": "contract", "payee": PAYEE.to_checksum(None),
    }] });
    let ask = async || set(&served, &served.tokens.admin, &way).await;
    assert!(ask().await.problem(400).contains("no payment contract"));
    let stranger = Address::repeat_byte(9);
    served
        .chain
        .answers(CONTRACT, calls::payee(), stranger.into_word().0);
    assert!(ask().await.problem(400).contains(&format!("{stranger:#x}")));
    served
        .chain
        .answers(CONTRACT, calls::payee(), PAYEE.into_word().0);
    let shown = ask().await.ok();
    assert_eq!(shown["names"], json!(["local/TEST/contract"]));
    assert_eq!(shown["set"]["expires_s"], 900);
    // Only a chain can say so.
    let other = json!({ "methods": [{
        "chain": "local", "token": "TEST", "way": "contract", "payee": PAYEE.to_checksum(None),
        "contract": stranger.to_checksum(None),
    }] });
    served
        .chain
        .otherwise(Err(Unknown("two endpoints disagree".into())));
    let answer = set(&served, &served.tokens.admin, &other).await;
    assert!(answer.problem(503).contains("two endpoints disagree"));
}

#[tokio::test]
async fn an_address_is_one_tenants() {
    let served = Served::start().await;
    let body = seed::payments(PAYEE);
    let refused = set(&served, &served.tokens.rival, &body).await;
    assert!(refused.problem(409).contains("another tenant"));
    let own = set(
        &served,
        &served.tokens.rival,
        &seed::payments(Address::repeat_byte(1)),
    )
    .await;
    own.ok();
    // And what the refused one had asked for is not there.
    let shown = served
        .get(SETTINGS)
        .bearer(&served.tokens.rival)
        .send()
        .await
        .ok();
    assert_eq!(
        shown["set"]["methods"][0]["payee"],
        Address::repeat_byte(1).to_checksum(None)
    );
}
