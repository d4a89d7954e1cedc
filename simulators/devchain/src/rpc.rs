//! JSON-RPC 2.0: what is asked and what is answered.

mod answer;
pub(crate) mod envelope;
mod error;
mod eth;
mod fees;
mod params;
mod tools;

pub(crate) use answer::{header as header_answer, log as log_answer};
pub(crate) use error::{Code, Error};
pub(crate) use eth::check_filter;
pub(crate) use params::Params;
pub(crate) use tools::reorg_arguments;

use serde_json::Value;

use crate::faults::Lies;
use crate::node::Node;

/// Who asks, and what that endpoint sees.
pub(crate) struct Caller<'a> {
    pub(crate) node: &'a Node,
    /// Blocks that the endpoint is behind.
    pub(crate) lag: u64,
    /// What it lies about in this answer.
    pub(crate) lies: Lies,
}

/// Answers one call.
///
/// # Errors
/// What JSON-RPC, EIP-1474 and geth have for it.
pub(crate) fn call(caller: &Caller<'_>, method: &str, params: Params) -> Result<Value, Error> {
    match eth::call(caller, method, params)? {
        eth::Answer::Value(value) => Ok(value),
        eth::Answer::NotMine(params) => tools::call(caller, method, params),
    }
}
