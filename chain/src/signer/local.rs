//! A key in this process.

use std::path::Path;

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{Error, Signed, Signer, keystore};

/// Whether a key may be given as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainKeys {
    /// No.
    Refused,
    /// Yes: for tests and dev chains, where nothing is worth anything.
    AllowedForTests,
}

/// An account whose key is in this process. Its key is wiped at its end, and shown nowhere.
pub struct Local {
    signer: PrivateKeySigner,
}

impl Local {
    /// From a keystore file (Web3 Secret Storage, version 3). Takes a second and 256 MiB with geth's
    /// cost: call it where that holds nobody up.
    pub fn keystore(path: &Path, password: &str) -> Result<Self, Error> {
        let key = keystore::open(path, password)?;
        Self::of(&key)
    }

    /// From 64 hexadecimal digits, with or without `0x`.
    pub fn plain(key: &str, allowed: PlainKeys) -> Result<Self, Error> {
        if allowed == PlainKeys::Refused {
            return Err(Error::PlainKey);
        }
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(key.strip_prefix("0x").unwrap_or(key), bytes.as_mut_slice())
            .map_err(|_| Error::Key)?;
        Self::of(&bytes)
    }

    fn of(key: &[u8; 32]) -> Result<Self, Error> {
        let signer = PrivateKeySigner::from_slice(key).map_err(|_| Error::Key)?;
        Ok(Self { signer })
    }
}

#[async_trait]
impl Signer for Local {
    fn address(&self) -> Address {
        self.signer.address()
    }

    async fn sign(&self, transaction: &TxEip1559) -> Result<Signed, Error> {
        let hash: B256 = transaction.signature_hash();
        let signature = self.signer.sign_hash_sync(&hash).map_err(|_| Error::Key)?;
        let signed = TxEnvelope::from(transaction.clone().into_signed(signature));
        Ok(Signed {
            tx: signed.tx_hash().0,
            raw: signed.encoded_2718(),
        })
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local")
            .field("address", &self.signer.address())
            .finish_non_exhaustive()
    }
}
