//! Private keys, each of a seed of 32 bytes.
//!
//! Ed25519 signs the same message the same way each time; ML-DSA mixes in randomness of AWS-LC
//! (FIPS 204's hedged form), so that a fault in the machine does not tell the key.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::signature::{
    Ed25519KeyPair, KeyPair as _, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, PqdsaKeyPair,
};

use zeroize::Zeroizing;

use crate::multikey::{self, Algorithm, PublicKey};

/// Bytes of a seed.
pub const SEED_BYTES: usize = 32;

/// Why a key cannot be made or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing here signs by that algorithm.
    #[error("{0} keys are for checking only: Ed25519, ML-DSA-44 and ML-DSA-65 sign")]
    ChecksOnly(Algorithm),
    /// The library refused, which it does not for a seed of the right size.
    #[error("the {0} key cannot be used")]
    Library(Algorithm),
}

enum Pair {
    Ed25519(Box<Ed25519KeyPair>),
    MlDsa(Box<PqdsaKeyPair>),
}

/// A private key.
pub struct SecretKey {
    pair: Pair,
    public: PublicKey,
}

impl SecretKey {
    /// The key of a seed, which has to be drawn at random and kept secret.
    ///
    /// # Errors
    /// [`Error::ChecksOnly`] for an elliptic curve of ECDSA.
    pub fn from_seed(algorithm: Algorithm, seed: &[u8; SEED_BYTES]) -> Result<Self, Error> {
        let refused = |_| Error::Library(algorithm);
        let pair = match algorithm {
            Algorithm::Ed25519 => Pair::Ed25519(Box::new(
                Ed25519KeyPair::from_seed_unchecked(seed).map_err(refused)?,
            )),
            Algorithm::MlDsa44 => Pair::MlDsa(Box::new(
                PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, seed).map_err(refused)?,
            )),
            Algorithm::MlDsa65 => Pair::MlDsa(Box::new(
                PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, seed).map_err(refused)?,
            )),
            other => return Err(Error::ChecksOnly(other)),
        };
        Self::of(algorithm, pair)
    }

    /// One of several keys of a seed: each algorithm's is another, and none tells another's.
    ///
    /// # Errors
    /// As [`SecretKey::from_seed`].
    pub fn derived(algorithm: Algorithm, seed: &[u8; SEED_BYTES]) -> Result<Self, Error> {
        let refused = |_| Error::Library(algorithm);
        let mut own = Zeroizing::new([0; SEED_BYTES]);
        Salt::new(HKDF_SHA256, b"stencil issuer v1")
            .extract(seed)
            .expand(&[algorithm.name().as_bytes()], HKDF_SHA256)
            .and_then(|key| key.fill(own.as_mut()))
            .map_err(refused)?;
        Self::from_seed(algorithm, &own)
    }

    fn of(algorithm: Algorithm, pair: Pair) -> Result<Self, Error> {
        let bytes = match &pair {
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::MlDsa(pair) => pair.public_key().as_ref(),
        };
        let public = PublicKey::new(algorithm, bytes)
            .map_err(|_: multikey::Error| Error::Library(algorithm))?;
        Ok(Self { pair, public })
    }

    /// What others check its signatures by.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message.
    ///
    /// # Errors
    /// [`Error::Library`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let algorithm = self.public.algorithm();
        let refused = |_| Error::Library(algorithm);
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.try_sign(message).map_err(refused)?.as_ref().to_vec()),
            Pair::MlDsa(pair) => {
                let mut signature = vec![0; algorithm.signature_bytes()];
                let length = pair.sign(message, &mut signature).map_err(refused)?;
                signature.truncate(length);
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, secret)", self.public.algorithm())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_checked_and_what_is_changed_is_refused() {
        for algorithm in [Algorithm::Ed25519, Algorithm::MlDsa44, Algorithm::MlDsa65] {
            let key = SecretKey::from_seed(algorithm, &[7; 32]).expect("a key");
            let public = key.public_key();
            let mut signature = key.sign(b"28 degrees").expect("a signature");
            assert_eq!(public.verify(b"28 degrees", &signature), Ok(()));
            assert!(public.verify(b"29 degrees", &signature).is_err());
            signature[10] ^= 1;
            assert!(public.verify(b"28 degrees", &signature).is_err());
            assert!(public.verify(b"28 degrees", &signature[1..]).is_err());
            assert_eq!(PublicKey::parse(&public.to_string()).as_ref(), Ok(public));
            let other = SecretKey::from_seed(algorithm, &[8; 32]).expect("a key");
            let signature = other.sign(b"28 degrees").expect("a signature");
            assert!(public.verify(b"28 degrees", &signature).is_err());
            assert!(!format!("{key:?}").contains("7, 7"));
        }
        let keys = [Algorithm::MlDsa44, Algorithm::MlDsa65, Algorithm::Ed25519].map(|algorithm| {
            let derived = SecretKey::derived(algorithm, &[7; 32]).expect("a key");
            let direct = SecretKey::from_seed(algorithm, &[7; 32]).expect("a key");
            assert_ne!(derived.public_key(), direct.public_key());
            derived.public_key().as_bytes()[..32].to_vec()
        });
        assert!(keys[0] != keys[1] && keys[1] != keys[2]);
        assert_eq!(
            SecretKey::from_seed(Algorithm::P256, &[7; 32]).err(),
            Some(Error::ChecksOnly(Algorithm::P256))
        );
    }
}
