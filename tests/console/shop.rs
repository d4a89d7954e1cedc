//! A tenant that takes payments on a dev chain: the chain, its contracts, a hub that follows it.

use std::path::Path;

use serde_json::{Value, json};
use stencil_payer::{Call, contracts};
use stencil_payments::{Address, B256, U256};
use stencil_store::{Sends as _, SpendLimit};

use crate::support::process::Process;
use crate::support::{Hub, http, stencil, wait_for};

pub(crate) const CHAIN_ID: u64 = 31_337;
/// How deep a payment has to be.
pub(crate) const CONFIRMATIONS: u64 = 3;

/// A chain process, which takes a transaction into a block at once.
pub(crate) struct Chain {
    process: Process,
    port: u16,
}

/// A hub with a tenant that is paid on a chain.
pub(crate) struct Shop {
    pub(crate) hub: Hub,
    pub(crate) chain: Chain,
    pub(crate) dollar: Address,
    _folder: tempfile::TempDir,
}

impl Chain {
    fn start(folder: &Path) -> Self {
        let mut command = stencil();
        command.args(["sim", "chain", "--port", "0", "--accounts", "4"]);
        command.args(["--seed", "7", "--output", "json"]);
        let process = Process::start(&mut command, &folder.join("chain.log"));
        let url = process.said["rpc"][0].as_str().expect("an address");
        let port = url.rsplit(':').next().unwrap().parse().expect("a port");
        Self { process, port }
    }

    /// What a node answers.
    pub(crate) fn try_call(&self, method: &str, params: &Value) -> Result<Value, String> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = call.to_string();
        let answer = http::request(
            self.port,
            "POST",
            "/",
            None,
            Some(("application/json", &body)),
        );
        let mut answer = answer.json();
        match answer.get("error") {
            Some(error) => Err(error["message"].as_str().unwrap_or_default().to_owned()),
            None => Ok(answer["result"].take()),
        }
    }

    pub(crate) fn call(&self, method: &str, params: &Value) -> Value {
        self.try_call(method, params)
            .unwrap_or_else(|why| panic!("{method}: {why}"))
    }

    /// So many blocks.
    pub(crate) fn mine(&self, blocks: u64) {
        self.call("anvil_mine", &json!([blocks]));
    }

    /// Time passes, and a block says so.
    pub(crate) fn pass(&self, seconds: u64) {
        self.call("evm_increaseTime", &json!([seconds]));
        self.mine(1);
    }

    /// Whether transactions come into a block at once.
    pub(crate) fn takes_at_once(&self, at_once: bool) {
        self.call("evm_setAutomine", &json!([at_once]));
    }

    /// Other blocks in the place of the newest, without what was in them.
    pub(crate) fn reorganises(&self, depth: u64) {
        self.call("anvil_reorg", &json!([depth, []]));
    }

    /// A key of an account that has coins, and its address: 0 has deployed, 1 is the shop, 2 and 3
    /// pay.
    pub(crate) fn account(&self, number: usize) -> (B256, Address) {
        let account = &self.process.said["accounts"][number];
        let text = |name: &str| account[name].as_str().expect("an account").to_owned();
        (
            text("key").parse().unwrap(),
            text("address").parse().unwrap(),
        )
    }

    /// Has an account of the chain send something; its receipt.
    pub(crate) fn does(&self, number: usize, call: &Call) -> Value {
        let mut transaction = json!({
            "from": self.account(number).1,
            "gas": format!("{:#x}", call.gas_limit),
            "value": format!("{:#x}", call.value),
            "input": call.input,
        });
        if let Some(to) = call.to.to() {
            transaction["to"] = json!(to);
        }
        let hash = self.call("eth_sendTransaction", &json!([transaction]));
        let receipt = self.call("eth_getTransactionReceipt", &json!([hash]));
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        receipt
    }

    pub(crate) fn deploys(&self, code: stencil_payments::Bytes) -> Address {
        let receipt = self.does(0, &Call::create(code));
        receipt["contractAddress"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }
}

impl Shop {
    pub(crate) fn open() -> Self {
        Self::open_with("")
    }

    /// With more in the settings of the chain.
    pub(crate) fn open_with(more: &str) -> Self {
        Self::open_as(more, &[])
    }

    /// With a name that a restart does not change.
    pub(crate) fn open_named() -> Self {
        let name = "http://localhost:8080";
        Self::open_as("", &[("STENCIL_HUB_HTTP__PUBLIC_URL", name)])
    }

    fn open_as(more: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let chain = Chain::start(folder.path());
        let (key, payee) = chain.account(1);
        let dollar = chain.deploys(contracts::dollar().unwrap());
        let contract = chain.deploys(contracts::payments(payee).unwrap());
        let account = folder.path().join("account.key");
        stencil_crypto::keyfile::write(&account, key.to_string().as_bytes()).unwrap();
        let settings = folder.path().join("hub.toml");
        let text = format!(
            "[chains.dev]\npayments = \"{contract}\"\n{more}\n\
             account = {{ plain_key_file = {account:?}, allow_plain_key = true }}\n\n\
             [chains.dev.follow]\nchain_id = {CHAIN_ID}\nendpoints = [\"http://127.0.0.1:{}\"]\n\
             finality = 12\npoll_interval_ms = 100\nmax_ahead_s = 1000000\n\n\
             [[chains.dev.tokens]]\nsymbol = \"DUSD\"\naddress = \"{dollar}\"\ndecimals = 6\n\
             eip712 = {{ name = \"Dev Dollar\", version = \"2\" }}\n\n\
             [[rates]]\ntoken = \"DUSD\"\ncurrency = \"EUR\"\nrate = \"0.80\"\n\n\
             [[rates]]\ntoken = \"eip155:{CHAIN_ID}/native\"\ncurrency = \"EUR\"\nrate = \"2000\"\n",
            chain.port
        );
        std::fs::write(&settings, text).unwrap();
        let (config, free) = (settings.to_str().unwrap(), "127.0.0.1:0");
        let hub = Hub::start_with(&["--config", config, "--mqtt-plain", free], variables);
        let shop = Self {
            hub,
            chain,
            dollar,
            _folder: folder,
        };
        shop.lets_the_hub_spend();
        shop.takes_payments(payee);
        shop
    }

    /// Without a limit the hub sends nothing for a tenant.
    fn lets_the_hub_spend(&self) {
        let limit = SpendLimit {
            tenant: "acme".to_owned(),
            chain: "dev".to_owned(),
            asset: None,
            window_s: 3_600,
            most: U256::from(10).pow(U256::from(18)).to_be_bytes(),
        };
        let file = self.hub.data().join("hub.sqlite");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = stencil_store::sqlite::open(file).await.unwrap();
            store.set_spend_limit(&limit).await.unwrap();
        });
    }

    /// Sets the ways to pay as soon as the hub has looked at the chain.
    fn takes_payments(&self, payee: Address) {
        let way = |token: &str, way: &str| {
            json!({
                "chain": "dev", "token": token, "way": way, "payee": payee.to_checksum(None),
                "confirmations": CONFIRMATIONS,
            })
        };
        let settings = json!({
            "methods": [
                way("DUSD", "authorization"), way("DUSD", "contract"), way("native", "unique_amount"),
            ],
            "policy": { "grace_s": 0 },
        });
        wait_for("the hub to know its chain", || {
            let answer = self.asks("PUT", "/api/v1/payments/settings", &settings);
            (answer.status < 300).then_some(())
        });
    }

    pub(crate) fn asks(&self, method: &str, path: &str, body: &Value) -> http::Answer {
        let body = body.to_string();
        let (port, token) = (self.hub.port("http"), Some(self.hub.token.as_str()));
        http::request(port, method, path, token, Some(("application/json", &body)))
    }

    /// A new invoice over 2 euros: its id.
    pub(crate) fn bills(&self, methods: &[&str]) -> String {
        let wanted = json!({
            "amount": "2.00", "currency": "EUR", "reference": "locker-7", "methods": methods,
            "title": "Locker 7, one hour",
            "description": "The locker opens as soon as the payment is settled.",
            "return_url": "https://shop.example/thanks",
        });
        let answer = self.asks("POST", "/api/v1/invoices", &wanted);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// What the API says of an invoice.
    pub(crate) fn invoice(&self, id: &str) -> Value {
        self.hub.get(&format!("/api/v1/invoices/{id}")).json()
    }

    /// Gives an account of the chain so many base units of the dollar.
    pub(crate) fn mints(&self, number: usize, units: u64) {
        let to = self.chain.account(number).1;
        let amount = U256::from(units);
        self.chain.does(0, &Call::mint(self.dollar, to, amount));
    }
}
