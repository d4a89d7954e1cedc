//! What the hub may spend on what payers have signed.

use alloy_signer_local::PrivateKeySigner;
use serde_json::{Value, json};
use stencil_payments::U256;
use stencil_payments::abi::calls;
use stencil_payments::port::NotOrdered;
use stencil_store::NewSend;

use super::super::{NOW_US, Served, seed};
use super::authorisation::sign;
use super::{checkout, may_spend, of_coin};
use crate::chains::tests::fake::{CHAIN, ID, TOKEN};

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
    let operator = operators
        .create_operator("ops", None, NOW_US)
        .await
        .unwrap()
        .1;
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
