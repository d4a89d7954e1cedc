//! A hub that sells, over a dev chain with tokens.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_signer::SignerSync as _;
use alloy_sol_types::{SolCall as _, SolValue as _};
use serde_json::{Value, json};
use stencil_devchain::{Account, DevChain, Endpoint, Options, accounts};
use stencil_payments::abi;
use stencil_payments::eip712::{Authorization, Domain, Kind};
use stencil_payments::money::Amount;
use stencil_payments::x402::hold::HoldExtra;
use stencil_payments::x402::{PaymentRequired, header};

use crate::json_rpc;
use crate::support::{Hub, LIMIT, mqtt::Mqtt, stencil, succeed, wait_for};

const SEED: u64 = 42;
/// Confirmations after which a block is final.
pub(crate) const FINAL: u64 = 3;
pub(crate) const PAYEE: Address = Address::repeat_byte(0xaa);

pub(crate) struct Shop {
    pub(crate) hub: Hub,
    pub(crate) chain: DevChain,
    endpoint: Endpoint,
    runtime: tokio::runtime::Runtime,
    pub(crate) token: Address,
    pub(crate) fee_token: Address,
    pub(crate) escrow: Address,
    nonces: u8,
    /// An operator's token.
    operator: String,
}

/// An answer with its head.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Shop {
    /// With a payer who has a hundred dollars, and a tenant who may spend coins on gas.
    pub(crate) fn open(flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (chain, endpoint) = runtime.block_on(async {
            let chain = DevChain::start(Options {
                seed: SEED,
                ..Options::default()
            });
            let endpoint = chain.listen(0).await.unwrap();
            (chain, endpoint)
        });
        let folder = tempfile::tempdir().unwrap();
        let mut shop = Chained {
            endpoint: &endpoint,
            runtime: &runtime,
        };
        let token = shop.deploy(
            include_str!("../../chain/contracts/artifacts/dev/DevDollar.json"),
            &[],
        );
        let fee = U256::from(1_000).abi_encode();
        let fee_token = shop.deploy(
            include_str!("../../chain/contracts/artifacts/dev/FeeToken.json"),
            &fee,
        );
        let escrow = shop.deploy(
            include_str!("../../chain/contracts/artifacts/StencilEscrow.json"),
            &[],
        );
        for token in [token, fee_token] {
            shop.mint(token, payer().address, 100_000_000);
        }
        let key = folder.path().join("key");
        let secret = hex::encode(accounts(SEED, 2)[1].key);
        stencil_crypto::keyfile::write(&key, secret.as_bytes()).unwrap();
        let settings = format!(
            "[chains.local]\nescrow = \"{escrow}\"\n\
             [chains.local.follow]\nchain_id = 31337\nendpoints = [\"{}\"]\nfinality = {FINAL}\n\
             poll_interval_ms = 50\n\
             [chains.local.account]\nplain_key_file = {key:?}\nallow_plain_key = true\n\
             [[chains.local.tokens]]\nsymbol = \"USDX\"\naddress = \"{token}\"\ndecimals = 6\n\
             eip712 = {{ name = \"Dev Dollar\", version = \"2\" }}\n\
             [[chains.local.tokens]]\nsymbol = \"FEE\"\naddress = \"{fee_token}\"\ndecimals = 6\n\
             eip712 = {{ name = \"Dev Dollar\", version = \"2\" }}\n",
            endpoint.url(),
        );
        // The folder stays as long as the process may read it.
        let folder = folder.keep();
        let file = folder.join("hub.toml");
        std::fs::write(&file, settings).unwrap();
        let file = file.to_str().unwrap().to_owned();
        let mut all = vec!["--config", &file, "--mqtt-plain", "127.0.0.1:0"];
        all.extend(flags);
        let hub = Hub::start_with(&all, variables);
        let mut shop = Self {
            hub,
            chain,
            endpoint,
            runtime,
            token,
            fee_token,
            escrow,
            nonces: 0,
            operator: String::new(),
        };
        shop.allow_gas();
        shop
    }

    /// Who runs the hub lets the tenant spend on gas.
    fn allow_gas(&mut self) {
        let mut command = stencil();
        command
            .args(["hub", "add-operator", "--data-dir"])
            .arg(self.hub.data());
        self.operator = succeed(&mut command).trim().to_owned();
        wait_for("the chain to be followed", || {
            let answer = self.limit("1000000000000000000000");
            (answer.status == 204).then_some(())
        });
    }

    /// The tenant may spend so much, in wei.
    pub(crate) fn limit(&self, most: &str) -> Answer {
        let body = json!({ "chain": "local", "window_s": 3_600, "most": most });
        let path = "/api/v1/operator/tenants/acme/spend-limits";
        let bearer = format!("Bearer {}", self.operator);
        let headers = [("authorization", bearer.as_str())];
        self.send("PUT", path, &headers, &body.to_string())
    }

    /// What a command of the operator's says.
    pub(crate) fn operates(&self, arguments: &[&str]) -> String {
        let mut command = stencil();
        command.args(arguments).args(["--hub", &self.url("")]);
        succeed(command.env("STENCIL_TOKEN", &self.operator))
    }

    /// The payer sends tokens to somebody, for a fee by which that is in a block before all else.
    pub(crate) fn spends(&self, token: Address, units: u64) {
        let (to, value) = (Address::repeat_byte(0xdd), U256::from(units));
        self.sends_first(token, &abi::transferCall { to, value }.abi_encode());
    }

    /// The payer cancels what was signed last, for such a fee, too.
    pub(crate) fn cancels(&self, token: Address) {
        let hash = |text: &str| alloy_primitives::keccak256(text);
        let (from, nonce) = (payer(), B256::repeat_byte(self.nonces));
        let what = (
            hash("CancelAuthorization(address authorizer,bytes32 nonce)"),
            from.address,
            nonce,
        );
        let domain = self.view(token, &hash("DOMAIN_SEPARATOR()")[..4]);
        let mut digest = vec![0x19, 0x01];
        digest.extend(domain);
        digest.extend_from_slice(alloy_primitives::keccak256(what.abi_encode()).as_slice());
        let digest = alloy_primitives::keccak256(digest);
        let signature = from.signer().unwrap().sign_hash_sync(&digest).unwrap();
        let mut input = hash("cancelAuthorization(address,bytes32,bytes)")[..4].to_vec();
        let signature = Bytes::from(signature.as_bytes().to_vec());
        input.extend((from.address, nonce, signature).abi_encode_params());
        self.sends_first(token, &input);
    }

    fn sends_first(&self, token: Address, input: &[u8]) {
        let from = payer().address;
        let call = json!([{
            "from": from, "to": token, "gas": "0x30d40",
            "maxPriorityFeePerGas": "0x174876e800", "maxFeePerGas": "0x2e90edd000",
            "input": format!("0x{}", hex::encode(input)),
        }]);
        self.rpc("eth_sendTransaction", call);
    }

    /// Whether a transaction waits to be in a block.
    pub(crate) fn has_waiting(&self) -> bool {
        let status = self.rpc("txpool_status", json!([]));
        status["pending"] != "0x0"
    }

    /// Sets an offer, once the chain has confirmed its tokens.
    pub(crate) fn offer(&self, name: &str, offer: &Value) {
        let bearer = format!("Bearer {}", self.hub.token);
        wait_for(&format!("offer {name} to be taken"), || {
            let path = format!("/api/v1/offers/{name}");
            let answer = self.send(
                "PUT",
                &path,
                &[("authorization", &bearer)],
                &offer.to_string(),
            );
            let unconfirmed = answer.status == 503 && answer.body.contains("not reached yet");
            assert!(
                unconfirmed || matches!(answer.status, 200 | 201),
                "{answer:?}"
            );
            (!unconfirmed).then_some(())
        });
    }

    pub(crate) fn price(&self, token: Address) -> Value {
        json!({ "chain": "local", "token": token, "amount": "0.01", "pay_to": PAYEE })
    }

    /// Readings of a device, one a second: the time of the first, µs.
    pub(crate) fn readings(&self, device: &str, count: u16) -> i64 {
        let first_us = 1_790_000_000_000_000;
        let mut meter: Mqtt = self.hub.foreign(device);
        for n in 0..count {
            let ts = first_us / 1_000 + i64::from(n) * 1_000;
            let sample = json!({ "ts": ts, "values": { "temperature": n } });
            meter.deliver("v1/devices/me/telemetry", sample.to_string().as_bytes());
        }
        wait_for("readings", || {
            (self.hub.points(device, "temperature") == usize::from(count)).then_some(())
        });
        first_us
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.hub.port("http"))
    }

    /// One request.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let answer = self.try_send(method, path, headers, body);
        answer.unwrap_or_else(|| panic!("{method} {path} is not answered: {}", self.hub.log()))
    }

    /// One request to a hub that may end meanwhile.
    pub(crate) fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            let length = body.len();
            head.push_str(&format!(
                "content-type: application/json\r\ncontent-length: {length}\r\n"
            ));
        }
        let mut stream = TcpStream::connect(("127.0.0.1", self.hub.port("http"))).ok()?;
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
            .write_all(format!("{head}\r\n{body}").as_bytes())
            .ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let head = lines.filter_map(|line| line.split_once(": "));
        Some(Answer {
            status,
            head: head
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_owned(),
        })
    }

    /// What is asked for.
    pub(crate) fn asks(&self, method: &str, path: &str, body: &str) -> PaymentRequired {
        let answer = self.send(method, path, &[], body);
        assert_eq!(answer.status, 402, "{answer:?}");
        header::decode(answer.head["payment-required"].as_bytes()).unwrap()
    }

    /// A header that pays for it.
    pub(crate) fn signs(&mut self, required: &PaymentRequired) -> String {
        self.signs_by(&payer(), required)
    }

    /// The same by somebody.
    pub(crate) fn signs_by(&mut self, by: &Account, required: &PaymentRequired) -> String {
        self.nonces += 1;
        let accepted = &required.accepts[0];
        let token: Address = accepted.asset.parse().unwrap();
        let mut authorization = Authorization {
            from: by.address,
            to: accepted.pay_to.parse().unwrap(),
            value: accepted.amount.parse::<Amount>().unwrap(),
            valid_after: U256::ZERO,
            valid_before: U256::from(now_s() + accepted.max_timeout_seconds),
            nonce: B256::repeat_byte(self.nonces),
        };
        let hold = accepted
            .extra
            .as_ref()
            .and_then(|extra| extra.rest.get("hold"));
        let kind = match hold {
            None => Kind::Transfer,
            Some(hold) => {
                let hold: HoldExtra = serde_json::from_value(hold.clone()).unwrap();
                let terms = abi::Terms {
                    invoiceId: hold.invoice_id,
                    payer: by.address,
                    payee: hold.payee,
                    operator: hold.operator,
                    token,
                    amount: authorization.value.0,
                    deadline: hold.deadline,
                };
                // The contract itself is asked for the hash.
                let call = HoldIdOf {
                    terms: terms.clone(),
                };
                let id = self.view(self.escrow, &call.encoded());
                authorization.nonce = B256::from_slice(&id);
                assert_eq!(authorization.nonce, terms.hold_id(31_337, self.escrow));
                Kind::Receive
            }
        };
        let digest = authorization.digest(kind, &domain(token));
        let signature = by.signer().unwrap().sign_hash_sync(&digest).unwrap();
        let Authorization {
            from,
            to,
            value,
            valid_after,
            valid_before,
            nonce,
        } = authorization;
        let payment = json!({
            "x402Version": 2, "resource": required.resource, "accepted": accepted,
            "payload": {
                "signature": format!("0x{}", hex::encode(signature.as_bytes())),
                "authorization": {
                    "from": from, "to": to, "value": value.to_string(),
                    "validAfter": valid_after.to_string(),
                    "validBefore": valid_before.to_string(), "nonce": nonce,
                },
            },
        });
        header::encode(&payment).unwrap()
    }

    /// What the payer signs for an invoice.
    pub(crate) fn authorizes(&self, typed: &Value, until_s: u64) -> Value {
        let message = |name: &str| typed["message"][name].as_str().unwrap();
        let authorization = Authorization {
            from: payer().address,
            to: message("to").parse().unwrap(),
            value: message("value").parse().unwrap(),
            valid_after: U256::ZERO,
            valid_before: U256::from(until_s),
            nonce: message("nonce").parse().unwrap(),
        };
        let digest = authorization.digest(Kind::Transfer, &domain(self.token));
        let signature = payer().signer().unwrap().sign_hash_sync(&digest).unwrap();
        json!({
            "from": authorization.from.to_checksum(None), "value": message("value"),
            "validBefore": until_s.to_string(),
            "signature": format!("0x{}", hex::encode(signature.as_bytes())),
        })
    }

    /// An admin of the tenant does something.
    pub(crate) fn admin(&self, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.hub.token);
        let headers = [("authorization", bearer.as_str())];
        self.send(method, path, &headers, &body.to_string())
    }

    /// npm's client.
    pub(crate) fn buys_by_npm(&self, method: &str, path: &str, body: &str) -> Value {
        let folder = std::env::var_os("STENCIL_TEST_X402").map(PathBuf::from).expect(
            "STENCIL_TEST_X402 names a folder with the clients of npm; `cargo xtask test` sets it up",
        );
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/x402/buy.mjs");
        let mut command = Command::new("node");
        command
            .arg(script)
            .arg(folder)
            .args([method, &self.url(path), body]);
        bought(&mut command)
    }

    /// PyPI's client.
    pub(crate) fn buys_by_python(&self, method: &str, path: &str) -> Value {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/x402_buy.py");
        let mut command = Command::new(crate::support::python());
        command.args([script, method, &self.url(path)]);
        bought(&mut command)
    }

    fn rpc(&self, method: &str, params: Value) -> Value {
        let port = self.endpoint.address().port();
        self.runtime.block_on(json_rpc::call(port, method, params))
    }

    /// What a call of a contract returns.
    pub(crate) fn view(&self, to: Address, data: &[u8]) -> Vec<u8> {
        let call = json!([{ "to": to, "data": format!("0x{}", hex::encode(data)) }, "latest"]);
        let returned = self.rpc("eth_call", call);
        hex::decode(returned.as_str().unwrap().trim_start_matches("0x")).unwrap()
    }

    pub(crate) fn balance(&self, token: Address, account: Address) -> u64 {
        let data = abi::balanceOfCall { account }.abi_encode();
        U256::abi_decode(&self.view(token, &data)).unwrap().to()
    }

    pub(crate) fn receipt(&self, tx: &str) -> Value {
        self.rpc("eth_getTransactionReceipt", json!([tx]))
    }

    /// Gives somebody tokens.
    pub(crate) fn mint(&self, token: Address, to: Address, units: u64) {
        let (endpoint, runtime) = (&self.endpoint, &self.runtime);
        Chained { endpoint, runtime }.mint(token, to, units);
    }

    /// The newest blocks give way to so many others, in which nothing is.
    pub(crate) fn reorganises(&self, depth: u64) {
        self.rpc("anvil_reorg", json!([depth, []]));
    }

    /// Blocks, with what waits.
    pub(crate) fn mine(&self, blocks: u64) {
        self.chain.mine(blocks);
    }
}

/// `StencilEscrow.holdIdOf`.
struct HoldIdOf {
    terms: abi::Terms,
}

impl HoldIdOf {
    fn encoded(&self) -> Vec<u8> {
        const SIGNATURE: &str =
            "holdIdOf((bytes32,address,address,address,address,uint256,uint64))";
        let selector = alloy_primitives::keccak256(SIGNATURE);
        let mut data = selector[..4].to_vec();
        data.extend(self.terms.abi_encode());
        data
    }
}

struct Chained<'c> {
    endpoint: &'c Endpoint,
    runtime: &'c tokio::runtime::Runtime,
}

impl Chained<'_> {
    fn rpc(&self, method: &str, params: Value) -> Value {
        let port = self.endpoint.address().port();
        self.runtime.block_on(json_rpc::call(port, method, params))
    }

    fn deploy(&mut self, artifact: &str, arguments: &[u8]) -> Address {
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

    fn mint(&mut self, token: Address, to: Address, units: u64) {
        let mut data = alloy_primitives::keccak256("mint(address,uint256)")[..4].to_vec();
        data.extend((to, U256::from(units)).abi_encode());
        let input = format!("0x{}", hex::encode(data));
        let from = accounts(SEED, 1)[0].address;
        let call = json!([{ "from": from, "to": token, "gas": "0x30d40", "input": input }]);
        self.rpc("eth_sendTransaction", call);
    }
}

/// Who buys.
pub(crate) fn payer() -> Account {
    accounts(SEED, 3).remove(2)
}

/// Somebody else.
pub(crate) fn other() -> Account {
    accounts(SEED, 4).remove(3)
}

fn domain(token: Address) -> Domain {
    Domain {
        name: "Dev Dollar".into(),
        version: "2".into(),
        chain: 31_337,
        token,
    }
}

pub(crate) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn bought(command: &mut Command) -> Value {
    command.env(
        "STENCIL_TEST_KEY",
        format!("0x{}", hex::encode(payer().key)),
    );
    let said = succeed(command);
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}
