//! Answers to requests that carry a key of their caller's (`Idempotency-Key`), so that the same
//! request again does nothing again.

use async_trait::async_trait;
use stencil_protocol::id::TenantId;

use crate::Error;

/// Keys of one tenant (or of all operators); with one more the oldest is forgotten.
pub const MAX_ANSWERS: u32 = 10_000;

/// Which request of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    /// The tenant; `None`: an operator asks.
    pub tenant: Option<TenantId>,
    /// Who asks, within it: each has keys of their own.
    pub caller: String,
    /// SHA-256 of the key.
    pub key: [u8; 32],
    /// SHA-256 of what is asked.
    pub request: [u8; 32],
}

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nothing until now: it stands for this request from now on, which is to be done.
    Fresh,
    /// This request, which has been answered so.
    Answered(Vec<u8>),
    /// This request, which is not answered yet, or never will be because the hub ended meanwhile.
    Unanswered,
    /// Another request.
    Another,
}

/// Keys and answers. What is kept as an answer is the caller's affair: it may be sealed.
#[async_trait]
pub trait Answers: Send + Sync + 'static {
    /// Begins a request. Keys of before `after_us` stand for nothing any more.
    async fn begin(&self, keyed: &Keyed, after_us: i64, now_us: i64) -> Result<Begun, Error>;

    /// Keeps the answer of a request that was begun.
    async fn answer(&self, keyed: &Keyed, answer: &[u8]) -> Result<(), Error>;

    /// Forgets a request that was begun and has done nothing.
    async fn forget(&self, keyed: &Keyed) -> Result<(), Error>;
}
