//! What transactions cost.

use alloy_consensus::Transaction as _;
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::U256;
use alloy_rpc_types_eth::FeeHistory;
use serde_json::{Value, json};

use super::answer::json_of;
use super::{Caller, Error, Params};
use crate::block::Block;

/// Blocks that one `eth_feeHistory` tells, as geth's bound.
const MAX_BLOCKS: u64 = 1_024;
/// Percentiles that it may ask for, as geth's bound.
const MAX_PERCENTILES: usize = 100;

pub(super) fn gas_price(caller: &Caller<'_>) -> Value {
    let chain = caller.read();
    let base_fee = u128::from(chain.next_surroundings(caller.node.now()).base_fee);
    json!(U256::from(base_fee + chain.suggested_tip()))
}

pub(super) fn history(caller: &Caller<'_>, mut params: Params) -> Result<Value, Error> {
    let count = params.want_number(0)?.min(MAX_BLOCKS);
    let newest: BlockNumberOrTag = params.want(1)?;
    let percentiles: Option<Vec<f64>> = params.optional(2)?;
    check(percentiles.as_deref().unwrap_or(&[]))?;
    let chain = caller.read();
    let head = caller.head(&chain);
    let newest = chain.number(newest, head);
    if newest > head {
        return Err(Error::params(format!(
            "request beyond head block: requested {newest}, head {head}"
        )));
    }
    if count == 0 {
        return json_of(&FeeHistory::default());
    }
    let oldest = newest
        .saturating_sub(count - 1)
        .max(chain.history().oldest());
    let mut answer = FeeHistory {
        oldest_block: oldest,
        reward: percentiles.is_some().then(Vec::new),
        ..FeeHistory::default()
    };
    for block in (oldest..=newest).filter_map(|number| chain.history().get(number)) {
        answer.base_fee_per_gas.push(u128::from(block.base_fee));
        answer.base_fee_per_blob_gas.push(1);
        answer.gas_used_ratio.push(ratio(block));
        answer.blob_gas_used_ratio.push(0.0);
        if let (Some(rewards), Some(percentiles)) = (&mut answer.reward, &percentiles) {
            rewards.push(reward(block, percentiles));
        }
        if block.number == newest {
            let next = u128::from(block.next_base_fee());
            answer.base_fee_per_gas.push(next);
            answer.base_fee_per_blob_gas.push(1);
        }
    }
    json_of(&answer)
}

fn check(percentiles: &[f64]) -> Result<(), Error> {
    if percentiles.len() > MAX_PERCENTILES {
        return Err(Error::params(format!(
            "invalid reward percentile: over the query limit {MAX_PERCENTILES}"
        )));
    }
    if let Some(wrong) = percentiles
        .iter()
        .find(|percentile| !(0.0..=100.0).contains(*percentile))
    {
        return Err(Error::params(format!("invalid reward percentile: {wrong}")));
    }
    if !percentiles.is_sorted() {
        return Err(Error::params(
            "invalid reward percentile: they are to be in ascending order",
        ));
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(block: &Block) -> f64 {
    block.gas_used as f64 / block.gas_limit as f64
}

/// The tips at percentiles of the gas used, cheapest first.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a block's gas, from 0 to 100 %"
)]
fn reward(block: &Block, percentiles: &[f64]) -> Vec<u128> {
    let mut tips: Vec<(u128, u64)> = block
        .transactions()
        .iter()
        .filter_map(|mined| {
            let tip = mined.transaction()?.effective_tip_per_gas(block.base_fee)?;
            Some((tip, mined.gas_used))
        })
        .collect();
    tips.sort_unstable();
    percentiles
        .iter()
        .map(|percentile| {
            let threshold = (block.gas_used as f64 * percentile / 100.0) as u64;
            let mut sum = 0;
            tips.iter()
                .find(|(_, gas)| {
                    sum += gas;
                    sum >= threshold
                })
                .map_or(0, |(tip, _)| *tip)
        })
        .collect()
}
