//! Signatures of what a gateway says, by the key of its certificate (ML-DSA-65, FIPS 204), that are
//! checked without a session.
//!
//! The context of the signature is empty. What is signed has to say by its first bytes what it is, so
//! that it is no message that the key signs in TLS (RFC 8446, section 4.4.3: 64 spaces) or in a request
//! for a certificate (a SEQUENCE in DER).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey};
use rustls::SignatureScheme;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls::{self, Identity, Policy, provider};

/// The algorithm's name.
pub const ALGORITHM: &str = "ML-DSA-65";
/// The object identifier of ML-DSA-65 (RFC 9881).
const OID: &str = "2.16.840.1.101.3.4.3.18";

/// Why something is not signed, or a signature is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key cannot sign.
    #[error("cannot sign: {0}")]
    Sign(String),
    /// The bytes are no certificate.
    #[error("unusable certificate: {0}")]
    Certificate(String),
    /// The signature is not one of this key over this message.
    #[error("the signature is not one of this key over this message")]
    Wrong,
}

/// The key of a gateway's certificate.
#[derive(Clone)]
pub struct SigningKey {
    key: Arc<dyn rustls::sign::SigningKey>,
    certificate: Vec<u8>,
}

impl SigningKey {
    /// That of an identity whose key is one of ML-DSA-65.
    ///
    /// # Errors
    /// [`tls::Error`] if it cannot be loaded, or is of another algorithm.
    pub fn of(identity: &Identity) -> Result<Self, tls::Error> {
        let certified = identity.certified(&provider(Policy::Strict))?;
        let certificate = certified.cert.first().map(|der| der.to_vec());
        let key = Self {
            key: certified.key,
            certificate: certificate.unwrap_or_default(),
        };
        match key.key.choose_scheme(&[SignatureScheme::ML_DSA_65]) {
            Some(_) => Ok(key),
            None => Err(tls::Error::Algorithm {
                place: "gateway's identity",
                expected: ALGORITHM,
            }),
        }
    }

    /// The certificate in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Signs a message.
    ///
    /// # Errors
    /// [`Error::Sign`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signer = self.key.choose_scheme(&[SignatureScheme::ML_DSA_65]);
        let signer =
            signer.ok_or_else(|| Error::Sign("the key is none of ML-DSA-65".to_owned()))?;
        signer
            .sign(message)
            .map_err(|error| Error::Sign(error.to_string()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

/// Verifies a signature by the key of a certificate. Who the certificate is from is not looked at.
///
/// # Errors
/// [`Error::Certificate`], [`Error::Wrong`].
pub fn verify(certificate: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Error> {
    let (rest, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| Error::Certificate(error.to_string()))?;
    if !rest.is_empty() {
        return Err(Error::Certificate("bytes follow it".to_owned()));
    }
    let key = parsed.public_key();
    if key.algorithm.algorithm.to_id_string() != OID {
        return Err(Error::Certificate(format!(
            "its key is none of {ALGORITHM}"
        )));
    }
    UnparsedPublicKey::new(&ML_DSA_65, &key.subject_public_key.data)
        .verify(message, signature)
        .map_err(|_| Error::Wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;

    #[test]
    fn a_gateway_signs_and_nobody_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path().join("a"), "Acme").unwrap();
        let [one, other] = ["gw-1", "gw-2"].map(|name| {
            let issued = authority.issue_gateway("acme", name).unwrap();
            let (chain, key) = (dir.path().join("c"), dir.path().join(name));
            issued.write(&chain, &key).unwrap();
            let identity = Identity::load(&chain, &key).unwrap();
            std::fs::remove_file(chain).unwrap();
            SigningKey::of(&identity).unwrap()
        });
        let mut signature = one.sign(b"message").unwrap();
        assert_eq!(signature.len(), 3_309);
        verify(one.certificate(), b"message", &signature).unwrap();
        let wrong = |result| matches!(result, Err(Error::Wrong));
        assert!(wrong(verify(one.certificate(), b"massage", &signature)));
        assert!(wrong(verify(other.certificate(), b"message", &signature)));
        assert!(wrong(verify(
            one.certificate(),
            b"message",
            &signature[1..]
        )));
        signature[77] ^= 1;
        assert!(wrong(verify(one.certificate(), b"message", &signature)));
        let none = verify(b"none", b"message", &signature);
        assert!(matches!(none, Err(Error::Certificate(_))));
    }
}
