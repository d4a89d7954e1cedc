//! Roots of data on a chain, without I/O: what is sent to `StencilAnchor`, and what shows to anybody
//! who has a block's hash that it was.
//!
//! ```text
//! block's hash ─keccak-256→ header ─root of receipts→ receipt of the transaction
//!   → its log `Anchored` of the contract → publisher, series, number, interval, root
//! ```
//!
//! A document that has this needs no node: whoever knows the hash of one block, from a node, an explorer
//! or a friend, checks it alone. The path through the receipts is as in the Yellow Paper, appendix D.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod abi;
mod check;
mod receipts;
mod rlp;

pub use abi::{Append, Head, head_of, read_head};
pub use check::{Anchored, Fault, check};
pub use receipts::{NotShown, Receipt, Shown, receipts_root_of, show};

use sha2::{Digest as _, Sha256};
use stencil_protocol::id::TenantId;

/// The name of a tenant's series: its id does not stand on the chain.
#[must_use]
pub fn series(tenant: &TenantId) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"stencil-series-1\0")
        .chain_update(tenant.as_str())
        .finalize()
        .into()
}
