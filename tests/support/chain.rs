//! A dev chain process.

use std::path::Path;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use serde_json::{Value, json};
use stencil_chain::deploy::Contract;

use super::process::Process;
use super::{http, stencil};

/// A dev chain that makes a block for each transaction, and when it is told to. Its seed is 7, its EIP-155
/// chain id 31337.
pub(crate) struct DevChain {
    process: Process,
}

impl DevChain {
    /// Starts one with so many accounts that have coins, and a control port.
    pub(crate) fn start(folder: &Path, accounts: u32) -> Self {
        let mut command = stencil();
        command.args(["sim", "chain", "--port", "0", "--control", "0"]);
        command.args(["--seed", "7", "--output", "json", "--accounts"]);
        let process = Process::start(command.arg(accounts.to_string()), &folder.join("chain.log"));
        Self { process }
    }

    /// Where it is asked.
    pub(crate) fn url(&self) -> &str {
        self.process.said["rpc"][0].as_str().unwrap()
    }

    /// The key of an account.
    pub(crate) fn key(&self, number: usize) -> PrivateKeySigner {
        let key = self.process.said["accounts"][number]["key"]
            .as_str()
            .unwrap();
        PrivateKeySigner::from_bytes(&key.parse::<B256>().unwrap()).unwrap()
    }

    /// An account.
    pub(crate) fn account(&self, number: usize) -> Address {
        self.key(number).address()
    }

    /// What it answers to a call that has to go well.
    pub(crate) fn rpc(&self, method: &str, params: Value) -> Value {
        let said = self.ask(method, params);
        assert!(said["error"].is_null(), "{method}: {said}");
        said["result"].clone()
    }

    /// What it answers, also while it is away for others.
    pub(crate) fn ask(&self, method: &str, params: Value) -> Value {
        ask(self.control(), method, params)
    }

    /// Whoever asks it where it is asked is answered that it is not there, or as ever again.
    pub(crate) fn is_away(&self, away: bool) {
        let port: u16 = self.url().rsplit(':').next().unwrap().parse().unwrap();
        let permille = if away { 1_000 } else { 0 };
        let faults = json!({ "unavailablePermille": permille });
        self.rpc("stencil_setFaults", json!([port, faults]));
    }

    /// The time of the newest block, in seconds since 1970.
    pub(crate) fn time_s(&self) -> u64 {
        number(&self.rpc("eth_getBlockByNumber", json!(["latest", false]))["timestamp"])
    }

    fn control(&self) -> &str {
        self.process.said["control"].as_str().unwrap()
    }

    /// Sends a transaction into a block of its own; gives its receipt.
    pub(crate) fn transact(
        &self,
        from: usize,
        to: Option<Address>,
        data: &[u8],
        value: U256,
    ) -> Value {
        let mut call = json!({
            "from": self.account(from), "gas": "0x4c4b40", "value": format!("{value:#x}"),
            "input": Bytes::copy_from_slice(data),
        });
        if let Some(to) = to {
            call["to"] = json!(to);
        }
        let hash = self.rpc("eth_sendTransaction", json!([call]));
        let receipt = self.rpc("eth_getTransactionReceipt", json!([hash]));
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        receipt
    }

    /// Calls a contract, in a block of its own; gives the receipt.
    pub(crate) fn send(&self, from: usize, to: Address, call: &impl SolCall) -> Value {
        self.transact(from, Some(to), &call.abi_encode(), U256::ZERO)
    }

    /// A call that a contract reverts.
    pub(crate) fn refuses(&self, from: usize, to: Address, call: &impl SolCall, value: U256) {
        let call = json!({
            "from": self.account(from), "to": to, "value": format!("{value:#x}"),
            "input": Bytes::from(call.abi_encode()),
        });
        let said = self.ask("eth_call", json!([call, "latest"]));
        let why = said["error"]["message"].as_str().unwrap_or_default();
        assert!(why.contains("revert"), "{said}");
    }

    /// What an account has, in wei.
    pub(crate) fn balance(&self, of: Address) -> U256 {
        let balance = self.rpc("eth_getBalance", json!([of, "latest"]));
        balance.as_str().unwrap().parse().unwrap()
    }

    /// Deploys a contract by the first account.
    pub(crate) fn deploy(&self, contract: &Contract) -> Address {
        let made = self.transact(0, None, &contract.creation().unwrap(), U256::ZERO);
        made["contractAddress"].as_str().unwrap().parse().unwrap()
    }

    /// Makes so many blocks.
    pub(crate) fn mine(&self, blocks: u64) {
        self.rpc("anvil_mine", json!([blocks]));
    }

    /// The number of the newest block.
    pub(crate) fn head(&self) -> u64 {
        number(&self.rpc("eth_blockNumber", json!([])))
    }

    /// Puts as many other blocks into the place of the newest ones, with these signed transactions, each
    /// in one of them counted from 0.
    pub(crate) fn reorg(&self, depth: u64, transactions: &[(&str, u64)]) {
        self.rpc("anvil_reorg", json!([depth, transactions]));
    }

    /// The same without any, and what was in those that go waits to be in a block again.
    pub(crate) fn reorg_back_to_pool(&self, depth: u64) {
        self.rpc("stencil_reorg", json!([depth, [], true]));
    }

    /// A transaction as it was signed.
    pub(crate) fn raw(&self, tx: &str) -> String {
        let raw = self.rpc("eth_getRawTransactionByHash", json!([tx]));
        raw.as_str().expect("a transaction").to_owned()
    }
}

/// A number as nodes write it.
pub(crate) fn number(value: &Value) -> u64 {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    u64::from_str_radix(digits.expect("a number"), 16).unwrap()
}

fn ask(url: &str, method: &str, params: Value) -> Value {
    let port = url.trim_end_matches('/').rsplit(':').next().unwrap();
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let body = call.to_string();
    let body = Some(("application/json", body.as_str()));
    http::request(port.parse().unwrap(), "POST", "/", None, body).json()
}
