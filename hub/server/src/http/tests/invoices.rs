//! Invoices, how a tenant takes payments, and what a payer sees.

use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use serde_json::{Value, json};
use stencil_payments::abi::calls;
use stencil_payments::eip712::{Authorization, Domain, Kind};
use stencil_payments::invoice::{Definition, Event, Id, Payment, Policy, Way};
use stencil_payments::money::Amount;
use stencil_payments::observation::{Block, Key, Needs};
use stencil_payments::port::{Called, InVain, NotOrdered, Outcome, Sent, Unknown};
use stencil_payments::{Address, B256, U256};
use stencil_store::{NewSend, SpendLimit};

use super::{Answer, Limits, NOW_US, Served, seed};
use crate::chains::tests::fake::{CHAIN, CONTRACT, ID, PAYEE, TOKEN, domain};
use crate::chains::tests::invoice;
use crate::chains::{About, NewInvoice};

const SETTINGS: &str = "/api/v1/payments/settings";
const INVOICES: &str = "/api/v1/invoices";

async fn set(served: &Served, token: &str, body: &Value) -> Answer {
    served
        .ask("PUT", SETTINGS)
        .bearer(token)
        .json(body)
        .send()
        .await
}

impl Served {
    /// What an admin decides.
    pub(super) async fn decide(&self, path: &str, body: &Value) -> Answer {
        let ask = self.ask("POST", path).bearer(&self.tokens.admin);
        ask.json(body).send().await
    }
}

/// What `acme` may spend of the chain's coin, in tenths: until it is final a settlement counts as one of them.
pub(super) async fn may_spend(served: &Served, tenths: u64) {
    let chains = &served.store.chains;
    chains.open_chain(CHAIN, ID, NOW_US).await.unwrap();
    let limit = SpendLimit {
        tenant: "acme".to_owned(),
        chain: CHAIN.to_owned(),
        asset: None,
        window_s: 86_400,
        most: of_coin(tenths),
    };
    served.store.sends.set_spend_limit(&limit).await.unwrap();
}

fn of_coin(tenths: u64) -> [u8; 32] {
    let wei = U256::from(tenths) * U256::from(100_000_000_000_000_000_u64);
    wei.to_be_bytes()
}

async fn create(served: &Served, body: &Value) -> Answer {
    served.write("POST", INVOICES, body).await
}

fn pointer(answer: &Answer) -> String {
    answer.json()["errors"][0]["pointer"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// What is paid on a chain before it is known from where on it is followed is never seen.
#[tokio::test]
async fn nothing_is_asked_for_on_a_chain_that_was_not_reached_yet() {
    let served = Served::start().await;
    let payee = PAYEE.to_checksum(None);
    let way = |token: &str, way: &str| json!({ "chain": "local", "token": token, "way": way, "payee": payee });
    let ways = json!({ "methods": [way("native", "unique_amount"), way("TEST", "authorization")] });
    let why = "the chain local was not reached yet: unknown";
    let not_yet = |answer: &Answer| {
        assert!(answer.problem(503).contains(why), "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    };
    let unready = |why: Option<&str>| {
        *served.chain.not_ready.lock().unwrap() = why.map(str::to_owned);
    };
    unready(Some(why));
    not_yet(&set(&served, &served.tokens.admin, &ways).await);
    unready(None);
    set(&served, &served.tokens.admin, &ways).await.ok();
    // As after a restart: what was set is there, and the chain is not.
    unready(Some(why));
    let before = served.cashier.open_invoices();
    let wanted = |token: &str| json!({ "amount": "2.50", "token": token });
    let all = [
        wanted("local/TEST"),
        wanted("local/native"),
        wanted("local/NONE"),
        json!({ "amount": "2.50", "currency": "EUR" }),
        json!({ "amount": "2.50", "currency": "EUR", "methods": ["local/ETH/unique_amount"] }),
    ];
    for body in &all {
        not_yet(&create(&served, body).await);
    }
    assert_eq!(served.cashier.open_invoices(), before);
    unready(None);
    for body in &all[..2] {
        assert_eq!(create(&served, body).await.status, 201);
    }
    assert_eq!(create(&served, &all[2]).await.status, 400);
}

/// What is paid on a chain that stands still or is not followed is not seen, for who knows how long.
#[tokio::test]
async fn nothing_is_asked_for_where_no_way_can_be_used_now() {
    let served = Served::start().await;
    let payee = PAYEE.to_checksum(None);
    let ways = json!({ "methods": [
        { "chain": "local", "token": "native", "way": "unique_amount", "payee": payee },
    ] });
    set(&served, &served.tokens.admin, &ways).await.ok();
    let wanted = json!({ "amount": "2.50", "token": "local/native" });
    let made = create(&served, &wanted).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    for why in [
        "the chain local can't be used now: it stands still",
        "the chain local can't be used now: its branch has changed, and the hub walks back to where the new one \
         begins: 12 blocks so far, to block 88",
    ] {
        *served.chain.unusable.lock().unwrap() = Some(why.to_owned());
        let refused = create(&served, &wanted).await;
        assert!(refused.problem(503).contains(why), "{refused:?}");
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        let seen = served.get(&checkout(&id)).send().await.ok();
        assert_eq!(seen["payable"], false);
        let way = &seen["methods"][0];
        assert_eq!(
            (&way["payable"], &way["unusable"], &way["link"]),
            (&false.into(), &why.into(), &Value::Null)
        );
        assert_eq!(way["transactions"], json!([]));
        assert!(way.get("payee").is_none(), "{way}");
        assert!(!seen.to_string().contains(&payee), "{seen}");
        let page = served.get(&format!("/pay/{id}")).send().await;
        for (word, is_there) in [
            ("It can't be used now", true),
            (&payee[..], false),
            ("ethereum:", false),
            ("data-wallet", false),
        ] {
            assert_eq!(page.body.contains(word), is_there, "{word}: {}", page.body);
        }
    }
    *served.chain.unusable.lock().unwrap() = None;
    assert_eq!(create(&served, &wanted).await.status, 201);
    let seen = served.get(&checkout(&id)).send().await.ok();
    assert_eq!(seen["payable"], true);
}

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

#[tokio::test]
async fn an_invoice_is_made_listed_and_called_off() {
    let served = Served::start().await;
    let wanted = json!({
        "amount": "12.50", "currency": "EUR", "reference": "locker-9", "title": "A locker",
        "metadata": { "order": "17" }, "expires_s": 60,
    });
    let answer = create(&served, &wanted).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let made = answer.json();
    let path = answer.header("location").unwrap().to_owned();
    assert_eq!(path, format!("{INVOICES}/{}", made["id"].as_str().unwrap()));
    assert_eq!(
        (&made["state"], &made["version"]),
        (&"new".into(), &1.into())
    );
    let price = json!({ "amount": "12.50", "units": "1250", "currency": "EUR", "token": null });
    assert_eq!(made["price"], price);
    // At half a euro a token.
    let [first, second] = [&made["methods"][0], &made["methods"][1]];
    assert_eq!(first["name"], "local/TEST/authorization");
    assert_eq!(
        first["due"],
        json!({ "amount": "25.000000", "units": "25000000" })
    );
    assert_eq!(
        (&first["rate"]["source"], &first["chain_id"]),
        (&"table".into(), &31_337.into())
    );
    assert_eq!(second["name"], "local/TEST/unique_amount");
    assert_eq!(made["expires_us"], NOW_US + 60_000_000);
    assert_eq!(served.read(&path).await.ok(), made);

    let list = served.read("/api/v1/invoices?state=new").await.ok();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let cancelled = served
        .write("POST", &format!("{path}/cancel"), &json!({}))
        .await
        .ok();
    assert_eq!(
        (&cancelled["state"], &cancelled["version"]),
        (&"cancelled".into(), &2.into())
    );
    let list = served.read("/api/v1/invoices?state=cancelled").await.ok();
    assert_eq!(list["items"][0]["id"], made["id"]);
    served
        .read("/api/v1/invoices?state=gone")
        .await
        .problem(400);
    let decided = json!({ "decision": "accept_underpaid" });
    let answer = served.decide(&format!("{path}/decisions"), &decided).await;
    assert!(answer.problem(409).contains("all goes back"));
    served
        .read(&format!("{INVOICES}/{}", "00".repeat(16)))
        .await
        .problem(404);
    served
        .read(&format!("{INVOICES}/nonsense"))
        .await
        .problem(404);
}

#[tokio::test]
async fn what_is_wrong_with_an_invoice_is_named() {
    let served = Served::start().await;
    for (wrong, at) in [
        (json!({ "amount": "1" }), ""),
        (
            json!({ "amount": "1", "currency": "EUR", "token": "local/TEST" }),
            "",
        ),
        (json!({ "amount": "1", "currency": "XXX" }), "#/currency"),
        (json!({ "amount": "1.234", "currency": "EUR" }), "#/amount"),
        (json!({ "amount": "0", "currency": "EUR" }), "#/amount"),
        (json!({ "amount": "-1", "currency": "EUR" }), "#/amount"),
        (
            json!({ "amount": "1e3", "token": "local/TEST" }),
            "#/amount",
        ),
        // TEST has six decimals.
        (
            json!({ "amount": "1.0000001", "token": "local/TEST" }),
            "#/amount",
        ),
        (json!({ "amount": "1.001", "currency": "EUR" }), "#/amount"),
        (json!({ "amount": "1", "token": "TEST" }), "#/token"),
        (json!({ "amount": "1", "token": "other/TEST" }), "#/token"),
        (json!({ "amount": "1", "token": "local/native" }), "#/token"),
        (json!({ "amount": "1", "currency": "USD" }), "#/methods"),
        (
            json!({ "amount": "1", "currency": "EUR", "methods": ["local/TEST/contract"] }),
            "#/methods",
        ),
        (
            json!({ "amount": "1", "currency": "EUR", "methods": [] }),
            "#/methods",
        ),
        (
            json!({ "amount": "1", "currency": "EUR", "expires_s": 29 }),
            "#/expires_s",
        ),
        (
            json!({ "amount": "1", "currency": "EUR", "reference": "a\nb" }),
            "#/reference",
        ),
        (
            json!({ "amount": "1", "currency": "EUR", "return_url": "javascript:x" }),
            "#/return_url",
        ),
    ] {
        let answer = create(&served, &wrong).await;
        answer.problem(400);
        assert_eq!(pointer(&answer), at, "{wrong}");
    }
    let token =
        json!({ "amount": "1.5", "token": "local/TEST", "methods": ["local/TEST/unique_amount"] });
    let made = create(&served, &token).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.json()["price"]["token"]["symbol"], "TEST");
}

#[tokio::test]
async fn the_same_request_by_its_key_makes_one_invoice() {
    let served = Served::start().await;
    let wanted = json!({ "amount": "1", "currency": "EUR" });
    let ask = async || {
        let ask = served.ask("POST", INVOICES).bearer(&served.tokens.editor);
        ask.header("idempotency-key", "order-17")
            .json(&wanted)
            .send()
            .await
    };
    let (first, again) = (ask().await, ask().await);
    assert_eq!(first.json()["id"], again.json()["id"]);
    let list = served.read(INVOICES).await.ok();
    assert_eq!(
        list["items"].as_array().unwrap().len(),
        2,
        "with that of the seed"
    );
}

fn checkout(id: &str) -> String {
    format!("/pay/{id}/checkout")
}

#[tokio::test]
async fn a_payer_sees_what_is_due_and_nothing_else_of_the_tenants() {
    let served = Served::start().await;
    may_spend(&served, 20).await;
    let id = hex::encode(seed::INVOICE);
    let answer = served.get(&checkout(&id)).send().await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    for word in ["marked", "acme", "metadata", "reference"] {
        assert!(!answer.body.contains(word), "{word}: {}", answer.body);
    }
    let seen = answer.ok();
    assert_eq!(
        (&seen["payable"], &seen["title"]),
        (&true.into(), &"Locker, an hour".into())
    );
    let [signed, sent] = [&seen["methods"][0], &seen["methods"][1]];
    assert_eq!(signed["hub_pays_gas"], true);
    let typed = &signed["typed_data"];
    assert_eq!(
        typed["domain"]["verifyingContract"],
        TOKEN.to_checksum(None)
    );
    assert_eq!(
        (&typed["message"]["value"], &typed["message"]["from"]),
        (&"2500000".into(), &Value::Null)
    );
    let due = sent["due"]["units"].as_str().unwrap();
    let link = format!(
        "ethereum:{}@31337/transfer?address={}&uint256={due}",
        TOKEN.to_checksum(None),
        PAYEE.to_checksum(None)
    );
    assert_eq!(sent["link"], link);
    assert_eq!(sent["transactions"][0]["to"], TOKEN.to_checksum(None));
    served
        .get(&checkout(&"00".repeat(16)))
        .send()
        .await
        .problem(404);
    served.get(&checkout("acme")).send().await.problem(404);
}

/// What a wallet makes of the typed data that a payer was shown.
fn sign(payer: &PrivateKeySigner, typed: &Value, value: &str, before_s: u64) -> Value {
    sign_for(payer, typed, &domain(), |it| {
        it.value = value.parse().unwrap();
        it.valid_before = U256::from(before_s);
    })
}

/// The same for another domain, or of something else.
fn sign_for(
    payer: &PrivateKeySigner,
    typed: &Value,
    domain: &Domain,
    change: impl FnOnce(&mut Authorization),
) -> Value {
    let text = |name: &str| typed["message"][name].as_str().unwrap();
    let mut authorization = Authorization {
        from: payer.address(),
        to: text("to").parse().unwrap(),
        value: text("value").parse().unwrap(),
        valid_after: U256::ZERO,
        valid_before: U256::from(NOW_US / 1_000_000 + 600),
        nonce: text("nonce").parse::<B256>().unwrap(),
    };
    change(&mut authorization);
    let digest = authorization.digest(Kind::Transfer, domain);
    let signature = payer.sign_hash_sync(&digest).unwrap().as_bytes();
    json!({
        "from": payer.address().to_checksum(None), "value": authorization.value.to_string(),
        "validAfter": authorization.valid_after.to_string(),
        "validBefore": authorization.valid_before.to_string(),
        "signature": format!("0x{}", hex::encode(signature)),
    })
}

#[tokio::test]
async fn a_signed_authorisation_is_brought_once_and_a_wrong_one_never() {
    let served = Served::start().await;
    let id = hex::encode(seed::INVOICE);
    let path = format!("/pay/{id}/authorization");
    let post = async |body: &Value| served.ask("POST", &path).json(body).send().await;
    let typed = served.get(&checkout(&id)).send().await.ok()["methods"][0]["typed_data"].clone();
    let payer = PrivateKeySigner::from_slice(&[7; 32]).unwrap();
    let from = payer.address();
    let now_s = u64::try_from(NOW_US / 1_000_000).unwrap();
    let right = sign(&payer, &typed, "2500000", now_s + 600);
    let with = |field: &str, value: &str| {
        let mut wrong = right.clone();
        wrong[field] = value.into();
        wrong
    };
    let forged = format!("0x{}", "11".repeat(64) + "1b");
    for (wrong, at) in [
        (
            with("from", &Address::repeat_byte(3).to_checksum(None)),
            "#/signature",
        ),
        (with("signature", &forged), "#/signature"),
        (with("signature", "0x11"), "#/signature"),
        (with("signature", "abc"), "#/signature"),
        (with("method", "local/TEST/contract"), "#/method"),
        (
            with("validBefore", &(now_s + 601).to_string()),
            "#/signature",
        ),
        (with("validAfter", &now_s.to_string()), "#/validAfter"),
        (sign(&payer, &typed, "2499999", now_s + 600), "#/value"),
        (sign(&payer, &typed, "2500000", now_s + 30), "#/validBefore"),
    ] {
        let answer = post(&wrong).await;
        answer.problem(400);
        assert_eq!(pointer(&answer), at, "{wrong}");
    }
    post(&json!({ "from": "x" })).await.problem(400);
    let long = "11".repeat(20_000);
    post(&with("signature", &long)).await.problem(413);

    let nonce = typed["message"]["nonce"].as_str().unwrap().parse().unwrap();
    let used = calls::authorization_state(from, nonce);
    let word = |n: u64| U256::from(n).to_be_bytes::<32>();
    served
        .chain
        .otherwise(Err(Unknown("nobody answers".into())));
    post(&right).await.problem(503);
    served.chain.answers(TOKEN, used.clone(), word(1));
    assert!(
        post(&right)
            .await
            .problem(409)
            .contains("used or cancelled")
    );
    served.chain.answers(TOKEN, used, word(0));
    served
        .chain
        .answers(TOKEN, calls::balance_of(from), word(1_000_000));
    assert!(
        post(&right)
            .await
            .problem(409)
            .contains("has 1.000000 TEST")
    );
    served
        .chain
        .answers(TOKEN, calls::balance_of(from), word(9_000_000));
    served
        .chain
        .otherwise(Ok(Called::Reverted("paused".into())));
    assert!(post(&right).await.problem(409).contains("paused"));
    assert!(served.chain.orders.lock().unwrap().is_empty());

    served
        .chain
        .otherwise(Ok(Called::Returned(Vec::new().into())));
    let answer = post(&right).await;
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (202, &"pending".into())
    );
    let again = post(&right).await;
    assert_eq!((again.status, again.json()), (202, answer.json()));
    let orders = served.chain.orders.lock().unwrap();
    let [order] = &orders[..] else {
        panic!("{orders:?}");
    };
    assert_eq!(
        (order.to, &order.tenant, order.moves),
        (TOKEN, &seed::acme(), None)
    );
    assert_eq!(order.value, Amount::ZERO);
    assert_eq!(order.data[..4], [0xe3, 0xee, 0x16, 0x0e]);
}

#[tokio::test]
async fn of_one_invoice_one_authorisation_is_on_its_way() {
    let served = Served::start().await;
    may_spend(&served, 20).await;
    let id = hex::encode(seed::INVOICE);
    let path = format!("/pay/{id}/authorization");
    let post = async |body: &Value| served.ask("POST", &path).json(body).send().await;
    let typed = served.get(&checkout(&id)).send().await.ok()["methods"][0]["typed_data"].clone();
    let now_s = u64::try_from(NOW_US / 1_000_000).unwrap();
    let nonce = typed["message"]["nonce"].as_str().unwrap().parse().unwrap();
    let word = |n: u64| U256::from(n).to_be_bytes::<32>();
    let signed = [7, 8, 9].map(|n| {
        let payer = PrivateKeySigner::from_slice(&[n; 32]).unwrap();
        let (chain, from) = (&served.chain, payer.address());
        chain.answers(TOKEN, calls::authorization_state(from, nonce), word(0));
        chain.answers(TOKEN, calls::balance_of(from), word(9_000_000));
        sign(&payer, &typed, "2500000", now_s + 600)
    });
    let answers = futures_util::future::join_all(signed.iter().map(&post)).await;
    let taken: Vec<_> = (0..3).filter(|at| answers[*at].status == 202).collect();
    assert_eq!(taken.len(), 1, "{answers:?}");
    let (first, second) = (taken[0], (taken[0] + 1) % 3);
    for (at, answer) in answers.iter().enumerate().filter(|(at, _)| *at != first) {
        let why = answer.problem(409);
        assert!(why.contains("on its way"), "{at}: {why}");
    }
    assert_eq!(post(&signed[first]).await.status, 202, "the same again");
    let ends = |sent: Sent| {
        let mut all = served.chain.sent.lock().unwrap();
        all.values_mut().for_each(|one| *one = sent);
    };
    let outcome = |succeeded| Outcome {
        tx: B256::repeat_byte(4),
        block: 3,
        block_hash: B256::repeat_byte(3),
        succeeded,
    };
    // In a block, and not in the invoice yet.
    ends(Sent::Included(outcome(true)));
    post(&signed[second]).await.problem(409);
    // What has failed makes way.
    ends(Sent::Final(outcome(false)));
    assert_eq!(post(&signed[second]).await.status, 202);
    assert_eq!(served.chain.orders.lock().unwrap().len(), 2);
    // Each has cost gas: whose has failed is brought no other for a while, and after some nobody's is.
    ends(Sent::Final(outcome(false)));
    let seen = async || served.get(&checkout(&id)).send().await.ok()["methods"][0].clone();
    let next = seen().await["nonces"][1].as_str().unwrap().to_owned();
    let mut again_typed = typed.clone();
    again_typed["message"]["nonce"] = next.clone().into();
    let again = |key: u8| {
        let payer = PrivateKeySigner::from_slice(&[key; 32]).unwrap();
        let (chain, from) = (&served.chain, payer.address());
        let used = calls::authorization_state(from, next.parse().unwrap());
        chain.answers(TOKEN, used, word(0));
        chain.answers(TOKEN, calls::balance_of(from), word(9_000_000));
        let mut again = sign(&payer, &again_typed, "2500000", now_s + 600);
        again["attempt"] = 1.into();
        again
    };
    let payers = [7, 8, 9];
    let why = post(&again(payers[first])).await.problem(409);
    assert!(why.contains("just failed"), "{why}");
    assert_eq!(seen().await["hub_pays_gas"], true);
    let third = 3 - first - second;
    assert_eq!(post(&signed[third]).await.status, 202);
    ends(Sent::Included(outcome(false)));
    let why = post(&again(10)).await.problem(409);
    assert!(why.contains("brings no more"), "{why}");
    assert_eq!(served.chain.orders.lock().unwrap().len(), 3);
    assert_eq!(seen().await["hub_pays_gas"], false);
}

/// Whatever it was for: what a payer signs can come to nothing at any invoice of the tenant's, and at what it sells.
#[tokio::test]
async fn a_payer_whose_signatures_come_to_nothing_is_brought_none() {
    let served = Served::start().await;
    let id = hex::encode(seed::INVOICE);
    let path = format!("/pay/{id}/authorization");
    let typed = served.get(&checkout(&id)).send().await.ok()["methods"][0]["typed_data"].clone();
    let now_s = u64::try_from(NOW_US / 1_000_000).unwrap();
    let nonce = typed["message"]["nonce"].as_str().unwrap().parse().unwrap();
    let word = |n: u64| U256::from(n).to_be_bytes::<32>();
    let payer = PrivateKeySigner::from_slice(&[7; 32]).unwrap();
    let (chain, from) = (&served.chain, payer.address());
    chain.answers(TOKEN, calls::authorization_state(from, nonce), word(0));
    chain.answers(TOKEN, calls::balance_of(from), word(9_000_000));
    let of = |n: u8, ago_s: i64| InVain {
        invoice: Id([n; 16]),
        at_us: NOW_US - ago_s * 1_000_000,
    };
    let fails = |all: Vec<InVain>| chain.in_vain.lock().unwrap().insert(from, all);
    fails(vec![of(1, 60), of(2, 3_600), of(3, 7_200)]);
    let signed = sign(&payer, &typed, "2500000", now_s + 600);
    let post = async || served.ask("POST", &path).json(&signed).send().await;
    let why = post().await.problem(409);
    for told in ["3 payments", "2023-11-15T20:13:20", "pay by another method"] {
        assert!(why.contains(told), "{told}: {why}");
    }
    assert!(served.chain.orders.lock().unwrap().is_empty());
    // One of them is out of the window.
    fails(vec![of(1, 60), of(2, 3_600), of(3, 86_400)]);
    assert_eq!(post().await.status, 202);
    let orders = served.chain.orders.lock().unwrap();
    let brings = orders[0].brings.unwrap();
    assert_eq!((brings.payer, brings.is_sale), (from, false));
    assert_eq!(brings.invoice, Id(seed::INVOICE));
}

/// No gas is spent on what an invoice could not take.
#[tokio::test]
async fn an_invoice_without_a_place_is_not_payable_and_nothing_is_brought() {
    let served = Served::start().await;
    let needs = Needs::Confirmations(1);
    let definition = Definition {
        created_us: NOW_US,
        expires_us: NOW_US + 900_000_000,
        policy: Policy {
            tolerance_bps: 0,
            ..Policy::DEFAULT
        },
        ..invoice(0x77, Way::Authorization, needs)
    };
    let (tenant, invoice) = (definition.tenant.clone(), definition.id);
    let about = About::default();
    let new = NewInvoice { definition, about };
    served.cashier.create(new).await.unwrap();
    let id = invoice.to_string();
    let credit = async |ordinal: u32, amount: u64, is_lost: bool| {
        let key = Key {
            chain: ID,
            tx: B256::repeat_byte(1),
            ordinal,
        };
        let payment = Payment {
            method: 0,
            amount: Amount::from(amount),
            from: Address::repeat_byte(9),
            block: Block {
                number: 1,
                hash: B256::ZERO,
                time_s: 1,
            },
        };
        let (seq, cashier) = (u64::from(ordinal) * 2 + 1, &served.cashier);
        let came = Event::Credit { key, seq, payment };
        cashier.apply(&tenant, invoice, came).await.unwrap();
        if is_lost {
            let went = Event::Retracted { key, seq: seq + 1 };
            cashier.apply(&tenant, invoice, went).await.unwrap();
        }
    };
    for ordinal in 0..64 {
        credit(ordinal, 1, false).await;
    }
    credit(64, 2_500_000 - 65, false).await;
    let seen = async || served.get(&checkout(&id)).send().await.ok();
    let last = seen().await;
    assert_eq!(last["payable"], true, "its last unit can come");
    for ordinal in 65..81 {
        credit(ordinal, 1, true).await;
    }
    let full = seen().await;
    assert_eq!(
        (&full["state"], &full["payable"]),
        (&"seen".into(), &false.into())
    );
    assert_eq!(full["methods"][0]["typed_data"], Value::Null);
    let typed = last["methods"][0]["typed_data"].clone();
    let payer = PrivateKeySigner::from_slice(&[7; 32]).unwrap();
    let now_s = u64::try_from(NOW_US / 1_000_000).unwrap();
    let given = sign(&payer, &typed, "1", now_s + 600);
    let path = format!("/pay/{id}/authorization");
    let why = served
        .ask("POST", &path)
        .json(&given)
        .send()
        .await
        .problem(409);
    assert!(why.contains("no place"), "{why}");
    assert!(served.chain.orders.lock().unwrap().is_empty());
}

/// The tenant is told what it can do something about; the payer is not told of the tenant's limits.
#[tokio::test]
async fn what_the_limits_leave_no_room_for_is_told_to_the_tenant() {
    let served = Served::start().await;
    let id = hex::encode(seed::INVOICE);
    let typed = served.get(&checkout(&id)).send().await.ok()["methods"][0]["typed_data"].clone();
    let payer = PrivateKeySigner::from_slice(&[7; 32]).unwrap();
    let (chain, from) = (&served.chain, payer.address());
    let nonce = typed["message"]["nonce"].as_str().unwrap().parse().unwrap();
    let word = |n: u64| U256::from(n).to_be_bytes::<32>();
    chain.answers(TOKEN, calls::authorization_state(from, nonce), word(0));
    chain.answers(TOKEN, calls::balance_of(from), word(9_000_000));
    let spending = async || {
        let seen = served
            .get("/api/v1/payments/spending")
            .bearer(&served.tokens.admin);
        seen.send().await.ok()
    };
    assert_eq!(spending().await["not_brought"], Value::Null);
    let marked = async || {
        let page = served.read("/settings").await;
        page.body.contains("payers refused")
    };
    assert!(!marked().await);
    let limit =
        "tenant \"acme\" would spend 0.3 the chain's coin on local within 60 s, and may spend 0.25";
    *chain.refuses.lock().unwrap() = Some(NotOrdered::Refused(limit.to_owned()));
    let path = format!("/pay/{id}/authorization");
    let now_s = u64::try_from(NOW_US / 1_000_000).unwrap();
    let right = sign(&payer, &typed, "2500000", now_s + 600);
    for _ in 0..3 {
        let why = served
            .ask("POST", &path)
            .json(&right)
            .send()
            .await
            .problem(409);
        assert!(!why.contains("0.25"), "{why}");
    }
    let told = spending().await["not_brought"].clone();
    assert_eq!((&told["invoice"], &told["times"]), (&id.into(), &3.into()));
    assert_eq!(told["why"], limit);
    assert!(marked().await);
    // What the hub's account holds is no matter of a tenant's.
    let balance = "account 0x01 has 7 wei, and this takes 9";
    *chain.refuses.lock().unwrap() = Some(NotOrdered::Refused(balance.to_owned()));
    served
        .ask("POST", &path)
        .json(&right)
        .send()
        .await
        .problem(409);
    let told = spending().await["not_brought"].clone();
    assert_eq!((&told["why"], &told["times"]), (&Value::Null, &4.into()));
}

/// What the hub would refuse to bring it does not promise to bring.
#[tokio::test]
async fn the_hub_pays_no_gas_where_the_limit_has_no_room_for_it() {
    let served = Served::start().await;
    let id = hex::encode(seed::INVOICE);
    let pays = async || {
        let seen = served.get(&checkout(&id)).send().await.ok();
        assert_eq!(seen["payable"], true, "there is another way");
        let way = &seen["methods"][0];
        assert!(way["typed_data"].is_object(), "{way}");
        way["hub_pays_gas"].as_bool().unwrap()
    };
    let fits = async || {
        let spending = served.get("/api/v1/payments/spending");
        let seen = spending.bearer(&served.tokens.admin).send().await.ok();
        seen["limits"][0]["fits"].clone()
    };
    assert!(!pays().await, "there is no limit");
    may_spend(&served, 2).await;
    assert_eq!((pays().await, fits().await), (true, true.into()));
    let send = NewSend {
        chain: CHAIN.to_owned(),
        sender: [1; 20],
        tenant: "acme".to_owned(),
        key: "elsewhere".to_owned(),
        receiver: [2; 20],
        value: [0; 32],
        data: vec![],
        gas: 200_000,
        most_fee: of_coin(1),
        token: None,
        brings: None,
    };
    let sends = &served.store.sends;
    sends.reserve_send(&send, 0, NOW_US).await.unwrap();
    assert_eq!((pays().await, fits().await), (true, true.into()));
    let more = NewSend {
        key: "more".to_owned(),
        ..send
    };
    sends.reserve_send(&more, 0, NOW_US).await.unwrap();
    assert_eq!((pays().await, fits().await), (false, false.into()));
    served.later(86_400);
    assert_eq!(fits().await, true);
}

/// It is taken, and what it comes to is said in words.
#[tokio::test]
async fn a_limit_that_lets_few_through_at_one_time_says_so() {
    let served = Served::start().await;
    let limit = async |tenths: u64| {
        may_spend(&served, tenths).await;
        let spending = served.get("/api/v1/payments/spending");
        let seen = spending.bearer(&served.tokens.admin).send().await.ok();
        seen["limits"][0].clone()
    };
    let one = limit(1).await;
    assert_eq!((&one["at_once"], &one["fits"]), (&1.into(), &true.into()));
    let told = one["warning"].as_str().unwrap();
    for words in [
        "0.1 of the coin of `local` has room for one settlement at one time, 0 of them for sales",
        "counts as 0.1 (200000 gas at `max_fee_gwei`, which is 500)",
        "set 1000000000000000000 wei for ten",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let nine = limit(9).await;
    let told = nine["warning"].as_str().unwrap();
    assert!(
        told.contains("9 settlements at one time, 4 of them"),
        "{told}"
    );
    let ten = limit(10).await;
    assert_eq!(
        (&ten["at_once"], &ten["warning"]),
        (&10.into(), &Value::Null)
    );
    assert_eq!(ten["sales_most_amount"], "0.5");
    assert_eq!(ten["sales_used_amount"], "0");
    assert_eq!(limit(0).await["warning"], Value::Null);
}

/// Until it is final one settlement counts as the most that it may cost: a limit below that is none.
#[tokio::test]
async fn a_limit_that_lets_nothing_through_is_refused_with_what_would_do() {
    let served = Served::start().await;
    served
        .store
        .chains
        .open_chain(CHAIN, ID, NOW_US)
        .await
        .unwrap();
    let operators = &served.store.operators;
    let operator = operators.create_operator("ops", NOW_US).await.unwrap().1;
    let operator = operator.reveal();
    let path = "/api/v1/operator/tenants/acme/spend-limits";
    let set = async |most: &str, token: Value| {
        let limit = json!({ "chain": CHAIN, "token": token, "window_s": 86_400, "most": most });
        let ask = served.ask("PUT", path).bearer(operator);
        ask.json(&limit).send().await
    };
    let coin = Value::Null;
    let why = set("50000000000000000", coin.clone()).await.problem(400);
    for told in ["0.05 of the coin", "0.1 (200000 gas", "which is 500)"] {
        assert!(why.contains(told), "{why}");
    }
    for most in ["100000000000000000", "0", "2000000000000000000"] {
        assert_eq!(set(most, coin.clone()).await.status, 204, "{most}");
    }
    let token = TOKEN.to_checksum(None).into();
    assert_eq!(set("2500000", token).await.status, 204);
    let seen = served
        .get("/api/v1/payments/spending")
        .bearer(&served.tokens.admin);
    let limits = seen.send().await.ok()["limits"].clone();
    let (coin, token) = (&limits[0], &limits[1]);
    for (name, value) in [
        ("most_amount", "2"),
        ("used", "0"),
        ("used_amount", "0"),
        ("settlement_amount", "0.1"),
    ] {
        assert_eq!(coin[name], value, "{limits}");
    }
    assert_eq!(
        (&coin["fits"], &coin["frees_us"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!(
        (&token["most_amount"], &token["fits"]),
        (&"2.5".into(), &Value::Null)
    );
    let shown = served.get(path).bearer(operator).send().await.ok();
    assert_eq!(shown["items"], limits);
}

#[tokio::test]
async fn an_authorisation_for_something_else_is_refused() {
    let served = Served::start().await;
    let id = hex::encode(seed::INVOICE);
    let path = format!("/pay/{id}/authorization");
    let post = async |body: &Value| served.ask("POST", &path).json(body).send().await;
    let typed = async |id: &str| {
        let seen = served.get(&checkout(id)).send().await.ok();
        seen["methods"][0]["typed_data"].clone()
    };
    let (own, payer) = (
        typed(&id).await,
        PrivateKeySigner::from_slice(&[7; 32]).unwrap(),
    );
    let same = json!({
        "amount": "2.5", "token": "local/TEST", "methods": ["local/TEST/authorization"],
    });
    let other = create(&served, &same).await.json();
    let others = typed(other["id"].as_str().unwrap()).await;
    assert_eq!(
        others["message"]["value"], own["message"]["value"],
        "they are over the same"
    );
    let elsewhere = |change: fn(&mut Domain)| {
        let mut domain = domain();
        change(&mut domain);
        sign_for(&payer, &own, &domain, |_| {})
    };
    let signed = |change: fn(&mut Authorization)| sign_for(&payer, &own, &domain(), change);
    let now = U256::from(NOW_US / 1_000_000);
    for (what, wrong, at) in [
        (
            "another invoice's",
            sign_for(&payer, &others, &domain(), |_| {}),
            "#/signature",
        ),
        (
            "another chain's",
            elsewhere(|it| it.chain = 1),
            "#/signature",
        ),
        (
            "another token's",
            elsewhere(|it| it.token = Address::repeat_byte(0x71)),
            "#/signature",
        ),
        (
            "an older token's",
            elsewhere(|it| it.version = "0".to_owned()),
            "#/signature",
        ),
        (
            "to somebody else",
            signed(|it| it.to = Address::repeat_byte(0x66)),
            "#/signature",
        ),
        (
            "with 18 decimals",
            signed(|it| it.value = "2500000000000000000".parse().unwrap()),
            "#/value",
        ),
        (
            "too much",
            signed(|it| it.value = "2500001".parse().unwrap()),
            "#/value",
        ),
        (
            "expired",
            sign_for(&payer, &own, &domain(), |it| it.valid_before = now),
            "#/validBefore",
        ),
        (
            "of tomorrow",
            sign_for(&payer, &own, &domain(), |it| {
                it.valid_after = now + U256::from(86_400);
                it.valid_before = now + U256::from(90_000);
            }),
            "#/validAfter",
        ),
    ] {
        let answer = post(&wrong).await;
        answer.problem(400);
        assert_eq!(pointer(&answer), at, "{what}: {answer:?}");
    }
    assert!(served.chain.orders.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_contract_wallet_signs_by_its_own_word() {
    let served = Served::start().await;
    let id = hex::encode(seed::INVOICE);
    let path = format!("/pay/{id}/authorization");
    let post = async |body: &Value| served.ask("POST", &path).json(body).send().await;
    let typed = served.get(&checkout(&id)).send().await.ok()["methods"][0]["typed_data"].clone();
    let now_s = u64::try_from(NOW_US / 1_000_000).unwrap();
    let wallet = Address::repeat_byte(0x5a);
    let nonce = typed["message"]["nonce"].as_str().unwrap().parse().unwrap();
    let authorization = Authorization {
        from: wallet,
        to: PAYEE,
        value: Amount::from(2_500_000_u64),
        valid_after: U256::ZERO,
        valid_before: U256::from(now_s + 600),
        nonce,
    };
    let signature = vec![0x11; 100];
    let body = json!({
        "from": wallet.to_checksum(None), "value": "2500000",
        "validBefore": (now_s + 600).to_string(),
        "signature": format!("0x{}", hex::encode(&signature)),
    });
    assert!(
        post(&body)
            .await
            .problem(400)
            .contains("no contract wallet")
    );
    served.chain.is_contract(wallet);
    assert!(
        post(&body)
            .await
            .problem(400)
            .contains("wallet does not take it")
    );
    let digest = authorization.digest(Kind::Transfer, &domain());
    let mut valid = [0; 32];
    valid[..4].copy_from_slice(&calls::IS_VALID);
    served
        .chain
        .answers(wallet, calls::is_valid_signature(digest, &signature), valid);
    let word = |n: u64| U256::from(n).to_be_bytes::<32>();
    served
        .chain
        .answers(TOKEN, calls::authorization_state(wallet, nonce), word(0));
    served
        .chain
        .answers(TOKEN, calls::balance_of(wallet), word(2_500_000));
    assert_eq!(post(&body).await.status, 202);
    let orders = served.chain.orders.lock().unwrap();
    assert_eq!(orders[0].data[..4], [0xcf, 0x09, 0x29, 0x95], "as bytes");
}

#[tokio::test]
async fn an_invoice_that_is_over_takes_no_authorisation() {
    let served = Served::start().await;
    let id = hex::encode(seed::INVOICE);
    let typed = served.get(&checkout(&id)).send().await.ok()["methods"][0]["typed_data"].clone();
    let payer = PrivateKeySigner::from_slice(&[7; 32]).unwrap();
    let now_s = u64::try_from(NOW_US / 1_000_000).unwrap();
    let body = sign(&payer, &typed, "2500000", now_s + 10_000);
    served.later(901);
    let seen = served.get(&checkout(&id)).send().await.ok();
    assert_eq!(seen["payable"], false);
    let answer = served
        .ask("POST", &format!("/pay/{id}/authorization"))
        .json(&body)
        .send()
        .await;
    assert!(answer.problem(409).contains("can't be paid any more"));
}

#[tokio::test]
async fn a_receipt_is_the_same_bytes_for_tenant_and_payer() {
    let served = Served::start().await;
    let unpaid = hex::encode(seed::INVOICE);
    served
        .read(&format!("{INVOICES}/{unpaid}/receipt"))
        .await
        .problem(409);
    served
        .get(&format!("/pay/{unpaid}/receipt"))
        .send()
        .await
        .problem(409);
    let (id, refund) = seed::overpaid(&served.cashier, &served.store).await;
    let tenants = served.read(&format!("{INVOICES}/{id}/receipt")).await;
    let payers = served.get(&format!("/pay/{id}/receipt")).send().await;
    assert_eq!((tenants.status, &tenants.body), (200, &payers.body));
    let digest = <sha2::Sha256 as sha2::Digest>::digest(tenants.body.as_bytes());
    assert_eq!(
        tenants.header("etag"),
        Some(format!("\"{}\"", hex::encode(digest)).as_str())
    );
    let receipt = tenants.json();
    assert_eq!(receipt["format"], "stencil-receipt/2");
    assert_eq!(
        (&receipt["refunds"][0]["id"], &receipt["round"]),
        (&refund.into(), &"1".into())
    );
}

#[tokio::test]
async fn a_refund_goes_where_it_is_said_to() {
    let served = Served::start().await;
    let (id, refund) = seed::overpaid(&served.cashier, &served.store).await;
    let path = format!("{INVOICES}/{id}/refunds/{refund}");
    let give = async |address: &str, reason: &str| {
        let body = json!({ "address": address, "reason": reason });
        served.decide(&format!("{path}/address"), &body).await
    };
    let there = Address::repeat_byte(0x77).to_checksum(None);
    assert_eq!(pointer(&give("0x12", "asked").await), "#/address");
    assert_eq!(pointer(&give(&there, " ").await), "#/reason");
    let shown = give(&there, "asked by mail").await.ok();
    let seen = &shown["refunds"][0];
    assert_eq!(
        (&seen["to"], &seen["managed"]),
        (&there.into(), &false.into())
    );
    let tx = format!("0x{}", "44".repeat(32));
    let sent = |tx: &str| json!({ "tx": tx });
    let at = format!("{path}/sent");
    let answer = served.decide(&at, &sent("0x44")).await;
    assert_eq!(pointer(&answer), "#/tx");
    let shown = served.decide(&at, &sent(&tx)).await.ok();
    assert_eq!(
        (&shown["refunds"][0]["status"], &shown["refunds"][0]["tx"]),
        (&"confirmed".into(), &tx.clone().into())
    );
    // What was told is not overwritten; the same again is no other.
    let told = served.decide(&at, &sent(&tx)).await.ok();
    assert_eq!(told["version"], shown["version"]);
    let another = sent(&format!("0x{}", "55".repeat(32)));
    let why = served.decide(&at, &another).await.problem(409);
    assert!(why.contains("sent already") && why.contains(&tx), "{why}");
    give(&Address::repeat_byte(0x78).to_checksum(None), "again")
        .await
        .problem(409);
    let other = format!("{INVOICES}/{id}/refunds/{}/address", "00".repeat(32));
    let body = json!({ "address": Address::repeat_byte(1).to_checksum(None), "reason": "x" });
    served.decide(&other, &body).await.problem(404);
    // Who edits does not decide about money that goes back.
    let decided = json!({ "decision": "refund_all" });
    for (at, body) in [
        (format!("{path}/address"), body),
        (at, sent(&tx)),
        (format!("{INVOICES}/{id}/decisions"), decided),
    ] {
        let why = served.write("POST", &at, &body).await.problem(403);
        assert!(why.contains("this needs an admin"), "{at}: {why}");
    }
    // What was done is written down.
    let audit = served
        .get("/api/v1/audit")
        .bearer(&served.tokens.admin)
        .send()
        .await
        .ok();
    assert!(audit.to_string().contains("asked by mail"), "{audit}");
}

#[tokio::test]
async fn the_console_shows_invoices_and_what_came_of_one() {
    let served = Served::start().await;
    let (id, refund) = seed::overpaid(&served.cashier, &served.store).await;
    let list = served.read("/invoices").await;
    assert_eq!(list.status, 200);
    assert!(
        list.body.contains(&id) && list.body.contains("locker-marked"),
        "{}",
        list.body
    );
    assert!(
        served
            .read("/invoices?state=expired")
            .await
            .body
            .contains("No invoice in this state")
    );
    served.read("/invoices?state=gone").await.problem(400);
    let one = served.read(&format!("/invoices/{id}")).await.body;
    for part in [
        "overpaid",
        "refund due",
        &refund,
        "nobody has said where it goes",
        "Receipt",
    ] {
        assert!(one.contains(part), "{part}: {one}");
    }
    served
        .read(&format!("/invoices/{}", "00".repeat(16)))
        .await
        .problem(404);
}

#[tokio::test]
async fn strangers_put_only_so_many_questions_to_a_chain_at_once() {
    let mut questions = None;
    let served = Served::start_changed(Limits::default(), |state| {
        questions = Some(state.questions().clone());
        state
    })
    .await;
    let questions = questions.unwrap();
    let id = hex::encode(seed::INVOICE);
    let paths = [
        (
            &questions.authorizations,
            format!("/pay/{id}/authorization"),
        ),
        (
            &questions.refunds,
            format!("/pay/{id}/refunds/{}/address", "0".repeat(32)),
        ),
    ];
    let bodies = [
        json!({ "from": "0x01", "value": "1", "validBefore": "1", "signature": "0x" }),
        json!({ "address": "0x01", "payer": "0x01", "signature": "0x" }),
    ];
    for ((pool, path), body) in paths.iter().zip(&bodies) {
        let post = async |from: u8| {
            let ask = served.ask("POST", path).from([127, 0, 0, from]);
            ask.json(body).send().await
        };
        let is_judged = |answer: &Answer| assert!((400..500).contains(&answer.status));
        is_judged(&post(1).await);
        let mut rooms = Vec::new();
        while let Ok(room) = pool.enter([127, 0, 0, 1].into()) {
            rooms.push(room);
        }
        let refused = post(1).await;
        assert!(refused.problem(503).contains("from your address"));
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        // Others have room, until there is none at all.
        is_judged(&post(2).await);
        for n in 3..=u8::MAX {
            while let Ok(room) = pool.enter([127, 0, 0, n].into()) {
                rooms.push(room);
            }
        }
        assert!(
            post(2)
                .await
                .problem(503)
                .contains("many questions as may be")
        );
        drop(rooms);
        is_judged(&post(1).await);
    }
}

/// A payment that no workflow took is started by hand, once there is one.
#[tokio::test]
async fn what_a_payment_has_started_is_shown_and_started_by_hand() {
    let served = Served::start().await;
    let (paid, _) = seed::overpaid(&served.cashier, &served.store).await;
    let (runs, start) = (
        format!("{INVOICES}/{paid}/runs"),
        format!("{INVOICES}/{paid}/start"),
    );
    let shown = async || served.get(&runs).bearer(&served.tokens.reader).send().await;
    let nothing = shown().await.ok();
    assert_eq!(
        nothing,
        json!({ "paid": true, "missed": false, "items": [] })
    );
    let started = async |token: &str| served.ask("POST", &start).bearer(token).send().await;
    let none = started(&served.tokens.editor).await.problem(409);
    assert!(none.contains("put one in force"), "{none}");
    seed::waits_for_lockers(&served).await;
    let editors = started(&served.tokens.editor).await.ok();
    let run = &editors["items"][0];
    assert_eq!(run["workflow"], "paid-marked");
    assert_eq!(shown().await.ok(), editors);
    let again = started(&served.tokens.editor).await.problem(409);
    assert!(again.contains("`paid-marked`"), "{again}");
    let page = served.read(&format!("/invoices/{paid}")).await;
    let link = format!("/runs/{}", run["run"].as_str().unwrap());
    assert!(page.body.contains(&link), "{page:?}");
    let open = seed::INVOICE.map(|byte| format!("{byte:02x}")).concat();
    let unpaid = served.ask("POST", &format!("{INVOICES}/{open}/start"));
    let unpaid = unpaid.bearer(&served.tokens.editor).send().await;
    assert!(unpaid.problem(409).contains("is not paid"), "{unpaid:?}");
}
