//! Calldata of what payers and the hub call, and what comes back.

use alloy_primitives::{Address, B256, Bytes, FixedBytes, U256};
use alloy_sol_types::{SolCall, SolValue as _};

use super::bytes_form;
use crate::eip712::Authorization;
use crate::money::Amount;

/// What a contract wallet answers to a signature that it takes as its own (EIP-1271).
pub const IS_VALID: [u8; 4] = [0x16, 0x26, 0xba, 0x7e];

/// ERC-20: sends an amount.
#[must_use]
pub fn transfer(to: Address, amount: Amount) -> Bytes {
    let value = amount.0;
    encoded(&super::transferCall { to, value })
}

/// ERC-20: lets `spender` take an amount.
#[must_use]
pub fn approve(spender: Address, amount: Amount) -> Bytes {
    let value = amount.0;
    encoded(&super::approveCall { spender, value })
}

/// ERC-20: how much somebody has.
#[must_use]
pub fn balance_of(account: Address) -> Bytes {
    encoded(&super::balanceOfCall { account })
}

/// EIP-3009: brings an authorisation with its signature. One of 65 bytes by a key is given as `v`, `r`
/// and `s`, which all tokens take; any other as bytes, for contract wallets.
#[must_use]
pub fn transfer_with_authorization(authorization: &Authorization, signature: &[u8]) -> Bytes {
    let Authorization {
        from,
        to,
        value,
        valid_after,
        valid_before,
        nonce,
    } = *authorization;
    let [value, after, before] = [value.0, valid_after, valid_before];
    if let Ok(bytes) = <[u8; 65]>::try_from(signature) {
        let odd = matches!(bytes[64], 1 | 28);
        return encoded(&super::transferWithAuthorizationCall {
            from,
            to,
            value,
            validAfter: after,
            validBefore: before,
            nonce,
            v: if odd { 28 } else { 27 },
            r: B256::from_slice(&bytes[..32]),
            s: B256::from_slice(&bytes[32..64]),
        });
    }
    encoded(&bytes_form::transferWithAuthorizationCall {
        from,
        to,
        value,
        validAfter: after,
        validBefore: before,
        nonce,
        signature: signature.to_vec().into(),
    })
}

/// The same with the signature as bytes, whatever its length: for a contract wallet of one key.
#[must_use]
pub fn transfer_with_authorization_bytes(authorization: &Authorization, signature: &[u8]) -> Bytes {
    encoded(&bytes_form::transferWithAuthorizationCall {
        from: authorization.from,
        to: authorization.to,
        value: authorization.value.0,
        validAfter: authorization.valid_after,
        validBefore: authorization.valid_before,
        nonce: authorization.nonce,
        signature: signature.to_vec().into(),
    })
}

/// EIP-3009: whether a nonce was used or cancelled.
#[must_use]
pub fn authorization_state(authorizer: Address, nonce: B256) -> Bytes {
    encoded(&super::authorizationStateCall { authorizer, nonce })
}

/// EIP-1271: whether a contract wallet takes a signature as its own.
#[must_use]
pub fn is_valid_signature(digest: B256, signature: &[u8]) -> Bytes {
    encoded(&super::isValidSignatureCall {
        hash: digest,
        signature: signature.to_vec().into(),
    })
}

/// `StencilPayments`: who is paid.
#[must_use]
pub fn payee() -> Bytes {
    encoded(&super::payeeCall {})
}

/// `StencilPayments`: pays an invoice with a token that was approved before.
#[must_use]
pub fn pay(invoice: B256, token: Address, amount: Amount) -> Bytes {
    encoded(&super::payCall {
        invoiceId: invoice,
        token,
        amount: amount.0,
    })
}

/// `StencilPayments`: pays an invoice with the native coin that goes along.
#[must_use]
pub fn pay_native(invoice: B256) -> Bytes {
    encoded(&super::payNativeCall { invoiceId: invoice })
}

/// What a function returned that gives a `bool`.
#[must_use]
pub fn returned_bool(bytes: &[u8]) -> Option<bool> {
    bool::abi_decode(bytes).ok()
}

/// What a function returned that gives an amount.
#[must_use]
pub fn returned_amount(bytes: &[u8]) -> Option<Amount> {
    U256::abi_decode(bytes).ok().map(Amount)
}

/// What a function returned that gives an address.
#[must_use]
pub fn returned_address(bytes: &[u8]) -> Option<Address> {
    Address::abi_decode(bytes).ok()
}

/// Whether [`is_valid_signature`] returned that it is.
#[must_use]
pub fn returned_is_valid(bytes: &[u8]) -> bool {
    FixedBytes::<4>::abi_decode(bytes).is_ok_and(|magic| magic == IS_VALID)
}

fn encoded(call: &impl SolCall) -> Bytes {
    call.abi_encode().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_those_of_the_standards() {
        let somebody = Address::repeat_byte(1);
        let one = Amount::from(1_u64);
        let selector = |bytes: &Bytes| hex::encode(&bytes[..4]);
        assert_eq!(selector(&transfer(somebody, one)), "a9059cbb");
        assert_eq!(selector(&approve(somebody, one)), "095ea7b3");
        assert_eq!(selector(&balance_of(somebody)), "70a08231");
        assert_eq!(selector(&is_valid_signature(B256::ZERO, &[])), "1626ba7e");
        assert_eq!(
            selector(&authorization_state(somebody, B256::ZERO)),
            "e94a0102"
        );
        let authorization = Authorization {
            from: somebody,
            to: somebody,
            value: one,
            valid_after: U256::ZERO,
            valid_before: U256::MAX,
            nonce: B256::ZERO,
        };
        let split = transfer_with_authorization(&authorization, &[1; 65]);
        assert_eq!(selector(&split), "e3ee160e");
        let whole = transfer_with_authorization(&authorization, &[1; 66]);
        assert_eq!(selector(&whole), "cf092995");
        // `v` is the seventh word.
        assert_eq!(split[4 + 7 * 32 - 1], 28);
    }

    #[test]
    fn what_comes_back_is_read_and_nothing_else() {
        let mut word = [0; 32];
        word[31] = 1;
        assert_eq!(returned_bool(&word), Some(true));
        assert_eq!(returned_amount(&word), Some(Amount::from(1_u64)));
        assert_eq!(returned_bool(&[]), None);
        assert_eq!(returned_amount(&word[1..]), None);
        let mut magic = [0; 32];
        magic[..4].copy_from_slice(&IS_VALID);
        assert!(returned_is_valid(&magic));
        assert!(!returned_is_valid(&word));
        assert!(!returned_is_valid(&[]));
    }
}
