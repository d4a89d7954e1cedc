//! The follower against a dev chain whose endpoints fail at random: two of them, each with faults of its
//! own, while the chain turns again and again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::json;
use stencil_chain::Options;
use stencil_chain::finality::Finality;
use stencil_devchain::{DevChain, Faults, Mining, accounts};
use stencil_store::ChainEntryKind;
use support::anvil::{EMITTER, hex0x, word};
use support::{Followed, json_rpc, options};

/// Emits word 2 with topics (word 0, word 1), twice.
const EMITS_TWICE: &str = "0x6020604060003760203560003560206000a260203560003560206000a200";

/// A draw from a seed: the same rounds for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn faults(seed: u64) -> Faults {
    Faults {
        seed,
        lag_blocks: seed % 3,
        missing_logs_permille: 100,
        wrong_hash_permille: 50,
        older_state_permille: 100,
        older_state_blocks: 6,
        close_permille: 30,
        hang_permille: 5,
        hang_ms: 400,
        too_many_permille: 30,
        unavailable_permille: 30,
        half_answer_permille: 30,
        ..Faults::default()
    }
}

struct Round {
    chain: DevChain,
    port: u16,
    from: String,
    sent: Vec<String>,
}

impl Round {
    async fn call(&self, method: &str, params: serde_json::Value) -> serde_json::Value {
        json_rpc::call(self.port, method, params).await
    }

    async fn emit(&mut self, n: u8) {
        let data = [word(0x11), word(n), word(n)].concat();
        let transaction = json!({
            "from": self.from, "to": hex0x(&EMITTER), "gas": "0x30d40", "data": hex0x(&data),
        });
        let hash = self.call("eth_sendTransaction", json!([transaction])).await;
        self.sent.push(hash.as_str().unwrap().to_owned());
    }

    async fn logs(&self) -> Vec<(String, String, String)> {
        let range = json!([{"fromBlock": "0x0", "toBlock": "latest"}]);
        let logs = self.call("eth_getLogs", range).await;
        let text = |log: &serde_json::Value, key: &str| log[key].as_str().unwrap().to_owned();
        logs.as_array()
            .unwrap()
            .iter()
            .map(|log| {
                (
                    text(log, "blockHash"),
                    text(log, "transactionHash"),
                    text(log, "logIndex"),
                )
            })
            .collect()
    }
}

async fn play(seed: u64, agree: usize) {
    let mut chance = Chance(seed);
    let chain = DevChain::start(stencil_devchain::Options {
        mining: Mining::Manual,
        seed,
        ..stencil_devchain::Options::default()
    });
    let good = chain.listen(0).await.unwrap();
    let (first, second) = (
        chain.listen(0).await.unwrap(),
        chain.listen(0).await.unwrap(),
    );
    let mut round = Round {
        port: good.address().port(),
        from: accounts(seed, 1)[0].address.to_string(),
        sent: Vec::new(),
        chain,
    };
    round
        .call("anvil_setCode", json!([hex0x(&EMITTER), EMITS_TWICE]))
        .await;
    round.chain.mine(3);
    let settings = Options {
        agree: Some(agree),
        finality: Some(Finality::Confirmations(6)),
        call_timeout_ms: Some(200),
        ..options(&[first.url(), second.url()])
    };
    let mut followed = Followed::open(&settings).await;
    first.set_faults(faults(seed)).unwrap();
    second.set_faults(faults(seed + 1)).unwrap();
    let mut turned = 0;
    for n in 0..24_u8 {
        for _ in 0..chance.below(3) {
            round.emit(n).await;
        }
        round.chain.mine(1 + chance.below(4));
        for _ in 0..chance.below(12) {
            // Unknown at times, and never wrong for good.
            followed.follower.turn().await.unwrap();
        }
        if chance.below(3) == 0 {
            let depth = (1 + chance.below(12)).min(round.chain.head().number.saturating_sub(3));
            // What was in the blocks comes again by the pool, or not at all.
            round.chain.reorg(depth, &[], chance.below(2) == 0).unwrap();
            turned += 1;
        }
        if chance.below(8) == 0 {
            let folder = followed.folder.clone();
            followed = loop {
                // The check of the chain id at the start may fail, too.
                match Followed::open_in(&settings, folder.clone()).await {
                    Ok(followed) => break followed,
                    Err(error) => assert!(!error.to_string().contains("stopped"), "{error}"),
                }
            };
        }
    }
    first.set_faults(Faults::default()).unwrap();
    second.set_faults(Faults::default()).unwrap();
    round.chain.mine(8);
    followed.settle().await.unwrap();
    let logs = round.logs().await;
    assert_eq!(followed.standing().await, logs, "seed {seed}");
    let entries = followed.entries().await;
    let finals = entries
        .iter()
        .filter(|entry| entry.kind == ChainEntryKind::Final)
        .count();
    assert!(
        turned > 1 && finals >= logs.len(),
        "seed {seed}: all is final"
    );
}

#[tokio::test]
async fn two_that_fail_at_random_give_what_the_chain_has() {
    for seed in 0..3 {
        play(seed, 2).await;
    }
}

#[tokio::test]
async fn one_of_two_that_fail_at_random_is_enough_where_that_is_set() {
    for seed in 10..12 {
        play(seed, 1).await;
    }
}
