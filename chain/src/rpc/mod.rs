//! Endpoints, over alloy's JSON-RPC client: strict time-outs, bounded answers, and errors by what
//! the caller can do about them.

mod endpoint;
mod failure;
mod quorum;
mod transport;
mod wire;

pub use endpoint::Endpoint;
pub use failure::{Failure, Trouble};
pub use quorum::{Health, Quorum};
pub use wire::{Header, Log, Receipt, Transaction};
