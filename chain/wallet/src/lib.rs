//! Sign-in with wallets: EIP-4361 without I/O.
//!
//! A wallet signs a text that people can read (EIP-191), which says where they sign in, as which
//! account, on which chain, and until when it holds. Whoever is signed in to checks three things:
//!
//! 1. what the text says, by its grammar: [`Message::parse`];
//! 2. that it says what was asked for, and holds now: [`Terms`], [`Message::holds_at`],
//!    [`Message::issued_within`];
//! 3. that the account has signed exactly this text: [`signed_by`]. Of a contract wallet only the
//!    contract can tell ([`Signed::AskContract`], [`Signed::ByAnother`]; EIP-1271).
//!
//! There is no clock, no chain and no random source here: times come in, and who holds the nonces sees
//! to it that each is used once.
//!
//! ```
//! use stencil_wallet::{Message, Moment};
//!
//! let message = Message {
//!     scheme: None,
//!     domain: "hub.example.org".into(),
//!     address: "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2".parse()?,
//!     is_checksummed: true,
//!     statement: Some("Sign in to tenant acme.".into()),
//!     uri: "https://hub.example.org/login".into(),
//!     chain_id: 8453,
//!     nonce: "32891757".into(),
//!     issued_at: Moment::of(1_700_000_000_000_000),
//!     expiration_time: None,
//!     not_before: None,
//!     request_id: None,
//!     resources: Vec::new(),
//! };
//! let text = message.text()?;
//! assert_eq!(Message::parse(&text)?, message);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod error;
mod grammar;
mod message;
mod signed;
mod terms;

pub use alloy_primitives::Address;
pub use error::{Error, Part};
pub use message::{MAX_MESSAGE_BYTES, MIN_NONCE, Message, Moment};
pub use signed::{MAX_SIGNATURE_BYTES, NoSignature, Signed, digest, signed_by};
pub use terms::{Refused, Terms};
