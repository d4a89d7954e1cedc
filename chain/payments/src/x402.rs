//! x402, version 2: a price in a 402, a signed payment in a header, and what comes of it.
//!
//! | header | direction | what it holds, base64 of JSON |
//! |---|---|---|
//! | [`PAYMENT_REQUIRED`] | answer of 402 | [`PaymentRequired`]: the [`Requirements`] of which one is to be met |
//! | [`PAYMENT_SIGNATURE`] | request | [`PaymentPayload`] |
//! | [`PAYMENT_RESPONSE`] | answer | [`SettleResponse`] |
//!
//! The scheme is `exact` on networks `eip155:…` with `assetTransferMethod` `eip3009`. What a stranger
//! sends goes through [`header::decode`], which has bounds, and [`verify()`], which is pure: what it
//! has to ask a chain comes in as [`Answers`]. Reasons of a refusal have the specification's names
//! ([`Reason`]), and a text for people that says what would be right.
//!
//! # Device commands
//! What a device does is charged when it says that it has done it: [`charge`]. An authorisation is
//! no lock on funds, since its payer can spend them or cancel it. So a bare one serves only what can
//! be undone, within a limit of what may be lost to a payer ([`exposure`]); what can't be undone
//! needs money that the contract holds: [`hold`].

pub mod charge;
pub mod exposure;
pub mod header;
pub mod hold;
mod offer;
mod questions;
mod reason;
mod verify;
mod wire;

pub use offer::{Offer, Timing};
pub use questions::{Questions, authorization_state};
pub use reason::{Reason, Refused};
pub use verify::{Answers, Checked, Claim, LONGER_S, MAX_ACCEPTS, NonceState, Verified, verify};
pub use wire::{
    Authorization, ExactPayload, Extra, PaymentPayload, PaymentRequired, Requirements, Resource,
    SettleResponse, VerifyResponse,
};

/// The header of a 402 that says what is to be paid.
pub const PAYMENT_REQUIRED: &str = "PAYMENT-REQUIRED";
/// The header of a request that pays.
pub const PAYMENT_SIGNATURE: &str = "PAYMENT-SIGNATURE";
/// The header of an answer that says what came of a payment.
pub const PAYMENT_RESPONSE: &str = "PAYMENT-RESPONSE";
/// The header by which clients of version 1 pay; see [`v1_answer`].
pub const V1_PAYMENT: &str = "X-PAYMENT";
/// The version that is spoken here.
pub const VERSION: u32 = 2;
/// The scheme that is spoken here.
pub const SCHEME: &str = "exact";
/// The scheme by which money is held until a device has acted; see [`hold`].
pub const HOLD_SCHEME: &str = "stencil-hold";
/// How assets are transferred here.
pub const METHOD: &str = "eip3009";

/// The body, JSON, of a 402 to a client that pays with [`V1_PAYMENT`]: in the form that clients of
/// version 1 read, it says that they are too old. It offers nothing, so that nothing is signed that
/// nobody would take.
#[must_use]
pub fn v1_answer() -> String {
    let error = format!(
        "{}: this server speaks x402 version {VERSION}: read the header {PAYMENT_REQUIRED}, and pay \
         with the header {PAYMENT_SIGNATURE}",
        Reason::InvalidX402Version.name()
    );
    serde_json::json!({ "x402Version": 1, "error": error, "accepts": [] }).to_string()
}
