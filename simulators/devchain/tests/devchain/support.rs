//! What the tests share: plain JSON-RPC, keys, and contracts written by hand.

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEip2930, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use serde_json::{Value, json};
use stencil_devchain::{DevChain, Options};

pub(crate) const CHAIN_ID: u64 = 31_337;
pub(crate) const GWEI: u128 = 1_000_000_000;

/// Starts a chain; HTTP clients can be made from then on, too: they want a TLS library to be named,
/// also where there is no TLS.
pub(crate) fn start(options: Options) -> DevChain {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    DevChain::start(options)
}

/// A JSON-RPC client that shows the answer as it is.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            url: url.into(),
        }
    }

    /// The whole answer.
    pub(crate) async fn answer(&self, method: &str, params: Value) -> Value {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.http.post(&self.url).json(&call).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// The result of a call that must not fail.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let mut answer = self.answer(method, params.clone()).await;
        assert!(answer.get("error").is_none(), "{method} {params}: {answer}");
        answer["result"].take()
    }

    /// The error of a call that must fail.
    pub(crate) async fn error(&self, method: &str, params: Value) -> Value {
        let mut answer = self.answer(method, params.clone()).await;
        assert!(answer.get("error").is_some(), "{method} {params}: {answer}");
        answer["error"].take()
    }

    /// Status and text of what is answered to these bytes.
    pub(crate) async fn raw(&self, bytes: impl Into<reqwest::Body>) -> (u16, String) {
        let answer = self
            .http
            .post(&self.url)
            .header("content-type", "application/json")
            .body(bytes)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub(crate) async fn send(&self, raw: &Bytes) -> B256 {
        serde_json::from_value(self.call("eth_sendRawTransaction", json!([raw])).await).unwrap()
    }

    /// Sends, and waits until it is mined: anvil makes its block after it has answered.
    pub(crate) async fn mined(&self, raw: &Bytes) -> Value {
        let hash = self.send(raw).await;
        self.until("eth_getTransactionReceipt", hash, |receipt| {
            !receipt.is_null()
        })
        .await
    }

    /// A mined transaction, as it is once it says in which block: anvil has its receipt a moment
    /// before it takes it out of those that wait, and until then shows it as one of them.
    pub(crate) async fn mined_transaction(&self, hash: B256) -> Value {
        self.until("eth_getTransactionByHash", hash, |transaction| {
            !transaction["blockNumber"].is_null()
        })
        .await
    }

    async fn until(&self, method: &str, hash: B256, there: impl Fn(&Value) -> bool) -> Value {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let answer = self.call(method, json!([hash])).await;
            if there(&answer) {
                return answer;
            }
            assert!(std::time::Instant::now() < deadline, "{hash} is not mined");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn number(&self) -> u64 {
        quantity(&self.call("eth_blockNumber", json!([])).await)
    }
}

pub(crate) fn quantity(value: &Value) -> u64 {
    let text = value.as_str().unwrap();
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}

/// A key that only tests have.
pub(crate) fn key(number: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(number)).unwrap()
}

/// What a transaction is to be.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) nonce: u64,
    pub(crate) to: TxKind,
    pub(crate) value: U256,
    pub(crate) input: Bytes,
    pub(crate) gas_limit: u64,
    pub(crate) max_fee: u128,
    pub(crate) tip: u128,
    pub(crate) chain_id: u64,
}

impl Draft {
    pub(crate) fn to(to: Address, nonce: u64) -> Self {
        Self {
            nonce,
            to: to.into(),
            value: U256::ZERO,
            input: Bytes::new(),
            gas_limit: 200_000,
            max_fee: 10 * GWEI,
            tip: GWEI,
            chain_id: CHAIN_ID,
        }
    }

    pub(crate) fn create(code: &[u8], nonce: u64) -> Self {
        Self {
            to: TxKind::Create,
            input: Bytes::copy_from_slice(code),
            ..Self::to(Address::ZERO, nonce)
        }
    }

    pub(crate) fn value(self, value: u64) -> Self {
        Self {
            value: U256::from(value),
            ..self
        }
    }

    pub(crate) fn input(self, word: u64) -> Self {
        Self {
            input: U256::from(word).to_be_bytes_vec().into(),
            ..self
        }
    }

    pub(crate) fn fees(self, max_fee: u128, tip: u128) -> Self {
        Self {
            max_fee,
            tip,
            ..self
        }
    }

    /// Type 2.
    pub(crate) fn sign(&self, key: &PrivateKeySigner) -> Bytes {
        let transaction = TxEip1559 {
            chain_id: self.chain_id,
            nonce: self.nonce,
            gas_limit: self.gas_limit,
            max_fee_per_gas: self.max_fee,
            max_priority_fee_per_gas: self.tip,
            to: self.to,
            value: self.value,
            input: self.input.clone(),
            ..TxEip1559::default()
        };
        let signature = key.sign_hash_sync(&transaction.signature_hash()).unwrap();
        let envelope: TxEnvelope = transaction.into_signed(signature).into();
        envelope.encoded_2718().into()
    }

    /// Type 1.
    pub(crate) fn sign_2930(&self, key: &PrivateKeySigner) -> Bytes {
        let transaction = TxEip2930 {
            chain_id: self.chain_id,
            nonce: self.nonce,
            gas_limit: self.gas_limit,
            gas_price: self.max_fee,
            to: self.to,
            value: self.value,
            input: self.input.clone(),
            ..TxEip2930::default()
        };
        let signature = key.sign_hash_sync(&transaction.signature_hash()).unwrap();
        let envelope: TxEnvelope = transaction.into_signed(signature).into();
        envelope.encoded_2718().into()
    }

    /// Type 0, with the chain's id (EIP-155) or without.
    pub(crate) fn sign_legacy(&self, key: &PrivateKeySigner, protected: bool) -> Bytes {
        let transaction = TxLegacy {
            chain_id: protected.then_some(self.chain_id),
            nonce: self.nonce,
            gas_limit: self.gas_limit,
            gas_price: self.max_fee,
            to: self.to,
            value: self.value,
            input: self.input.clone(),
        };
        let signature = key.sign_hash_sync(&transaction.signature_hash()).unwrap();
        let envelope: TxEnvelope = transaction.into_signed(signature).into();
        envelope.encoded_2718().into()
    }
}

/// Code that makes a contract of `runtime`: copies what follows it into memory and returns it.
fn deploying(runtime: &[u8]) -> Vec<u8> {
    let length = u8::try_from(runtime.len()).unwrap();
    // PUSH1 length, PUSH1 10, PUSH0, CODECOPY, PUSH1 length, PUSH0, RETURN
    let mut code = vec![0x60, length, 0x60, 10, 0x5f, 0x39, 0x60, length, 0x5f, 0xf3];
    code.extend_from_slice(runtime);
    code
}

/// Counts its calls in slot 0, logs the count with the call's first word as topic, and returns it.
pub(crate) fn counter() -> Vec<u8> {
    deploying(&hex!("5f5460010180 5f55 5f52 5f35 6020 5f a1 6020 5f f3"))
}

/// Logs as often as the call's first word says, with the number left as topic.
pub(crate) fn many_logs() -> Vec<u8> {
    deploying(&hex!(
        "5f35 5b 80 15 6013 57 80 5f 5f a1 6001 90 03 6002 56 5b 00"
    ))
}

/// Always reverts with `Error("shut")`.
pub(crate) fn reverting() -> Vec<u8> {
    // PUSH1 100, PUSH1 10, PUSH0, CODECOPY, PUSH1 100, PUSH0, REVERT
    let mut runtime = hex!("6064 600a 5f39 6064 5ffd").to_vec();
    runtime.extend(hex!("08c379a0"));
    runtime.extend(U256::from(32).to_be_bytes::<32>());
    runtime.extend(U256::from(4).to_be_bytes::<32>());
    let mut text = [0; 32];
    text[..4].copy_from_slice(b"shut");
    runtime.extend(text);
    deploying(&runtime)
}

/// Uses all its gas.
pub(crate) fn invalid() -> Vec<u8> {
    deploying(&[0xfe])
}
