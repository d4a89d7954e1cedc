use rand_core::TryCryptoRng;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};

use super::{Error, X25519_BYTES};
use crate::kem;

/// An X25519 key pair for one handshake; the secret wipes itself.
pub(super) struct Ephemeral(StaticSecret);

impl Ephemeral {
    /// Draws a key pair; the public half goes to `public`.
    pub(super) fn generate<R: TryCryptoRng + ?Sized>(
        rng: &mut R,
        public: &mut [u8; X25519_BYTES],
    ) -> Result<Self, Error> {
        let secret = StaticSecret::from(*kem::random::<X25519_BYTES, R>(rng)?);
        *public = PublicKey::from(&secret).to_bytes();
        Ok(Self(secret))
    }

    /// The shared secret with the peer's public key. The all-zero one is refused
    /// (RFC 7748, section 6.1): any party to the link must contribute to its keys.
    pub(super) fn agree(&self, peer: &[u8; X25519_BYTES]) -> Result<SharedSecret, Error> {
        let shared = self.0.diffie_hellman(&PublicKey::from(*peer));
        if shared.was_contributory() {
            Ok(shared)
        } else {
            Err(Error::LowOrder)
        }
    }
}
