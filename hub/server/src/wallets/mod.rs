//! Wallets that sign in (EIP-4361): what they are asked to sign, and whether they have.
//!
//! ```text
//! challenge: nonce (kept in the store, once) + text ── wallet signs ──→ text + signature
//!   → parsed → nonce used up → says what was asked for? → holds now? → signed by the account,
//!     or by a contract that says so (EIP-1271) → a session
//! ```
//!
//! A nonce is used by the first attempt that names it, whatever comes of it: nobody tries twice, and no
//! attempt asks a chain more than once.

mod challenge;
mod contract;
mod verify;

pub(crate) use challenge::{Asked, Challenge, LIFE_US, Origin};
pub(crate) use contract::Contracts;
pub(crate) use verify::{NotSigned, Proved, verify};
