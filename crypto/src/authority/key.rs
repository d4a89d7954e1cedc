use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair,
};
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use super::Algorithm;

/// The signing key of a root, over AWS-LC: rcgen itself reads no ML-DSA key back.
pub(super) enum RootKey {
    MlDsa65(PqdsaKeyPair),
    EcdsaP256(EcdsaKeyPair),
}

impl RootKey {
    /// Reads a PKCS #8 key in PEM that must be of `algorithm`; says what is wrong with it.
    pub(super) fn from_pem(algorithm: Algorithm, pem: &str) -> Result<Self, String> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| format!("its key is no PKCS #8 key in PEM: {error}"))?;
        let der = der.secret_pkcs8_der();
        let wrong = |_| format!("its key is no {algorithm} key");
        Ok(match algorithm {
            Algorithm::MlDsa65 => {
                Self::MlDsa65(PqdsaKeyPair::from_pkcs8(&ML_DSA_65_SIGNING, der).map_err(wrong)?)
            }
            Algorithm::EcdsaP256 => Self::EcdsaP256(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der).map_err(wrong)?,
            ),
        })
    }
}

impl PublicKeyData for RootKey {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::MlDsa65(key) => key.public_key().as_ref(),
            Self::EcdsaP256(key) => key.public_key().as_ref(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::MlDsa65(_) => Algorithm::MlDsa65.signature(),
            Self::EcdsaP256(_) => Algorithm::EcdsaP256.signature(),
        }
    }
}

impl SigningKey for RootKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self {
            Self::MlDsa65(key) => {
                let mut signature = vec![0; key.algorithm().signature_len()];
                let length = key
                    .sign(message, &mut signature)
                    .map_err(|_| rcgen::Error::RemoteKeyError)?;
                signature.truncate(length);
                Ok(signature)
            }
            Self::EcdsaP256(key) => key
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| rcgen::Error::RemoteKeyError),
        }
    }
}
