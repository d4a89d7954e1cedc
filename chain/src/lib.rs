//! Chains that the hub watches and acts on.
//!
//! Money and doors forgive neither a double nor a loss, while reorganisations, endpoints that lag,
//! lie or fall silent, and crashes are the normal case. So this is how a chain is followed:
//!
//! ```text
//! wake (newHeads, only a hint) ─┐
//! poll interval ────────────────┴→ follower ─ head → walk (pure) ─ which block next, by number or by hash
//!                                      │          a parent that differs → back to the last common block
//!                                      ├─ look: header, its bloom filter, logs by block hash
//!                                      ├─ finality: confirmations, or the tags `safe` and `finalized`
//!                                      └─ one transaction: cursor, observations, retractions, what is final
//!                                               → a numbered stream of entries for whoever reads it
//! ```
//!
//! Nothing is taken from a single answer: what is stored was said alike by as many endpoints as
//! [`Settings::agree`] asks for, each block's logs were complete by the block's own bloom filter, and a
//! header's hash was computed, not believed. What can't be known now is *unknown*: neither there nor
//! gone, and asked for again.
//!
//! The middle is pure ([`walk`], [`finality`], [`backfill`], [`interest`], [`event`]) and knows no
//! network, no clock and no store; [`Follower`] is the rim.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod back;
pub mod backfill;
pub mod config;
pub mod connection;
mod decode;
pub mod deploy;
mod error;
pub mod event;
pub mod finality;
mod follower;
pub mod function;
pub mod interest;
mod look;
pub mod plain;
pub mod rpc;
pub mod sender;
pub mod signer;
pub mod single;
mod wake;
pub mod walk;

pub use back::Back;
pub use config::{Options, Preset, Settings};
pub use error::Error;
pub use follower::{Follower, Head, Moment, Pace, Progress};

/// Reads an address: 20 bytes as `0x` and 40 hexadecimal digits. Mixed case has to be EIP-55's
/// checksum, which catches a mistyped one; one case alone carries none.
pub fn address(text: &str) -> Result<[u8; 20], String> {
    let Some(digits) = text.strip_prefix("0x") else {
        return Err("`0x` is missing at its beginning".to_owned());
    };
    if digits.len() != 40 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!(
            "40 hexadecimal digits follow `0x`; here are {} characters",
            digits.chars().count()
        ));
    }
    let address: alloy_primitives::Address =
        text.parse().map_err(|_| "can't be read".to_owned())?;
    let mixed = digits.bytes().any(|byte| byte.is_ascii_lowercase())
        && digits.bytes().any(|byte| byte.is_ascii_uppercase());
    if mixed && address.to_checksum(None) != text {
        return Err(format!(
            "its checksum (EIP-55) is wrong, so a digit may be; with these digits it is {}",
            address.to_checksum(None)
        ));
    }
    Ok(address.into_array())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_mistyped_address_is_caught() {
        let right = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
        let bytes = super::address(right).unwrap();
        assert_eq!(super::address(&right.to_lowercase()).unwrap(), bytes);
        for (text, expected) in [
            ("0x5FbDB2315678afecb367f032d93F642f64180aA3", "checksum"),
            (
                "5FbDB2315678afecb367f032d93F642f64180aa3",
                "`0x` is missing",
            ),
            ("0x5FbDB2315678afecb367f032d93F642f64180a", "here are 38"),
            (
                "0x5FbDB2315678afecb367f032d93F642f64180agg",
                "40 hexadecimal",
            ),
        ] {
            let error = super::address(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
