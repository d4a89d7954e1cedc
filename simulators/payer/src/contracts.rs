//! What is deployed to be paid with and by: the bytecode that `chain/contracts` has committed.

use alloy_primitives::{Address, Bytes};
use serde::Deserialize;

use crate::Error;

const DOLLAR: &str = include_str!("../../../chain/contracts/artifacts/dev/DevDollar.json");
const PAYMENTS: &str = include_str!("../../../chain/contracts/artifacts/StencilPayments.json");

#[derive(Deserialize)]
struct Artifact {
    bytecode: Bytes,
}

/// Deploys `DevDollar`: six decimals, EIP-3009, minted by whoever likes.
///
/// # Errors
/// A damaged file in the repository.
pub fn dollar() -> Result<Bytes, Error> {
    Ok(serde_json::from_str::<Artifact>(DOLLAR)?.bytecode)
}

/// Deploys `StencilPayments` for this payee.
///
/// # Errors
/// A damaged file in the repository.
pub fn payments(payee: Address) -> Result<Bytes, Error> {
    let mut code = serde_json::from_str::<Artifact>(PAYMENTS)?
        .bytecode
        .to_vec();
    code.extend_from_slice(payee.into_word().as_slice());
    Ok(code.into())
}
