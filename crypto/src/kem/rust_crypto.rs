use ml_kem::kem::Decapsulate;
use ml_kem::{B32, DecapsulationKey768, EncapsulationKey768, KeyExport, Seed};
use rand_core::TryCryptoRng;
use zeroize::{Zeroize, Zeroizing};

use super::{
    CIPHERTEXT_BYTES, ENCAPSULATION_KEY_BYTES, Error, Kem, SHARED_SECRET_BYTES, SharedSecret,
    random,
};

/// ML-KEM-768 of the crate `ml-kem`: no_std, no allocation.
///
/// Between the messages only the 64-byte seed is kept and the key pair is expanded
/// again from it: a third more computation, three kilobytes less memory.
#[derive(Debug, Clone, Copy)]
pub struct RustCrypto;

impl Kem for RustCrypto {
    type Secret = Zeroizing<[u8; 64]>;

    fn generate<R: TryCryptoRng + ?Sized>(
        rng: &mut R,
        key: &mut [u8; ENCAPSULATION_KEY_BYTES],
    ) -> Result<Self::Secret, Error> {
        let seed = random::<64, R>(rng)?;
        public_key(&seed, key);
        Ok(seed)
    }

    fn encapsulate<R: TryCryptoRng + ?Sized>(
        rng: &mut R,
        key: &[u8; ENCAPSULATION_KEY_BYTES],
        ciphertext: &mut [u8; CIPHERTEXT_BYTES],
    ) -> Result<SharedSecret, Error> {
        let message = random::<32, R>(rng)?;
        encapsulate(&message, key, ciphertext)
    }

    fn decapsulate(
        secret: &Self::Secret,
        ciphertext: &[u8; CIPHERTEXT_BYTES],
    ) -> Result<SharedSecret, Error> {
        let ciphertext = ciphertext
            .as_slice()
            .try_into()
            .map_err(|_| Error::Internal)?;
        Ok(decapsulate(secret, ciphertext))
    }
}

// The functions below are never inlined: their frames hold tens of kilobytes of
// polynomials, which a caller's frame must not add to its own.

#[inline(never)]
pub(super) fn public_key(seed: &[u8; 64], key: &mut [u8; ENCAPSULATION_KEY_BYTES]) {
    copy_public(&expand(seed), key);
}

#[inline(never)]
fn copy_public(expanded: &DecapsulationKey768, key: &mut [u8; ENCAPSULATION_KEY_BYTES]) {
    key.copy_from_slice(&expanded.encapsulation_key().to_bytes());
}

#[inline(never)]
pub(super) fn encapsulate(
    message: &[u8; 32],
    key: &[u8; ENCAPSULATION_KEY_BYTES],
    ciphertext: &mut [u8; CIPHERTEXT_BYTES],
) -> Result<SharedSecret, Error> {
    let key = key.as_slice().try_into().map_err(|_| Error::Key)?;
    let key = EncapsulationKey768::new(key).map_err(|_| Error::Key)?;
    let mut message = B32::from(*message);
    // "Deterministic" as the message was drawn by our caller, from a generator that may fail.
    let (sent, mut shared) = key.encapsulate_deterministic(&message);
    message.as_mut_slice().zeroize();
    ciphertext.copy_from_slice(&sent);
    Ok(take(&mut shared))
}

#[inline(never)]
fn decapsulate(
    seed: &[u8; 64],
    ciphertext: &ml_kem::kem::Ciphertext<ml_kem::MlKem768>,
) -> SharedSecret {
    // The key is expanded in one frame, which is gone when the other one comes.
    open(&expand(seed), ciphertext)
}

#[inline(never)]
fn open(
    key: &DecapsulationKey768,
    ciphertext: &ml_kem::kem::Ciphertext<ml_kem::MlKem768>,
) -> SharedSecret {
    let mut shared = key.decapsulate(ciphertext);
    take(&mut shared)
}

#[inline(never)]
fn expand(seed: &[u8; 64]) -> DecapsulationKey768 {
    let mut copy = Seed::from(*seed);
    let expanded = DecapsulationKey768::from_seed(copy);
    copy.as_mut_slice().zeroize();
    expanded
}

fn take(shared: &mut ml_kem::SharedKey) -> SharedSecret {
    let mut bytes = Zeroizing::new([0; SHARED_SECRET_BYTES]);
    bytes.copy_from_slice(shared);
    shared.as_mut_slice().zeroize();
    SharedSecret(bytes)
}
