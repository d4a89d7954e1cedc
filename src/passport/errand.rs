//! A call of a contract that issues, and what came of it.

use alloy_primitives::Address;
use anyhow::anyhow;
use serde_json::Value;
use stencil_chain::signer::{Local, Signer as _};
use stencil_chain::single::{Call, Endpoint, Error, Plan, Sent};
use stencil_ownership::issue::Refusal;

use super::text;
use crate::output::{self, Format, escaped, say};

/// A call of a contract that issues.
pub(super) struct Errand {
    pub(super) endpoint: Endpoint,
    pub(super) contract: Address,
    pub(super) call: Call,
}

impl Errand {
    /// What it will be and cost, or why the contract refuses.
    pub(super) async fn plan(&self, name: &str, signer: &Local) -> anyhow::Result<Plan> {
        let plan = self.endpoint.plan(&self.call, signer.address()).await;
        plan.map_err(|error| match &error {
            Error::Reverts(revert) => match revert.data() {
                Some(data) if !data.is_empty() => match Refusal::of(data) {
                    Some(refusal) => anyhow!("{refusal}; nothing was sent"),
                    None => error.into(),
                },
                _ => anyhow!(
                    "the contract at {} refuses without a reason ({revert}): is it a `{name}`? Nothing was sent",
                    self.contract
                ),
            },
            _ => error.into(),
        })
    }

    pub(super) async fn send(&self, plan: &Plan, signer: &Local) -> anyhow::Result<Sent> {
        Ok(Box::pin(self.endpoint.send(&self.call, plan, signer)).await?)
    }

    /// A contract that took the call and has not said that it issued anything is another one.
    pub(super) fn silent(&self, sent: &Sent, name: &str) -> anyhow::Error {
        anyhow!(
            "transaction {} is in block {}, and the contract at {} does not say that it has issued anything: is it a \
             `{name}`?",
            sent.tx,
            sent.block,
            self.contract
        )
    }
}

/// Prints the answer.
pub(super) fn answered(
    format: Format,
    answer: &Value,
    lines: impl Fn(&Value) -> Vec<String>,
) -> anyhow::Result<()> {
    if format == Format::Json {
        return output::json(answer);
    }
    for line in lines(answer) {
        say!("{}", escaped(&line));
    }
    Ok(())
}

/// What the transaction is, or would be.
pub(super) fn sent_lines(answer: &Value) -> Vec<String> {
    let issued = &answer["issued"];
    if issued.is_null() {
        let gas = format!(
            "gas          about {}: at most {} wei",
            answer["gas_estimated"],
            text(answer, "cost_at_most_wei")
        );
        return vec![gas, "nothing was sent".to_owned()];
    }
    vec![
        format!("transaction  {}", text(issued, "tx")),
        format!(
            "block        {} ({})",
            issued["block"],
            text(issued, "block_hash")
        ),
        format!(
            "gas          {}, {} wei",
            issued["gas_used"],
            text(issued, "fee_wei")
        ),
    ]
}
