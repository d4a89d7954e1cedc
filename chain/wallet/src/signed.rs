//! Who signed a text.

use alloy_primitives::{Address, B256};
use stencil_payments::eip712::{self, text_digest};
pub use stencil_payments::eip712::{MAX_SIGNATURE_BYTES, Signed};

/// A signature that nobody can have made, or that is in a form that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSignature {
    /// The compact form.
    #[error("a signature of 64 bytes (EIP-2098) is not taken: sign with 65 bytes r, s, v")]
    Compact,
    /// What else is wrong.
    #[error(transparent)]
    Other(eip712::Error),
}

/// What is signed of a text that people read (EIP-191, version `0x45`), and what a contract wallet is
/// asked about.
#[must_use]
pub fn digest(text: &str) -> B256 {
    text_digest(text)
}

/// Whether `address` has signed `text` with its own key. 65 bytes `r ‖ s ‖ v` are taken, `s` in the
/// lower half of the order (EIP-2), so that nobody makes a second signature of a first; what is longer,
/// and what another key has signed, may be a contract wallet's (EIP-1271).
///
/// # Errors
/// A signature that can't hold for anybody.
pub fn signed_by(text: &str, address: Address, signature: &[u8]) -> Result<Signed, NoSignature> {
    eip712::check(digest(text), address, signature).map_err(|error| match error {
        eip712::Error::Compact => NoSignature::Compact,
        other => NoSignature::Other(other),
    })
}
