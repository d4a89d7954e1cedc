//! What a stranger sends is answered as the specifications say, and moves nothing.

use crate::support::{Client, Draft, many_logs, start};
use serde_json::{Value, json};
use stencil_devchain::{LogLimits, Mining, Options};

#[tokio::test]
async fn requests_that_are_none_are_told_so() {
    let chain = start(Options::default());
    let endpoint = chain.listen(0).await.unwrap();
    let client = Client::new(endpoint.url());
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
    for (name, bytes, code) in [
        ("nothing", String::new(), -32_700),
        ("half", r#"{"jsonrpc":"2.0","#.to_owned(), -32_700),
        ("deep", format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)), -32_700),
        ("deep arguments", format!(r#"{{"jsonrpc":"2.0","id":1,"method":"eth_call","params":{}{}}}"#, "[".repeat(500), "]".repeat(500)), -32_700),
        ("an empty batch", "[]".to_owned(), -32_600),
        ("a number", "7".to_owned(), -32_600),
        ("no version", r#"{"id":1,"method":"eth_chainId"}"#.to_owned(), -32_600),
        ("no method", r#"{"jsonrpc":"2.0","id":1}"#.to_owned(), -32_600),
        ("a huge batch", format!("[{}]", vec![call; 1_001].join(",")), -32_600),
        ("an unknown method", r#"{"jsonrpc":"2.0","id":1,"method":"eth_nothing"}"#.to_owned(), -32_601),
        ("named arguments", r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":{"address":"0x0"}}"#.to_owned(), -32_602),
        ("overrides", r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{},"latest",{"0x0000000000000000000000000000000000000001":{}}]}"#.to_owned(), -32_602),
        ("too many arguments", r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x0000000000000000000000000000000000000001","latest",1]}"#.to_owned(), -32_602),
    ] {
        let (status, text) = client.raw(bytes).await;
        assert_eq!(status, 200, "{name}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["error"]["code"], code, "{name}: {text}");
    }
    // Only what has an id is answered.
    assert_eq!(
        client
            .raw(r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#)
            .await,
        (200, String::new())
    );
    let (_, text) = client
        .raw(format!(
            r#"[{call}, 1, {{"jsonrpc":"2.0","method":"eth_chainId"}}]"#
        ))
        .await;
    let answers: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0]["result"], "0x7a69");
    assert_eq!(answers[1]["error"]["code"], -32_600);
}

#[tokio::test]
async fn what_is_not_json_or_too_large_is_no_rpc() {
    let chain = start(Options::default());
    let endpoint = chain.listen(0).await.unwrap();
    let client = Client::new(endpoint.url());
    let (status, text) = client.raw(" ".repeat(5 * 1024 * 1024 + 1)).await;
    assert_eq!(status, 413);
    assert!(text.contains("at most 5242880 bytes"), "{text}");
    let http = reqwest::Client::new();
    let plain = http.post(endpoint.url()).body("{}").send().await.unwrap();
    assert_eq!(plain.status(), 415);
    let get = http.get(endpoint.url()).send().await.unwrap();
    assert!(get.status().is_client_error(), "{}", get.status());
    let put = http.put(endpoint.url()).send().await.unwrap();
    assert_eq!(put.status(), 405);
    // A page of another origin gets no permission, unless it is set.
    let asked = http
        .post(endpoint.url())
        .header("origin", "http://elsewhere");
    let asked = asked.json(&json!({"jsonrpc":"2.0","id":1,"method":"eth_chainId"}));
    let answer = asked.send().await.unwrap();
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_page_that_may_call_is_let_and_no_other() {
    let allow_origins = vec!["http://shop.example".to_owned()];
    let chain = start(Options {
        allow_origins,
        ..Options::default()
    });
    let endpoint = chain.listen(0).await.unwrap();
    let http = reqwest::Client::new();
    for (origin, allowed) in [("http://shop.example", true), ("http://elsewhere", false)] {
        let asked = http
            .request(reqwest::Method::OPTIONS, endpoint.url())
            .header("origin", origin);
        let answer = asked.send().await.unwrap();
        let named = answer.headers().get("access-control-allow-origin");
        assert_eq!(
            named.map(|named| named.to_str().unwrap()),
            allowed.then_some(origin)
        );
        assert_eq!(answer.status().is_success(), allowed);
    }
}

#[tokio::test]
async fn logs_are_bounded_as_real_nodes_bound_them() {
    let logs = LogLimits {
        max_blocks: 10,
        max_logs: 5,
    };
    let chain = start(Options {
        logs,
        ..Options::default()
    });
    let endpoint = chain.listen(0).await.unwrap();
    let client = Client::new(endpoint.url());
    let from = chain.accounts()[0].signer().unwrap();
    chain
        .submit(Draft::create(&many_logs(), 0).sign(&from))
        .unwrap();
    let contract = from.address().create(0);
    chain
        .submit(Draft::to(contract, 1).input(5).sign(&from))
        .unwrap();
    chain
        .submit(Draft::to(contract, 2).input(1).sign(&from))
        .unwrap();
    chain.mine(20);
    let ask = |from: u64, to: u64| json!([{ "fromBlock": format!("{from:#x}"), "toBlock": format!("{to:#x}") }]);
    let wide = client.error("eth_getLogs", ask(0, 10)).await;
    assert_eq!(
        wide,
        json!({ "code": -32_602, "message": "exceed maximum block range: 10" })
    );
    let many = client.error("eth_getLogs", ask(0, 9)).await;
    assert_eq!(many["code"], -32_005);
    assert_eq!(
        many["message"],
        "query returned more than 5 results. Try with a smaller block range"
    );
    assert_eq!(
        client
            .call("eth_getLogs", ask(2, 2))
            .await
            .as_array()
            .unwrap()
            .len(),
        5
    );
    assert_eq!(
        client.error("eth_getLogs", ask(5, 4)).await["code"],
        -32_602
    );
    let beyond = client.error("eth_getLogs", ask(24, 25)).await;
    assert_eq!(beyond["code"], -32_602);
    for wrong in [
        json!([{ "fromBlock": "0x1", "blockHash": alloy_primitives::B256::ZERO }]),
        json!([{ "address": "0x12" }]),
        json!([{ "topics": [null, null, null, null, null] }]),
        json!([{ "address": (0..1_001_u64).map(|n| alloy_primitives::Address::from_word(alloy_primitives::U256::from(n).into())).collect::<Vec<_>>() }]),
        json!(["all"]),
    ] {
        assert_eq!(client.error("eth_getLogs", wrong).await["code"], -32_602);
    }
}

#[tokio::test]
async fn state_and_blocks_that_are_no_longer_kept_are_told_so() {
    let chain = start(Options {
        undo_depth: 8,
        keep_blocks: 20,
        ..Options::default()
    });
    let endpoint = chain.listen(0).await.unwrap();
    let client = Client::new(endpoint.url());
    let snapshot = chain.snapshot();
    let account = chain.accounts()[0].address;
    for wei in 0..30_u64 {
        chain.set_balance(account, alloy_primitives::U256::from(wei));
        chain.mine(1);
    }
    assert_eq!(
        client
            .call("eth_getBalance", json!([account, "0x16"]))
            .await,
        "0x16"
    );
    let error = client
        .error("eth_getBalance", json!([account, "0x15"]))
        .await;
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("the newest 8 are kept"),
        "{error}"
    );
    let error = client
        .error("eth_getBlockByNumber", json!(["0x1", false]))
        .await;
    assert_eq!(
        error,
        json!({ "code": 4444, "message": "pruned history unavailable" })
    );
    assert_eq!(
        client
            .error("eth_getLogs", json!([{ "fromBlock": "0x1" }]))
            .await["code"],
        4444
    );
    let error = client.error("anvil_reorg", json!([9, []])).await;
    assert!(
        error["message"].as_str().unwrap().contains("can be undone"),
        "{error}"
    );
    assert!(!chain.revert(snapshot));
    chain.reorg(8, &[], false).unwrap();
    assert_eq!(chain.head().number, 30);
}

#[tokio::test]
async fn bytes_of_any_kind_are_refused_and_nothing_breaks() {
    let chain = start(Options {
        mining: Mining::Manual,
        ..Options::default()
    });
    let endpoint = chain.listen(0).await.unwrap();
    let client = Client::new(endpoint.url());
    let from = chain.accounts()[0].signer().unwrap();
    let good = Draft::to(from.address(), 0).value(1).sign(&from);
    // Each byte changed or cut: another transaction at best, never a broken chain.
    for index in 0..good.len() {
        let mut changed = good.to_vec();
        changed[index] ^= 0x55;
        let _ = chain.submit(changed.into());
        assert!(chain.submit(good.slice(..index)).is_err());
    }
    client.send(&good).await;
    chain.mine(1);
    assert_eq!(client.number().await, 1);
}
