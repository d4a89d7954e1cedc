//! Who controls a device by what a chain says, without I/O.
//!
//! A device's *passport* (ERC-721, `DevicePassport`) says who owns it; an *access right* (ERC-4907,
//! `AccessRight`) who uses it until when; a *listing* is what an owner signs to sell either
//! (`StencilMarket`). This package knows their interface ([`abi`]), what a passport's document is
//! called ([`cid`]), what an issuer sends and why that is refused ([`issue`]), what a listing's signature is over and what is wrong with one ([`listing`]), who
//! holds a token after what a chain's stream has said of it ([`holder`]), and what that lets them do
//! ([`policy`]).
//!
//! A passport's token id is the Keccak-256 of the device's DID ([`token_of`]); an access right names the
//! device by the same number.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod abi;
pub mod cid;
pub mod holder;
pub mod issue;
pub mod listing;
pub mod policy;

use alloy_primitives::{B256, keccak256};

/// The longest DID that has a passport, in bytes.
pub const MAX_DID: usize = 2_048;

/// The token id of the passport of the device with this DID; `None` where it is none that the contract
/// takes: it begins with `did:`, and has 5 to [`MAX_DID`] bytes.
#[must_use]
pub fn token_of(did: &str) -> Option<B256> {
    let fits = did.starts_with("did:") && (5..=MAX_DID).contains(&did.len());
    fits.then(|| keccak256(did))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passport_is_named_by_the_device_s_did() {
        assert_eq!(token_of("did:web:x"), Some(keccak256("did:web:x")));
        for text in ["", "did:", "urn:x", "DID:web:x"] {
            assert_eq!(token_of(text), None, "{text}");
        }
        assert!(token_of(&format!("did:{}", "x".repeat(MAX_DID - 4))).is_some());
        assert!(token_of(&format!("did:{}", "x".repeat(MAX_DID - 3))).is_none());
    }
}
