//! Whether a payment does.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall as _;
use stencil_protocol::id::TenantId;

use super::header::{malformed, shown};
use super::{
    ExactPayload, HOLD_SCHEME, METHOD, Offer, PaymentPayload, Reason, Refused, Requirements, SCHEME,
};
use crate::abi;
use crate::cause::Key;
use crate::eip712::{Authorization, Kind, MAX_SIGNATURE_BYTES, Signed, check};
use crate::invoice::Id;
use crate::money::{Amount, chain_id};

/// The most ways to pay that are offered for one thing.
pub const MAX_ACCEPTS: usize = 16;
/// For how much longer than it is asked for an authorisation may hold, seconds: clients' clocks differ,
/// and until then its purchase is looked for.
pub const LONGER_S: u64 = 3_600;

/// What the token says of a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceState {
    /// Neither used nor cancelled.
    Unused,
    /// Used or cancelled.
    Used,
    /// It could not be asked.
    Unknown,
}

/// What a chain was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// `authorizationState` of the payer and nonce.
    pub nonce: NonceState,
    /// `balanceOf` the payer; `None` where it could not be asked.
    pub balance: Option<Amount>,
    /// What `isValidSignature` (EIP-1271) says, where [`Checked::ask_contract`] wants it; `None` where
    /// there is no answer. `Some(false)` where the payer has no code.
    pub contract: Option<bool>,
}

/// A payment that is right as far as can be told without a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Which of the offers.
    pub offer: usize,
    /// What was signed.
    pub authorization: Authorization,
    /// The digest that was signed.
    pub digest: B256,
    /// The signature.
    pub signature: Bytes,
    /// Whether only the payer's contract can tell if it has signed.
    pub ask_contract: bool,
}

/// A payment that can be settled, as far as anybody can tell before it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    checked: Checked,
    balance: Amount,
}

/// What a payment says of itself, whether or not anybody offers that: enough to know again one that
/// came before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The chain id of EIP-155.
    pub chain: u64,
    /// The token.
    pub token: Address,
    /// What is said to be signed.
    pub authorization: Authorization,
    /// What is said to be its signature.
    pub signature: Bytes,
}

impl Claim {
    /// Reads it; nothing of it is checked against anything.
    ///
    /// # Errors
    /// What was not understood, or is spoken nowhere here.
    pub fn read(payment: &PaymentPayload) -> Result<Self, Refused> {
        let accepted = &payment.accepted;
        if accepted.scheme != HOLD_SCHEME {
            spoken(accepted)?;
        }
        let network = accepted.network.strip_prefix("eip155:");
        let chain = network.and_then(chain_id).ok_or_else(|| {
            let network = shown(&accepted.network);
            let detail = format!("network {network:?} is not offered");
            Refused::new(Reason::InvalidNetwork, detail)
        })?;
        let (authorization, signature) = signed(payment)?;
        Ok(Self {
            chain,
            token: address(&accepted.asset, "accepted.asset")?,
            authorization,
            signature,
        })
    }

    /// The id of the invoice that this payment is to a tenant: the same payment twice is one
    /// purchase. A nonce is a payer's own, and can be used once.
    #[must_use]
    pub fn purchase(&self, tenant: &TenantId) -> Id {
        let key = Key::of(
            "stencil/x402-purchase",
            &[
                tenant.as_str().as_bytes(),
                &self.chain.to_be_bytes(),
                self.token.as_slice(),
                self.authorization.from.as_slice(),
                self.authorization.nonce.as_slice(),
            ],
        );
        let mut id = [0; 16];
        id.copy_from_slice(&key.0[..16]);
        Id(id)
    }

    /// Names the payment to its last byte: whoever shows the same has what was signed.
    #[must_use]
    pub fn fingerprint(&self) -> Key {
        let Authorization {
            from,
            to,
            value,
            valid_after,
            valid_before,
            nonce,
        } = self.authorization;
        let numbers = [value.0, valid_after, valid_before].map(|number| number.to_be_bytes::<32>());
        Key::of(
            "stencil/x402-payment",
            &[
                &self.chain.to_be_bytes(),
                self.token.as_slice(),
                from.as_slice(),
                to.as_slice(),
                nonce.as_slice(),
                &numbers[0],
                &numbers[1],
                &numbers[2],
                &self.signature,
            ],
        )
    }
}

/// Checks a payment against what was offered, at `now_s`, seconds since the epoch: all but what has
/// to be asked of a chain.
///
/// # Errors
/// Why it does not do.
pub fn verify(offers: &[Offer], payment: &PaymentPayload, now_s: u64) -> Result<Checked, Refused> {
    let at = accepted(offers, &payment.accepted)?;
    let offer = &offers[at];
    let exact = exact(payment)?;
    let authorization = authorization(&exact)?;
    if authorization.to != offer.pay_to {
        let detail = format!("it pays {}, not {}", authorization.to, offer.pay_to);
        return Err(Refused::new(Reason::RecipientMismatch, detail));
    }
    if authorization.value != offer.amount {
        let detail = format!(
            "it is over {} base units, not {}",
            authorization.value, offer.amount
        );
        return Err(Refused::new(Reason::ValueMismatch, detail));
    }
    if authorization.from == authorization.to || authorization.from.is_zero() {
        let detail = "the payer is the payee, or nobody";
        return Err(Refused::new(Reason::InvalidPayload, detail));
    }
    if authorization.valid_after >= U256::from(now_s) {
        let detail = format!(
            "it holds after {}, and it is {now_s}",
            authorization.valid_after
        );
        return Err(Refused::new(Reason::ValidAfter, detail));
    }
    // The block that settles it has to be before `validBefore`.
    let needed = now_s.saturating_add(offer.timing.room_s());
    if authorization.valid_before <= U256::from(needed) {
        let detail = format!(
            "it holds before {}, and has to hold beyond {needed}: sign for {} seconds",
            authorization.valid_before,
            offer.timing.max_timeout_s()
        );
        return Err(Refused::new(Reason::ValidBefore, detail));
    }
    let asked_s = offer.timing.max_timeout_s();
    let most = now_s.saturating_add(asked_s).saturating_add(LONGER_S);
    if authorization.valid_before > U256::from(most) {
        let detail = format!(
            "it holds before {}, which is more than an hour beyond what is asked for: sign for \
             {asked_s} seconds",
            authorization.valid_before
        );
        return Err(Refused::new(Reason::ValidBefore, detail));
    }
    let signature = signature(&exact.signature)?;
    let digest = authorization.digest(Kind::Transfer, &offer.domain);
    let signed = check(digest, authorization.from, &signature)
        .map_err(|error| Refused::new(Reason::Signature, error.to_string()))?;
    let ask_contract = signed != Signed::ByPayer;
    Ok(Checked {
        offer: at,
        authorization,
        digest,
        signature,
        ask_contract,
    })
}

impl Checked {
    /// Concludes with what the chain says.
    ///
    /// # Errors
    /// Why it does not do; `unexpected_verify_error` where the chain could not be asked: then it is
    /// neither right nor wrong, and may be tried again.
    pub fn conclude(self, answers: &Answers) -> Result<Verified, Refused> {
        let unknown = |what: &str| {
            Err(Refused::new(
                Reason::UnexpectedVerifyError,
                format!("{what}: try again"),
            ))
        };
        match answers.contract {
            _ if !self.ask_contract => {}
            Some(true) => {}
            Some(false) => {
                let from = self.authorization.from;
                let detail = format!("it was not signed by {from} for this token and chain");
                return Err(Refused::new(Reason::Signature, detail));
            }
            None => return unknown("the payer's contract could not be asked"),
        }
        match answers.nonce {
            NonceState::Unused => {}
            NonceState::Used => {
                let detail = "the authorisation was used or cancelled: sign a new one";
                return Err(Refused::new(Reason::InvalidTransactionState, detail));
            }
            NonceState::Unknown => return unknown("the token could not be asked"),
        }
        match answers.balance {
            None => unknown("the payer's balance could not be asked"),
            Some(balance) if balance < self.authorization.value => {
                let detail = format!("{} has {balance} base units", self.authorization.from);
                Err(Refused::new(Reason::InsufficientFunds, detail))
            }
            Some(balance) => Ok(Verified {
                checked: self,
                balance,
            }),
        }
    }
}

impl Verified {
    /// What was verified.
    #[must_use]
    pub fn checked(&self) -> &Checked {
        &self.checked
    }

    /// What the payer has, base units.
    #[must_use]
    pub fn balance(&self) -> Amount {
        self.balance
    }

    /// Who pays.
    #[must_use]
    pub fn payer(&self) -> Address {
        self.checked.authorization.from
    }

    /// The input of the transaction to the token that settles it.
    #[must_use]
    pub fn call_data(&self) -> Bytes {
        let Authorization {
            from,
            to,
            value,
            valid_after,
            valid_before,
            nonce,
        } = self.checked.authorization;
        let (value, signature) = (value.0, &self.checked.signature);
        let call = match <[u8; 65]>::try_from(&signature[..]) {
            Ok(parts) => {
                let (r, s) = (
                    B256::from_slice(&parts[..32]),
                    B256::from_slice(&parts[32..64]),
                );
                let v = if parts[64] < 27 {
                    parts[64] + 27
                } else {
                    parts[64]
                };
                abi::transferWithAuthorizationCall {
                    from,
                    to,
                    value,
                    validAfter: valid_after,
                    validBefore: valid_before,
                    nonce,
                    v,
                    r,
                    s,
                }
                .abi_encode()
            }
            // Tokens that ask contract wallets take the signature as bytes.
            Err(_) => abi::bytes_form::transferWithAuthorizationCall {
                from,
                to,
                value,
                validAfter: valid_after,
                validBefore: valid_before,
                nonce,
                signature: signature.clone(),
            }
            .abi_encode(),
        };
        call.into()
    }
}

/// Whether the scheme and the way to transfer are those that are spoken here.
fn spoken(accepted: &Requirements) -> Result<(), Refused> {
    if accepted.scheme != SCHEME {
        let detail = format!(
            "scheme {:?}: only {SCHEME:?} is offered",
            shown(&accepted.scheme)
        );
        return Err(Refused::new(Reason::InvalidScheme, detail));
    }
    let method = accepted
        .extra
        .as_ref()
        .and_then(|extra| extra.asset_transfer_method.as_deref());
    if method.is_some_and(|method| method != METHOD) {
        let method = shown(method.unwrap_or_default());
        let detail = format!("transfer method {method:?}: only {METHOD:?} is offered");
        return Err(Refused::new(Reason::UnsupportedScheme, detail));
    }
    Ok(())
}

/// Which offer was accepted. All that was offered has to come back as it was.
fn accepted(offers: &[Offer], accepted: &Requirements) -> Result<usize, Refused> {
    spoken(accepted)?;
    let chain = accepted.network.strip_prefix("eip155:").and_then(chain_id);
    let on_chain = |offer: &Offer| Some(offer.domain.chain) == chain;
    if !offers.iter().any(on_chain) {
        let network = shown(&accepted.network);
        let detail = format!("network {network:?} is not offered");
        return Err(Refused::new(Reason::InvalidNetwork, detail));
    }
    let asset = address(&accepted.asset, "accepted.asset")?;
    let pay_to = address(&accepted.pay_to, "accepted.payTo")?;
    let same = |offer: &Offer| {
        let offered = offer.requirements();
        let named = |extra: &Option<super::Extra>| {
            extra
                .as_ref()
                .map(|extra| (extra.name.clone(), extra.version.clone()))
        };
        on_chain(offer)
            && offer.domain.token == asset
            && offer.pay_to == pay_to
            && offered.amount == accepted.amount
            && offered.max_timeout_seconds == accepted.max_timeout_seconds
            && named(&offered.extra) == named(&accepted.extra)
    };
    offers.iter().position(same).ok_or_else(|| {
        let detail = "'accepted' is none of what is offered: send one of 'accepts' back as it is";
        Refused::new(Reason::InvalidPaymentRequirements, detail)
    })
}

/// What is said to be signed, and its signature.
pub(super) fn signed(payment: &PaymentPayload) -> Result<(Authorization, Bytes), Refused> {
    let exact = exact(payment)?;
    Ok((authorization(&exact)?, signature(&exact.signature)?))
}

fn exact(payment: &PaymentPayload) -> Result<ExactPayload, Refused> {
    if payment.payload.get("permit2Authorization").is_some() {
        let detail = format!("a Permit2 authorisation is not taken: use {METHOD:?}");
        return Err(Refused::new(Reason::UnsupportedScheme, detail));
    }
    serde_path_to_error::deserialize(&payment.payload).map_err(|error| {
        let path = error.path().to_string();
        malformed(format!(
            "at payload.{}: {}",
            shown(&path),
            shown(&error.inner().to_string())
        ))
    })
}

fn authorization(exact: &ExactPayload) -> Result<Authorization, Refused> {
    let raw = &exact.authorization;
    let number = |text: &str, field: &str| -> Result<U256, Refused> {
        let amount = text.parse::<Amount>();
        let amount = amount.map_err(|error| malformed(format!("at {field}: {error}")))?;
        Ok(amount.0)
    };
    let nonce = raw
        .nonce
        .starts_with("0x")
        .then(|| raw.nonce.parse().ok())
        .flatten();
    Ok(Authorization {
        from: address(&raw.from, "payload.authorization.from")?,
        to: address(&raw.to, "payload.authorization.to")?,
        value: Amount(number(&raw.value, "payload.authorization.value")?),
        valid_after: number(&raw.valid_after, "payload.authorization.validAfter")?,
        valid_before: number(&raw.valid_before, "payload.authorization.validBefore")?,
        nonce: nonce.ok_or_else(|| {
            malformed("at payload.authorization.nonce: it is 0x and 64 hexadecimal digits")
        })?,
    })
}

fn address(text: &str, field: &str) -> Result<Address, Refused> {
    let parsed = text.starts_with("0x").then(|| text.parse().ok()).flatten();
    parsed.ok_or_else(|| {
        malformed(format!(
            "at {field}: {:?} is not 0x and 40 hexadecimal digits",
            shown(text)
        ))
    })
}

fn signature(text: &str) -> Result<Bytes, Refused> {
    let wrong = || malformed("at payload.signature: it is 0x and hexadecimal digits");
    let digits = text.strip_prefix("0x").ok_or_else(wrong)?;
    if digits.len() > 2 * MAX_SIGNATURE_BYTES {
        return Err(malformed("at payload.signature: it is too long"));
    }
    Ok(hex::decode(digits).map_err(|_| wrong())?.into())
}
