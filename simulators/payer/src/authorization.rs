//! Authorisations of EIP-3009, as wallets sign them (EIP-712).

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{Eip712Domain, SolStruct as _, sol};

mod typed {
    use super::sol;

    sol! {
        struct TransferWithAuthorization {
            address from;
            address to;
            uint256 value;
            uint256 validAfter;
            uint256 validBefore;
            bytes32 nonce;
        }
    }
}

/// The domain of a token's contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The token's name.
    pub name: String,
    /// The version of its domain.
    pub version: String,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The token.
    pub token: Address,
}

impl Domain {
    /// That of `DevDollar` at an address.
    #[must_use]
    pub fn dollar(chain_id: u64, token: Address) -> Self {
        Self {
            name: "Dev Dollar".to_owned(),
            version: "2".to_owned(),
            chain_id,
            token,
        }
    }
}

/// An authorisation that anybody may bring to the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Who pays, and signs.
    pub from: Address,
    /// Who gets it.
    pub to: Address,
    /// How much, in base units.
    pub value: U256,
    /// It holds in blocks after this time, in seconds since the epoch.
    pub valid_after: u64,
    /// It holds in blocks before this time, in seconds since the epoch.
    pub valid_before: u64,
    /// Used once.
    pub nonce: B256,
}

impl Authorization {
    /// What is signed.
    #[must_use]
    pub fn digest(&self, domain: &Domain) -> B256 {
        let Self {
            from,
            to,
            value,
            nonce,
            ..
        } = *self;
        let domain = Eip712Domain::new(
            Some(domain.name.clone().into()),
            Some(domain.version.clone().into()),
            Some(U256::from(domain.chain_id)),
            Some(domain.token),
            None,
        );
        typed::TransferWithAuthorization {
            from,
            to,
            value,
            validAfter: U256::from(self.valid_after),
            validBefore: U256::from(self.valid_before),
            nonce,
        }
        .eip712_signing_hash(&domain)
    }
}
