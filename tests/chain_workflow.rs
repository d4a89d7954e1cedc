//! A contract's event fills a page and opens a locker, and a reorganisation closes it: a dev chain, a
//! hub, a gateway and a device, each by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::process::Process;
use support::{BoardDevice, Gateway, Hub, http, stencil, succeed, wait_for};

const DEVICE: &str = "lock-07";
/// What the device counts: it was told to open, and to close.
const OPEN: i64 = 1;
const CLOSE: i64 = 2;
const SHOP: &str = "0x00000000000000000000000000000000000000cc";

/// A dev chain that makes a block for each transaction, and when it is told to.
struct Chain {
    process: Process,
}

impl Chain {
    fn start(folder: &std::path::Path) -> Self {
        let mut command = stencil();
        command.args([
            "sim",
            "chain",
            "--port",
            "0",
            "--seed",
            "7",
            "--accounts",
            "3",
            "--output",
            "json",
        ]);
        let process = Process::start(&mut command, &folder.join("chain.log"));
        Self { process }
    }

    fn url(&self) -> &str {
        self.process.said["rpc"][0].as_str().unwrap()
    }

    fn account(&self, number: usize) -> &Value {
        &self.process.said["accounts"][number]
    }

    fn rpc(&self, method: &str, params: Value) -> Value {
        let port = self.url().rsplit(':').next().unwrap();
        let port = port.trim_end_matches('/').parse().unwrap();
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = call.to_string();
        let said = http::request(port, "POST", "/", None, Some(("application/json", &body)));
        let said = said.json();
        assert!(said["error"].is_null(), "{method}: {said}");
        said["result"].clone()
    }

    fn transact(&self, to: Option<&str>, data: &str) -> Value {
        let mut call = json!({
            "from": self.account(0)["address"], "gas": "0x4c4b40", "input": data,
        });
        if let Some(to) = to {
            call["to"] = to.into();
        }
        let hash = self.rpc("eth_sendTransaction", json!([call]));
        let receipt = self.rpc("eth_getTransactionReceipt", json!([hash]));
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        receipt
    }

    /// A token that anybody mints.
    fn deploy(&self) -> String {
        let artifact = include_str!("../chain/contracts/artifacts/dev/DevToken.json");
        let artifact: Value = serde_json::from_str(artifact).unwrap();
        let made = self.transact(None, artifact["bytecode"].as_str().unwrap());
        made["contractAddress"].as_str().unwrap().to_owned()
    }

    /// `mint(address,uint256)`
    fn mint(&self, token: &str, amount: u64) {
        let to = SHOP.trim_start_matches("0x");
        self.transact(Some(token), &format!("0x40c10f19{to:0>64}{amount:0>64x}"));
    }

    fn mine(&self, blocks: u64) {
        self.rpc("anvil_mine", json!([blocks]));
    }

    fn balance(&self, of: &str) -> String {
        let balance = self.rpc("eth_getBalance", json!([of, "latest"]));
        balance.as_str().unwrap().to_owned()
    }
}

fn workflow(token: &str) -> String {
    format!(
        r#"id: minted
version: 1
on: {{ chain: {{ name: dev, address: "{token}", event: "Transfer(address indexed from, address indexed to, uint256 value)" }} }}
steps:
  - id: supply
    use: chain.call
    with: {{ chain: dev, address: "{token}", function: "balanceOf(address) returns (uint256)", arguments: ["{{{{ event.args.to }}}}"] }}
    finality: included
  - id: page
    use: content.upsert
    with: {{ collection: minted, key: "{{{{ event.args.value }}}}", set: {{ title: "{{{{ event.args.to }}}} has {{{{ steps.supply.result }}}}" }} }}
    finality: included
  - {{ id: publish, use: content.publish, finality: included, with: {{ collection: minted, key: "{{{{ event.args.value }}}}" }} }}
  - id: open
    use: device.command
    with: {{ device: {DEVICE}, command: lock, argument: {OPEN}, expires: 60s }}
    finality: {{ confirmations: 2 }}
    undo: {{ command: lock, argument: {CLOSE}, patience: 1s }}
  - id: pay
    use: chain.send
    with: {{ chain: dev, address: "{SHOP}", value: 5, until: final }}
"#
    )
}

fn settings(chain: &Chain, key: &std::path::Path) -> String {
    format!(
        "[chains.dev.follow]\nchain_id = 31337\nendpoints = [\"{}\"]\nfinality = 4\n\
         poll_interval_ms = 50\n\n[chains.dev.account]\nplain_key_file = \"{}\"\n\
         allow_plain_key = true\n",
        chain.url(),
        key.display()
    )
}

fn runs(hub: &Hub) -> Vec<Value> {
    let runs = hub.items("/api/v1/runs");
    runs.iter()
        .map(|run| {
            let id = run["id"].as_str().unwrap();
            hub.get(&format!("/api/v1/runs/{id}")).json()
        })
        .collect()
}

fn turns(run: &Value, step: Option<u64>) -> Vec<&str> {
    let turns = run["turns"].as_array().unwrap();
    turns
        .iter()
        .filter(|turn| turn["step"].as_u64() == step)
        .map(|turn| turn["kind"].as_str().unwrap())
        .collect()
}

#[test]
fn an_event_opens_a_locker_and_a_reorganisation_closes_it() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path());
    let token = chain.deploy();
    let (config, key) = (folder.path().join("hub.toml"), folder.path().join("key"));
    let secret = chain.account(1)["key"].as_str().unwrap();
    let secret = secret.trim_start_matches("0x");
    stencil_crypto::keyfile::write(&key, secret.as_bytes()).unwrap();
    std::fs::write(&config, settings(&chain, &key)).unwrap();
    let mut hub = Hub::start(&["--config", config.to_str().unwrap()]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.start();
    let device = BoardDevice::on(DEVICE, gateway.add_device(DEVICE));
    device.find(gateway.address());
    wait_for("the device's link", || {
        let device = hub.get(&format!("/api/v1/devices/{DEVICE}")).body;
        let device: Value = serde_json::from_str(&device).unwrap_or(Value::Null);
        (device["connected"] == true).then_some(())
    });

    // What no chain knows is refused, with its place.
    let file = folder.path().join("minted.yaml");
    for (from, to, says) in [
        (
            "name: dev,",
            "name: main,",
            "the hub follows no chain `main`",
        ),
        ("uint256 value)", "uint257 value)", "`event` cannot be read"),
        (
            "balanceOf(address) returns",
            "balanceOf(adress) returns",
            "`function` cannot be read",
        ),
    ] {
        std::fs::write(&file, workflow(&token).replacen(from, to, 1)).unwrap();
        let mut apply = hub.command(&["workflow", "apply"]);
        let refused = apply.arg(&file).output().unwrap();
        assert!(!refused.status.success());
        let told = support::text(&refused);
        assert!(told.contains(says), "{told}");
    }
    std::fs::write(&file, workflow(&token)).unwrap();
    succeed(hub.command(&["workflow", "apply"]).arg(&file));

    // An event: its page is there at once, the locker waits.
    chain.mint(&token, 700);
    let page = wait_for("the page", || {
        let page = hub.get("/content/v1/acme/minted/700");
        (page.status == 200).then(|| page.json())
    });
    let title = page["fields"]["title"].as_str().unwrap_or_default();
    assert!(title.ends_with(" has 700"), "{page}");
    let waits = wait_for("the run that waits", || {
        let runs = runs(&hub);
        let run = runs.into_iter().next()?;
        (run["waits_for"] == "2 confirmations").then_some(run)
    });
    assert_eq!(waits["state"], "waiting", "{waits}");
    assert_eq!(waits["event"]["args"]["value"], "700");
    assert_eq!((device.did(OPEN), device.did(CLOSE)), (0, 0));
    chain.mine(1);
    wait_for("the locker to open", || {
        (device.did(OPEN) == 1).then_some(())
    });

    // The event's block goes, and does not come back; the hub dies meanwhile.
    hub.kill();
    chain.rpc("anvil_reorg", json!([2, []]));
    chain.mine(1);
    hub.start_again(None);
    wait_for("the locker to close", || {
        (device.did(CLOSE) == 1).then_some(())
    });
    assert_eq!(device.did(OPEN), 1);
    let run = wait_for("the history", || {
        let run = runs(&hub).into_iter().next()?;
        (turns(&run, Some(3)).len() == 3).then_some(run)
    });
    assert_eq!(turns(&run, None), ["included", "retracted"], "{run}");
    assert_eq!(turns(&run, Some(3)), ["deep", "act", "undo"], "{run}");
    let shown = succeed(&mut hub.command(&["run", "show", run["id"].as_str().unwrap()]));
    assert!(
        shown.contains("retracted") && !shown.starts_with('{'),
        "{shown}"
    );

    // What is sent from the hub's account is what the operator lets the tenant spend.
    let operator = {
        let mut command = stencil();
        command.args(["hub", "add-operator", "--name", "ops"]);
        succeed(command.arg("--data-dir").arg(hub.data()))
    };
    let limit = json!({
        "chain": "dev", "token": null, "window_s": 3600, "most": "1000000000000000000",
    });
    let set = http::request(
        hub.port("http"),
        "PUT",
        "/api/v1/operator/tenants/acme/spend-limits",
        Some(operator.trim()),
        Some(("application/json", &limit.to_string())),
    );
    assert_eq!(set.status, 204, "{set:?}");
    let seen = hub.get("/api/v1/payments/spending").json();
    for (name, value) in limit.as_object().unwrap() {
        assert_eq!(seen["limits"][0][name], *value, "{seen}");
    }
    assert_eq!(seen["limits"][0]["most_amount"], "1", "{seen}");

    // Another event, which stays: opened, and paid on when it is final.
    let before = chain.balance(SHOP);
    chain.mint(&token, 900);
    chain.mine(5);
    wait_for("the locker to open", || {
        (device.did(OPEN) == 2).then_some(())
    });
    let paid = wait_for("the run's end", || {
        // What is sent becomes final with further blocks.
        chain.mine(1);
        let all = runs(&hub);
        let run = all
            .into_iter()
            .find(|run| run["event"]["args"]["value"] == "900")?;
        (run["state"] == "done" || run["state"] == "failed").then_some(run)
    });
    assert_eq!(paid["state"], "done", "{paid}");
    let steps = paid["steps"].as_array().unwrap();
    let pay = steps.iter().find(|step| step["id"] == "pay").unwrap();
    assert_eq!(pay["output"]["state"], "final", "{pay}");
    assert_eq!(
        (before.as_str(), chain.balance(SHOP).as_str()),
        ("0x0", "0x5")
    );
    assert_eq!((device.did(OPEN), device.did(CLOSE)), (2, 1));
    let metrics = http::get(hub.port("http"), "/metrics", Some(&hub.token)).body;
    assert!(
        metrics.contains("stencil_hub_chain_turns_total"),
        "{metrics}"
    );
    hub.is_sound();
}
