//! What contracts are asked: calls that send nothing.

use alloy_primitives::{Address, Bytes};
use serde_json::json;
use stencil_payments::port::Called;

use super::{Endpoint, Failure, Quorum, Trouble};

impl Endpoint {
    async fn contract(&self, to: Address, data: &Bytes, block: u64) -> Result<Called, Failure> {
        let question = json!([{ "to": to, "input": data }, format!("{block:#x}")]);
        match self.call("eth_call", question).await {
            Ok(returned) => Ok(Called::Returned(returned)),
            Err(Failure::Reverted(why)) => Ok(Called::Reverted(why)),
            Err(failure) => Err(failure),
        }
    }

    async fn code(&self, address: Address, block: u64) -> Result<Bytes, Failure> {
        let question = (address, format!("{block:#x}"));
        self.call("eth_getCode", question).await
    }
}

impl Quorum {
    /// Calls a contract at the newest block that enough endpoints have.
    pub(crate) async fn contract(&self, to: Address, data: &Bytes) -> Result<Called, Trouble> {
        let block = self.newest("latest").await?.link.number;
        self.agreed(
            &format!("what {to} returns at block {block}"),
            |endpoint| endpoint.contract(to, data, block),
            |called| match called {
                Called::Returned(bytes) => format!("{} bytes", bytes.len()),
                Called::Reverted(why) => format!("reverted: {why}"),
            },
        )
        .await
    }

    /// Whether there is a contract at an address, at the newest block that enough endpoints have.
    pub(crate) async fn has_code(&self, address: Address) -> Result<bool, Trouble> {
        let block = self.newest("latest").await?.link.number;
        let code = self
            .agreed(
                &format!("the code of {address} at block {block}"),
                |endpoint| endpoint.code(address, block),
                |code| format!("{} bytes", code.len()),
            )
            .await?;
        Ok(!code.is_empty())
    }
}
