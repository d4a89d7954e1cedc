//! In which order waiting transactions leave.

use std::collections::BTreeMap;

use crate::support::{Client, Draft, GWEI, start};
use alloy_primitives::{Address, B256};
use proptest::prelude::*;
use serde_json::json;
use stencil_devchain::{Mining, Options};

/// A transaction of a sender, with its nonce and the tip it pays, in gwei.
type Wish = (u8, u64, u64);

/// The block that the rules give: of each sender the lowest nonce that is free, the best tip
/// first, who came first among equals. Written from the rules, not from the pool.
fn expected(wishes: &[Wish]) -> Vec<Wish> {
    // The last that was taken of a sender and nonce waits: a replacement pays a tenth more.
    let mut waiting: BTreeMap<(u8, u64), (usize, Wish)> = BTreeMap::new();
    for (arrival, wish) in wishes.iter().enumerate() {
        let key = (wish.0, wish.1);
        match waiting.get(&key) {
            Some((_, old)) if wish.2 * 10 < old.2 * 11 || wish.2 == old.2 => {}
            _ => {
                waiting.insert(key, (arrival, *wish));
            }
        }
    }
    let mut next: BTreeMap<u8, u64> = BTreeMap::new();
    let mut order = Vec::new();
    loop {
        let ready = waiting
            .iter()
            .filter(|((from, nonce), _)| next.get(from).copied().unwrap_or(0) == *nonce)
            .min_by_key(|(_, (arrival, wish))| (std::cmp::Reverse(wish.2), *arrival))
            .map(|(key, (_, wish))| (*key, *wish));
        let Some((key, wish)) = ready else {
            return order;
        };
        waiting.remove(&key);
        *next.entry(key.0).or_default() += 1;
        order.push(wish);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nonces_in_order_and_the_best_payer_first(
        wishes in prop::collection::vec((0_u8..3, 0_u64..5, 1_u64..20), 1..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let order = runtime.block_on(async {
            let chain = start(Options { mining: Mining::Manual, ..Options::default() });
            let endpoint = chain.listen(0).await.unwrap();
            let accounts = chain.accounts();
            let mut names: BTreeMap<B256, Wish> = BTreeMap::new();
            for wish in &wishes {
                let from = accounts[usize::from(wish.0)].signer().unwrap();
                let tip = u128::from(wish.2) * GWEI;
                // The fee follows the tip, so that both are a tenth more or neither is.
                let raw = Draft::to(Address::ZERO, wish.1).fees(tip * 2, tip);
                if let Ok(hash) = chain.submit(raw.sign(&from)) {
                    names.insert(hash, *wish);
                }
            }
            chain.mine(1);
            let client = Client::new(endpoint.url());
            let block = client.call("eth_getBlockByNumber", json!(["latest", false])).await;
            let hashes: Vec<B256> = serde_json::from_value(block["transactions"].clone()).unwrap();
            hashes.iter().map(|hash| names[hash]).collect::<Vec<_>>()
        });
        prop_assert_eq!(order, expected(&wishes));
    }
}

#[tokio::test]
async fn what_a_block_has_no_room_for_waits() {
    let chain = start(Options {
        mining: Mining::Manual,
        gas_limit: 100_000,
        ..Options::default()
    });
    let endpoint = chain.listen(0).await.unwrap();
    let client = Client::new(endpoint.url());
    let accounts = chain.accounts();
    let (rich, poor) = (accounts[0].signer().unwrap(), accounts[1].signer().unwrap());
    for nonce in 0..6 {
        let draft = Draft {
            gas_limit: 21_000,
            ..Draft::to(Address::ZERO, nonce)
        };
        client
            .send(&draft.fees(10 * GWEI, 5 * GWEI).sign(&rich))
            .await;
    }
    client
        .send(
            &Draft {
                gas_limit: 21_000,
                ..Draft::to(Address::ZERO, 0)
            }
            .sign(&poor),
        )
        .await;
    let counts = |number: u64| {
        let client = client.clone();
        async move {
            let tag = format!("{number:#x}");
            crate::support::quantity(
                &client
                    .call("eth_getBlockTransactionCountByNumber", json!([tag]))
                    .await,
            )
        }
    };
    let pending = client
        .call("eth_getBlockByNumber", json!(["pending", false]))
        .await;
    assert_eq!(pending["transactions"].as_array().unwrap().len(), 4);
    chain.mine(3);
    assert_eq!(
        (counts(1).await, counts(2).await, counts(3).await),
        (4, 3, 0)
    );
}

#[tokio::test]
async fn blocks_are_made_by_time_when_it_is_set() {
    let chain = start(Options {
        mining: Mining::Interval(std::time::Duration::from_millis(20)),
        ..Options::default()
    });
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while chain.head().number < 3 {
        assert!(tokio::time::Instant::now() < deadline, "no block came");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    chain.set_mining(Mining::Manual);
}
