//! The post-quantum layer: cipher suites, the device link, TLS policies, the fleet
//! authority and key files.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
pub mod kem;
pub mod link;
pub mod psk;
#[cfg(feature = "std")]
pub mod rng;
pub mod suite;
pub use psk::Psk;
pub use suite::Suite;
