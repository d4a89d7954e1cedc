//! The same script against Foundry's anvil and against the dev chain gives the same answers.
//!
//! What differs on purpose is left out before comparing, and is named here:
//!
//! - Hashes of blocks: anvil's headers have no state root and take the machine's time.
//! - Codes and words of refused transactions: anvil says -32003 and a short text, the dev chain says
//!   what geth says, -32000 with the figures.
//! - The base fee after a reorg: anvil goes on from that of the blocks that are gone.
//! - Receipts' `blobGasPrice`, which anvil also gives for transactions without blobs.
//! - Which of two senders comes first: anvil looks at the highest fee offered, the dev chain as geth
//!   at the tip that is paid.
//! - Estimates of gas: both are within 1.5 % above what is needed.

use std::process::Stdio;

use crate::support::{
    Client, Draft, GWEI, counter, invalid, key, many_logs, quantity, reverting, start,
};
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, U256};
use serde_json::{Value, json};
use stencil_devchain::Options;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A running anvil; it ends with this.
struct Anvil {
    _child: Child,
    url: String,
}

impl Anvil {
    async fn start(flags: &[&str]) -> Self {
        let program = std::env::var_os("STENCIL_TEST_ANVIL")
            .expect("STENCIL_TEST_ANVIL names Foundry's anvil; `cargo xtask test` sets it up");
        let mut child = Command::new(program)
            .args(["--port", "0"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("anvil ended");
            if let Some(address) = line.strip_prefix("Listening on ") {
                break address.to_owned();
            }
        };
        // What it goes on to write is read and dropped, so that it is never blocked.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            _child: child,
            url: format!("http://{address}"),
        }
    }
}

/// What a script was told, each under a name.
#[derive(Default)]
struct Told(Vec<(String, Value)>);

impl Told {
    fn note(&mut self, name: impl Into<String>, value: Value) {
        self.0.push((name.into(), value));
    }
}

fn assert_same(anvil: &Told, ours: &Told) {
    for ((name, anvils), (our_name, ours)) in anvil.0.iter().zip(&ours.0) {
        assert_eq!(name, our_name);
        assert_eq!(anvils, ours, "{name}: anvil's on the left");
    }
    assert_eq!(anvil.0.len(), ours.0.len());
}

/// Leaves out what follows from block hashes and the clock.
fn without_hashes(mut value: Value) -> Value {
    const LEFT_OUT: [&str; 9] = [
        "hash",
        "parentHash",
        "stateRoot",
        "mixHash",
        "timestamp",
        "blockHash",
        "blockTimestamp",
        "size",
        "blobGasPrice",
    ];
    match &mut value {
        Value::Object(fields) => {
            // A transaction's hash is compared: only blocks have a parent.
            let block = fields.contains_key("parentHash");
            for name in LEFT_OUT {
                if name != "hash" || block {
                    fields.remove(name);
                }
            }
            for field in fields.values_mut() {
                *field = without_hashes(field.take());
            }
        }
        Value::Array(values) => {
            for value in values {
                *value = without_hashes(value.take());
            }
        }
        _ => {}
    }
    value
}

fn hash_of(raw: &Bytes) -> B256 {
    *alloy_consensus::TxEnvelope::decode_2718_exact(raw)
        .unwrap()
        .tx_hash()
}

async fn fund(client: &Client, address: Address) {
    let wei = U256::from(100 * 10_u128.pow(18));
    client.call("anvil_setBalance", json!([address, wei])).await;
}

/// anvil keeps the base fee of its first block for the second, which EIP-1559 does not: after this,
/// both follow it.
async fn same_fee(client: &Client) {
    client
        .call("anvil_setNextBlockBaseFeePerGas", json!(["0x3b9aca00"]))
        .await;
}

async fn note_block(client: &Client, told: &mut Told, number: u64) {
    let tag = format!("{number:#x}");
    let block = client
        .call("eth_getBlockByNumber", json!([tag, true]))
        .await;
    told.note(format!("block {number}"), without_hashes(block));
    let receipts = client.call("eth_getBlockReceipts", json!([tag])).await;
    told.note(format!("receipts {number}"), without_hashes(receipts));
}

async fn transactions(client: &Client) -> Told {
    let mut told = Told::default();
    let (alice, bob) = (key(1), key(2));
    fund(client, alice.address()).await;
    fund(client, bob.address()).await;
    same_fee(client).await;
    let contracts = [counter(), many_logs(), reverting(), invalid()];
    for (nonce, code) in (0..).zip(&contracts) {
        client.mined(&Draft::create(code, nonce).sign(&alice)).await;
    }
    let at = |nonce| alice.address().create(nonce);
    let transactions = [
        Draft::to(at(0), 4).input(7).sign(&alice),
        Draft::to(at(0), 5).input(8).sign_legacy(&alice, true),
        Draft::to(at(1), 6).input(3).sign_2930(&alice),
        Draft::to(at(2), 7).sign(&alice),
        Draft::to(at(3), 8).sign(&alice),
        Draft::to(bob.address(), 9).value(5).sign(&alice),
        Draft {
            gas_limit: 60_000,
            ..Draft::create(&[0xfe], 10)
        }
        .sign(&alice),
    ];
    for raw in &transactions {
        let receipt = client.mined(raw).await;
        let hash = hash_of(raw);
        told.note(format!("receipt {hash}"), without_hashes(receipt));
        let transaction = client.mined_transaction(hash).await;
        told.note(format!("transaction {hash}"), without_hashes(transaction));
    }
    // Several in one block, ordered by what they pay.
    client.call("evm_setAutomine", json!([false])).await;
    client
        .send(
            &Draft::to(at(0), 11)
                .input(1)
                .fees(10 * GWEI, GWEI)
                .sign(&alice),
        )
        .await;
    client
        .send(
            &Draft::to(at(0), 12)
                .input(2)
                .fees(10 * GWEI, 5 * GWEI)
                .sign(&alice),
        )
        .await;
    client
        .send(
            &Draft::to(at(0), 0)
                .input(3)
                .fees(11 * GWEI, 2 * GWEI)
                .sign(&bob),
        )
        .await;
    client
        .send(
            &Draft::to(at(0), 2)
                .input(9)
                .fees(10 * GWEI, 2 * GWEI)
                .sign(&bob),
        )
        .await;
    for address in [alice.address(), bob.address()] {
        for tag in ["latest", "pending"] {
            let nonce = client
                .call("eth_getTransactionCount", json!([address, tag]))
                .await;
            told.note(format!("nonce of {address}, {tag}"), nonce);
        }
    }
    client.call("evm_mine", json!([])).await;
    let head = client.number().await;
    for number in 1..=head {
        note_block(client, &mut told, number).await;
    }
    for address in [alice.address(), bob.address(), at(0), at(5), Address::ZERO] {
        for method in ["eth_getBalance", "eth_getTransactionCount", "eth_getCode"] {
            let value = client.call(method, json!([address, "latest"])).await;
            told.note(format!("{method} {address}"), value);
        }
    }
    for (number, tag) in [(5, "0x5"), (head, "latest")] {
        let slot = client
            .call("eth_getStorageAt", json!([at(0), "0x0", tag]))
            .await;
        told.note(format!("slot at {number}"), slot);
    }
    let either = [U256::from(7), U256::from(2)].map(B256::from);
    for (name, filter) in [
        ("all", json!({ "fromBlock": "0x0", "toBlock": "latest" })),
        (
            "of a contract",
            json!({ "fromBlock": "earliest", "address": at(1) }),
        ),
        (
            "of two topics",
            json!({ "fromBlock": "0x1", "topics": [either] }),
        ),
        (
            "of any topic",
            json!({ "fromBlock": "0x1", "topics": [null], "address": [at(0)] }),
        ),
        (
            "with more topics",
            json!({ "fromBlock": "0x1", "topics": [null, B256::ZERO] }),
        ),
        ("of the newest", json!({})),
    ] {
        let logs = client.call("eth_getLogs", json!([filter])).await;
        told.note(format!("logs {name}"), without_hashes(logs));
    }
    let hash = client
        .call("eth_getBlockByNumber", json!(["latest", false]))
        .await["hash"]
        .take();
    let logs = client
        .call("eth_getLogs", json!([{ "blockHash": hash }]))
        .await;
    told.note("logs by hash", without_hashes(logs));
    let history = client
        .call("eth_feeHistory", json!(["0x4", "latest", [10.0, 90.0]]))
        .await;
    told.note("fees", history);
    told.note("gas price", client.call("eth_gasPrice", json!([])).await);
    told
}

async fn calls(client: &Client) -> Told {
    let mut told = Told::default();
    let alice = key(1);
    fund(client, alice.address()).await;
    for (nonce, code) in (0..).zip(&[counter(), reverting(), invalid(), many_logs()]) {
        client.mined(&Draft::create(code, nonce).sign(&alice)).await;
    }
    let at = |nonce| alice.address().create(nonce);
    let word = U256::from(3).to_be_bytes_vec();
    let input = Bytes::from(word);
    let result = client
        .call(
            "eth_call",
            json!([{ "to": at(0), "input": input }, "latest"]),
        )
        .await;
    told.note("call", result);
    let result = client
        .call("eth_call", json!([{ "to": at(0), "data": input }]))
        .await;
    told.note("call by data", result);
    let error = client
        .error("eth_call", json!([{ "to": at(1) }, "latest"]))
        .await;
    told.note("revert", error);
    let error = client
        .error("eth_estimateGas", json!([{ "to": at(1) }]))
        .await;
    told.note("revert of an estimate", error);
    let empty = client
        .call(
            "eth_call",
            json!([{ "to": Address::repeat_byte(7) }, "latest"]),
        )
        .await;
    told.note("call of nobody", empty);
    let transfer =
        json!([{ "from": alice.address(), "to": Address::repeat_byte(7), "value": "0x1" }]);
    told.note(
        "estimate of a transfer",
        client.call("eth_estimateGas", transfer).await,
    );
    let answer = client
        .answer("eth_call", json!([{ "to": at(2) }, "latest"]))
        .await;
    told.note("a halt is an error", json!(answer.get("error").is_some()));
    // Within 1.5 % above, and enough.
    let estimate = client
        .call(
            "eth_estimateGas",
            json!([{ "from": alice.address(), "to": at(3), "input": input }]),
        )
        .await;
    let gas_limit = quantity(&estimate);
    let draft = Draft {
        gas_limit,
        ..Draft::to(at(3), 4).input(3)
    };
    let receipt = client.mined(&draft.sign(&alice)).await;
    told.note("an estimate is enough", receipt["status"].clone());
    let used = quantity(&receipt["gasUsed"]);
    told.note(
        "and close",
        json!(gas_limit >= used && gas_limit <= used + used * 2 / 100),
    );
    told
}

async fn refusals(client: &Client) -> Told {
    let mut told = Told::default();
    let (alice, poor) = (key(1), key(9));
    fund(client, alice.address()).await;
    client.call("evm_setAutomine", json!([false])).await;
    let to = Address::repeat_byte(5);
    let waiting = Draft::to(to, 1).sign(&alice);
    client.send(&waiting).await;
    for (name, words, raw) in [
        ("again", "already", waiting),
        (
            "no money",
            "insufficient funds",
            Draft::to(to, 0).value(1).sign(&poor),
        ),
        (
            "same nonce, same fee",
            "replacement transaction underpriced",
            Draft::to(to, 1).value(1).sign(&alice),
        ),
        (
            "too little gas",
            "intrinsic gas too low",
            Draft {
                gas_limit: 20_000,
                ..Draft::to(to, 0)
            }
            .sign(&alice),
        ),
        (
            "another chain",
            "invalid chain id",
            Draft {
                chain_id: 5,
                ..Draft::to(to, 0)
            }
            .sign(&alice),
        ),
        (
            "tip above the fee",
            "max priority fee per gas higher than max fee per gas",
            Draft::to(to, 0).fees(2 * GWEI, 3 * GWEI).sign(&alice),
        ),
    ] {
        let error = client.error("eth_sendRawTransaction", json!([raw])).await;
        let message = error["message"].as_str().unwrap().to_lowercase();
        let code = error["code"].as_i64().unwrap();
        assert!(message.contains(words), "{name}: {error}");
        assert!([-32_000, -32_003].contains(&code), "{name}: {error}");
        told.note(name, json!(words));
    }
    client.call("evm_mine", json!([])).await;
    client.call("evm_setAutomine", json!([true])).await;
    client.mined(&Draft::to(to, 0).sign(&alice)).await;
    let low = Draft::to(to, 0).value(3).sign(&alice);
    let low = client.error("eth_sendRawTransaction", json!([low])).await;
    let message = low["message"].as_str().unwrap().to_lowercase();
    assert!(message.contains("nonce too low"), "{low}");
    told.note(
        "nonce",
        client
            .call(
                "eth_getTransactionCount",
                json!([alice.address(), "latest"]),
            )
            .await,
    );
    told
}

async fn branches(client: &Client) -> Told {
    let mut told = Told::default();
    let (alice, bob) = (key(1), key(2));
    fund(client, alice.address()).await;
    fund(client, bob.address()).await;
    client.call("evm_mine", json!([])).await;
    client
        .mined(&Draft::create(&counter(), 0).sign(&alice))
        .await;
    let contract = alice.address().create(0);
    let snapshot = client.call("evm_snapshot", json!([])).await;
    let first = Draft::to(contract, 1).input(1).sign(&alice);
    let second = Draft::to(contract, 0).input(2).sign(&bob);
    client.mined(&first).await;
    client.mined(&second).await;
    client.call("evm_mine", json!([])).await;
    let before = client
        .call("eth_getTransactionReceipt", json!([hash_of(&first)]))
        .await;
    // The first again, a block later; the second is gone; one of Bob's instead.
    let other = Draft::to(contract, 0).input(4).sign(&bob);
    client
        .call("anvil_reorg", json!([3, [[first, 1], [other, 0]]]))
        .await;
    told.note("height", client.call("eth_blockNumber", json!([])).await);
    let after = client
        .call("eth_getTransactionReceipt", json!([hash_of(&first)]))
        .await;
    told.note(
        "again in another block",
        json!(before["blockHash"] != after["blockHash"]),
    );
    let mut after = without_hashes(after);
    after.as_object_mut().unwrap().remove("effectiveGasPrice");
    told.note("the same again", after);
    told.note(
        "gone",
        client
            .call("eth_getTransactionReceipt", json!([hash_of(&second)]))
            .await,
    );
    let gone = client
        .error("eth_getLogs", json!([{ "blockHash": before["blockHash"] }]))
        .await;
    told.note("logs of a block that is gone", gone);
    let gone = client
        .call("eth_getBlockByHash", json!([before["blockHash"], false]))
        .await;
    told.note("a block that is gone", gone);
    let logs = client
        .call("eth_getLogs", json!([{ "fromBlock": "0x0" }]))
        .await;
    told.note("logs", without_hashes(logs));
    told.note(
        "slot",
        client
            .call("eth_getStorageAt", json!([contract, "0x0", "latest"]))
            .await,
    );
    for (name, params) in [
        ("too deep", json!([99, []])),
        ("beyond the branch", json!([2, [[other, 2]]])),
    ] {
        told.note(name, client.error("anvil_reorg", params).await);
    }
    client.call("anvil_rollback", json!([1])).await;
    told.note(
        "height after rollback",
        client.call("eth_blockNumber", json!([])).await,
    );
    told.note("return", client.call("evm_revert", json!([snapshot])).await);
    told.note(
        "height after return",
        client.call("eth_blockNumber", json!([])).await,
    );
    told.note(
        "slot after return",
        client
            .call("eth_getStorageAt", json!([contract, "0x0", "latest"]))
            .await,
    );
    told.note(
        "return again",
        client.call("evm_revert", json!([snapshot])).await,
    );
    let nonce = client
        .call(
            "eth_getTransactionCount",
            json!([alice.address(), "latest"]),
        )
        .await;
    told.note("nonce after return", nonce);
    told
}

async fn odds_and_ends(client: &Client) -> Told {
    let mut told = Told::default();
    let newest = |client: &Client| {
        let client = client.clone();
        async move {
            let block = client
                .call("eth_getBlockByNumber", json!(["latest", false]))
                .await;
            (quantity(&block["number"]), quantity(&block["timestamp"]))
        }
    };
    client.call("evm_mine", json!([])).await;
    let (_, before) = newest(client).await;
    client
        .call("evm_setNextBlockTimestamp", json!([before + 1_000]))
        .await;
    client.call("evm_mine", json!([])).await;
    told.note("time set", json!(newest(client).await.1 - before));
    client.call("evm_increaseTime", json!([500])).await;
    client.call("evm_mine", json!([])).await;
    told.note(
        "time moved on",
        json!((1_500..1_520).contains(&(newest(client).await.1 - before))),
    );
    told.note(
        "an earlier time",
        client.error("evm_setNextBlockTimestamp", json!([1])).await,
    );
    client.call("anvil_mine", json!(["0x5"])).await;
    told.note("height", json!(newest(client).await.0));
    for (name, method, params) in [
        ("chain id", "eth_chainId", json!([])),
        ("network", "net_version", json!([])),
        ("syncing", "eth_syncing", json!([])),
        (
            "unknown block",
            "eth_getBlockByNumber",
            json!(["0x99", false]),
        ),
        (
            "unknown block by hash",
            "eth_getBlockByHash",
            json!([B256::repeat_byte(1), false]),
        ),
        ("unknown receipts", "eth_getBlockReceipts", json!(["0x99"])),
        (
            "unknown receipt",
            "eth_getTransactionReceipt",
            json!([B256::repeat_byte(1)]),
        ),
        (
            "unknown transaction",
            "eth_getTransactionByHash",
            json!([B256::repeat_byte(1)]),
        ),
        (
            "unknown slot",
            "eth_getStorageAt",
            json!([Address::ZERO, "0x5", "latest"]),
        ),
        ("keccak", "web3_sha3", json!(["0x68656c6c6f"])),
    ] {
        told.note(name, client.call(method, params).await);
    }
    for (name, method, params) in [
        ("unknown method", "eth_nothing", json!([])),
        ("too few arguments", "eth_getBalance", json!([])),
        ("no address", "eth_getBalance", json!(["0x12", "latest"])),
        ("no block", "eth_getBlockByNumber", json!(["soon", false])),
        (
            "blocks that are not there",
            "eth_getLogs",
            json!([{ "fromBlock": "0x98", "toBlock": "0x99" }]),
        ),
        (
            "logs of an unknown block",
            "eth_getLogs",
            json!([{ "blockHash": B256::repeat_byte(1) }]),
        ),
    ] {
        told.note(name, client.error(method, params).await["code"].clone());
    }
    told
}

macro_rules! same {
    ($name:ident, $script:ident) => {
        #[tokio::test]
        async fn $name() {
            let chain = start(Options::default());
            let endpoint = chain.listen(0).await.unwrap();
            let ours = $script(&Client::new(endpoint.url())).await;
            let anvil = Anvil::start(&[]).await;
            let anvils = $script(&Client::new(&anvil.url)).await;
            assert!(!ours.0.is_empty());
            assert_same(&anvils, &ours);
        }
    };
}

same!(transactions_come_to_the_same, transactions);
same!(calls_come_to_the_same, calls);
same!(refusals_are_the_same, refusals);
same!(branches_and_snapshots_are_the_same, branches);
same!(odds_and_ends_are_the_same, odds_and_ends);
