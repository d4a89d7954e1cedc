//! Signed firmware updates: what is signed, by whom, and how each party checks it.
//!
//! An update is an image and a *manifest* that says what the image is and which devices it is
//! for. The manifest is a SUIT envelope (draft-ietf-suit-manifest, CBOR) with a `COSE_Sign`
//! (RFC 9052) of two required signers, Ed25519 and ML-DSA-65; hub and gateway verify both. A
//! microcontroller cannot afford ML-DSA, so the same facts are also put into a [`header`] of
//! fixed layout, signed by [`lms`]: about a kilobyte of stack, hashes only.
//!
//! | module | what it holds | needs |
//! |---|---|---|
//! | [`id`] | vendor and class: for whom an image is | core |
//! | [`header`] | the 128 bytes that a device checks, and the package it downloads | core |
//! | [`lms`] | verification of LMS signatures (RFC 8554) | core |
//! | [`device`] | what a device accepts, and each reason to refuse | core |
//! | `manifest` | the SUIT manifest | `std` |
//! | `envelope` | the manifest with its signatures, and their verification | `std` |
//! | `trust` | the public keys that an installation trusts | `std` |
//! | `succession` | which keys follow them, signed by those before | `std` |
//! | `signing` | keys, and the state that keeps an LMS leaf from being used twice | `std` |
//!
//! Without features the crate is `no_std` and does not allocate. Whatever a stranger sends leads
//! to an error that says what was wrong, never to a panic, and all sizes are bounded.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod device;
#[cfg(feature = "std")]
pub mod envelope;
pub mod header;
pub mod id;
pub mod lms;
#[cfg(feature = "std")]
pub mod manifest;
#[cfg(feature = "std")]
pub mod signing;
#[cfg(feature = "std")]
pub mod succession;
#[cfg(feature = "std")]
pub mod trust;

pub use device::{Device, Refusal};
pub use header::Header;
