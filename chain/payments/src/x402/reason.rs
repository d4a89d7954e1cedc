//! Why a payment is refused.

use std::fmt;

use serde::{Serialize, Serializer};

/// A reason by the name that the specification gives it (section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The payer has not enough of the token.
    InsufficientFunds,
    /// The authorisation does not hold yet.
    ValidAfter,
    /// The authorisation has expired, or will before it can be settled.
    ValidBefore,
    /// Another amount than what was asked for.
    ValueMismatch,
    /// Nobody's signature, or another's than the payer's.
    Signature,
    /// To somebody else than what was asked for.
    RecipientMismatch,
    /// A chain that was not offered.
    InvalidNetwork,
    /// Not understood.
    InvalidPayload,
    /// None of what was offered.
    InvalidPaymentRequirements,
    /// A scheme that was not offered.
    InvalidScheme,
    /// A way to transfer that is not spoken here.
    UnsupportedScheme,
    /// Another version of x402.
    InvalidX402Version,
    /// The authorisation was used or cancelled, or its transaction failed.
    InvalidTransactionState,
    /// The chain could not be asked: try again.
    UnexpectedVerifyError,
    /// Whether it was settled is not known yet: ask again, and don't pay again.
    UnexpectedSettleError,
}

impl Reason {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InsufficientFunds => "insufficient_funds",
            Self::ValidAfter => "invalid_exact_evm_payload_authorization_valid_after",
            Self::ValidBefore => "invalid_exact_evm_payload_authorization_valid_before",
            Self::ValueMismatch => "invalid_exact_evm_payload_authorization_value_mismatch",
            Self::Signature => "invalid_exact_evm_payload_signature",
            Self::RecipientMismatch => "invalid_exact_evm_payload_recipient_mismatch",
            Self::InvalidNetwork => "invalid_network",
            Self::InvalidPayload => "invalid_payload",
            Self::InvalidPaymentRequirements => "invalid_payment_requirements",
            Self::InvalidScheme => "invalid_scheme",
            Self::UnsupportedScheme => "unsupported_scheme",
            Self::InvalidX402Version => "invalid_x402_version",
            Self::InvalidTransactionState => "invalid_transaction_state",
            Self::UnexpectedVerifyError => "unexpected_verify_error",
            Self::UnexpectedSettleError => "unexpected_settle_error",
        }
    }

    /// The HTTP status of a refusal: 400 for what is malformed, 402 for a payment that does not do,
    /// 500 where it is the server's fault.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidPayload | Self::InvalidX402Version => 400,
            Self::UnexpectedVerifyError | Self::UnexpectedSettleError => 500,
            _ => 402,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A refusal: the reason by its name, and in words what was wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Refused {
    /// The reason.
    pub reason: Reason,
    /// What was wrong, and what would be right.
    pub detail: String,
}

impl Refused {
    /// A refusal for this reason.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}
