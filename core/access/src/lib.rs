//! Rights to command a device that its gateway checks by itself, also while the hub cannot be
//! reached. Pure: whoever uses this says what time it is and draws what is random.
//!
//! ```text
//! hub:     a right (holder, device, commands) → a short-lived credential, two proofs       [`grant`]
//!          the issuer's keys, the policy, signed status lists → gateway                     [`trust`]
//! gateway: a challenge (gateway, device, command, nonce, time) as a text                    [`challenge`]
//! wallet:  signs that text (EIP-191)
//! gateway: credential + signature → admitted, or refused with the reason                    [`admit()`]
//!          a receipt, chained to the one before → the hub, which checks all of it again     [`receipt`]
//! ```
//!
//! # What holds
//! - A credential is taken only of the one issuer that the hub has named, with **both** proofs,
//!   Ed25519 and ML-DSA-44, and only with a status list that is young enough.
//! - What the wallet signs names the gateway, the device and the command: signed for one door it opens
//!   no other, wherever it was shown.
//! - A challenge takes no memory at the gateway before it is answered, so strangers fill nothing; it is
//!   answered once, and no longer than [`challenge::LIFE_US`]. After a restart none of before holds.
//! - Each text that comes from outside is bounded before it is read.

mod admit;
pub mod challenge;
pub mod grant;
pub mod receipt;
pub mod trust;

pub use admit::{Admitted, Answer, MAX_ANSWER_BYTES, Refused, admit};
pub use challenge::{Challenge, Desk};
pub use grant::Grant;
pub use trust::{Policy, Trust};
