//! Who signs transactions: a keystore file, a remote signer, or, for tests only, a plain key.
//!
//! A signer gets a whole transaction, never a hash: one that is elsewhere can look at what it signs.
//! What comes back from there is checked to be that transaction, by that account.

mod absent;
mod keystore;
mod local;
mod remote;

pub use absent::Absent;
pub use keystore::{Cost, create, open};
pub use local::{Local, PlainKeys};
pub use remote::Remote;

use alloy_consensus::TxEip1559;
use alloy_primitives::Address;
use async_trait::async_trait;

/// A signed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Its hash.
    pub tx: [u8; 32],
    /// Its bytes (EIP-2718).
    pub raw: Vec<u8>,
}

/// An account that signs.
#[async_trait]
pub trait Signer: Send + Sync + 'static {
    /// The account.
    fn address(&self) -> Address;

    /// Whether it can sign at all.
    fn can_sign(&self) -> bool {
        true
    }

    /// Signs a transaction (EIP-1559). The same one may be asked for again.
    async fn sign(&self, transaction: &TxEip1559) -> Result<Signed, Error>;
}

/// Why there is no signature, or no signer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A keystore file can't be read or written.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What was wrong, and what would be right.
        why: String,
    },
    /// A keystore file can't be read, or others may read it, too.
    #[error(transparent)]
    Secret(#[from] stencil_crypto::keyfile::Error),
    /// The password of a keystore is another.
    #[error("{path}: the password is wrong, or the file is damaged")]
    Password {
        /// The file.
        path: String,
    },
    /// A plain key where none is allowed.
    #[error("plain keys are for tests: set it to be allowed, or use a keystore file")]
    PlainKey,
    /// Something is no key.
    #[error("no private key: 32 bytes, not zero and below the order of secp256k1")]
    Key,
    /// The hub has the account's key no more.
    #[error("the key of {account} is not set any more")]
    Absent {
        /// The account.
        account: Address,
    },
    /// A remote signer gave no answer that can be used: whether it has signed is unknown, and does
    /// no harm.
    #[error("remote signer {signer}: {why}")]
    Remote {
        /// Host and port.
        signer: String,
        /// What it said.
        why: String,
    },
    /// A remote signer signed something else.
    #[error("remote signer {signer} signed something else: {why}")]
    Foreign {
        /// Host and port.
        signer: String,
        /// What differs.
        why: String,
    },
}
