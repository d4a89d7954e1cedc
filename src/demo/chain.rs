//! The demo's dev chain: a dollar on it, a buyer with a wallet, and the hub's own account.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use stencil_payer::{Call, Wallet, contracts};

use super::estate::{Estate, PRICE};
use super::layout::Layout;
use super::supervisor::{News, Recipe, Supervised};

/// EIP-155 chain id of the first start's chain.
const FIRST_ID: u64 = 31_337;
/// Confirmations with which a block is final.
pub(crate) const FINAL: u64 = 3;
/// What the buyer has at the beginning: 1,000 dollars, in base units.
const PURSE: u64 = 1_000_000_000;
/// Between two looks at something that is not there yet.
const LOOK: Duration = Duration::from_millis(100);
/// How long the chain may take for something.
const LIMIT: Duration = Duration::from_secs(20);

/// The chain with what is on it.
pub(crate) struct Chain {
    /// Its process.
    pub process: Supervised,
    /// Its name in the hub's settings. A chain of a later start has another: what the hub knows of
    /// one is not true of the next.
    pub name: String,
    /// EIP-155 chain id.
    pub id: u64,
    /// Its RPC.
    pub rpc: Rpc,
    /// The dollar's contract.
    pub dollar: Address,
    /// The contract that keeps roots of data.
    pub anchor: Address,
    /// Who buys.
    pub buyer: Wallet,
    /// The hub's account, which is paid.
    pub shop: Address,
    /// Who owns and sells a device.
    pub estate: Estate,
}

impl Chain {
    /// Starts a chain with blocks every second, and puts on it what the story needs. It forgets
    /// everything at its end: each start has a chain of its own.
    pub(crate) async fn start(
        layout: &Layout,
        seed: u64,
        news: tokio::sync::mpsc::Sender<News>,
    ) -> anyhow::Result<Self> {
        let address = layout.ports.chain;
        let start = count(&layout.path("chain.starts"))?;
        let id = FIRST_ID + start - 1;
        let words = [
            "sim",
            "chain",
            "--block-time",
            "1",
            "--chain-id",
            &id.to_string(),
            "--port",
            &address.port().to_string(),
            "--seed",
            &seed.to_string(),
            "--output",
            "json",
        ];
        let recipe = Recipe {
            name: "chain".to_owned(),
            arguments: words.map(str::to_owned).to_vec(),
            log_dir: layout.path("logs"),
        };
        let process = Supervised::start(recipe, Vec::new(), news)?;
        let rpc = Rpc::new(address)?;
        rpc.ready().await?;
        // Not made ready: one that comes back has forgotten all that the story stands on.
        let accounts = stencil_devchain::accounts(seed, 5);
        let [buyer, shop, issuer, seller, collector] = accounts.as_slice() else {
            anyhow::bail!("a dev chain without accounts");
        };
        let keys = [&issuer.key, &seller.key, &collector.key];
        let (estate, mut made) = Estate::plan(keys, id)?;
        let (wallet, shop_key) = (Wallet::new(&buyer.key, id)?, shop.key);
        write_key(&layout.path("shop.key"), &shop_key)?;
        let deploy = wallet.sign(0, &Call::create(contracts::dollar()?))?;
        let dollar = wallet.address().create(0);
        let purse = Call::mint(dollar, wallet.address(), U256::from(PURSE));
        let mint = wallet.sign(1, &purse)?;
        let purse = Call::mint(dollar, estate.collector.address(), U256::from(PRICE));
        let anchor = stencil_chain::deploy::Contract::Anchor.creation()?;
        let keep_roots = wallet.sign(3, &Call::create(anchor))?;
        let anchor = wallet.address().create(3);
        made.extend([deploy, mint, wallet.sign(2, &purse)?, keep_roots]);
        rpc.send(&made).await?;
        Ok(Self {
            process,
            name: format!("demo-{start}"),
            id,
            rpc,
            dollar,
            anchor,
            buyer: wallet,
            shop: shop.address,
            estate,
        })
    }

    /// The hub's settings of it: its part of `[chains]`.
    pub(crate) fn settings(&self, layout: &Layout) -> Value {
        json!({
            "account": {
                "plain_key_file": layout.path("shop.key"),
                "allow_plain_key": true,
            },
            "follow": {
                "chain_id": self.id,
                "endpoints": [format!("http://{}", layout.ports.chain)],
                "finality": FINAL,
                "poll_interval_ms": 100,
                // A block comes when there is something in it.
                "max_behind_s": 0,
            },
            "anchor": self.anchor.to_checksum(None),
            "tokens": [{
                "symbol": "DUSD",
                "address": self.dollar.to_checksum(None),
                "decimals": 6,
                "eip712": { "name": "Dev Dollar", "version": "2" },
            }],
        })
    }

    /// The buyer's next nonce.
    pub(crate) async fn buyer_nonce(&self) -> anyhow::Result<u64> {
        self.nonce(self.buyer.address()).await
    }

    /// An account's next nonce.
    pub(crate) async fn nonce(&self, of: Address) -> anyhow::Result<u64> {
        let question = json!([of, "pending"]);
        let count = self.rpc.call("eth_getTransactionCount", question).await?;
        number(&count)
    }

    /// Whether an authorisation of the buyer's was used.
    pub(crate) async fn authorization_used(&self, nonce: B256) -> anyhow::Result<bool> {
        // authorizationState(address,bytes32)
        let mut input = vec![0xe9, 0x4a, 0x01, 0x02];
        input.extend_from_slice(self.buyer.address().into_word().as_slice());
        input.extend_from_slice(nonce.as_slice());
        let question = json!([{ "to": self.dollar, "input": Bytes::from(input) }, "latest"]);
        let word = self.rpc.call("eth_call", question).await?;
        let word: U256 = serde_json::from_value(word).context("no state of the authorisation")?;
        Ok(!word.is_zero())
    }

    /// What somebody has of the dollar, in base units.
    pub(crate) async fn balance(&self, of: Address) -> anyhow::Result<U256> {
        // balanceOf(address)
        let mut input = vec![0x70, 0xa0, 0x82, 0x31];
        input.extend_from_slice(of.into_word().as_slice());
        let question = json!([{ "to": self.dollar, "input": Bytes::from(input) }, "latest"]);
        let word = self.rpc.call("eth_call", question).await?;
        serde_json::from_value(word).context("no balance")
    }
}

/// Counts the starts.
fn count(file: &Path) -> anyhow::Result<u64> {
    let before = match std::fs::read_to_string(file) {
        Ok(text) => text.trim().parse().unwrap_or(0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };
    std::fs::write(file, (before + 1).to_string())?;
    Ok(before + 1)
}

/// A key file that only its owner may read.
fn write_key(path: &Path, key: &B256) -> anyhow::Result<()> {
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    stencil_crypto::keyfile::write(path, hex::encode(key).as_bytes())?;
    Ok(())
}

/// A JSON-RPC client.
pub(crate) struct Rpc {
    http: reqwest::Client,
    url: String,
}

impl Rpc {
    fn new(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            http: crate::tls::http()?.timeout(LIMIT).build()?,
            url: format!("http://{address}"),
        })
    }

    /// Calls a method.
    pub(crate) async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let question = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self
            .http
            .post(&self.url)
            .header("content-type", "application/json")
            .body(question.to_string());
        let text = answer.send().await?.text().await?;
        let mut answer: Value = serde_json::from_str(&text)?;
        ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        Ok(answer["result"].take())
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let asking = async {
            while self.call("eth_chainId", json!([])).await.is_err() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let asked = tokio::time::timeout(LIMIT, asking).await;
        asked.context("the dev chain did not start; see logs/")
    }

    /// Sends what is signed, in its order; gives the last one's block.
    pub(crate) async fn send(&self, signed: &[Bytes]) -> anyhow::Result<u64> {
        let mut sent = Vec::new();
        for raw in signed {
            sent.push(self.call("eth_sendRawTransaction", json!([raw])).await?);
        }
        let mut block = None;
        for tx in &sent {
            block = Some(number(&self.included(tx).await?["blockNumber"])?);
        }
        block.context("there was nothing to send")
    }

    /// Waits until a transaction is in a block, and went well.
    pub(crate) async fn included(&self, tx: &Value) -> anyhow::Result<Value> {
        let looking = async {
            loop {
                let receipt = self.call("eth_getTransactionReceipt", json!([tx])).await?;
                if !receipt.is_null() {
                    ensure!(receipt["status"] == "0x1", "{tx} was reverted");
                    return Ok(receipt);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let looked = tokio::time::timeout(LIMIT, looking).await;
        looked.with_context(|| format!("{tx} comes into no block"))?
    }

    /// The newest block's number.
    pub(crate) async fn height(&self) -> anyhow::Result<u64> {
        number(&self.call("eth_blockNumber", json!([])).await?)
    }
}

/// A number as the RPC writes it.
pub(crate) fn number(value: &Value) -> anyhow::Result<u64> {
    let text = value.as_str().unwrap_or_default();
    u64::from_str_radix(text.trim_start_matches("0x"), 16)
        .with_context(|| format!("{value} is no number"))
}
