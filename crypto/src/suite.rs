//! The registry of cipher suites of the device link.
//!
//! A suite fixes key agreement, AEAD and hash together; nothing is negotiated
//! piece by piece. The device offers numbers, the gateway chooses; offer and choice
//! are part of the transcript, so that nobody can move two peers to another suite unseen.

use core::fmt;

/// A cipher suite of the device link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(u16)]
pub enum Suite {
    /// X25519 with ML-KEM-768 (FIPS 203), ChaCha20-Poly1305 (RFC 8439), SHA-256.
    X25519MlKem768ChaChaPoly = 0x0001,
}

impl Suite {
    /// Every suite that this build knows, the most preferred first.
    pub const ALL: &'static [Suite] = &[Suite::X25519MlKem768ChaChaPoly];

    /// The suite that is used where nothing else is asked for.
    pub const DEFAULT: Suite = Suite::X25519MlKem768ChaChaPoly;

    /// The suite with this number on the wire.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Suite> {
        Self::ALL.iter().copied().find(|suite| suite.id() == id)
    }

    /// The suite with this [`name`](Suite::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Suite> {
        Self::ALL.iter().copied().find(|suite| suite.name() == name)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Suite::X25519MlKem768ChaChaPoly => 0x0001,
        }
    }

    /// The name in logs, settings and inventories.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Suite::X25519MlKem768ChaChaPoly => "X25519MLKEM768-CHACHA20-POLY1305-SHA256",
        }
    }

    /// The key agreement.
    #[must_use]
    pub const fn kem(self) -> &'static str {
        match self {
            Suite::X25519MlKem768ChaChaPoly => "X25519+ML-KEM-768",
        }
    }

    /// The authenticated cipher.
    #[must_use]
    pub const fn aead(self) -> &'static str {
        match self {
            Suite::X25519MlKem768ChaChaPoly => "ChaCha20-Poly1305",
        }
    }

    /// The hash of transcript and key schedule.
    #[must_use]
    pub const fn hash(self) -> &'static str {
        match self {
            Suite::X25519MlKem768ChaChaPoly => "SHA-256",
        }
    }

    /// Whether the key agreement withstands an attacker with a quantum computer.
    #[must_use]
    pub const fn post_quantum(self) -> bool {
        match self {
            Suite::X25519MlKem768ChaChaPoly => true,
        }
    }

    /// The name of pattern and primitives that starts the transcript (Noise, section 8).
    pub(crate) const fn protocol_name(self) -> &'static [u8] {
        match self {
            Suite::X25519MlKem768ChaChaPoly => {
                b"StencilLink2_pqNNpsk0_25519+MLKEM768_ChaChaPoly_SHA256"
            }
        }
    }

    /// The name that starts the transcript of a resumption. It tells the key agreement
    /// too, so that each suite has its own.
    pub(crate) const fn resumption_name(self) -> &'static [u8] {
        match self {
            Suite::X25519MlKem768ChaChaPoly => {
                b"StencilLink2_resume_25519+MLKEM768_ChaChaPoly_SHA256"
            }
        }
    }
}

impl Default for Suite {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back_to_their_suite() {
        for &suite in Suite::ALL {
            assert_eq!(Suite::from_id(suite.id()), Some(suite));
            assert_eq!(Suite::from_name(suite.name()), Some(suite));
        }
        assert_eq!(Suite::from_id(0), None);
        assert_eq!(Suite::from_id(0xffff), None);
        assert_eq!(Suite::from_name("null"), None);
    }

    #[test]
    fn every_registered_suite_is_post_quantum() {
        assert!(Suite::ALL.iter().all(|suite| suite.post_quantum()));
    }
}
