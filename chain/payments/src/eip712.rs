//! EIP-3009 authorisations: their EIP-712 digests, and who signed them.
//!
//! A payer signs off the chain that `value` of a token may go from them to somebody, once, within a
//! window of time; anybody may bring that to the token's contract. [`Authorization`] is what is
//! signed, [`Domain`] the token that it is signed for, [`check`] tells who signed.
//!
//! # Which signatures are taken
//! 65 bytes `r ‖ s ‖ v` with `v` of 27 or 28 (0 and 1 are taken as the same). Refused are
//! - `s` in the upper half of the curve's order (EIP-2): every signature has a twin there, and the
//!   tokens' contracts refuse it;
//! - the 64 bytes of EIP-2098: the tokens' contracts take `(v, r, s)` or 65 bytes, and a payment must
//!   not be accepted that can't be settled.
//!
//! Anything longer can only be the signature of a contract wallet (EIP-1271, EIP-6492), and 65
//! bytes by another key than `from`'s may be: whether such a one holds, only the wallet's contract
//! can say. That is [`Signed::AskContract`] and [`Signed::ByAnother`].

mod authorization;
mod signature;

pub use authorization::{Authorization, Domain, Kind, MAX_DOMAIN_BYTES};
pub use signature::{Error, MAX_SIGNATURE_BYTES, Signed, check};

/// The digest that a wallet signs of a text that people read (EIP-191, `personal_sign`).
#[must_use]
pub fn text_digest(text: &str) -> alloy_primitives::B256 {
    alloy_primitives::eip191_hash_message(text)
}
