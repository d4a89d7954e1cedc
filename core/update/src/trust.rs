//! The public keys that an installation trusts to sign updates, as a file for people:
//!
//! ```text
//! # who may sign updates; made by `stencil update keygen`
//! ed25519 3b6a27bc…
//! ml-dsa-65 48683d91…
//! lms 000000010000000600000004…
//! ```

use aws_lc_rs::signature::{ED25519, ML_DSA_65, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use crate::envelope::{ED25519_BYTES, Fault, ML_DSA_65_BYTES, Signature, Signer};
use crate::lms;

/// The length of a key's id.
pub const KEY_ID_BYTES: usize = 8;
/// The length of an Ed25519 public key.
pub const ED25519_KEY_BYTES: usize = 32;
/// The length of an ML-DSA-65 public key (FIPS 204).
pub const ML_DSA_65_KEY_BYTES: usize = 1952;
/// The largest file that is read.
pub const MAX_FILE_BYTES: usize = 16 * 1024;

/// Why text does not say who is trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Longer than [`MAX_FILE_BYTES`].
    #[error("the file of trusted keys is longer than {MAX_FILE_BYTES} bytes")]
    TooLong,
    /// A line is none of the known ones.
    #[error(
        "line {line}: expected `ed25519`, `ml-dsa-65` or `lms`, a space, and the key in hexadecimal digits"
    )]
    Line {
        /// Which, from 1.
        line: usize,
    },
    /// A key has another length than its kind, or cannot be one.
    #[error("the {signer} key is none: {bytes} bytes are needed")]
    Key {
        /// Which.
        signer: Signer,
        /// How long it has to be.
        bytes: usize,
    },
    /// A key is there twice.
    #[error("the {0} key is there twice")]
    Twice(Signer),
    /// A key is missing.
    #[error("the {0} key is missing: all three sign an update")]
    Missing(Signer),
}

/// Who may sign updates.
#[derive(Clone, PartialEq, Eq)]
pub struct Trust {
    ed25519: [u8; ED25519_KEY_BYTES],
    ml_dsa_65: Box<[u8; ML_DSA_65_KEY_BYTES]>,
    lms: lms::PublicKey,
}

impl core::fmt::Debug for Trust {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Trust")
            .field("ed25519", &hex::encode(key_id(&self.ed25519)))
            .field("ml_dsa_65", &hex::encode(key_id(&*self.ml_dsa_65)))
            .field("lms", &hex::encode(self.lms.identifier()))
            .finish()
    }
}

impl Trust {
    /// Takes the three public keys.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn new(ed25519: &[u8], ml_dsa_65: &[u8], lms: &[u8]) -> Result<Self, Error> {
        let key = |signer, bytes| Error::Key { signer, bytes };
        Ok(Trust {
            ed25519: ed25519
                .try_into()
                .map_err(|_| key(Signer::Ed25519, ED25519_KEY_BYTES))?,
            ml_dsa_65: ml_dsa_65
                .to_vec()
                .try_into()
                .map_err(|_| key(Signer::MlDsa65, ML_DSA_65_KEY_BYTES))?,
            lms: lms::PublicKey::from_bytes(lms)
                .map_err(|_| key(Signer::Lms, lms::PUBLIC_KEY_BYTES))?,
        })
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn from_text(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_FILE_BYTES {
            return Err(Error::TooLong);
        }
        let mut keys: [Option<Vec<u8>>; 3] = [None, None, None];
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = Error::Line { line: at + 1 };
            let (name, digits) = line.split_once(' ').ok_or_else(|| wrong.clone())?;
            let index = NAMES
                .iter()
                .position(|known| *known == name)
                .ok_or_else(|| wrong.clone())?;
            let bytes = hex::decode(digits.trim()).map_err(|_| wrong)?;
            if keys[index].replace(bytes).is_some() {
                return Err(Error::Twice(SIGNERS[index]));
            }
        }
        let [ed25519, ml_dsa_65, lms] = keys;
        let missing = |index: usize| Error::Missing(SIGNERS[index]);
        Self::new(
            &ed25519.ok_or_else(|| missing(0))?,
            &ml_dsa_65.ok_or_else(|| missing(1))?,
            &lms.ok_or_else(|| missing(2))?,
        )
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!(
            "# who may sign updates; made by `stencil update keygen`\n{} {}\n{} {}\n{} {}\n",
            NAMES[0],
            hex::encode(self.ed25519),
            NAMES[1],
            hex::encode(&self.ml_dsa_65[..]),
            NAMES[2],
            hex::encode(self.lms.to_bytes()),
        )
    }

    /// What these keys are called where others follow them: the SHA-256 of their text.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.to_text().as_bytes()).into()
    }

    /// The key that devices trust.
    #[must_use]
    pub fn lms(&self) -> &lms::PublicKey {
        &self.lms
    }

    /// The ids of the two keys that sign manifests: Ed25519, ML-DSA-65.
    #[must_use]
    pub fn key_ids(&self) -> [[u8; KEY_ID_BYTES]; 2] {
        [key_id(&self.ed25519), key_id(&*self.ml_dsa_65)]
    }

    pub(crate) fn check_ed25519(
        &self,
        signature: &Signature<ED25519_BYTES>,
        message: &[u8],
    ) -> Result<(), Fault> {
        named(signature.key, key_id(&self.ed25519))?;
        UnparsedPublicKey::new(&ED25519, &self.ed25519)
            .verify(message, &signature.bytes)
            .map_err(|_| Fault::Wrong)
    }

    pub(crate) fn check_ml_dsa_65(
        &self,
        signature: &Signature<ML_DSA_65_BYTES>,
        message: &[u8],
    ) -> Result<(), Fault> {
        named(signature.key, key_id(&*self.ml_dsa_65))?;
        UnparsedPublicKey::new(&ML_DSA_65, &self.ml_dsa_65[..])
            .verify(message, &signature.bytes)
            .map_err(|_| Fault::Wrong)
    }
}

const NAMES: [&str; 3] = ["ed25519", "ml-dsa-65", "lms"];
const SIGNERS: [Signer; 3] = [Signer::Ed25519, Signer::MlDsa65, Signer::Lms];

/// The id of a public key: the start of its SHA-256.
#[must_use]
pub fn key_id(key: &[u8]) -> [u8; KEY_ID_BYTES] {
    let digest = Sha256::digest(key);
    let mut id = [0; KEY_ID_BYTES];
    id.copy_from_slice(&digest[..KEY_ID_BYTES]);
    id
}

fn named(given: [u8; KEY_ID_BYTES], trusted: [u8; KEY_ID_BYTES]) -> Result<(), Fault> {
    if given == trusted {
        Ok(())
    } else {
        Err(Fault::UnknownKey { given, trusted })
    }
}
