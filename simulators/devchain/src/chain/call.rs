//! Calls and estimates: executions that change nothing.

use alloy_primitives::{Address, Bytes, TxKind, U256};
use alloy_rpc_types_eth::TransactionRequest;
use revm::context::TxEnv;
use revm::context::result::{EVMError, ExecutionResult, InvalidTransaction};

use super::Chain;
use crate::execute::{self, State, Surroundings};

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) output: Bytes,
    pub(crate) gas_used: u64,
}

/// Why a call gave no answer; worded as geth does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    #[error("execution reverted{}", reason(.0))]
    Reverted(Bytes),
    #[error("{0}")]
    Halted(String),
    #[error("{0}")]
    Invalid(String),
}

/// `: text` when a contract gave `Error(string)`.
fn reason(output: &[u8]) -> String {
    // keccak256("Error(string)"), then an offset, a length and the text (Solidity's ABI).
    let Some(payload) = output.strip_prefix(&[0x08, 0xc3, 0x79, 0xa0]) else {
        return String::new();
    };
    let word = |index: usize| {
        let word = payload.get(index * 32..index * 32 + 32)?;
        usize::try_from(U256::from_be_slice(word)).ok()
    };
    let text = word(0)
        .filter(|offset| *offset == 32)
        .and_then(|_| word(1))
        .and_then(|length| payload.get(64..)?.get(..length));
    text.map(|text| format!(": {}", String::from_utf8_lossy(text)))
        .unwrap_or_default()
}

impl Chain {
    /// `eth_call` after a block.
    pub(crate) fn call(
        &self,
        state: State<'_>,
        around: &Surroundings,
        request: &TransactionRequest,
    ) -> Result<Outcome, CallError> {
        let environment = self.environment(state, request)?;
        run(state, around, environment)
    }

    /// `eth_estimateGas` after a block: the least gas with which the transaction succeeds, within
    /// 1.5 %, as geth searches for it.
    pub(crate) fn estimate(
        &self,
        state: State<'_>,
        around: &Surroundings,
        request: &TransactionRequest,
    ) -> Result<u64, CallError> {
        let mut environment = self.environment(state, request)?;
        let balance = state.account(environment.caller).balance;
        if environment.value > balance {
            return Err(CallError::Invalid(
                "insufficient funds for transfer".to_owned(),
            ));
        }
        if environment.gas_price > 0 {
            let affordable = (balance - environment.value) / U256::from(environment.gas_price);
            let affordable = u64::try_from(affordable).unwrap_or(u64::MAX);
            if affordable < 21_000 {
                return Err(CallError::Invalid(format!(
                    "gas required exceeds allowance ({affordable})"
                )));
            }
            environment.gas_limit = environment.gas_limit.min(affordable);
        }
        let mut high = environment.gas_limit;
        let first = run(state, around, environment.clone())?;
        let mut low = first.gas_used.saturating_sub(1);
        // A call needs more than it uses: what it gives to others (EIP-150), and refunds.
        while low + 1 < high {
            if (high - low) as u128 * 1_000 < 15 * high as u128 && high < environment.gas_limit {
                break;
            }
            let middle = if high == environment.gas_limit {
                // Most transactions need no more than a little above what they use.
                (low + 1 + low / 63 + 2_300).min(low + (high - low) / 2)
            } else {
                low + (high - low) / 2
            };
            let with = TxEnv {
                gas_limit: middle,
                ..environment.clone()
            };
            match run(state, around, with) {
                Ok(_) => high = middle,
                Err(_) => low = middle,
            }
        }
        // The plain transfer: exact.
        if first.gas_used == 21_000 && environment.data.is_empty() {
            return Ok(21_000);
        }
        Ok(high)
    }

    fn environment(
        &self,
        state: State<'_>,
        request: &TransactionRequest,
    ) -> Result<TxEnv, CallError> {
        let invalid = |text: String| Err(CallError::Invalid(text));
        if request.gas_price.is_some()
            && (request.max_fee_per_gas.is_some() || request.max_priority_fee_per_gas.is_some())
        {
            return invalid(
                "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified".to_owned(),
            );
        }
        if let Some(have) = request.chain_id
            && have != self.options().chain_id
        {
            return invalid(format!(
                "chainId does not match node's (have={have}, want={})",
                self.options().chain_id
            ));
        }
        if request.blob_versioned_hashes.is_some() || request.authorization_list.is_some() {
            return invalid("transaction type not supported".to_owned());
        }
        if let (Some(input), Some(data)) = (&request.input.input, &request.input.data)
            && input != data
        {
            return invalid(
                r#"both "data" and "input" are set and not equal. Please use "input" to pass transaction call data"#
                    .to_owned(),
            );
        }
        let from = request.from.unwrap_or_default();
        let cap = self.options().gas_limit;
        let tip = request.max_priority_fee_per_gas;
        let price = request.gas_price.or(request.max_fee_per_gas).unwrap_or(0);
        let access_list = request.access_list.clone().unwrap_or_default();
        let tx_type = if request.max_fee_per_gas.is_some() || tip.is_some() {
            2
        } else {
            u8::from(!access_list.0.is_empty())
        };
        Ok(TxEnv {
            tx_type,
            caller: from,
            gas_limit: request.gas.filter(|gas| *gas > 0).unwrap_or(cap).min(cap),
            gas_price: price,
            kind: request.to.unwrap_or(TxKind::Create),
            value: request.value.unwrap_or_default(),
            data: request.input.input().cloned().unwrap_or_default(),
            nonce: request.nonce.unwrap_or_else(|| state.account(from).nonce),
            chain_id: None,
            access_list,
            gas_priority_fee: (tx_type == 2).then(|| tip.unwrap_or_default()),
            blob_hashes: Vec::new(),
            max_fee_per_blob_gas: 0,
            authorization_list: Vec::new(),
        })
    }
}

fn run(state: State<'_>, around: &Surroundings, environment: TxEnv) -> Result<Outcome, CallError> {
    let caller = environment.caller;
    match execute::call(state, around, environment) {
        Ok(done) => match done.result {
            ExecutionResult::Success { gas, output, .. } => Ok(Outcome {
                output: output.into_data(),
                gas_used: gas.tx_gas_used(),
            }),
            ExecutionResult::Revert { output, .. } => Err(CallError::Reverted(output)),
            ExecutionResult::Halt { reason, .. } => Err(CallError::Halted(halted(&reason))),
        },
        Err(EVMError::Transaction(error)) => Err(CallError::Invalid(worded(&error, caller))),
        Err(error) => Err(CallError::Invalid(error.to_string())),
    }
}

fn halted(reason: &revm::context::result::HaltReason) -> String {
    use revm::context::result::HaltReason;
    match reason {
        HaltReason::OutOfGas(_) => "out of gas".to_owned(),
        HaltReason::OpcodeNotFound | HaltReason::InvalidFEOpcode => "invalid opcode".to_owned(),
        HaltReason::InvalidJump => "invalid jump destination".to_owned(),
        HaltReason::CreateCollision => "contract address collision".to_owned(),
        HaltReason::CreateContractSizeLimit => "max code size exceeded".to_owned(),
        HaltReason::CallTooDeep => "max call depth exceeded".to_owned(),
        HaltReason::StackOverflow => "stack limit reached 1024".to_owned(),
        HaltReason::StackUnderflow => "stack underflow".to_owned(),
        HaltReason::StateChangeDuringStaticCall => "write protection".to_owned(),
        other => format!("{other:?}"),
    }
}

fn worded(error: &InvalidTransaction, caller: Address) -> String {
    match error {
        InvalidTransaction::LackOfFundForMaxFee { fee, balance } => format!(
            "insufficient funds for gas * price + value: address {caller:?} have {balance} want {fee}"
        ),
        InvalidTransaction::CallGasCostMoreThanGasLimit {
            initial_gas,
            gas_limit,
        } => format!("intrinsic gas too low: have {gas_limit}, want {initial_gas}"),
        InvalidTransaction::GasFloorMoreThanGasLimit {
            gas_floor,
            gas_limit,
        } => {
            format!("insufficient gas for floor data gas cost: have {gas_limit}, want {gas_floor}")
        }
        InvalidTransaction::GasPriceLessThanBasefee => {
            "max fee per gas less than block base fee".to_owned()
        }
        InvalidTransaction::PriorityFeeGreaterThanMaxFee => {
            "max priority fee per gas higher than max fee per gas".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_whatever_a_contract_gives() {
        let mut good = vec![0x08, 0xc3, 0x79, 0xa0];
        good.extend(U256::from(32).to_be_bytes::<32>());
        good.extend(U256::from(4).to_be_bytes::<32>());
        good.extend(b"shut");
        assert_eq!(
            CallError::Reverted(good.clone().into()).to_string(),
            "execution reverted: shut"
        );
        for cut in 0..good.len() {
            assert_eq!(reason(&good[..cut]), "");
        }
        good[35] = 33;
        assert_eq!(reason(&good), "");
        good[35] = 32;
        good[36..68].fill(0xff);
        assert_eq!(reason(&good), "");
    }
}
