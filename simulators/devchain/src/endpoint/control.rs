//! The `stencil_` methods: what only the control port does.

use std::sync::{Arc, PoisonError};

use alloy_primitives::U64;
use serde_json::{Value, json};

use super::Known;
use crate::faults::Faults;
use crate::rpc::{self, Caller, Code, Error, Params};

pub(super) fn call(caller: &Caller<'_>, method: &str, mut params: Params) -> Result<Value, Error> {
    let node = caller.node;
    Ok(match method {
        "stencil_endpoints" => {
            let endpoints = node
                .endpoints
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            endpoints
                .iter()
                .map(|known| {
                    json!({
                        "url": format!("http://{}", known.address),
                        "faults": known.faults(),
                    })
                })
                .collect()
        }
        "stencil_setFaults" => {
            let port = params.want_number(0)?;
            let faults: Faults = params.want(1)?;
            endpoint(caller, port)?
                .set_faults(faults)
                .map_err(|error| Error::params(error.to_string()))?;
            Value::Null
        }
        "stencil_dropConnections" => {
            let port = params.want_number(0)?;
            endpoint(caller, port)?.ends.send_replace(false);
            Value::Null
        }
        "stencil_setDepths" => {
            let (safe, finalized) = (params.want_number(0)?, params.want_number(1)?);
            node.write(|chain, _| chain.set_depths(safe, finalized));
            Value::Null
        }
        "stencil_reorg" => {
            let back_to_pool = params.optional(2)?.unwrap_or(false);
            let (depth, included) = rpc::reorg_arguments(caller, &mut params)?;
            node.reorg(depth, &included, back_to_pool)?;
            Value::Null
        }
        "stencil_head" => {
            let chain = node.read();
            let newest = Arc::clone(chain.history().newest());
            json!({ "number": U64::from(newest.number), "hash": newest.hash })
        }
        _ => {
            return Err(Error::new(
                Code::MethodNotFound,
                "no such stencil_ method: endpoints, setFaults, dropConnections, setDepths, reorg and head are there",
            ));
        }
    })
}

fn endpoint(caller: &Caller<'_>, port: u64) -> Result<Known, Error> {
    let endpoints = caller
        .node
        .endpoints
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    endpoints
        .iter()
        .find(|known| u64::from(known.address.port()) == port)
        .cloned()
        .ok_or_else(|| Error::params(format!("no endpoint has port {port}")))
}
