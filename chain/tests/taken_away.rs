//! What was sent and is reorganised away, within what is not final and beyond it: whatever comes back, and
//! wherever, it is known where it is, and one transaction was sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use alloy_primitives::U256;
use serde_json::json;
use stencil_chain::connection::Connection;
use stencil_payments::port::{B256, Chain as _, Outcome, Sent};
use support::json_rpc;
use support::world::{SHOP, World, fixed, is_final, order, run, tenant, until};

/// What the chain says of a transaction's block.
async fn block_of(world: &World, tx: B256) -> Option<(u64, B256)> {
    let port = world.endpoint.address().port();
    let receipt = json_rpc::call(port, "eth_getTransactionReceipt", json!([tx])).await;
    let number = receipt["blockNumber"].as_str()?.trim_start_matches("0x");
    let hash = receipt["blockHash"].as_str()?.parse().unwrap();
    Some((u64::from_str_radix(number, 16).unwrap(), hash))
}

async fn raw(world: &World, tx: B256) -> String {
    let port = world.endpoint.address().port();
    let raw = json_rpc::call(port, "eth_getRawTransactionByHash", json!([tx])).await;
    raw.as_str().unwrap().to_owned()
}

async fn reorg(world: &World, depth: u64, transactions: &[(&str, u64)]) {
    let port = world.endpoint.address().port();
    json_rpc::call(port, "anvil_reorg", json!([depth, transactions])).await;
}

fn depth(world: &World, block: u64) -> u64 {
    world.chain.head().number - block + 1
}

async fn once(world: &World, chain: &Connection, wei: u64) {
    assert_eq!(world.balance(SHOP).await, U256::from(wei));
    let account = json!([chain.account().unwrap(), "latest"]);
    let port = world.endpoint.address().port();
    let sent = json_rpc::call(port, "eth_getTransactionCount", account).await;
    assert_eq!(sent, "0x1");
}

async fn finally(world: &World, chain: &Connection) -> Outcome {
    match is_final(world, chain, 0, "a").await {
        Sent::Final(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

/// Final in one block, and then in another one of the same number that is as deep at once: the nonce is used
/// all the time, and nothing is missing.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_final_is_final_in_the_block_that_the_chain_has_now() {
    for is_followed in [true, false] {
        let world = World::new().await;
        let chain = world.connect(Some(1), fixed);
        let running = run(&chain);
        chain.order(&order(0, "a", 5)).await.unwrap();
        let was = finally(&world, &chain).await;
        assert_eq!(
            block_of(&world, was.tx).await,
            Some((was.block, was.block_hash))
        );
        let raw = raw(&world, was.tx).await;
        let running = is_followed.then_some(running);
        reorg(&world, depth(&world, was.block), &[(&raw, 0)]).await;
        let now = block_of(&world, was.tx).await.unwrap();
        assert_eq!((now.0, now.1 == was.block_hash), (was.block, false));
        // As after a start: another process, that was not there.
        let again = world.connect(Some(1), fixed);
        let (chain, _running) = match running {
            Some(running) => (chain, running),
            None => (again.clone(), run(&again)),
        };
        let found = until(&chain, async || {
            let sent = chain.sent(&tenant(0), "a").await.unwrap();
            match sent {
                Some(Sent::Final(is)) if is.block_hash != was.block_hash => Some(is),
                _ => None,
            }
        })
        .await;
        assert_eq!((found.block, found.block_hash), now);
        once(&world, &chain, 5).await;
        until(&chain, async || chain.trouble().is_none().then_some(())).await;
    }
}

/// Final, and then nowhere: it is not final any more as soon as the follower has gone back, is sent again, and
/// comes to be final in a block that is deep enough.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_final_and_is_nowhere_is_sent_again() {
    let world = World::new().await;
    let chain = world.connect(Some(1), fixed);
    let _running = run(&chain);
    chain.order(&order(0, "a", 5)).await.unwrap();
    let was = finally(&world, &chain).await;
    reorg(&world, depth(&world, was.block), &[]).await;
    until(&chain, async || {
        let sent = chain.sent(&tenant(0), "a").await.unwrap();
        matches!(sent, Some(Sent::Pending)).then_some(())
    })
    .await;
    assert_eq!(world.balance(SHOP).await, U256::ZERO);
    // In a block as soon as there is one, and not final in it.
    until(&chain, async || {
        let waits = world.chain_waits().await;
        (waits > 0).then_some(())
    })
    .await;
    world.chain.mine(1);
    let included = until(&chain, async || {
        match chain.sent(&tenant(0), "a").await.unwrap() {
            Some(Sent::Included(is)) => Some(is),
            Some(Sent::Final(is)) => panic!("not yet: {is:?}"),
            _ => None,
        }
    })
    .await;
    assert_ne!(included.block_hash, was.block_hash);
    let is = finally(&world, &chain).await;
    assert_eq!(is, included);
    once(&world, &chain, 5).await;
}

/// Within what is not final it is in the one block or the other, and final in the one that stays.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_final_is_followed_into_another_block() {
    let world = World::new().await;
    let chain = world.connect(Some(1), fixed);
    let _running = run(&chain);
    chain.order(&order(0, "a", 5)).await.unwrap();
    until(&chain, async || {
        (world.chain_waits().await > 0).then_some(())
    })
    .await;
    world.chain.mine(2);
    let included = async || {
        until(&chain, async || {
            match chain.sent(&tenant(0), "a").await.unwrap() {
                Some(Sent::Included(is)) => {
                    let held = block_of(&world, is.tx).await;
                    (held == Some((is.block, is.block_hash))).then_some(is)
                }
                _ => None,
            }
        })
        .await
    };
    let was = included().await;
    let raw = raw(&world, was.tx).await;
    reorg(&world, 2, &[(&raw, 1)]).await;
    let is = included().await;
    assert_eq!((is.block, is.tx), (was.block + 1, was.tx));
    assert_eq!(finally(&world, &chain).await, is);
    once(&world, &chain, 5).await;
}
