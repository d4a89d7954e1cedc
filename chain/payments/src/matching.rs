//! Which invoice a movement on a chain is for.
//!
//! | way | how a payment is known |
//! |---|---|
//! | [`Way::Authorization`](crate::invoice::Way) | an EIP-3009 nonce that follows from the invoice ([`nonce`]) |
//! | [`Way::Contract`](crate::invoice::Way) | the event of `StencilPayments`, which names the invoice |
//! | [`Way::UniqueAmount`](crate::invoice::Way) | an amount that no other invoice of this payee and asset has |
//! | [`Way::Nonce`](crate::invoice::Way) | an EIP-3009 nonce that its payer has drawn, and the payer |
//! | [`Way::Hold`](crate::invoice::Way) | the event of `StencilEscrow` that a hold was released |
//!
//! The [`Index`] holds what open invoices expect in hash maps. A block costs as much as it has logs,
//! however many invoices are open. What comes to an address that is watched and matches nothing is
//! [`Found::Unmatched`], so that it is never lost.

mod amounts;
mod found;
mod index;
mod transaction;

use alloy_primitives::{Address, B256, keccak256};

pub use found::{Found, Reason, Unmatched};
pub use index::{Error, Index, MAX_ATTEMPTS, PaidTo, Target};
pub use transaction::{Log, Transaction, Value};

use crate::invoice;

/// The nonce of an EIP-3009 authorisation that pays an invoice directly to its payee: `keccak256` over
/// a domain, the chain, the token, the payee, the invoice and the attempt, each of fixed length. So
/// it fits no other invoice, chain, token or payee. A payer can use a nonce once: who pays in parts
/// takes the next attempt, from 0 below [`MAX_ATTEMPTS`].
#[must_use]
pub fn nonce(chain: u64, token: Address, payee: Address, id: invoice::Id, attempt: u8) -> B256 {
    let mut bytes = Vec::with_capacity(128);
    bytes.extend_from_slice(b"stencil/eip3009-nonce/v1\0");
    bytes.extend_from_slice(&chain.to_be_bytes());
    bytes.extend_from_slice(token.as_slice());
    bytes.extend_from_slice(payee.as_slice());
    bytes.extend_from_slice(&id.0);
    bytes.push(attempt);
    keccak256(bytes)
}
