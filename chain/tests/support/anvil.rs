//! Foundry's node: the real EVM and its JSON-RPC, mining on demand.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::json_rpc;

/// A contract that emits what it is called with: two logs of topics (word 0, word 1) with data word 2.
pub(crate) const EMITTER: [u8; 20] = [0xaa; 20];
/// A contract that reverts.
pub(crate) const REVERTS: [u8; 20] = [0xbb; 20];
/// An account of anvil's that has coins.
pub(crate) const RICH: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

/// `calldatacopy(0, 64, 32); log2(0, 32, calldata[0], calldata[32])`, the log twice; `stop`.
const EMITS_TWICE: &str = "0x60206040600037602035600035602060\
                           00a260203560003560206000a200";

pub(crate) struct Anvil {
    child: Child,
    pub(crate) port: u16,
}

/// Where `cargo xtask test` has put it.
fn program() -> PathBuf {
    std::env::var_os("STENCIL_TEST_ANVIL")
        .map(PathBuf::from)
        .expect("STENCIL_TEST_ANVIL names Foundry's anvil; `cargo xtask test` sets it up")
}

impl Anvil {
    /// Starts one with the contracts and a few blocks.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let mut child = Command::new(program())
            .args(["--port", "0", "--no-mining"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("anvil starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next().expect("anvil says where it listens").unwrap();
            if let Some((_, port)) = line.split_once("Listening on 127.0.0.1:") {
                break port.trim().parse().unwrap();
            }
        };
        // It must not be held up by a pipe that nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        let anvil = Self { child, port };
        anvil
            .call("anvil_setCode", json!([hex0x(&EMITTER), EMITS_TWICE]))
            .await;
        anvil
            .call("anvil_setCode", json!([hex0x(&REVERTS), "0x5f5ffd"]))
            .await;
        anvil.mine(3).await;
        anvil
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        json_rpc::call(self.port, method, params).await
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        self.call("anvil_mine", json!([format!("{blocks:#x}")]))
            .await;
    }

    /// Sends what makes the contract emit; gives the transaction's hash. It is not mined yet.
    pub(crate) async fn emit(&self, n: u8) -> String {
        let data = [word(0x11), word(n), word(n)].concat();
        self.send(json!({"to": hex0x(&EMITTER), "data": hex0x(&data)}))
            .await
    }

    pub(crate) async fn send(&self, mut transaction: Value) -> String {
        transaction["from"] = json!(RICH);
        transaction["gas"] = json!("0x30d40");
        let hash = self.call("eth_sendTransaction", json!([transaction])).await;
        hash.as_str().unwrap().to_owned()
    }

    /// `depth` blocks go and as many others come; the transactions are in the others, at these offsets.
    pub(crate) async fn reorg(&self, depth: u64, again: &[(&str, u64)]) {
        let mut raw = Vec::new();
        for (hash, offset) in again {
            let transaction = self
                .call("eth_getRawTransactionByHash", json!([hash]))
                .await;
            raw.push(json!([transaction, offset]));
        }
        self.call("anvil_reorg", json!([depth, raw])).await;
    }

    pub(crate) async fn head(&self) -> u64 {
        let number = self.call("eth_blockNumber", json!([])).await;
        u64::from_str_radix(number.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    /// What the chain has now: (block hash, transaction, log index) of every log.
    pub(crate) async fn logs(&self) -> Vec<(String, String, String)> {
        let logs = self
            .call(
                "eth_getLogs",
                json!([{"fromBlock": "0x0", "toBlock": "latest"}]),
            )
            .await;
        let text = |log: &Value, key: &str| log[key].as_str().unwrap().to_owned();
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

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn hex0x(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

pub(crate) fn word(n: u8) -> [u8; 32] {
    [n; 32]
}
