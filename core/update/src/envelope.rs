//! The envelope: a manifest, the two signatures over it, and the device's LMS signature.
//!
//! ```text
//! 107({ 2: << [ << [-16, SHA-256 of the manifest] >>,
//!               << 98([h'', {}, null, [ [<< {1: -19, 4: kid} >>, {}, Ed25519 signature],
//!                                       [<< {1: -49, 4: kid} >>, {}, ML-DSA-65 signature] ]]) >> ] >>,
//!       3: << manifest >>,
//!    -257: LMS signature over the header })
//! ```
//!
//! The `COSE_Sign` (RFC 9052, section 4.1) is detached: its payload is the encoded digest, as SUIT
//! has it. Algorithms: Ed25519 −19 (RFC 9864), ML-DSA-65 −49 (RFC 9964) with an empty context.
//! A key's id is the start of the SHA-256 of its bytes; it is protected. The LMS signature is an
//! entry of SUIT's private range: the device does not read CBOR, and gets it in its package.

use sha2::{Digest as _, Sha256};

use crate::header::{self, Header};
use crate::manifest::{self, Part, cbor};
use crate::trust::{KEY_ID_BYTES, Trust};
use crate::{Refusal, device, lms};

/// The largest envelope that is read.
pub const MAX_BYTES: usize = 8 * 1024;
/// The length of an Ed25519 signature.
pub const ED25519_BYTES: usize = 64;
/// The length of an ML-DSA-65 signature (FIPS 204).
pub const ML_DSA_65_BYTES: usize = 3309;

const ENVELOPE_TAG: u64 = 107;
const COSE_SIGN_TAG: u64 = 98;
const LMS_KEY: i64 = -257;

/// Who has to sign a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signer {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ML-DSA-65 (FIPS 204).
    MlDsa65,
    /// LMS (RFC 8554): what the device itself checks.
    Lms,
}

impl Signer {
    /// The COSE algorithm.
    pub(crate) fn algorithm(self) -> i64 {
        match self {
            Signer::Ed25519 => -19,
            Signer::MlDsa65 => -49,
            Signer::Lms => -46,
        }
    }
}

impl core::fmt::Display for Signer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Signer::Ed25519 => "Ed25519",
            Signer::MlDsa65 => "ML-DSA-65",
            Signer::Lms => "LMS",
        })
    }
}

/// What is wrong with one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is of a key that is not trusted.
    UnknownKey {
        /// The key it names.
        given: [u8; KEY_ID_BYTES],
        /// The key that is trusted.
        trusted: [u8; KEY_ID_BYTES],
    },
    /// It does not verify.
    Wrong,
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Fault::UnknownKey { given, trusted } => write!(
                f,
                "is of key {}, trusted is {}",
                hex::encode(given),
                hex::encode(trusted)
            ),
            Fault::Wrong => f.write_str("does not verify"),
        }
    }
}

/// Why an envelope is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Longer than [`MAX_BYTES`].
    #[error("the envelope has {given} bytes; at most {MAX_BYTES} are read")]
    TooLong {
        /// How long it is.
        given: usize,
    },
    /// The envelope or the manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// The digest that was signed is not the manifest's.
    #[error("the signed digest is not that of the manifest")]
    Digest,
    /// There are not the two signatures that have to be there.
    #[error("the manifest has {given} signatures; Ed25519 and ML-DSA-65 both have to sign it")]
    SignatureCount {
        /// How many there are.
        given: u64,
    },
    /// One of the signatures is wrong, the others are right.
    #[error("the {signer} signature {fault}; the others do verify, but all are required")]
    Signature {
        /// Which.
        signer: Signer,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Several signatures are wrong.
    #[error("{}", .0.iter().map(|(signer, fault)| format!("the {signer} signature {fault}")).collect::<Vec<_>>().join("; "))]
    Signatures(Vec<(Signer, Fault)>),
    /// Readable, but not in the one form that is accepted.
    #[error("the envelope is not in its deterministic form, or holds more than is known here")]
    NotCanonical,
}

/// A manifest with its signatures, read but not verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    header: Header,
    manifest: Vec<u8>,
    ed25519: Signature<ED25519_BYTES>,
    ml_dsa_65: Signature<ML_DSA_65_BYTES>,
    lms: [u8; lms::SIGNATURE_BYTES],
}

/// A signature and the key that it names.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Signature<const L: usize> {
    pub(crate) key: [u8; KEY_ID_BYTES],
    pub(crate) bytes: [u8; L],
}

impl core::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Envelope").field(&self.header).finish()
    }
}

impl Envelope {
    pub(crate) fn new(
        header: Header,
        ed25519: Signature<ED25519_BYTES>,
        ml_dsa_65: Signature<ML_DSA_65_BYTES>,
        lms: [u8; lms::SIGNATURE_BYTES],
    ) -> Result<Self, Error> {
        Ok(Envelope {
            manifest: manifest::encode(&header)?,
            header,
            ed25519,
            ml_dsa_65,
            lms,
        })
    }

    /// What the manifest says. Nobody has vouched for it before [`Envelope::verify`].
    #[must_use]
    pub fn claims(&self) -> &Header {
        &self.header
    }

    /// The ids of the keys that the signatures name: Ed25519, ML-DSA-65.
    #[must_use]
    pub fn keys(&self) -> [[u8; KEY_ID_BYTES]; 2] {
        [self.ed25519.key, self.ml_dsa_65.key]
    }

    /// The leaf that the LMS signature says it used. A hub that sees one leaf of a key under two
    /// different headers knows that the key's state was used twice.
    #[must_use]
    pub fn lms_leaf(&self) -> u32 {
        lms::leaf(&self.lms)
    }

    /// The SHA-256 of the LMS signature: a leaf that has two has signed twice.
    #[must_use]
    pub fn lms_digest(&self) -> [u8; 32] {
        Sha256::digest(self.lms).into()
    }

    /// The envelope's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let digest: [u8; 32] = Sha256::digest(&self.manifest).into();
        let cose = cbor(|e| {
            e.tag(minicbor::data::Tag::new(COSE_SIGN_TAG))?;
            e.array(4)?.bytes(&[])?.map(0)?.null()?.array(2)?;
            e.array(3)?;
            e.bytes(&protected(Signer::Ed25519, &self.ed25519.key))?;
            e.map(0)?.bytes(&self.ed25519.bytes)?;
            e.array(3)?;
            e.bytes(&protected(Signer::MlDsa65, &self.ml_dsa_65.key))?;
            e.map(0)?.bytes(&self.ml_dsa_65.bytes)?;
            Ok(())
        });
        let authentication = cbor(|e| {
            e.array(2)?;
            e.bytes(&manifest::digest(&digest))?.bytes(&cose)?;
            Ok(())
        });
        cbor(|e| {
            e.tag(minicbor::data::Tag::new(ENVELOPE_TAG))?.map(3)?;
            e.u8(2)?.bytes(&authentication)?;
            e.u8(3)?.bytes(&self.manifest)?;
            e.i64(LMS_KEY)?.bytes(&self.lms)?;
            Ok(())
        })
    }

    /// Reads an envelope.
    ///
    /// # Errors
    /// All but the two of wrong signatures.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLong { given: bytes.len() });
        }
        let mut outer = Part::new("the envelope", bytes);
        outer.tag(ENVELOPE_TAG, "the tag of a SUIT envelope (107)")?;
        outer.map(3)?;
        outer.key(2, "the authentication (2)")?;
        let authentication = outer.bytes("the authentication, encoded")?;
        outer.key(3, "the manifest (3)")?;
        let manifest = outer.bytes("the manifest, encoded")?;
        outer.key(LMS_KEY, "the LMS signature (-257)")?;
        let lms = outer.fixed("an LMS signature of 1456 bytes")?;

        let mut part = Part::new("the authentication", authentication);
        part.array(2)?;
        let digest = manifest::read_digest(part.bytes("a digest, encoded")?)?;
        let cose = part.bytes("a COSE_Sign, encoded")?;

        let mut part = Part::new("the COSE_Sign", cose);
        part.tag(COSE_SIGN_TAG, "the tag of a COSE_Sign (98)")?;
        part.array(4)?;
        part.fixed::<0>("an empty protected header")?;
        part.map(0)?;
        part.null("no payload: it is detached")?;
        let given = part.list("the signatures")?;
        if given != 2 {
            return Err(Error::SignatureCount { given });
        }
        let ed25519 = read_signature(&mut part, Signer::Ed25519, "an Ed25519 signature")?;
        let ml_dsa_65 = read_signature(&mut part, Signer::MlDsa65, "an ML-DSA-65 signature")?;

        if Sha256::digest(manifest).as_slice() != digest {
            return Err(Error::Digest);
        }
        let envelope = Envelope {
            header: manifest::decode(manifest)?,
            manifest: manifest.to_vec(),
            ed25519,
            ml_dsa_65,
            lms,
        };
        if envelope.encode() == bytes {
            Ok(envelope)
        } else {
            Err(Error::NotCanonical)
        }
    }

    /// Verifies all signatures: Ed25519 and ML-DSA-65 over the manifest, LMS over the header that
    /// the manifest's facts make.
    ///
    /// # Errors
    /// [`Error::Signature`] if one is wrong, [`Error::Signatures`] if more are.
    pub fn verify(self, trust: &Trust) -> Result<Verified, Error> {
        let header = self.header.encode().map_err(manifest::Error::from)?;
        let digest = Sha256::digest(&self.manifest).into();
        let checks = [
            (
                Signer::Ed25519,
                trust.check_ed25519(
                    &self.ed25519,
                    &to_be_signed(Signer::Ed25519, &self.ed25519.key, &digest),
                ),
            ),
            (
                Signer::MlDsa65,
                trust.check_ml_dsa_65(
                    &self.ml_dsa_65,
                    &to_be_signed(Signer::MlDsa65, &self.ml_dsa_65.key, &digest),
                ),
            ),
            (
                Signer::Lms,
                trust
                    .lms()
                    .verify(&header, &self.lms)
                    .map(|_| ())
                    .map_err(|_| Fault::Wrong),
            ),
        ];
        let faults: Vec<_> = checks
            .into_iter()
            .filter_map(|(signer, check)| Some((signer, check.err()?)))
            .collect();
        match faults.as_slice() {
            [] => Ok(Verified { envelope: self }),
            [(signer, fault)] => Err(Error::Signature {
                signer: *signer,
                fault: *fault,
            }),
            _ => Err(Error::Signatures(faults)),
        }
    }
}

/// A manifest whose signatures all verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    envelope: Envelope,
}

impl Verified {
    /// What the image is and which devices it is for.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.envelope.header
    }

    /// The envelope, to pass it on.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// What a device downloads before the image: header and LMS signature.
    ///
    /// # Errors
    /// [`header::Error`]; none for what was read.
    pub fn prelude(&self) -> Result<[u8; header::PRELUDE_BYTES], header::Error> {
        Ok(header::prelude(
            &self.envelope.header.encode()?,
            &self.envelope.lms,
        ))
    }

    /// Whether `image` is the one that was signed.
    ///
    /// # Errors
    /// [`Refusal::Truncated`], [`Refusal::Oversized`], [`Refusal::Digest`].
    pub fn check_image(&self, image: &[u8]) -> Result<(), Refusal> {
        device::check_image(&self.envelope.header, image)
    }
}

/// The protected header of a signature: algorithm and key.
fn protected(signer: Signer, key: &[u8; KEY_ID_BYTES]) -> Vec<u8> {
    cbor(|e| {
        e.map(2)?.u8(1)?.i64(signer.algorithm())?;
        e.u8(4)?.bytes(key)?;
        Ok(())
    })
}

/// `Sig_structure` of RFC 9052, section 4.4.
pub(crate) fn to_be_signed(
    signer: Signer,
    key: &[u8; KEY_ID_BYTES],
    manifest_digest: &[u8; 32],
) -> Vec<u8> {
    cbor(|e| {
        e.array(5)?.str("Signature")?.bytes(&[])?;
        e.bytes(&protected(signer, key))?;
        e.bytes(&[])?.bytes(&manifest::digest(manifest_digest))?;
        Ok(())
    })
}

fn read_signature<const L: usize>(
    part: &mut Part<'_>,
    signer: Signer,
    expected: &'static str,
) -> Result<Signature<L>, Error> {
    part.array(3)?;
    let mut inner = Part::new(
        "a signature's protected header",
        part.bytes("a protected header")?,
    );
    inner.map(2)?;
    inner.key(1, "the algorithm (1)")?;
    inner.key(
        signer.algorithm(),
        "Ed25519 (-19) first, ML-DSA-65 (-49) second",
    )?;
    inner.key(4, "the key's id (4)")?;
    let key = inner.fixed("a key id of 8 bytes")?;
    part.map(0)?;
    Ok(Signature {
        key,
        bytes: part.fixed(expected)?,
    })
}
