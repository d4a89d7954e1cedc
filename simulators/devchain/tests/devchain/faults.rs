//! What an endpoint does wrong, as a client meets it; the other endpoint stays right.

use std::time::Duration;

use crate::support::{Client, Draft, many_logs, start};
use serde_json::json;
use stencil_devchain::{DevChain, Endpoint, Faults, Options};

struct Set {
    chain: DevChain,
    good: Endpoint,
    bad: Endpoint,
    /// A contract that logs as often as it is told.
    contract: alloy_primitives::Address,
    from: alloy_signer_local::PrivateKeySigner,
}

async fn set_up(faults: Faults) -> Set {
    let chain = start(Options::default());
    let (good, bad) = (
        chain.listen(0).await.unwrap(),
        chain.listen(0).await.unwrap(),
    );
    let from = chain.accounts()[0].signer().unwrap();
    chain
        .submit(Draft::create(&many_logs(), 0).sign(&from))
        .unwrap();
    bad.set_faults(faults).unwrap();
    let contract = from.address().create(0);
    Set {
        chain,
        good,
        bad,
        contract,
        from,
    }
}

impl Set {
    async fn answers(&self) -> reqwest::Result<reqwest::Response> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_chainId" });
        reqwest::Client::new()
            .post(self.bad.url())
            .json(&call)
            .send()
            .await
    }
}

#[tokio::test]
async fn it_lags() {
    let set = set_up(Faults {
        lag_blocks: 3,
        ..Faults::default()
    })
    .await;
    let (good, bad) = (Client::new(set.good.url()), Client::new(set.bad.url()));
    let hash = set
        .chain
        .submit(Draft::to(set.contract, 1).input(2).sign(&set.from))
        .unwrap();
    set.chain.mine(2);
    assert_eq!((good.number().await, bad.number().await), (4, 1));
    for (method, params) in [
        ("eth_getTransactionReceipt", json!([hash])),
        ("eth_getBlockByNumber", json!(["0x2", false])),
        ("eth_getBlockByHash", json!([set.chain.head().hash, false])),
    ] {
        assert!(bad.call(method, params.clone()).await.is_null(), "{method}");
        assert!(!good.call(method, params).await.is_null(), "{method}");
    }
    let nonce = json!([set.from.address(), "latest"]);
    assert_eq!(
        bad.call("eth_getTransactionCount", nonce.clone()).await,
        "0x1"
    );
    assert_eq!(good.call("eth_getTransactionCount", nonce).await, "0x2");
}

#[tokio::test]
async fn it_lies_about_logs_hashes_and_state() {
    let set = set_up(Faults {
        missing_logs_permille: 1_000,
        ..Faults::default()
    })
    .await;
    let (good, bad) = (Client::new(set.good.url()), Client::new(set.bad.url()));
    set.chain
        .submit(Draft::to(set.contract, 1).input(8).sign(&set.from))
        .unwrap();
    let range = json!([{ "fromBlock": "0x0" }]);
    assert_eq!(
        good.call("eth_getLogs", range.clone())
            .await
            .as_array()
            .unwrap()
            .len(),
        8
    );
    let told = bad.call("eth_getLogs", range).await;
    assert!(told.as_array().unwrap().len() < 8);

    set.bad
        .set_faults(Faults {
            wrong_hash_permille: 1_000,
            ..Faults::default()
        })
        .unwrap();
    let latest = json!(["latest", false]);
    let right = good.call("eth_getBlockByNumber", latest.clone()).await;
    let wrong = bad.call("eth_getBlockByNumber", latest).await;
    assert_ne!(right["hash"], wrong["hash"]);
    assert_eq!(right["parentHash"], wrong["parentHash"]);
    assert!(
        good.call("eth_getBlockByHash", json!([wrong["hash"], false]))
            .await
            .is_null()
    );

    let older = Faults {
        older_state_permille: 500,
        older_state_blocks: 2,
        ..Faults::default()
    };
    set.bad.set_faults(older).unwrap();
    set.chain.mine(5);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        seen.insert(bad.number().await);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [5, 6, 7]);
}

#[tokio::test]
async fn it_drops() {
    let set = set_up(Faults {
        close_permille: 1_000,
        ..Faults::default()
    })
    .await;
    let error = set.answers().await.unwrap_err();
    assert!(error.is_request(), "{error:?}");

    let half = Faults {
        half_answer_permille: 1_000,
        ..Faults::default()
    };
    set.bad.set_faults(half).unwrap();
    let answer = set.answers().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.is_err());

    for (faults, status) in [
        (
            Faults {
                too_many_permille: 1_000,
                ..Faults::default()
            },
            429,
        ),
        (
            Faults {
                unavailable_permille: 1_000,
                ..Faults::default()
            },
            503,
        ),
    ] {
        set.bad.set_faults(faults).unwrap();
        assert_eq!(set.answers().await.unwrap().status(), status);
    }

    let hang = Faults {
        hang_permille: 1_000,
        hang_ms: 600_000,
        ..Faults::default()
    };
    set.bad.set_faults(hang).unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(300), set.answers()).await;
    assert!(waited.is_err());

    set.bad.set_faults(Faults::default()).unwrap();
    assert_eq!(set.answers().await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_control_port_sets_faults_and_no_other_does() {
    let set = set_up(Faults::default()).await;
    let port = set.chain.control(0).await.unwrap();
    let (control, bad) = (Client::new(port.url()), Client::new(set.bad.url()));
    let of_bad = json!([set.bad.address().port(), { "lagBlocks": 1 }]);
    assert_eq!(
        bad.error("stencil_setFaults", of_bad.clone()).await["code"],
        -32_601
    );
    control.call("stencil_setFaults", of_bad).await;
    assert_eq!(bad.number().await, 0);
    let endpoints = control.call("stencil_endpoints", json!([])).await;
    assert_eq!(endpoints.as_array().unwrap().len(), 2);
    for wrong in [
        json!([1, {}]),
        json!([set.bad.address().port(), { "lag": 1 }]),
        json!([set.bad.address().port(), { "closePermille": 1_001 }]),
        json!([]),
    ] {
        assert_eq!(
            control.error("stencil_setFaults", wrong).await["code"],
            -32_602
        );
    }
    control.call("stencil_setDepths", json!([0, 1])).await;
    let finalized = control
        .call("eth_getBlockByNumber", json!(["finalized", false]))
        .await;
    assert_eq!(finalized["number"], "0x0");
    let back = Draft::to(set.contract, 1).input(1).sign(&set.from);
    let hash = set.chain.submit(back).unwrap();
    control.call("stencil_reorg", json!([1, [], true])).await;
    let waiting = control
        .call("eth_getTransactionByHash", json!([hash]))
        .await;
    assert!(waiting["blockHash"].is_null(), "it waits again: {waiting}");
    set.chain.mine(1);
    let mined = control
        .call("eth_getTransactionReceipt", json!([hash]))
        .await;
    assert_eq!(mined["blockNumber"], "0x3");
}
