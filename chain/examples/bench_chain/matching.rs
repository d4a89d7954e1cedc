//! What was observed is read as the hub reads it, a page at a time, and held against the open
//! invoices, a block at a time.

use std::collections::BTreeSet;
use std::time::Instant;

use alloy_primitives::{Address, B256, LogData};
use serde_json::{Value, json};
use stencil_payments::matching::{Found, Log, Transaction};
use stencil_store::sqlite::Sqlite;
use stencil_store::{ChainEntryKind, Chains as _, MAX_CHAIN_ENTRIES, Observation};

use crate::catch_up::CHAIN;
use crate::invoices::Invoices;
use crate::world::{CHAIN_ID, Told};

/// Logs of a block that counts as busy.
const BUSY: usize = 100;

/// What was found, and what each block took.
#[derive(Default)]
struct Matched {
    /// Logs and milliseconds of each block that has any.
    blocks: Vec<(usize, f64)>,
    targets: BTreeSet<[u8; 16]>,
    credits: u64,
    unmatched: u64,
    observed: u64,
}

pub(crate) async fn run(told: &Told, invoices: &Invoices, store: &Sqlite) -> Value {
    let mut matched = Matched::default();
    let (mut after, mut read_s) = (0, 0.0);
    let mut block: Vec<Observation> = Vec::new();
    loop {
        let began = Instant::now();
        let page = store
            .chain_entries(CHAIN, after, MAX_CHAIN_ENTRIES)
            .await
            .unwrap();
        read_s += began.elapsed().as_secs_f64();
        let Some(last) = page.last() else {
            break;
        };
        after = last.seq;
        for entry in page {
            if entry.kind != ChainEntryKind::Observed {
                continue;
            }
            let seen = entry.observation;
            if block
                .first()
                .is_some_and(|first| first.block.hash != seen.block.hash)
            {
                matched.block(invoices, &std::mem::take(&mut block));
            }
            block.push(seen);
        }
    }
    matched.block(invoices, &block);
    assert_eq!(matched.observed, told.logs, "logs that were observed");
    assert_eq!(matched.credits, told.payments, "payments that were found");
    assert_eq!(matched.targets.len() as u64, told.payments, "each once");
    assert_eq!(matched.unmatched, 0, "nothing else came to the payee");
    let all: Vec<f64> = matched.blocks.iter().map(|(_, ms)| *ms).collect();
    let busy: Vec<f64> = matched
        .blocks
        .iter()
        .filter(|(logs, _)| *logs >= BUSY)
        .map(|(_, ms)| *ms)
        .collect();
    json!({
        "entries": after,
        "entries_per_s": (after as f64 / read_s).round(),
        "open_invoices": invoices.index.len(),
        "payments": matched.credits,
        "matching_ms": distribution(all),
        "matching_busy_ms": distribution(busy),
        "busy_logs": matched.blocks.iter().map(|(logs, _)| *logs).max(),
    })
}

impl Matched {
    /// Everything that is done with a block: its logs are put together by transaction, read, and
    /// looked up.
    fn block(&mut self, invoices: &Invoices, observed: &[Observation]) {
        if observed.is_empty() {
            return;
        }
        let began = Instant::now();
        let mut found = Vec::new();
        for logs in observed.chunk_by(|one, next| one.tx == next.tx) {
            let hash = B256::from(logs[0].tx);
            let logs: Vec<Log> = logs.iter().map(log).collect();
            found.extend(invoices.index.look(&Transaction {
                chain: CHAIN_ID,
                hash,
                value: None,
                logs: &logs,
            }));
        }
        let ms = began.elapsed().as_secs_f64() * 1_000.0;
        self.blocks.push((observed.len(), ms));
        self.observed += observed.len() as u64;
        for found in found {
            match found {
                Found::Credit { target, amount, .. } => {
                    let n = u128::from_be_bytes(target.invoice.0) as usize;
                    assert_eq!(amount, invoices.all[n].due, "invoice {n}");
                    self.targets.insert(target.invoice.0);
                    self.credits += 1;
                }
                Found::Unmatched(_) => self.unmatched += 1,
            }
        }
    }
}

fn log(seen: &Observation) -> Log {
    Log {
        ordinal: seen.ordinal,
        address: Address::from(seen.address),
        data: LogData::new_unchecked(
            seen.topics.iter().copied().map(B256::from).collect(),
            seen.data.clone().into(),
        ),
    }
}

fn distribution(mut ms: Vec<f64>) -> Value {
    ms.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let last = ms.len().saturating_sub(1) as f64;
        ms.get((last * share).round() as usize).copied()
    };
    let shown = |ms: Option<f64>| ms.map(|ms| (ms * 10_000.0).round() / 10_000.0);
    json!({
        "blocks": ms.len(),
        "mean": shown((!ms.is_empty()).then(|| ms.iter().sum::<f64>() / ms.len() as f64)),
        "p50": shown(at(0.5)),
        "p99": shown(at(0.99)),
        "max": shown(at(1.0)),
    })
}
