//! What is asked of the endpoint.

use std::time::Duration;

use alloy_json_rpc::{RpcRecv, RpcSend};
use alloy_primitives::{Address, B256, Bytes, Log, U64, U128, U256};
use alloy_rpc_client::RpcClient;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::Error;
use crate::rpc::{self, Failure, Revert};

/// More than the largest block's header or a contract's code, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// The receipt of a transaction that is in a block.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Receipt {
    pub(super) block_hash: B256,
    pub(super) block_number: U64,
    pub(super) status: U64,
    pub(super) gas_used: U64,
    pub(super) effective_gas_price: U128,
    #[serde(default)]
    pub(super) contract_address: Option<Address>,
    #[serde(default)]
    pub(super) logs: Vec<Log>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Base {
    #[serde(default)]
    base_fee_per_gas: U128,
}

#[derive(Debug)]
pub(super) struct Node {
    client: RpcClient,
    timeout: Duration,
}

impl Node {
    pub(super) fn new(url: &Url, timeout: Duration) -> Result<Self, crate::Error> {
        let client = rpc::client(url, timeout, MAX_ANSWER)?;
        Ok(Self { client, timeout })
    }

    pub(super) async fn chain_id(&self) -> Result<u64, Error> {
        Ok(self.call::<_, U64>("eth_chainId", ()).await?.to())
    }

    pub(super) async fn nonce(&self, account: Address, block: &'static str) -> Result<u64, Error> {
        let count: U64 = self
            .call("eth_getTransactionCount", (account, block))
            .await?;
        Ok(count.to())
    }

    pub(super) async fn balance(&self, account: Address) -> Result<U256, Error> {
        self.call("eth_getBalance", (account, "latest")).await
    }

    /// The base fee of the newest block and the tip that is usual, in wei. A chain without a base fee
    /// has one of zero.
    pub(super) async fn fees(&self) -> Result<(u128, u128), Error> {
        let newest: Base = self.call("eth_getBlockByNumber", ("latest", false)).await?;
        let tip: U128 = self.call("eth_maxPriorityFeePerGas", ()).await?;
        Ok((newest.base_fee_per_gas.to(), tip.to()))
    }

    /// What the contract answers to this call now, or why it refuses.
    pub(super) async fn attempt(
        &self,
        from: Address,
        to: Address,
        input: &Bytes,
    ) -> Result<Result<Bytes, Revert>, Error> {
        let call = json!({ "from": from, "to": to, "input": input });
        let method = "eth_call";
        match self.ask::<_, Bytes>(method, (call, "latest")).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(Failure::Reverted(revert)) => Ok(Err(revert)),
            Err(other) => Err(Error::Rpc {
                method,
                why: other.to_string(),
            }),
        }
    }

    /// The gas of a creation, or of a call. What would fail is refused here.
    pub(super) async fn estimate(
        &self,
        from: Address,
        to: Option<Address>,
        input: &Bytes,
    ) -> Result<u64, Error> {
        let mut call = json!({ "from": from, "input": input });
        if let Some(to) = to {
            call["to"] = json!(to);
        }
        let gas: U64 = self.call("eth_estimateGas", [call]).await?;
        Ok(gas.to())
    }

    pub(super) async fn send(&self, raw: &Bytes) -> Result<B256, Error> {
        self.call("eth_sendRawTransaction", [raw.clone()]).await
    }

    pub(super) async fn receipt(&self, tx: B256) -> Result<Option<Receipt>, Error> {
        self.call("eth_getTransactionReceipt", [tx]).await
    }

    pub(super) async fn code(&self, address: Address, block: &str) -> Result<Bytes, Error> {
        self.call("eth_getCode", (address, block.to_owned())).await
    }

    async fn call<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, Error> {
        let answer = self.ask(method, params).await;
        answer.map_err(|failure| Error::Rpc {
            method,
            why: failure.to_string(),
        })
    }

    async fn ask<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, Failure> {
        let call = self.client.request::<P, R>(method, params);
        match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer.map_err(|error| rpc::failed(error, method)),
            Err(_) => Err(Failure::Transient(format!(
                "no answer within {} ms",
                self.timeout.as_millis()
            ))),
        }
    }
}
