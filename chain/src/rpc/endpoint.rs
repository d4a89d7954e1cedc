//! One endpoint.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alloy_json_rpc::RpcSend;
use alloy_primitives::{B256, U64};
use alloy_rpc_client::RpcClient;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::RawValue;
use url::Url;

use super::failure::{self, cut};
use super::transport::Bounded;
use super::{Failure, Header, Log, Receipt};
use crate::interest::Filter;
use crate::{Error, Settings};

/// The most topics of a log (Yellow Paper, LOG4).
const MAX_TOPICS: usize = 4;

/// An endpoint, which is of the chain that it should be of.
#[derive(Debug)]
pub struct Endpoint {
    label: String,
    client: RpcClient,
    timeout: Duration,
    chain_id: u64,
    header_hashes: bool,
    /// The chain id was checked, and nothing has broken since: behind an address may be another
    /// machine after that.
    checked: AtomicBool,
}

impl Endpoint {
    pub(super) fn new(
        label: String,
        url: &Url,
        settings: &Settings,
        http: &reqwest::Client,
    ) -> Self {
        let transport = Bounded {
            client: http.clone(),
            url: url.clone(),
            max_bytes: settings.max_answer_bytes,
        };
        Self {
            label,
            client: RpcClient::new(transport, false),
            timeout: settings.call_timeout,
            chain_id: settings.chain_id,
            header_hashes: settings.header_hashes,
            checked: AtomicBool::new(false),
        }
    }

    /// Host and port, and its place in the settings where another one has the same.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The header of a block by number or by tag (`latest`, `safe`, `finalized`).
    pub async fn header_by(&self, which: &str) -> Result<Header, Failure> {
        let block: Box<RawValue> = self
            .call("eth_getBlockByNumber", (which.to_owned(), false))
            .await?;
        self.read(&block, false, || format!("block {which}"))
    }

    /// The header of the block with this number.
    pub async fn header_at(&self, number: u64) -> Result<Header, Failure> {
        let header = self.header_by(&format!("{number:#x}")).await?;
        if header.link.number != number {
            return Err(Failure::Wrong(format!(
                "block {} where {number} was asked for",
                header.link.number
            )));
        }
        Ok(header)
    }

    /// The header of the block with this hash, with its transactions where they are wanted.
    pub async fn header_of(&self, hash: B256, transactions: bool) -> Result<Header, Failure> {
        let block: Box<RawValue> = self
            .call("eth_getBlockByHash", (hash, transactions))
            .await?;
        let header = self.read(&block, transactions, || format!("block {hash}"))?;
        if header.link.hash != hash {
            return Err(Failure::Wrong(format!(
                "block {} where {hash} was asked for",
                header.link.hash
            )));
        }
        Ok(header)
    }

    fn read(
        &self,
        block: &RawValue,
        transactions: bool,
        what: impl Fn() -> String,
    ) -> Result<Header, Failure> {
        Header::read(block, self.header_hashes, transactions)?
            .ok_or_else(|| Failure::Missing(what()))
    }

    /// All logs of the block with this hash, or those that a filter lets through.
    pub async fn logs_of(&self, hash: B256, filter: Option<&Filter>) -> Result<Vec<Log>, Failure> {
        let mut question = json!({ "blockHash": hash });
        if let Some(filter) = filter {
            narrow(&mut question, filter);
        }
        let logs: Vec<Log> = self.call("eth_getLogs", [question]).await?;
        check(&logs, |log| log.block_hash == hash)?;
        Ok(logs)
    }

    /// Logs of a range that a filter lets through.
    pub async fn logs_between(
        &self,
        first: u64,
        last: u64,
        filter: &Filter,
    ) -> Result<Vec<Log>, Failure> {
        let mut question = json!({
            "fromBlock": format!("{first:#x}"),
            "toBlock": format!("{last:#x}"),
        });
        narrow(&mut question, filter);
        let logs: Vec<Log> = self.call("eth_getLogs", [question]).await?;
        check(&logs, |log| (first..=last).contains(&log.block_number.to()))?;
        Ok(logs)
    }

    /// The receipt of a transaction, which has to be in this block.
    pub async fn receipt(&self, tx: B256, block: B256) -> Result<Receipt, Failure> {
        let receipt: Option<Receipt> = self.call("eth_getTransactionReceipt", [tx]).await?;
        receipt
            .filter(|receipt| receipt.block_hash == block)
            .ok_or_else(|| Failure::Missing(format!("receipt of {tx} in block {block}")))
    }

    /// Checks the chain id now.
    pub async fn check_chain(&self) -> Result<(), Failure> {
        let found: U64 = self.raw("eth_chainId", ()).await?;
        let found = found.to();
        if found != self.chain_id {
            return Err(Failure::WrongChain {
                expected: self.chain_id,
                found,
            });
        }
        self.checked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// A call, of whose chain we are sure.
    pub(super) async fn call<P: RpcSend, R: DeserializeOwned>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, Failure> {
        if !self.checked.load(Ordering::Relaxed) {
            self.check_chain().await?;
        }
        self.raw(method, params).await
    }

    async fn raw<P: RpcSend, R: DeserializeOwned>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, Failure> {
        let call = self.client.request::<P, Box<RawValue>>(method, params);
        let answer = match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let failure = failure::of(error, method);
                if matches!(failure, Failure::Transient(_)) {
                    self.checked.store(false, Ordering::Relaxed);
                }
                return Err(failure);
            }
            Err(_) => {
                self.checked.store(false, Ordering::Relaxed);
                return Err(Failure::Transient(format!(
                    "{method}: no answer within {} ms",
                    self.timeout.as_millis()
                )));
            }
        };
        serde_json::from_str(answer.get())
            .map_err(|error| Failure::Wrong(format!("{method}: {}", cut(&error.to_string()))))
    }
}

fn narrow(question: &mut serde_json::Value, filter: &Filter) {
    question["address"] = json!(filter.addresses);
    if !filter.third.is_empty() {
        question["topics"] = json!([filter.topics, null, filter.third]);
    } else if !filter.topics.is_empty() {
        question["topics"] = json!([filter.topics]);
    }
}

fn check(logs: &[Log], fits: impl Fn(&Log) -> bool) -> Result<(), Failure> {
    for log in logs {
        if !fits(log) || log.removed || log.topics.len() > MAX_TOPICS {
            return Err(Failure::Wrong(format!(
                "log {} of block {} ({}) is not what was asked for",
                log.log_index, log.block_number, log.block_hash
            )));
        }
    }
    Ok(())
}

/// An HTTP client: X25519MLKEM768 preferred, no redirects, no proxy of the environment's choosing.
pub(super) fn http(timeout: Duration) -> Result<reqwest::Client, Error> {
    let tls = crate::wake::tls().map_err(Error::Tls)?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(timeout)
        .build()
        .map_err(|error| Error::Tls(error.to_string()))
}
