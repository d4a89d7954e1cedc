//! A long chain stays usable: a hundred thousand blocks with logs, made in one go.

use crate::support::{Client, Draft, many_logs, start};
use alloy_primitives::U256;
use serde_json::json;
use stencil_devchain::{Clock, Mining, Options};

/// Blocks of the chain; each twentieth has logs.
const BLOCKS: u64 = 100_000;
const EVERY: u64 = 20;
const LOGS: u64 = 10;

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_blocks_are_made_read_and_reorganised() {
    let chain = start(Options {
        mining: Mining::Manual,
        clock: Clock::Steps {
            start: 1_800_000_000,
            step: 12,
        },
        ..Options::default()
    });
    let endpoint = chain.listen(0).await.unwrap();
    let client = Client::new(endpoint.url());
    let from = chain.accounts()[0].signer().unwrap();
    chain
        .submit(Draft::create(&many_logs(), 0).sign(&from))
        .unwrap();
    let contract = from.address().create(0);
    let before = resident_kb();
    let begun = std::time::Instant::now();
    for nonce in 1..=BLOCKS / EVERY {
        chain
            .submit(Draft::to(contract, nonce).input(LOGS).sign(&from))
            .unwrap();
        chain.mine(EVERY);
    }
    let took = begun.elapsed();
    let grown = resident_kb().saturating_sub(before);
    println!(
        "{BLOCKS} blocks with {} logs in {took:?}, {grown} kB more",
        BLOCKS / EVERY * LOGS
    );
    assert_eq!(chain.head().number, BLOCKS);
    // About 300 bytes a block and 100 a log: far from what a header and its receipts take.
    assert!(grown < 120_000, "{grown} kB for {BLOCKS} blocks");
    let mut found = 0;
    for first in (0..=BLOCKS).step_by(10_000) {
        let to = first + 9_999;
        let filter = json!([{
            "fromBlock": format!("{first:#x}"),
            "toBlock": format!("{:#x}", to.min(BLOCKS)),
            "address": contract,
        }]);
        found += client
            .call("eth_getLogs", filter)
            .await
            .as_array()
            .unwrap()
            .len() as u64;
    }
    assert_eq!(found, BLOCKS / EVERY * LOGS);
    let old = client
        .call("eth_getBlockByNumber", json!(["0x1", true]))
        .await;
    assert_eq!(
        old["transactions"][0]["input"].as_str().unwrap().len(),
        2 + 2 * (10 + 21)
    );
    chain.reorg(1_000, &[], false).unwrap();
    assert_eq!(chain.head().number, BLOCKS);
    let nonce = client
        .call("eth_getTransactionCount", json!([from.address(), "latest"]))
        .await;
    assert_eq!(
        U256::from(crate::support::quantity(&nonce)),
        U256::from(1 + (BLOCKS - 1_000) / EVERY)
    );
}
