//! What is asked and told about an account that sends.

use alloy_primitives::{Address, B256, Bytes, U64, U128, U256};
use serde::Deserialize;
use serde_json::json;

use super::{Endpoint, Failure, Quorum, Trouble};
use crate::sender::{Fees, Policy};
use crate::walk::Link;

/// Words in which nodes say that they have a transaction already.
const KNOWN: [&str; 5] = [
    "already known",
    "alreadyknown",
    "known transaction",
    "already imported",
    "already exists",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    block_hash: Option<B256>,
    block_number: Option<U64>,
    #[serde(default)]
    status: Option<U64>,
    #[serde(default)]
    gas_used: Option<U256>,
    #[serde(default)]
    effective_gas_price: Option<U256>,
    /// What a rollup takes beside for its data on the chain below (OP Stack).
    #[serde(default)]
    l1_fee: Option<U256>,
}

/// Where a transaction is, and what came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Included {
    /// Its block, of which the parent is not known.
    pub(crate) link: Link,
    /// Whether it did what it should.
    pub(crate) succeeded: bool,
    /// What it was paid with, in wei; `None`: the endpoint does not say.
    pub(crate) fee: Option<U256>,
}

/// Endpoints have to agree on where it is and what it did. Not all say what it has cost.
impl PartialEq for Included {
    fn eq(&self, other: &Self) -> bool {
        (self.link, self.succeeded) == (other.link, other.succeeded)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Base {
    #[serde(default)]
    base_fee_per_gas: Option<U128>,
}

impl Endpoint {
    async fn transaction_count(&self, account: Address, block: &str) -> Result<u64, Failure> {
        let count: U64 = self
            .call("eth_getTransactionCount", (account, block.to_owned()))
            .await?;
        Ok(count.to())
    }

    async fn balance(&self, account: Address) -> Result<U256, Failure> {
        self.call("eth_getBalance", (account, "latest")).await
    }

    /// Where a transaction is, and whether it went well; `None`: in no block.
    async fn included(&self, tx: B256) -> Result<Option<Included>, Failure> {
        let place: Option<Place> = self.call("eth_getTransactionReceipt", [tx]).await?;
        let Some(Place {
            block_hash: Some(hash),
            block_number: Some(number),
            status,
            gas_used,
            effective_gas_price,
            l1_fee,
        }) = place
        else {
            return Ok(None);
        };
        let link = Link {
            number: number.to(),
            hash,
            parent: B256::ZERO,
        };
        let fee = gas_used.zip(effective_gas_price).map(|(gas, price)| {
            gas.saturating_mul(price)
                .saturating_add(l1_fee.unwrap_or_default())
        });
        Ok(Some(Included {
            link,
            succeeded: status.is_none_or(|status| !status.is_zero()),
            fee,
        }))
    }

    async fn broadcast(&self, raw: &Bytes) -> Result<(), Failure> {
        let sent: Result<B256, Failure> = self.call("eth_sendRawTransaction", [raw]).await;
        match sent {
            Ok(_) => Ok(()),
            Err(failure) => {
                let said = failure.to_string().to_lowercase();
                if KNOWN.iter().any(|known| said.contains(known)) {
                    return Ok(());
                }
                Err(failure)
            }
        }
    }

    async fn fees(&self) -> Result<(u128, u128), Failure> {
        let newest: Base = self
            .call("eth_getBlockByNumber", json!(["latest", false]))
            .await?;
        let tip: U128 = self.call("eth_maxPriorityFeePerGas", ()).await?;
        Ok((newest.base_fee_per_gas.unwrap_or_default().to(), tip.to()))
    }
}

impl Quorum {
    /// The account's next nonce at a block, on which enough endpoints agree.
    pub(crate) async fn transaction_count(
        &self,
        account: Address,
        block: &str,
    ) -> Result<u64, Trouble> {
        self.agreed(
            &format!("the nonce of {account} at block {block}"),
            |endpoint| endpoint.transaction_count(account, block),
            |count| *count,
        )
        .await
    }

    /// What an account has of the chain's coin at the newest block, in wei, on which enough endpoints agree.
    pub(crate) async fn balance(&self, account: Address) -> Result<U256, Trouble> {
        self.agreed(
            &format!("the balance of {account}"),
            |endpoint| endpoint.balance(account),
            |balance| *balance,
        )
        .await
    }

    /// Where a transaction is, as enough endpoints say; `None`: as many say that it is in no block.
    pub(crate) async fn included(&self, tx: B256) -> Result<Option<Included>, Trouble> {
        self.agreed(
            &format!("where transaction {tx} is"),
            |endpoint| endpoint.included(tx),
            |place| match place {
                Some(Included { link, .. }) => format!("block {} ({})", link.number, link.hash),
                None => "in no block".to_owned(),
            },
        )
        .await
    }

    /// Tells all endpoints.
    pub(crate) async fn broadcast(&self, raw: &[u8]) -> Vec<(String, Result<(), Failure>)> {
        let raw = Bytes::copy_from_slice(raw);
        let raw = &raw;
        self.ask(|endpoint| endpoint.broadcast(raw))
            .await
            .into_iter()
            .map(|(endpoint, answer)| (endpoint.to_owned(), answer))
            .collect()
    }

    /// What fees are right now: the highest that an endpoint says, within what may be paid.
    pub(crate) async fn fees(&self, policy: &Policy) -> Result<Fees, Trouble> {
        let mut failed = Vec::new();
        let mut fees: Option<Fees> = None;
        for (endpoint, answer) in self.ask(Endpoint::fees).await {
            match answer {
                Ok((base, tip)) => {
                    let said = Fees::market(base, tip.min(policy.most_tip_per_gas));
                    fees = Some(fees.map_or(said, |fees| Fees {
                        max: fees.max.max(said.max),
                        priority: fees.priority.max(said.priority),
                    }));
                }
                Err(failure) => failed.push((endpoint.to_owned(), failure)),
            }
        }
        fees.map(|fees| fees.within(policy.most_fee_per_gas))
            .ok_or_else(|| Trouble::Unknown {
                what: "what gas costs".to_owned(),
                have: 0,
                want: 1,
                why: failed,
            })
    }
}
