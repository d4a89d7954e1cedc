//! What contracts are asked: calls that send nothing.

use alloy_primitives::{Address, Bytes, U64};
use serde_json::json;
use stencil_payments::port::{Called, Order};

use super::{Endpoint, Failure, Quorum, Trouble};

impl Endpoint {
    async fn contract(&self, to: Address, data: &Bytes, block: u64) -> Result<Called, Failure> {
        let question = json!([{ "to": to, "input": data }, format!("{block:#x}")]);
        called(self.call("eth_call", question).await)
    }

    async fn tried(&self, from: Address, order: &Order, block: u64) -> Result<Tried, Failure> {
        let request = json!({
            "from": from,
            "to": order.to,
            "value": order.value.0,
            "input": order.data,
            "gas": U64::from(order.gas),
        });
        let question = json!([request, format!("{block:#x}")]);
        called(self.call("eth_call", question).await).map(Tried)
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
            told,
        )
        .await
    }

    /// What a transaction of an account would do after the newest block that enough endpoints have.
    pub(crate) async fn tried(&self, from: Address, order: &Order) -> Result<Called, Trouble> {
        let block = self.newest("latest").await?.link.number;
        let Tried(called) = self
            .agreed(
                &format!("what {} does after block {block}", order.to),
                |endpoint| endpoint.tried(from, order, block),
                |Tried(called)| told(called),
            )
            .await?;
        Ok(called)
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

/// That it would fail is the same in whatever words nodes say so.
struct Tried(Called);

impl PartialEq for Tried {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Called::Reverted(_), Called::Reverted(_)) => true,
            (one, other) => one == other,
        }
    }
}

fn called(answer: Result<Bytes, Failure>) -> Result<Called, Failure> {
    match answer {
        Ok(returned) => Ok(Called::Returned(returned)),
        Err(Failure::Reverted(why)) => Ok(Called::Reverted(why)),
        Err(failure) => Err(failure),
    }
}

fn told(called: &Called) -> String {
    match called {
        Called::Returned(bytes) => format!("{} bytes", bytes.len()),
        Called::Reverted(why) => format!("reverted: {why}"),
    }
}
