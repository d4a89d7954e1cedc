//! `stencil chain deploy` against a real node: what is deployed is what is committed, it takes the gas
//! that the contracts' README says, and what would go wrong is refused before it costs anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../chain/tests/support/anvil.rs"]
#[allow(dead_code, reason = "the follower's own tests use the rest")]
mod anvil;
#[path = "../chain/tests/support/json_rpc.rs"]
mod json_rpc;
mod support;

use std::path::Path;
use std::process::{Command, Output};

use anvil::Anvil;
use serde_json::{Value, json};
use stencil_chain::signer::{self, Cost};
use support::{stencil, text};

const PAYEE: &str = "0x9A4ee00000000000000000000000000000000001";

/// A key of our own with coins, in a keystore file.
async fn account(anvil: &Anvil, folder: &Path) -> String {
    let address = signer::create(&folder.join("key.json"), "a password", Cost::Light).unwrap();
    stencil_crypto::keyfile::write(folder.join("password"), b"a password\n").unwrap();
    let address = address.to_checksum(None);
    anvil
        .call("anvil_setBalance", json!([address, "0xde0b6b3a7640000"]))
        .await;
    address
}

fn deploy(anvil: &Anvil, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = stencil();
    command
        .args(["chain", "deploy"])
        .args(arguments)
        .args(["--chain-id", "31337", "--output", "json"])
        .args(["--rpc", &anvil.url()])
        .arg("--keystore")
        .arg(folder.join("key.json"))
        .arg("--password-file")
        .arg(folder.join("password"));
    command
}

async fn ran(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

async fn answered(command: Command) -> Value {
    let output = ran(command).await;
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn refused(command: Command, why: &str) {
    let output = ran(command).await;
    assert!(!output.status.success(), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(why), "{why:?} is not in {said}");
}

/// A node that puts each transaction into a block at once.
async fn mining() -> Anvil {
    let anvil = Anvil::start().await;
    anvil.call("evm_setAutomine", json!([true])).await;
    anvil
}

fn measured(contract: &str) -> u64 {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("chain/contracts/gas")
        .join(format!("{contract}.json"));
    let gas: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    gas["deployment"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn contracts_are_deployed_and_take_the_gas_that_was_measured() {
    let anvil = mining().await;
    let folder = tempfile::tempdir().unwrap();
    let account = account(&anvil, folder.path()).await;
    let terms = folder.path().join("terms.txt");
    std::fs::write(&terms, "hello").unwrap();
    let terms = terms.to_str().unwrap();
    let owner = "0x9a4ee00000000000000000000000000000000001";
    let named = [
        "--administrator",
        owner,
        "--name",
        "Devices",
        "--symbol",
        "DEV",
    ];
    let royal = ["--royalty", "250", "--royalty-to", owner];
    let all: [(Vec<&str>, &str); 6] = [
        (vec!["payments", "--payee", owner], "StencilPayments"),
        (vec!["escrow"], "StencilEscrow"),
        (
            [&["passport"][..], &named, &royal].concat(),
            "DevicePassport",
        ),
        (
            [&["access-right", "--terms", terms][..], &named].concat(),
            "AccessRight",
        ),
        (vec!["market"], "StencilMarket"),
        (vec!["anchor"], "StencilAnchor"),
    ];
    for (arguments, contract) in &all {
        let mut dry = deploy(&anvil, folder.path(), arguments);
        dry.arg("--dry-run");
        let planned = answered(dry).await;
        assert!(planned["deployed"].is_null());
        let address = planned["address"].as_str().unwrap().to_owned();
        let code = anvil.call("eth_getCode", json!([address, "latest"])).await;
        assert_eq!(code, "0x", "a dry run sends nothing");

        let deployed = answered(deploy(&anvil, folder.path(), arguments)).await;
        assert_eq!(deployed["contract"], *contract);
        assert_eq!(deployed["account"], account.as_str());
        assert_eq!(deployed["address"], address.as_str());
        let gas = deployed["deployed"]["gas_used"].as_u64().unwrap();
        // forge measures it from within a contract, which has to keep the code in its memory; that is the
        // dearer, the longer the code is.
        let measured = measured(contract);
        let more = 5_000.max(measured / 200);
        assert!(gas.abs_diff(measured) <= more, "{contract}: {gas}");
        assert!(gas <= planned["gas_limit"].as_u64().unwrap());
        let code = anvil.call("eth_getCode", json!([address, "latest"])).await;
        assert!(code.as_str().unwrap().len() > 2_000);
    }
    let nonce = anvil
        .call("eth_getTransactionCount", json!([account, "latest"]))
        .await;
    assert_eq!(nonce, "0x6", "each was sent once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployed_payment_contract_pays_its_payee() {
    let anvil = mining().await;
    let folder = tempfile::tempdir().unwrap();
    account(&anvil, folder.path()).await;
    let payee = PAYEE.to_lowercase();
    let deployed = answered(deploy(
        &anvil,
        folder.path(),
        &["payments", "--payee", &payee],
    ))
    .await;
    let address = deployed["address"].as_str().unwrap();
    // `payNative(bytes32)`.
    let data = format!("0xefc3d609{}", "07".repeat(32));
    anvil
        .send(json!({"to": address, "data": data, "value": "0x64"}))
        .await;
    anvil.mine(1).await;
    let balance = anvil.call("eth_getBalance", json!([payee, "latest"])).await;
    assert_eq!(balance, "0x64");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_go_wrong_is_refused_before_anything_is_sent() {
    let anvil = mining().await;
    let folder = tempfile::tempdir().unwrap();
    let account = account(&anvil, folder.path()).await;
    let path = folder.path();

    refused(
        deploy(&anvil, path, &["payments"]),
        "--payee says who gets what is paid",
    )
    .await;
    refused(
        deploy(&anvil, path, &["escrow", "--payee", PAYEE]),
        "each hold names its own",
    )
    .await;
    refused(
        deploy(&anvil, path, &["payments", "--payee", PAYEE]),
        "checksum",
    )
    .await;
    let zero = format!("0x{}", "0".repeat(40));
    refused(
        deploy(&anvil, path, &["payments", "--payee", &zero]),
        "zero address",
    )
    .await;
    let owner = PAYEE.to_lowercase();
    let owner = owner.as_str();
    for (arguments, why) in [
        (
            &["market", "--administrator", owner][..],
            "nobody in charge",
        ),
        (&["passport"], "--name says what wallets show"),
        (
            &["passport", "--name", "N", "--symbol", "S"],
            "--administrator says who names issuers",
        ),
        (
            &[
                "passport",
                "--name",
                "N",
                "--symbol",
                "S",
                "--administrator",
                owner,
                "--royalty",
                "5",
            ],
            "go together",
        ),
        (
            &[
                "access-right",
                "--name",
                "N",
                "--symbol",
                "S",
                "--administrator",
                owner,
            ],
            "--terms FILE",
        ),
    ] {
        refused(deploy(&anvil, path, arguments), why).await;
    }

    let mut wrong_chain = stencil();
    wrong_chain
        .args([
            "chain",
            "deploy",
            "escrow",
            "--chain-id",
            "1",
            "--rpc",
            &anvil.url(),
        ])
        .arg("--keystore")
        .arg(path.join("key.json"))
        .arg("--password-file")
        .arg(path.join("password"));
    refused(wrong_chain, "of chain 31337, not 1: nothing was sent").await;

    let mut dear = deploy(&anvil, path, &["escrow"]);
    dear.args(["--max-fee-gwei", "0"]);
    refused(dear, "nothing was sent").await;

    stencil_crypto::keyfile::write(path.join("password"), b"another\n").unwrap();
    refused(deploy(&anvil, path, &["escrow"]), "the password is wrong").await;
    stencil_crypto::keyfile::write(path.join("password"), b"a password\n").unwrap();

    anvil
        .call("anvil_setBalance", json!([account, "0x1"]))
        .await;
    refused(
        deploy(&anvil, path, &["escrow"]),
        "has 1 wei, and it may cost",
    )
    .await;

    let nonce = anvil
        .call("eth_getTransactionCount", json!([account, "latest"]))
        .await;
    assert_eq!(nonce, "0x0", "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_waits_is_told_of_and_not_sent_twice() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().unwrap();
    account(&anvil, folder.path()).await;
    let mut impatient = deploy(&anvil, folder.path(), &["escrow"]);
    impatient.args(["--wait", "1"]);
    refused(impatient, "it may still come").await;
    refused(
        deploy(&anvil, folder.path(), &["escrow"]),
        "1 transactions that are in no block yet",
    )
    .await;
    anvil.mine(1).await;
    anvil.call("evm_setAutomine", json!([true])).await;
    answered(deploy(&anvil, folder.path(), &["escrow"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dollar_to_try_with_is_for_dev_chains_alone() {
    let anvil = mining().await;
    let folder = tempfile::tempdir().unwrap();
    account(&anvil, folder.path()).await;
    let made = answered(deploy(&anvil, folder.path(), &["dev-dollar"])).await;
    assert_eq!(made["contract"], "DevDollar");
    let call = json!([{ "to": made["address"], "input": "0x313ce567" }, "latest"]);
    let decimals = anvil.call("eth_call", call).await;
    assert_eq!(decimals, format!("0x{:064x}", 6));
    // Whatever the endpoint is: nothing is asked of it.
    let mut elsewhere = stencil();
    elsewhere
        .args(["chain", "deploy", "dev-dollar", "--chain-id", "137"])
        .args(["--rpc", &anvil.url()])
        .arg("--keystore")
        .arg(folder.path().join("key.json"))
        .arg("--password-file")
        .arg(folder.path().join("password"));
    refused(
        elsewhere,
        "DevDollar is for dev chains, whose ids are 31337 and 1337",
    )
    .await;
}
