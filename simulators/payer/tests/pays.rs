//! Each way of paying arrives, on a chain that executes the contracts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alloy_primitives::{Address, B256, U256, keccak256};
use serde_json::{Value, json};
use stencil_devchain::{DevChain, Mining, Options};
use stencil_payer::{Authorization, Call, Domain, Wallet, contracts};
use stencil_payments::eip712;
use stencil_payments::money::Amount;

const CHAIN_ID: u64 = 31_337;
const PAYEE: Address = Address::repeat_byte(0xaa);

/// (emitter, topics, data) of all logs, in their order.
async fn logs(url: &str) -> Vec<(Address, Vec<B256>, String)> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "eth_getLogs",
        "params": [{ "fromBlock": "0x0", "toBlock": "latest" }],
    });
    let answer = client.post(url).json(&call).send().await.unwrap();
    let mut answer: Value = answer.json().await.unwrap();
    let logs = answer["result"].as_array_mut().expect("logs").iter_mut();
    logs.map(|log| {
        (
            serde_json::from_value(log["address"].take()).unwrap(),
            serde_json::from_value(log["topics"].take()).unwrap(),
            log["data"].as_str().unwrap().to_owned(),
        )
    })
    .collect()
}

#[tokio::test]
async fn the_three_ways_of_paying_arrive_and_say_what_for() {
    let chain = DevChain::start(Options {
        mining: Mining::Manual,
        ..Options::default()
    });
    let endpoint = chain.listen(0).await.unwrap();
    let wallet = |n: usize| Wallet::new(&chain.accounts()[n].key, CHAIN_ID).unwrap();
    let (payer, courier) = (wallet(0), wallet(1));
    let (token, contract) = (payer.address().create(0), payer.address().create(1));
    let invoice = keccak256("an invoice");
    let authorization = Authorization {
        from: payer.address(),
        to: PAYEE,
        value: U256::from(300),
        valid_after: 0,
        valid_before: u64::MAX,
        nonce: B256::repeat_byte(7),
    };
    let signature = payer
        .authorize(&authorization, &Domain::dollar(CHAIN_ID, token))
        .unwrap();
    let calls = [
        Call::create(contracts::dollar().unwrap()),
        Call::create(contracts::payments(PAYEE).unwrap()),
        Call::mint(token, payer.address(), U256::from(1_000)),
        Call::approve(token, contract, U256::from(1_000)),
        Call::transfer(token, PAYEE, U256::from(100)),
        Call::pay(contract, invoice, token, U256::from(200)),
    ];
    for (nonce, call) in (0..).zip(&calls) {
        chain.submit(payer.sign(nonce, call).unwrap()).unwrap();
    }
    chain.mine(1);
    let bring = Call::bring(token, &authorization, &signature);
    chain.submit(courier.sign(0, &bring).unwrap()).unwrap();
    chain.mine(1);
    let logs = logs(&endpoint.url()).await;
    let transfer = keccak256("Transfer(address,address,uint256)");
    let to_payee = |log: &&(Address, Vec<B256>, String)| {
        log.0 == token && log.1[0] == transfer && log.1[2] == PAYEE.into_word()
    };
    let amounts: Vec<U256> = logs
        .iter()
        .filter(to_payee)
        .map(|(_, topics, data)| {
            assert_eq!(topics[1], payer.address().into_word());
            data.parse().unwrap()
        })
        .collect();
    assert_eq!(amounts, [100, 200, 300].map(U256::from));
    let said = |signature: &str, topic: B256| {
        let event = keccak256(signature);
        logs.iter()
            .any(|(_, topics, _)| topics[0] == event && topics.contains(&topic))
    };
    assert!(said(
        "Paid(bytes32,address,address,uint256,uint256)",
        invoice
    ));
    assert!(said(
        "AuthorizationUsed(address,bytes32)",
        authorization.nonce
    ));
}

#[test]
fn both_sides_sign_the_same() {
    let token = Address::repeat_byte(0x70);
    let ours = Authorization {
        from: Address::repeat_byte(1),
        to: Address::repeat_byte(2),
        value: U256::from(3),
        valid_after: 4,
        valid_before: 5,
        nonce: B256::repeat_byte(6),
    };
    let theirs = eip712::Authorization {
        from: ours.from,
        to: ours.to,
        value: Amount(ours.value),
        valid_after: U256::from(ours.valid_after),
        valid_before: U256::from(ours.valid_before),
        nonce: ours.nonce,
    };
    let domain = eip712::Domain {
        name: "Dev Dollar".to_owned(),
        version: "2".to_owned(),
        chain: CHAIN_ID,
        token,
    };
    assert_eq!(
        ours.digest(&Domain::dollar(CHAIN_ID, token)),
        theirs.digest(eip712::Kind::Transfer, &domain)
    );
}
