//! What shows to anybody that a transaction is in a block.

use alloy_primitives::{B256, Bytes};
use serde_json::json;
use stencil_anchor::Receipt;
use stencil_payments::port::Evidence;

use super::{Endpoint, Quorum};

impl Quorum {
    /// A block's header, and the way from its root of receipts to that of a transaction. One endpoint is
    /// enough, and none is believed: what it says gives the block's hash, or is nothing.
    ///
    /// # Errors
    /// Why none has shown it.
    pub async fn evidence(&self, block: B256, tx: B256) -> Result<Evidence, String> {
        let mut why = Vec::new();
        for (endpoint, shown) in self.ask(|endpoint| evidence(endpoint, block, tx)).await {
            match shown {
                Ok(Ok(evidence)) => return Ok(evidence),
                Ok(Err(not)) => why.push(format!("{endpoint}: {not}")),
                Err(failure) => why.push(format!("{endpoint}: {failure}")),
            }
        }
        Err(format!(
            "no endpoint shows transaction {tx} in block {block}: {}",
            why.join("; ")
        ))
    }
}

async fn evidence(
    endpoint: &Endpoint,
    block: B256,
    tx: B256,
) -> Result<Result<Evidence, String>, super::Failure> {
    let header: Option<alloy_rpc_types_eth::Header> = endpoint
        .call("eth_getBlockByHash", (json!(block), json!(false)))
        .await?;
    let Some(header) = header else {
        return Ok(Err("it does not have the block".to_owned()));
    };
    let number = header.inner.number;
    let header = alloy_rlp::encode(&header.inner);
    let receipts: Option<Vec<Receipt>> = endpoint
        .call("eth_getBlockReceipts", [format!("{number:#x}")])
        .await?;
    let Some(receipts) = receipts else {
        return Ok(Err("it does not have the block's receipts".to_owned()));
    };
    Ok(match stencil_anchor::show(block, &header, &receipts, tx) {
        Ok(shown) => Ok(Evidence {
            transaction: tx,
            block_number: number,
            block_hash: block,
            header: Bytes::from(header),
            transaction_index: shown.index,
            receipt_path: shown.path,
        }),
        Err(not) => Err(not.to_string()),
    })
}
