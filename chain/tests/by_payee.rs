//! A busy token, followed by who is paid: what all others do with it is read, and not kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use alloy_primitives::{B256, keccak256};
use serde_json::json;
use stencil_chain::Options;
use stencil_devchain::{DevChain, Endpoint, Mining, accounts};
use stencil_store::{ChainEntryKind, Chains as _, Watch, WatchKind};
use support::anvil::hex0x;
use support::followed::CHAIN;
use support::{Followed, json_rpc, options};

const SEED: u64 = 9;
const TOKEN: [u8; 20] = [0x70; 20];
/// A contract with the same events, which nobody watches.
const OTHER: [u8; 20] = [0x71; 20];
const SHOP: [u8; 20] = [0xcc; 20];
const SECOND: [u8; 20] = [0xcd; 20];
/// Emits a log for each 64 bytes that it is called with: topics (word 0, caller, word 1), data 0.
const EMITS_EACH: &str = "0x60005b36811015601d57806020013533823560206000a3604001600256\
                          5b00";
/// Transfers of others in a transaction, and such transactions; twice that in a test.
const OF_OTHERS: usize = 1_000;
const TRANSACTIONS: usize = 5;

fn transfer() -> B256 {
    keccak256("Transfer(address,address,uint256)")
}

fn used() -> B256 {
    keccak256("AuthorizationUsed(address,bytes32)")
}

fn account(address: [u8; 20]) -> B256 {
    alloy_primitives::Address::from(address).into_word()
}

/// A transfer to somebody whom nobody watches.
fn to_others(n: usize) -> (B256, B256) {
    let mut address = [0xee; 20];
    address[..8].copy_from_slice(&(n as u64).to_be_bytes());
    (transfer(), account(address))
}

fn watch(kind: WatchKind) -> Watch {
    Watch {
        owner: "test".to_owned(),
        address: TOKEN,
        kind,
    }
}

fn to(account: [u8; 20]) -> Watch {
    watch(WatchKind::EventTo {
        topic0: transfer().0,
        to: account,
    })
}

fn hex_of(number: u64) -> String {
    format!("{number:#x}")
}

struct Busy {
    chain: DevChain,
    endpoints: [Endpoint; 2],
    from: String,
}

impl Busy {
    async fn start() -> Self {
        let chain = DevChain::start(stencil_devchain::Options {
            mining: Mining::Manual,
            seed: SEED,
            ..stencil_devchain::Options::default()
        });
        let endpoints = [
            chain.listen(0).await.unwrap(),
            chain.listen(0).await.unwrap(),
        ];
        let busy = Self {
            chain,
            endpoints,
            from: accounts(SEED, 1)[0].address.to_string(),
        };
        for contract in [TOKEN, OTHER] {
            let code = json!([hex0x(&contract), EMITS_EACH]);
            busy.call("anvil_setCode", code).await;
        }
        busy.chain.mine(1);
        busy
    }

    async fn call(&self, method: &str, params: serde_json::Value) -> serde_json::Value {
        json_rpc::call(self.endpoints[0].address().port(), method, params).await
    }

    /// A transaction in which a contract emits these, by first and third topic.
    async fn emit(&self, contract: [u8; 20], events: &[(B256, B256)]) {
        let data: Vec<u8> = events
            .iter()
            .flat_map(|(first, third)| [first.0, third.0].concat())
            .collect();
        let transaction = json!({
            "from": self.from, "to": hex0x(&contract), "gas": "0x2dc6c0", "data": hex0x(&data),
        });
        self.call("eth_sendTransaction", json!([transaction])).await;
    }

    /// Transfers of others, over so many blocks; each with an authorisation.
    async fn others(&self, blocks: usize) {
        for n in 0..TRANSACTIONS {
            let first = n * OF_OTHERS;
            let mut events = vec![(used(), B256::repeat_byte(1))];
            events.extend((first..first + OF_OTHERS).map(to_others));
            self.emit(TOKEN, &events).await;
            if (n + 1) % (TRANSACTIONS / blocks) == 0 {
                self.chain.mine(1);
            }
        }
    }

    /// How many logs the whole chain has.
    async fn logs(&self) -> usize {
        let mut all = 0;
        for number in 0..=self.chain.head().number {
            let block = json!([{ "fromBlock": hex_of(number), "toBlock": hex_of(number) }]);
            let logs = self.call("eth_getLogs", block).await;
            all += logs.as_array().unwrap().len();
        }
        all
    }
}

/// First topic, third topic and place of what is kept.
async fn kept(followed: &Followed) -> Vec<(B256, B256, u32)> {
    let entries = followed.entries().await.into_iter();
    let observed = entries.filter(|entry| entry.kind == ChainEntryKind::Observed);
    let topics = observed.map(|entry| {
        let seen = entry.observation;
        assert_eq!(seen.address, TOKEN);
        (seen.topics[0].into(), seen.topics[2].into(), seen.ordinal)
    });
    topics.collect()
}

async fn play(agree: usize, max_answer_kib: Option<usize>, blocks: usize) {
    let busy = Busy::start().await;
    let urls: Vec<String> = busy.endpoints.iter().map(Endpoint::url).collect();
    let settings = Options {
        agree: Some(agree),
        range_margin: Some(1),
        max_answer_kib,
        call_timeout_ms: Some(30_000),
        ..options(&urls[..agree])
    };
    let mut followed = Followed::open(&settings).await;
    let watches = [to(SHOP), watch(WatchKind::Beside(used().0))];
    let from = followed.store.watch_chain(CHAIN, &watches).await.unwrap();
    assert_eq!(from, 0, "from the first block that is looked at");
    busy.others(blocks).await;
    // Ours among them: by an authorisation, between two of others.
    let nonce = B256::repeat_byte(7);
    let ours = [
        to_others(1),
        (used(), nonce),
        (transfer(), account(SHOP)),
        to_others(2),
        (transfer(), account(SECOND)),
    ];
    busy.emit(TOKEN, &ours).await;
    busy.emit(OTHER, &ours).await;
    busy.chain.mine(1);
    busy.others(blocks).await;
    busy.chain.mine(2);
    followed.settle().await.unwrap();
    let expected = vec![(used(), nonce, 1), (transfer(), account(SHOP), 2)];
    assert_eq!(kept(&followed).await, expected);
    assert_eq!(
        busy.logs().await,
        2 * TRANSACTIONS * (OF_OTHERS + 1) + 2 * ours.len()
    );

    // Who is to be paid from now on holds from a block that is stated, and what others get is not kept
    // for them either.
    let head = busy.chain.head().number;
    let from = followed.store.watch_chain(CHAIN, &[to(SECOND)]).await;
    assert_eq!(from.unwrap(), head + 1);
    busy.emit(TOKEN, &ours).await;
    busy.chain.mine(1);
    followed.settle().await.unwrap();
    let mut all = expected.clone();
    all.extend(expected);
    all.push((transfer(), account(SECOND), 4));
    assert_eq!(kept(&followed).await, all);
}

#[tokio::test]
async fn of_ten_thousand_transfers_ours_are_kept() {
    play(1, None, 5).await;
}

/// A block whose logs are more than an answer may have is looked through by who is paid.
#[tokio::test]
async fn a_block_that_is_too_large_is_asked_for_by_who_is_paid() {
    play(1, Some(256), 1).await;
}

/// Where two agree, a block without anything is not looked at.
#[tokio::test]
async fn two_endpoints_are_asked_for_by_who_is_paid() {
    play(2, None, 5).await;
}
