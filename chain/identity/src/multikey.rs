//! Public keys as Multikey (Controlled Identifiers 1.0, section 2.2.2): a multicodec of two bytes,
//! then the key, in multibase. And checking signatures by them.

use std::fmt;

use aws_lc_rs::signature::{self, ParsedPublicKey, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curve25519_dalek::edwards::CompressedEdwardsY;

use crate::text::shown;

/// The most characters of a key's or a signature's text that are decoded: a signature by ML-DSA-65
/// has 4,413 in base64url.
pub const MAX_CHARS: usize = 4_500;

/// The most of these in base58, whose decoding takes time that grows with the square of it: a
/// signature by P-384 has 133. ML-DSA's keys and signatures are in base64url.
pub const MAX_BASE58_CHARS: usize = 140;

/// What a key is for, and of which size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Algorithm {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA on P-256, as a compressed point.
    P256,
    /// ECDSA on P-384, as a compressed point.
    P384,
    /// ECDSA on secp256k1, as a compressed point.
    Secp256k1,
    /// ML-DSA-44 (FIPS 204).
    MlDsa44,
    /// ML-DSA-65 (FIPS 204).
    MlDsa65,
}

/// Every algorithm that is known.
pub const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::P256,
    Algorithm::P384,
    Algorithm::Secp256k1,
    Algorithm::MlDsa44,
    Algorithm::MlDsa65,
];

impl Algorithm {
    /// Its name, such as `ML-DSA-44`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::Secp256k1 => "secp256k1",
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
        }
    }

    /// Whether a quantum computer is not known to break it.
    #[must_use]
    pub fn is_post_quantum(self) -> bool {
        matches!(self, Self::MlDsa44 | Self::MlDsa65)
    }

    /// Bytes of a public key.
    #[must_use]
    pub fn key_bytes(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::P256 | Self::Secp256k1 => 33,
            Self::P384 => 49,
            Self::MlDsa44 => 1_312,
            Self::MlDsa65 => 1_952,
        }
    }

    /// Bytes of a signature; of ECDSA, of `r` and `s` side by side.
    #[must_use]
    pub fn signature_bytes(self) -> usize {
        match self {
            Self::Ed25519 | Self::P256 | Self::Secp256k1 => 64,
            Self::P384 => 96,
            Self::MlDsa44 => 2_420,
            Self::MlDsa65 => 3_309,
        }
    }

    /// Its multicodec, as a varint.
    fn code(self) -> [u8; 2] {
        match self {
            Self::Ed25519 => [0xed, 0x01],
            Self::Secp256k1 => [0xe7, 0x01],
            Self::P256 => [0x80, 0x24],
            Self::P384 => [0x81, 0x24],
            Self::MlDsa44 => [0x90, 0x24],
            Self::MlDsa65 => [0x91, 0x24],
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Ed25519 => &signature::ED25519,
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::Secp256k1 => &signature::ECDSA_P256K1_SHA256_FIXED,
            Self::MlDsa44 => &signature::ML_DSA_44,
            Self::MlDsa65 => &signature::ML_DSA_65,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is longer than any key is.
    #[error("it has {0} characters; at most {MAX_CHARS} are read, {MAX_BASE58_CHARS} in base58btc")]
    TooLong(usize),
    /// It does not begin as multibase that is used for keys.
    #[error("“{0}” begins neither with z (base58btc) nor with u (base64url without padding)")]
    Base(String),
    /// It holds what its base does not have.
    #[error("“{text}” is no {base}")]
    Digits {
        /// It.
        text: String,
        /// In which base it should be.
        base: &'static str,
    },
    /// It is a key of a kind that is not known.
    #[error(
        "“{0}” begins with the multicodec of no key that is known: Ed25519, P-256, P-384, secp256k1, \
         ML-DSA-44 and ML-DSA-65 are"
    )]
    Codec(String),
    /// It is of the wrong size.
    #[error("an {algorithm} key has {} bytes, not {bytes}", .algorithm.key_bytes())]
    Size {
        /// What it says that it is.
        algorithm: Algorithm,
        /// How long it is.
        bytes: usize,
    },
    /// It is of the right size, but no key.
    #[error("it is no {0} key: no such point is on the curve, or one by which anything is signed")]
    Point(Algorithm),
    /// It is a key of an old kind that has to be written in base58btc.
    #[error("{0} keys are written in base58btc, beginning with z")]
    NotBase58(Algorithm),
}

/// A signature that is not by that key over that message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not by this key over this document")]
pub struct BadSignature;

/// A public key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// Takes a key's bytes; of a curve, its compressed point.
    ///
    /// # Errors
    /// [`Error::Size`], [`Error::Point`].
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != algorithm.key_bytes() {
            return Err(Error::Size {
                algorithm,
                bytes: bytes.len(),
            });
        }
        if ParsedPublicKey::new(algorithm.verification(), bytes).is_err() {
            return Err(Error::Point(algorithm));
        }
        if algorithm == Algorithm::Ed25519 && !is_ed25519(bytes) {
            return Err(Error::Point(algorithm));
        }
        Ok(Self {
            algorithm,
            bytes: bytes.to_vec(),
        })
    }

    /// Reads a Multikey. Those of ML-DSA are in base64url, as their draft has it, the others in
    /// base58btc.
    ///
    /// # Errors
    /// Each of [`Error`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bytes = multibase(text)?;
        let (code, key) = bytes
            .split_at_checked(2)
            .ok_or_else(|| Error::Codec(shown(text)))?;
        let algorithm = ALGORITHMS
            .into_iter()
            .find(|algorithm| algorithm.code() == code)
            .ok_or_else(|| Error::Codec(shown(text)))?;
        if !algorithm.is_post_quantum() && !text.starts_with('z') {
            return Err(Error::NotBase58(algorithm));
        }
        Self::new(algorithm, key)
    }

    /// Of which kind it is.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its bytes, without the multicodec.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks a signature over `message`, which is hashed where the algorithm says so.
    ///
    /// # Errors
    /// It is not right.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        if signature.len() != self.algorithm.signature_bytes() {
            return Err(BadSignature);
        }
        UnparsedPublicKey::new(self.algorithm.verification(), &self.bytes)
            .verify(message, signature)
            .map_err(|_| BadSignature)
    }
}

impl fmt::Display for PublicKey {
    /// As a Multikey: in base64url if it is ML-DSA's, else in base58btc.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.algorithm.code(), self.bytes.as_slice()].concat();
        f.write_str(&if self.algorithm.is_post_quantum() {
            base64url(&bytes)
        } else {
            base58btc(&bytes)
        })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// Whether 32 bytes are an Ed25519 key that is somebody's: a point of the curve, written as RFC 8032
/// writes it, and of no small order. By one of small order the same few signatures are right over
/// each message. The library that checks signatures looks at none of it.
fn is_ed25519(bytes: &[u8]) -> bool {
    let Ok(written) = CompressedEdwardsY::from_slice(bytes) else {
        return false;
    };
    written
        .decompress()
        .is_some_and(|point| point.compress() == written && !point.is_small_order())
}

/// Multibase in base58btc.
pub(crate) fn base58btc(bytes: &[u8]) -> String {
    format!("z{}", bs58::encode(bytes).into_string())
}

/// Multibase in base64url without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    format!("u{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Decodes multibase in one of these two, up to [`MAX_CHARS`].
///
/// # Errors
/// [`Error::TooLong`], [`Error::Base`], [`Error::Digits`].
pub(crate) fn multibase(text: &str) -> Result<Vec<u8>, Error> {
    let most = if text.starts_with('z') {
        MAX_BASE58_CHARS
    } else {
        MAX_CHARS
    };
    if text.len() > most {
        return Err(Error::TooLong(text.len()));
    }
    let wrong = |base| Error::Digits {
        text: shown(text),
        base,
    };
    if let Some(digits) = text.strip_prefix('z') {
        bs58::decode(digits)
            .into_vec()
            .map_err(|_| wrong("base58btc"))
    } else if let Some(digits) = text.strip_prefix('u') {
        URL_SAFE_NO_PAD
            .decode(digits)
            .map_err(|_| wrong("base64url without padding"))
    } else {
        Err(Error::Base(shown(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_none() {
        let long = format!("z{}", "1".repeat(MAX_BASE58_CHARS));
        for (text, wrong) in [
            ("", "begins neither with z"),
            ("m7QE", "begins neither with z"),
            ("z", "multicodec of no key"),
            ("z0OIl", "is no base58btc"),
            ("u+/", "is no base64url"),
            (long.as_str(), "it has 141 characters"),
            // X25519, which signs nothing.
            (
                "z6LShs9GGnqk85isEBzzshkuVWrVKsRp24GnDuHk8QWkARMW",
                "multicodec of no key",
            ),
        ] {
            let error = PublicKey::parse(text).expect_err(text).to_string();
            assert!(error.contains(wrong), "{text}: {error}");
        }
        let short = base58btc(&[0xed, 1, 7]);
        assert_eq!(
            PublicKey::parse(&short),
            Err(Error::Size {
                algorithm: Algorithm::Ed25519,
                bytes: 1
            })
        );
        // No point of the curve has this x.
        let mut off = vec![0x80, 0x24, 2];
        off.extend([0xff; 32]);
        assert_eq!(
            PublicKey::parse(&base58btc(&off)),
            Err(Error::Point(Algorithm::P256))
        );
        // 10 Ed25519's: of small order, not canonical, and none of the curve's.
        let own = |bytes: &str| hex::decode(bytes).expect("hexadecimal");
        for none in [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            // 1 + p, which some take for 1.
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            // 3 + p, which some take for 3.
            "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0200000000000000000000000000000000000000000000000000000000000000",
        ] {
            let read = PublicKey::new(Algorithm::Ed25519, &own(none));
            assert_eq!(read, Err(Error::Point(Algorithm::Ed25519)), "{none}");
        }
        let three = own("0300000000000000000000000000000000000000000000000000000000000000");
        assert!(PublicKey::new(Algorithm::Ed25519, &three).is_ok());
        // By the first of them this is right over everything.
        let anybodys = own(&format!("01{}", "00".repeat(63)));
        let identity = PublicKey {
            algorithm: Algorithm::Ed25519,
            bytes: own(&format!("01{}", "00".repeat(31))),
        };
        assert_eq!(identity.verify(b"whatever is said", &anybodys), Ok(()));
        let in_base64 = base64url(&[&[0xed, 1][..], &[7; 32]].concat());
        assert_eq!(
            PublicKey::parse(&in_base64),
            Err(Error::NotBase58(Algorithm::Ed25519))
        );
    }
}
