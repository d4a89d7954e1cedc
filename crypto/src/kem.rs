//! ML-KEM-768 behind one trait, so that a handshake runs on either implementation.
//!
//! | implementation | where | why |
//! |---|---|---|
//! | [`RustCrypto`] | firmware, simulators of it | no_std, no allocation, small |
//! | `AwsLc` (feature `std`) | gateways, hubs | mlkem-native, verified in part; the one that TLS uses |
//!
//! Both follow FIPS 203 and agree byte for byte; the same tests and the same
//! Wycheproof vectors run over both.

#[cfg(feature = "std")]
mod aws_lc;
mod rust_crypto;
#[cfg(test)]
mod vectors;

use core::fmt;

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

#[cfg(feature = "std")]
pub use aws_lc::AwsLc;
pub use rust_crypto::RustCrypto;

/// Length of an encapsulation key in bytes (FIPS 203, table 3).
pub const ENCAPSULATION_KEY_BYTES: usize = 1184;
/// Length of a ciphertext in bytes (FIPS 203, table 3).
pub const CIPHERTEXT_BYTES: usize = 1088;
/// Length of a shared secret in bytes.
pub const SHARED_SECRET_BYTES: usize = 32;

/// The implementation that a gateway or hub answers handshakes with: `AwsLc` where
/// there is an operating system, [`RustCrypto`] elsewhere.
#[cfg(feature = "std")]
pub type Preferred = AwsLc;
/// The implementation that a gateway or hub answers handshakes with: `AwsLc` where
/// there is an operating system, [`RustCrypto`] elsewhere.
#[cfg(not(feature = "std"))]
pub type Preferred = RustCrypto;

/// An implementation of ML-KEM-768.
///
/// Keys and ciphertexts are written straight to where they are sent from: they are
/// too big for a microcontroller to copy around.
pub trait Kem {
    /// What the decapsulating side keeps between the two messages. It wipes itself
    /// when dropped.
    type Secret;

    /// Makes a key pair; the public half goes to `key`.
    ///
    /// # Errors
    /// [`Error::Random`] if `rng` fails, [`Error::Internal`] if the implementation does.
    fn generate<R: TryCryptoRng + ?Sized>(
        rng: &mut R,
        key: &mut [u8; ENCAPSULATION_KEY_BYTES],
    ) -> Result<Self::Secret, Error>;

    /// Makes a fresh secret for the holder of `key`; what tells it to them goes to
    /// `ciphertext`.
    ///
    /// # Errors
    /// [`Error::Key`] if `key` fails the check of FIPS 203, section 7.2;
    /// [`Error::Random`] and [`Error::Internal`] as in [`Kem::generate`].
    fn encapsulate<R: TryCryptoRng + ?Sized>(
        rng: &mut R,
        key: &[u8; ENCAPSULATION_KEY_BYTES],
        ciphertext: &mut [u8; CIPHERTEXT_BYTES],
    ) -> Result<SharedSecret, Error>;

    /// Recovers the secret. A ciphertext that was tampered with gives another,
    /// unpredictable secret and no error (implicit rejection).
    ///
    /// # Errors
    /// [`Error::Internal`] if the implementation fails.
    fn decapsulate(
        secret: &Self::Secret,
        ciphertext: &[u8; CIPHERTEXT_BYTES],
    ) -> Result<SharedSecret, Error>;
}

/// What both sides of a key encapsulation know. Wiped when dropped, never printed.
pub struct SharedSecret(Zeroizing<[u8; SHARED_SECRET_BYTES]>);

impl SharedSecret {
    /// The secret's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; SHARED_SECRET_BYTES] {
        &self.0
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(secret)")
    }
}

/// Why a key encapsulation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer's encapsulation key fails the modulus check.
    #[error("the peer's ML-KEM-768 encapsulation key is malformed")]
    Key,
    /// The random number generator failed.
    #[error("the random number generator failed")]
    Random,
    /// The implementation failed, for example for want of memory.
    #[error("the ML-KEM-768 implementation failed")]
    Internal,
}

/// Draws `N` random bytes that are wiped after use.
pub(crate) fn random<const N: usize, R: TryCryptoRng + ?Sized>(
    rng: &mut R,
) -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    rng.try_fill_bytes(bytes.as_mut())
        .map_err(|_| Error::Random)?;
    Ok(bytes)
}
