//! The post-quantum layer: how the parts of a fleet prove who they are and keep what
//! they say to themselves, against attackers of today and of later.
//!
//! | module | for | needs |
//! |---|---|---|
//! | [`suite`] | the registry of cipher suites of the device link | core |
//! | [`psk`] | the secret that a device and its gateway share | core |
//! | [`link`] | the device link: handshake and records | core |
//! | [`kem`] | ML-KEM-768 behind one trait | core |
//! | `tls` | TLS 1.3 policies for everything with a TCP stack | `std` |
//! | `authority` | certificates of a fleet | `std` |
//! | `signature` | what a gateway signs, checked without a session | `std` |
//! | `seal` | keys sealed to a hub or a gateway, and at rest | `std` |
//! | `claim` | the codes by which devices are claimed | `std` |
//! | `keyfile` | secrets in files | `std` |
//! | `rng` | the operating system's randomness | `std` |
//!
//! The core needs neither an operating system nor an allocator: firmware takes it
//! without the feature `std`.
//!
//! # Which secrecy, against whom
//!
//! Both kinds of link agree on keys by X25519 *and* ML-KEM-768 (FIPS 203): to read
//! what was recorded, an attacker must break both. Devices prove themselves to their
//! gateway by a pre-shared key, everything else by ML-DSA-65 (FIPS 204) certificates.
//! Connections to systems of others may be classical; they are recorded as such.
//!
//! # Rules of this crate
//!
//! - No fallback that isn't an explicit setting: [`suite::Suite`] and `tls::Policy`
//!   start at their strictest.
//! - What a stranger sends leads to an `Err`, never to a panic, an allocation that
//!   grows with it, or a change of state.
//! - Secrets wipe themselves when dropped, are compared in constant time and have a
//!   `Debug` that doesn't show them.

#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(feature = "std")]
pub mod authority;
#[cfg(feature = "std")]
pub mod claim;
pub mod kem;
#[cfg(feature = "std")]
pub mod keyfile;
pub mod link;
pub mod psk;
#[cfg(feature = "std")]
pub mod rng;
#[cfg(feature = "std")]
pub mod seal;
#[cfg(feature = "std")]
pub mod signature;
pub mod suite;
#[cfg(feature = "std")]
pub mod tls;

pub use psk::Psk;
pub use suite::Suite;
