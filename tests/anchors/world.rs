//! The chain, the hub, the gateway, and what has to hold of them at any time.

use std::collections::BTreeMap;
use std::path::Path;

use alloy_primitives::Address;
use serde_json::{Value, json};
use stencil_chain::deploy::Contract;
use stencil_crypto::Psk;

use crate::support::chain::{DevChain, number};
use crate::support::http::{self, Answer};
use crate::support::{Gateway, Hub, stencil, succeed, text, wait_for};

const DEVICE: &str = "freezer-1";
const GATEWAY: &str = "gw-1";
/// Confirmations with which a block is final.
pub(crate) const FINAL: u64 = 4;
/// Readings at once.
const READINGS: usize = 3;

pub(crate) struct World {
    pub(crate) chain: DevChain,
    pub(crate) hub: Hub,
    gateway: Gateway,
    psk: Psk,
    contract: Address,
    /// Readings so far.
    given: u64,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let chain = DevChain::start(folder.path(), 2);
        let contract = chain.deploy(&Contract::Anchor);
        let (config, key) = (folder.path().join("hub.toml"), folder.path().join("key"));
        write_key(&chain, 1, &key);
        let settings = format!(
            "[chains.dev]\nanchor = \"{contract}\"\n\n[chains.dev.follow]\nchain_id = 31337\n\
             endpoints = [\"{}\"]\nfinality = {FINAL}\npoll_interval_ms = 50\n\n\
             [chains.dev.account]\nplain_key_file = \"{}\"\nallow_plain_key = true\n",
            chain.url(),
            key.display()
        );
        std::fs::write(&config, settings).unwrap();
        let hub = Hub::start(&["--config", config.to_str().unwrap()]);
        let mut gateway = Gateway::add(&hub, GATEWAY);
        gateway.change(|settings| {
            let mut seal = toml::Table::new();
            seal.insert("interval_s".to_owned(), 1.into());
            settings.insert("seal".to_owned(), seal.into());
        });
        let psk = gateway.add_device(DEVICE);
        gateway.start();
        let world = Self {
            chain,
            hub,
            gateway,
            psk,
            contract,
            given: 0,
            folder,
        };
        world.may_spend();
        let anchoring = json!({ "chain": "dev", "interval_s": 1 });
        world.put("/api/v1/anchoring", &world.hub.token, &anchoring);
        world
    }

    /// From its next start on the hub sends from this account.
    pub(crate) fn sends_from(&self, account: usize) {
        write_key(&self.chain, account, &self.folder.path().join("key"));
    }

    fn may_spend(&self) {
        let mut command = stencil();
        command.args(["hub", "add-operator", "--name", "ops"]);
        let operator = succeed(command.arg("--data-dir").arg(self.hub.data()));
        let limit = json!({ "chain": "dev", "window_s": 3600, "most": "1000000000000000000000" });
        let path = "/api/v1/operator/tenants/acme/spend-limits";
        self.put(path, operator.trim(), &limit);
    }

    fn put(&self, path: &str, token: &str, body: &Value) {
        let body = body.to_string();
        let body = Some(("application/json", body.as_str()));
        let answer = http::request(self.hub.port("http"), "PUT", path, Some(token), body);
        assert_eq!(answer.status, 204, "{path}: {answer:?}");
    }

    /// A device says something; its gateway has it, whether there is a hub or not.
    pub(crate) fn measure(&mut self) {
        let first = self.given + 1;
        let mut device = self.gateway.link(DEVICE, &self.psk);
        device.deliver(1, first, READINGS);
        self.given += READINGS as u64;
    }

    /// What the API says of the newest anchor.
    pub(crate) fn newest(&self) -> Value {
        let said = self.hub.get("/api/v1/anchoring");
        assert_eq!(said.status, 200, "{said:?}");
        said.json()["newest"].clone()
    }

    /// The number of the newest reading.
    pub(crate) fn last(&self) -> u64 {
        self.given
    }

    /// What the API answers who asks for the proof of a reading up to the chain.
    pub(crate) fn proof(&self, number: u64) -> Answer {
        let query = format!("boot=1&number={number}&until=anchored");
        self.hub
            .get(&format!("/api/v1/devices/{DEVICE}/proof?{query}"))
    }

    /// The same as far as there is one.
    pub(crate) fn as_far_as_it_goes(&self, number: u64) -> Value {
        let answer = self.hub.get(&format!(
            "/api/v1/devices/{DEVICE}/proof?boot=1&number={number}"
        ));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// `anchored` events of the contract, the oldest first: number and root.
    pub(crate) fn events(&self) -> Vec<(u64, String)> {
        let range = json!({ "address": self.contract, "fromBlock": "0x0", "toBlock": "latest" });
        let logs = self.chain.rpc("eth_getLogs", json!([range]));
        let logs = logs.as_array().unwrap().iter();
        logs.map(|log| {
            let data = log["data"].as_str().unwrap();
            let word = data.get(2..66).unwrap();
            let number = u64::from_str_radix(&word[48..], 16).unwrap();
            let root = log["topics"][3].as_str().unwrap();
            (number, root.trim_start_matches("0x").to_owned())
        })
        .collect()
    }

    /// Waits until so many roots are on the chain, in whatever block.
    pub(crate) fn wait_for_events(&self, count: usize) {
        wait_for(&format!("{count} roots on the chain"), || {
            (self.events().len() == count).then_some(())
        });
    }

    /// The hash of the chain's block of this number.
    pub(crate) fn hash_of(&self, number: u64) -> String {
        let block = self.chain.rpc(
            "eth_getBlockByNumber",
            json!([format!("{number:#x}"), false]),
        );
        let hash = block["hash"].as_str().expect("a block");
        hash.trim_start_matches("0x").to_owned()
    }

    /// Blocks are made until all that was measured is anchored; gives the proof of the last reading.
    pub(crate) fn settle(&self) -> Value {
        wait_for("the last reading to be anchored", || {
            let newest = self.newest();
            if newest["open"] == true {
                self.chain.mine(1);
            }
            let answer = self.proof(self.given);
            (newest["open"] == false && answer.status == 200).then(|| answer.json())
        })
    }

    /// `stencil verify` of a proof by one who trusts the gateway, and this: its exit code, and what it says.
    pub(crate) fn verify(&self, proof: &Value, flags: &[&str]) -> (i32, String) {
        let file = self.folder.path().join("proof.json");
        std::fs::write(&file, proof.to_string()).unwrap();
        let key = self.gateway.folder().join(format!("{GATEWAY}.pem"));
        let output = stencil()
            .arg("verify")
            .arg(file)
            .arg("--gateway-key")
            .arg(key)
            .args(flags)
            .output()
            .unwrap();
        (output.status.code().expect("it ends"), text(&output))
    }

    /// All readings from this on are proven, by a block that the chain has.
    pub(crate) fn all_is_proven(&self, from: u64) {
        for number in from..=self.given {
            let answer = self.proof(number);
            assert_eq!(answer.status, 200, "reading {number}: {answer:?}");
            let proof = answer.json();
            let block = proof["anchor"]["block_number"].as_u64().unwrap();
            assert_eq!(proof["anchor"]["block_hash"], self.hash_of(block));
            let (code, said) = self.verify(&proof, &["--rpc", self.chain.url()]);
            assert_eq!(code, 0, "reading {number}: {said}");
        }
    }

    /// Each seal is in one anchor, each anchor once on the chain, over the seals that the hub says, and it
    /// took one transaction.
    pub(crate) fn each_is_anchored_once(&self) {
        let mut seals = self.hub.items("/api/v1/seals?limit=1000");
        seals.reverse();
        let mut leaves: BTreeMap<u64, Vec<[u8; 32]>> = BTreeMap::new();
        for seal in &seals {
            assert_eq!(seal["state"], "verified", "{seal}");
            let anchor = seal["anchor"].as_u64().expect("an anchor");
            let hash = alloy_primitives::hex::decode(seal["hash"].as_str().unwrap()).unwrap();
            leaves
                .entry(anchor)
                .or_default()
                .push(hash.try_into().unwrap());
        }
        let expected: Vec<(u64, String)> = leaves
            .iter()
            .map(|(anchor, leaves)| {
                let root = stencil_proof::tree::root(leaves);
                (*anchor, alloy_primitives::hex::encode(root))
            })
            .collect();
        assert_eq!(self.events(), expected);
        let newest = self.newest();
        assert_eq!(newest["anchor"], expected.len());
        assert_eq!(
            (newest["open"].as_bool(), newest["trouble"].as_str()),
            (Some(false), None),
            "{newest}"
        );
        let account = json!([self.chain.account(1), "latest"]);
        let sent = number(&self.chain.rpc("eth_getTransactionCount", account));
        assert_eq!(sent, expected.len() as u64, "transactions");
        self.hub.is_sound();
    }
}

/// The key of an account of the chain, as the hub reads it.
fn write_key(chain: &DevChain, account: usize, file: &Path) {
    let _ = std::fs::remove_file(file);
    let secret = alloy_primitives::hex::encode(chain.key(account).to_bytes());
    stencil_crypto::keyfile::write(file, secret.as_bytes()).unwrap();
}
