//! Contract wallets: only the contract can tell whether it has signed (EIP-1271).

use std::sync::Arc;
use std::time::Duration;

use stencil_payments::abi::calls;
use stencil_payments::port::{Called, Chain};
use stencil_payments::{Address, B256};
use tokio::sync::Semaphore;

/// Contracts that are asked at one time: each costs the chain's endpoints a call.
const AT_ONCE: usize = 8;
/// The longest that a chain may take over one.
const LONGEST: Duration = Duration::from_secs(15);
/// What a `bytes4` is returned in.
const ANSWER_BYTES: usize = 32;

/// Room for asking contracts. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Contracts(Arc<Semaphore>);

impl Default for Contracts {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// Why a contract has not signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotSo {
    /// There is none at the address.
    NoContract,
    /// It says otherwise, or nothing that makes sense.
    Refused(String),
    /// It can't be known now.
    Unknown(String),
}

impl Contracts {
    /// Whether the contract at `wallet` takes a signature as its own.
    pub(super) async fn signed(
        &self,
        chain: &dyn Chain,
        wallet: Address,
        digest: B256,
        signature: &[u8],
    ) -> Result<(), NotSo> {
        let Ok(_room) = self.0.try_acquire() else {
            let why = "too many contract wallets are asked at the moment";
            return Err(NotSo::Unknown(why.to_owned()));
        };
        let asked = ask(chain, wallet, digest, signature);
        let answer = tokio::time::timeout(LONGEST, asked).await;
        answer.unwrap_or_else(|_| {
            let why = format!("no answer within {} s", LONGEST.as_secs());
            Err(NotSo::Unknown(why))
        })
    }
}

async fn ask(
    chain: &dyn Chain,
    wallet: Address,
    digest: B256,
    signature: &[u8],
) -> Result<(), NotSo> {
    let unknown = |unknown: stencil_payments::port::Unknown| NotSo::Unknown(unknown.to_string());
    if !chain.has_code(wallet).await.map_err(unknown)? {
        return Err(NotSo::NoContract);
    }
    let question = calls::is_valid_signature(digest, signature);
    match chain.call(wallet, question).await.map_err(unknown)? {
        Called::Returned(bytes) if bytes.len() != ANSWER_BYTES => Err(NotSo::Refused(format!(
            "it returned {} bytes, where {ANSWER_BYTES} are right (EIP-1271)",
            bytes.len()
        ))),
        Called::Returned(bytes) if calls::returned_is_valid(&bytes) => Ok(()),
        Called::Returned(_) => Err(NotSo::Refused(
            "it does not take the signature as its own".to_owned(),
        )),
        Called::Reverted(_) => Err(NotSo::Refused("it reverted the question".to_owned())),
    }
}
