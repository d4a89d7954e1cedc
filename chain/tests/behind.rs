//! A follower that was away: what became of the chain meanwhile is known within a few turns, and an endpoint that
//! has fallen back is named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::json;
use stencil_chain::Progress;
use stencil_devchain::{DevChain, Faults, Mining, accounts};
use support::anvil::{EMITTER, hex0x, word};
use support::{Followed, json_rpc, options};

/// Emits word 2 with topics (word 0, word 1), twice.
const EMITS_TWICE: &str = "0x6020604060003760203560003560206000a260203560003560206000a200";
/// Turns that a reorganisation of three blocks may take to be followed, however far the chain has gone on: one finds
/// that the branch is another, and one each block walks back.
const A_FEW: usize = 6;

fn chain() -> DevChain {
    DevChain::start(stencil_devchain::Options {
        mining: Mining::Manual,
        ..stencil_devchain::Options::default()
    })
}

#[tokio::test]
async fn a_reorganisation_that_happened_while_it_was_away_is_followed_within_a_few_turns() {
    let chain = chain();
    let endpoint = chain.listen(0).await.unwrap();
    let port = endpoint.address().port();
    let code = json!([hex0x(&EMITTER), EMITS_TWICE]);
    json_rpc::call(port, "anvil_setCode", code).await;
    chain.mine(18);
    let from = accounts(stencil_devchain::Options::default().seed, 1)[0].address;
    let data = hex0x(&[word(0x11), word(1), word(1)].concat());
    let transaction = json!({
        "from": from.to_string(), "to": hex0x(&EMITTER), "gas": "0x30d40", "data": data,
    });
    json_rpc::call(port, "eth_sendTransaction", json!([transaction])).await;
    chain.mine(2);
    let settings = options(&[endpoint.url()]);
    let mut followed = Followed::open(&settings).await;
    followed.settle().await.unwrap();
    assert_eq!(followed.told().await, ["observed 19#0", "observed 19#1"]);
    let folder = followed.folder.clone();
    drop(followed);
    chain.reorg(3, &[], false).unwrap();
    chain.mine(150);
    let mut followed = Followed::open_in(&settings, folder).await.unwrap();
    for _ in 0..A_FEW {
        // Nothing is waited for, and no endpoint is at fault.
        let progress = followed.follower.turn().await.unwrap();
        assert_eq!(progress, Progress::Stepped);
    }
    let told = followed.told().await;
    assert_eq!(told[2..], ["retracted 19#1", "retracted 19#0"]);
    followed.settle().await.unwrap();
    assert!(followed.standing().await.is_empty());
}

#[tokio::test]
async fn an_endpoint_that_lags_is_named_and_the_chain_is_not_said_to_be_set_back() {
    let chain = chain();
    chain.mine(50);
    let first = chain.listen(0).await.unwrap();
    let second = chain.listen(0).await.unwrap();
    let mut followed = Followed::open(&options(&[first.url(), second.url()])).await;
    followed.settle().await.unwrap();
    let lags = |lag_blocks| {
        let faults = Faults {
            lag_blocks,
            ..Faults::default()
        };
        second.set_faults(faults).unwrap();
    };
    lags(30);
    let Progress::Unknown(trouble) = followed.follower.turn().await.unwrap() else {
        panic!("it is not told");
    };
    let told = trouble.to_string();
    let lagging = second.address().port();
    assert!(
        told.contains(&format!("{lagging} lags, with block 20 as its newest")),
        "{told}"
    );
    assert!(!told.contains("set back"), "{told}");
    assert!(
        !told.contains(&first.address().port().to_string()),
        "{told}"
    );
    assert!(trouble.in_short().starts_with("an endpoint lags"));
    lags(0);
    followed.settle().await.unwrap();
}
