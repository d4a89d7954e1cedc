//! Where a refund goes: what a payer signs to say so.

use stencil_payments::invoice::{Id, refund};

/// What a payer signs (EIP-191, `personal_sign`).
pub(crate) fn statement(invoice: Id, refund: refund::Id, address: &str) -> String {
    format!("Send refund {refund} of invoice {invoice} to {address}")
}
