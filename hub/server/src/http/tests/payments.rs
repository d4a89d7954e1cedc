//! What somebody would lose money by is said before, and refused.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use stencil_payments::abi::calls;
use stencil_payments::invoice::{Event, Id, Payment};
use stencil_payments::money::Amount;
use stencil_payments::observation::{Block, Key};
use stencil_payments::{Address, B256};

use super::{Answer, Served, seed};
use crate::chains::tests::acme;
use crate::chains::tests::fake::{ACCOUNT, ANCHOR, CONTRACT, ESCROW, ID, PAYEE, TOKEN};

const INVOICES: &str = "/api/v1/invoices";

/// A part of the invoice of the seed comes by its first way.
async fn comes(served: &Served, units: u64) {
    let key = Key {
        chain: ID,
        tx: B256::repeat_byte(1),
        ordinal: 0,
    };
    let payment = Payment {
        method: 0,
        amount: Amount::from(units),
        from: Address::repeat_byte(9),
        block: Block {
            number: 1,
            hash: B256::ZERO,
            time_s: 1,
        },
    };
    let seq = 1;
    let came = Event::Credit { key, seq, payment };
    let cashier = &served.cashier;
    cashier
        .apply(&acme(), Id(seed::INVOICE), came)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_page_asks_for_the_rest_by_no_unique_amount() {
    let served = Served::start().await;
    super::invoices::may_spend(&served, 20).await;
    let id = hex::encode(seed::INVOICE);
    let page = async || served.get(&format!("/pay/{id}")).send().await.body;
    assert!(page().await.contains("Send exactly"));
    comes(&served, 1_000_000).await;
    let page = page().await;
    for (word, is_there) in [
        ("Send exactly", false),
        ("ethereum:", false),
        ("be told by its amount; pay the rest by another way", true),
        ("You sign that <strong>1.50 TEST", true),
    ] {
        assert_eq!(page.contains(word), is_there, "{word}: {page}");
    }
}

#[tokio::test]
async fn a_refund_goes_to_no_place_of_the_hubs_or_of_tenants() {
    let served = Served::start().await;
    let (id, refund) = seed::overpaid(&served.cashier, &served.store).await;
    let rivals = Address::repeat_byte(0x5a);
    let rival = "rival".parse().unwrap();
    seed::take_payments(&served.cashier, &served.store, &rival, rivals).await;
    let path = format!("{INVOICES}/{id}/refunds/{refund}/address");
    let give = async |address: Address| {
        let body = json!({ "address": address.to_checksum(None), "reason": "asked by mail" });
        served.decide(&path, &body).await
    };
    for (address, what) in [
        (ACCOUNT, "the hub's own account"),
        (PAYEE, "an address at which payments are taken"),
        (rivals, "an address at which payments are taken"),
        (TOKEN, "the contract of the token itself"),
        (CONTRACT, "a payment contract"),
        (ESCROW, "an escrow contract"),
        (ANCHOR, "the contract for anchors"),
    ] {
        let answer = give(address).await;
        let why = answer.problem(400);
        assert!(why.contains(what) && why.contains("payer's own"), "{why}");
        assert_eq!(answer.json()["errors"][0]["pointer"], "#/address");
    }
    // The market's contract is one that the tenant has named.
    seed::ownership(&served.store, &acme()).await;
    let why = give(seed::MARKET).await.problem(400);
    assert!(why.contains("the market's contract"), "{why}");
    give(Address::repeat_byte(0x77)).await.ok();
}

/// Nobody gets out what is paid there.
#[tokio::test]
async fn a_contract_that_the_hub_knows_takes_no_payments() {
    let served = Served::start().await;
    seed::ownership(&served.store, &acme()).await;
    let own = Address::repeat_byte(0xdd);
    let set = async |payee: Address, way: &str| {
        let contract = json!({
            "chain": "local", "token": "TEST", "way": "contract", "payee": PAYEE.to_checksum(None),
            "contract": own.to_checksum(None),
        });
        let paid = json!({
            "chain": "local", "token": "TEST", "way": way, "payee": payee.to_checksum(None),
        });
        let ask = served.ask("PUT", "/api/v1/payments/settings");
        let ask = ask.bearer(&served.tokens.admin);
        ask.json(&json!({ "methods": [paid, contract] }))
            .send()
            .await
    };
    served
        .chain
        .answers(own, calls::payee(), PAYEE.into_word().0.to_vec());
    for (payee, what) in [
        (TOKEN, "the contract of a token"),
        (CONTRACT, "a payment contract"),
        (own, "a payment contract"),
        (ESCROW, "an escrow contract"),
        (ANCHOR, "the contract for anchors"),
        (seed::MARKET, "the market's contract"),
    ] {
        for way in ["unique_amount", "authorization"] {
            let answer = set(payee, way).await;
            let why = answer.problem(400);
            assert!(
                why.contains(what) && why.contains("address of your own"),
                "{why}"
            );
            assert_eq!(answer.json()["errors"][0]["pointer"], "#/methods/0/payee");
        }
    }
    // A contract that nobody knows may be a wallet.
    let wallet = Address::repeat_byte(0x66);
    served.chain.is_contract(wallet);
    for payee in [wallet, ACCOUNT] {
        set(payee, "unique_amount").await.ok();
    }
    // What is sold is paid nowhere else.
    let sells = async |pay_to: Address| {
        let mut offer = super::x402::series();
        offer["prices"][0]["pay_to"] = json!(pay_to);
        served.offers("feed", &offer).await
    };
    for (pay_to, what) in [
        (own, "a payment contract"),
        (seed::MARKET, "the market's contract"),
        (CONTRACT, "a payment contract"),
        (ESCROW, "an escrow contract"),
    ] {
        let answer = sells(pay_to).await;
        let why = answer.problem(400);
        assert!(why.contains(what), "{why}");
        assert_eq!(answer.json()["errors"][0]["pointer"], "#/prices/0/pay_to");
    }
    assert_eq!(sells(wallet).await.status, 201);
    // One of ours that nobody has named is known by its code, as far as the chain says what that is.
    let unnamed = Address::repeat_byte(0x67);
    served
        .chain
        .own
        .lock()
        .unwrap()
        .insert(unnamed, "StencilEscrow");
    let refused = [
        (set(unnamed, "unique_amount").await, "#/methods/0/payee"),
        (sells(unnamed).await, "#/prices/0/pay_to"),
    ];
    for (answer, at) in refused {
        let why = answer.problem(400);
        assert!(
            why.contains("a contract of Stencil's (`StencilEscrow`)"),
            "{why}"
        );
        assert_eq!(answer.json()["errors"][0]["pointer"], at);
    }
    served.chain.silent.store(true, Ordering::SeqCst);
    for answer in [set(wallet, "unique_amount").await, sells(wallet).await] {
        assert!(answer.problem(503).contains("does not answer"));
    }
}

/// A payee whose key has leaked is replaced, whatever another chain says.
#[tokio::test]
async fn what_is_set_already_is_not_asked_of_its_chain_again() {
    let served = Served::start().await;
    let own = Address::repeat_byte(0xdd);
    let pays = |payee: Address| {
        let word = payee.into_word().0.to_vec();
        served.chain.answers(own, calls::payee(), word);
    };
    let set = async |payee: Address, expires_s: u32| {
        let contract = json!({
            "chain": "local", "token": "TEST", "way": "contract", "payee": PAYEE.to_checksum(None),
            "contract": own.to_checksum(None),
        });
        let paid = json!({
            "chain": "local", "token": "TEST", "way": "authorization", "payee": payee.to_checksum(None),
        });
        let ask = served.ask("PUT", "/api/v1/payments/settings");
        let ask = ask.bearer(&served.tokens.admin);
        let body = json!({ "methods": [paid, contract], "expires_s": expires_s });
        ask.json(&body).send().await
    };
    pays(PAYEE);
    set(ACCOUNT, 900).await.ok();
    served.chain.silent.store(true, Ordering::SeqCst);
    pays(ACCOUNT);
    let now = set(ACCOUNT, 600).await.ok();
    assert_eq!(now["set"]["expires_s"], 600, "{now}");
    // What is new has to be asked.
    let answer = set(Address::repeat_byte(0x66), 600).await;
    assert!(answer.problem(503).contains("does not answer"));
}

#[tokio::test]
async fn a_way_whose_amounts_are_used_up_keeps_no_invoice_from_being_made() {
    let served = Served::start().await;
    // A hundredth of 300 units is 3: four amounts.
    let wanted = |methods: Value| {
        let mut body = json!({ "amount": "0.000300", "token": "local/TEST" });
        if !methods.is_null() {
            body["methods"] = methods;
        }
        body
    };
    let make = async |methods: Value| served.write("POST", INVOICES, &wanted(methods)).await;
    let names = |answer: &Answer| {
        assert_eq!(answer.status, 201, "{answer:?}");
        let made = answer.json();
        let methods = made["methods"].as_array().unwrap().iter();
        methods
            .map(|way| way["way"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for _ in 0..4 {
        assert_eq!(
            names(&make(Value::Null).await),
            ["authorization", "unique_amount"]
        );
    }
    assert_eq!(names(&make(Value::Null).await), ["authorization"]);
    let named = make(json!(["local/TEST/unique_amount"])).await;
    assert!(
        named
            .problem(409)
            .contains("all amounts of TEST near this price")
    );
}

#[tokio::test]
async fn a_decision_that_decides_nothing_is_refused_with_those_that_are_open() {
    let served = Served::start().await;
    let id = hex::encode(seed::INVOICE);
    comes(&served, 1_000_000).await;
    let path = format!("{INVOICES}/{id}");
    let before = served.read(&path).await.ok();
    let decide = async |word: &str| {
        let body = json!({ "decision": word });
        served.decide(&format!("{path}/decisions"), &body).await
    };
    for word in ["keep_excess", "accept_late", "refuse_late"] {
        let why = decide(word).await.problem(409);
        let open = format!(
            "`{word}` decides nothing of this invoice as it stands; open: `accept_underpaid`, `refund_all`"
        );
        assert!(why.contains(&open), "{why}");
    }
    assert_eq!(served.read(&path).await.ok(), before, "no new version");
    let decided = decide("accept_underpaid").await.ok();
    // The same again is no other.
    assert_eq!(
        decide("accept_underpaid").await.ok()["version"],
        decided["version"]
    );
}

#[tokio::test]
async fn a_refund_is_told_as_sent_by_what_the_chain_has() {
    let served = Served::start().await;
    let (id, refund) = seed::overpaid(&served.cashier, &served.store).await;
    let path = format!("{INVOICES}/{id}/refunds/{refund}");
    let there =
        json!({ "address": Address::repeat_byte(0x77).to_checksum(None), "reason": "asked" });
    served.decide(&format!("{path}/address"), &there).await.ok();
    let [nowhere, reverted, other, good] = [0x41, 0x42, 0x43, 0x44].map(B256::repeat_byte);
    for (n, to) in [(0x42, 0x77), (0x43, 0x78), (0x44, 0x77)] {
        seed::sends(&served.chain, n, Address::repeat_byte(to));
    }
    {
        let mut known = served.chain.looked.lock().unwrap();
        known.insert(nowhere, None);
        let reverted = known.get_mut(&reverted).unwrap().as_mut().unwrap();
        reverted.outcome.succeeded = false;
    }
    let tell = async |tx: B256| {
        let body = json!({ "tx": format!("{tx:#x}") });
        served.decide(&format!("{path}/sent"), &body).await
    };
    for (tx, word) in [
        (nowhere, "in a block"),
        (reverted, "was reverted"),
        (other, "does not send that"),
    ] {
        let why = tell(tx).await.problem(409);
        assert!(why.contains(word), "{why}");
    }
    let shown = served.read(&format!("{INVOICES}/{id}")).await.ok();
    assert_eq!(shown["refunds"][0]["status"], "due");
    let shown = tell(good).await.ok();
    // It counts once it is final.
    assert_eq!(shown["refunds"][0]["status"], "sent");
}

#[tokio::test]
async fn what_has_paid_an_invoice_has_sent_no_refund_of_it_at_anybodys_word() {
    let served = Served::start().await;
    let (id, refund) = seed::overpaid(&served.cashier, &served.store).await;
    let path = format!("{INVOICES}/{id}/refunds/{refund}");
    let there =
        json!({ "address": Address::repeat_byte(0x77).to_checksum(None), "reason": "asked" });
    served.decide(&format!("{path}/address"), &there).await.ok();
    let invoice: Id = id.parse().unwrap();
    let at = served.cashier.invoice(&acme(), invoice).await.unwrap();
    let at = at.unwrap();
    let (key, _) = at.kept.invoice.payments().next().unwrap();
    served.chain.has(key.tx, 7, &[]);
    for unchecked in [false, true] {
        let body = json!({ "tx": format!("{:#x}", key.tx), "unchecked": unchecked });
        let why = served.decide(&format!("{path}/sent"), &body).await;
        let why = why.problem(409);
        assert!(why.contains("has paid this invoice"), "{why}");
    }
    let shown = served.read(&format!("{INVOICES}/{id}")).await.ok();
    assert_eq!(shown["refunds"][0]["status"], "due");
}

#[tokio::test]
async fn who_makes_an_invoice_that_nobody_brings_payments_of_is_warned() {
    let served = Served::start().await;
    let make = async |way: &str| {
        let body = json!({ "amount": "2.50", "token": "local/TEST", "methods": [format!("local/TEST/{way}")] });
        served.write("POST", INVOICES, &body).await.json()
    };
    let warned = make("authorization").await;
    let why = warned["warning"].as_str().unwrap();
    assert!(why.contains("the tenant's limit has no room"), "{why}");
    let path = format!("{INVOICES}/{}", warned["id"].as_str().unwrap());
    assert!(served.read(&path).await.ok().get("warning").is_none());
    assert!(make("unique_amount").await.get("warning").is_none());
    super::invoices::may_spend(&served, 20).await;
    assert!(make("authorization").await.get("warning").is_none());
}
