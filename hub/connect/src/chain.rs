//! Calls of contracts, and transactions.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stencil_payments::U256;
use stencil_payments::money::Amount;
use stencil_payments::port::{Address, Bytes, Called, Chain, NotOrdered, Order, Outcome, Sent};
use stencil_store::Sends;
use stencil_workflow::effect::{ChainCall, ChainSend};
use stencil_workflow::{Failure, Performed, Request};

use crate::connectors::store_failed;

/// How soon a transaction is looked at again that is not where it is waited for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How soon something is asked again that cannot be known now.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How soon a transaction is ordered again that finds no place beside those that are not final. These take minutes,
/// and thousands may wait for their places.
const LOOK_FOR_PLACE: Duration = Duration::from_secs(45);

/// `transfer(address,uint256)`
const TRANSFER: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];

/// The chains that workflows may call and send to.
pub(crate) struct OnChain {
    chains: Vec<Arc<dyn Chain>>,
    sends: Arc<dyn Sends>,
}

impl OnChain {
    pub(crate) fn new(chains: Vec<Arc<dyn Chain>>, sends: Arc<dyn Sends>) -> Self {
        Self { chains, sends }
    }

    fn chain(&self, name: &str) -> Result<&dyn Chain, Failure> {
        let found = self.chains.iter().find(|chain| chain.name() == name);
        found.map(AsRef::as_ref).ok_or_else(|| {
            Failure::permanent(format!(
                "the hub follows no chain `{name}`: its operator sets one as [chains.{name}]"
            ))
        })
    }

    /// Calls a function; nothing is sent.
    pub(crate) async fn call(&self, call: &ChainCall) -> Result<Performed, Failure> {
        let chain = self.chain(&call.chain)?;
        let function = chain.function(&call.function).map_err(Failure::permanent)?;
        let data = function
            .encode(&call.arguments)
            .map_err(Failure::permanent)?;
        match chain.has_code(call.address).await {
            Ok(true) => {}
            Ok(false) => return Err(no_contract(call.address, &call.chain)),
            Err(_) => return Ok(Performed::Later(ASK_AGAIN)),
        }
        match chain.call(call.address, data).await {
            // Neither so nor otherwise: it is asked again, and that is no attempt.
            Err(_) => Ok(Performed::Later(ASK_AGAIN)),
            Ok(Called::Reverted(why)) => Err(Failure::permanent(format!(
                "{} was reverted: {why}",
                call.function
            ))),
            Ok(Called::Returned(bytes)) => {
                let Some(values) = function.decode(&bytes) else {
                    return Err(Failure::permanent(format!(
                        "what {} returned ({} bytes) is not what its signature says, or is more than 10,000 values",
                        call.function,
                        bytes.len()
                    )));
                };
                Ok(Performed::Done(json!({ "result": result(values) })))
            }
        }
    }

    /// Sends a transaction once, and sees where it is.
    pub(crate) async fn send(
        &self,
        request: &Request<'_>,
        send: &ChainSend,
    ) -> Result<Performed, Failure> {
        let chain = self.chain(&send.chain)?;
        let data = match &send.function {
            None => Bytes::new(),
            Some((signature, arguments)) => {
                let function = chain.function(signature).map_err(Failure::permanent)?;
                function.encode(arguments).map_err(Failure::permanent)?
            }
        };
        let sent = chain.sent(request.tenant, request.effect_key).await;
        let Ok(sent) = sent else {
            return Ok(Performed::Later(ASK_AGAIN));
        };
        let sent = match sent {
            Some(sent) => sent,
            None => {
                if send.function.is_some() {
                    self.may_call(request, chain, send, &data).await?;
                }
                match chain.has_place(request.tenant).await {
                    Ok(true) => {}
                    Ok(false) => return Ok(Performed::Later(LOOK_FOR_PLACE)),
                    Err(_) => return Ok(Performed::Later(ASK_AGAIN)),
                }
                if send.function.is_some() {
                    match chain.has_code(send.address).await {
                        Ok(true) => {}
                        Ok(false) => return Err(no_contract(send.address, &send.chain)),
                        Err(_) => return Ok(Performed::Later(ASK_AGAIN)),
                    }
                }
                let order = Order {
                    tenant: request.tenant.clone(),
                    key: request.effect_key.to_owned(),
                    to: send.address,
                    value: send.value,
                    data: data.clone(),
                    gas: send.gas,
                    moves: transferred(send.address, &data),
                    brings: None,
                };
                match chain.order(&order).await {
                    Ok(sent) => sent,
                    Err(NotOrdered::Unknown(_)) => return Ok(Performed::Later(ASK_AGAIN)),
                    Err(refused) => return Err(Failure::permanent(refused.to_string())),
                }
            }
        };
        let outcome = match sent {
            Sent::Final(outcome) => outcome,
            // One that was reverted is no end before it is final: where a reorganisation takes its block away, the
            // same bytes are sent again, and may succeed then. Whoever has paid otherwise meanwhile has paid twice.
            Sent::Included(outcome) if outcome.succeeded && !send.until_final => outcome,
            Sent::Included(_) | Sent::Pending => return Ok(Performed::Later(LOOK_AGAIN)),
            Sent::Lost => {
                let why = chain.why_lost(request.tenant, request.effect_key).await;
                let Ok(why) = why else {
                    return Ok(Performed::Later(ASK_AGAIN));
                };
                return Err(Failure::permanent(match why {
                    Some(why) => format!(
                        "no node of {} took it, and it was given up: {why}",
                        send.chain
                    ),
                    None => "it will never be in a block: its nonce is used by another transaction of this \
                             account"
                        .to_owned(),
                }));
            }
        };
        if !outcome.succeeded {
            return Err(self.reverted(chain, send, data, outcome).await);
        }
        let state = match sent {
            Sent::Final(_) => "final",
            _ => "included",
        };
        Ok(Performed::Done(json!({
            "tx": outcome.tx,
            "block": outcome.block,
            "state": state,
        })))
    }

    /// The hub's account is one for all tenants. What it may be made to call for one of them is what
    /// an operator has allowed; to transfer tokens is counted, and needs a limit instead.
    async fn may_call(
        &self,
        request: &Request<'_>,
        chain: &dyn Chain,
        send: &ChainSend,
        data: &[u8],
    ) -> Result<(), Failure> {
        let own = [chain.payments(), chain.escrow(), chain.anchor()].contains(&Some(send.address));
        if own {
            return Err(Failure::permanent(format!(
                "{} is a contract of the hub's own payments, which no workflow may call",
                send.address
            )));
        }
        if data.starts_with(&TRANSFER) {
            return Ok(());
        }
        let allowed = self.sends.callable(request.tenant.as_str()).await;
        let allowed = allowed.map_err(|error| store_failed(&error))?;
        let is_it = |(on, address): &(String, [u8; 20])| {
            *on == send.chain && Address::from(*address) == send.address
        };
        if allowed.iter().any(is_it) {
            return Ok(());
        }
        Err(Failure::permanent(format!(
            "workflows of this tenant may not call {} on {}: the hub's operator has not allowed it",
            send.address, send.chain
        )))
    }

    /// It is in a block that is final, and did nothing but cost its fee. Why, is what a call says now.
    async fn reverted(
        &self,
        chain: &dyn Chain,
        send: &ChainSend,
        data: Bytes,
        outcome: Outcome,
    ) -> Failure {
        let why = match chain.call(send.address, data).await {
            Ok(Called::Reverted(why)) => format!(": {why}"),
            _ => String::new(),
        };
        Failure::permanent(format!(
            "transaction {} was reverted in block {}{why}",
            outcome.tx, outcome.block
        ))
    }
}

/// The value, where it is one; else all of them.
fn result(mut values: Vec<Value>) -> Value {
    match values.len() {
        0 => Value::Null,
        1 => values.pop().unwrap_or_default(),
        _ => Value::Array(values),
    }
}

/// What a transaction moves of the token that it calls.
fn transferred(token: Address, data: &[u8]) -> Option<(Address, Amount)> {
    let words = data.strip_prefix(&TRANSFER)?;
    let amount: [u8; 32] = words.get(32..64)?.try_into().ok()?;
    Some((token, Amount(U256::from_be_bytes(amount))))
}

fn no_contract(address: Address, chain: &str) -> Failure {
    Failure::permanent(format!("there is no contract at {address} on {chain}"))
}
