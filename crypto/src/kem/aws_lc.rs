use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use super::{
    CIPHERTEXT_BYTES, ENCAPSULATION_KEY_BYTES, Error, Kem, SHARED_SECRET_BYTES, SharedSecret,
};

/// ML-KEM-768 of AWS-LC, through aws-lc-rs.
///
/// It draws from AWS-LC's own generator, which the operating system seeds; the
/// generator that is passed in is not used.
#[derive(Debug, Clone, Copy)]
pub struct AwsLc;

impl Kem for AwsLc {
    type Secret = DecapsulationKey;

    fn generate<R: TryCryptoRng + ?Sized>(
        _rng: &mut R,
        key: &mut [u8; ENCAPSULATION_KEY_BYTES],
    ) -> Result<Self::Secret, Error> {
        let secret = DecapsulationKey::generate(&ML_KEM_768).map_err(|_| Error::Internal)?;
        let public = secret.encapsulation_key().map_err(|_| Error::Internal)?;
        let bytes = public.key_bytes().map_err(|_| Error::Internal)?;
        *key = bytes.as_ref().try_into().map_err(|_| Error::Internal)?;
        Ok(secret)
    }

    fn encapsulate<R: TryCryptoRng + ?Sized>(
        _rng: &mut R,
        key: &[u8; ENCAPSULATION_KEY_BYTES],
        ciphertext: &mut [u8; CIPHERTEXT_BYTES],
    ) -> Result<SharedSecret, Error> {
        let key = EncapsulationKey::new(&ML_KEM_768, key).map_err(|_| Error::Key)?;
        // The modulus is checked here and not in `new`.
        let (sent, shared) = key.encapsulate().map_err(|_| Error::Key)?;
        *ciphertext = sent.as_ref().try_into().map_err(|_| Error::Internal)?;
        take(shared.as_ref())
    }

    fn decapsulate(
        secret: &Self::Secret,
        ciphertext: &[u8; CIPHERTEXT_BYTES],
    ) -> Result<SharedSecret, Error> {
        let shared = secret
            .decapsulate(Ciphertext::from(ciphertext.as_slice()))
            .map_err(|_| Error::Internal)?;
        take(shared.as_ref())
    }
}

/// Copies the secret out; the original wipes itself when dropped.
fn take(shared: &[u8]) -> Result<SharedSecret, Error> {
    let mut bytes = Zeroizing::new([0; SHARED_SECRET_BYTES]);
    if shared.len() != bytes.len() {
        return Err(Error::Internal);
    }
    bytes.copy_from_slice(shared);
    Ok(SharedSecret(bytes))
}
