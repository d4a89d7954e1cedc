//! Invoices, how a tenant takes payments, and what a payer sees.

use serde_json::{Value, json};
use stencil_payments::{Address, U256};
use stencil_store::SpendLimit;

use super::{Answer, Limits, NOW_US, Served, seed};
use crate::chains::NotTold;
use crate::chains::tests::fake::{CHAIN, ID, PAYEE, TOKEN};

mod authorisation;
mod limits;
mod settings;

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
    // Nobody can say now what it has done.
    served.decide(&at, &sent(&tx)).await.problem(503);
    seed::sends(&served.chain, 0x44, Address::repeat_byte(0x77));
    let shown = served.decide(&at, &sent(&tx)).await.ok();
    assert_eq!(
        (&shown["refunds"][0]["status"], &shown["refunds"][0]["tx"]),
        (&"sent".into(), &tx.clone().into())
    );
    // The same again is no other.
    let told = served.decide(&at, &sent(&tx)).await.ok();
    assert_eq!(told["version"], shown["version"]);
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

#[tokio::test]
async fn webhooks_are_sent_again_on_the_invoices_page_where_there_are_any() {
    let served = Served::start().await;
    let (paid, _) = seed::overpaid(&served.cashier, &served.store).await;
    let tokens = &served.tokens;
    let page = async |token: &str| {
        let ask = served.get(&format!("/invoices/{paid}")).bearer(token);
        ask.send().await.body
    };
    let path = format!("{INVOICES}/{paid}/webhooks");
    let again = async || {
        let ask = served.ask("POST", &path).bearer(&tokens.editor);
        ask.send().await.ok()
    };
    let button = format!("POST {path}");
    assert!(!page(&tokens.admin).await.contains(&button));
    assert_eq!(again().await["webhook"], false);

    let hook =
        json!({ "webhook": { "url": "https://shop.example/hook", "secret": "signing-marked" } });
    set(&served, &tokens.admin, &hook).await.ok();
    assert!(!page(&tokens.reader).await.contains(&button));
    for token in [&tokens.editor, &tokens.admin] {
        let page = page(token).await;
        assert!(
            page.contains(&button) && !page.contains("not taken"),
            "{page}"
        );
    }
    let told = again().await;
    assert_eq!(told["webhook"], true);
    assert!(told["again"].is_u64(), "{told}");

    let not = NotTold {
        invoice: paid.parse().unwrap(),
        why: "410 Gone, marked".to_owned(),
        at_us: NOW_US,
        attempt: 3,
    };
    served.cashier.not_told(&seed::acme(), not);
    let (editors, admins) = (page(&tokens.editor).await, page(&tokens.admin).await);
    assert!(editors.contains("not taken") && !editors.contains("410 Gone, marked"));
    assert!(admins.contains("410 Gone, marked"), "{admins}");
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
