use std::fmt;
use std::path::Path;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::Error;
use crate::keyfile;

/// A certificate chain, the holder's own certificate first, and its private key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// What a listener presents.
#[derive(Debug)]
pub struct ServerIdentity {
    /// The ML-DSA-65 identity.
    pub post_quantum: Identity,
    /// The ECDSA P-256 identity, for clients of a `prefer` listener that know no
    /// ML-DSA. A strict listener never presents it.
    pub classical: Option<Identity>,
}

impl Identity {
    /// Takes a chain and a key in PEM.
    ///
    /// # Errors
    /// [`Error::Chain`] or [`Error::Key`].
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Self, Error> {
        let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Error::Chain(error.to_string()))?;
        if chain.is_empty() {
            return Err(Error::Chain("there is no CERTIFICATE section".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|error| Error::Key(error.to_string()))?;
        Ok(Self { chain, key })
    }

    /// Reads a chain and a key from files; the key's must be its owner's only.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::In`] with the file and what is wrong in it.
    pub fn load(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, Error> {
        let (chain, key) = (chain.as_ref(), key.as_ref());
        let chain_pem = keyfile::read_public_text(chain)?;
        let key_pem = keyfile::read_text(key)?;
        Self::from_pem(&chain_pem, &key_pem).map_err(|source| {
            let path = if matches!(source, Error::Key(_)) {
                key
            } else {
                chain
            };
            Error::In {
                path: path.to_owned(),
                source: Box::new(source),
            }
        })
    }

    /// The chain in DER, the holder's own certificate first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Loads the key and checks that the first certificate is its own.
    pub(crate) fn certified(&self, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
        Ok(CertifiedKey::from_der(
            self.chain.clone(),
            self.key.clone_key(),
            provider,
        )?)
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("chain", &self.chain.len())
            .finish_non_exhaustive()
    }
}
