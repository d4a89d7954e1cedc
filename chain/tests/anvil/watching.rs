//! What is watched: the native coin, and what is watched later.

use serde_json::json;
use stencil_store::{ChainCommit, ChainCommitted, ChainSource, Chains as _, Watch, WatchKind};

use crate::support::anvil::{REVERTS, hex0x};
use crate::support::followed::{CHAIN, events_of};
use crate::support::{Anvil, Followed, Proxy, options};

fn native(address: [u8; 20]) -> Watch {
    Watch {
        kind: WatchKind::Native,
        ..events_of(address)
    }
}

#[tokio::test]
async fn transfers_of_the_native_coin_count_if_they_went_well() {
    let anvil = Anvil::start().await;
    let mut followed = Followed::open(&options(&[anvil.url()])).await;
    let shop = [0xcc; 20];
    followed
        .store
        .watch_chain(CHAIN, &[native(shop), native(REVERTS)])
        .await
        .unwrap();
    anvil
        .send(json!({"to": hex0x(&shop), "value": "0x1bc16d674ec80000"}))
        .await;
    // Nothing, nobody that is watched, and one that is sent back.
    anvil
        .send(json!({"to": hex0x(&shop), "value": "0x0"}))
        .await;
    anvil
        .send(json!({"to": hex0x(&[0xdd; 20]), "value": "0x1"}))
        .await;
    anvil
        .send(json!({"to": hex0x(&REVERTS), "value": "0x1"}))
        .await;
    anvil.mine(3).await;
    followed.settle().await.unwrap();
    assert_eq!(followed.told().await, ["observed 4#0", "final 4#0"]);
    let seen = &followed.entries().await[0].observation;
    assert_eq!(seen.source, ChainSource::Native);
    assert_eq!(seen.address, shop);
    let mut amount = [0; 32];
    amount[24..].copy_from_slice(&2_000_000_000_000_000_000_u64.to_be_bytes());
    assert_eq!(seen.data, amount);
    assert_eq!(
        hex::encode(&seen.topics[0][12..]),
        crate::support::anvil::RICH[2..].to_lowercase()
    );
}

/// What is watched later holds from a block that is stated, and costs no look at older ones.
#[tokio::test]
async fn what_is_watched_later_holds_from_the_block_that_is_stated() {
    let anvil = Anvil::start().await;
    let proxy = Proxy::start(anvil.port).await;
    let mut followed = Followed::open(&options(&[proxy.url()])).await;
    let shop = [0xcc; 20];
    anvil
        .send(json!({"to": hex0x(&shop), "value": "0x1"}))
        .await;
    anvil.mine(5).await;
    followed.settle().await.unwrap();
    let before = proxy.calls("eth_getBlockByNumber");
    let from = followed
        .store
        .watch_chain(CHAIN, &[native(shop)])
        .await
        .unwrap();
    assert_eq!(from, anvil.head().await + 1);
    followed.settle().await.unwrap();
    assert!(
        proxy.calls("eth_getBlockByNumber") - before <= 2,
        "it looked again"
    );
    anvil
        .send(json!({"to": hex0x(&shop), "value": "0x2"}))
        .await;
    anvil.mine(1).await;
    followed.settle().await.unwrap();
    assert_eq!(followed.told().await, [format!("observed {from}#0")]);
    let (_, watched) = followed.store.chain_watches(CHAIN).await.unwrap();
    let holds = watched
        .iter()
        .find(|watched| watched.watch == native(shop))
        .unwrap();
    assert_eq!(holds.from_block, from);
}

/// A watch that comes between the look at a block and its commit makes the commit come to nothing.
#[tokio::test]
async fn a_block_is_not_stored_with_less_than_what_is_watched() {
    let anvil = Anvil::start().await;
    let mut followed = Followed::open(&options(&[anvil.url()])).await;
    followed.settle().await.unwrap();
    let state = followed.store.chain(CHAIN).await.unwrap().unwrap();
    followed
        .store
        .watch_chain(CHAIN, &[native([0xcc; 20])])
        .await
        .unwrap();
    let commit = ChainCommit {
        chain: CHAIN.to_owned(),
        from: state.cursor,
        interest: state.interest,
        cursor: state.cursor,
        ..ChainCommit::default()
    };
    let committed = followed.store.commit_chain(&commit).await.unwrap();
    assert_eq!(committed, ChainCommitted::InterestChanged);
}
