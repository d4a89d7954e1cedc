//! What transactions do.

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_sol_types::{SolCall, sol};

use crate::Authorization;

mod abi {
    use super::sol;

    sol! {
        function transfer(address to, uint256 value) external returns (bool);
        function approve(address spender, uint256 value) external returns (bool);
        function mint(address to, uint256 amount) external;
        function transferWithAuthorization(
            address from,
            address to,
            uint256 value,
            uint256 validAfter,
            uint256 validBefore,
            bytes32 nonce,
            bytes signature
        ) external;
        function pay(bytes32 invoiceId, address token, uint256 amount) external;
    }
}

/// Gas that a call here takes at most, with room to spare.
const GAS: u64 = 300_000;
/// Gas for a contract of some kilobytes.
const GAS_TO_CREATE: u64 = 5_000_000;

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The contract that is called, or none that is made.
    pub to: TxKind,
    /// What it is told.
    pub input: Bytes,
    /// What of the native coin goes along, in wei.
    pub value: U256,
    /// Gas that it may take.
    pub gas_limit: u64,
}

impl Call {
    /// Makes a contract.
    #[must_use]
    pub fn create(code: Bytes) -> Self {
        Self {
            to: TxKind::Create,
            input: code,
            value: U256::ZERO,
            gas_limit: GAS_TO_CREATE,
        }
    }

    /// Makes so many of a token that anybody may mint.
    #[must_use]
    pub fn mint(token: Address, to: Address, amount: U256) -> Self {
        Self::of(token, &abi::mintCall { to, amount })
    }

    /// Lets a contract take so many.
    #[must_use]
    pub fn approve(token: Address, spender: Address, value: U256) -> Self {
        Self::of(token, &abi::approveCall { spender, value })
    }

    /// Pays by a transfer: the amount says what for.
    #[must_use]
    pub fn transfer(token: Address, to: Address, value: U256) -> Self {
        Self::of(token, &abi::transferCall { to, value })
    }

    /// Brings what somebody has authorised: the nonce says what for.
    #[must_use]
    pub fn bring(token: Address, authorization: &Authorization, signature: &[u8]) -> Self {
        let call = abi::transferWithAuthorizationCall {
            from: authorization.from,
            to: authorization.to,
            value: authorization.value,
            validAfter: U256::from(authorization.valid_after),
            validBefore: U256::from(authorization.valid_before),
            nonce: authorization.nonce,
            signature: Bytes::copy_from_slice(signature),
        };
        Self::of(token, &call)
    }

    /// Pays through the payment contract, which was approved before: the invoice is named.
    #[must_use]
    pub fn pay(contract: Address, invoice: B256, token: Address, amount: U256) -> Self {
        let call = abi::payCall {
            invoiceId: invoice,
            token,
            amount,
        };
        Self::of(contract, &call)
    }

    fn of<C: SolCall>(to: Address, call: &C) -> Self {
        Self {
            to: to.into(),
            input: call.abi_encode().into(),
            value: U256::ZERO,
            gas_limit: GAS,
        }
    }
}
