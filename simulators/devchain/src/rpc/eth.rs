//! The methods of `eth_`, `net_` and `web3_` that read the chain or send to it.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use alloy_rpc_types_eth::{Filter, TransactionRequest};
use serde_json::{Value, json};

use super::answer::{self, json_of};
use super::{Caller, Code, Error, Params, fees};
use crate::block::Block;
use crate::chain::{Chain, LogQuery, Place};
use crate::execute::{State, Surroundings};
use crate::node::Submission;

/// Addresses, and topics a position, that a filter may name, as geth's bound.
const MAX_ALTERNATIVES: usize = 1_000;

/// The answer, or the arguments back when the method is none of these.
pub(super) enum Answer {
    Value(Value),
    NotMine(Params),
}

pub(super) fn call(caller: &Caller<'_>, method: &str, mut params: Params) -> Result<Answer, Error> {
    let value = match method {
        "web3_clientVersion" => json!(concat!("stencil-devchain/v", env!("CARGO_PKG_VERSION"))),
        "web3_sha3" => json!(keccak256(params.at_most(1)?.want::<Bytes>(0)?)),
        "net_version" => json!(caller.read().options().chain_id.to_string()),
        "net_listening" => json!(true),
        "eth_chainId" => json!(U64::from(caller.read().options().chain_id)),
        "eth_syncing" => json!(false),
        "eth_accounts" => json_of(
            &caller
                .read()
                .accounts()
                .iter()
                .map(|account| account.address)
                .collect::<Vec<_>>(),
        )?,
        "eth_blockNumber" => json!(U64::from(caller.head(&caller.read()))),
        "eth_getBlockByNumber" => {
            let mut params = params.at_most(2)?;
            let tag: BlockNumberOrTag = params.want(0)?;
            block(caller, tag.into(), params.optional(1)?.unwrap_or(false))?
        }
        "eth_getBlockByHash" => {
            let mut params = params.at_most(2)?;
            let hash: B256 = params.want(0)?;
            block(caller, hash.into(), params.optional(1)?.unwrap_or(false))?
        }
        "eth_getBlockReceipts" => receipts(caller, params.at_most(1)?.want(0)?)?,
        "eth_getBlockTransactionCountByNumber" => {
            count(caller, params.want::<BlockNumberOrTag>(0)?.into())?
        }
        "eth_getBlockTransactionCountByHash" => count(caller, params.want::<B256>(0)?.into())?,
        "eth_getTransactionByBlockNumberAndIndex" => {
            let tag: BlockNumberOrTag = params.want(0)?;
            in_block(caller, tag.into(), params.want_number(1)?)?
        }
        "eth_getTransactionByBlockHashAndIndex" => {
            let hash: B256 = params.want(0)?;
            in_block(caller, hash.into(), params.want_number(1)?)?
        }
        "eth_getTransactionByHash" => transaction(caller, &params.at_most(1)?.want(0)?)?,
        "eth_getRawTransactionByHash" => raw_transaction(caller, &params.at_most(1)?.want(0)?),
        "eth_getTransactionReceipt" => receipt(caller, &params.at_most(1)?.want(0)?)?,
        "eth_getTransactionCount" => {
            let mut params = params.at_most(2)?;
            let address = params.want(0)?;
            nonce(caller, address, params.optional(1)?)?
        }
        "eth_getBalance" => {
            let mut params = params.at_most(2)?;
            let address: Address = params.want(0)?;
            let id = params.optional(1)?;
            caller.at(id, |state, _| Ok(json!(state.account(address).balance)))?
        }
        "eth_getCode" => {
            let mut params = params.at_most(2)?;
            let address: Address = params.want(0)?;
            let id = params.optional(1)?;
            caller.at(id, |state, _| {
                Ok(json!(state.code(address).original_bytes()))
            })?
        }
        "eth_getStorageAt" => {
            let mut params = params.at_most(3)?;
            let address: Address = params.want(0)?;
            let key: U256 = params.want(1)?;
            let id = params.optional(2)?;
            caller.at(id, |state, _| {
                Ok(json!(B256::from(state.slot(address, key))))
            })?
        }
        "eth_call" => {
            let request: TransactionRequest = params.want(0)?;
            no_overrides(&mut params)?;
            let id = params.optional(1)?;
            caller.executing(id, |chain, state, around| {
                Ok(json!(chain.call(state, around, &request)?.output))
            })?
        }
        "eth_estimateGas" => {
            let request: TransactionRequest = params.want(0)?;
            no_overrides(&mut params)?;
            let id = params.optional(1)?;
            caller.executing(id, |chain, state, around| {
                Ok(json!(U64::from(chain.estimate(state, around, &request)?)))
            })?
        }
        "eth_gasPrice" => fees::gas_price(caller),
        "eth_maxPriorityFeePerGas" => json!(U256::from(caller.read().suggested_tip())),
        "eth_blobBaseFee" => json!("0x1"),
        "eth_feeHistory" => fees::history(caller, params.at_most(3)?)?,
        "eth_sendRawTransaction" => {
            let raw: Bytes = params.at_most(1)?.want(0)?;
            json!(caller.node.submit(Submission::Raw(raw))?)
        }
        "eth_sendTransaction" => {
            let request: TransactionRequest = params.at_most(1)?.want(0)?;
            json!(
                caller
                    .node
                    .submit(Submission::Unsigned(Box::new(request)))?
            )
        }
        "eth_getLogs" => logs(caller, &params.at_most(1)?.want(0)?)?,
        "eth_subscribe" | "eth_unsubscribe" => {
            return Err(Error::new(
                Code::MethodNotFound,
                "notifications not supported over HTTP: use the WebSocket of the same address",
            ));
        }
        _ => return Ok(Answer::NotMine(params)),
    };
    Ok(Answer::Value(value))
}

/// Checks a filter's size.
pub(crate) fn check_filter(filter: &Filter) -> Result<(), Error> {
    if filter.address.len() > MAX_ALTERNATIVES
        || filter
            .topics
            .iter()
            .any(|topic| topic.len() > MAX_ALTERNATIVES)
    {
        return Err(Error::params(format!(
            "exceed max addresses or topics per search position: {MAX_ALTERNATIVES}"
        )));
    }
    Ok(())
}

/// State and block overrides are not there; saying nothing would be an answer to another question.
fn no_overrides(params: &mut Params) -> Result<(), Error> {
    let given = |value: Option<Value>| {
        value.is_some_and(|value| value.as_object().is_none_or(|fields| !fields.is_empty()))
    };
    if given(params.optional(2)?) || given(params.optional(3)?) {
        return Err(Error::params("state and block overrides are not supported"));
    }
    Ok(())
}

fn block(caller: &Caller<'_>, id: BlockId, full: bool) -> Result<Value, Error> {
    let chain = caller.read();
    let head = caller.head(&chain);
    let mut answer = match chain.place(id, head) {
        Place::Block(block) => answer::block(&block, full)?,
        Place::Pending => answer::block(&chain.pending(caller.node.now()), full)?,
        Place::Unknown => return Ok(Value::Null),
        Place::Pruned => return Err(Error::pruned()),
    };
    drop(chain);
    caller.lies.falsify_hash(&mut answer, "hash");
    Ok(answer)
}

fn receipts(caller: &Caller<'_>, id: BlockId) -> Result<Value, Error> {
    let chain = caller.read();
    Ok(match chain.place(id, caller.head(&chain)) {
        Place::Block(block) => Value::Array(answer::receipts(&block, None)?),
        Place::Pending => Value::Array(answer::receipts(&chain.pending(caller.node.now()), None)?),
        Place::Unknown => Value::Null,
        Place::Pruned => return Err(Error::pruned()),
    })
}

fn count(caller: &Caller<'_>, id: BlockId) -> Result<Value, Error> {
    let chain = caller.read();
    Ok(match chain.place(id, caller.head(&chain)) {
        Place::Block(block) => json!(U64::from(block.transactions().len())),
        Place::Pending => {
            json!(U64::from(
                chain.pending(caller.node.now()).transactions().len()
            ))
        }
        Place::Unknown => Value::Null,
        Place::Pruned => return Err(Error::pruned()),
    })
}

fn in_block(caller: &Caller<'_>, id: BlockId, index: u64) -> Result<Value, Error> {
    let chain = caller.read();
    let found = |block: &Block| {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if index < block.transactions().len() {
            answer::transaction(block, index)
        } else {
            Ok(Value::Null)
        }
    };
    match chain.place(id, caller.head(&chain)) {
        Place::Block(block) => found(&block),
        Place::Pending => found(&chain.pending(caller.node.now())),
        Place::Unknown => Ok(Value::Null),
        Place::Pruned => Err(Error::pruned()),
    }
}

fn transaction(caller: &Caller<'_>, hash: &B256) -> Result<Value, Error> {
    let chain = caller.read();
    let mut answer = match chain.mined(hash, caller.head(&chain)) {
        Some(place) => answer::transaction(&place.block, place.index)?,
        None => match chain.pool().get(hash) {
            Some(signed) => answer::waiting(signed)?,
            None => Value::Null,
        },
    };
    caller.lies.falsify_hash(&mut answer, "blockHash");
    Ok(answer)
}

fn raw_transaction(caller: &Caller<'_>, hash: &B256) -> Value {
    let chain = caller.read();
    let mined = chain.mined(hash, caller.head(&chain));
    match mined.as_ref().and_then(crate::chain::InBlock::mined) {
        Some(mined) => json!(mined.raw),
        None => chain
            .pool()
            .get(hash)
            .map_or(Value::Null, |signed| json!(signed.raw)),
    }
}

fn receipt(caller: &Caller<'_>, hash: &B256) -> Result<Value, Error> {
    let chain = caller.read();
    let Some(place) = chain.mined(hash, caller.head(&chain)) else {
        return Ok(Value::Null);
    };
    let mut answer = answer::receipts(&place.block, Some(place.index))?
        .pop()
        .unwrap_or(Value::Null);
    caller.lies.falsify_hash(&mut answer, "blockHash");
    Ok(answer)
}

fn nonce(caller: &Caller<'_>, address: Address, id: Option<BlockId>) -> Result<Value, Error> {
    if id == Some(BlockId::pending()) {
        return Ok(json!(U64::from(caller.read().pending_nonce(address))));
    }
    caller.at(id, |state, _| {
        Ok(json!(U64::from(state.account(address).nonce)))
    })
}

fn logs(caller: &Caller<'_>, filter: &Filter) -> Result<Value, Error> {
    check_filter(filter)?;
    let chain = caller.read();
    let head = caller.head(&chain);
    let mut found = chain.logs(LogQuery { filter, head })?;
    drop(chain);
    caller.lies.leave_out(&mut found);
    let answers = found
        .into_iter()
        .map(|found| {
            let mut answer = answer::log(found, false)?;
            caller.lies.falsify_hash(&mut answer, "blockHash");
            Ok(answer)
        })
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(Value::Array(answers))
}

impl Caller<'_> {
    pub(super) fn read(&self) -> std::sync::RwLockReadGuard<'_, Chain> {
        self.node.read()
    }

    /// The newest block that this endpoint sees.
    pub(super) fn head(&self, chain: &Chain) -> u64 {
        chain
            .head()
            .saturating_sub(self.lag.saturating_add(self.lies.blocks_back))
    }

    /// Reads the state after a block.
    fn at(
        &self,
        id: Option<BlockId>,
        read: impl FnOnce(State<'_>, &Chain) -> Result<Value, Error>,
    ) -> Result<Value, Error> {
        let chain = self.read();
        let (state, _) = self.state(&chain, id)?;
        read(state, &chain)
    }

    /// Executes on the state after a block, in a block like that one.
    fn executing(
        &self,
        id: Option<BlockId>,
        run: impl FnOnce(&Chain, State<'_>, &Surroundings) -> Result<Value, Error>,
    ) -> Result<Value, Error> {
        let chain = self.read();
        let (state, block) = self.state(&chain, id)?;
        let around = match block {
            Some(block) => Surroundings {
                chain_id: chain.options().chain_id,
                number: block.number,
                timestamp: block.timestamp,
                gas_limit: block.gas_limit,
                base_fee: block.base_fee,
                mix_hash: block.mix_hash,
            },
            None => chain.next_surroundings(self.node.now()),
        };
        run(&chain, state, &around)
    }

    /// The state after a block, and that block unless it is still to come.
    fn state<'c>(
        &self,
        chain: &'c Chain,
        id: Option<BlockId>,
    ) -> Result<(State<'c>, Option<std::sync::Arc<Block>>), Error> {
        let id = id.unwrap_or_default();
        match chain.place(id, self.head(chain)) {
            Place::Block(block) => {
                let state = chain.state_after(block.number).ok_or_else(|| {
                    Error::new(
                        Code::Server,
                        format!(
                            "historical state of block {} is not available: the newest {} are kept",
                            block.number,
                            chain.options().undo_depth
                        ),
                    )
                })?;
                Ok((state, Some(block)))
            }
            Place::Pending => Ok((chain.state(), None)),
            Place::Unknown => Err(Error::new(Code::Server, "header not found")),
            Place::Pruned => Err(Error::pruned()),
        }
    }
}
