//! A price becomes what a 402 says.

use alloy_primitives::Address;

use super::{Extra, METHOD, PaymentRequired, Requirements, Resource, SCHEME, VERSION};
use crate::eip712::Domain;
use crate::money::Amount;

/// How long what is paid for takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Until it is done at the latest, seconds: 0 for data, the time until a command expires.
    pub act_s: u64,
    /// Until a settlement is in a block at the latest, seconds.
    pub settle_s: u64,
    /// How much clocks may differ and a request may take, seconds.
    pub slack_s: u64,
}

impl Timing {
    /// How long an authorisation has to hold from when it is signed: what clients add to their own
    /// time for `validBefore`.
    #[must_use]
    pub fn max_timeout_s(self) -> u64 {
        self.act_s
            .saturating_add(self.settle_s)
            .saturating_add(self.slack_s)
    }

    /// How long an authorisation has to hold from when it is looked at.
    #[must_use]
    pub fn room_s(self) -> u64 {
        self.act_s.saturating_add(self.settle_s)
    }
}

/// One way to pay for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The token, with its chain and the constants of its EIP-712 domain.
    pub domain: Domain,
    /// How much, base units.
    pub amount: Amount,
    /// Who gets it.
    pub pay_to: Address,
    /// How long it takes.
    pub timing: Timing,
}

impl Offer {
    /// The chain in the form of CAIP-2.
    #[must_use]
    pub fn network(&self) -> String {
        format!("eip155:{}", self.domain.chain)
    }

    /// As it stands on the wire.
    #[must_use]
    pub fn requirements(&self) -> Requirements {
        Requirements {
            scheme: SCHEME.into(),
            network: self.network(),
            amount: self.amount.to_string(),
            asset: self.domain.token.to_checksum(None),
            pay_to: self.pay_to.to_checksum(None),
            max_timeout_seconds: self.timing.max_timeout_s(),
            extra: Some(Extra {
                name: Some(self.domain.name.clone()),
                version: Some(self.domain.version.clone()),
                asset_transfer_method: Some(METHOD.into()),
                rest: serde_json::Map::new(),
            }),
        }
    }

    /// What a 402 says of several ways to pay. `error` says why, for people.
    #[must_use]
    pub fn payment_required(
        offers: &[Self],
        resource: Resource,
        error: Option<String>,
    ) -> PaymentRequired {
        PaymentRequired {
            x402_version: VERSION,
            error,
            resource,
            accepts: offers.iter().map(Self::requirements).collect(),
            extensions: None,
        }
    }
}
