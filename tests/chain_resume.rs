//! `stencil chain resume`: endpoints of another fork stop a hub's chain; once they are right again, an operator
//! has it go on, and nothing else does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use stencil_store::Chains as _;
use support::process::Process;
use support::{Hub, http, stencil, succeed, text, wait_for};

/// A dev chain; another seed makes other blocks.
struct Chain(Process);

impl Chain {
    fn start(folder: &Path, seed: &str, blocks: u64) -> Self {
        let mut command = stencil();
        command.args([
            "sim",
            "chain",
            "--port",
            "0",
            "--seed",
            seed,
            "--accounts",
            "1",
        ]);
        command.args(["--output", "json"]);
        let log = folder.join(format!("chain-{seed}.log"));
        let chain = Self(Process::start(&mut command, &log));
        chain.mine(blocks);
        chain
    }

    fn url(&self) -> &str {
        self.0.said["rpc"][0].as_str().unwrap()
    }

    fn mine(&self, blocks: u64) {
        let port = self.url().rsplit(':').next().unwrap();
        let port = port.trim_end_matches('/').parse().unwrap();
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "anvil_mine", "params": [blocks] });
        let body = call.to_string();
        let said = http::request(port, "POST", "/", None, Some(("application/json", &body)));
        assert!(said.json()["error"].is_null(), "{said:?}");
    }

    /// Settings of a hub, or of a follower, that keep few blocks.
    fn follow(&self) -> String {
        format!(
            "[chains.dev.follow]\nchain_id = 31337\nendpoints = [\"{}\"]\nfinality = 2\nmax_depth = 4\n\
             poll_interval_ms = 50\n",
            self.url()
        )
    }
}

fn operator(hub: &Hub) -> String {
    let mut command = stencil();
    command.args(["hub", "add-operator", "--data-dir"]);
    succeed(command.arg(hub.data())).trim().to_owned()
}

fn run(hub: &Hub, token: &str, arguments: &[&str]) -> Output {
    let mut command = hub.command(arguments);
    command.env("STENCIL_TOKEN", token).output().unwrap()
}

/// The hub's chain, as `stencil chain list` has it.
fn standing(hub: &Hub, token: &str) -> Value {
    let output = run(hub, token, &["chain", "list", "--output", "json"]);
    assert!(output.status.success(), "{}", text(&output));
    let chains: Value = serde_json::from_slice(&output.stdout).unwrap();
    chains[0].clone()
}

fn wait_for_block(hub: &Hub, token: &str, number: u64) -> Value {
    wait_for(&format!("block {number}"), || {
        let chain = standing(hub, token);
        (chain["cursor"]["number"] == number).then_some(chain)
    })
}

#[track_caller]
fn refused(output: &Output, says: &str) {
    assert!(!output.status.success(), "{}", text(output));
    assert!(output.stdout.is_empty(), "{}", text(output));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(says), "{told}");
}

#[test]
fn an_operator_has_a_chain_go_on_once_its_endpoints_are_right_again() {
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (
        Chain::start(folder.path(), "7", 12),
        Chain::start(folder.path(), "8", 30),
    );
    let config = folder.path().join("hub.toml");
    std::fs::write(&config, right.follow()).unwrap();
    let mut hub = Hub::start(&["--config", config.to_str().unwrap()]);
    let operator = operator(&hub);
    let before = wait_for_block(&hub, &operator, 12);
    let resume = ["chain", "resume", "dev"];
    refused(
        &run(&hub, &operator, &resume),
        "the chain `dev` was not stopped: it goes on by itself",
    );

    std::fs::write(&config, wrong.follow()).unwrap();
    hub.start_again(None);
    let stopped = wait_for("the chain to be stopped", || {
        let chain = standing(&hub, &operator);
        chain["stopped"].is_string().then_some(chain)
    });
    assert_eq!(stopped["cursor"], before["cursor"]);

    // Nobody else has it go on, and no other.
    refused(
        &run(&hub, &hub.token, &resume),
        "this needs an operator's token, which `stencil hub add-operator` makes",
    );
    refused(
        &run(&hub, "stk_unknown", &resume),
        "the token is unknown or revoked",
    );
    refused(&run(&hub, "", &resume), "a token is needed");
    refused(
        &run(&hub, &operator, &["chain", "resume", "main"]),
        "there is no chain `main`; known: dev",
    );
    assert_eq!(standing(&hub, &operator)["stopped"], stopped["stopped"]);

    // As long as the endpoints are wrong it stops again, and nothing has changed.
    let since = stopped["changed_us"].as_i64().unwrap();
    let resumed = run(&hub, &operator, &resume);
    assert!(resumed.status.success(), "{}", text(&resumed));
    let told = String::from_utf8(resumed.stdout).unwrap();
    let says = "dev was stopped: a reorganisation goes deeper than the blocks that are kept";
    assert!(told.starts_with(says), "{told}");
    let hash = before["cursor"]["hash"].as_str().unwrap();
    assert!(
        told.contains(&format!("goes on after block 12 ({hash})")),
        "{told}"
    );
    let again = wait_for("the chain to be stopped again", || {
        let chain = standing(&hub, &operator);
        let is_anew = chain["changed_us"].as_i64().unwrap() > since;
        (is_anew && chain["stopped"].is_string()).then_some(chain)
    });
    assert_eq!(again["cursor"], before["cursor"]);

    std::fs::write(&config, right.follow()).unwrap();
    right.mine(3);
    hub.start_again(None);
    assert_eq!(standing(&hub, &operator)["stopped"], stopped["stopped"]);
    let mut command = hub.command(&["chain", "resume", "dev", "--output", "json"]);
    let resumed = succeed(command.env("STENCIL_TOKEN", &operator));
    let resumed: Value = serde_json::from_str(&resumed).unwrap();
    assert_eq!(resumed["was_stopped"], stopped["stopped"]);
    assert_eq!(resumed["cursor"], before["cursor"]);
    let on = wait_for_block(&hub, &operator, 15);
    assert_eq!(on["stopped"], Value::Null);
    hub.is_sound();
}

/// A follower that was stopped, in its folder.
#[tokio::test]
async fn a_follower_is_resumed_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), "7", 6);
    let data = folder.path().join("data");
    let chain_of = |arguments: &[&str]| {
        let mut command = stencil();
        command
            .arg("chain")
            .args(arguments)
            .arg("--data")
            .arg(&data);
        command.output().unwrap()
    };
    let resume = || chain_of(&["resume", "dev"]);
    refused(
        &resume(),
        "--data is the folder that was given to `stencil chain follow`",
    );
    let follow = || {
        let address = format!("0x{}", "c1".repeat(20));
        let follow = [
            "follow",
            "--once",
            "--name",
            "dev",
            "--chain-id",
            "31337",
            "--finality",
            "2",
        ];
        chain_of(&[&follow[..], &["--rpc", chain.url(), "--address", &address]].concat())
    };
    let followed = follow();
    assert!(followed.status.success(), "{}", text(&followed));
    refused(&resume(), "the chain `dev` was not stopped");
    refused(
        &chain_of(&["resume", "main"]),
        "has no chain `main`; it has dev",
    );
    let store = stencil_store::sqlite::open(data.join("chain.db"))
        .await
        .unwrap();
    store
        .stop_chain("dev", Some("an endpoint lied"), 1)
        .await
        .unwrap();
    store.close().await;
    refused(&follow(), "an endpoint lied");

    let resumed = resume();
    assert!(resumed.status.success(), "{}", text(&resumed));
    let told = String::from_utf8(resumed.stdout).unwrap();
    assert!(
        told.starts_with("dev was stopped: an endpoint lied\n"),
        "{told}"
    );
    chain.mine(2);
    let followed = follow();
    assert!(followed.status.success(), "{}", text(&followed));
    let status = chain_of(&["status", "--output", "json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status[0]["stopped"], Value::Null);
    assert_eq!(status[0]["cursor"]["number"], 8);
}
