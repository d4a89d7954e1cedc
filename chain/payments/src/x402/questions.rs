//! What a chain is asked about a payment before it is settled.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall as _, SolValue as _};

use super::{Answers, Checked, NonceState};
use crate::abi;
use crate::money::Amount;
use crate::port::Called;

/// What `isValidSignature` returns where it is one (EIP-1271): its own selector.
const VALID: [u8; 4] = [0x16, 0x26, 0xba, 0x7e];

/// Calls that change nothing, each with who is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Questions {
    /// `authorizationState` of the payer and nonce, to the token.
    pub nonce: (Address, Bytes),
    /// `balanceOf` the payer, to the token.
    pub balance: (Address, Bytes),
    /// `isValidSignature`, to the payer, where only their contract can tell.
    pub contract: Option<(Address, Bytes)>,
}

impl Checked {
    /// What to ask the chain of this token.
    #[must_use]
    pub fn questions(&self, token: Address) -> Questions {
        let payer = self.authorization.from;
        let nonce = authorization_state(payer, self.authorization.nonce);
        let balance = abi::balanceOfCall { account: payer };
        let valid = abi::isValidSignatureCall {
            hash: self.digest,
            signature: self.signature.clone(),
        };
        let contract = self
            .ask_contract
            .then(|| (payer, valid.abi_encode().into()));
        Questions {
            nonce: (token, nonce),
            balance: (token, balance.abi_encode().into()),
            contract,
        }
    }
}

/// The input of the call of a token that says whether a nonce was used or cancelled.
#[must_use]
pub fn authorization_state(authorizer: Address, nonce: B256) -> Bytes {
    let call = abi::authorizationStateCall { authorizer, nonce };
    call.abi_encode().into()
}

impl Answers {
    /// Reads what the calls gave; `None` where one could not be made, or was not. What is not
    /// understood is unknown.
    #[must_use]
    pub fn read(
        nonce: Option<&Called>,
        balance: Option<&Called>,
        contract: Option<&Called>,
    ) -> Self {
        let used = match nonce {
            Some(Called::Returned(bytes)) => bool::abi_decode_validate(bytes).ok(),
            _ => None,
        };
        let balance = match balance {
            Some(Called::Returned(bytes)) => U256::abi_decode_validate(bytes).ok().map(Amount),
            _ => None,
        };
        let contract = match contract {
            // Nothing comes from where no contract is.
            Some(Called::Returned(bytes)) => Some(bytes.len() >= 32 && bytes.starts_with(&VALID)),
            Some(Called::Reverted(_)) => Some(false),
            None => None,
        };
        Self {
            nonce: match used {
                Some(false) => NonceState::Unused,
                Some(true) => NonceState::Used,
                None => NonceState::Unknown,
            },
            balance,
            contract,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn returned(value: u64) -> Called {
        Called::Returned(U256::from(value).abi_encode().into())
    }

    #[test]
    fn what_is_not_understood_is_unknown() {
        let read = |nonce, balance, contract| Answers::read(nonce, balance, contract);
        let (no, yes) = (returned(0), returned(1));
        assert_eq!(
            read(Some(&no), Some(&yes), None),
            Answers {
                nonce: NonceState::Unused,
                balance: Some(Amount::from(1_u64)),
                contract: None,
            }
        );
        assert_eq!(read(Some(&yes), None, None).nonce, NonceState::Used);
        let reverted = Called::Reverted("no".into());
        let nothing = Called::Returned(Bytes::new());
        let two = returned(2);
        for unclear in [None, Some(&reverted), Some(&nothing), Some(&two)] {
            let answers = read(unclear, unclear.filter(|it| **it != two), None);
            assert_eq!(answers.nonce, NonceState::Unknown, "{unclear:?}");
            assert_eq!(answers.balance, None, "{unclear:?}");
        }
    }

    #[test]
    fn a_contract_says_so_by_its_selector_and_by_nothing_else() {
        let mut word = [0; 32];
        word[..4].copy_from_slice(&VALID);
        let answer = |bytes: &[u8]| {
            let called = Called::Returned(Bytes::copy_from_slice(bytes));
            Answers::read(None, None, Some(&called)).contract
        };
        assert_eq!(answer(&word), Some(true));
        for no in [&[][..], &VALID[..], &[0; 32][..], &[0xff; 32][..]] {
            assert_eq!(answer(no), Some(false), "{no:?}");
        }
        let reverted = Called::Reverted("no".into());
        assert_eq!(
            Answers::read(None, None, Some(&reverted)).contract,
            Some(false)
        );
        assert_eq!(Answers::read(None, None, None).contract, None);
    }
}
