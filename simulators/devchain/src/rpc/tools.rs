//! The methods of `evm_` and `anvil_` with which tests drive the chain.

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use serde_json::{Value, json};

use super::{Caller, Code, Error, Params};
use crate::chain::Included;
use crate::options::Mining;

/// Blocks that one call makes.
const MAX_BLOCKS: u64 = 1_000_000;

pub(super) fn call(caller: &Caller<'_>, method: &str, mut params: Params) -> Result<Value, Error> {
    let node = caller.node;
    // The same method has several names among tools; hardhat's are anvil's, too.
    let name = method
        .strip_prefix("hardhat_")
        .map_or_else(|| method.to_owned(), |name| format!("anvil_{name}"));
    Ok(match name.as_str() {
        "evm_mine" => {
            let timestamp = match params.optional::<Value>(0)? {
                Some(Value::Object(fields)) => fields.get("timestamp").and_then(Value::as_u64),
                Some(value) => Params::read(Some(json!([value])))?.number(0)?,
                None => None,
            };
            if let Some(timestamp) = timestamp {
                set_timestamp(caller, timestamp)?;
            }
            node.mine(1, None);
            json!("0x0")
        }
        "anvil_mine" => {
            let count = params.number(0)?.unwrap_or(1);
            if count > MAX_BLOCKS {
                return Err(Error::params(format!("at most {MAX_BLOCKS} blocks a call")));
            }
            node.mine(count, params.number(1)?);
            Value::Null
        }
        "evm_setAutomine" | "anvil_setAutomine" => {
            node.set_mining(if params.want(0)? {
                Mining::Automine
            } else {
                Mining::Manual
            });
            Value::Null
        }
        "anvil_getAutomine" => json!(node.mining() == Mining::Automine),
        "evm_setIntervalMining" | "anvil_setIntervalMining" => {
            let seconds = params.want_number(0)?;
            node.set_mining(if seconds == 0 {
                Mining::Manual
            } else {
                Mining::Interval(std::time::Duration::from_secs(seconds))
            });
            Value::Null
        }
        "evm_snapshot" | "anvil_snapshot" => {
            json!(U64::from(node.write(|chain, _| chain.snapshot())))
        }
        "evm_revert" | "anvil_revert" => {
            let id = params.want_number(0)?;
            json!(node.write(|chain, _| chain.revert(id)))
        }
        "evm_increaseTime" | "anvil_increaseTime" => {
            let seconds = i64::try_from(params.want_number(0)?).unwrap_or(i64::MAX);
            json!(node.write(|chain, _| chain.increase_time(seconds)))
        }
        "evm_setNextBlockTimestamp" | "anvil_setNextBlockTimestamp" => {
            set_timestamp(caller, params.want_number(0)?)?;
            Value::Null
        }
        "anvil_setNextBlockBaseFeePerGas" => {
            let fee = params.want_number(0)?;
            node.write(|chain, _| chain.set_next_base_fee(fee));
            Value::Null
        }
        "anvil_reorg" => {
            let (depth, included) = reorg_arguments(caller, &mut params)?;
            node.reorg(depth, &included, false)?;
            Value::Null
        }
        "anvil_rollback" => {
            let depth = params.number(0)?.unwrap_or(1);
            node.write(|chain, _| chain.rollback(depth))?;
            Value::Null
        }
        "anvil_setBalance" => {
            let (address, balance): (Address, U256) = (params.want(0)?, params.want(1)?);
            node.write(|chain, _| chain.set_balance(address, balance));
            Value::Null
        }
        "anvil_setNonce" => {
            let (address, nonce) = (params.want(0)?, params.want_number(1)?);
            node.write(|chain, _| chain.set_nonce(address, nonce));
            Value::Null
        }
        "anvil_setCode" => {
            let (address, code): (Address, Bytes) = (params.want(0)?, params.want(1)?);
            node.write(|chain, _| chain.set_code(address, code))
                .map_err(Error::params)?;
            Value::Null
        }
        "anvil_setStorageAt" => {
            let (address, key, value): (Address, U256, B256) =
                (params.want(0)?, params.want(1)?, params.want(2)?);
            node.write(|chain, _| chain.set_slot(address, key, value.into()));
            json!(true)
        }
        "anvil_dropTransaction" => {
            let hash: B256 = params.want(0)?;
            if node.write(|chain, _| chain.drop_waiting(&hash)) {
                json!(hash)
            } else {
                Value::Null
            }
        }
        "anvil_dropAllTransactions" => {
            node.write(|chain, _| chain.drop_all_waiting());
            Value::Null
        }
        "txpool_status" => {
            let (pending, queued) = node.read().waiting();
            json!({ "pending": U64::from(pending), "queued": U64::from(queued) })
        }
        _ => {
            return Err(Error::new(
                Code::MethodNotFound,
                format!(
                    "the method {} does not exist/is not available",
                    shown(method)
                ),
            ));
        }
    })
}

/// A method's name as it is told back: a stranger may send megabytes.
fn shown(method: &str) -> String {
    method.chars().take(64).collect()
}

fn set_timestamp(caller: &Caller<'_>, timestamp: u64) -> Result<(), Error> {
    caller
        .node
        .write(|chain, now| chain.set_next_timestamp(timestamp, now))
        .map_err(|error| Error::params(error.to_string()))
}

/// `[depth, [[transaction, block], …]]`, where a transaction is signed bytes or an object that an
/// account of the chain signs; or the same as an object with `depth` and `txBlockPairs`.
pub(crate) fn reorg_arguments(
    caller: &Caller<'_>,
    params: &mut Params,
) -> Result<(u64, Vec<Included>), Error> {
    let (depth, pairs) = match params.optional::<Value>(0)? {
        Some(Value::Object(mut fields)) => {
            let depth = fields.get("depth").and_then(Value::as_u64);
            let pairs = fields.remove("txBlockPairs").unwrap_or_else(|| json!([]));
            (depth, pairs)
        }
        Some(depth) => {
            let depth = Params::read(Some(json!([depth])))?.number(0)?;
            (depth, params.optional(1)?.unwrap_or_else(|| json!([])))
        }
        None => (None, Value::Null),
    };
    let depth =
        depth.ok_or_else(|| Error::params("missing value for required argument 0: depth"))?;
    let pairs: Vec<(Value, u64)> = serde_json::from_value(pairs)
        .map_err(|error| Error::params(format!("invalid argument 1: {error}")))?;
    let fork = caller.read().head().saturating_sub(depth);
    let mut signer = caller.node.signer_after(fork);
    let mut included = Vec::new();
    let mut sorted = pairs;
    sorted.sort_by_key(|(_, block)| *block);
    for (transaction, block) in sorted {
        let raw = match transaction {
            Value::String(_) => serde_json::from_value(transaction)
                .map_err(|error| Error::params(format!("invalid argument 1: {error}")))?,
            request => {
                let request = serde_json::from_value(request)
                    .map_err(|error| Error::params(format!("invalid argument 1: {error}")))?;
                signer.sign(request)?
            }
        };
        included.push(Included { raw, block });
    }
    Ok((depth, included))
}
