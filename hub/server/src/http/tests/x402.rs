//! Data for single payments: what it costs, who is refused and why, and that nobody pays twice.

pub(super) mod money;

use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use serde_json::{Value, json};
use stencil_payments::cause::Key;
use stencil_payments::eip712::{Authorization, Domain, Kind};
use stencil_payments::money::{Amount, Asset, Token};
use stencil_payments::observation::Needs;
use stencil_payments::x402::header;
use stencil_payments::x402::{PaymentRequired, SettleResponse};
use stencil_payments::{Address, B256, Bytes, U256};
use stencil_store::{Store, StoredPurchase};

use super::client::Answer;
use super::{Limits, NOW_US, Served};
use crate::chains::x402::{Bought, Offer, Purchase};
use money::{Mode, PAYEE, TOKEN, domain};

const NOW_S: u64 = 1_700_000_000;
const FEED: &str = "/x402/acme/feed-marked";

fn key() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap()
}

pub(super) fn payer() -> Address {
    key().address()
}

fn price() -> Value {
    json!({ "chain": "local", "token": TOKEN, "amount": "0.01", "pay_to": PAYEE })
}

pub(super) fn series() -> Value {
    json!({
        "sells": { "series": {
            "device": "freezer-marked", "name": "temperature", "longest_span_s": 60,
        } },
        "description": "Temperatures", "prices": [price()], "settle_s": 1,
    })
}

/// An offer of a device's newest values.
pub(super) fn offer(device: &str) -> Value {
    json!({
        "sells": { "endpoint": { "path": format!("/api/v1/devices/{device}/latest") } },
        "prices": [price()],
    })
}

/// An offer of `acme`'s that somebody has bought.
pub(super) async fn bought(store: &Store) {
    let (acme, body) = (super::seed::acme(), offer("freezer-marked"));
    let offer: Offer = serde_json::from_value(body).unwrap();
    let body = serde_json::to_string(&offer).unwrap();
    let offers = &store.offers;
    let made = offers.put_offer(&acme, "offer-marked", &body, &[], NOW_US);
    assert!(made.await.unwrap());
    let purchase = Purchase {
        bought: Bought::Endpoint {
            path: "/api/v1/devices/freezer-marked/latest".into(),
        },
        chain: "local".into(),
        token: Token::new(Asset::erc20(money::CHAIN_ID, TOKEN), 6, "USDX").unwrap(),
        amount: Amount::from(10_000_u64),
        pay_to: PAYEE,
        payer: Address::repeat_byte(1),
        nonce: B256::repeat_byte(1),
        valid_before_s: NOW_S,
        fingerprint: Key([1; 32]),
        to: TOKEN,
        call_data: Bytes::new(),
        gas: 1,
        needs: Needs::Confirmations(1),
        settle_s: 1,
        repeat_s: 1,
        answered_us: Some(NOW_US),
        held: None,
        charge: None,
        attempt: 0,
        held_by: None,
        called_off: false,
    };
    let stored = StoredPurchase {
        tenant: acme,
        purchase: [1; 16],
        version: 1,
        offer: "offer-marked".into(),
        payer: [1; 20],
        body: purchase.body(),
        wakes_us: None,
        under_way: false,
        command: None,
        created_us: NOW_US,
        changed_us: NOW_US,
    };
    store.offers.commit_purchase(&stored, None).await.unwrap();
}

/// A payment that was signed, and what is said beside it.
#[derive(Clone)]
pub(super) struct Signed {
    payload: Value,
}

impl Signed {
    /// What a client makes of a 402.
    pub(super) fn of(required: &PaymentRequired, nonce: u8) -> Self {
        Self::with(required, nonce, &domain(), |_| {})
    }

    pub(super) fn with(
        required: &PaymentRequired,
        nonce: u8,
        domain: &Domain,
        change: impl FnOnce(&mut Authorization),
    ) -> Self {
        Self::by(&key(), required, nonce, domain, change)
    }

    fn by(
        key: &PrivateKeySigner,
        required: &PaymentRequired,
        nonce: u8,
        domain: &Domain,
        change: impl FnOnce(&mut Authorization),
    ) -> Self {
        let accepted = &required.accepts[0];
        let mut authorization = Authorization {
            from: key.address(),
            to: accepted.pay_to.parse().unwrap(),
            value: accepted.amount.parse::<Amount>().unwrap(),
            valid_after: U256::from(NOW_S - 600),
            valid_before: U256::from(NOW_S + accepted.max_timeout_seconds),
            nonce: B256::repeat_byte(nonce),
        };
        change(&mut authorization);
        let digest = authorization.digest(Kind::Transfer, domain);
        let signature = key.sign_hash_sync(&digest).unwrap();
        let Authorization {
            from,
            to,
            value,
            valid_after,
            valid_before,
            nonce,
        } = authorization;
        let payload = json!({
            "x402Version": 2,
            "resource": required.resource,
            "accepted": accepted,
            "payload": {
                "signature": format!("0x{}", hex::encode(signature.as_bytes())),
                "authorization": {
                    "from": from, "to": to, "value": value.to_string(),
                    "validAfter": valid_after.to_string(),
                    "validBefore": valid_before.to_string(), "nonce": nonce,
                },
            },
        });
        Self { payload }
    }

    pub(super) fn header(&self) -> String {
        header::encode(&self.payload).unwrap()
    }

    fn changed(&self, change: impl FnOnce(&mut Value)) -> Self {
        let mut next = self.clone();
        change(&mut next.payload);
        next
    }
}

pub(super) fn required(answer: &Answer) -> PaymentRequired {
    assert_eq!(answer.status, 402, "{answer:?}");
    // The test client writes heads in small letters; the body says the same.
    assert!(answer.header("payment-required").is_some(), "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

impl Served {
    pub(super) async fn offers(&self, name: &str, offer: &Value) -> Answer {
        let path = format!("/api/v1/offers/{name}");
        let ask = self.ask("PUT", &path).bearer(&self.tokens.admin);
        ask.json(offer).send().await
    }

    async fn pays(&self, path: &str, signed: &Signed) -> Answer {
        let ask = self.get(path).header("PAYMENT-SIGNATURE", &signed.header());
        ask.send().await
    }

    /// How many transactions were ordered.
    fn orders(&self) -> usize {
        self.money.ordered().len()
    }

    async fn purchases(&self) -> Vec<Value> {
        let list = self.read("/api/v1/purchases").await.ok();
        let all = list["items"].as_array().unwrap().iter();
        let new = all.filter(|it| it["offer"] != "offer-marked");
        new.cloned().collect()
    }
}

/// With the offer `feed-marked`, and a payer who has 100 cents.
async fn selling() -> Served {
    let served = Served::start().await;
    assert_eq!(served.offers("feed-marked", &series()).await.status, 201);
    served.money.gives(payer(), 1_000_000);
    served
}

async fn costs(served: &Served, path: &str) -> PaymentRequired {
    required(&served.get(path).send().await)
}

/// What is paid on a chain that stands still, or that nobody follows, would not be seen.
#[tokio::test]
async fn nobody_is_asked_to_pay_where_that_is_not_seen() {
    let served = selling().await;
    let required = costs(&served, FEED).await;
    let unusable = |why: Option<&str>| {
        *served.money.unusable.lock().unwrap() = why.map(str::to_owned);
    };
    unusable(Some("the chain local can't be used now"));
    let answer = served.get(FEED).send().await;
    answer.problem(503);
    assert!(answer.header("payment-required").is_none(), "{answer:?}");
    let signed = Signed::of(&required, 9);
    served.pays(FEED, &signed).await.problem(503);
    assert_eq!(served.orders(), 0);
    let why = served.offers("more", &series()).await.problem(503);
    assert!(why.contains("the chain local can't be used now"), "{why}");
    unusable(None);
    assert_eq!(served.pays(FEED, &signed).await.status, 200);
}

/// One payment that is not settled, shown over and over again, keeps no other from being settled.
#[tokio::test]
async fn who_pays_has_room_whatever_another_network_asks() {
    let mut questions = None;
    let served = Served::start_changed(Limits::default(), |state| {
        questions = Some(state.questions().clone());
        state
    })
    .await;
    assert_eq!(served.offers("feed-marked", &series()).await.status, 201);
    served.money.gives(payer(), 1_000_000);
    let required = costs(&served, FEED).await;
    let questions = questions.unwrap();
    for (nonce, pool) in [(1, &questions.payments), (2, &questions.settlements)] {
        let signed = Signed::of(&required, nonce);
        let pays = async |from: u8| {
            let ask = served.get(FEED).from([127, 0, 0, from]);
            let ask = ask.header("PAYMENT-SIGNATURE", &signed.header());
            ask.send().await
        };
        let mut rooms = Vec::new();
        while let Ok(room) = pool.enter([127, 0, 0, 1].into()) {
            rooms.push(room);
        }
        let refused = pays(1).await;
        assert!(refused.problem(503).contains("from your address"));
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        assert_eq!(pays(2).await.status, 200);
        drop(rooms);
        assert_eq!(pays(1).await.status, 200);
    }
}

#[tokio::test]
async fn an_offer_of_a_device_that_is_not_there_says_so() {
    let served = selling().await;
    let mut offer = series();
    let set = served.offers("feed-marked", &offer).await.ok();
    assert_eq!(set["warning"], Value::Null);
    offer["sells"]["series"]["device"] = json!("nobody-9");
    let set = served.offers("feed-marked", &offer).await.ok();
    let told = set["warning"].as_str().unwrap();
    assert!(told.contains("there is no device `nobody-9` yet"), "{told}");
}

#[tokio::test]
async fn who_asks_is_told_what_it_costs() {
    let served = selling().await;
    let required = costs(&served, FEED).await;
    assert_eq!(required.x402_version, 2);
    assert!(required.error.unwrap().contains("PAYMENT-SIGNATURE"));
    assert!(required.resource.url.ends_with(FEED));
    assert_eq!(
        required.resource.description.as_deref(),
        Some("Temperatures")
    );
    let [accepted] = &required.accepts[..] else {
        panic!("one price");
    };
    assert_eq!(
        (
            &accepted.scheme[..],
            &accepted.network[..],
            &accepted.amount[..]
        ),
        ("exact", "eip155:31337", "10000")
    );
    assert_eq!(accepted.asset.parse(), Ok(TOKEN));
    assert_eq!(accepted.pay_to.parse(), Ok(PAYEE));
    assert_eq!(accepted.max_timeout_seconds, 16);
    // Another tenant's offers are not there, and none that is none.
    for path in ["/x402/rival/feed-marked", "/x402/acme/none", "/x402/a b/c"] {
        let status = served.get(&path.replace(' ', "%20")).send().await.status;
        assert_eq!(status, 404, "{path}");
    }
    // A browser is told the same as a program.
    let answer = served.get(FEED).header("accept", "text/html").send().await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!((served.orders(), served.purchases().await.len()), (0, 0));
}

#[tokio::test]
async fn a_span_is_bought_once_however_often_the_payment_is_shown() {
    let served = selling().await;
    let (from_us, to_us) = (NOW_US - 30_000_000, NOW_US - 10_000_000);
    let path = format!("{FEED}?from_us={from_us}&to_us={to_us}");
    let signed = Signed::of(&costs(&served, &path).await, 1);
    let first = served.pays(&path, &signed).await;
    assert_eq!(first.status, 200, "{first:?}");
    let body = first.json();
    let times: Vec<_> = body["items"].as_array().unwrap().iter().collect();
    assert_eq!((times.len(), &body["next"]), (20, &Value::Null));
    assert_eq!(times[0]["time_us"], from_us);
    assert!(first.header("payment-response").is_some());
    assert_eq!(served.money.balance(payer()), 990_000);
    assert_eq!(served.money.balance(PAYEE), 10_000);

    let again = served.pays(&path, &signed).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(
        again.header("payment-response"),
        first.header("payment-response")
    );
    // In portions it is still what was bought.
    let rest = format!("{path}&after={}&limit=5", NOW_US - 15_000_000);
    let rest = served.pays(&rest, &signed).await.ok();
    assert_eq!(rest["items"].as_array().unwrap().len(), 4);
    assert_eq!((served.orders(), served.money.balance(PAYEE)), (1, 10_000));
    let bought = served.purchases().await;
    assert_eq!(bought.len(), 1);
    assert_eq!(bought[0]["payer"], payer().to_checksum(None));
    assert_eq!(bought[0]["bought"]["series"]["from_us"], from_us);

    // After its time it opens nothing any more: it can be read from the chain.
    served.later(601);
    let late = required(&served.pays(&path, &signed).await);
    assert!(late.error.unwrap().contains("not again after 600 seconds"));
    assert_eq!(served.orders(), 1);
}

#[tokio::test]
async fn what_was_settled_is_told_in_the_answers_head() {
    let served = selling().await;
    let signed = Signed::of(&costs(&served, FEED).await, 1);
    let stream = served
        .get(FEED)
        .header("PAYMENT-SIGNATURE", &signed.header());
    let head = super::client::head(stream).await;
    let value = head
        .lines()
        .find_map(|line| line.strip_prefix("payment-response: "))
        .unwrap();
    let settled: SettleResponse = header::decode(value.as_bytes()).unwrap();
    let tx = format!("{:#x}", B256::repeat_byte(1));
    let expected =
        SettleResponse::settled("eip155:31337", &payer().to_checksum(None), &tx, "10000");
    assert_eq!(settled, expected);
}

#[tokio::test]
async fn a_payment_opens_what_it_was_for_and_nothing_else() {
    let served = selling().await;
    assert_eq!(served.offers("other-marked", &series()).await.status, 201);
    let required_for_feed = costs(&served, FEED).await;
    let unnamed = Signed::of(&required_for_feed, 1).changed(|payload| {
        payload.as_object_mut().unwrap().remove("resource");
    });
    let other = "/x402/acme/other-marked";
    // It says what it is for.
    let answer = served.pays(other, &Signed::of(&required_for_feed, 9)).await;
    let error = required(&answer).error.unwrap();
    assert!(error.starts_with("invalid_payment_requirements"), "{error}");
    assert_eq!(served.orders(), 0);
    // It does not, and was used elsewhere.
    assert_eq!(served.pays(FEED, &unnamed).await.status, 200);
    let span = format!("{FEED}?from_us={}&to_us={NOW_US}", NOW_US - 1_000_000);
    for path in [other, &span] {
        let error = required(&served.pays(path, &unnamed).await).error.unwrap();
        assert!(error.contains("has bought something else"), "{error}");
    }
    // Its nonce with another signature.
    let another = Signed::with(&required_for_feed, 1, &domain(), |it| {
        it.valid_before += U256::from(1);
    });
    let error = required(&served.pays(FEED, &another).await).error.unwrap();
    assert!(error.contains("was used for another payment"), "{error}");
    assert_eq!((served.orders(), served.money.balance(PAYEE)), (1, 10_000));
    // Another tenant that asks as much gets nothing by it either.
    let path = "/api/v1/offers/feed-marked";
    let ask = served.ask("PUT", path).bearer(&served.tokens.rival);
    let offer = {
        let mut offer = series();
        offer["prices"][0]["pay_to"] = json!(Address::repeat_byte(0xbb));
        offer
    };
    assert_eq!(ask.json(&offer).send().await.status, 201);
    let answer = served.pays("/x402/rival/feed-marked", &unnamed).await;
    assert_eq!(answer.status, 404, "it has no such series: {answer:?}");
}

#[tokio::test]
async fn what_does_not_do_is_refused_by_its_name_and_costs_nothing() {
    let served = selling().await;
    let wanted = costs(&served, FEED).await;
    let good = Signed::of(&wanted, 1);
    let accepted = |field: &'static str, value: Value| {
        good.changed(|payload| payload["accepted"][field] = value)
    };
    let signed = |change: fn(&mut Authorization)| Signed::with(&wanted, 1, &domain(), change);
    let mut elsewhere = domain();
    elsewhere.chain = 1;
    served.money.uses(payer(), B256::repeat_byte(0x55));
    let cases = [
        // Forged: somebody else's, for another chain, or changed afterwards.
        (
            "invalid_exact_evm_payload_signature",
            signed(|it| it.from = Address::repeat_byte(0x66)),
        ),
        (
            "invalid_exact_evm_payload_signature",
            Signed::with(&wanted, 1, &elsewhere, |_| {}),
        ),
        (
            "invalid_exact_evm_payload_signature",
            good.changed(|payload| {
                payload["payload"]["authorization"]["nonce"] = json!(B256::repeat_byte(2));
            }),
        ),
        ("invalid_network", accepted("network", json!("eip155:1"))),
        (
            "invalid_payment_requirements",
            accepted("asset", json!(Address::repeat_byte(0x71))),
        ),
        // 0.01 with 18 decimals.
        (
            "invalid_payment_requirements",
            accepted("amount", json!("10000000000000000")),
        ),
        (
            "invalid_exact_evm_payload_authorization_value_mismatch",
            signed(|it| it.value = Amount::from(9_999_u64)),
        ),
        (
            "invalid_exact_evm_payload_recipient_mismatch",
            signed(|it| it.to = Address::repeat_byte(0x66)),
        ),
        (
            "invalid_exact_evm_payload_authorization_valid_before",
            signed(|it| it.valid_before = U256::from(NOW_S)),
        ),
        (
            "invalid_exact_evm_payload_authorization_valid_before",
            signed(|it| it.valid_before = U256::MAX),
        ),
        (
            "invalid_exact_evm_payload_authorization_valid_after",
            signed(|it| it.valid_after = U256::from(NOW_S + 60)),
        ),
        (
            "invalid_transaction_state",
            signed(|it| it.nonce = B256::repeat_byte(0x55)),
        ),
        (
            "unsupported_scheme",
            accepted("extra", json!({ "assetTransferMethod": "permit2" })),
        ),
        ("invalid_scheme", accepted("scheme", json!("upto"))),
    ];
    for (reason, payment) in cases {
        let error = required(&served.pays(FEED, &payment).await).error.unwrap();
        assert!(error.starts_with(reason), "{reason}: {error}");
    }
    served.money.gives(payer(), 9_999);
    let error = required(&served.pays(FEED, &good).await).error.unwrap();
    assert!(error.starts_with("insufficient_funds"), "{error}");
    assert_eq!((served.orders(), served.purchases().await.len()), (0, 0));
    // And what is right afterwards is taken.
    served.money.gives(payer(), 10_000);
    assert_eq!(served.pays(FEED, &good).await.status, 200);
}

#[tokio::test]
async fn what_is_malformed_is_said_where() {
    let served = selling().await;
    let good = Signed::of(&costs(&served, FEED).await, 1);
    let cases = [
        ("no base64", "~".to_owned()),
        ("invalid_payload", header::encode(&json!({})).unwrap()),
        ("at most 16384", "A".repeat(17_000)),
        (
            "payload.authorization.value",
            good.changed(|it| it["payload"]["authorization"]["value"] = json!("1e4"))
                .header(),
        ),
        (
            "invalid_x402_version",
            good.changed(|it| it["x402Version"] = json!(1)).header(),
        ),
        (
            "payload.signature",
            good.changed(|it| it["payload"]["signature"] = json!("0xzz"))
                .header(),
        ),
    ];
    for (expected, value) in cases {
        let ask = served.get(FEED).header("PAYMENT-SIGNATURE", &value);
        let detail = ask.send().await.problem(400);
        assert!(detail.contains(expected), "{expected}: {detail}");
    }
    let twice = served.get(FEED).header("PAYMENT-SIGNATURE", &good.header());
    let twice = twice
        .header("PAYMENT-SIGNATURE", &good.header())
        .send()
        .await;
    assert!(twice.problem(400).contains("once"));
    for (expected, query) in [
        ("not before", "?from_us=5&to_us=5"),
        ("60000000 at most", "?from_us=0&to_us=60000001"),
        ("unknown field", "?form_us=5"),
        ("`limit`", "?limit=0"),
    ] {
        let detail = served
            .get(&format!("{FEED}{query}"))
            .send()
            .await
            .problem(400);
        assert!(detail.contains(expected), "{query}: {detail}");
    }
    assert_eq!((served.orders(), served.purchases().await.len()), (0, 0));
}

#[tokio::test]
async fn clients_of_version_1_are_told_so() {
    let served = selling().await;
    let answer = served.get(FEED).header("X-PAYMENT", "e30=").send().await;
    assert_eq!(answer.status, 402);
    let body = answer.json();
    assert_eq!(
        (&body["x402Version"], &body["accepts"]),
        (&json!(1), &json!([]))
    );
    assert!(body["error"].as_str().unwrap().contains("x402 version 2"));
}

#[tokio::test]
async fn who_asks_for_the_head_alone_is_charged_nothing() {
    let served = selling().await;
    let signed = Signed::of(&costs(&served, FEED).await, 1);
    let ask = served.ask("HEAD", FEED);
    let answer = ask
        .header("PAYMENT-SIGNATURE", &signed.header())
        .send()
        .await;
    assert_eq!((answer.status, served.orders()), (402, 0));
}

#[tokio::test]
async fn a_chain_that_can_not_be_asked_is_no_reason_to_charge() {
    let served = selling().await;
    let signed = Signed::of(&costs(&served, FEED).await, 1);
    served.money.hears(false);
    let answer = served.pays(FEED, &signed).await;
    assert!(
        answer
            .problem(503)
            .contains("ask again with the same payment")
    );
    assert!(answer.header("retry-after").is_some());
    assert_eq!((served.orders(), served.purchases().await.len()), (0, 0));
    served.money.hears(true);
    assert_eq!(served.pays(FEED, &signed).await.status, 200);
}

#[tokio::test]
async fn what_is_not_settled_yet_is_asked_for_again_and_paid_once() {
    let served = selling().await;
    let signed = Signed::of(&costs(&served, FEED).await, 1);
    // A chain that does not answer, and then one that takes its time.
    served.money.set(Mode::IsBusy);
    let answer = served.pays(FEED, &signed).await;
    assert!(answer.problem(503).contains("can't be asked"));
    assert_eq!(served.orders(), 0);
    served.money.set(Mode::Waits);
    for _ in 0..2 {
        let answer = served.pays(FEED, &signed).await;
        assert!(answer.problem(503).contains("not settled yet"));
        assert!(answer.header("payment-response").is_some());
    }
    // Its time to be signed is over, and it was ordered before.
    served.later(3_600);
    served.money.include().await;
    assert_eq!(served.pays(FEED, &signed).await.status, 200);
    assert_eq!((served.orders(), served.money.balance(PAYEE)), (1, 10_000));
}

#[tokio::test]
async fn what_was_not_ordered_and_is_no_longer_good_costs_nothing() {
    let served = selling().await;
    let signed = Signed::of(&costs(&served, FEED).await, 1);
    served.money.set(Mode::IsBusy);
    served.pays(FEED, &signed).await.problem(503);
    // Meanwhile the payer has spent the money.
    served.money.set(Mode::Includes);
    served.money.gives(payer(), 9_999);
    let error = required(&served.pays(FEED, &signed).await).error.unwrap();
    assert!(error.contains("would be reverted"), "{error}");
    assert_eq!(served.orders(), 0);
    served.money.gives(payer(), 10_000);
    assert_eq!(served.pays(FEED, &signed).await.status, 200);
}

#[tokio::test]
async fn what_the_sellers_limit_refuses_is_called_off() {
    let served = selling().await;
    let required_now = costs(&served, FEED).await;
    let signed = Signed::of(&required_now, 1);
    served.money.set(Mode::Refuses);
    for why in ["the seller's limit", "called off"] {
        let answer = served.pays(FEED, &signed).await;
        let error = required(&answer).error.unwrap();
        assert!(error.contains(why), "{error}");
        assert!(error.contains("sign a new payment"), "{error}");
        assert!(answer.header("payment-response").is_some());
    }
    let invoices = served.read("/api/v1/invoices?state=cancelled").await.ok();
    assert_eq!(invoices["items"].as_array().unwrap().len(), 1);
    // With room again it is a new payment that goes through, and the old one never does.
    served.money.set(Mode::Includes);
    let error = required(&served.pays(FEED, &signed).await).error.unwrap();
    assert!(error.contains("called off"), "{error}");
    assert_eq!(served.orders(), 0);
    let signed = Signed::of(&required_now, 2);
    assert_eq!(served.pays(FEED, &signed).await.status, 200);
    assert_eq!((served.orders(), served.money.balance(PAYEE)), (1, 10_000));
}

/// Two requests show the same payment at once: what the one calls off the other does not order.
#[tokio::test]
async fn what_is_called_off_is_not_ordered_by_who_took_it_before() {
    let served = selling().await;
    let signed = Signed::of(&costs(&served, FEED).await, 1);
    let payment = serde_json::from_value(signed.payload).unwrap();
    let offer: Offer = serde_json::from_value(series()).unwrap();
    let bought = Bought::Endpoint {
        path: "/api/v1/devices/freezer-marked/latest".into(),
    };
    let (sales, acme) = (&served.sales, super::seed::acme());
    let taken = sales.take(&acme, "feed-marked", &offer, &bought, &payment);
    let kept = taken.await.unwrap();
    served.money.set(Mode::Refuses);
    assert!(sales.settle(&kept).await.is_err());
    served.money.set(Mode::Includes);
    let refused = format!("{:?}", sales.settle(&kept).await.unwrap_err());
    assert!(refused.contains("called off"), "{refused}");
    assert_eq!(served.orders(), 0);
}

#[tokio::test]
async fn of_one_balance_so_much_is_ordered_as_it_pays() {
    let served = selling().await;
    served.money.set(Mode::Waits);
    served.money.gives(payer(), 10_000);
    let costs = costs(&served, FEED).await;
    let all: Vec<_> = (1..=20).map(|nonce| Signed::of(&costs, nonce)).collect();
    let answers = all.iter().map(|signed| served.pays(FEED, signed));
    let answers = futures_util::future::join_all(answers).await;
    let refused = answers.iter().filter(|answer| answer.status == 402);
    let errors: Vec<_> = refused.map(|it| required(it).error.unwrap()).collect();
    assert_eq!(errors.len(), 19, "{answers:?}");
    for error in &errors {
        assert!(error.starts_with("insufficient_funds"), "{error}");
        assert!(error.contains("signed away"), "{error}");
    }
    assert_eq!((served.orders(), served.purchases().await.len()), (1, 1));
    // Once that is paid, more is worth as much as is there then.
    served.money.include().await;
    served.money.gives(payer(), 10_000);
    served.money.set(Mode::Includes);
    let next = Signed::of(&costs, 21);
    assert_eq!(served.pays(FEED, &next).await.status, 200);
    assert_eq!((served.orders(), served.money.balance(PAYEE)), (2, 20_000));
}

#[tokio::test]
async fn a_payer_has_so_many_payments_unsettled_and_no_more() {
    let served = selling().await;
    served.money.set(Mode::Waits);
    let costs = costs(&served, FEED).await;
    let all: Vec<_> = (1..=20).map(|nonce| Signed::of(&costs, nonce)).collect();
    let answers = all.iter().map(|signed| served.pays(FEED, signed));
    let answers = futures_util::future::join_all(answers).await;
    let told: Vec<_> = answers.iter().map(|answer| answer.problem(503)).collect();
    let waits = |why: &&String| why.contains("16 payments that are not settled");
    assert_eq!(told.iter().filter(waits).count(), 4, "{told:?}");
    assert_eq!((served.orders(), served.purchases().await.len()), (16, 16));
    // Those whose time is over without a settlement make room, too.
    served.later(16 + 601);
    let late = Signed::with(&costs, 21, &domain(), |it| {
        it.valid_before += U256::from(700);
    });
    let told = served.pays(FEED, &late).await.problem(503);
    assert!(told.contains("not settled yet"), "{told}");
    assert_eq!(served.orders(), 17);
}

#[tokio::test]
async fn the_same_payment_many_times_at_once_is_paid_once() {
    let served = selling().await;
    let signed = Signed::of(&costs(&served, FEED).await, 1);
    let all = (0..12).map(|_| served.pays(FEED, &signed));
    let answers = futures_util::future::join_all(all).await;
    assert!(answers.iter().all(|it| it.status == 200), "{answers:?}");
    assert!(answers.iter().all(|it| it.body == answers[0].body));
    assert_eq!((served.orders(), served.money.balance(PAYEE)), (1, 10_000));
}

#[tokio::test]
async fn a_settlement_that_is_reverted_opens_nothing() {
    let served = selling().await;
    let signed = Signed::of(&costs(&served, FEED).await, 1);
    served.money.set(Mode::Reverts);
    for _ in 0..2 {
        let answer = served.pays(FEED, &signed).await;
        let error = required(&answer).error.unwrap();
        assert!(error.starts_with("invalid_transaction_state"), "{error}");
        assert!(error.contains("nothing was paid"), "{error}");
        assert!(answer.header("payment-response").is_some());
    }
    assert_eq!((served.orders(), served.money.balance(PAYEE)), (1, 0));
}

#[tokio::test]
async fn whoever_brings_an_authorisation_first_it_is_paid() {
    let served = selling().await;
    let signed = Signed::of(&costs(&served, FEED).await, 1);
    served.money.set(Mode::IsLate);
    assert_eq!(served.pays(FEED, &signed).await.status, 200);
    assert_eq!((served.orders(), served.money.balance(PAYEE)), (1, 10_000));
}

/// Each has cost the seller gas.
#[tokio::test]
async fn a_payer_whose_payments_come_to_nothing_is_refused_for_a_time() {
    let served = selling().await;
    let costs = costs(&served, FEED).await;
    served.money.is_at(NOW_US);
    served.money.set(Mode::Reverts);
    for nonce in 1..=3 {
        let answer = served.pays(FEED, &Signed::of(&costs, nonce)).await;
        let error = required(&answer).error.unwrap();
        assert!(error.contains("nothing was paid"), "{error}");
    }
    let brings = served.money.ordered().into_iter().map(|it| it.brings);
    assert!(brings.flatten().all(|it| it.is_sale && it.payer == payer()));
    // What would go through is refused as well, and by name.
    served.money.set(Mode::Includes);
    let answer = served.pays(FEED, &Signed::of(&costs, 4)).await;
    let error = required(&answer).error.unwrap();
    assert!(error.starts_with("invalid_transaction_state"), "{error}");
    for told in ["3 payments", "have failed", "2023-11-15T22:13:20"] {
        assert!(error.contains(told), "{told}: {error}");
    }
    assert_eq!(answer.header("retry-after"), Some("86400"));
    assert_eq!(served.orders(), 3);
    assert_eq!(served.purchases().await.len(), 3, "nothing is kept of it");
    // Whoever else buys is not concerned.
    let other = PrivateKeySigner::from_bytes(&B256::repeat_byte(8)).unwrap();
    served.money.gives(other.address(), 1_000_000);
    let theirs = Signed::by(&other, &costs, 5, &domain(), |_| {});
    assert_eq!(served.pays(FEED, &theirs).await.status, 200);
    // A day later it is as before.
    served.later(86_400);
    let now_s = NOW_S + 86_400;
    let late = Signed::with(&costs, 6, &domain(), |it| {
        it.valid_before = U256::from(now_s + 30);
    });
    assert_eq!(served.pays(FEED, &late).await.status, 200);
}

/// Whoever sees an authorisation can bring it before the hub does: its payer has paid.
#[tokio::test]
async fn what_was_brought_by_somebody_else_is_not_held_against_its_payer() {
    let served = selling().await;
    let costs = costs(&served, FEED).await;
    served.money.is_at(NOW_US);
    served.money.set(Mode::IsLate);
    for nonce in 1..=5 {
        let signed = Signed::of(&costs, nonce);
        assert_eq!(served.pays(FEED, &signed).await.status, 200, "{nonce}");
    }
    assert_eq!(served.orders(), 5);
}

/// Verified before others of its payer failed, and not ordered by then.
#[tokio::test]
async fn what_waits_is_called_off_once_its_payer_is_refused() {
    let served = selling().await;
    let costs = costs(&served, FEED).await;
    served.money.is_at(NOW_US);
    served.money.set(Mode::IsBusy);
    let waits = Signed::of(&costs, 1);
    served.pays(FEED, &waits).await.problem(503);
    served.money.set(Mode::Reverts);
    for nonce in 2..=4 {
        required(&served.pays(FEED, &Signed::of(&costs, nonce)).await);
    }
    served.money.set(Mode::Includes);
    let error = required(&served.pays(FEED, &waits).await).error.unwrap();
    assert!(error.contains("have failed"), "{error}");
    assert_eq!(served.orders(), 3);
    let error = required(&served.pays(FEED, &waits).await).error.unwrap();
    assert!(error.contains("called off"), "{error}");
}

#[tokio::test]
async fn a_token_that_takes_a_fee_does_not_pay() {
    let served = selling().await;
    let signed = Signed::of(&costs(&served, FEED).await, 1);
    served.money.set(Mode::TakesFee);
    let error = required(&served.pays(FEED, &signed).await).error.unwrap();
    assert!(
        error.contains("9000 came: the token takes a fee"),
        "{error}"
    );
}

#[tokio::test]
async fn a_payment_by_an_invoices_nonce_is_told_where_it_went() {
    let served = selling().await;
    let invoice = super::seed::INVOICE;
    served.money.set(Mode::PaysInvoice(invoice));
    let signed = Signed::of(&costs(&served, FEED).await, 1);
    let error = required(&served.pays(FEED, &signed).await).error.unwrap();
    assert!(error.contains("has paid that invoice"), "{error}");
    // The invoice is the seller's to tell of.
    assert!(!error.contains(&hex::encode(invoice)), "{error}");
    let again = required(&served.pays(FEED, &signed).await).error.unwrap();
    assert_eq!((again, served.orders()), (error, 1));
}

#[tokio::test]
async fn endpoints_are_sold_as_the_api_answers_them() {
    let served = selling().await;
    for (nonce, path) in [
        (1, "/api/v1/devices/freezer-marked"),
        (2, "/api/v1/devices/freezer-marked/latest"),
        (3, "/api/v1/devices/freezer-marked/series"),
        (4, "/api/v1/content/notices-marked/draft-marked"),
    ] {
        let offer = json!({
            "sells": { "endpoint": { "path": path } }, "prices": [price()], "settle_s": 1,
        });
        let set = served.offers("one-marked", &offer).await;
        assert!(matches!(set.status, 200 | 201), "{set:?}");
        let sold = "/x402/acme/one-marked";
        let signed = Signed::of(&costs(&served, sold).await, nonce);
        let bought = served.pays(sold, &signed).await.ok();
        assert_eq!(bought, served.read(path).await.ok(), "{path}");
        let query = format!("{sold}?from_us=1");
        assert!(
            served
                .get(&query)
                .send()
                .await
                .problem(400)
                .contains("no query")
        );
    }
    // Nothing is charged for what is not there.
    let offer = json!({
        "sells": { "endpoint": { "path": "/api/v1/devices/gone" } }, "prices": [price()],
    });
    assert_eq!(served.offers("gone-marked", &offer).await.status, 201);
    served
        .get("/x402/acme/gone-marked")
        .send()
        .await
        .problem(404);
}

#[tokio::test]
async fn offers_that_make_no_sense_are_refused_with_what_would() {
    let served = selling().await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut offer = series();
        change(&mut offer);
        offer
    };
    let set = |pointer: &'static str, value: Value| {
        with(&|offer| *offer.pointer_mut(pointer).unwrap() = value.clone())
    };
    let path = |path: &str| json!({ "endpoint": { "path": path } });
    let cases = [
        (
            "no chain `other`, but local",
            set("/prices/0/chain", json!("other")),
        ),
        ("0x and 40", set("/prices/0/token", json!("USDX"))),
        (
            "USDX",
            set("/prices/0/token", json!(Address::repeat_byte(0x71))),
        ),
        (
            "checksum",
            set(
                "/prices/0/pay_to",
                json!("0x5FbDB2315678afecb367f032d93F642f64180aA3"),
            ),
        ),
        ("nobody", set("/prices/0/pay_to", json!(Address::ZERO))),
        ("`amount`", set("/prices/0/amount", json!("0.0000001"))),
        ("more than nothing", set("/prices/0/amount", json!("0"))),
        ("1 to 16", set("/prices", json!([]))),
        ("there already", set("/prices", json!([price(), price()]))),
        ("`settle_s`", set("/settle_s", json!(46))),
        (
            "longest_span_s",
            set("/sells/series/longest_span_s", json!(0)),
        ),
        ("sells.endpoint.path", set("/sells", path("/api/v1/tokens"))),
        (
            "sells.endpoint.path",
            set("/sells", path("/api/v1/devices/a/../b")),
        ),
        ("`description`", set("/description", json!("a\nb"))),
        ("unknown field", with(&|it| it["price"] = json!(1))),
        ("`repeat_s`", with(&|it| it["repeat_s"] = json!(86_401))),
        (
            "confirmations",
            with(&|it| it["needs"] = json!({ "confirmations": 0 })),
        ),
        (
            "`loss_limit` is for commands",
            with(&|it| it["prices"][0]["loss_limit"] = json!("1")),
        ),
    ];
    for (expected, offer) in cases {
        let detail = served.offers("bad", &offer).await.problem(400);
        assert!(detail.contains(expected), "{expected}: {detail}");
    }
    // Each says which field it is.
    for (at, value) in [
        ("/prices/0/chain", json!("other")),
        ("/prices/0/token", json!("USDX")),
        ("/prices/0/pay_to", json!(TOKEN)),
        ("/prices/0/pay_to", json!(Address::ZERO)),
        ("/prices/0/amount", json!("0")),
        ("/prices", json!([])),
        ("/settle_s", json!(46)),
        ("/sells/series/longest_span_s", json!(0)),
        ("/description", json!("a\nb")),
    ] {
        let answer = served.offers("bad", &set(at, value)).await;
        answer.problem(400);
        assert_eq!(answer.json()["errors"][0]["pointer"], format!("#{at}"));
    }
    let to_token = set("/prices/0/pay_to", json!(TOKEN));
    let why = served.offers("bad", &to_token).await.problem(400);
    assert!(why.contains("the contract of the token itself"), "{why}");
    for name in ["Feed", "-feed", "a_b", &"x".repeat(65)] {
        assert_eq!(served.offers(name, &series()).await.status, 400, "{name}");
    }
    served.get("/x402/acme/bad").send().await.problem(404);
}

#[tokio::test]
async fn an_address_that_takes_another_tenants_payments_is_refused_when_it_is_set() {
    let served = selling().await;
    let put = async |token: &str, pay_to: Address| {
        let mut offer = series();
        offer["prices"][0]["pay_to"] = json!(pay_to);
        let ask = served.ask("PUT", "/api/v1/offers/more").bearer(token);
        ask.json(&offer).send().await
    };
    // By the settings of the one, and by an offer.
    let refused = put(&served.tokens.rival, PAYEE).await;
    assert!(refused.problem(409).contains("another tenant"));
    let own = Address::repeat_byte(0xab);
    assert_eq!(put(&served.tokens.admin, own).await.status, 201);
    let refused = put(&served.tokens.rival, own).await;
    assert!(refused.problem(409).contains("another tenant"));
    let settings = served.ask("PUT", "/api/v1/payments/settings");
    let settings = settings.bearer(&served.tokens.rival);
    let refused = settings.json(&super::seed::payments(own)).send().await;
    assert!(refused.problem(409).contains("another tenant"));
    // Nothing of it was kept; and once the one is gone from there, the other may come.
    let rivals = Address::repeat_byte(0xbb);
    assert_eq!(put(&served.tokens.rival, rivals).await.status, 201);
    let gone = served.ask("DELETE", "/api/v1/offers/more");
    let gone = gone.bearer(&served.tokens.admin).send().await;
    assert_eq!(gone.status, 204);
    assert_eq!(put(&served.tokens.rival, own).await.status, 200);
}

#[tokio::test]
async fn offers_are_set_listed_and_taken_away() {
    let served = selling().await;
    let mut dearer = series();
    dearer["prices"][0]["amount"] = json!("0.02");
    dearer["needs"] = json!("finalized");
    let set = served.offers("feed-marked", &dearer).await.ok();
    assert_eq!(set["prices"][0]["amount"], "0.02");
    assert!(set["url"].as_str().unwrap().ends_with(FEED));
    let shown = served.read("/api/v1/offers/feed-marked").await.ok();
    assert_eq!((&shown, &shown["repeat_s"]), (&set, &json!(600)));
    let list = served.read("/api/v1/offers?limit=1").await.ok();
    assert_eq!(
        (&list["items"][0], &list["next"]),
        (&set, &json!("feed-marked"))
    );
    assert_eq!(costs(&served, FEED).await.accepts[0].amount, "20000");
    let path = "/api/v1/offers/feed-marked";
    let audit = served.get("/api/v1/audit").bearer(&served.tokens.admin);
    let audit = audit.send().await.ok();
    assert_eq!(audit["items"][0]["action"], "offers.put");
    assert_eq!(audit["items"][0]["target"], "feed-marked");
    let gone = served.ask("DELETE", path).bearer(&served.tokens.admin);
    assert_eq!(gone.send().await.status, 204);
    served.get(FEED).send().await.problem(404);
    let gone = served.ask("DELETE", path).bearer(&served.tokens.admin);
    gone.send().await.problem(404);
}

#[tokio::test]
async fn a_payment_of_before_a_new_price_is_still_good() {
    let served = selling().await;
    let signed = Signed::of(&costs(&served, FEED).await, 1);
    served.money.set(Mode::Waits);
    served.pays(FEED, &signed).await.problem(503);
    let mut dearer = series();
    dearer["prices"][0]["amount"] = json!("0.02");
    assert_eq!(served.offers("feed-marked", &dearer).await.status, 200);
    served.money.include().await;
    assert_eq!(served.pays(FEED, &signed).await.status, 200);
    // A new one at the old price is not.
    let other = signed.changed(|it| {
        it["payload"]["authorization"]["nonce"] = json!(B256::repeat_byte(3));
    });
    let error = required(&served.pays(FEED, &other).await).error.unwrap();
    assert!(error.starts_with("invalid_payment_requirements"), "{error}");
}
