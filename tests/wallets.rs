//! Signing in with wallets: a hub that follows a chain, the reference implementation both ways, contract
//! wallets that are good and bad, and an admin who gives roles and takes them back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../chain/tests/support/json_rpc.rs"]
#[allow(dead_code, reason = "the follower's own tests use the rest")]
mod json_rpc;
mod support;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;

use alloy_primitives::Address;
use alloy_signer::SignerSync as _;
use alloy_sol_types::SolValue as _;
use serde_json::{Value, json};
use stencil_devchain::{Account, DevChain, Endpoint, Options, accounts};
use support::{Hub, LIMIT, stencil, succeed, wait_for};

const SEED: u64 = 43;
const CHAIN_ID: u64 = 31_337;

struct Site {
    hub: Hub,
    _chain: DevChain,
    endpoint: Endpoint,
    runtime: tokio::runtime::Runtime,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: BTreeMap<String, String>,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }

    /// The detail of a problem with this status.
    #[track_caller]
    fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        self.body["detail"].as_str().expect("a detail").to_owned()
    }

    fn cookie(&self) -> String {
        let cookie = self.head.get("set-cookie").expect("a session");
        cookie.split(';').next().unwrap().to_owned()
    }
}

fn ann() -> Account {
    accounts(SEED, 2).remove(1)
}

fn signature(text: &str) -> String {
    let signed = ann().signer().unwrap().sign_message_sync(text.as_bytes());
    format!("0x{}", hex::encode(signed.unwrap().as_bytes()))
}

impl Site {
    fn open() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (chain, endpoint) = runtime.block_on(async {
            let chain = DevChain::start(Options {
                seed: SEED,
                ..Options::default()
            });
            let endpoint = chain.listen(0).await.unwrap();
            (chain, endpoint)
        });
        // The folder stays as long as the process may read it.
        let file = tempfile::tempdir().unwrap().keep().join("hub.toml");
        let settings = format!(
            "[chains.local.follow]\nchain_id = {CHAIN_ID}\nendpoints = [\"{}\"]\nfinality = 3\n\
             poll_interval_ms = 50\n",
            endpoint.url(),
        );
        std::fs::write(&file, settings).unwrap();
        let hub = Hub::start(&["--config", file.to_str().unwrap()]);
        Self {
            hub,
            _chain: chain,
            endpoint,
            runtime,
        }
    }

    fn rpc(&self, method: &str, params: Value) -> Value {
        let port = self.endpoint.address().port();
        self.runtime.block_on(json_rpc::call(port, method, params))
    }

    fn deploys(&self, artifact: &str, arguments: &[u8]) -> Address {
        let artifact: Value = serde_json::from_str(artifact).unwrap();
        let code = artifact["bytecode"].as_str().unwrap();
        let input = format!("{code}{}", hex::encode(arguments));
        let from = accounts(SEED, 1)[0].address;
        let creation = json!([{ "from": from, "gas": "0x4c4b40", "input": input }]);
        let tx = self.rpc("eth_sendTransaction", creation);
        let receipt = self.rpc("eth_getTransactionReceipt", json!([tx]));
        receipt["contractAddress"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    fn send(&self, method: &str, path: &str, cookie: Option<&str>, body: Option<&Value>) -> Answer {
        let port = self.hub.port("http");
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n");
        if let Some(cookie) = cookie {
            // As a page of the hub's own would say.
            head.push_str(&format!(
                "cookie: {cookie}\r\norigin: http://127.0.0.1:{port}\r\n"
            ));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        if !body.is_empty() {
            let length = body.len();
            head.push_str(&format!(
                "content-type: application/json\r\ncontent-length: {length}\r\n"
            ));
        }
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
            .write_all(format!("{head}\r\n{body}").as_bytes())
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let head = lines.filter_map(|line| line.split_once(": "));
        Answer {
            status,
            head: head
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        }
    }

    fn challenge(&self, address: Address, tenant: Option<&str>) -> Value {
        let body = json!({ "address": address, "chain_id": CHAIN_ID, "tenant": tenant });
        self.send("POST", "/api/v1/wallet/challenge", None, Some(&body))
            .ok()
    }

    fn answers(&self, message: &str, signature: &str) -> Answer {
        let body = json!({ "message": message, "signature": signature });
        self.send("POST", "/api/v1/wallet/sign-in", None, Some(&body))
    }

    fn signs_in(&self, address: Address, tenant: Option<&str>) -> Answer {
        let given = self.challenge(address, tenant);
        let message = given["message"].as_str().unwrap();
        self.answers(message, &signature(message))
    }

    fn admin(&self, arguments: &[&str]) -> String {
        let port = self.hub.port("http");
        let mut command = stencil();
        command.arg("wallet").args(arguments);
        command.args([
            "--hub",
            &format!("http://127.0.0.1:{port}"),
            "--token",
            &self.hub.token,
        ]);
        succeed(&mut command)
    }
}

/// The reference implementation.
fn npm(what: &str, given: &Value) -> Value {
    let folder = std::env::var_os("STENCIL_TEST_SIWE")
        .map(PathBuf::from)
        .expect("STENCIL_TEST_SIWE names a folder with npm's siwe; `cargo xtask test` sets it up");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/siwe/siwe.mjs");
    let mut node = std::process::Command::new("node")
        .arg(script)
        .arg(folder)
        .arg(what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = given.to_string();
    node.stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_the_reference_makes_signs_in_and_what_the_hub_asks_the_reference_verifies() {
    let site = Site::open();
    let given = site.challenge(ann().address, None);
    let fields = json!({
        "domain": given["domain"], "statement": given["statement"], "uri": given["uri"],
        "chainId": given["chain_id"], "nonce": given["nonce"], "requestId": "order-7",
        "resources": ["https://example.org/terms"],
    });
    let made = npm(
        "make",
        &json!({ "key": format!("0x{}", hex::encode(ann().key)), "fields": fields }),
    );
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let (message, signed) = (text("message"), text("signature"));
    let known = site.answers(&message, &signed).ok();
    assert_eq!(known["address"], made["address"]);
    assert_eq!(known["warnings"], json!([]));
    assert!(
        site.answers(&message, &signed)
            .problem(401)
            .contains("used already")
    );

    let given = site.challenge(ann().address, Some("acme"));
    let message = given["message"].as_str().unwrap();
    let mut asked = json!({
        "message": message, "signature": signature(message), "domain": given["domain"],
        "nonce": given["nonce"],
    });
    assert_eq!(npm("verify", &asked), json!({ "success": true }));
    asked["message"] = message.replace("tenant acme", "tenant evil").into();
    assert_eq!(npm("verify", &asked)["success"], false);
}

#[test]
fn an_admin_gives_a_role_and_takes_it_back_at_once() {
    let site = Site::open();
    let address = ann().address.to_checksum(None);
    let own = site.signs_in(ann().address, None);
    let cookie = own.cookie();
    assert_eq!(own.ok()["tenant"], Value::Null);
    let refused = site.send("GET", "/api/v1/devices", Some(&cookie), None);
    assert!(refused.problem(403).contains("signed in to no tenant"));
    let own = site
        .send("GET", "/api/v1/wallet/payments", Some(&cookie), None)
        .ok();
    assert_eq!(own["items"], json!([]));

    let granted = site.admin(&[
        "grant",
        &address,
        "--role",
        "editor",
        "--name",
        "ann's phone",
    ]);
    assert_eq!(granted.trim(), format!("{address} is editor"));
    let signed_in = site.signs_in(ann().address, Some("acme"));
    let cookie = signed_in.cookie();
    assert_eq!(signed_in.ok()["role"], "editor");
    site.send("GET", "/api/v1/devices", Some(&cookie), None)
        .ok();
    let workflow = site.send("DELETE", "/api/v1/workflows/none", Some(&cookie), None);
    workflow.problem(404);
    let listed = site.admin(&["list"]);
    assert!(
        listed.contains(&address) && listed.contains("ann's phone"),
        "{listed}"
    );

    site.admin(&["revoke", &address]);
    site.send("GET", "/api/v1/devices", Some(&cookie), None)
        .problem(401);
    site.signs_in(ann().address, Some("acme")).problem(403);
    assert!(!site.admin(&["list"]).contains(&address));
}

#[test]
fn contract_wallets_are_asked_and_bad_ones_do_no_harm() {
    let site = Site::open();
    let good = include_str!("../chain/contracts/artifacts/dev/DevWallet.json");
    let hostile = include_str!("../chain/contracts/artifacts/dev/HostileWallet.json");
    let wallet = site.deploys(good, &ann().address.abi_encode());
    let bad: Vec<_> = (0..4_u8)
        .map(|mode| site.deploys(hostile, &alloy_primitives::U256::from(mode).abi_encode()))
        .collect();
    // Where the follower is, it is known that these are contracts.
    let known = wait_for("the wallet's contract", || {
        let answer = site.signs_in(wallet, None);
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(known.ok()["address"], wallet.to_checksum(None));
    let given = site.challenge(wallet, None);
    let message = given["message"].as_str().unwrap();
    let other = site.answers(message, &signature("something else"));
    assert!(
        other.problem(401).contains("does not take the signature"),
        "{other:?}"
    );

    for (mode, (wallet, right)) in bad
        .into_iter()
        .zip([
            "reverted",
            "reverted",
            "1048576 bytes, where 32 are right",
            "reverted",
        ])
        .enumerate()
    {
        let answer = site.signs_in(wallet, None);
        assert!(
            !answer.head.contains_key("set-cookie"),
            "{mode}: {answer:?}"
        );
        let why = answer.problem(401);
        assert!(why.contains(right), "{mode}: {why}");
    }
    // And the hub goes on.
    site.signs_in(wallet, None).ok();
    site.signs_in(ann().address, None).ok();
    assert!(!site.hub.log().contains("panicked"), "{}", site.hub.log());
}
