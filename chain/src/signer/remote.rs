//! A signer elsewhere, by JSON-RPC: web3signer, or a node's or vault's `eth_signTransaction`.

use std::time::Duration;

use alloy_consensus::transaction::SignerRecoverable as _;
use alloy_consensus::{TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{Address, Bytes, TxKind};
use alloy_rpc_client::RpcClient;
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use url::Url;

use super::{Error, Signed, Signer};
use crate::config::label;
use crate::rpc;

/// The largest answer, in bytes: a transaction has less than 128 KiB.
const MAX_BYTES: usize = 512 * 1024;

/// A remote signer with one of its accounts.
#[derive(Debug)]
pub struct Remote {
    label: String,
    client: RpcClient,
    timeout: Duration,
    address: Address,
}

/// web3signer answers the bytes alone, geth an object with them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Raw(Bytes),
    Object { raw: Bytes },
}

impl Remote {
    /// The account `address` of the signer at `url`, whose answers may take `timeout`.
    pub fn new(url: &Url, address: [u8; 20], timeout: Duration) -> Result<Self, crate::Error> {
        Ok(Self {
            label: label(url),
            client: rpc::client(url, timeout, MAX_BYTES)?,
            timeout,
            address: address.into(),
        })
    }

    fn foreign(&self, why: impl Into<String>) -> Error {
        Error::Foreign {
            signer: self.label.clone(),
            why: why.into(),
        }
    }

    /// What came back has to be this transaction, by this account.
    fn check(&self, transaction: &TxEip1559, raw: &[u8]) -> Result<Signed, Error> {
        let mut rest = raw;
        let envelope = TxEnvelope::decode_2718(&mut rest)
            .map_err(|error| self.foreign(format!("no transaction: {error}")))?;
        if !rest.is_empty() {
            return Err(self.foreign("more than a transaction"));
        }
        let TxEnvelope::Eip1559(signed) = &envelope else {
            return Err(self.foreign("a transaction of another type than EIP-1559"));
        };
        if signed.tx() != transaction {
            return Err(self.foreign("another transaction than was asked for"));
        }
        let by = envelope
            .recover_signer()
            .map_err(|error| self.foreign(format!("no signature: {error}")))?;
        if by != self.address {
            return Err(self.foreign(format!("account {by} signed, not {}", self.address)));
        }
        Ok(Signed {
            tx: envelope.tx_hash().0,
            raw: raw.to_vec(),
        })
    }
}

#[async_trait]
impl Signer for Remote {
    fn address(&self) -> Address {
        self.address
    }

    async fn sign(&self, transaction: &TxEip1559) -> Result<Signed, Error> {
        let failed = |why: String| Error::Remote {
            signer: self.label.clone(),
            why,
        };
        let mut asked = json!({
            "from": self.address,
            "type": "0x2",
            "chainId": format!("{:#x}", transaction.chain_id),
            "nonce": format!("{:#x}", transaction.nonce),
            "gas": format!("{:#x}", transaction.gas_limit),
            "maxFeePerGas": format!("{:#x}", transaction.max_fee_per_gas),
            "maxPriorityFeePerGas": format!("{:#x}", transaction.max_priority_fee_per_gas),
            "value": transaction.value,
            "data": transaction.input,
        });
        if let TxKind::Call(to) = transaction.to {
            asked["to"] = json!(to);
        }
        let call = self
            .client
            .request::<_, Box<RawValue>>("eth_signTransaction", [asked]);
        let answer = tokio::time::timeout(self.timeout, call)
            .await
            .map_err(|_| failed(format!("no answer within {} ms", self.timeout.as_millis())))?
            .map_err(|error| failed(rpc::told(error, "eth_signTransaction")))?;
        let raw = match serde_json::from_str(answer.get()) {
            Ok(Answer::Raw(raw) | Answer::Object { raw }) => raw,
            Err(_) => return Err(failed("its answer has no signed transaction".to_owned())),
        };
        self.check(transaction, &raw)
    }
}
