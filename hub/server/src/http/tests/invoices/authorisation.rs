//! What a payer signs, and the hub brings.

use std::sync::atomic::Ordering;

use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use serde_json::{Value, json};
use stencil_payments::abi::calls;
use stencil_payments::eip712::{Authorization, Domain, Kind};
use stencil_payments::invoice::{Definition, Event, Id, Payment, Policy, Way};
use stencil_payments::money::Amount;
use stencil_payments::observation::{Block, Key, Needs};
use stencil_payments::port::{Called, InVain, Outcome, Sent, Unknown};
use stencil_payments::{Address, B256, U256};

use super::super::{NOW_US, Served, seed};
use super::{checkout, create, may_spend, pointer};
use crate::chains::tests::fake::{ID, PAYEE, TOKEN, domain};
use crate::chains::tests::invoice;
use crate::chains::{About, NewInvoice};

/// What a wallet makes of the typed data that a payer was shown.
pub(super) fn sign(payer: &PrivateKeySigner, typed: &Value, value: &str, before_s: u64) -> Value {
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
    // The payer whose it is has signed once more.
    let shown = served.get(&checkout(&id)).send().await.ok()["methods"][0].clone();
    let (mut next, nonce) = (typed.clone(), shown["nonces"][1].clone());
    next["message"]["nonce"] = nonce.clone();
    let nonce = nonce.as_str().unwrap().parse().unwrap();
    let payer = covered(&served, [7, 8, 9][first], nonce);
    let more = sign(&payer, &next, "2500000", now_s + 600);
    let why = post(&more).await.problem(409);
    assert!(
        why.contains("another authorisation of this payer's"),
        "{why}"
    );
    let why = post(&signed[second]).await.problem(409);
    assert!(why.contains("another payer's authorisation"), "{why}");
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
    // What has failed makes way once that is final: after a reorganisation it may succeed.
    ends(Sent::Included(outcome(false)));
    let why = post(&signed[second]).await.problem(409);
    assert!(why.contains("once that is final"), "{why}");
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
    ends(Sent::Final(outcome(false)));
    let why = post(&again(10)).await.problem(409);
    assert!(why.contains("brings no more"), "{why}");
    assert_eq!(served.chain.orders.lock().unwrap().len(), 3);
    assert_eq!(seen().await["hub_pays_gas"], false);
}

/// A payer whose chain says that they have not used this nonce, and have enough.
fn covered(served: &Served, key: u8, nonce: B256) -> PrivateKeySigner {
    let payer = PrivateKeySigner::from_slice(&[key; 32]).unwrap();
    let (chain, from) = (&served.chain, payer.address());
    let word = |n: u64| U256::from(n).to_be_bytes::<32>();
    chain.answers(TOKEN, calls::authorization_state(from, nonce), word(0));
    chain.answers(TOKEN, calls::balance_of(from), word(9_000_000));
    payer
}

/// Whoever knows who has paid could ask for it otherwise, and nobody would learn that what they sent was wrong.
#[tokio::test]
async fn what_is_on_its_way_is_told_to_who_can_show_it() {
    let served = Served::start().await;
    may_spend(&served, 20).await;
    let id = hex::encode(seed::INVOICE);
    let path = format!("/pay/{id}/authorization");
    let post = async |body: &Value| served.ask("POST", &path).json(body).send().await;
    let typed = served.get(&checkout(&id)).send().await.ok()["methods"][0]["typed_data"].clone();
    let nonce = typed["message"]["nonce"].as_str().unwrap().parse().unwrap();
    let now_s = u64::try_from(NOW_US / 1_000_000).unwrap();
    let payer = covered(&served, 7, nonce);
    let right = sign(&payer, &typed, "2500000", now_s + 600);
    assert_eq!(post(&right).await.status, 202);
    for (field, other) in [
        ("signature", "0x12".to_owned()),
        ("signature", format!("0x{}", "12".repeat(65))),
        ("validBefore", (now_s + 601).to_string()),
        ("value", "2500001".to_owned()),
    ] {
        let mut changed = right.clone();
        changed[field] = other.into();
        let answer = post(&changed).await;
        answer.problem(400);
        assert_eq!(pointer(&answer), "#/signature", "{field}");
    }
    assert_eq!(post(&right).await.status, 202, "the same again");
    assert_eq!(served.chain.orders.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn which_nonce_was_signed_is_found_by_the_signature() {
    let served = Served::start().await;
    may_spend(&served, 20).await;
    let id = hex::encode(seed::INVOICE);
    let path = format!("/pay/{id}/authorization");
    let post = async |body: &Value| served.ask("POST", &path).json(body).send().await;
    let seen = served.get(&checkout(&id)).send().await.ok()["methods"][0].clone();
    let (mut typed, next) = (seen["typed_data"].clone(), seen["nonces"][1].clone());
    typed["message"]["nonce"] = next.clone();
    let nonce: B256 = next.as_str().unwrap().parse().unwrap();
    let now_s = u64::try_from(NOW_US / 1_000_000).unwrap();
    let signed = sign(&covered(&served, 7, nonce), &typed, "2500000", now_s + 600);
    // What is named is meant.
    let mut named = signed.clone();
    named["attempt"] = 0.into();
    let answer = post(&named).await;
    answer.problem(400);
    assert_eq!(pointer(&answer), "#/signature");
    assert_eq!(post(&signed).await.status, 202);
    let orders = served.chain.orders.lock().unwrap();
    let brought = orders[0]
        .data
        .windows(32)
        .any(|word| word == nonce.as_slice());
    assert!(brought, "{:?}", orders[0].data);
}

#[tokio::test]
async fn what_tokens_take_is_not_known_before_the_chain_was_reached() {
    let served = Served::start().await;
    may_spend(&served, 20).await;
    let id = hex::encode(seed::INVOICE);
    let path = format!("/pay/{id}/authorization");
    let typed = served.get(&checkout(&id)).send().await.ok()["methods"][0]["typed_data"].clone();
    let nonce = typed["message"]["nonce"].as_str().unwrap().parse().unwrap();
    let now_s = u64::try_from(NOW_US / 1_000_000).unwrap();
    let signed = sign(&covered(&served, 7, nonce), &typed, "2500000", now_s + 600);
    let chain = &served.chain;
    chain.unknown.store(true, Ordering::SeqCst);
    *chain.not_ready.lock().unwrap() = Some("the chain was not reached yet".to_owned());
    let post = async || served.ask("POST", &path).json(&signed).send().await;
    let why = post().await.problem(503);
    assert!(why.contains("send the same again"), "{why}");
    chain.unknown.store(false, Ordering::SeqCst);
    *chain.not_ready.lock().unwrap() = None;
    assert_eq!(post().await.status, 202);
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
