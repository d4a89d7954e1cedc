//! Endpoints, over alloy's JSON-RPC client: strict time-outs, bounded answers, and errors by what
//! the caller can do about them.

mod account;
mod contract;
mod endpoint;
mod failure;
mod lookup;
mod quorum;
mod revert;
mod transport;
mod wire;

mod evidence;

pub use endpoint::Endpoint;
pub use failure::{Failure, Trouble};
pub use quorum::{Health, Quorum};
pub use revert::Revert;
pub use wire::{Header, Log, Receipt, Transaction};

use std::time::Duration;

use alloy_rpc_client::RpcClient;
use alloy_transport::TransportError;
use url::Url;

/// A client of another service that speaks JSON-RPC.
pub(crate) fn client(
    url: &Url,
    timeout: Duration,
    max_bytes: usize,
) -> Result<RpcClient, crate::Error> {
    let transport = transport::Bounded {
        client: endpoint::http(timeout)?,
        url: url.clone(),
        max_bytes,
    };
    Ok(RpcClient::new(transport, false))
}

/// An error of such a client, sorted.
pub(crate) fn failed(error: TransportError, method: &str) -> Failure {
    failure::of(error, method)
}

/// An error of such a client, in words.
pub(crate) fn told(error: TransportError, method: &str) -> String {
    failed(error, method).to_string()
}
