//! Money that the escrow contract holds until a device has acted: scheme `stencil-hold`.
//!
//! The specification's own scheme for that, `auth-capture`, is bound to other contracts. This one is
//! `exact` with another payee: the payer signs EIP-3009's `ReceiveWithAuthorization` to
//! `StencilEscrow`, and the nonce is the hash of the terms
//! ([`abi::Terms::hold_id`]), so that the signature fits these terms alone. What the terms are for
//! stands in `extra.hold` of what is asked for, and comes back as it was:
//!
//! ```text
//! extra { name, version, hold { invoiceId, payee, operator, deadline, salt } }
//! ```
//!
//! `invoiceId` follows from what is bought, the deadline and the salt, so nothing has to be
//! remembered between the 402 and the payment, and a payment for one thing is none for another.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::header::malformed;
use super::verify::{self, Checked};
use super::{Extra, HOLD_SCHEME, Offer, PaymentPayload, Reason, Refused, Requirements};
use crate::abi;
use crate::cause::Key;
use crate::eip712::{Kind, Signed, check};

/// How long before its deadline a hold can be paid at the latest, beside what the command and the
/// settlements need, seconds: a 402 is read by people, too.
pub const PATIENCE_S: u64 = 120;

/// Something that is paid by a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldOffer {
    /// What it costs, who gets it, and how long it takes. The settlement is needed twice: until the
    /// money is held, and until it is released.
    pub offer: Offer,
    /// `StencilEscrow`.
    pub escrow: Address,
    /// Who releases or refunds: the hub's account.
    pub operator: Address,
    /// Names what is bought, to the last byte.
    pub bought: Key,
}

/// `extra.hold`: what the payer agrees to beside amount and token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldExtra {
    /// The contract's number of what is paid for.
    pub invoice_id: B256,
    /// Who gets the money when the device has acted.
    pub payee: Address,
    /// Who says whether it has.
    pub operator: Address,
    /// From when on the money can only go back, seconds since the epoch.
    pub deadline: u64,
    /// Makes the number another one each time.
    pub salt: B256,
}

/// A payment by a hold that is right as far as can be told without a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedHold {
    /// What the chain has to be asked is the same as for any payment.
    pub checked: Checked,
    /// The terms of the hold.
    pub terms: abi::Terms,
    /// Its id, which is the authorisation's nonce.
    pub hold: B256,
}

impl HoldOffer {
    fn invoice_id(&self, deadline: u64, salt: B256) -> B256 {
        let parts: [&[u8]; 3] = [&self.bought.0, &deadline.to_be_bytes(), salt.as_slice()];
        B256::from(Key::of("stencil/x402-hold", &parts).0)
    }

    /// How long there has to be until the deadline when the money is paid in.
    fn needed_s(&self) -> u64 {
        let timing = self.offer.timing;
        timing.room_s().saturating_add(timing.settle_s)
    }

    /// Until when a hold lasts that is offered at `now_s`.
    fn deadline(&self, now_s: u64) -> u64 {
        now_s
            .saturating_add(self.needed_s())
            .saturating_add(self.offer.timing.slack_s)
            .saturating_add(PATIENCE_S)
    }

    /// As it stands on the wire at `now_s`, seconds since the epoch; `salt` is drawn by chance.
    #[must_use]
    pub fn requirements(&self, now_s: u64, salt: B256) -> Requirements {
        let deadline = self.deadline(now_s);
        let hold = HoldExtra {
            invoice_id: self.invoice_id(deadline, salt),
            payee: self.offer.pay_to,
            operator: self.operator,
            deadline,
            salt,
        };
        let mut rest = Map::new();
        if let Ok(hold) = serde_json::to_value(hold) {
            rest.insert("hold".to_owned(), hold);
        }
        Requirements {
            scheme: HOLD_SCHEME.into(),
            pay_to: self.escrow.to_checksum(None),
            extra: Some(Extra {
                name: Some(self.offer.domain.name.clone()),
                version: Some(self.offer.domain.version.clone()),
                asset_transfer_method: None,
                rest,
            }),
            ..self.offer.requirements()
        }
    }

    /// Checks a payment at `now_s`, seconds since the epoch: all but what has to be asked of a chain.
    ///
    /// # Errors
    /// Why it does not do.
    pub fn verify(&self, payment: &PaymentPayload, now_s: u64) -> Result<CheckedHold, Refused> {
        let accepted = &payment.accepted;
        let hold = accepted.extra.as_ref().and_then(|it| it.rest.get("hold"));
        let hold: HoldExtra = HoldExtra::deserialize(hold.unwrap_or(&Value::Null))
            .map_err(|error| malformed(format!("at accepted.extra.hold: {error}")))?;
        let offered = self.requirements(now_s, hold.salt);
        let same = accepted.scheme == HOLD_SCHEME
            && accepted.network == offered.network
            && accepted.asset.parse() == Ok(self.offer.domain.token)
            && accepted.pay_to.parse() == Ok(self.escrow)
            && accepted.amount == offered.amount
            && hold.payee == self.offer.pay_to
            && hold.operator == self.operator
            && hold.invoice_id == self.invoice_id(hold.deadline, hold.salt);
        if !same {
            let detail = "'accepted' is none of what is offered for this: send one of 'accepts' back \
                          as it is";
            return Err(Refused::new(Reason::InvalidPaymentRequirements, detail));
        }
        let least = now_s.saturating_add(self.needed_s());
        if hold.deadline < least {
            let detail = format!(
                "the hold ends at {}, and has to last until {least}: ask for the price again",
                hold.deadline
            );
            return Err(Refused::new(Reason::ValidBefore, detail));
        }
        let most = self.deadline(now_s);
        if hold.deadline > most {
            let detail = format!(
                "the hold ends at {}, and one that is offered now ends at {most}: send one of \
                 'accepts' back as it is",
                hold.deadline
            );
            return Err(Refused::new(Reason::InvalidPaymentRequirements, detail));
        }
        let (authorization, signature) = verify::signed(payment)?;
        let refused = |reason, detail: String| Err(Refused::new(reason, detail));
        if authorization.to != self.escrow {
            let detail = format!("it pays {}, not {}", authorization.to, self.escrow);
            return refused(Reason::RecipientMismatch, detail);
        }
        if authorization.value != self.offer.amount {
            let (signed, asked) = (authorization.value, self.offer.amount);
            let detail = format!("it is over {signed} base units, not {asked}");
            return refused(Reason::ValueMismatch, detail);
        }
        let payer = authorization.from;
        if payer.is_zero() || payer == self.escrow || payer == self.offer.pay_to {
            let detail = "the payer is the payee, or nobody".to_owned();
            return refused(Reason::InvalidPayload, detail);
        }
        if authorization.valid_after >= U256::from(now_s) {
            let detail = format!(
                "it holds after {}, and it is {now_s}",
                authorization.valid_after
            );
            return refused(Reason::ValidAfter, detail);
        }
        let needed = now_s.saturating_add(self.offer.timing.settle_s);
        if authorization.valid_before <= U256::from(needed) {
            let detail = format!(
                "it holds before {}, and has to hold beyond {needed}",
                authorization.valid_before
            );
            return refused(Reason::ValidBefore, detail);
        }
        // The contract takes none at or after the deadline: what could be brought later would be waited for
        // in vain.
        if authorization.valid_before > U256::from(hold.deadline) {
            let detail = format!(
                "it holds before {}, and has to end by the hold's deadline, {}",
                authorization.valid_before, hold.deadline
            );
            return refused(Reason::ValidBefore, detail);
        }
        let terms = abi::Terms {
            invoiceId: hold.invoice_id,
            payer,
            payee: hold.payee,
            operator: hold.operator,
            token: self.offer.domain.token,
            amount: self.offer.amount.0,
            deadline: hold.deadline,
        };
        let id = terms.hold_id(self.offer.domain.chain, self.escrow);
        if authorization.nonce != id {
            let detail = format!(
                "the nonce is {}, and has to be {id}: the hash of the terms (`holdIdOf`)",
                authorization.nonce
            );
            return refused(Reason::InvalidPayload, detail);
        }
        let digest = authorization.digest(Kind::Receive, &self.offer.domain);
        let signed = check(digest, payer, &signature)
            .map_err(|error| Refused::new(Reason::Signature, error.to_string()))?;
        Ok(CheckedHold {
            checked: Checked {
                offer: 0,
                authorization,
                digest,
                signature,
                ask_contract: signed != Signed::ByPayer,
            },
            terms,
            hold: id,
        })
    }
}

impl CheckedHold {
    /// The input of the transaction to the escrow that holds the money.
    #[must_use]
    pub fn hold_data(&self) -> Bytes {
        let signature = &self.checked.signature;
        // Tokens take 27 and 28 alone.
        let mut bytes = signature.to_vec();
        if let (65, Some(parity @ 0..=1)) = (bytes.len(), bytes.last_mut()) {
            *parity += 27;
        }
        let call = abi::holdWithAuthorizationCall {
            terms: self.terms.clone(),
            authorization: abi::Signed {
                validAfter: self.checked.authorization.valid_after,
                validBefore: self.checked.authorization.valid_before,
                signature: bytes.into(),
            },
        };
        call.abi_encode().into()
    }

    /// The input of the transaction that pays all of it to the payee.
    #[must_use]
    pub fn release_data(&self) -> Bytes {
        let (terms, amount) = (self.terms.clone(), self.terms.amount);
        abi::releaseCall { terms, amount }.abi_encode().into()
    }

    /// The input of the transaction that gives all of it back.
    #[must_use]
    pub fn refund_data(&self) -> Bytes {
        let terms = self.terms.clone();
        abi::refundCall { terms }.abi_encode().into()
    }

    /// The input of the call that says where the hold is.
    #[must_use]
    pub fn state_data(hold: B256) -> Bytes {
        abi::stateOfCall { holdId: hold }.abi_encode().into()
    }
}
