//! What is signed, and for which token.

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{Eip712Domain, SolStruct as _, sol};

use crate::money::Amount;

/// The longest name or version of a domain that is looked at.
pub const MAX_DOMAIN_BYTES: usize = 128;

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

        struct ReceiveWithAuthorization {
            address from;
            address to;
            uint256 value;
            uint256 validAfter;
            uint256 validBefore;
            bytes32 nonce;
        }
    }
}

/// Who may bring an authorisation to the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `TransferWithAuthorization`: anybody.
    Transfer,
    /// `ReceiveWithAuthorization`: only whom the money goes to. A contract that takes money and
    /// notes what for must use this one, or a stranger brings the transfer without the note.
    Receive,
}

/// The EIP-712 domain of a token's contract, of which the name and version are the contract's own
/// constants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    /// `name`, such as `USD Coin`.
    pub name: String,
    /// `version`, such as `2`.
    pub version: String,
    /// `chainId`.
    pub chain: u64,
    /// `verifyingContract`: the token.
    pub token: Address,
}

impl Domain {
    /// The hash of the domain, which a contract shows as `DOMAIN_SEPARATOR()`.
    #[must_use]
    pub fn separator(&self) -> B256 {
        self.eip712().separator()
    }

    fn eip712(&self) -> Eip712Domain {
        Eip712Domain::new(
            Some(self.name.clone().into()),
            Some(self.version.clone().into()),
            Some(U256::from(self.chain)),
            Some(self.token),
            None,
        )
    }
}

/// An authorisation of EIP-3009.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Authorization {
    /// Who pays, and signs.
    pub from: Address,
    /// Who gets it.
    pub to: Address,
    /// How much, in base units.
    pub value: Amount,
    /// It holds in blocks whose time, in seconds since the epoch, is *larger* than this.
    pub valid_after: U256,
    /// It holds in blocks whose time, in seconds since the epoch, is *smaller* than this.
    pub valid_before: U256,
    /// Used once a payer and token.
    pub nonce: B256,
}

impl Authorization {
    /// The digest that is signed.
    #[must_use]
    pub fn digest(&self, kind: Kind, domain: &Domain) -> B256 {
        let Self {
            from,
            to,
            valid_after,
            valid_before,
            nonce,
            ..
        } = *self;
        let value = self.value.0;
        let domain = domain.eip712();
        match kind {
            Kind::Transfer => typed::TransferWithAuthorization {
                from,
                to,
                value,
                validAfter: valid_after,
                validBefore: valid_before,
                nonce,
            }
            .eip712_signing_hash(&domain),
            Kind::Receive => typed::ReceiveWithAuthorization {
                from,
                to,
                value,
                validAfter: valid_after,
                validBefore: valid_before,
                nonce,
            }
            .eip712_signing_hash(&domain),
        }
    }

    /// Whether it holds in a block of that time, in seconds since the epoch.
    #[must_use]
    pub fn holds_at(&self, time_s: u64) -> bool {
        let time = U256::from(time_s);
        self.valid_after < time && time < self.valid_before
    }
}

impl Kind {
    /// The hash of the type, as EIP-3009 states it.
    #[must_use]
    pub fn typehash(self) -> B256 {
        let nothing = [0; 32].into();
        let (address, zero) = (Address::ZERO, U256::ZERO);
        match self {
            Self::Transfer => typed::TransferWithAuthorization {
                from: address,
                to: address,
                value: zero,
                validAfter: zero,
                validBefore: zero,
                nonce: nothing,
            }
            .eip712_type_hash(),
            Self::Receive => typed::ReceiveWithAuthorization {
                from: address,
                to: address,
                value: zero,
                validAfter: zero,
                validBefore: zero,
                nonce: nothing,
            }
            .eip712_type_hash(),
        }
    }
}
