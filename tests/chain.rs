//! `stencil chain follow` against a real node: killed wherever a step can be cut, while blocks are
//! reorganised away, it prints what the chain has, each effect once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../chain/tests/support/anvil.rs"]
#[allow(dead_code, reason = "the follower's own tests use the rest")]
mod anvil;
#[path = "../chain/tests/support/json_rpc.rs"]
mod json_rpc;
mod support;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};

use anvil::{Anvil, EMITTER, hex0x};
use serde_json::Value;
use support::{stencil, succeed, text};

const EVENT: &str = "Emitted(bytes32 indexed n, uint256 value)";

fn follow(anvil: &Anvil, data: &Path) -> Command {
    let mut command = stencil();
    command
        .args([
            "chain",
            "follow",
            "--once",
            "--output",
            "json",
            "--chain-id",
            "31337",
        ])
        .args(["--finality", "3", "--from", "1", "--rpc", &anvil.url()])
        .args(["--address", &hex0x(&EMITTER)])
        .arg("--data")
        .arg(data);
    command
}

/// The lines of an output that are whole; of a process that was killed the last may not be.
fn lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[tokio::test]
async fn killed_at_any_point_it_tells_each_entry_and_no_other() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut told: BTreeMap<u64, Value> = BTreeMap::new();
    let mut take = |output: &Output| {
        for line in lines(output) {
            let seq = line["seq"].as_u64().unwrap();
            // What is told again is told in the same words.
            let before = told.insert(seq, line.clone());
            assert!(before.is_none_or(|before| before == line), "{line}");
        }
    };
    let mut killed = 0;
    for (round, count) in (1..=4_u8).zip([1, 2, 3, 5]) {
        for point in ["chain.before_commit", "chain.after_commit", "chain.printed"] {
            let tx = anvil.emit(round).await;
            anvil.mine(2).await;
            anvil.emit(50 + round).await;
            anvil.mine(1).await;
            let crash = format!("{point}:{count}");
            let output = follow(&anvil, &data)
                .env("STENCIL_CRASH", &crash)
                .output()
                .unwrap();
            take(&output);
            assert!(
                output.status.success() || output.status.signal() == Some(9),
                "{crash}: {}",
                text(&output)
            );
            killed += u32::from(output.status.signal() == Some(9));
            // In what was seen by the one that was killed, or not.
            let depth = u64::from(round) + 1;
            let again: &[(&str, u64)] = if round % 2 == 0 { &[(&tx, 0)] } else { &[] };
            anvil.reorg(depth, again).await;
        }
    }
    assert!(killed >= 9, "{killed} of 12 were killed");
    anvil.mine(4).await;
    let output = follow(&anvil, &data).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    take(&output);

    let numbers: Vec<u64> = told.keys().copied().collect();
    assert_eq!(numbers, (1..=told.len() as u64).collect::<Vec<_>>());
    let mut standing = Vec::new();
    let mut finals = Vec::new();
    for line in told.values() {
        let of = |path: &str| line.pointer(path).unwrap().as_str().unwrap().to_owned();
        let place = format!("{:#x}", line["place"].as_u64().unwrap());
        let key = (of("/block/hash"), of("/tx"), place);
        match line["kind"].as_str().unwrap() {
            "observed" => standing.push(key),
            "retracted" => {
                let at = standing.iter().position(|other| *other == key);
                standing.remove(at.expect("only what stands is retracted"));
                finals.retain(|other| *other != key);
            }
            _ => finals.push(key),
        }
    }
    let logs = anvil.logs().await;
    assert_eq!(standing, logs);
    assert_eq!(finals, logs, "four blocks on, all is final");
    assert!(!logs.is_empty());

    let status = succeed(
        stencil()
            .args(["chain", "status", "--output", "json", "--data"])
            .arg(&data),
    );
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status[0]["cursor"]["number"], anvil.head().await);
    assert_eq!(status[0]["entries"], told.len());
    assert_eq!(status[0]["stopped"], Value::Null);
}

#[tokio::test]
async fn events_are_read_by_their_signature() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().unwrap();
    // The contract emits whatever topic it is called with.
    let signature = stencil_chain::event::Signature::parse(EVENT).unwrap();
    let data = [signature.topic0().0, [5; 32], anvil::word(0)].concat();
    anvil
        .send(serde_json::json!({"to": hex0x(&EMITTER), "data": hex0x(&data)}))
        .await;
    anvil.emit(9).await;
    anvil.mine(1).await;
    let printed = succeed(follow(&anvil, folder.path()).args(["--event", EVENT]));
    let lines: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "the other event is not watched: {printed}");
    assert_eq!(lines[0]["event"], "Emitted(bytes32,uint256)");
    assert_eq!(lines[0]["fields"]["value"], "0");
    assert_eq!(lines[0]["fields"]["n"], hex0x(&[5; 32]));
    // Started again, it says nothing again.
    assert_eq!(
        succeed(follow(&anvil, folder.path()).args(["--event", EVENT])),
        ""
    );
}

#[tokio::test]
async fn what_is_wrong_is_said_with_what_would_be_right() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("chain.toml");
    std::fs::write(&config, "[chain]\nendpoint = 'http://127.0.0.1:1'\n").unwrap();
    let config = config.to_str().unwrap();
    let address = hex0x(&EMITTER);
    let url = anvil.url();
    let cases: [(&[&str], &str); 7] = [
        (
            &["--chain-id", "1", "--rpc", &url],
            "is of chain 31337, not 1",
        ),
        (&["--rpc", &url], "chain_id: is missing"),
        (&["--chain-id", "31337"], "endpoints: at least one"),
        (
            &[
                "--chain-id",
                "31337",
                "--rpc",
                &url,
                "--address",
                &address,
                "--event",
                "Transfer(adress)",
            ],
            "\"adress\" is no type of Solidity",
        ),
        (
            &["--chain-id", "31337", "--rpc", &url, "--address", "0x12"],
            "40 hexadecimal digits",
        ),
        (
            &["--chain-id", "31337", "--rpc", &url, "--native"],
            "--address is missing",
        ),
        (&["--config", config], "unknown field"),
    ];
    for (arguments, expected) in cases {
        let output = stencil()
            .args(["chain", "follow", "--once", "--data"])
            .arg(folder.path().join("data"))
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output).contains(expected),
            "{arguments:?}: {}",
            text(&output)
        );
    }
    let output = stencil()
        .args(["chain", "status", "--data"])
        .arg(folder.path().join("nothing"))
        .output()
        .unwrap();
    assert!(
        text(&output).contains("stencil chain follow --data"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_key_is_made_once_and_opened_with_its_password_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, text) in [
        ("password", "a long password\n"),
        ("other", "another password\n"),
        ("empty", ""),
    ] {
        stencil_crypto::keyfile::write(path(name), text.as_bytes()).unwrap();
    }
    stencil_crypto::keyfile::write_public(path("open"), b"a long password\n").unwrap();
    let key = |command: &str, password: &str| {
        let mut key = stencil();
        key.args(["chain", "key", command, "--password-file"]);
        key.arg(path(password)).arg(path("key.json"));
        key
    };
    let address = succeed(&mut key("new", "password"));
    assert!(
        address.starts_with("0x") && address.trim().len() == 42,
        "{address}"
    );
    assert_eq!(succeed(&mut key("check", "password")), address);
    for (command, password, expected) in [
        ("check", "other", "the password is wrong"),
        ("new", "password", "can't be made"),
        ("check", "nothing", "--password-file"),
        ("check", "empty", "its first line is empty"),
        ("check", "open", "chmod 600"),
    ] {
        let output = key(command, password).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
}
