//! What the chain has, read block by block from the endpoint that tells the truth, and what that pays:
//! by nothing that the hub has.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, U256, keccak256};
use serde::Deserialize;
use serde_json::{Value, json};

/// Blocks of one question.
const PAGE: u64 = 5_000;

/// Speaks JSON-RPC.
#[derive(Clone)]
pub(crate) struct Rpc {
    http: reqwest::Client,
    url: String,
}

impl Rpc {
    pub(crate) fn new(url: String) -> Self {
        // The client wants one to be named, also where there is no TLS.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, url }
    }

    /// The result, or the error's text.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Result<Value, String> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.http.post(&self.url).json(&call).send().await.unwrap();
        let mut answer: Value = answer.json().await.unwrap();
        match answer["error"].take() {
            Value::Null => Ok(answer["result"].take()),
            error => Err(error.to_string()),
        }
    }

    pub(crate) async fn number(&self, method: &str, params: Value) -> u64 {
        let answer = self.ask(method, params).await.unwrap();
        quantity(&answer)
    }
}

pub(crate) fn quantity(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// A log as the chain has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Log {
    pub(crate) address: Address,
    pub(crate) topics: Vec<B256>,
    pub(crate) data: String,
    pub(crate) block_hash: B256,
    block_number: String,
    pub(crate) transaction_hash: B256,
    log_index: String,
}

/// Where a log is: its block's number, and its place in the block.
pub(crate) type Place = (u64, u64);

impl Log {
    pub(crate) fn place(&self) -> Place {
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
        (number(&self.block_number), number(&self.log_index))
    }

    /// The amount that is the first word of its data.
    fn amount(&self, word: usize) -> U256 {
        let digits = self.data.trim_start_matches("0x");
        U256::from_str_radix(&digits[word * 64..][..64], 16).unwrap()
    }
}

/// All logs from a block on, in their order.
pub(crate) async fn canonical(truth: &Rpc, from: u64) -> Vec<Log> {
    let head = truth.number("eth_blockNumber", json!([])).await;
    let mut logs = Vec::new();
    for first in (from..=head).step_by(PAGE as usize) {
        let last = (first + PAGE - 1).min(head);
        let range =
            json!([{ "fromBlock": format!("{first:#x}"), "toBlock": format!("{last:#x}") }]);
        let page = truth.ask("eth_getLogs", range).await.unwrap();
        logs.extend(serde_json::from_value::<Vec<Log>>(page).unwrap());
    }
    logs
}

/// Whose money is looked at.
pub(crate) struct Watched {
    pub(crate) token: Address,
    pub(crate) contract: Address,
    pub(crate) payee: Address,
}

/// What names the invoice of a payment: a nonce, the id by which the contract knows it, or an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    Nonce(B256),
    Contract(B256),
    Amount(U256),
}

/// Movements of money to the payee: by transaction, in the order of their places, with what names
/// their invoices.
pub(crate) fn credits(watched: &Watched, logs: &[Log]) -> BTreeMap<(B256, usize), (Named, U256)> {
    let transfer = keccak256("Transfer(address,address,uint256)");
    let used = keccak256("AuthorizationUsed(address,bytes32)");
    let paid = keccak256("Paid(bytes32,address,address,uint256,uint256)");
    let mut credits = BTreeMap::new();
    for receipt in logs.chunk_by(|one, next| one.transaction_hash == next.transaction_hash) {
        let of = |topic: B256, address: Address| {
            receipt
                .iter()
                .find(move |log| log.address == address && log.topics.first() == Some(&topic))
        };
        let by_contract = of(paid, watched.contract).map(|log| Named::Contract(log.topics[1]));
        let by_nonce = of(used, watched.token).map(|log| Named::Nonce(log.topics[2]));
        for (ordinal, log) in receipt.iter().enumerate() {
            let moves = log.address == watched.token
                && log.topics.first() == Some(&transfer)
                && log.topics[2] == watched.payee.into_word();
            if moves {
                let amount = log.amount(0);
                let named = by_contract.or(by_nonce).unwrap_or(Named::Amount(amount));
                credits.insert((log.transaction_hash, ordinal), (named, amount));
            }
        }
    }
    credits
}

/// Events of the payment contract, as `TRANSACTION:PLACE` in the transaction's receipt.
pub(crate) fn paid(watched: &Watched, logs: &[Log]) -> BTreeSet<String> {
    let paid = keccak256("Paid(bytes32,address,address,uint256,uint256)");
    let mut events = BTreeSet::new();
    for receipt in logs.chunk_by(|one, next| one.transaction_hash == next.transaction_hash) {
        for (ordinal, log) in receipt.iter().enumerate() {
            if log.address == watched.contract && log.topics.first() == Some(&paid) {
                events.insert(format!("{:#x}:{ordinal}", log.transaction_hash));
            }
        }
    }
    events
}
