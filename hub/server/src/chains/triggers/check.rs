//! What a definition says of chains, against the chains that there are.

use std::sync::Arc;

use stencil_payments::port::{Chain, Event};
use stencil_workflow::Definition;
use stencil_workflow::definition::{Action, ChainEvent, Error, FunctionTemplates, Place};

use crate::chains::Chains;

/// The event of a cause.
pub(super) fn event(chains: &Chains, of: &ChainEvent) -> Result<Arc<dyn Event>, Error> {
    let chain = chain(chains, &of.name, of.name_at)?;
    chain.event(&of.event).map_err(|why| {
        let right = "write it as in the contract, for example `Opened(address indexed who, uint256 \
                     locker)`";
        Error::new(of.event_at, format!("`event` cannot be read: {why}"), right)
    })
}

/// The steps that call contracts or send transactions.
pub(super) fn steps(chains: &Chains, definition: &Definition) -> Result<(), Error> {
    for step in &definition.steps {
        let (name, at, called, sends) = match &step.action {
            Action::ChainCall(call) => (&call.chain, call.chain_at, Some(&call.function), false),
            Action::ChainSend(send) => (&send.chain, send.chain_at, send.function.as_ref(), true),
            _ => continue,
        };
        let chain = chain(chains, name, at)?;
        if sends && chain.account().is_none() {
            return Err(Error::new(
                at,
                format!("the hub has no account on chain `{name}`, so nothing can be sent there"),
                format!("its operator sets one: `account` in [chains.{name}]"),
            ));
        }
        if let Some(called) = called {
            function(chain, called)?;
        }
    }
    Ok(())
}

fn chain<'c>(chains: &'c Chains, name: &str, at: Place) -> Result<&'c dyn Chain, Error> {
    if let Some(chain) = chains.by_name(name) {
        return Ok(chain.as_ref());
    }
    let known: Vec<&str> = chains.iter().map(|chain| chain.name()).collect();
    let right = if known.is_empty() {
        "this hub follows no chain: its operator sets one as [chains.NAME]".to_owned()
    } else {
        format!("known: {}", known.join(", "))
    };
    let what = format!("the hub follows no chain `{name}`");
    Err(Error::new(at, what, right))
}

fn function(chain: &dyn Chain, called: &FunctionTemplates) -> Result<(), Error> {
    let function = chain.function(&called.signature).map_err(|why| {
        let right =
            "write it as in the contract, for example `balanceOf(address) returns (uint256)`";
        Error::new(
            called.at,
            format!("`function` cannot be read: {why}"),
            right,
        )
    })?;
    if let Some(arguments) = called.literals() {
        function.encode(&arguments).map_err(|why| {
            let right = "give each parameter a value: integers as numbers or digits, bytes and \
                         addresses as 0x…";
            Error::new(called.at, format!("`arguments` do not fit: {why}"), right)
        })?;
    }
    Ok(())
}
