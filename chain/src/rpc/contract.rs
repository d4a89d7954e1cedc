//! What contracts are asked: calls that send nothing.

use alloy_primitives::{Address, Bytes, U64};
use serde_json::json;
use stencil_payments::port::{Called, Order};

use super::{Endpoint, Failure, Quorum, Revert, Trouble};

impl Endpoint {
    async fn contract(&self, to: Address, data: &Bytes, block: u64) -> Result<Answer, Failure> {
        let question = json!([{ "to": to, "input": data }, format!("{block:#x}")]);
        answer(self.call("eth_call", question).await)
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
        answer(self.call("eth_call", question).await).map(Tried)
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
        self.contract_at(to, data, block).await
    }

    /// The same as of a block.
    pub(crate) async fn contract_at(
        &self,
        to: Address,
        data: &Bytes,
        block: u64,
    ) -> Result<Called, Trouble> {
        let answer = self
            .agreed(
                &format!("what {to} returns at block {block}"),
                |endpoint| endpoint.contract(to, data, block),
                Answer::to_string,
            )
            .await?;
        Ok(answer.called())
    }

    /// What a transaction of an account would do after the newest block that enough endpoints have.
    pub(crate) async fn tried(&self, from: Address, order: &Order) -> Result<Called, Trouble> {
        let block = self.newest("latest").await?.link.number;
        let Tried(answer) = self
            .agreed(
                &format!("what {} does after block {block}", order.to),
                |endpoint| endpoint.tried(from, order, block),
                |Tried(answer)| answer.to_string(),
            )
            .await?;
        Ok(answer.called())
    }

    /// The code of the contract at an address, at the newest block that enough endpoints have; empty: there is none.
    pub(crate) async fn code(&self, address: Address) -> Result<Bytes, Trouble> {
        let block = self.newest("latest").await?.link.number;
        self.agreed(
            &format!("the code of {address} at block {block}"),
            |endpoint| endpoint.code(address, block),
            |code| format!("{} bytes", code.len()),
        )
        .await
    }
}

/// What one endpoint says that a call gives.
enum Answer {
    Returned(Bytes),
    Reverted(Revert),
}

impl Answer {
    fn called(self) -> Called {
        match self {
            Self::Returned(bytes) => Called::Returned(bytes),
            Self::Reverted(revert) => Called::Reverted(revert.to_string()),
        }
    }
}

/// Two kinds of nodes have words of their own for one end.
impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Returned(one), Self::Returned(other)) => one == other,
            (Self::Reverted(one), Self::Reverted(other)) => one.is_same(other),
            _ => false,
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Returned(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Reverted(why) => write!(f, "reverted: {why}"),
        }
    }
}

/// That it would fail is the same for whatever reason: nodes try what an account can't pay in ways of their own.
struct Tried(Answer);

impl PartialEq for Tried {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Answer::Reverted(_), Answer::Reverted(_)) => true,
            (one, other) => one == other,
        }
    }
}

fn answer(answer: Result<Bytes, Failure>) -> Result<Answer, Failure> {
    match answer {
        Ok(returned) => Ok(Answer::Returned(returned)),
        Err(Failure::Reverted(why)) => Ok(Answer::Reverted(why)),
        Err(failure) => Err(failure),
    }
}
