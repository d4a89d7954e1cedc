//! The follower catches up.

use std::sync::Arc;
use std::time::Instant;

use alloy_primitives::keccak256;
use serde_json::{Value, json};
use stencil_chain::config::Start;
use stencil_chain::finality::Finality;
use stencil_chain::{Follower, Options, Progress};
use stencil_store::sqlite::Sqlite;
use stencil_store::{Chains as _, Watch, WatchKind};

use crate::memory;
use crate::world::{CHAIN_ID, Told};

pub(crate) const CHAIN: &str = "bench";
/// Blocks of one question of [`bare`].
const BARE_BLOCKS: u64 = 2_000;
/// Blocks between two samples that are told.
const SAMPLES: u64 = 20;

/// What it took.
pub(crate) struct CaughtUp {
    took_s: f64,
    cpu_s: f64,
    steps: u64,
    before_bytes: u64,
    peak_bytes: u64,
    /// Block and resident bytes after each step.
    samples: Vec<(u64, u64)>,
}

/// Seconds that the dev chain takes to be asked for all these logs by ranges, when nothing is
/// checked and nothing is kept: what no follower can be faster than.
pub(crate) async fn bare(told: &Told) -> f64 {
    // The client wants one to be named, also where there is no TLS.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let began = Instant::now();
    let mut logs = 0;
    for first in (0..=told.blocks).step_by(BARE_BLOCKS as usize) {
        let last = (first + BARE_BLOCKS - 1).min(told.blocks);
        let call = json!({
            "jsonrpc": "2.0", "id": 1, "method": "eth_getLogs",
            "params": [{
                "fromBlock": format!("{first:#x}"), "toBlock": format!("{last:#x}"),
                "address": [told.token, told.contract],
            }],
        });
        let answer = client.post(&told.endpoints[0]).json(&call).send().await;
        let answer: Value = answer.unwrap().json().await.unwrap();
        logs += answer["result"].as_array().expect("logs").len();
    }
    assert!(logs as u64 >= told.logs, "{logs} logs of {}", told.logs);
    began.elapsed().as_secs_f64()
}

/// Follows from the first block until nothing is new.
pub(crate) async fn run(told: &Told, endpoints: usize, store: &Sqlite) -> CaughtUp {
    let options = Options {
        name: Some(CHAIN.to_owned()),
        chain_id: Some(CHAIN_ID),
        endpoints: told.endpoints.iter().take(endpoints).cloned().collect(),
        finality: Some(Finality::Confirmations(12)),
        start: Some(Start::Block(1)),
        ..Options::default()
    };
    let settings = options.settle().expect("settings that are right");
    let mut follower = Follower::open(settings, Arc::new(store.clone()), || 1_000_000)
        .await
        .expect("a follower");
    let event = |address: alloy_primitives::Address, signature: &str| Watch {
        owner: "bench".to_owned(),
        address: address.into_array(),
        kind: WatchKind::Event(keccak256(signature).0),
    };
    let watches = [
        event(told.token, "Transfer(address,address,uint256)"),
        event(told.token, "AuthorizationUsed(address,bytes32)"),
        event(
            told.contract,
            "Paid(bytes32,address,address,uint256,uint256)",
        ),
    ];
    store.watch_chain(CHAIN, &watches).await.unwrap();
    let before_bytes = memory::bytes("VmRSS");
    let (began, cpu_s) = (Instant::now(), memory::cpu_s());
    let mut samples = Vec::new();
    let mut steps = 0;
    loop {
        match follower.turn().await.expect("a turn") {
            Progress::Stepped => steps += 1,
            Progress::UpToDate => break,
            other => panic!("{other:?}"),
        }
        let state = store.chain(CHAIN).await.unwrap().expect("the chain");
        let block = state.cursor.map_or(0, |cursor| cursor.number);
        samples.push((block, memory::bytes("VmRSS")));
        if steps % 20 == 0 {
            eprintln!("block {block}");
        }
    }
    let state = store.chain(CHAIN).await.unwrap().expect("the chain");
    assert_eq!(state.cursor.map(|cursor| cursor.number), Some(told.blocks));
    CaughtUp {
        took_s: began.elapsed().as_secs_f64(),
        cpu_s: memory::cpu_s() - cpu_s,
        steps,
        before_bytes,
        peak_bytes: memory::bytes("VmHWM"),
        samples,
    }
}

impl CaughtUp {
    /// The figures. Memory is flat when the last third of the blocks needs no more than the one
    /// before it.
    pub(crate) fn report(&self, told: &Told) -> Value {
        let most = |from: u64, to: u64| {
            let within = self
                .samples
                .iter()
                .filter(|(block, _)| (from..=to).contains(block));
            within.map(|(_, bytes)| *bytes).max().unwrap_or(0)
        };
        let third = told.blocks / 3;
        let middle = most(third, 2 * third);
        let last = most(2 * third + 1, told.blocks);
        let mut sampled: Vec<&(u64, u64)> = (1..=SAMPLES)
            .filter_map(|n| {
                let wanted = told.blocks * n / SAMPLES;
                self.samples.iter().find(|(block, _)| *block >= wanted)
            })
            .collect();
        sampled.dedup();
        let sampled: Vec<Value> = sampled
            .iter()
            .map(|(block, bytes)| json!({ "block": block, "rss_bytes": bytes }))
            .collect();
        json!({
            "logs": told.logs,
            "caught_up_s": (self.took_s * 100.0).round() / 100.0,
            "cpu_s": (self.cpu_s * 100.0).round() / 100.0,
            "steps": self.steps,
            "blocks_per_s": (told.blocks as f64 / self.took_s).round(),
            "logs_per_s": (told.logs as f64 / self.took_s).round(),
            "rss": {
                "before_bytes": self.before_bytes,
                "peak_bytes": self.peak_bytes,
                "middle_third_bytes": middle,
                "last_third_bytes": last,
                "samples": sampled,
            },
            "rss_growth_bytes": last as i64 - middle as i64,
        })
    }
}
