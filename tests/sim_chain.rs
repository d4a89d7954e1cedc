//! `stencil sim chain` as whoever tries it meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::process::Process;
use support::{http, stencil, succeed, text};

fn port(url: &Value) -> u16 {
    let url = url.as_str().unwrap();
    let host = url.strip_prefix("http://127.0.0.1:").expect(url);
    host.parse().unwrap()
}

fn call(port: u16, method: &str, params: Value) -> Value {
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let body = call.to_string();
    http::request(port, "POST", "/", None, Some(("application/json", &body))).json()
}

#[test]
fn it_says_where_it_is_and_who_has_coins_and_ends_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("chain.log");
    let mut chain = Process::start(
        stencil().args([
            "sim",
            "chain",
            "--port",
            "0",
            "--also",
            "0",
            "--control",
            "0",
            "--seed",
            "7",
            "--accounts",
            "3",
            "--chain-id",
            "1234",
            "--output",
            "json",
        ]),
        &log,
    );
    let said = chain.said.clone();
    let (first, second) = (port(&said["rpc"][0]), port(&said["rpc"][1]));
    assert_eq!(call(first, "eth_chainId", json!([]))["result"], "0x4d2");
    let accounts = said["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 3);
    let account = &accounts[0]["address"];
    let balance = call(second, "eth_getBalance", json!([account, "latest"]));
    assert_eq!(balance["result"], "0x21e19e0c9bab2400000");
    // A transfer by an account of the chain makes a block, which both see.
    let transfer = json!([{ "from": account, "to": accounts[1]["address"], "value": "0x1" }]);
    let hash = call(first, "eth_sendTransaction", transfer)["result"].clone();
    let receipt = call(second, "eth_getTransactionReceipt", json!([hash]));
    assert_eq!(receipt["result"]["status"], "0x1", "{receipt}");
    // The control port makes one of them lag; an ordinary port may not.
    let lag = json!([second, { "lagBlocks": 1 }]);
    assert_eq!(
        call(first, "stencil_setFaults", lag.clone())["error"]["code"],
        -32_601
    );
    call(port(&said["control"]), "stencil_setFaults", lag);
    assert_eq!(call(second, "eth_blockNumber", json!([]))["result"], "0x0");
    assert_eq!(call(first, "eth_blockNumber", json!([]))["result"], "0x1");
    assert!(chain.stop().success());
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("A DEV CHAIN ONLY"), "{log}");
}

#[test]
fn a_port_that_is_taken_and_settings_that_cannot_be_are_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = stencil()
        .args(["sim", "chain", "--port", &port])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = text(&output);
    assert!(
        told.contains(&port) && told.contains("0 takes a port that is free"),
        "{told}"
    );
    for wrong in [
        ["--accounts", "1001"],
        ["--block-time", "0"],
        ["--chain-id", "0"],
    ] {
        let output = stencil()
            .args(["sim", "chain"])
            .args(wrong)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    }
    let help = succeed(stencil().args(["sim", "chain", "--help"]));
    for word in [
        "A DEV CHAIN ONLY",
        "anvil_reorg",
        "stencil_setFaults",
        "Examples:",
    ] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
}
