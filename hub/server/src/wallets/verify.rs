//! Whether a wallet has signed what it was asked to.

use std::net::IpAddr;

use stencil_payments::Address;
use stencil_protocol::id::TenantId;
use stencil_store::Wallets;
use stencil_wallet::{Message, Signed, digest, signed_by};

use super::challenge::{Challenge, LIFE_US, TOLERANCE_US};
use super::contract::{self, Contracts, NotSo};
use crate::chains::Chains;

/// An account that has signed what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proved {
    /// The account.
    pub(crate) address: Address,
    /// To which tenant it signs in; `None`: it has named none.
    pub(crate) tenant: Option<TenantId>,
    /// The chain whose contract has said so; `None`: the account's own key has signed.
    pub(crate) chain: Option<u64>,
    /// What should be otherwise, and does no harm.
    pub(crate) warnings: Vec<String>,
}

/// Why somebody is not signed in.
#[derive(Debug)]
pub(crate) enum NotSigned {
    /// It is no message, or no signature: in which field, and what would be right.
    Wrong(&'static str, String),
    /// The nonce is not one that can be used.
    Nonce,
    /// Something does not hold. `tenant` is where it would have been.
    Refused {
        why: String,
        address: Address,
        tenant: Option<String>,
    },
    /// It can't be known now. `by_contract`: by what the contract does, and not the chain.
    Unknown {
        why: String,
        by_contract: bool,
        address: Address,
        tenant: Option<String>,
    },
    /// Too many contracts are asked at the moment. Nothing was used up.
    Crowded,
    Store(stencil_store::Error),
}

impl From<stencil_store::Error> for NotSigned {
    fn from(error: stencil_store::Error) -> Self {
        Self::Store(error)
    }
}

/// Takes a message and its signature (hexadecimal), from somebody of a network. The nonce is used up once the
/// message can be read, and there is room to ask a contract where one has to be.
pub(crate) async fn verify(
    wallets: &dyn Wallets,
    chains: &Chains,
    (contracts, network): (&Contracts, IpAddr),
    now_us: i64,
    (text, signature): (&str, &str),
) -> Result<Proved, NotSigned> {
    let message =
        Message::parse(text).map_err(|error| NotSigned::Wrong("message", error.to_string()))?;
    let digits = signature.strip_prefix("0x");
    let signature = digits.and_then(|digits| hex::decode(digits).ok());
    let signature = signature.ok_or_else(|| {
        let why = "0x and hexadecimal digits are right".to_owned();
        NotSigned::Wrong("signature", why)
    })?;
    // By its form alone some are nobody's, and use nothing up.
    let signed = signed_by(text, message.address, &signature)
        .map_err(|error| NotSigned::Wrong("signature", error.to_string()))?;
    let room = match signed {
        Signed::ByPayer => None,
        _ => Some(contracts.room(network).ok_or(NotSigned::Crowded)?),
    };
    let used = wallets.use_nonce(&message.nonce, now_us).await?;
    let (body, _) = used.ok_or(NotSigned::Nonce)?;
    let challenge: Challenge = serde_json::from_str(&body).map_err(|error| {
        NotSigned::Store(stencil_store::Error::Unavailable(format!(
            "a challenge can't be read: {error}"
        )))
    })?;
    let refused = |why: String| NotSigned::Refused {
        why,
        address: challenge.address,
        tenant: challenge.tenant.clone(),
    };
    if message.address != challenge.address {
        return Err(refused(format!(
            "address: {} is said, {} has asked",
            message.address.to_checksum(None),
            challenge.address.to_checksum(None)
        )));
    }
    let says = message.agrees(&challenge.terms(&message.nonce));
    says.map_err(|why| refused(why.to_string()))?;
    let holds = message
        .issued_within(now_us, LIFE_US, TOLERANCE_US)
        .and_then(|()| message.holds_at(now_us, TOLERANCE_US));
    holds.map_err(|why| refused(why.to_string()))?;
    let mut proven_on = None;
    if let Some(_room) = room {
        let chain = chains.by_id(message.chain_id).ok_or_else(|| {
            refused(format!(
                "Chain ID: the hub does not follow {}",
                message.chain_id
            ))
        })?;
        let digest = digest(text);
        let asked = contract::signed(chain.as_ref(), message.address, digest, &signature);
        match asked.await {
            Ok(()) => proven_on = Some(message.chain_id),
            Err(NotSo::Unknown { why, by_contract }) => {
                return Err(NotSigned::Unknown {
                    why,
                    by_contract,
                    address: challenge.address,
                    tenant: challenge.tenant.clone(),
                });
            }
            Err(NotSo::Refused(why)) => {
                return Err(refused(format!(
                    "signature: the contract wallet at {} says no: {why}",
                    message.address.to_checksum(None)
                )));
            }
            Err(NotSo::NoContract) => return Err(refused(not_signed(&message, signed))),
        }
    }
    let mut warnings = Vec::new();
    if !message.is_checksummed {
        warnings.push(format!(
            "the message writes the address without its checksum (EIP-55): {} is right",
            message.address.to_checksum(None)
        ));
    }
    let tenant = challenge.tenant.as_deref().map(TenantId::parse).transpose();
    let tenant = tenant.map_err(|error| refused(error.to_string()))?;
    Ok(Proved {
        address: message.address,
        tenant,
        chain: proven_on,
        warnings,
    })
}

fn not_signed(message: &Message, signed: Signed) -> String {
    let address = message.address.to_checksum(None);
    match signed {
        Signed::ByAnother(signer) => format!(
            "signature: {} has signed this, not {address}, or something else was signed",
            signer.to_checksum(None)
        ),
        _ => format!(
            "signature: it is longer than 65 bytes, and {address} is no contract wallet on chain {}; \
             one that is not deployed yet (EIP-6492) can't sign in",
            message.chain_id
        ),
    }
}
